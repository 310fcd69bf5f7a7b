//! Lists of extensions, and the contents that this library understands.

use std::fmt;

use crate::codec::{Decode, DecodeError, Encode, Hex, Reader, wire_struct};
use crate::credential::Credential;
use crate::crypto::{HpkePublicKey, SignaturePublicKey};
use crate::registry::ExtensionType;

use super::RequiredCapabilities;

/// One extension.
#[derive(Clone, PartialEq, Eq)]
pub struct Extension {
    /// What it is.
    pub extension_type: ExtensionType,
    /// Its content, in an encoding of its own.
    pub extension_data: Vec<u8>,
}

wire_struct!(Extension { extension_type, extension_data });

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:?})", self.extension_type, Hex(&self.extension_data))
    }
}

/// A list of extensions in which no type occurs twice (RFC 9420 s13.4).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Extensions(Vec<Extension>);

impl Extensions {
    /// No extensions.
    pub fn new() -> Self {
        Self::default()
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Extension> {
        self.0.iter()
    }

    /// Their types, in their order.
    pub fn types(&self) -> impl Iterator<Item = ExtensionType> + '_ {
        self.0.iter().map(|e| e.extension_type)
    }

    /// Whether one of this type is there.
    pub fn contains(&self, extension_type: ExtensionType) -> bool {
        self.types().any(|t| t == extension_type)
    }

    /// The raw content of one type.
    pub fn data(&self, extension_type: ExtensionType) -> Option<&[u8]> {
        self.0.iter().find(|e| e.extension_type == extension_type).map(|e| &e.extension_data[..])
    }

    /// The content of one type, decoded. `None` if it is not there.
    pub fn content<T: ExtensionContent>(&self) -> Result<Option<T>, DecodeError> {
        self.data(T::TYPE).map(T::from_bytes).transpose()
    }

    /// Adds one, or replaces that of the same type.
    pub fn set(&mut self, extension_type: ExtensionType, extension_data: Vec<u8>) {
        match self.0.iter_mut().find(|e| e.extension_type == extension_type) {
            Some(extension) => extension.extension_data = extension_data,
            None => self.0.push(Extension { extension_type, extension_data }),
        }
    }

    /// Adds one by its content, or replaces that of the same type.
    pub fn set_content<T: ExtensionContent>(&mut self, content: &T) {
        self.set(T::TYPE, content.to_bytes());
    }

    /// Takes one out.
    pub fn remove(&mut self, extension_type: ExtensionType) {
        self.0.retain(|e| e.extension_type != extension_type);
    }
}

impl Encode for Extensions {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Extensions {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        let list = Self(Vec::decode(r)?);
        let mut types: Vec<_> = list.types().collect();
        types.sort();
        if types.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DecodeError::at(start, "extensions of different types"));
        }
        Ok(list)
    }
}

/// The content of an extension type.
pub trait ExtensionContent: Encode + Decode {
    /// The type.
    const TYPE: ExtensionType;
}

/// GroupInfo: the public key for external commits (RFC 9420 s12.4.3.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExternalPub {
    /// Derived from the epoch's external_secret.
    pub external_pub: HpkePublicKey,
}

wire_struct!(ExternalPub { external_pub });

impl ExtensionContent for ExternalPub {
    const TYPE: ExtensionType = ExtensionType::EXTERNAL_PUB;
}

/// Someone outside of the group who may send proposals (RFC 9420 s12.1.8.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExternalSender {
    /// Verifies its proposals.
    pub signature_key: SignaturePublicKey,
    /// Who it is.
    pub credential: Credential,
}

wire_struct!(ExternalSender { signature_key, credential });

/// GroupContext: all of them; a sender is named by its place in this list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExternalSenders(pub Vec<ExternalSender>);

impl Encode for ExternalSenders {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for ExternalSenders {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Vec::decode(r).map(Self)
    }
}

impl ExtensionContent for ExternalSenders {
    const TYPE: ExtensionType = ExtensionType::EXTERNAL_SENDERS;
}

impl ExtensionContent for RequiredCapabilities {
    const TYPE: ExtensionType = ExtensionType::REQUIRED_CAPABILITIES;
}
