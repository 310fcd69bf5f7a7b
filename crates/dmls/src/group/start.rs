//! How a client comes into a group: by creating it, by a Welcome, by an external commit.

use std::collections::BTreeMap;

use rand_core::CryptoRng;

use crate::codec::{Decode, Encode};
use crate::config::Config;
use crate::epoch::{self, CommitSummary, Epoch, ExternalRequest, NewGroupOptions, Rules};
use crate::error::{Error, Limit, Rule, Usage};
use crate::framing::MlsMessage;
use crate::identity::{Identity, OwnKeyPackage};
use crate::key_schedule::{EpochId, KeySchedule, PskLookup};
use crate::message::{PreSharedKeyId, Psk};
use crate::time::Time;

use super::held::HeldMessages;
use super::step::Plan;
use super::tree_store::TreeStore;
use super::{Changes, CommitId, Graph, Group, Node};

/// A group that is about to begin: write the changes, then take it.
#[must_use = "the group begins when its changes are written and it is taken by `apply`"]
#[derive(Debug)]
pub struct Founding {
    group: Group,
    changes: Changes,
    commit: Option<Vec<u8>>,
    pub(super) successor_of: Option<Psk>,
}

impl Founding {
    /// What to write first.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The external commit to send to all members, if we join by one.
    pub fn commit(&self) -> Option<&[u8]> {
        self.commit.as_deref()
    }

    /// The group, to look at.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The group.
    pub fn apply(self) -> Group {
        self.group
    }
}

/// How to join by an external commit.
#[derive(Clone, Debug, Default)]
pub struct ExternalJoinOptions<'a> {
    /// The ratchet tree, where the GroupInfo has none.
    pub ratchet_tree: Option<&'a [u8]>,
    /// The `dmls_epoch` of the GroupInfo's epoch, where the GroupInfo does not say it (R13).
    pub epoch: Option<EpochId>,
    /// Pre-shared keys to mix in.
    pub psks: Vec<Psk>,
    /// Travels with the commit.
    pub authenticated_data: Vec<u8>,
}

fn decode(config: &Config, message: &[u8]) -> Result<MlsMessage, Error> {
    if message.len() > config.limits.message_size {
        return Err(Limit::MessageSize.into());
    }
    Ok(MlsMessage::from_bytes(message)?)
}

/// Pre-shared keys as a joiner finds them: it has no history of the group.
pub(crate) fn joiner_psk(config: &Config, id: &PreSharedKeyId) -> Option<crate::crypto::Secret> {
    match &id.psk {
        Psk::External(id) => config.psks.external(id),
        Psk::Resumption { group_id, epoch, .. } => config.psks.resumption(group_id, *epoch),
    }
}

impl Group {
    /// Creates a group with one member: us (RFC 9420 s11).
    pub fn create(
        identity: &Identity,
        options: NewGroupOptions,
        config: Config,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<Founding, Error> {
        let epoch = epoch::create(&config, now, identity, options, rng)?;
        Ok(Self::begin(config, None, None, Box::new(epoch), None))
    }

    /// Joins by a MLSMessage(Welcome). `ratchet_tree` is needed where the Welcome does not hold it. Check that you are in
    /// no group with the same id (RFC 9420 s12.4.3.1), and delete the key package afterwards.
    pub fn join(
        own: &OwnKeyPackage,
        welcome: &[u8],
        ratchet_tree: Option<&[u8]>,
        config: Config,
        now: Time,
    ) -> Result<Founding, Error> {
        let MlsMessage::Welcome(welcome) = decode(&config, welcome)? else {
            return Err(Usage::MessageKind.into());
        };
        let rules = Rules::new(&config, now);
        let psks = PskLookup(&|id| joiner_psk(&config, id));
        let (epoch, successor_of) = epoch::join(rules, own, &welcome, ratchet_tree, psks)?;
        Ok(Founding { successor_of, ..Self::begin(config, None, None, Box::new(epoch), None) })
    }

    /// Joins by ourselves with a MLSMessage(GroupInfo) (RFC 9420 s12.4.3.2). A former self with the same signature key is
    /// removed by the same commit.
    pub fn join_external(
        identity: &Identity,
        group_info: &[u8],
        options: ExternalJoinOptions<'_>,
        config: Config,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<Founding, Error> {
        let MlsMessage::GroupInfo(info) = decode(&config, group_info)? else {
            return Err(Usage::MessageKind.into());
        };
        let nonce_length = identity.suite().nh();
        let mut fresh = |psk| {
            let mut psk_nonce = vec![0; nonce_length];
            rng.fill_bytes(&mut psk_nonce);
            PreSharedKeyId { psk, psk_nonce }
        };
        let psks = options.psks.into_iter().map(&mut fresh).collect();
        let request = ExternalRequest { psks, authenticated_data: options.authenticated_data };
        let lookup = PskLookup(&|id| joiner_psk(&config, id));
        let rules = Rules::new(&config, now);
        let joined =
            epoch::join_external(rules, identity, &info, options.ratchet_tree, request, lookup, rng)?;
        let parent = options.epoch.or(joined.parent);
        if config.schedule == KeySchedule::Dmls && parent.is_none() {
            return Err(Rule::EpochHeader.into());
        }
        Ok(Self::begin(config, parent, Some(joined.summary), joined.epoch, Some(joined.message)))
    }

    /// A group whose graph begins with one epoch.
    pub(crate) fn begin(
        config: Config,
        parent: Option<EpochId>,
        summary: Option<CommitSummary>,
        epoch: Box<Epoch>,
        commit: Option<MlsMessage>,
    ) -> Founding {
        let suite = *epoch.suite();
        let group_id = epoch.context().group_id.clone();
        let id = epoch.id.clone();
        let made_by = summary.zip(commit.as_ref()).map(|(summary, message)| {
            let commit_id: CommitId = suite.hash(&[&message.to_bytes()]).into();
            (commit_id, summary)
        });
        let node = Node::new(parent.clone(), made_by, epoch);
        let mut group = Group {
            suite,
            config,
            group_id,
            graph: Graph::new(id, node),
            pending: BTreeMap::new(),
            held: HeldMessages::default(),
            trees: TreeStore::default(),
        };
        let mut plan = Plan::default();
        plan.everything(&group, &TreeStore::default());
        let (changes, effects) = plan.into_parts();
        for effect in effects {
            group.apply(effect);
        }
        let commit = commit.map(|message| group.wrap(message, &parent.unwrap_or_default()));
        Founding { group, changes, commit, successor_of: None }
    }
}
