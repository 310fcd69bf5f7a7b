//! What a client supports (RFC 9420 s7.2) and what a group requires (s11.1).

use crate::codec::wire_struct;
use crate::registry::{CipherSuite, CredentialType, ExtensionType, ProposalType, ProtocolVersion};

use super::Extensions;

/// What a client supports, beyond the default extension and proposal types.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    /// Protocol versions.
    pub versions: Vec<ProtocolVersion>,
    /// Cipher suites.
    pub cipher_suites: Vec<CipherSuite>,
    /// Extension types that are not default.
    pub extensions: Vec<ExtensionType>,
    /// Proposal types that are not default.
    pub proposals: Vec<ProposalType>,
    /// Credential types.
    pub credentials: Vec<CredentialType>,
}

wire_struct!(Capabilities { versions, cipher_suites, extensions, proposals, credentials });

impl Capabilities {
    /// Whether the type is default or listed.
    pub fn supports_extension(&self, extension_type: ExtensionType) -> bool {
        extension_type.is_default() || self.extensions.contains(&extension_type)
    }

    /// Whether the type is default or listed.
    pub fn supports_proposal(&self, proposal_type: ProposalType) -> bool {
        proposal_type.is_default() || self.proposals.contains(&proposal_type)
    }

    /// Whether the type is listed; there are no default ones.
    pub fn supports_credential(&self, credential_type: CredentialType) -> bool {
        self.credentials.contains(&credential_type)
    }

    /// Whether everything required is supported.
    pub fn meets(&self, required: &RequiredCapabilities) -> bool {
        required.extension_types.iter().all(|t| self.supports_extension(*t))
            && required.proposal_types.iter().all(|t| self.supports_proposal(*t))
            && required.credential_types.iter().all(|t| self.supports_credential(*t))
    }

    /// Whether every extension in the list is supported.
    pub fn support_all(&self, extensions: &Extensions) -> bool {
        extensions.types().all(|t| self.supports_extension(t))
    }
}

/// GroupContext: what every member must support (RFC 9420 s11.1).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RequiredCapabilities {
    /// Extension types.
    pub extension_types: Vec<ExtensionType>,
    /// Proposal types.
    pub proposal_types: Vec<ProposalType>,
    /// Credential types.
    pub credential_types: Vec<CredentialType>,
}

wire_struct!(RequiredCapabilities { extension_types, proposal_types, credential_types });
