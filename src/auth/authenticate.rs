//! The question every request asks: who sent this `Authorization` header?

use futures_util::future::BoxFuture;

use super::Proof;

/// Turns an `Authorization` header into a principal, and says until when.
pub trait Authenticate: Send + Sync + 'static {
    /// Who is behind the header; a guest where nothing is proved (section 6.2). Safe to drop
    /// half-way.
    fn authenticate<'a>(&'a self, authorization: Option<&'a str>) -> BoxFuture<'a, Proof>;
}

/// The token in an `Authorization` header, as PocketBase cuts it out (section 6.1): the whole value,
/// or what follows `Bearer` and exactly one space.
pub fn token_in(authorization: &str) -> Option<&str> {
    const SCHEME: &str = "Bearer ";
    let token = match authorization.split_at_checked(SCHEME.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => token,
        _ => authorization,
    };
    (!token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_the_value_or_what_follows_bearer_and_one_space() {
        for (header, token) in [
            ("", None),
            ("abc", Some("abc")),
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("BEARER abc", Some("abc")),
            // Not tokens, but it is for the token's own checks to say so.
            ("Bearer  abc", Some(" abc")),
            ("Bearer\tabc", Some("Bearer\tabc")),
            ("Bearer", Some("Bearer")),
            ("Token abc", Some("Token abc")),
            ("Bearerabc", Some("Bearerabc")),
            ("Bearer ", None),
            ("Béarer abc", Some("Béarer abc")),
        ] {
            assert_eq!(token_in(header), token, "{header:?}");
        }
    }
}
