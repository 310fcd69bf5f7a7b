//! What a person decides for a profile.

use dmls::codec::{Decode, Encode};
use dmls_store::{Profile, Table, Transaction};

use crate::error::Error;
use crate::record::record;

const TABLE: Table<'_> = Table::new("settings");
const KEY: &[u8] = b"client";

/// How a client behaves by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Whether invitations wait for [`crate::Client::join`].
    pub ask: bool,
    /// Seconds that each member gives the one before it, in the order in which they do what anybody can do: commit proposals, repeat
    /// what a lost branch did, take somebody in again.
    pub patience: u64,
    /// Seconds after which our keys in a group are renewed.
    pub update_after: u64,
    /// Seconds after which what came is acknowledged, if we say nothing meanwhile.
    pub receipt_after: u64,
}

record!(Settings { ask, patience, update_after, receipt_after });

impl Default for Settings {
    fn default() -> Self {
        Self { ask: false, patience: 60, update_after: 7 * 86_400, receipt_after: 3600 }
    }
}

impl Settings {
    pub(crate) fn load(profile: &Profile) -> Result<Self, Error> {
        let Some(stored) = profile.get(TABLE, KEY)? else { return Ok(Self::default()) };
        Self::from_bytes(stored.as_bytes()).map_err(|_| Error::Damaged("the settings"))
    }

    pub(crate) fn store(&self, tx: &mut Transaction<'_>) -> Result<(), Error> {
        Ok(tx.put(TABLE, KEY, &self.to_bytes())?)
    }
}
