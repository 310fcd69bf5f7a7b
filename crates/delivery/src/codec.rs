//! How records and frames are encoded: in the presentation language of MLS (RFC 9420 s2.1).

/// A struct whose fields are encoded in the order given.
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

/// An enumeration: a byte for the variant, then its fields in the order given.
macro_rules! variants {
    ($name:ident { $($byte:literal => $variant:ident $({ $($field:ident),* $(,)? })?),* $(,)? }) => {
        impl dmls::codec::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $({ $($field),* })? => {
                        out.push($byte);
                        $($(dmls::codec::Encode::encode($field, out);)*)?
                    })*
                }
            }
        }

        impl dmls::codec::Decode for $name {
            fn decode(r: &mut dmls::codec::Reader<'_>) -> Result<Self, dmls::codec::DecodeError> {
                let offset = r.position();
                match r.u8()? {
                    $($byte => Ok(Self::$variant $({ $($field: dmls::codec::Decode::decode(r)?),* })?),)*
                    _ => Err(dmls::codec::DecodeError {
                        offset,
                        expected: concat!("a variant of ", stringify!($name)),
                        field: None,
                    }),
                }
            }
        }
    };
}

/// A number with a meaning.
macro_rules! newtype {
    ($(#[$meta:meta])* pub struct $name:ident($inner:ty);) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl dmls::codec::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                dmls::codec::Encode::encode(&self.0, out);
            }
        }

        impl dmls::codec::Decode for $name {
            fn decode(r: &mut dmls::codec::Reader<'_>) -> Result<Self, dmls::codec::DecodeError> {
                dmls::codec::Decode::decode(r).map(Self)
            }
        }
    };
}

/// A name of 32 bytes.
macro_rules! bytes32 {
    ($(#[$meta:meta])* pub struct $name:ident;) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}(", stringify!($name))?;
                self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str(")")
            }
        }

        impl dmls::codec::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0);
            }
        }

        impl dmls::codec::Decode for $name {
            fn decode(r: &mut dmls::codec::Reader<'_>) -> Result<Self, dmls::codec::DecodeError> {
                let mut bytes = [0; 32];
                bytes.copy_from_slice(r.take(32, "a name of 32 bytes")?);
                Ok(Self(bytes))
            }
        }
    };
}

pub(crate) use {bytes32, newtype, record, variants};
