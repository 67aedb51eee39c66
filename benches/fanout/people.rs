//! The principals: tokens of an issuer whom the server believes, so that no database is asked who they are.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use crate::Error;
use crate::door::Member;
use crate::site::TOKEN_SECRET;

const VALID_FOR: Duration = Duration::from_secs(6 * 3600);

/// The id of a principal.
pub fn name(number: usize) -> String {
    format!("u{number}")
}

/// The token of a principal.
pub fn token(number: usize) -> Result<Arc<str>, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let claims = json!({ "sub": name(number), "exp": (now + VALID_FOR).as_secs() });
    let key = EncodingKey::from_secret(TOKEN_SECRET.as_bytes());
    Ok(encode(&Header::default(), &claims, &key)?.into())
}

/// Clients with these subscriptions, who are so many principals in turn.
pub fn members(
    count: usize,
    principals: usize,
    topics: impl Fn(usize) -> Vec<String>,
) -> Result<Vec<Member>, Error> {
    let principals = principals.clamp(1, count.max(1));
    let tokens: Vec<_> = (0..principals).map(token).collect::<Result<_, _>>()?;
    let members = (0..count).map(|number| Member {
        token: Some(Arc::clone(&tokens[number % principals])),
        ..Member::new(number, topics(number))
    });
    Ok(members.collect())
}

/// Clients who are nobody.
pub fn guests(count: usize, topics: &[String]) -> Vec<Member> {
    let members = (0..count).map(|number| Member::new(number, topics.to_vec()));
    members.collect()
}
