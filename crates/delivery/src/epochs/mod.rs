//! The epochs of a group with real trees and signatures: [`Epochs`] on the library's [`PublicGroup`].
//!
//! What is kept are the records of the observer, beside those of the group. They are read when something is asked, and let go again
//! by [`Epochs::rest`]; so a group that nobody talks to costs no memory for its trees.

mod bundle;
mod founding;
mod home;
mod invalid;
mod roll;

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use dmls::extension::{ForkChoiceRule, Ruleset};
use dmls::{
    AuthenticationService, Changes, CommitId, CommitSummary, Config, Credential, ForkChoice, Limits,
    Presented, PublicEpochRef, PublicGroup, StagedCommit,
};

pub use self::bundle::{decode_bundle, encode_bundle};
pub use self::founding::{RULES, Unfit};
pub use self::home::Home;
pub use self::invalid::{HomeRule, Invalid, Part};
use self::roll::{Place, Roll};
use crate::commit::{Body, Commit, Epochs, Joiner, Ranking};
use crate::group::Damaged;
use crate::ids::{Device, GroupName, ServerId};
use crate::records::{Kept, Writes};
use crate::server::epochs_prefix;

/// Where records are read from that are not in memory. It must have what was persisted of all effects before.
pub trait Records {
    /// All whose keys begin with `prefix`, by what follows it.
    fn under(&self, prefix: &[u8]) -> Result<Kept, Damaged>;
}

/// Any copy that does not change.
impl Records for Kept {
    fn under(&self, prefix: &[u8]) -> Result<Kept, Damaged> {
        let records = self.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        Ok(records.map(|(key, value)| (key[prefix.len()..].to_vec(), value.clone())).collect())
    }
}

/// Whose key is whose, as the roster has it.
pub trait ServerKeys {
    /// Whether the server ever had this key.
    fn had(&self, home: &Home) -> bool;
}

/// Of how many epochs the members are listed in memory: unlike trees, lists share nothing. Of others they are made again.
const ROLLS: usize = 32;

/// The epochs of one group, with their trees.
pub struct GroupEpochs {
    records: Box<dyn Records>,
    keys: Box<dyn ServerKeys>,
    prefix: Vec<u8>,
    loaded: OnceCell<Loaded>,
    /// What was changed since [`Epochs::take_writes`].
    unwritten: Writes,
}

struct Loaded {
    group: PublicGroup,
    rolls: RefCell<BTreeMap<CommitId, Arc<Roll>>>,
}

impl GroupEpochs {
    /// The epochs of a group whose records are there. Nothing is read yet.
    pub fn open(name: &GroupName, records: Box<dyn Records>, keys: Box<dyn ServerKeys>) -> Self {
        let (prefix, loaded) = (epochs_prefix(name), OnceCell::new());
        Self { records, keys, prefix, loaded, unwritten: Writes::new() }
    }

    /// Whether trees are in memory.
    pub fn is_awake(&self) -> bool {
        self.loaded.get().is_some()
    }

    fn loaded(&self) -> Result<&Loaded, Damaged> {
        if self.loaded.get().is_none() {
            let records = self.records.under(&self.prefix)?;
            let group = PublicGroup::load(&records, config()).map_err(|_| Damaged)?;
            // Nobody else can have set it in between.
            let _ = self.loaded.set(Loaded::new(group));
        }
        self.loaded.get().ok_or(Damaged)
    }

    fn roll(&self, epoch: &CommitId) -> Option<Arc<Roll>> {
        self.loaded().ok()?.roll(epoch)
    }

    fn witnesses(&self, commit: &CommitId) -> Option<Witnesses<'_>> {
        let loaded = self.loaded().ok()?;
        let epoch = loaded.group.epoch(commit)?;
        let (before, after) = (loaded.roll_of(epoch.parent()?)?, loaded.roll_of(commit)?);
        Some(Witnesses { summary: epoch.commit()?, before, after })
    }
}

/// Who can say of a commit whether it can be processed (rule 9).
struct Witnesses<'g> {
    summary: &'g CommitSummary,
    before: Arc<Roll>,
    after: Arc<Roll>,
}

