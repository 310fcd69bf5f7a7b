//! The two shapes that most structures have: fields in a row, and a byte string with a name.

/// The codec of a struct whose fields are encoded in the order given.
macro_rules! wire_struct {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::codec::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                $($crate::codec::Encode::encode(&self.$field, out);)*
            }

            fn encoded_length(&self) -> usize {
                0 $(+ $crate::codec::Encode::encoded_length(&self.$field))*
            }
        }

        impl $crate::codec::Decode for $name {
            fn decode(r: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::DecodeError> {
                Ok(Self {
                    $($field: $crate::codec::Decode::decode(r)
                        .map_err(|e| e.or_in(concat!(stringify!($name), ".", stringify!($field))))?,)*
                })
            }
        }
    };
}

/// A public byte string, `opaque x<V>`, as a type of its own. No `Default`: an empty name would be a sentinel. Types of values
/// that are filled in later derive it themselves.
macro_rules! opaque_type {
    ($(#[$meta:meta])* $vis:vis struct $name:ident;) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis struct $name(Vec<u8>);

        impl $name {
            /// The bytes, without a length header.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl From<Vec<u8>> for $name {
            fn from(bytes: Vec<u8>) -> Self {
                Self(bytes)
            }
        }

        impl From<&[u8]> for $name {
            fn from(bytes: &[u8]) -> Self {
                Self(bytes.to_vec())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({:?})", stringify!($name), $crate::codec::Hex(&self.0))
            }
        }

        impl $crate::codec::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }

            fn encoded_length(&self) -> usize {
                self.0.encoded_length()
            }
        }

        impl $crate::codec::Decode for $name {
            fn decode(r: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::DecodeError> {
                Vec::decode(r).map(Self)
            }
        }
    };
}

pub(crate) use opaque_type;
pub(crate) use wire_struct;
