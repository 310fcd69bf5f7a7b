//! What an application decides: hooks, formats, limits.

use std::fmt;
use std::sync::Arc;

use crate::credential::AuthenticationService;
use crate::crypto::{Provider, Secret};
use crate::error::Limit;
use crate::extension::{HandshakeFormat, Ruleset};
use crate::key_schedule::KeySchedule;

/// How a client takes part in a group. It is not stored with the group: give the same when loading.
///
/// There is no default, because nobody but the application can say who is who:
///
/// ```compile_fail,E0599
/// let config = dmls::Config::default();
/// ```
#[derive(Clone)]
pub struct Config {
    /// The primitives.
    pub provider: Provider,
    /// Which key schedule the group must have.
    pub schedule: KeySchedule,
    /// Whether a group with the draft's key schedule says so in its GroupContext (DESIGN s3.4, R9). Turn it off only to
    /// talk to implementations of the bare draft.
    pub dmls_extension: bool,
    /// The ruleset of groups that we create (DESIGN s3.4, R16), where they have the extension of R9. Its `handshake` is filled in
    /// from `encrypt_handshake`, and its `members` are no more than `limits.members`. `None`: the group accepts what RFC 9420
    /// accepts, as groups without the extension of R9 do.
    pub ruleset: Option<Ruleset>,
    /// Whether our GroupInfos offer external joins (external_pub) in groups without a ruleset, which decides elsewhere. Off,
    /// because it lets everybody in who gets hold of a GroupInfo and whom the authentication service accepts.
    pub offer_external_joins: bool,
    /// Whether members' commits and proposals are encrypted. Off: a delivery service can follow the group. In a group with a
    /// ruleset, that decides.
    pub encrypt_handshake: bool,
    /// PrivateMessages are padded to a multiple of this many bytes (RFC 9420 s15.1).
    pub padding: usize,
    /// Whether Welcomes carry the ratchet tree. Off: joiners get it by other means.
    pub ratchet_tree_in_welcome: bool,
    /// The longest lifetime that is accepted in a leaf, in seconds (RFC 9420 s7.2: "applications MUST define" it). Leaves
    /// of others are refused for it, so all clients of an application must have the same.
    pub max_lifetime: u64,
    /// Who is who.
    pub authentication: Arc<dyn AuthenticationService>,
    /// Pre-shared keys of the application.
    pub psks: Arc<dyn PreSharedKeys>,
    /// What peers can make grow, and how far.
    pub limits: Limits,
    /// When old epochs stop processing commits.
    pub retention: Retention,
    /// Sees the secrets of every epoch: for test vectors only.
    #[cfg(feature = "vectors")]
    pub key_log: Option<Arc<dyn KeyLog>>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("provider", &self.provider)
            .field("schedule", &self.schedule)
            .field("limits", &self.limits)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The usual, with an authentication service: who is who, nobody but the application can say. What else is to be
    /// different can be changed in the fields. [`crate::danger::AcceptAnyCredential`] serves tests.
    #[cfg(any(feature = "aws-lc-rs", feature = "rustcrypto"))]
    pub fn new(authentication: impl AuthenticationService + 'static) -> Self {
        Self {
            provider: Provider::default(),
            schedule: KeySchedule::Dmls,
            dmls_extension: true,
            ruleset: Some(Ruleset::default()),
            offer_external_joins: false,
            encrypt_handshake: true,
            padding: 32,
            ratchet_tree_in_welcome: true,
            max_lifetime: 400 * 86_400,
            authentication: Arc::new(authentication),
            psks: Arc::new(NoPreSharedKeys),
            limits: Limits::default(),
            retention: Retention::default(),
            #[cfg(feature = "vectors")]
            key_log: None,
        }
    }

    /// Whether the GroupContext must have the extension of R9.
    pub(crate) fn wants_extension(&self) -> bool {
        self.schedule == KeySchedule::Dmls && self.dmls_extension
    }

    /// The ruleset of a group that we create.
    pub(crate) fn ruleset_to_create(&self) -> Option<Ruleset> {
        let handshake =
            if self.encrypt_handshake { HandshakeFormat::PRIVATE } else { HandshakeFormat::PUBLIC };
        let ruleset = self.ruleset.clone().filter(|_| self.wants_extension())?;
        Some(Ruleset { handshake, members: ruleset.members.min(self.limits.members), ..ruleset })
    }

    /// Shows a secret to the key log, in builds that have one.
    pub(crate) fn log(&self, _label: &'static str, _secret: &[u8]) {
        #[cfg(feature = "vectors")]
        if let Some(log) = &self.key_log {
            log.secret(_label, _secret);
        }
    }
}

/// Sees secrets as they are derived, the `dmls_epoch` of their epoch last: for test vectors only.
#[cfg(feature = "vectors")]
pub trait KeyLog: Send + Sync {
    /// One secret; `label` is its name in the key schedule.
    fn secret(&self, label: &'static str, secret: &[u8]);
}

/// Pre-shared keys that the application holds (RFC 9420 s8.4).
pub trait PreSharedKeys: Send + Sync {
    /// An external one, by its id.
    fn external(&self, id: &[u8]) -> Option<Secret>;