impl Witnesses<'_> {
    /// Whose leaf stands before and after it, and is neither the committer's nor of its identity.
    fn contains(&self, device: &Device) -> bool {
        let (Some(old), Some(new)) = (self.before.of(device), self.after.of(device)) else { return false };
        // It may have been a member before under another leaf.
        let is_added = self.summary.added.iter().any(|added| added.member.leaf == new.member.leaf);
        !is_added && ![old, new].into_iter().any(|place| self.made(place))
    }

    /// Also under the identity that the committer gives up by it.
    fn made(&self, place: &Place) -> bool {
        let committer = &self.summary.committer;
        let old = match self.summary.external {
            true => self.summary.removed.first(),
            false => self.before.at(committer.leaf).map(|place| &place.member),
        };
        let member = &place.member;
        member.leaf == committer.leaf
            || [Some(committer), old].into_iter().flatten().any(|own| own.credential == member.credential)
    }
}

impl Loaded {
    fn new(group: PublicGroup) -> Self {
        Self { group, rolls: RefCell::default() }
    }

    /// That of an epoch which is here.
    fn roll_of(&self, epoch: &CommitId) -> Option<Arc<Roll>> {
        if let Some(roll) = self.rolls.borrow().get(epoch) {
            return Some(roll.clone());
        }
        // It was judged when it came.
        let roll = Arc::new(Roll::read(self.group.epoch(epoch)?.members()).ok()?);
        let mut rolls = self.rolls.borrow_mut();
        if rolls.len() >= ROLLS {
            rolls.clear();
        }
        rolls.insert(epoch.clone(), roll.clone());
        Some(roll)
    }

    /// For an epoch that was let go the oldest that is here stands in: who is behind is told of what followed, if it is still a
    /// member.
    fn roll(&self, epoch: &CommitId) -> Option<Arc<Roll>> {
        self.roll_of(epoch).or_else(|| self.roll_of(self.group.epochs().next()?.commit_id()))
    }

    /// A commit that is here, as everybody sees it.
    fn describe(&self, id: &CommitId) -> Option<Commit> {
        let epoch = self.group.epoch(id)?;
        let roll = self.roll_of(id)?;
        let (committer, ranking) = match epoch.commit() {
            None => (roll.places().next()?.device, Ranking::default()),
            Some(summary) => {
                // Who submits it is who its committer was before.
                let before = epoch.parent().filter(|_| !summary.external).and_then(|id| self.roll_of(id));
                let leaf = summary.committer.leaf;
                let place = before.as_ref().and_then(|before| before.at(leaf)).or_else(|| roll.at(leaf));
                (place?.device, ranking(summary))
            }
        };
        Some(Commit {
            id: id.clone(),
            tag: epoch.confirmation_tag().clone(),
            committer,
            is_external: epoch.commit().is_some_and(|summary| summary.external),
            servers: roll.servers(),
            ranking: Ranking { children: fork_choice(&epoch), ..ranking },
        })
    }
}

/// An external commit counts as committed by the leaf that it replaces (policy of the group, DESIGN s3.3).
fn ranking(summary: &CommitSummary) -> Ranking {
    let removes: Vec<_> = summary.removed.iter().map(|member| member.leaf).collect();
    let committer = if summary.external { removes.first().copied() } else { Some(summary.committer.leaf) };
    Ranking { committer, removes, children: ForkChoice::default() }
}

/// How the children of an epoch are chosen, as its GroupContext says it.
fn fork_choice(epoch: &PublicEpochRef<'_>) -> ForkChoice {
    match epoch.context_extensions().content::<Ruleset>() {
        Ok(Some(ruleset)) if ruleset.fork_choice == ForkChoiceRule::REMOVALS_FIRST => {
            ForkChoice::RemovalsFirst { of_each: ruleset.children_per_committer }
        }
        _ => ForkChoice::HighestConfirmationTag,
    }
}

impl Epochs for GroupEpochs {
    fn wake(&mut self) -> Result<(), Damaged> {
        self.loaded().map(|_| ())
    }

    fn rest(&mut self) {
        self.loaded.take();
        self.unwritten.clear();
    }

    fn take_writes(&mut self) -> Writes {
        std::mem::take(&mut self.unwritten)
    }

    fn stage(&mut self, body: &Body) -> Result<Commit, Invalid> {
        let bundle = decode_bundle(&body.bundle)?;
        bundle::check_bare(&bundle.group_info)?;
        // A server takes no turn of a group that can't be loaded.
        let loaded = self.loaded.get_mut().ok_or(Invalid::Over)?;
        let before = loaded.roll_of(&body.parent).ok_or(Invalid::Over)?;
        let suite = *loaded.group.suite();
        let step = loaded.group.learn(&body.parent, &bundle)?;
        let id = match step.outcome() {
            StagedCommit::Child(child) => {
                let roll = Roll::read(step.members())?;
                roll.check(&before, &suite)?;
                let id = child.commit.clone();
                note(&mut self.unwritten, step.changes());
                step.apply_unsaved();
                id
            }
            StagedCommit::Duplicate { known: id } | StagedCommit::Lost { commit: id } => id.clone(),
            _ => return Err(Invalid::Over),
        };
        loaded.describe(&id).ok_or(Invalid::Over)
    }

