//! Where records are: the profile's own, and tables and logs of the application.

use crate::seal::{Sealer, SpaceName};

/// A table of the application: values by key. It exists as soon as something is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table<'a> {
    name: &'a str,
    group: Option<&'a [u8]>,
}

impl<'a> Table<'a> {
    /// One of the whole profile: contacts, cursors, settings.
    pub const fn new(name: &'a str) -> Self {
        Self { name, group: None }
    }

    /// One of a group.
    pub const fn of_group(name: &'a str, group_id: &'a [u8]) -> Self {
        Self { name, group: Some(group_id) }
    }

    pub(crate) fn space(self, sealer: &Sealer) -> SpaceName {
        sealer.space(Kind::Table as u8, self.name.as_bytes(), self.group)
    }
}

/// A log of the application: values in the order in which they were appended. It exists as soon as something is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log<'a> {
    name: &'a str,
    group: Option<&'a [u8]>,
}

impl<'a> Log<'a> {
    /// One of the whole profile: an outbox.
    pub const fn new(name: &'a str) -> Self {
        Self { name, group: None }
    }

    /// One of a group: its messages.
    pub const fn of_group(name: &'a str, group_id: &'a [u8]) -> Self {
        Self { name, group: Some(group_id) }
    }

    pub(crate) fn space(self, sealer: &Sealer) -> SpaceName {
        sealer.space(Kind::Log as u8, self.name.as_bytes(), self.group)
    }
}

/// The place of an entry in its log. All logs of a profile count together, and no number is given twice: a cursor stays right when
/// entries before it are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order(pub u64);

/// Kinds of spaces, as they are hashed into names.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Generation and next order.
    State = 0,
    /// Ids of groups.
    Groups = 1,
    /// Records of a group.
    Group = 2,
    Identities = 3,
    KeyPackages = 4,
    Table = 5,
    Log = 6,
}

impl Kind {
    /// The one space of its kind.
    pub(crate) fn space(self, sealer: &Sealer) -> SpaceName {
        sealer.space(self as u8, &[], None)
    }

    /// That of a group.
    pub(crate) fn of_group(self, sealer: &Sealer, group_id: &[u8]) -> SpaceName {
        sealer.space(self as u8, &[], Some(group_id))
    }
}
