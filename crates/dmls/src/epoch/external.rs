//! Joining by an external commit (RFC 9420 s12.4.3.2).

use rand_core::CryptoRng;

use crate::codec::Encode;
use crate::crypto::KemOutput;
use crate::error::{Error, Rule};
use crate::framing::{AuthenticatedContent, Content, FramedContent, MlsMessage, PublicMessage, Sender};
use crate::identity::Identity;
use crate::key_schedule::{CommitSecret, EpochId, InitSecret, PskLookup, external_init_sender};
use crate::message::{Commit, PreSharedKeyId, Proposal, ProposalOrRef};
use crate::registry::WireFormat;
use crate::tree::{LeafIndex, NewPath};

use super::commit::log_committer_secrets;
use super::join::{check_own_support, find_by_signature_key};
use super::process::DerivedEpoch;
use super::{CommitSummary, Committer, Epoch, Proposed, Rules, VerifiedGroupInfo};

/// How to join.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExternalRequest {
    /// Pre-shared keys to mix in.
    pub psks: Vec<PreSharedKeyId>,
    pub authenticated_data: Vec<u8>,
}

/// An external commit of ours and the epoch that it makes.
#[derive(Debug)]
pub(crate) struct ExternalJoin {
    pub message: MlsMessage,
    /// The epoch that we join from, where the GroupInfo says it.
    pub parent: Option<EpochId>,
    pub epoch: Box<Epoch>,
    pub summary: CommitSummary,
}

/// Joins by ourselves. A former self with the same signature key is removed on the way (resync). The GroupInfo is judged by
/// now but for its external_pub; what else is wrong is what we ask for.
pub(crate) fn join_external(
    rules: Rules<'_>,
    identity: &Identity,
    group_info: &VerifiedGroupInfo,
    request: ExternalRequest,
    psks: PskLookup<'_>,
    rng: &mut dyn CryptoRng,
) -> Result<ExternalJoin, Error> {
    let external_pub = group_info.external_pub().ok_or(Rule::GroupInfoExternalPub)?;
    let init = external_init_sender(&group_info.public().suite, external_pub, rng)
        .map_err(|_| Rule::GroupInfoExternalPub)?;
    make_commit(rules, identity, group_info, request, init, psks, rng).map_err(Error::refused)
}

fn make_commit(
    rules: Rules<'_>,
    identity: &Identity,
    group_info: &VerifiedGroupInfo,
    request: ExternalRequest,
    (kem_output, init): (KemOutput, InitSecret),
    psks: PskLookup<'_>,
    rng: &mut dyn CryptoRng,
) -> Result<ExternalJoin, Error> {
    let public = group_info.public();
    let suite = public.suite;
    let mut proposals = vec![Proposal::ExternalInit(kem_output)];
    let former = find_by_signature_key(public, identity.signer().public());
    proposals.extend(former.map(Proposal::Remove));
    proposals.extend(request.psks.into_iter().map(Proposal::PreSharedKey));
    let list: Vec<_> = proposals
        .iter()
        .map(|proposal| Proposed { proposal, sender: Sender::NewMemberCommit, reference: None })
        .collect();
    let template = identity.leaf_template();
    let provisional = public.apply_proposals(rules, Committer::Joiner(&template), &list)?;
    let own: LeafIndex = provisional.tree.first_blank();
    let path = NewPath::generate(
        &public.validator(rules, &provisional.extensions),
        &provisional.tree,
        own,
        template,
        identity.signer().private(),
        public.max_members(rules),
        rng,
    )
    .map_err(|error| public.too_many_members(error))?;
    check_own_support(identity.capabilities(), &public.context.extensions)?;
    let provisional_context = public.provisional_context(&provisional, &path.tree);
    let update_path = path.encrypt(&suite, &provisional_context.to_bytes(), &[], rng)?;
    path.tree.check_credential_support()?;

    let proposals = proposals.iter().map(|p| ProposalOrRef::Proposal(Box::new(p.clone()))).collect();
    let framed = FramedContent {
        group_id: public.context.group_id.clone(),
        epoch: public.context.epoch,
        sender: Sender::NewMemberCommit,
        authenticated_data: request.authenticated_data,
        content: Content::Commit(Box::new(Commit { proposals, path: Some(update_path) })),
    };
    let key = identity.signer().private();
    let mut content =
        AuthenticatedContent::sign(&suite, key, WireFormat::PUBLIC_MESSAGE, framed, &public.context)?;
    let context = public.next_context(provisional_context, &content);

    log_committer_secrets(rules, Some(&path), &path.private);
    rules.config.log("path_secret_n", path.last_path_secret.as_bytes());
    let commit_secret = CommitSecret(suite.derive_secret(&path.last_path_secret, "path"));
    let psk = psks.psk_secret(&suite, &provisional.psks)?;
    let derived = DerivedEpoch::derive(rules, &suite, &context, &init, &commit_secret, &psk);
    let (confirmed, tag) = derived.expanded.confirm_own(&suite, context);
    content.auth.confirmation_tag = Some(tag);

    let message = MlsMessage::PublicMessage(Box::new(PublicMessage::from_outside(content)));
    let id = message.commit_id(&suite);
    let summary = CommitSummary::new(public, own, true, &provisional, &path.tree);
    let signer = identity.signer().clone();
    let epoch = Epoch::new(confirmed, path.tree, path.private, signer, None, Some(id));
    let parent = group_info.dmls_epoch().cloned();
    Ok(ExternalJoin { message, parent, epoch: Box::new(epoch), summary })
}
