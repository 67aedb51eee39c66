//! Who the server runs as: Postgres refuses to be root, so root lends it another account.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Accounts that may run the server for root, best first.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// The account to switch to; `None` inside when we are an ordinary user already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account(Option<Ids>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ids {
    user: u32,
    group: u32,
}

impl Account {
    /// Whether this process is root.
    pub(super) fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    /// Picks the account. `Ok(None)` means that we are root and no candidate exists.
    pub(super) fn choose() -> io::Result<Option<Self>> {
        if !Self::is_root() {
            return Ok(Some(Self(None)));
        }
        // The account must be a named one: `initdb` looks its own name up.
        let passwd = fs::read_to_string("/etc/passwd")?;
        let ids = CANDIDATES.iter().find_map(|name| find(&passwd, name));
        Ok(ids.map(|ids| Self(Some(ids))))
    }

    /// Makes `command` run under this account, without our supplementary groups.
    pub(super) fn apply(self, command: &mut Command) {
        if let Some(ids) = self.0 {
            command.uid(ids.user).gid(ids.group);
        }
    }

    /// Gives `path` to this account.
    pub(super) fn own(self, path: &Path) -> io::Result<()> {
        self.0
            .map_or(Ok(()), |ids| chown(path, Some(ids.user), Some(ids.group)))
    }
}

fn find(passwd: &str, name: &str) -> Option<Ids> {
    let line = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut numbers = line.split(':').skip(2);
    Some(Ids {
        user: id(numbers.next()?)?,
        group: id(numbers.next()?)?,
    })
}

/// An id, which macOS may write as a negative number.
fn id(text: &str) -> Option<u32> {
    let number: i64 = text.parse().ok()?;
    u32::try_from(number)
        .ok()
        .or_else(|| i32::try_from(number).ok().map(i32::cast_unsigned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_by_the_whole_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgresql:x:5:6::/:/bin/sh\n\
                      postgres:x:101:104:a,,,:/var/lib/postgresql:/bin/bash\n\
                      nobody:*:-2:-2:Unprivileged User:/var/empty:/usr/bin/false\n";
        for (name, expected) in [
            ("postgres", Some((101, 104))),
            ("nobody", Some((u32::MAX - 1, u32::MAX - 1))),
            ("postgre", None),
        ] {
            let found = find(passwd, name).map(|ids| (ids.user, ids.group));
            assert_eq!(found, expected, "{name}");
        }
    }
}