    fn is_member(&self, epoch: &CommitId, device: &Device) -> bool {
        self.roll(epoch).is_some_and(|roll| roll.of(device).is_some())
    }

    fn devices(&self, epoch: &CommitId, home: ServerId) -> Vec<Device> {
        let Some(roll) = self.roll(epoch) else { return Vec::new() };
        roll.places().filter(|place| place.home.server == home).map(|place| place.device).collect()
    }

    fn is_witness(&self, commit: &CommitId, device: &Device) -> bool {
        self.witnesses(commit).is_some_and(|witnesses| witnesses.contains(device))
    }

    fn has_witness(&self, commit: &CommitId, epoch: &CommitId) -> bool {
        let (Some(witnesses), Some(roll)) = (self.witnesses(commit), self.roll(epoch)) else { return false };
        roll.places().any(|place| witnesses.contains(&place.device))
    }

    fn stranger(&self, commit: &CommitId) -> Option<ServerId> {
        let loaded = self.loaded().ok()?;
        let before = loaded.group.epoch(commit)?.parent().and_then(|parent| loaded.roll_of(parent));
        let mut homes = loaded.roll_of(commit)?.homes();
        homes.retain(|home| !before.as_ref().is_some_and(|before| before.servers().contains(&home.server)));
        homes.into_iter().find(|home| !self.keys.had(home)).map(|home| home.server)
    }

    fn joiners(&self, commit: &CommitId) -> Vec<Joiner> {
        let Ok(loaded) = self.loaded() else { return Vec::new() };
        let summary = loaded.group.epoch(commit).and_then(|epoch| epoch.commit());
        let (Some(summary), Some(roll)) = (summary, loaded.roll_of(commit)) else { return Vec::new() };
        let joiners = summary.added.iter().filter_map(|added| {
            let place = roll.at(added.member.leaf)?;
            let key_package = added.key_package.clone();
            Some(Joiner { device: place.device, home: place.home.server, key_package })
        });
        joiners.collect()
    }

    fn let_go(&mut self, flushed: &CommitId) {
        let Some(loaded) = self.loaded.get_mut() else { return };
        let Loaded { group, rolls } = loaded;
        // What can't go yet goes another time.
        let _ = prune(group, flushed, &mut self.unwritten);
        rolls.get_mut().clear();
    }
}

/// Forgets what is older than an epoch, and what branches off before it.
fn prune(group: &mut PublicGroup, to: &CommitId, out: &mut Writes) -> Result<(), dmls::Error> {
    let step = group.finalize(to)?;
    note(out, step.changes());
    step.apply_unsaved();
    while let Some(next) = next_to_forget(group, to) {
        let step = group.forget(&next)?;
        note(out, step.changes());
        step.apply_unsaved();
    }
    Ok(())
}

/// What branches off at the oldest epoch, then that.
fn next_to_forget(group: &PublicGroup, to: &CommitId) -> Option<CommitId> {
    let mut epochs = group.epochs();
    let oldest = epochs.next().filter(|epoch| epoch.commit_id() != to)?;
    let beside = epochs.find(|epoch| epoch.parent() == Some(oldest.commit_id()) && !epoch.is_on_way());
    Some(beside.unwrap_or(oldest).commit_id().clone())
}

fn note(out: &mut Writes, changes: &Changes) {
    out.extend(changes.iter().map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))));
}

/// The same for every server: nothing in it is an opinion (J6).
fn config() -> Config {
    let limits = Limits { message_size: bundle::BUNDLE_SIZE, ..Limits::default() };
    Config { limits, max_lifetime: u64::MAX, ..Config::new(Everybody) }
}

/// Who is who, members judge.
struct Everybody;

impl AuthenticationService for Everybody {
    fn is_valid(&self, _: &Presented<'_>) -> bool {
        true
    }

    fn may_propose_itself(&self, _: &Presented<'_>) -> bool {
        true
    }

    fn is_successor(&self, _: &Credential, _: &Presented<'_>) -> bool {
        true
    }
}

impl fmt::Debug for GroupEpochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupEpochs")
            .field("is_awake", &self.is_awake())
            .field("unwritten", &self.unwritten.len())
            .finish_non_exhaustive()
    }
}
