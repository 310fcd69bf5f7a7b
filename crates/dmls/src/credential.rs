//! Credentials and the authentication service (RFC 9420 s5.3).

use std::fmt;

use crate::codec::{Decode, DecodeError, Encode, Hex, Reader, wire_struct};
use crate::crypto::SignaturePublicKey;
use crate::registry::CredentialType;

/// Who a member is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Credential {
    /// A bare identity, for an authentication service that knows which key belongs to it.
    Basic(Vec<u8>),
    /// DER-encoded certificates; the first is the member's own.
    X509(Vec<Certificate>),
}

/// One DER-encoded certificate.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Certificate {
    /// DER.
    pub cert_data: Vec<u8>,
}

wire_struct!(Certificate { cert_data });

impl Credential {
    /// A basic credential.
    pub fn basic(identity: impl Into<Vec<u8>>) -> Self {
        Self::Basic(identity.into())
    }

    /// The registered type.
    pub fn credential_type(&self) -> CredentialType {
        match self {
            Self::Basic(_) => CredentialType::BASIC,
            Self::X509(_) => CredentialType::X509,
        }
    }

    /// The identity of a basic credential.
    pub fn identity(&self) -> Option<&[u8]> {
        match self {
            Self::Basic(identity) => Some(identity),
            Self::X509(_) => None,
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic(identity) => match std::str::from_utf8(identity) {
                Ok(text) => write!(f, "Basic({text:?})"),
                Err(_) => write!(f, "Basic({:?})", Hex(identity)),
            },
            Self::X509(chain) => write!(f, "X509({} certificates)", chain.len()),
        }
    }
}

impl Encode for Credential {
    fn encode(&self, out: &mut Vec<u8>) {
        self.credential_type().encode(out);
        match self {
            Self::Basic(identity) => identity.encode(out),
            Self::X509(chain) => chain.encode(out),
        }
    }
}

impl Decode for Credential {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        match CredentialType::decode(r)? {
            CredentialType::BASIC => Vec::decode(r).map(Self::Basic),
            CredentialType::X509 => Vec::decode(r).map(Self::X509),
            // The RFC gives an unknown credential no length, so nothing behind it could be found.
            _ => Err(DecodeError::at(start, "credential type 1 (basic) or 2 (x509)")),
        }
    }
}

/// The authentication service of the application (RFC 9420 s5.3.1, RFC 9750 s4).
pub trait AuthenticationService: Send + Sync {
    /// Whether `credential` is valid and belongs to the owner of `signature_key`.
    fn is_valid(&self, credential: &Credential, signature_key: &SignaturePublicKey) -> bool;

    /// Whether a stranger may ask to be added by itself (RFC 9420 s12.1.8): "external proposals that are not authorized
    /// are considered invalid". What is accepted here is in the next commit of any member.
    fn may_propose_itself(&self, _credential: &Credential, _signature_key: &SignaturePublicKey) -> bool {
        false
    }

    /// Whether `successor` may replace `predecessor` in a member's leaf: they present the same client.
    fn is_successor(&self, predecessor: &Credential, successor: &Credential) -> bool {
        predecessor == successor
    }
}

/// Accepts any well-formed credential. It is no authentication: an application puts its own service here, or
/// compares fingerprints by other means.
#[derive(Clone, Copy, Debug, Default)]
pub struct AcceptAnyCredential;

impl AuthenticationService for AcceptAnyCredential {
    fn is_valid(&self, _: &Credential, _: &SignaturePublicKey) -> bool {
        true
    }
}
