//! What the engine keeps of each group, beside the library's records.

use dmls::codec::{Decode, Encode};
use dmls::crypto::SignaturePublicKey;
use dmls::{EpochId, Group, Time};
use dmls_store::{Log, Profile, Table, Transaction};
use sha2::{Digest, Sha256};

use crate::client::group_name;
use crate::doubt::Began;
use crate::error::Error;
use crate::parcel::{GroupTag, Name};
use crate::payload::{Mark, MessageId};
use crate::record::{Text, fixed, record};

/// A group with what we keep about it.
pub(crate) struct Local {
    pub group: Group,
    pub tag: GroupTag,
    pub state: State,
    /// Whether the way to the head or its members may have changed since the messages of ours that are not settled were looked through.
    pub changed: bool,
    /// What was told last that could not be done.
    pub failed: Option<String>,
}

/// What changes now and then: one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Since when there is something to do for one of the members, and in which head.
    pub due: Option<Due>,
    /// The group's name, as the log has it.
    pub name: Text,
    /// When we last committed or joined.
    pub committed: Time,
    /// Ends of branches that lost and were not looked through.
    pub lost: Vec<EpochId>,
    /// Whom a lost branch added, and who has published no fresh key package: as it was told.
    pub missing: Vec<Text>,
    /// We want to leave.
    pub leaving: bool,
    /// We were taken in again.
    pub again: bool,
    /// When we asked to be taken in again, the last time.
    pub asked: Option<Time>,
    /// How often we have.
    pub asks: u16,
    /// The others are where we can't follow.
    pub stranded: bool,
    /// Only what waits says so.
    pub guessed: bool,
    /// The log says that we are out.
    pub excluded: bool,
    /// Where our view of the group begins.
    pub began: Began,
    /// Messages wait for epochs that we don't know ([`crate::doubt`]).
    pub doubt: bool,
    /// When something else than messages that wait said first that others may be on another branch.
    pub sign: Option<Time>,
    /// When we first heard that a commit took us in, perhaps on another branch, by which we did not come here: if we are out here, we ask.
    pub awaited: Option<Time>,
    /// When we came to where our view begins.
    pub entered: Time,
    /// Members who were taken in again: what they have missed of ours goes out again.
    pub retaken: Vec<MemberTag>,
    /// Messages of ours that went out again since that was noted.
    pub sent_again: u64,
    /// An old copy was restored.
    pub rolled_back: bool,
    /// Since when something is to be acknowledged.
    pub unsaid: Option<Time>,
    /// When we last said where we are to whoever may be elsewhere: it is said once more.
    pub spoke_up: Option<Time>,
    /// The place in the log up to which it was shown.
    pub shown: Option<u64>,
}

record!(State {
    due,
    name,
    committed,
    lost,
    missing,
    leaving,
    again,
    asked,
    asks,
    stranded,
    guessed,
    excluded,
    began,
    doubt,
    sign,
    awaited,
    entered,
    retaken,
    sent_again,
    rolled_back,
    unsaid,
    spoke_up,
    shown
});

/// Work that one of the members should do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub head: EpochId,
    pub since: Time,
}

record!(Due { head, since });

impl State {
    const TABLE: &'static str = "state";
    const KEY: &'static [u8] = b"state";
    /// Lost branches that wait: the oldest go first. Each is told when it loses, whatever becomes of it here.
    const MAX_LOST: usize = 64;

    /// That of a group in which we begin.
    pub(crate) fn new(group: &Group, now: Time) -> Self {
        let began = Began::at(group.head());
        Self {
            due: None,
            name: Text(group_name(group)),
            committed: now,
            lost: Vec::new(),
            missing: Vec::new(),
            leaving: false,
            again: false,
            asked: None,
            asks: 0,
            stranded: false,
            guessed: false,
            excluded: false,
            began,
            doubt: false,
            sign: None,
            awaited: None,
            entered: now,
            retaken: Vec::new(),
            sent_again: 0,
            rolled_back: false,
            unsaid: None,
            spoke_up: None,
            shown: None,
        }
    }

    pub(crate) fn load(profile: &Profile, group_id: &[u8]) -> Result<Self, Error> {
        const DAMAGED: Error = Error::Damaged("the state of a group");
        let stored = profile.get(Table::of_group(Self::TABLE, group_id), Self::KEY)?.ok_or(DAMAGED)?;
        Self::from_bytes(stored.as_bytes()).map_err(|_| DAMAGED)
    }

    pub(crate) fn store(&self, tx: &mut Transaction<'_>, group_id: &[u8]) -> Result<(), Error> {
        Ok(tx.put(Table::of_group(Self::TABLE, group_id), Self::KEY, &self.to_bytes())?)
    }

