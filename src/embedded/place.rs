//! The folders of one private server: made, claimed, and given to the account that runs it.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rand::distr::{Alphanumeric, SampleString};

use super::account::Account;
use super::cluster::{ClusterError, Storage};
use super::guard::Farewell;

/// How long the last server of a kept folder may take to end.
const PREDECESSOR_MAX: Duration = Duration::from_secs(5);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);
const PASSWORD_LENGTH: usize = 24;

/// Where the data is, ready for the guard.
pub(super) struct Place {
    pub(super) data: PathBuf,
    /// Whether the data folder is still to be made.
    pub(super) is_new: bool,
    pub(super) farewell: Farewell,
    /// For TCP; whoever reaches the socket needs none.
    pub(super) password: String,
    /// Held open by the guard, so that a kept folder stays locked until its server has ended.
    pub(super) lock: File,
}

impl Place {
    pub(super) fn prepare(
        storage: &Storage,
        home: &Path,
        account: Account,
    ) -> Result<Self, ClusterError> {
        match storage {
            Storage::Temporary => Self::temporary(home, account),
            Storage::Kept(directory) => Self::kept(directory, home, account),
        }
    }

    fn temporary(home: &Path, account: Account) -> Result<Self, ClusterError> {
        let password = new_password();
        write_private(&home.join("password"), &password, account)?;
        Ok(Self {
            data: home.join("data"),
            is_new: true,
            farewell: Farewell::Immediate,
            password,
            lock: create_private(&home.join("guard.log"), account)?,
        })
    }

    fn kept(directory: &Path, home: &Path, account: Account) -> Result<Self, ClusterError> {
        let directory = &std::path::absolute(directory).map_err(preparing(directory))?;
        let lock_path = directory.join("rowcast.lock");
        adopt(directory, &lock_path, account)?;
        let lock = create_private(&lock_path, account)?;
        if !locked_soon(&lock) {
            return Err(ClusterError::InUse(directory.clone()));
        }
        let data = directory.join("data");
        // The lock is ours, so whatever server wrote this has ended, perhaps with the machine.
        let _ = fs::remove_file(data.join("postmaster.pid"));
        let password_path = directory.join("password");
        let is_new = !data.join("PG_VERSION").exists();
        if is_new {
            write_private(&password_path, &new_password(), account)?;
        }
        let password = fs::read_to_string(&password_path).map_err(preparing(&password_path))?;
        write_private(&home.join("password"), &password, account)?;
        Ok(Self {
            data,
            is_new,
            farewell: Farewell::Fast,
            password,
            lock,
        })
    }
}

/// Locks, waiting for a moment: the server of a process that was killed may still be on its way out.
fn locked_soon(lock: &File) -> bool {
    let deadline = Instant::now() + PREDECESSOR_MAX;
    while lock.try_lock().is_err() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(LOOK_AGAIN_AFTER);
    }
    true
}

/// Makes sure that `directory` exists and is ours: new, empty, or with our lock file in it.
fn adopt(directory: &Path, lock: &Path, account: Account) -> Result<(), ClusterError> {
    fs::create_dir_all(directory).map_err(preparing(directory))?;
    if lock.exists() {
        return Ok(());
    }
    let mut entries = fs::read_dir(directory).map_err(preparing(directory))?;
    if entries.next().is_some() {
        return Err(ClusterError::Foreign(directory.to_owned()));
    }
    fs::set_permissions(directory, Permissions::from_mode(0o700)).map_err(preparing(directory))?;
    account.own(directory).map_err(preparing(directory))
}

pub(super) fn make_home(account: Account) -> Result<tempfile::TempDir, ClusterError> {
    // Not the process's temporary folder: macOS has a long one, and a socket's path must be short.
    let parent = Path::new("/tmp");
    let home = tempfile::Builder::new()
        .prefix("rowcast-")
        // Whoever reaches the socket is let in as superuser.
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(preparing(parent))?;
    account.own(home.path()).map_err(preparing(home.path()))?;
    Ok(home)
}

fn new_password() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), PASSWORD_LENGTH)
}

fn write_private(path: &Path, text: &str, account: Account) -> Result<(), ClusterError> {
    let mut file = create_private(path, account)?;
    file.write_all(text.as_bytes()).map_err(preparing(path))
}

/// Creates or empties a file that the server's account owns and nobody else may open.
fn create_private(path: &Path, account: Account) -> Result<File, ClusterError> {
    let create = || {
        let file = File::create(path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        account.own(path)?;
        Ok(file)
    };
    create().map_err(preparing(path))
}

pub(super) fn preparing(path: &Path) -> impl FnOnce(io::Error) -> ClusterError + use<> {
    let path = path.to_owned();
    move |source| ClusterError::Prepare { path, source }
}
