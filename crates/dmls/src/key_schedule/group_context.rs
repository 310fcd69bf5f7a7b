//! GroupContext (RFC 9420 s8.1): what all members of an epoch agree on.

use crate::codec::{Hex, wire_struct};
use crate::extension::Extensions;
use crate::registry::{CipherSuite, ProtocolVersion};

/// The public summary of an epoch.
#[derive(Clone, PartialEq, Eq)]
pub struct GroupContext {
    /// mls10.
    pub version: ProtocolVersion,
    /// The suite.
    pub cipher_suite: CipherSuite,
    /// The group.
    pub group_id: Vec<u8>,
    /// The epoch's number. With forks it is not unique: see [`crate::EpochId`].
    pub epoch: u64,
    /// The hash of the whole ratchet tree.
    pub tree_hash: Vec<u8>,
    /// The hash of all commits that led here.
    pub confirmed_transcript_hash: Vec<u8>,
    /// What else the members agree on.
    pub extensions: Extensions,
}

wire_struct!(GroupContext {
    version,
    cipher_suite,
    group_id,
    epoch,
    tree_hash,
    confirmed_transcript_hash,
    extensions,
});

impl std::fmt::Debug for GroupContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupContext")
            .field("cipher_suite", &self.cipher_suite)
            .field("group_id", &Hex(&self.group_id))
            .field("epoch", &self.epoch)
            .field("tree_hash", &Hex(&self.tree_hash))
            .field("confirmed_transcript_hash", &Hex(&self.confirmed_transcript_hash))
            .field("extensions", &self.extensions)
            .finish()
    }
}
