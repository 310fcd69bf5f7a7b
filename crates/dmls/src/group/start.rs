//! How a client comes into a group: by creating it, by a Welcome, by an external commit.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::CryptoRng;

use crate::codec::{Decode, Encode};
use crate::config::Config;
use crate::epoch::{self, CommitSummary, Epoch, ExternalRequest, Member, NewGroupOptions, Rules};
use crate::error::{Error, Rule, Usage};
use crate::forks::{Edge, Vertex};
use crate::framing::{MlsMessage, Sender};
use crate::identity::{Identity, OwnKeyPackage};
use crate::key_schedule::{EpochId, KeySchedule, PskLookup};
use crate::message::{PreSharedKeyId, Psk};
use crate::time::Time;

use super::branch::{PendingCommit, choice_in};
use super::effect::Effect;
use super::graph::Node;
use super::held::HeldMessages;
use super::outcome::{NewEpoch, SentCommit};
use super::step::{Decision, Step};
use super::tree_store::TreeStore;
use super::{Changes, DmlsMessage, Graph, Group, GroupState, Joining, Network};

/// A group that is about to begin: [`persist`](Founding::persist) it.
#[must_use = "the group begins when it is persisted"]
#[derive(Debug)]
pub struct Founding {
    group: Group,
    changes: Changes,
    group_info: Option<Vec<u8>>,
    inviter: Option<Member>,
}

impl Founding {
    /// Writes the first records and gives the group. If `write` fails, there is none.
    pub fn persist<E>(self, write: impl FnOnce(&Changes) -> Result<(), E>) -> Result<Group, E> {
        write(&self.changes)?;
        Ok(self.group)
    }

    /// The group without writing anything. For tests, and for callers who have written [`Founding::changes`] by themselves.
    pub fn apply_unsaved(self) -> Group {
        self.group
    }

    /// What to write.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The external commit to send to all members, if we join by one: it is in [`Group::pending`], too, until it is confirmed.
    pub fn commit(&self) -> Option<&[u8]> {
        self.group.state.joining.as_ref().map(|joining| &joining.message[..])
    }

    /// Of a group that we create: its first MLSMessage(GroupInfo), whose hash names epoch 0 (R15).
    pub fn group_info(&self) -> Option<&[u8]> {
        self.group_info.as_deref()
    }

    /// Who made the Welcome by which we join: the member that signed its GroupInfo.
    pub fn inviter(&self) -> Option<&Member> {
        self.inviter.as_ref()
    }

    /// The group, to look at.
    pub fn group(&self) -> &Group {
        &self.group
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
    config.limits.check_message(message.len())?;
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
        let new = epoch::create(&config, now, identity, options, rng)?;
        let founding = Self::begin(config, Root::default(), new.epoch, now);
        Ok(Founding { group_info: Some(new.group_info), ..founding })
    }

    /// Joins by a MLSMessage(Welcome). `ratchet_tree` is needed where the Welcome does not hold it. Check that you are in
    /// no group with the same id (RFC 9420 s12.4.3.1), and delete the key package afterwards. A group that comes from another is
    /// joined from that one: [`Group::join_successor`].
    pub fn join(
        own: &OwnKeyPackage,
        welcome: &[u8],
        ratchet_tree: Option<&[u8]>,
        config: Config,
        now: Time,
    ) -> Result<Founding, Error> {
        let founding = Self::by_welcome(own, welcome, ratchet_tree, config, now)?;
        if founding.group().state.successor_of.is_some() {
            return Err(Rule::WelcomePsk.into());
        }
        Ok(founding)
    }

    pub(super) fn by_welcome(
        own: &OwnKeyPackage,
        welcome: &[u8],
        ratchet_tree: Option<&[u8]>,
        config: Config,
        now: Time,
    ) -> Result<Founding, Error> {
        let MlsMessage::Welcome(welcome) = decode(&config, welcome)? else {
            return Err(Rule::MessageKind.into());
        };
        let rules = Rules::new(&config, now);
        let psks = PskLookup(&|id| joiner_psk(&config, id));
        let joined = epoch::join(rules, own, &welcome, ratchet_tree, psks)?;
        let node = joined.epoch.public().member(joined.inviter)?;
        let inviter = Some(Member::new(joined.inviter, node));
        let root = Root { successor_of: joined.successor_of, ..Root::default() };
        Ok(Founding { inviter, ..Self::begin(config, root, joined.epoch, now) })
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
        let external = External::new(identity, group_info, options, &config, now, rng)?;
        let root = Root {
            joining: Some(Joining {
                commit: external.edge.commit.clone(),
                message: external.message,
                summary: external.commit.clone(),
            }),
            parent: external.parent,
            edge: Some(external.edge),
            commit: Some(external.commit),
            successor_of: None,
        };
        Ok(Self::begin(config, root, external.epoch, now))
    }

