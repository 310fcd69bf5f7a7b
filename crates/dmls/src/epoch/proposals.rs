//! Proposal lists: validation (RFC 9420 s12.2) and application (s12.3).

use std::collections::BTreeSet;

use crate::credential::Operation;
use crate::crypto::{KemOutput, ProposalRef};
use crate::error::{Error, Limit, Rule};
use crate::extension::{Extensions, ExternalJoins, RequiredCapabilities};
use crate::framing::Sender;
use crate::key_package::Recipient;
use crate::message::{PreSharedKeyId, Proposal, ReInit};
use crate::tree::{LeafIndex, LeafNode, LeafValidator, RatchetTree};

use super::join::is_successor_psk;
use super::public::check_context_extensions;
use super::{PublicEpoch, Rules};

/// Who commits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Committer<'a> {
    Member(LeafIndex),
    /// A joiner with the leaf of its update path.
    Joiner(&'a LeafNode),
}

/// A proposal of a commit, with the one who made it.
#[derive(Clone, Debug)]
pub(crate) struct Proposed<'a> {
    pub proposal: &'a Proposal,
    pub sender: Sender,
    pub reference: Option<&'a ProposalRef>,
}

/// The group after a proposal list, before the update path.
#[derive(Clone, Debug)]
pub(crate) struct Provisional {
    pub tree: RatchetTree,
    pub extensions: Extensions,
    pub updated: Vec<LeafIndex>,
    pub removed: Vec<LeafIndex>,
    pub added: Vec<(LeafIndex, Recipient)>,
    pub psks: Vec<PreSharedKeyId>,
    pub external_init: Option<KemOutput>,
    pub reinit: Option<ReInit>,
    pub needs_path: bool,
}

impl Provisional {
    /// The leaves that this commit adds: nothing is encrypted to them in its path (RFC 9420 s7.6).
    pub(crate) fn new_leaves(&self) -> Vec<LeafIndex> {
        self.added.iter().map(|(leaf, _)| *leaf).collect()
    }
}

/// How an Add proposal of this sender brings its client in.
fn adding(sender: Sender) -> Operation {
    match sender {
        Sender::NewMemberProposal => Operation::AddItself,
        _ => Operation::Add,
    }
}

impl PublicEpoch {
    /// Checks one proposal by itself (RFC 9420 s12.1). Leaves are judged under `extensions`: the group's for what we
    /// make, none for what arrives, because a commit may replace them and only then they count (s12.3).
    pub(crate) fn check_proposal(
        &self,
        rules: Rules<'_>,
        extensions: &Extensions,
        proposal: &Proposal,
        sender: Sender,
    ) -> Result<(), Error> {
        let validator = self.validator(rules, extensions);
        match proposal {
            Proposal::Add(key_package)
                if sender == Sender::NewMemberProposal
                    && !rules.config.authentication.may_propose_itself(
                        &validator.presented(&key_package.leaf_node, Operation::AddItself),
                    ) =>
            {
                return Err(Rule::NewMemberRefused.into());
            }
            Proposal::Add(key_package) => drop(key_package.validate(&validator, adding(sender))?),
            Proposal::Update(leaf) => {
                let Sender::Member(index) = sender else { return Err(Rule::ExternalContent.into()) };
                validator.update(leaf, index, self.member(index)?)?;
            }
            Proposal::Remove(removed) => {
                self.tree.leaf(*removed).ok_or(Rule::RemoveTarget)?;
            }
            Proposal::PreSharedKey(id) => self.check_psk_id(id)?,
            Proposal::ReInit(reinit) => self.check_reinit(reinit)?,
            Proposal::ExternalInit(_) => return Err(Rule::ExternalInitPlace.into()),
            Proposal::GroupContextExtensions(extensions) => {
                self.check_ruleset_stays(extensions)?;
                check_context_extensions(rules, &self.context.group_id, extensions)?
            }
        }
        Ok(())
    }

    fn check_psk_id(&self, id: &PreSharedKeyId) -> Result<(), Rule> {
        if id.psk_nonce.len() != self.suite.nh() {
            return Err(Rule::PskNonce);
        }
        // Only the commit that makes epoch 1 reinitializes or branches a group (s11.2, s11.3): in epoch 0 the creator is
        // alone.
        if is_successor_psk(id) && self.context.epoch > 0 { Err(Rule::PskUsage) } else { Ok(()) }
    }

