//! What a group's log holds: messages, and notes about what happened to the group.

use std::fmt;

use dmls::codec::{Decode, DecodeError, Encode, Reader};
use dmls::crypto::SignaturePublicKey;
use dmls::{EpochId, Time};

use crate::payload::{MessageId, Payload};
use crate::record::{Text, record};

/// An entry of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// Somebody said something.
    Message(Box<Message>),
    /// Something happened to the group.
    Note(Note),
}

/// A message that a person wrote.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Its name: the same in every copy.
    pub id: MessageId,
    /// The name of who wrote it.
    pub from: String,
    /// The key of who wrote it.
    pub key: SignaturePublicKey,
    /// Whether it is our own.
    pub own: bool,
    /// When it was written, by the writer's clock.
    pub sent: Time,
    /// When it came here.
    pub received: Time,
    /// The epoch in which it was sent, the last time.
    pub epoch: EpochId,
    /// Whether that epoch was on the way to the head when it came here.
    pub on_way: bool,
    /// Whether it was sent again, because a branch lost.
    pub again: bool,
    /// What it says.
    pub text: String,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("from", &self.from)
            .field("epoch", &self.epoch)
            .field("bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

impl Message {
    pub(crate) fn payload(&self, again: bool) -> Payload {
        Payload::text(self.id, self.sent, again, Vec::new(), &self.text)
    }
}

/// Something that happened to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// What.
    pub event: GroupEvent,
    /// Who did it, by name; empty if nobody did, or if that is not known.
    pub by: String,
    /// To whom, or the new name of a group.
    pub whom: Vec<String>,
    /// How many, of what is counted.
    pub count: u64,
    /// When it was seen here.
    pub at: Time,
}

/// What happens to groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(u8)]
pub enum GroupEvent {
    /// We created it.
    Created = 0,
    /// We joined it.
    Joined = 1,
    /// Somebody was added.
    Added = 2,
    /// Somebody was removed.
    Removed = 3,
    /// It has another name: somebody gave it, or a fork choice took the last one back.
    Renamed = 4,
    /// Two commits crossed: the group has two branches, and follows one of them.
    Forked = 5,
    /// The head moved to another branch: what so many commits did is undone.
    Switched = 6,
    /// What a lost branch did was done again.
    Consolidated = 7,
    /// So many messages of ours, which only a lost branch saw, were sent again.
    SentAgain = 8,
    /// Others are on a branch that we can't follow.
    Stranded = 9,
    /// We asked to be taken in again.
    AskedAgain = 10,
    /// We were taken in again.
    JoinedAgain = 11,
    /// A member was taken in again.
    TookAgain = 12,
    /// We are not a member any more.
    Excluded = 13,
    /// An old copy of our data was restored: nothing can be sent before we are taken in again.
    RolledBack = 14,
    /// Somebody wants to leave.
    Leaving = 15,
    /// People whom a lost branch added have published no fresh key package: they are invited again once they have.
    NotAdded = 16,
    /// A name or other settings that somebody gave the group on a branch that lost: they are not given again by themselves.
    SettingsLost = 17,
}

impl GroupEvent {
    const ALL: [Self; 18] = [
        Self::Created,
        Self::Joined,
        Self::Added,
        Self::Removed,
        Self::Renamed,
        Self::Forked,
        Self::Switched,
        Self::Consolidated,
        Self::SentAgain,
        Self::Stranded,
        Self::AskedAgain,
        Self::JoinedAgain,
        Self::TookAgain,
        Self::Excluded,
        Self::RolledBack,
        Self::Leaving,
        Self::NotAdded,
        Self::SettingsLost,
    ];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Joined => "joined",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Renamed => "renamed",
            Self::Forked => "forked",
            Self::Switched => "switched",
            Self::Consolidated => "consolidated",
            Self::SentAgain => "sent_again",
            Self::Stranded => "stranded",
            Self::AskedAgain => "asked_again",
            Self::JoinedAgain => "joined_again",
            Self::TookAgain => "took_again",
            Self::Excluded => "excluded",
            Self::RolledBack => "rolled_back",
            Self::Leaving => "leaving",
            Self::NotAdded => "not_added",
            Self::SettingsLost => "settings_lost",
        }
    }
}

impl Note {
    pub(crate) fn new(event: GroupEvent, at: Time) -> Self {
        Self { event, by: String::new(), whom: Vec::new(), count: 0, at }
    }

    pub(crate) fn by(self, by: impl Into<String>) -> Self {
        Self { by: by.into(), ..self }
    }

    pub(crate) fn whom(self, whom: Vec<String>) -> Self {
        Self { whom, ..self }
    }

