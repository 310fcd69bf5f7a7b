//! How our own records and payloads are encoded: in the presentation language of MLS (RFC 9420 s2.1).

use dmls::codec::{Decode, DecodeError, Encode, Reader};

/// The codec of a struct whose fields are encoded in the order given.
macro_rules! record {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl dmls::codec::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                $(dmls::codec::Encode::encode(&self.$field, out);)*
            }
        }

        impl dmls::codec::Decode for $name {
            fn decode(r: &mut dmls::codec::Reader<'_>) -> Result<Self, dmls::codec::DecodeError> {
                Ok(Self { $($field: dmls::codec::Decode::decode(r)?,)* })
            }
        }
    };
}

/// Bytes of a length that is known.
macro_rules! fixed {
    ($name:ident, $length:literal, $expected:literal) => {
        impl dmls::codec::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0);
            }
        }

        impl dmls::codec::Decode for $name {
            fn decode(r: &mut dmls::codec::Reader<'_>) -> Result<Self, dmls::codec::DecodeError> {
                let mut bytes = [0; $length];
                bytes.copy_from_slice(r.take($length, $expected)?);
                Ok(Self(bytes))
            }
        }
    };
}

pub(crate) use {fixed, record};

/// Text on the wire or on disk: `opaque text<V>`, UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text(pub String);

impl Encode for Text {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.as_bytes().to_vec().encode(out);
    }
}

impl Decode for Text {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        let error = DecodeError { offset: start, expected: "text in UTF-8", field: None };
        String::from_utf8(Vec::decode(r)?).map(Self).map_err(|_| error)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}
