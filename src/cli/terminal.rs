//! Writing to people and pipes.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};

/// Writes a line of the result. A reader that has gone, as `head` does, is no failure.
pub(super) fn result(line: impl Display) {
    let _ = writeln!(stdout(), "{line}");
}

/// Writes a line beside the result.
pub(super) fn note(line: impl Display) {
    let _ = writeln!(stderr(), "{line}");
}
