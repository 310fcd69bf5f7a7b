//! A hostile member: damaged content, properly signed. It reaches the rules behind the signatures.

use rand_core::CryptoRng;

use crate::codec::{Decode, Encode};
use crate::crypto::Suite;
use crate::framing::{AuthenticatedContent, Content, FramedContent, MlsMessage, Sender};
use crate::group::{DmlsMessage, Group};
use crate::key_schedule::KeySchedule;
use crate::message::{Proposal, ProposalOrRef};
use crate::tree::{LeafNode, LeafPlace};

/// Takes a member's PublicMessage, damages its content, and signs and protects it again as `group`'s member in its head. The
/// signatures of the leaf nodes that it holds are renewed too. `None` where the damage does not decode.
pub fn insider(
    group: &Group,
    message: &[u8],
    damage: &mut dyn FnMut(&[u8]) -> Vec<u8>,
    rng: &mut dyn CryptoRng,
) -> Option<Vec<u8>> {
    let message = match group.config().schedule {
        KeySchedule::Rfc9420 => MlsMessage::from_bytes(message).ok()?,
        KeySchedule::Dmls => DmlsMessage::from_bytes(message).ok()?.message,
    };
    let MlsMessage::PublicMessage(message) = message else { return None };
    let epoch = group.head_epoch();
    let (suite, key) = (epoch.suite(), epoch.signer.private());
    let place = LeafPlace { group_id: group.id(), leaf: epoch.own_leaf() };

    let mut content = FramedContent::from_bytes(&damage(&message.content.to_bytes())).ok()?;
    content.group_id = group.id().to_vec();
    content.epoch = epoch.context().epoch;
    content.sender = Sender::Member(epoch.own_leaf());
    let renew = |suite: &Suite, leaf: &mut LeafNode| leaf.sign(suite, key, place).ok();
    match &mut content.content {
        Content::Proposal(Proposal::Update(leaf)) => renew(suite, leaf)?,
        Content::Commit(commit) => {
            if let Some(path) = &mut commit.path {
                renew(suite, &mut path.leaf_node)?;
            }
            for proposal in &mut commit.proposals {
                if let ProposalOrRef::Proposal(proposal) = proposal
                    && let Proposal::Update(leaf) = &mut **proposal
                {
                    renew(suite, leaf)?;
                }
            }
        }
        _ => {}
    }
    let format = epoch.handshake_format(group.config());
    let mut content = AuthenticatedContent::sign(suite, key, format, content, epoch.context()).ok()?;
    content.auth.confirmation_tag = message.auth.confirmation_tag.clone();
    let outgoing = epoch.protect(group.config(), content, rng).ok()?;
    Some(group.wrap(outgoing.message, &epoch.id))
}
