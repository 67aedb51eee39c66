//! A key set in a file that its owner rotates.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::key_set::{Key, KeySet};
use super::options::{ForeignAlgorithm, ForeignError};

/// No set of keys is larger.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// How long a set is used before the file is looked at again.
const AGE_MAX: Duration = Duration::from_secs(60);
/// Tokens that name unknown keys make us look at the file no more often than this.
const RELOAD_INTERVAL_MIN: Duration = Duration::from_secs(2);

/// A file with a key set.
pub(super) struct KeyFile {
    pub(super) path: PathBuf,
    only: Option<ForeignAlgorithm>,
    /// What the file said last; kept when it cannot be read any more.
    current: RwLock<Arc<KeySet>>,
    /// When it was looked at last. Held while looking, so that one looks for all.
    looked: Mutex<Instant>,
}

impl KeyFile {
    /// Reads the file for the first time.
    pub(super) fn new(path: PathBuf, only: Option<ForeignAlgorithm>) -> Result<Self, ForeignError> {
        Ok(Self {
            current: RwLock::new(read_set(&path, only)?.into()),
            looked: Mutex::new(Instant::now()),
            path,
            only,
        })
    }

    /// The key of this name, which is looked for in the file if it is unknown. Safe to drop half-way.
    pub(super) async fn find(&self, id: Option<&str>) -> Option<Arc<Key>> {
        let known = self.current().find(id);
        let patience = if known.is_some() {
            AGE_MAX
        } else {
            RELOAD_INTERVAL_MIN
        };
        self.look_again(patience).await;
        // A key that was taken out of the file is believed no longer.
        self.current().find(id)
    }

    fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn look_again(&self, patience: Duration) {
        let mut looked = self.looked.lock().await;
        if looked.elapsed() < patience {
            return;
        }
        *looked = Instant::now();
        let (path, only) = (self.path.clone(), self.only);
        let read = spawn_blocking(move || read_set(&path, only)).await;
        match read {
            Ok(Ok(set)) => {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                *current = set.into();
            }
            Ok(Err(error)) => tracing::warn!(
                error = &error as &dyn Error,
                "the key set cannot be read; the keys from before stay in use"
            ),
            Err(_) => tracing::error!("reading the key set failed inside"),
        }
    }
}

fn read_set(path: &Path, only: Option<ForeignAlgorithm>) -> Result<KeySet, ForeignError> {
    let text = read_file(path)?;
    let set = KeySet::read(&text, only, &path.display().to_string());
    set.map_err(|source| ForeignError::Jwks {
        path: path.to_owned(),
        source,
    })
}

/// Reads a file that is no larger than keys are.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, ForeignError> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Err(source) => Err(ForeignError::Read {
            path: path.to_owned(),
            source,
        }),
        Ok(_) if bytes.len() as u64 > FILE_BYTES_MAX => Err(ForeignError::TooLarge {
            path: path.to_owned(),
        }),
        Ok(_) => Ok(bytes),
    }
}
