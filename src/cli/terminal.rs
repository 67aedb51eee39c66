//! Writing to people and pipes.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};

/// Writes a line of the result. A reader that has gone, as `head` does, is no failure.
pub(super) fn result(line: impl Display) {
    write(stdout(), line);
}

/// Writes a line beside the result.
pub(super) fn note(line: impl Display) {
    write(stderr(), line);
}

/// In one piece, so that lines of several processes do not mix. Who does not listen is not waited for.
fn write(mut stream: impl Write, line: impl Display) {
    let _ = stream.write_all(format!("{line}\n").as_bytes());
    let _ = stream.flush();
}
