//! Reading and writing structures, vectors `T x<V>` and `optional<T>` (RFC 9420 s2.1.1, s2.1.2).

use std::fmt;
use std::sync::Arc;

use super::{decode_length, encode_length, header_length};

/// Bytes that do not decode: where, and what was expected there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    /// Offset in the decoded bytes.
    pub offset: usize,
    /// What should have stood there.
    pub expected: &'static str,
    /// The innermost field that was being read, as `Struct.field`.
    pub field: Option<&'static str>,
}

impl DecodeError {
    pub(crate) fn at(offset: usize, expected: &'static str) -> Self {
        Self { offset, expected, field: None }
    }

    /// Names the field, if a deeper one was not named already.
    pub(crate) fn or_in(mut self, field: &'static str) -> Self {
        self.field.get_or_insert(field);
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: expected {}", self.offset, self.expected)?;
        match self.field {
            Some(field) => write!(f, " (in {field})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for DecodeError {}

/// A position in bytes that are being decoded.
pub struct Reader<'a> {
    input: &'a [u8],
    position: usize,
    base: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(input: &'a [u8]) -> Self {
        Self { input, position: 0, base: 0 }
    }

    /// Offset from the start of the outermost input.
    pub fn position(&self) -> usize {
        self.base + self.position
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.position == self.input.len()
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.input.len() - self.position
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize, expected: &'static str) -> Result<&'a [u8], DecodeError> {
        if n > self.remaining() {
            return Err(DecodeError::at(self.position(), expected));
        }
        let taken = &self.input[self.position..self.position + n];
        self.position += n;
        Ok(taken)
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.input[self.position..];
        self.position = self.input.len();
        rest
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1, "one more byte")?[0])
    }

    /// A reader over the content of the vector that starts here.
    pub fn vector(&mut self) -> Result<Reader<'a>, DecodeError> {
        let length = decode_length(self)?;
        let base = self.position();
        let input = self.take(length, "as many bytes as the length header says")?;
        Ok(Reader { input, position: 0, base })
    }

    /// Fails if something is left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(DecodeError::at(self.position(), "the end")) }
    }
}

/// What has an encoding.
pub trait Encode {
    /// Appends the encoding.
    fn encode(&self, out: &mut Vec<u8>);

    /// The encoding by itself.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Length of the encoding. What holds a secret adds lengths up, so that the secret is in no temporary copy.
    fn encoded_length(&self) -> usize {
        self.to_bytes().len()
    }

    /// Length of the items without a length header.
    #[doc(hidden)]
    fn items_length(items: &[Self]) -> usize
    where
        Self: Sized,
    {
        items.iter().map(Self::encoded_length).sum()
    }

    /// Appends the items without a length header. Bytes do it in one copy.
    #[doc(hidden)]
    fn encode_items(items: &[Self], out: &mut Vec<u8>)
    where
        Self: Sized,
    {
        for item in items {
            item.encode(out);
        }
    }
}

/// What can be decoded.
pub trait Decode: Sized {
    /// Reads one value and leaves the reader behind it.
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads one value that fills `bytes`.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let value = Self::decode(&mut r)?;
        r.finish()?;
        Ok(value)
    }

    /// Reads items until the end. Grows with what was read, so a length alone allocates nothing.
    #[doc(hidden)]
    fn decode_items(r: &mut Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        let mut items = Vec::new();
        while !r.is_empty() {
            items.push(Self::decode(r)?);
        }
        Ok(items)
    }
}

macro_rules! integers {
    ($($int:ty),*) => {$(
        impl Encode for $int {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn encoded_length(&self) -> usize {
                size_of::<$int>()
            }
        }

        impl Decode for $int {
            fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let mut bytes = [0; size_of::<$int>()];
                bytes.copy_from_slice(r.take(size_of::<$int>(), concat!("a ", stringify!($int)))?);
                Ok(Self::from_be_bytes(bytes))
            }
        }
    )*};
}

integers!(u16, u32, u64);

impl Encode for u8 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn encoded_length(&self) -> usize {
        1
    }

    fn items_length(items: &[Self]) -> usize {
        items.len()
    }

    fn encode_items(items: &[Self], out: &mut Vec<u8>) {
        out.extend_from_slice(items);
    }
}

impl Decode for u8 {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.u8()
    }

    fn decode_items(r: &mut Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        Ok(r.rest().to_vec())
    }
}

impl Encode for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn encoded_length(&self) -> usize {
        1
    }
}

impl Decode for bool {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        match r.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::at(start, "0 (false) or 1 (true)")),
        }
    }
}

/// Appends whatever `content` appends, behind its length header.
pub(crate) fn encode_vector(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    content(out);
    let mut header = Vec::with_capacity(4);
    encode_length(out.len() - start, &mut header);
    out.splice(start..start, header);
}

impl<T: Encode> Encode for [T] {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_vector(out, |out| T::encode_items(self, out));
    }

    fn encoded_length(&self) -> usize {
        let items = T::items_length(self);
        header_length(items) + items
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_slice().encode(out);
    }

    fn encoded_length(&self) -> usize {
        self.as_slice().encoded_length()
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        T::decode_items(&mut r.vector()?)
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                value.encode(out);
            }
        }
    }

    fn encoded_length(&self) -> usize {
        1 + self.as_ref().map_or(0, T::encoded_length)
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        match r.u8()? {
            0 => Ok(None),
            1 => Ok(Some(T::decode(r)?)),
            _ => Err(DecodeError::at(start, "0 (absent) or 1 (present)")),
        }
    }
}

impl<T: Encode> Encode for Arc<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }

    fn encoded_length(&self) -> usize {
        (**self).encoded_length()
    }
}

impl<T: Decode> Decode for Arc<T> {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        T::decode(r).map(Arc::new)
    }
}

impl<T: Encode> Encode for Box<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }

    fn encoded_length(&self) -> usize {
        (**self).encoded_length()
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        T::decode(r).map(Box::new)
    }
}

/// Prints public bytes as hex, cut where they get long.
pub(crate) struct Hex<'a>(pub &'a [u8]);

impl fmt::Debug for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.iter().take(16) {
            write!(f, "{byte:02x}")?;
        }
        if self.0.len() > 16 { write!(f, "..({} bytes)", self.0.len()) } else { Ok(()) }
    }
}
