//! Credentials and the authentication service (RFC 9420 s5.3).

use std::fmt;

use crate::codec::{Decode, DecodeError, Encode, Hex, Reader, wire_struct};
use crate::crypto::SignaturePublicKey;
use crate::registry::CredentialType;
use crate::time::Time;

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

/// What introduces a credential into a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// We create the group; the credential is our own.
    Create,
    /// Somebody adds a client by its KeyPackage.
    Add,
    /// A stranger proposes to add itself.
    AddItself,
    /// A member replaces its leaf by an Update proposal.
    Update,
    /// A member replaces its leaf by a commit of its own.
    Commit,
    /// A client adds itself by an external commit.
    ExternalCommit,
    /// We join a group, or begin to follow it, and this is one of its members.
    Join,
    /// Somebody is to be listed in the external_senders extension, or is in that of a group which we join.
    ExternalSender,
    /// A member of a group that follows another by reinit or branch.
    Successor,
}

/// A credential as it comes into a group, to be judged by the [`AuthenticationService`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Presented<'a> {
    /// Who it claims to be.
    pub credential: &'a Credential,
    /// The key that is to be its own.
    pub signature_key: &'a SignaturePublicKey,
    /// The group.
    pub group_id: &'a [u8],
    /// What brings it in.
    pub operation: Operation,
    /// The time, when it is we who act: create, add, commit, join. `None` when we judge what others made.
    pub now: Option<Time>,
}

/// The authentication service of the application (RFC 9420 s5.3.1, RFC 9750 s4).
///
/// It is asked about every credential that is new in a group, once when a proposal arrives and again when it is committed.
///
/// **When [`Presented::now`] is `None`, all members must give the same answer**, whenever and wherever they are asked: a
/// member who refuses a commit that the others accept is on a branch of its own from then on. So the answer may then depend
/// on nothing but what is presented and what the group itself says, never on a clock, a revocation list or a contact book.
/// Those count when we act: what we then refuse we do not add or commit, and who is in already can be removed.
pub trait AuthenticationService: Send + Sync {
    /// Whether the credential is valid and belongs to the owner of the signature key.
    fn is_valid(&self, presented: &Presented<'_>) -> bool;

    /// Whether a stranger may ask to be added by itself (RFC 9420 s12.1.8): "external proposals that are not authorized
    /// are considered invalid". What is accepted here is in the next commit of any member.
    fn may_propose_itself(&self, _presented: &Presented<'_>) -> bool {
        false
    }

    /// Whether what is presented may take the place of `predecessor`, in a member's leaf or in a group that follows another:
    /// they are the same client.
    fn is_successor(&self, predecessor: &Credential, presented: &Presented<'_>) -> bool {
        predecessor == presented.credential
    }
}
