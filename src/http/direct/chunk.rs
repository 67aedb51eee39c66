//! A chunk of a body as it is written.

use std::io::{Cursor, IoSlice};

use bytes::buf::{Chain, Take};
use bytes::{Buf, Bytes};

/// Sixteen digits and the line's end.
const SIZE_BYTES_MAX: usize = 18;

const END: &[u8] = b"\r\n";

/// Chunks up to this size are put together with what frames them: that costs less than to tell the kernel of three
/// pieces.
const COPIED_MAX: usize = 1024;

/// Pieces of a chunk.
pub(super) const PIECES: usize = 3;

/// A chunk with what stands before and behind it.
pub(super) type Framed = Chain<Chain<Take<Cursor<[u8; SIZE_BYTES_MAX]>>, Bytes>, &'static [u8]>;

/// Frames a chunk.
pub(super) fn framed(chunk: Bytes) -> Framed {
    size_line(chunk.len()).chain(chunk).chain(END)
}

/// The line before a chunk of so many bytes.
fn size_line(bytes: usize) -> Take<Cursor<[u8; SIZE_BYTES_MAX]>> {
    let mut line = [0; SIZE_BYTES_MAX];
    let digits = (usize::BITS - (bytes | 1).leading_zeros()).div_ceil(4) as usize;
    for (place, byte) in line[..digits].iter_mut().rev().enumerate() {
        *byte = b"0123456789ABCDEF"[bytes >> (4 * place) & 15];
    }
    line[digits..digits + 2].copy_from_slice(END);
    Cursor::new(line).take(digits + 2)
}

/// Writes a small chunk as one piece; `None` if it is a larger one.
pub(super) fn write_copied<T>(framed: &Framed, write: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let mut bytes = [0; COPIED_MAX + SIZE_BYTES_MAX + END.len()];
    if framed.remaining() > bytes.len() {
        return None;
    }
    let mut slices = [IoSlice::new(&[]); PIECES];
    let count = framed.chunks_vectored(&mut slices);
    let mut length = 0;
    for slice in &slices[..count] {
        bytes[length..length + slice.len()].copy_from_slice(slice);
        length += slice.len();
    }
    Some(write(&bytes[..length]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_chunk_is_a_line_of_hexadecimal_digits() {
        for (bytes, line) in [
            (0, "0\r\n"),
            (1, "1\r\n"),
            (16, "10\r\n"),
            (255, "FF\r\n"),
            (usize::MAX, "FFFFFFFFFFFFFFFF\r\n"),
        ] {
            let mut size = size_line(bytes);
            assert_eq!(size.copy_to_bytes(size.remaining()), line);
        }
    }

    #[test]
    fn a_small_chunk_is_written_as_one_piece_and_a_larger_one_in_its_pieces() {
        let framed_of = |length: usize| framed(Bytes::from(vec![b'x'; length]));
        let written = write_copied(&framed_of(2), <[u8]>::to_vec);
        assert_eq!(written.as_deref(), Some(&b"2\r\nxx\r\n"[..]));
        assert!(write_copied(&framed_of(COPIED_MAX), <[u8]>::len).is_some());
        assert!(write_copied(&framed_of(COPIED_MAX * 2), <[u8]>::len).is_none());
    }
}
