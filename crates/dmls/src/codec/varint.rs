//! Variable-size vector length headers (RFC 9420 s2.1.2).

use super::{DecodeError, Reader};

/// The largest length that the header can express: 2^30 - 1 bytes.
pub const MAX_LENGTH: usize = (1 << 30) - 1;

/// Appends the shortest header for `length`.
///
/// No value that this library builds comes near [`MAX_LENGTH`]; a longer one would be a bug, so it saturates and the
/// result fails to decode rather than being ambiguous.
pub(crate) fn encode_length(length: usize, out: &mut Vec<u8>) {
    debug_assert!(length <= MAX_LENGTH);
    match length {
        0..=0x3f => out.push(length as u8),
        0x40..=0x3fff => out.extend_from_slice(&(length as u16 | 0x4000).to_be_bytes()),
        _ => out.extend_from_slice(&(length.min(MAX_LENGTH) as u32 | 0x8000_0000).to_be_bytes()),
    }
}

/// Length of the header for `length`.
pub(crate) fn header_length(length: usize) -> usize {
    match length {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        _ => 4,
    }
}

/// Reads a header. The reserved prefix `11` and headers that are not the shortest are errors.
pub(crate) fn decode_length(r: &mut Reader<'_>) -> Result<usize, DecodeError> {
    let start = r.position();
    let first = r.u8()?;
    let (extra, minimum) = match first >> 6 {
        0 => (0, 0),
        1 => (1, 0x40),
        2 => (3, 0x4000),
        _ => return Err(DecodeError::at(start, "a length header (prefix 11 is reserved)")),
    };
    let mut length = usize::from(first & 0x3f);
    for _ in 0..extra {
        length = length << 8 | usize::from(r.u8()?);
    }
    if length < minimum {
        return Err(DecodeError::at(start, "the shortest length header"));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<usize, DecodeError> {
        decode_length(&mut Reader::new(bytes))
    }

    #[test]
    fn boundaries_round_trip() {
        for length in [0, 1, 63, 64, 16_383, 16_384, MAX_LENGTH] {
            let mut out = Vec::new();
            encode_length(length, &mut out);
            assert_eq!(decode(&out), Ok(length));
            assert_eq!(out.len(), header_length(length));
        }
    }

    #[test]
    fn rfc_examples() {
        assert_eq!(decode(&[0x9d, 0x7f, 0x3e, 0x7d]), Ok(494_878_333));
        assert_eq!(decode(&[0x7b, 0xbd]), Ok(15_293));
        assert_eq!(decode(&[0x25]), Ok(37));
    }

    #[test]
    fn longer_than_needed_or_reserved_or_cut_is_refused() {
        for bytes in
            [&[0x40, 0x25][..], &[0x80, 0, 0x3f, 0xff], &[0xc0], &[0xff, 0xff, 0xff, 0xff], &[0x80, 0], &[]]
        {
            assert!(decode(bytes).is_err(), "{bytes:02x?}");
        }
    }
}
