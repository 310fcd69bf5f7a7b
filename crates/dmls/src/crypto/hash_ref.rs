//! Hash-based identifiers (RFC 9420 s5.2).

use super::Suite;
use crate::codec::{Encode, opaque_type};

opaque_type! {
    /// `MakeKeyPackageRef(value)`: names a KeyPackage.
    pub struct KeyPackageRef;
}

opaque_type! {
    /// `MakeProposalRef(value)`: names a proposal by the AuthenticatedContent that carried it.
    pub struct ProposalRef;
}

impl Suite {
    /// `RefHash(label, value) = Hash(RefHashInput)`; the label is not prefixed.
    pub(crate) fn ref_hash(&self, label: &str, value: &[u8]) -> Vec<u8> {
        let mut input = Vec::with_capacity(label.len() + value.len() + 8);
        label.as_bytes().encode(&mut input);
        value.encode(&mut input);
        self.hash(&[&input])
    }

    /// `RefHash("MLS 1.0 KeyPackage Reference", key_package)`.
    pub(crate) fn key_package_ref(&self, key_package: &[u8]) -> KeyPackageRef {
        self.ref_hash("MLS 1.0 KeyPackage Reference", key_package).into()
    }

    /// `RefHash("MLS 1.0 Proposal Reference", authenticated_content)`.
    pub(crate) fn proposal_ref(&self, authenticated_content: &[u8]) -> ProposalRef {
        self.ref_hash("MLS 1.0 Proposal Reference", authenticated_content).into()
    }
}
