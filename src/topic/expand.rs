//! The `expand` of a subscription: which related records are wanted with the record (contract, section 4.7).

use std::collections::BTreeMap;

/// Names that lead to records, in their order, and what is wanted of those in turn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expand(BTreeMap<Box<str>, Expand>);

/// Why a list of paths cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The list is too long.
    #[error("there are more than {max} paths", max = Expand::PATHS_MAX)]
    TooMany,
}

impl Expand {
    /// Paths in one list.
    pub const PATHS_MAX: usize = 100;
    /// Names in one path, as in PocketBase; what lies deeper is not looked at.
    pub const DEPTH_MAX: usize = 6;

    /// Reads a list such as `author,comments_via_post.author`; `None` if it names nothing.
    ///
    /// # Errors
    /// If the list is too long.
    pub fn parse(text: &str) -> Result<Option<Self>, ExpandError> {
        let mut root = Self::default();
        let mut paths = 0;
        for path in text.split(',') {
            let path = path.replace(' ', "");
            let path = path.trim_matches('.');
            if path.is_empty() {
                continue;
            }
            paths += 1;
            if paths > Self::PATHS_MAX {
                return Err(ExpandError::TooMany);
            }
            let names = path.split('.').take(Self::DEPTH_MAX);
            names.fold(&mut root, |at, name| at.0.entry(name.into()).or_default());
        }
        Ok((paths > 0).then_some(root))
    }

    /// The names, each with what is wanted behind it.
    pub fn names(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.0.iter().map(|(name, below)| (&**name, below))
    }

    /// Whether nothing more is wanted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths that are left, each to its end.
    fn paths(text: &str) -> Vec<String> {
        fn collect(expand: &Expand, before: &str, paths: &mut Vec<String>) {
            for (name, below) in expand.names() {
                let path = format!("{before}{name}");
                if below.is_empty() {
                    paths.push(path);
                } else {
                    collect(below, &format!("{path}."), paths);
                }
            }
        }
        let mut found = Vec::new();
        let expand = Expand::parse(text).expect("not too many paths");
        collect(&expand.unwrap_or_default(), "", &mut found);
        found
    }

    #[test]
    fn lists_are_read_as_pocketbase_reads_them() {
        for (text, expected) in [
            ("author", &["author"][..]),
            ("b,a", &["a", "b"]),
            (" a , b . c ", &["a", "b.c"]),
            (".a.", &["a"]),
            ("..a.b..,", &["a.b"]),
            ("a,a.b", &["a.b"]),
            ("a.b,a", &["a.b"]),
            ("a.b,a.c,a", &["a.b", "a.c"]),
            ("a,a", &["a"]),
            ("ab,a", &["a", "ab"]),
            ("a..b", &["a..b"]),
            ("1.2.3.4.5.6.7.8", &["1.2.3.4.5.6"]),
            ("comments_via_post.author", &["comments_via_post.author"]),
            ("", &[]),
            (" , .. ,", &[]),
        ] {
            assert_eq!(paths(text), expected, "{text:?}");
        }
        assert_eq!(Expand::parse(" ,."), Ok(None));
    }

    #[test]
    fn paths_are_limited() {
        let list = |count| vec!["a"; count].join(",");
        assert!(Expand::parse(&list(Expand::PATHS_MAX)).is_ok());
        let too_many = Expand::parse(&list(Expand::PATHS_MAX + 1));
        assert_eq!(too_many, Err(ExpandError::TooMany));
    }
}
