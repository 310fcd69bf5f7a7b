//! What a client tells.

use crate::entry::Entry;
use crate::parcel::{Name, Place};
use crate::people::Fingerprint;

/// Something that a person may want to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// There is a new entry in the log of a group.
    Entry {
        /// The id of the group.
        group: Vec<u8>,
        /// The entry.
        entry: Entry,
    },
    /// An invitation waits for [`crate::Client::join`].
    Invited {
        /// The parcel in which it came.
        invitation: Name,
    },
    /// Somebody published a key package: its key was pinned.
    Met {
        /// The name.
        name: String,
        /// For people to compare.
        fingerprint: Fingerprint,
    },
    /// Somebody uses a name with another key than the one that is pinned: another device, a new one, or somebody else.
    OtherKey {
        /// The name.
        name: String,
        /// What is pinned.
        pinned: Fingerprint,
        /// What came.
        found: Fingerprint,
    },
    /// A parcel is no good, and is not looked at again.
    Refused {
        /// Where it was.
        place: Place,
        /// Its name.
        name: Name,
        /// Why.
        why: String,
    },
    /// A message of a group can't be read any more, or not yet and never will.
    Unreadable {
        /// The id of the group.
        group: Vec<u8>,
        /// The parcel.
        name: Name,
        /// Why.
        why: &'static str,
    },
    /// The records of a group can't be read, so it does not go on. It is told at each opening, until a backup is restored, the others have taken us
    /// in again ([`crate::Client::rejoin`]), or the group is forgotten.
    Damaged {
        /// The id of the group.
        group: Vec<u8>,
        /// Its last name, as far as it is known.
        name: String,
        /// Why.
        why: String,
    },
    /// What was due in a group could not be done. It is told once, and tried again; the other groups go on.
    Failed {
        /// The id of the group.
        group: Vec<u8>,
        /// Why.
        why: String,
    },
}