    /// The resumption_psk of an epoch that the group itself does not hold (of another group, or long ago).
    fn resumption(&self, _group_id: &[u8], _epoch: u64) -> Option<Secret> {
        None
    }
}

/// No pre-shared keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPreSharedKeys;

impl PreSharedKeys for NoPreSharedKeys {
    fn external(&self, _: &[u8]) -> Option<Secret> {
        None
    }
}

/// When old epochs stop processing commits while the network is split, and how long they are read after that (draft s6.1.2, s7). It is
/// this client's own choice: it decides what is kept, never which branch wins. `docs/policy.md` says what each rule exposes, and what to
/// choose; [`crate::EpochRef::kept`] for whom an epoch is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Which epochs may still be needed.
    pub rule: RetentionRule,
    /// How many seconds a member who was removed is waited for where it was a member: it may not know, and commit there. Until then these
    /// epochs stay exposed; a commit that comes later leaves its author behind.
    pub removed_grace: u64,
    /// How many epochs that are not needed any more can still be read, for messages that come late. 0 deletes them at once.
    pub late_epochs: usize,
    /// For how many seconds at most.
    pub late_seconds: u64,
}

/// Which epochs may still be needed to process a commit, while the network is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetentionRule {
    /// All, until the delivery service says otherwise ([`crate::Network::Whole`], [`crate::Group::finalize`]). For clients
    /// that stage a commit and confirm it when a server accepts it.
    WhileTold,
    /// An epoch until each other member has made a commit in it or in a descendant (draft s7). Whoever has will not commit there again, if it
    /// confirms its commits before it publishes them ([`crate::CommitBuilder::stage_confirmed`]). For groups without a server.
    AllCommitted,
    /// The same, and any message in a descendant counts too: for groups that chat more than they commit.
    AllMoved,
}

impl Retention {
    /// By the delivery service's word alone.
    pub fn while_told() -> Self {
        Self { rule: RetentionRule::WhileTold, ..Self::default() }
    }
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: u64 = 86_400;
        Self {
            rule: RetentionRule::AllCommitted,
            removed_grace: 14 * DAY,
            late_epochs: 1 << 4,
            late_seconds: 7 * DAY,
        }
    }
}

/// Limits against what peers can make grow. Reaching one is a typed error and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message, also of ours. A Welcome for thousands with the tree inside is a few MiB.
    pub message_size: usize,
    /// Leaves of a tree.
    pub members: u32,
    /// Proposals stored in one epoch.
    pub proposals: usize,
    /// Of these, from any one sender: none can take the room of the others.
    pub proposals_per_sender: usize,
    /// Bytes of a stored proposal. A KeyPackage with a chain of certificates is some KiB.
    pub proposal_size: usize,
    /// How far a generation may be ahead of the last one: each step costs three hashes,
    /// and a sender may have written that many before any of them is here.
    pub forward_generations: u32,
    /// Keys of skipped generations kept for each sender: they wait for late messages, in whatever order these come.
    pub kept_generations: usize,
    /// Children of one epoch of any one committer. Beyond it, a child that would win is processed all the same, and the lowest
    /// of them goes; one that would not is not processed. Each costs 8 KiB of punctured PPRF.
    pub children_per_committer: usize,
    /// Own commits that are not confirmed: each holds an epoch.
    pub pending: usize,
    /// Epochs that can process commits or read messages. Beyond it those go where a missing commit is least likely (DESIGN s3.3),
    /// whatever the delivery service says.
    pub epochs: usize,
    /// Deleted epochs of which the name is kept, to recognise duplicates and to know from where branches part: some 300 bytes each, 8 KiB at
    /// most, and 4 for each leaf that the commit removed. Beyond it the oldest are forgotten, and what is retained before them goes first.
    pub known_epochs: usize,
    /// Past epochs whose resumption_psk is kept (RFC 9420 s8.6).
    pub resumption_psks: u64,
    /// Messages held until their epoch is known.
    pub held_messages: usize,
    /// Bytes of all of them; one alone may have half of it, so that none drives all others out.
    pub held_bytes: usize,
    /// Of these, for any one epoch.
    pub held_per_epoch: usize,
    /// How many of them must be of branches that we don't know until that is told as a sign that we are stranded.
    pub stranded_after: usize,
}

impl Limits {
    /// Whether we look at a message of so many bytes, or send it: nobody with our limits would take a larger one.
    pub(crate) fn check_message(&self, length: usize) -> Result<(), Limit> {
        if length > self.message_size { Err(Limit::MessageSize) } else { Ok(()) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_size: 16 << 20,
            members: 1 << 16,
            proposals: 1 << 10,
            proposals_per_sender: 1 << 6,
            proposal_size: 1 << 16,
            forward_generations: 1 << 12,
            kept_generations: 1 << 10,
            children_per_committer: 1 << 3,
            pending: 1 << 3,
            epochs: 1 << 7,
            known_epochs: 1 << 12,
            resumption_psks: 1 << 4,
            held_messages: 1 << 10,
            held_bytes: 64 << 20,
            held_per_epoch: 1 << 8,
            stranded_after: 1 << 4,
        }
    }
}
