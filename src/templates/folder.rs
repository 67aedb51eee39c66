//! The files of a folder, and nothing beside it.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use minijinja::{Error, ErrorKind, TemplateSource};

/// Bytes that one file may have.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads a template; `None` if there is none of this name.
pub(super) fn load(folder: &Path, name: &str) -> Result<Option<TemplateSource>, Error> {
    let unreadable = |error: io::Error| {
        Error::new(
            ErrorKind::TemplateNotFound,
            format!("the file cannot be read: {}", error.kind()),
        )
    };
    let Some(state) = State::of(folder, name).map_err(unreadable)? else {
        return Ok(None);
    };
    if state.bytes > FILE_BYTES_MAX {
        let problem = format!("the file has more than {FILE_BYTES_MAX} bytes");
        return Err(Error::new(ErrorKind::InvalidOperation, problem));
    }
    let mut text = String::new();
    let file = fs::File::open(&state.path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    let (folder, name) = (folder.to_owned(), name.to_owned());
    let is_as_it_was = move || matches!(State::of(&folder, &name), Ok(Some(now)) if now == state);
    Ok(Some(
        TemplateSource::new(text).with_uptodate_check(is_as_it_was),
    ))
}

/// What shows that a file has changed.
#[derive(PartialEq, Eq)]
struct State {
    /// Where it really is: links may be turned to another file.
    path: PathBuf,
    modified: SystemTime,
    bytes: u64,
}

impl State {
    /// `None` if there is no such file in the folder.
    fn of(folder: &Path, name: &str) -> io::Result<Option<Self>> {
        if !is_name(name) {
            return Ok(None);
        }
        let path = match folder.join(name).canonicalize() {
            Err(error) if is_absence(&error) => return Ok(None),
            path => path?,
        };
        // A link may lead anywhere.
        if !path.starts_with(folder.canonicalize()?) {
            return Ok(None);
        }
        let metadata = fs::metadata(&path)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        Ok(Some(Self {
            path,
            modified: metadata.modified()?,
            bytes: metadata.len(),
        }))
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Whether a name stays in the folder, as names go: `chat/line.html`.
fn is_name(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.');
    name.split('/').all(is_part) && !name.contains(['\\', '\0', ':'])
}
