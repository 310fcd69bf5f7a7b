//! The presentation language (RFC 9420 s2.1).
//!
//! Decoding is strict: lengths are minimal, nothing is left over, every enumeration is known where the RFC has no
//! way to skip it. So what was decoded encodes to the same bytes, and hashes and signatures can be taken over
//! the re-encoding.

mod code_point;
mod macros;
mod varint;
mod vector;

pub(crate) use code_point::code_points;
pub(crate) use macros::{opaque_type, wire_struct};
pub use varint::MAX_LENGTH;
pub(crate) use varint::{decode_length, encode_length, header_length};
pub use vector::{Decode, DecodeError, Encode, Reader};
pub(crate) use vector::{Hex, encode_vector};
