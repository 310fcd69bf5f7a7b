//! Code points of the IANA registries (RFC 9420 s17).

pub(crate) mod cipher_suite;

use crate::codec::code_points;

pub(crate) use cipher_suite::CipherSuite;

code_points! {
    /// A protocol version (RFC 9420 s6).
    pub struct ProtocolVersion(u16) {
        /// RFC 9420.
        MLS10 = 1 => "mls10";
    }
}

code_points! {
    /// What an MLSMessage carries (RFC 9420 s17.2).
    pub struct WireFormat(u16) {
        /// A signed message that is not encrypted.
        PUBLIC_MESSAGE = 1 => "mls_public_message";
        /// A signed and encrypted message.
        PRIVATE_MESSAGE = 2 => "mls_private_message";
        /// An invitation for new members.
        WELCOME = 3 => "mls_welcome";
        /// What an external joiner needs.
        GROUP_INFO = 4 => "mls_group_info";
        /// What is needed to add a client.
        KEY_PACKAGE = 5 => "mls_key_package";
    }
}

code_points! {
    /// An extension type (RFC 9420 s17.3).
    pub struct ExtensionType(u16) {
        /// Leaf: an identifier for the application.
        APPLICATION_ID = 1 => "application_id";
        /// GroupInfo: the ratchet tree.
        RATCHET_TREE = 2 => "ratchet_tree";
        /// GroupContext: what every member must support.
        REQUIRED_CAPABILITIES = 3 => "required_capabilities";
        /// GroupInfo: the key for external commits.
        EXTERNAL_PUB = 4 => "external_pub";
        /// GroupContext: who may send proposals from outside.
        EXTERNAL_SENDERS = 5 => "external_senders";
        /// GroupContext: this group uses the draft's key schedule (DESIGN s3.4, R9; private use).
        DMLS = 0xf0d5 => "dmls";
        /// GroupInfo: the `dmls_epoch`, which an external joiner puts into its header (DESIGN, R13; private use).
        DMLS_EPOCH = 0xf0d6 => "dmls_epoch";
        /// GroupInfo: the CommitId of the commit that made the epoch (DESIGN, R15; private use).
        COMMIT_ID = 0xf0d7 => "commit_id";
        /// GroupContext: what decides alike for all members (DESIGN, R16; private use).
        RULESET = 0xf0d8 => "ruleset";
        /// Leaf: which server speaks for it (DESIGN, R17; private use).
        HOME_ATTESTATION = 0xf0d9 => "home_attestation";
    }
}

impl ExtensionType {
    /// Whether it is one of the five that need not, and must not, be listed in capabilities (RFC 9420 s7.2).
    pub fn is_default(self) -> bool {
        (1..=5).contains(&self.0)
    }
}

code_points! {
    /// A proposal type (RFC 9420 s17.4).
    pub struct ProposalType(u16) {
        /// Adds a client.
        ADD = 1 => "add";
        /// Replaces the sender's leaf.
        UPDATE = 2 => "update";
        /// Removes a member.
        REMOVE = 3 => "remove";
        /// Mixes a pre-shared key into the key schedule.
        PSK = 4 => "psk";
        /// Ends the group in favour of another.
        REINIT = 5 => "reinit";
        /// Starts an external commit.
        EXTERNAL_INIT = 6 => "external_init";
        /// Replaces the extensions of the GroupContext.
        GROUP_CONTEXT_EXTENSIONS = 7 => "group_context_extensions";
    }
}

impl ProposalType {
    /// Whether it is one of the seven of RFC 9420, which need not be listed in capabilities (s7.2).
    pub fn is_default(self) -> bool {
        (1..=7).contains(&self.0)
    }
}

code_points! {
    /// A credential type (RFC 9420 s17.5).
    pub struct CredentialType(u16) {
        /// A bare identity.
        BASIC = 1 => "basic";
        /// A certificate chain.
        X509 = 2 => "x509";
    }
}