    /// Validates the list and applies it: extensions, then updates, removes, adds (RFC 9420 s12.3).
    pub(crate) fn apply_proposals(
        &self,
        rules: Rules<'_>,
        committer: Committer<'_>,
        list: &[Proposed<'_>],
    ) -> Result<Provisional, Error> {
        if self.context.epoch == u64::MAX {
            return Err(Limit::EpochNumber.into());
        }
        match committer {
            Committer::Member(leaf) => self.check_member_list(leaf, list)?,
            Committer::Joiner(leaf) => self.check_joiner_list(rules, leaf, list)?,
        }
        let mut provisional = self.collect(rules, list)?;
        // The new extensions count for every leaf (s12.3).
        let extensions = provisional.extensions.clone();
        let validator = self.validator(rules, &extensions);
        self.apply_updates(&validator, &mut provisional, list)?;
        self.apply_removes(&mut provisional, list)?;
        self.apply_adds(&validator, self.max_members(rules), &mut provisional, list)?;
        self.check_result(&provisional, list)?;
        Ok(provisional)
    }

    /// The rules of a regular commit that concern the list as a whole.
    fn check_member_list(&self, committer: LeafIndex, list: &[Proposed<'_>]) -> Result<(), Rule> {
        let mut touched = BTreeSet::new();
        for proposed in list {
            let leaf = match (proposed.proposal, proposed.sender) {
                (Proposal::Update(_), Sender::Member(leaf)) if leaf == committer => {
                    return Err(Rule::UpdateByCommitter);
                }
                (Proposal::Update(_), Sender::Member(leaf)) => leaf,
                (Proposal::Update(_), _) => return Err(Rule::ExternalContent),
                (Proposal::Remove(leaf), _) if *leaf == committer => return Err(Rule::RemoveCommitter),
                (Proposal::Remove(leaf), _) => *leaf,
                (Proposal::ExternalInit(_), _) => return Err(Rule::ExternalInitPlace),
                (Proposal::ReInit(_), _) if list.len() > 1 => return Err(Rule::ReInitAlone),
                _ => continue,
            };
            if !touched.insert(leaf) {
                return Err(Rule::RepeatedLeaf);
            }
        }
        Ok(())
    }

    /// The rules of an external commit; where its proposals were looked up, references were refused.
    fn check_joiner_list(
        &self,
        rules: Rules<'_>,
        joiner: &LeafNode,
        list: &[Proposed<'_>],
    ) -> Result<(), Rule> {
        let (mut inits, mut removes) = (0, 0);
        for proposed in list {
            match proposed.proposal {
                Proposal::ExternalInit(_) => inits += 1,
                Proposal::Remove(removed) => {
                    removes += 1;
                    let old = self.tree.leaf(*removed).ok_or(Rule::RemoveTarget)?;
                    let validator = self.validator(rules, &self.context.extensions);
                    let presented = validator.presented(joiner, Operation::ExternalCommit);
                    if !validator.auth.is_successor(&old.credential, &presented) {
                        return Err(Rule::ExternalRemove);
                    }
                    if old.encryption_key == joiner.encryption_key {
                        return Err(Rule::LeafKeyUnchanged);
                    }
                }
                // A joiner is not the creator of a successor (s11.2, s11.3).
                Proposal::PreSharedKey(id) if is_successor_psk(id) => return Err(Rule::PskUsage),
                Proposal::PreSharedKey(_) => {}
                _ => return Err(Rule::ExternalProposals),
            }
        }
        match (inits, removes) {
            (1, 0 | 1) => {}
            (1, _) => return Err(Rule::ExternalProposals),
            _ => return Err(Rule::ExternalInitOnce),
        }
        match self.ruleset.as_ref().map(|ruleset| ruleset.external_joins) {
            Some(ExternalJoins::NONE) => Err(Rule::ExternalJoins),
            Some(ExternalJoins::RESYNC) if removes == 0 => Err(Rule::ExternalJoins),
            _ => Ok(()),
        }
    }

    /// Everything that does not touch the tree.
    fn collect(&self, rules: Rules<'_>, list: &[Proposed<'_>]) -> Result<Provisional, Error> {
        let mut provisional = Provisional {
            tree: self.tree.clone(),
            extensions: self.context.extensions.clone(),
            updated: Vec::new(),
            removed: Vec::new(),
            added: Vec::new(),
            psks: Vec::new(),
            external_init: None,
            reinit: None,
            needs_path: list.is_empty(),
        };
        let mut replaced = false;
        let mut psks = BTreeSet::new();
        for proposed in list {
            provisional.needs_path |= proposed.proposal.needs_path();
            match proposed.proposal {
                Proposal::PreSharedKey(id) => {
                    self.check_psk_id(id)?;
                    if !psks.insert(id) {
                        return Err(Rule::RepeatedPsk.into());
                    }
                    provisional.psks.push(id.clone());
                }
                Proposal::ReInit(reinit) => {
                    self.check_reinit(reinit)?;
                    provisional.reinit = Some(reinit.clone());
                }
                Proposal::ExternalInit(kem_output) => provisional.external_init = Some(kem_output.clone()),
                Proposal::GroupContextExtensions(extensions) => {
                    if std::mem::replace(&mut replaced, true) {
                        return Err(Rule::RepeatedGroupContextExtensions.into());
                    }
                    self.check_ruleset_stays(extensions)?;
                    check_context_extensions(rules, &self.context.group_id, extensions)?;
                    provisional.extensions = extensions.clone();
                }
                Proposal::Add(_) | Proposal::Update(_) | Proposal::Remove(_) => {}
            }
        }
        Ok(provisional)
    }

    fn apply_updates(
        &self,
        validator: &LeafValidator<'_>,
        provisional: &mut Provisional,
        list: &[Proposed<'_>],
    ) -> Result<(), Error> {
        for proposed in list {
            if let (Proposal::Update(leaf), Sender::Member(index)) = (proposed.proposal, proposed.sender) {
                let leaf = validator.update(leaf, index, self.member(index)?)?;
                provisional.tree = provisional.tree.update(index, leaf);
                provisional.updated.push(index);
            }
        }
        Ok(())
    }

    fn apply_removes(&self, provisional: &mut Provisional, list: &[Proposed<'_>]) -> Result<(), Error> {
        for proposed in list {
            if let Proposal::Remove(removed) = proposed.proposal {
                provisional.tree.leaf(*removed).ok_or(Rule::RemoveTarget)?;
                provisional.tree = provisional.tree.remove(*removed);
                provisional.removed.push(*removed);
            }
        }
        Ok(())
    }

    fn apply_adds(
        &self,
        validator: &LeafValidator<'_>,
        max_members: u32,
        provisional: &mut Provisional,
        list: &[Proposed<'_>],
    ) -> Result<(), Error> {
        for proposed in list {
            if let Proposal::Add(key_package) = proposed.proposal {
                let valid = key_package.validate(validator, adding(proposed.sender))?;
                // A client is recognised by its signature key.
                if provisional.tree.has_signature_key(&key_package.leaf_node.signature_key) {
                    return Err(Rule::RepeatedClient.into());
                }
                let added = provisional.tree.add(valid.leaf, max_members);
                let (tree, leaf) = added.map_err(|limit| self.too_many_members(limit.into()))?;
                provisional.tree = tree;
                provisional.added.push((leaf, valid.recipient));
            }
        }
        Ok(())
    }

    /// What the whole group must fulfil afterwards.
    fn check_result(&self, provisional: &Provisional, list: &[Proposed<'_>]) -> Result<(), Error> {
        if provisional.extensions != self.context.extensions {
            let required = provisional.extensions.content::<RequiredCapabilities>()?.unwrap_or_default();
            let supported = provisional.tree.leaves().all(|(_, leaf)| {
                leaf.capabilities.support_all(&provisional.extensions) && leaf.capabilities.meets(&required)
            });
            if !supported {
                return Err(Rule::GroupContextExtensions.into());
            }
        }
        if list.iter().any(|p| matches!(p.proposal, Proposal::Add(_) | Proposal::Update(_))) {
            provisional.tree.check_credential_support()?;
            provisional.tree.check_unique_keys()?;
        }
        Ok(())
    }
}