    pub(crate) fn delete(tx: &mut Transaction<'_>, group_id: &[u8]) -> Result<(), Error> {
        Ok(tx.clear_table(Table::of_group(Self::TABLE, group_id))?)
    }

    /// There may be somebody who does not know of the branch that we are on: it hears of it soon, by a message that holds nothing but what we
    /// have taken in; and once more, for whoever is on its way there now takes the first one for something from before.
    pub(crate) fn speak_up(&mut self, now: Time) {
        self.unsaid = Some(Time(0));
        self.spoke_up = Some(now);
    }

    /// A branch lost: it is to be looked through.
    pub(crate) fn add_lost(&mut self, end: &EpochId) {
        if !self.lost.contains(end) {
            self.lost.push(end.clone());
        }
        let excess = self.lost.len().saturating_sub(Self::MAX_LOST);
        self.lost.drain(..excess);
    }
}

/// The tables and logs of a group.
#[derive(Clone, Copy)]
pub(crate) struct Spaces<'a>(pub &'a [u8]);

impl<'a> Spaces<'a> {
    /// Entries for people.
    pub(crate) fn log(self) -> Log<'a> {
        Log::of_group("log", self.0)
    }

    /// Places in the log, by sender and message id.
    pub(crate) fn ids(self) -> Table<'a> {
        Table::of_group("ids", self.0)
    }

    /// Parcels that were taken in, by name.
    pub(crate) fn seen(self) -> Table<'a> {
        Table::of_group("seen", self.0)
    }

    /// Own messages that not all have acknowledged, by id.
    pub(crate) fn unsettled(self) -> Table<'a> {
        Table::of_group("unsettled", self.0)
    }

    /// Ids of own messages that not all have acknowledged, by the mark of the parcel in which each was sent the last time.
    pub(crate) fn sent(self) -> Table<'a> {
        Table::of_group("sent", self.0)
    }

    /// Parcels that wait for an epoch that we don't know, by name.
    pub(crate) fn waiting(self) -> Table<'a> {
        Table::of_group("waiting", self.0)
    }

    /// Who has acknowledged a parcel, by its mark.
    pub(crate) fn receipts(self) -> Table<'a> {
        Table::of_group("receipts", self.0)
    }

    /// Marks that we have to acknowledge.
    pub(crate) fn unsaid(self) -> Log<'a> {
        Log::of_group("unsaid", self.0)
    }

    /// Members who ask to be taken in again, by the reference of their key package.
    pub(crate) fn requests(self) -> Table<'a> {
        Table::of_group("requests", self.0)
    }
}

impl Spaces<'_> {
    /// Deletes all of them.
    pub(crate) fn clear(self, tx: &mut Transaction<'_>) -> Result<(), Error> {
        let tables = [self.ids(), self.seen(), self.unsettled(), self.sent(), self.waiting()];
        for table in tables.into_iter().chain([self.receipts(), self.requests()]) {
            tx.clear_table(table)?;
        }
        for log in [self.log(), self.unsaid()] {
            tx.clear_log(log)?;
        }
        Ok(())
    }
}

/// A member in our tables: the beginning of its key's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MemberTag(pub [u8; 8]);

fixed!(MemberTag, 8, "the tag of a member, 8 bytes");

impl MemberTag {
    pub(crate) fn of(key: &SignaturePublicKey) -> Self {
        let mut tag = [0; 8];
        tag.copy_from_slice(&Sha256::digest(key.as_bytes())[..8]);
        Self(tag)
    }

    /// The key of [`Spaces::ids`]: nobody else can take the id of somebody's message.
    pub(crate) fn with(self, id: MessageId) -> [u8; 24] {
        let mut key = [0; 24];
        key[..8].copy_from_slice(&self.0);
        key[8..].copy_from_slice(&id.0);
        key
    }
}

/// Who has acknowledged a parcel.
pub(crate) fn receipts(profile: &Profile, group_id: &[u8], mark: Mark) -> Result<Vec<MemberTag>, Error> {
    let stored = profile.get(Spaces(group_id).receipts(), &mark.0)?;
    let stored = stored.map(|stored| Vec::from_bytes(stored.as_bytes())).transpose();
    Ok(stored.map_err(|_| Error::Damaged("a receipt"))?.unwrap_or_default())
}

/// Notes that a parcel was taken in.
pub(crate) fn see(tx: &mut Transaction<'_>, group_id: &[u8], name: &Name) -> Result<(), Error> {
    Ok(tx.put(Spaces(group_id).seen(), &name.0, &[])?)
}
