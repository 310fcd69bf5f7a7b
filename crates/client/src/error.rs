//! What goes wrong, and what to do.

use std::fmt;

use crate::people::Fingerprint;

/// Why an intent was not carried out. Nothing of it has happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The profile has no identity yet.
    NoIdentity,
    /// A name that others could not read, or mistake: empty, too long, with control characters or spaces around it.
    Name(String),
    /// No group has this name.
    UnknownGroup(String),
    /// The records of the group can't be read. Restore a backup, or rejoin.
    DamagedGroup {
        /// Its last name, as far as it is known.
        name: String,
        /// Why.
        why: String,
    },
    /// Several groups have this name; these are their ids.
    SeveralGroups(String, Vec<String>),
    /// Nobody of this name has published a key package that is valid.
    UnknownPerson(String),
    /// Several people have published key packages under one name: who is meant?
    SeveralPeople(String, Vec<Fingerprint>),
    /// The key is not the one that was seen first under this name, or verified.
    OtherKey {
        /// The name.
        name: String,
        /// What was pinned.
        pinned: Fingerprint,
        /// What is there now.
        found: Fingerprint,
    },
    /// The group has no member of this name.
    NotMember(String),
    /// The group has several members of this name.
    SeveralMembers(String, Vec<Fingerprint>),
    /// The person is in the group.
    AlreadyMember(String),
    /// We can't remove ourselves: we leave.
    RemovesSelf,
    /// We are not a member any more.
    Excluded,
    /// An old copy of the profile was restored: nothing may be sent until we are taken in again.
    RolledBack,
    /// A message is longer than [`crate::MAX_TEXT`].
    TooLong,
    /// No invitation waits.
    NoInvitation,
    /// The library refuses.
    Core(dmls::Error),
    /// The store refuses.
    Store(dmls_store::Error),
    /// A record of ours does not decode.
    Damaged(&'static str),
    /// The network fails.
    Network(Box<dyn std::error::Error>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIdentity => write!(f, "this profile belongs to nobody yet: give it a name"),
            Self::Name(name) => write!(
                f,
                "{name:?} can't be a name: take 1 to 64 characters, without control characters and without spaces around it"
            ),
            Self::UnknownGroup(name) => {
                write!(f, "you are in no group named {name:?}: look at the list of your groups")
            }
            Self::DamagedGroup { name, why } => write!(
                f,
                "the records of the group {name:?} are damaged ({why}): ask the others to take you in again, or restore a backup"
            ),
            Self::SeveralGroups(name, ids) => {
                write!(f, "several of your groups are named {name:?}: take one of the ids {}", ids.join(", "))
            }
            Self::UnknownPerson(name) => write!(
                f,
                "nobody named {name:?} has published a key package here: ask {name} to publish one, and synchronize"
            ),
            Self::SeveralPeople(name, keys) | Self::SeveralMembers(name, keys) => {
                let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "several people call themselves {name:?}; ask for the fingerprint and name the right one: {}",
                    keys.join(" or ")
                )
            }
            Self::OtherKey { name, pinned, found } => write!(
                f,
                "{name:?} had the fingerprint {pinned} and has {found} now: ask {name} in person, and verify the right one"
            ),
            Self::NotMember(name) => write!(f, "the group has no member named {name:?}"),
            Self::AlreadyMember(name) => write!(f, "{name:?} is in the group"),
            Self::RemovesSelf => write!(f, "you can't remove yourself: leave the group"),
            Self::Excluded => write!(f, "you are not a member of the group any more"),
            Self::RolledBack => write!(
                f,
                "an old copy of your data was restored, so nothing may be sent here: wait until the others have taken you in again"
            ),
            Self::TooLong => write!(f, "a message has {} bytes at most: send a shorter one", crate::MAX_TEXT),
            Self::NoInvitation => write!(f, "no invitation waits: synchronize, or ask to be invited again"),
            Self::Core(e) => write!(f, "{e}"),
            Self::Store(e) => write!(f, "{e}"),
            Self::Damaged(what) => {
                write!(f, "{what} in the profile is damaged: restore a backup and rejoin your groups")
            }
            Self::Network(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Core(e) => Some(e),
            Self::Store(e) => Some(e),
            Self::Network(e) => Some(&**e),
            _ => None,
        }
    }
}

impl From<dmls::Error> for Error {
    fn from(e: dmls::Error) -> Self {
        Self::Core(e)
    }
}

impl From<dmls::Usage> for Error {
    fn from(e: dmls::Usage) -> Self {
        Self::Core(e.into())
    }
}

impl From<dmls_store::Error> for Error {
    fn from(e: dmls_store::Error) -> Self {
        Self::Store(e)
    }
}

impl Error {
    /// Whether nothing can go on: the profile can't be written. All else concerns one group, or one parcel.
    pub(crate) fn is_fatal(&self) -> bool {
        use dmls_store::Error::{Database, Failed, File, Locked, Reopen};
        matches!(self, Self::Store(Database(_) | Failed | File(..) | Locked(_) | Reopen(_)))
    }
}
