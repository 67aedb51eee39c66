//! What the demo says when it is ready: lines to paste.

use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// What there is to try, and where.
pub(super) struct Welcome {
    /// Where the service listens.
    pub(super) address: SocketAddr,
    /// Where the database is, for psql.
    pub(super) database_url: String,
    /// How to call psql; `None` if it is not installed.
    pub(super) psql: Option<String>,
    /// A superuser's token.
    pub(super) token: String,
    /// Where the data is kept, if it is.
    pub(super) kept: Option<PathBuf>,
}

impl Welcome {
    pub(super) fn print(&self) {
        // Whoever has read enough, such as `head`, may close the pipe: no reason to end the demo.
        let _ = io::stdout().write_all(self.to_string().as_bytes());
    }

    /// The service's address as seen from this machine.
    fn base(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{address}")
    }
}

impl fmt::Display for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = self.base();
        let url = &self.database_url;
        writeln!(
            f,
            "\nRowcast is showing the changes of a demo database. Stop it with Ctrl-C.\n"
        )?;
        writeln!(f, "In a browser:\n\n{base}/_/\n")?;
        writeln!(
            f,
            "In a terminal (open a stream, then subscribe it to everything; `kill %1` ends it):\n\n\
             feed=$(mktemp); curl -sSN {base}/api/realtime | tee \"$feed\" &\n\
             until id=$(grep -m1 '^id:' \"$feed\"); do sleep 0.1; done; curl -sS {base}/api/realtime \
             -H 'Content-Type: application/json' \
             -d \"{{\\\"clientId\\\":\\\"${{id#id:}}\\\",\\\"subscriptions\\\":[\\\"*\\\"]}}\"\n"
        )?;
        match &self.psql {
            Some(psql) => writeln!(
                f,
                "Change something yourself:\n\n\
                 {psql} '{url}' -c \"insert into posts (title) values ('hello from psql')\"\n"
            )?,
            None => writeln!(
                f,
                "Change something yourself: psql is not installed here, but any Postgres client can \
                 connect to\n\n{url}\n\nand insert into, update or delete from posts and comments.\n"
            )?,
        }
        writeln!(
            f,
            "A superuser's token, for the page's token field or an Authorization header; it shows \
             the locked collection drafts and the hidden column posts.secret too:\n\n{}\n",
            self.token
        )?;
        match &self.kept {
            Some(folder) => writeln!(f, "The database stays in {}.", folder.display()),
            None => writeln!(
                f,
                "The database is temporary and goes away with this process."
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(address: &str, psql: Option<&str>) -> String {
        Welcome {
            address: address.parse().expect("an address"),
            database_url: "postgres://u:p@127.0.0.1:5/demo".to_owned(),
            psql: psql.map(str::to_owned),
            token: "abc".to_owned(),
            kept: None,
        }
        .to_string()
    }

    #[test]
    fn addresses_work_from_this_machine() {
        for (address, base) in [
            ("127.0.0.1:8090", "http://127.0.0.1:8090/_/"),
            ("0.0.0.0:80", "http://127.0.0.1:80/_/"),
            ("[::]:80", "http://[::1]:80/_/"),
        ] {
            let text = welcome(address, None);
            assert!(text.contains(base), "{address}: {text}");
        }
    }

    #[test]
    fn a_missing_psql_is_named_and_not_called() {
        let with = welcome("127.0.0.1:1", Some("psql"));
        assert!(
            with.contains("psql 'postgres://u:p@127.0.0.1:5/demo' -c"),
            "{with}"
        );
        let without = welcome("127.0.0.1:1", None);
        assert!(without.contains("psql is not installed"), "{without}");
        assert!(!without.contains("-c \"insert"), "{without}");
    }
}
