//! What was typed and not sent, on the disk: nobody types it again because a process ended.

use std::collections::BTreeMap;

use dmls_client::Error;
use dmls_store::{Profile, Table};

/// By the id of the group.
const DRAFTS: Table<'_> = Table::new("drafts");

/// What is on the disk.
#[derive(Default)]
pub struct Drafts(BTreeMap<Vec<u8>, String>);

impl Drafts {
    /// Those of a profile.
    pub fn load(profile: &Profile) -> Result<Self, Error> {
        let text = |stored: dmls::crypto::Secret| String::from_utf8_lossy(stored.as_bytes()).into_owned();
        Ok(Self(profile.all(DRAFTS)?.into_iter().map(|(id, stored)| (id, text(stored))).collect()))
    }

    /// All of them.
    pub fn all(&self) -> BTreeMap<Vec<u8>, String> {
        self.0.clone()
    }

    /// Puts these in the place of those that are there.
    pub fn store(&mut self, profile: &mut Profile, drafts: &BTreeMap<Vec<u8>, String>) -> Result<(), Error> {
        if self.0 == *drafts {
            return Ok(());
        }
        let gone = self.0.keys().filter(|id| !drafts.contains_key(*id));
        let new = drafts.iter().filter(|(id, text)| self.0.get(*id) != Some(text));
        profile.transaction(|tx| {
            for id in gone {
                tx.delete(DRAFTS, id)?;
            }
            for (id, text) in new {
                tx.put(DRAFTS, id, text.as_bytes())?;
            }
            Ok::<_, Error>(())
        })?;
        self.0 = drafts.clone();
        Ok(())
    }
}
