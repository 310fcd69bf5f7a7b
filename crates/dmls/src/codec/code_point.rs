//! Open code points: integers with some well-known values. Unknown ones, GREASE among them, survive a round trip.

/// Defines a newtype over an integer with named constants, its codec and a `Debug` that prints the name.
macro_rules! code_points {
    ($(#[$meta:meta])* $vis:vis struct $name:ident($int:ty) { $($(#[$doc:meta])* $constant:ident = $value:expr => $text:expr;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis struct $name(pub $int);

        impl $name {
            $($(#[$doc])* pub const $constant: Self = Self($value);)*

            /// The registered name, if this library knows it.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$constant => Some($text),)*
                    _ => None,
                }
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{}({:#06x})", stringify!($name), self.0),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(self, f)
            }
        }

        impl $crate::codec::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }
        }

        impl $crate::codec::Decode for $name {
            fn decode(r: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::DecodeError> {
                <$int>::decode(r).map(Self)
            }
        }
    };
}

pub(crate) use code_points;