    /// Joins again by an external commit, into the graph that we have: its parent may be an epoch that we hold, that we know, or that
    /// we never saw. Our old self is removed by the same commit, if it has the same signature key. What we hold stays. The commit
    /// is pending: send it, and confirm it when it is accepted.
    pub fn rejoin(
        &mut self,
        identity: &Identity,
        group_info: &[u8],
        options: ExternalJoinOptions<'_>,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step<'_, SentCommit>, Error> {
        let authenticated_data = options.authenticated_data.clone();
        let external = External::new(identity, group_info, options, &self.config, now, rng)?;
        if external.epoch.context().group_id != self.group_id {
            return Err(Rule::GroupId.into());
        }
        if external.epoch.suite().code() != self.suite.code() {
            return Err(Rule::GroupInfoSuite.into());
        }
        self.check_pending()?;
        let pending = PendingCommit {
            message: external.message,
            authenticated_data,
            welcome: None,
            parent: external.parent,
            edge: external.edge,
            commit: external.commit,
            made: now,
            input: None,
            references: Vec::new(),
            given_up: false,
            epoch: external.epoch,
        };
        self.check_parent(&pending)?;
        let sent = pending.sent();
        let effect = Effect::Pending(sent.id.clone(), Box::new(pending));
        Ok(Decision::new(sent, vec![effect]).into_step(self))
    }

    /// The external commit by which we joined is accepted.
    pub(super) fn decide_joined(&self) -> Result<Decision<NewEpoch>, Usage> {
        let joining = self.state.joining.as_ref().ok_or(Usage::UnknownCommit)?;
        let joined = self.graph.forks().by_commit(&joining.commit).and_then(|id| self.epoch(id));
        let outcome = NewEpoch::joined(joined.ok_or(Usage::UnknownCommit)?, joining.summary.clone());
        let state = Some(GroupState { joining: None, ..self.state.clone() });
        Ok(Decision { outcome, effects: Vec::new(), state })
    }

    /// A group whose graph begins with one epoch.
    pub(crate) fn begin(config: Config, root: Root, epoch: Box<Epoch>, now: Time) -> Founding {
        let suite = *epoch.suite();
        let group_id = epoch.context().group_id.clone();
        let id = epoch.id.clone();
        let (number, choice) = (epoch.context().epoch, choice_in(epoch.public()));
        let edge = edge_to(&epoch);
        let node = Node::new(root.commit.as_ref().map(CommitSummary::known), now, epoch);
        let edge = root.edge.unwrap_or(edge);
        let vertex = Vertex::new(root.parent, number, edge, choice, node);
        let mut group = Group {
            suite,
            config,
            group_id,
            graph: Graph::new(id.clone(), vertex),
            state: GroupState {
                head: id,
                network: Network::Split,
                joining: root.joining,
                successor_of: root.successor_of,
            },
            pending: BTreeMap::new(),
            welcomes: BTreeMap::new(),
            removals: BTreeMap::new(),
            flushed: BTreeSet::new(),
            held: HeldMessages::default(),
            trees: TreeStore::default(),
            heard: None,
        };
        let writer = group.write_all();
        group.trees.apply(writer.uses);
        let head = group.state.head.clone();
        group.track(&head);
        Founding { group, changes: writer.changes, group_info: None, inviter: None }
    }
}

/// How the first epoch of a graph came to be.
#[derive(Default)]
pub(crate) struct Root {
    pub parent: Option<EpochId>,
    /// Of an external commit of ours; otherwise its siblings are not known, and nothing compares it with them.
    pub edge: Option<Edge>,
    pub commit: Option<CommitSummary>,
    pub joining: Option<Joining>,
    pub successor_of: Option<Psk>,
}

/// The edge to an epoch of whose commit we know nothing else. If not even its name is known, because whoever let us in does
/// not say it, the epoch's own name stands for it.
fn edge_to(epoch: &Epoch) -> Edge {
    let commit = epoch.commit_id.clone().unwrap_or_else(|| epoch.id.as_bytes().into());
    Edge { commit, tag: epoch.public().confirmation_tag.clone(), committer: None, removes: Vec::new() }
}

/// An external commit of ours.
struct External {
    message: Vec<u8>,
    parent: Option<EpochId>,
    edge: Edge,
    commit: CommitSummary,
    epoch: Box<Epoch>,
}

impl External {
    fn new(
        identity: &Identity,
        group_info: &[u8],
        options: ExternalJoinOptions<'_>,
        config: &Config,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, Error> {
        let MlsMessage::GroupInfo(info) = decode(config, group_info)? else {
            return Err(Rule::MessageKind.into());
        };
        let nonce_length = identity.suite().nh();
        let mut fresh = |psk| {
            let mut psk_nonce = vec![0; nonce_length];
            rng.fill_bytes(&mut psk_nonce);
            PreSharedKeyId { psk, psk_nonce }
        };
        let psks = options.psks.into_iter().map(&mut fresh).collect();
        let request = ExternalRequest { psks, authenticated_data: options.authenticated_data };
        let lookup = PskLookup(&|id| joiner_psk(config, id));
        let rules = Rules::new(config, now);
        let suite = info.suite(rules)?;
        identity.check_suite(&suite)?;
        let info = info.verify(rules, suite, options.ratchet_tree)?;
        let joined = epoch::join_external(rules, identity, &info, request, lookup, rng)?;
        let parent = options.epoch.or(joined.parent);
        if config.schedule == KeySchedule::Dmls && parent.is_none() {
            return Err(Rule::EpochHeader.into());
        }
        let removes: Vec<_> = joined.summary.removed.iter().map(|member| member.leaf).collect();
        let Edge { commit, tag, .. } = edge_to(&joined.epoch);
        let edge = Edge::new(commit, tag, Sender::NewMemberCommit, removes);
        let message = wrap(joined.message, parent.as_ref());
        config.limits.check_message(message.len())?;
        Ok(Self { message, parent, edge, commit: joined.summary, epoch: joined.epoch })
    }
}

/// A message as it travels, in the group's key schedule: with a header only where epochs have names.
fn wrap(message: MlsMessage, parent: Option<&EpochId>) -> Vec<u8> {
    match parent {
        Some(parent) => DmlsMessage { message, dmls_epoch: parent.clone() }.to_bytes(),
        None => message.to_bytes(),
    }
}