    pub(crate) fn count(self, count: usize) -> Self {
        Self { count: count as u64, ..self }
    }
}

/// A sentence for a person.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, whom, count) = (&self.by, self.whom.join(", "), self.count);
        let s = if count == 1 { "" } else { "s" };
        match self.event {
            GroupEvent::Created => write!(f, "you created the group {whom}"),
            GroupEvent::Joined if by.is_empty() => write!(f, "you joined the group {whom}"),
            GroupEvent::Joined => write!(f, "{by} invited you into the group {whom}, and you joined"),
            GroupEvent::Added => write!(f, "{by} added {whom}"),
            GroupEvent::Removed => write!(f, "{by} removed {whom}"),
            GroupEvent::Renamed if by.is_empty() => write!(f, "the group is named {whom} again"),
            GroupEvent::Renamed => write!(f, "{by} named the group {whom}"),
            GroupEvent::Forked => {
                write!(f, "a commit of {by} crossed another one: the group has two branches, and follows one")
            }
            GroupEvent::Switched => write!(
                f,
                "the group went on along another branch; {count} commit{s} of yours or of those you followed \
                 lost (by {by}): what they did is looked through"
            ),
            GroupEvent::Consolidated => write!(f, "what a lost branch had decided was done again by {by}"),
            GroupEvent::SentAgain => {
                write!(f, "{count} message{s} of yours went to a branch that lost, and went out again")
            }
            GroupEvent::Stranded => write!(f, "the others are on a branch that you can't follow"),
            GroupEvent::AskedAgain => write!(f, "you asked the others to take you in again"),
            GroupEvent::JoinedAgain => write!(f, "{by} took you in again"),
            GroupEvent::TookAgain => write!(f, "{by} took {whom} in again, who had lost the way"),
            GroupEvent::Excluded => write!(f, "you are not a member any more"),
            GroupEvent::RolledBack => write!(
                f,
                "an old copy of your data was restored: nothing is sent here before the others have taken you in again"
            ),
            GroupEvent::Leaving => write!(f, "{by} leaves: the next who commits carries it out"),
            GroupEvent::SettingsLost => {
                write!(
                    f,
                    "the name that {by} gave the group was on the branch that lost: give it again if it is still wanted"
                )
            }
            GroupEvent::NotAdded => write!(
                f,
                "a lost branch had added {whom}, and there is no fresh key package: once there is one, the invitation is repeated"
            ),
        }
    }
}

impl Encode for Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Message(message) => {
                out.push(0);
                message.encode(out);
            }
            Self::Note(note) => {
                out.push(1);
                note.encode(out);
            }
        }
    }
}

impl Decode for Entry {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        match r.u8()? {
            0 => Message::decode(r).map(|message| Self::Message(Box::new(message))),
            1 => Note::decode(r).map(Self::Note),
            _ => Err(DecodeError { offset: start, expected: "a message (0) or a note (1)", field: None }),
        }
    }
}

/// As it is stored.
struct StoredMessage {
    id: MessageId,
    from: Text,
    key: SignaturePublicKey,
    own: bool,
    sent: Time,
    received: Time,
    epoch: EpochId,
    on_way: bool,
    again: bool,
    text: Text,
}

record!(StoredMessage { id, from, key, own, sent, received, epoch, on_way, again, text });

impl Encode for Message {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { id, key, own, sent, received, epoch, on_way, again, .. } = self.clone();
        let (from, text) = (Text(self.from.clone()), Text(self.text.clone()));
        StoredMessage { id, from, key, own, sent, received, epoch, on_way, again, text }.encode(out);
    }
}

impl Decode for Message {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let stored = StoredMessage::decode(r)?;
        let StoredMessage { id, key, own, sent, received, epoch, on_way, again, .. } = stored;
        let (from, text) = (stored.from.0, stored.text.0);
        Ok(Self { id, from, key, own, sent, received, epoch, on_way, again, text })
    }
}

impl Encode for Note {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.event as u8);
        Text(self.by.clone()).encode(out);
        self.whom.iter().cloned().map(Text).collect::<Vec<_>>().encode(out);
        self.count.encode(out);
        self.at.encode(out);
    }
}

impl Decode for Note {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        let unknown = DecodeError { offset: start, expected: "what happened to the group", field: None };
        let event = GroupEvent::ALL.get(usize::from(r.u8()?)).copied().ok_or(unknown)?;
        let by = Text::decode(r)?.0;
        let whom = Vec::<Text>::decode(r)?.into_iter().map(|name| name.0).collect();
        Ok(Self { event, by, whom, count: Decode::decode(r)?, at: Decode::decode(r)? })
    }
}
