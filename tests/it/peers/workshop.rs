//! A folder below `target` with a peer's programs and their tests.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, io};

use tokio::process::Command as AsyncCommand;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::support::DEADLINE;

/// The stamp that says for which lock file the folder was prepared.
const STAMP: &str = ".prepared";

/// An installed peer.
pub(super) struct Workshop {
    folder: PathBuf,
}

impl Workshop {
    /// Brings the files of `tests/peers/NAME` and what they need to a folder below `target`; see [`copy_of`](Self::copy_of).
    pub(super) async fn open(
        name: &'static str,
        lock_file: &'static str,
        install: impl FnOnce(&Path) -> Vec<Command> + Send + 'static,
    ) -> Self {
        let source = Path::new("tests/peers").join(name);
        Self::copy_of(source, name, lock_file, install).await
    }

    /// Brings the files of a folder of ours and what they need to the folder `name` below `target`.
    ///
    /// `install` says with which commands; they run when `lock_file` is not the one of the last
    /// time. Other processes wait meanwhile.
    pub(super) async fn copy_of(
        source: PathBuf,
        name: &'static str,
        lock_file: &'static str,
        install: impl FnOnce(&Path) -> Vec<Command> + Send + 'static,
    ) -> Self {
        let prepare = spawn_blocking(move || Self::prepare(&source, name, lock_file, install));
        prepare.await.expect("the peer is installed")
    }

    /// Where the files are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn prepare(
        source: &Path,
        name: &str,
        lock_file: &str,
        install: impl FnOnce(&Path) -> Vec<Command>,
    ) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
        let folder = root.join(name);
        fs::create_dir_all(&folder).unwrap();
        let turn = File::create(root.join(format!("{name}.lock"))).unwrap();
        turn.lock().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        copy(&source, &folder).unwrap();
        let wanted = fs::read(source.join(lock_file)).unwrap();
        let stamp = folder.join(STAMP);
        if fs::read(&stamp).ok().as_ref() != Some(&wanted) {
            for command in install(&folder) {
                run(command);
            }
            fs::write(stamp, wanted).unwrap();
        }
        Self { folder }
    }
}

/// Copies what is new or other; a file that another process may be reading stays as it is.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        // What was installed there by hand is not ours.
        if entry.file_type()?.is_dir() {
            continue;
        }
        let target = to.join(entry.file_name());
        let content = fs::read(entry.path())?;
        if fs::read(&target).ok().as_ref() != Some(&content) {
            fs::write(target, content)?;
        }
    }
    Ok(())
}

/// Runs a command of an installation; what it said is only shown if it failed.
fn run(mut command: Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}; it needs the package registry once:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

/// Finds a program in the PATH, or says which package has it.
pub(super) fn program(what: &str, names: &[&str], package: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).collect();
    let candidates = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.into_iter().find(|path| path.is_file()).unwrap_or_else(|| {
        panic!(
            "{what} is not installed, and this test needs it: apt-get install {package} (or what \
             your system calls it); ROWCAST_SKIP_PEERS=1 leaves the tests of clients out"
        )
    })
}

/// Runs a program of tests and returns what it said; panics with all of it if it failed.
///
/// The program's standard input stays open while we live: its end tells it to go.
pub(super) async fn report(name: &str, mut command: AsyncCommand, deadline: Duration) -> String {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().expect("the program starts");
    let leash = child.stdin.take();
    let mut ended = Box::pin(child.wait_with_output());
    let (output, verdict) = match timeout(deadline, &mut ended).await {
        Ok(output) => (output, "failed"),
        Err(_) => {
            drop(leash);
            let output = timeout(DEADLINE, ended).await;
            (output.expect("it goes when told to"), "took too long")
        }
    };
    let output = output.expect("its output can be read");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{name} {verdict}:\n{said}");
    said
}
