//! What the engine needs of a network.

use std::fmt;
use std::path::PathBuf;

use crate::parcel::{Name, Parcel, Place};

/// A network that brings parcels to those who look for them: in any order, late, several times, damaged or not at all.
pub trait Transport {
    /// Why it failed.
    type Error: std::error::Error + 'static;

    /// Gives a parcel to the network. Once it returns, the parcel is there to stay; given twice, it is there once.
    fn publish(&mut self, parcel: &Parcel) -> Result<(), Self::Error>;

    /// Gives each parcel of a place that is whole and that is not known to `take`, until that says stop. What is not
    /// whole comes back as faults, the same each time.
    fn arrived(
        &mut self,
        place: Place,
        known: &dyn Fn(&Name) -> bool,
        take: &mut dyn FnMut(Name, Vec<u8>) -> Flow,
    ) -> Result<Vec<Fault>, Self::Error>;

    /// Takes a parcel back: nobody needs it any more. It need not be there.
    fn remove(&mut self, place: Place, name: &Name) -> Result<(), Self::Error>;
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// With the next parcel.
    Continue,
    /// The rest comes another time.
    Stop,
}

/// Something in the network that is no parcel, or not a whole one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Why {
    /// Nothing is in it: it may be on its way still.
    Empty,
    /// It is larger than any message that we would take.
    TooLarge,
    /// Its content does not fit its name: it is damaged, or on its way still.
    Damaged,
    /// Its name is not one of ours.
    Foreign,
    /// It can't be read.
    Unreadable,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty; it may be on its way still",
            Self::TooLarge => "larger than any message",
            Self::Damaged => "its content does not fit its name: damaged, or on its way still",
            Self::Foreign => "not a file of ours",
            Self::Unreadable => "can't be read",
        })
    }
}
