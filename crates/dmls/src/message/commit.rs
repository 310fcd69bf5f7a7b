//! Commits (RFC 9420 s12.4).

use crate::codec::{Decode, DecodeError, Encode, Reader, wire_struct};
use crate::crypto::ProposalRef;
use crate::tree::UpdatePath;

use super::Proposal;

/// Starts a new epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// What changes, in order.
    pub proposals: Vec<ProposalOrRef>,
    /// Fresh keys on the committer's path.
    pub path: Option<UpdatePath>,
}

wire_struct!(Commit { proposals, path });

/// A proposal, or the name of one that was sent before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProposalOrRef {
    /// By value: it is the committer's.
    Proposal(Box<Proposal>),
    /// By reference.
    Reference(ProposalRef),
}

impl Encode for ProposalOrRef {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Proposal(proposal) => {
                out.push(1);
                proposal.encode(out);
            }
            Self::Reference(reference) => {
                out.push(2);
                reference.encode(out);
            }
        }
    }
}

impl Decode for ProposalOrRef {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        match r.u8()? {
            1 => Decode::decode(r).map(Self::Proposal),
            2 => Decode::decode(r).map(Self::Reference),
            _ => Err(DecodeError::at(start, "1 (proposal) or 2 (reference)")),
        }
    }
}
