//! Groups that come from groups: reinitialization (RFC 9420 s11.2) and branching (s11.3).
//!
//! The creator makes a new group, and in one commit adds the members and mixes in the old group's resumption psk
//! ([`Group::successor_psk`]); the members find the key by [`crate::PreSharedKeys::resumption`] and join by
//! [`Group::join_successor`], which checks that it is what this group asked for.

use crate::config::Config;
use crate::credential::{Operation, Presented};
use crate::epoch::NewGroupOptions;
use crate::error::{Error, Rule, Usage};
use crate::identity::OwnKeyPackage;
use crate::key_schedule::ResumptionPsk;
use crate::message::{Psk, ReInit, ResumptionPskUsage};
use crate::time::Time;

use super::{Founding, Group};

impl Group {
    /// What replaces this group, if a reinit ended it: nothing more can be sent in it.
    pub fn reinit(&self) -> Option<&ReInit> {
        self.head_epoch().reinit.as_ref()
    }

    /// The resumption_psk of the head (RFC 9420 s8.6). Secret.
    pub fn resumption_psk(&self) -> &ResumptionPsk {
        &self.head_epoch().secrets.resumption_psk
    }

    /// How to name that key in the first commit of a group that comes from this one.
    pub fn successor_psk(&self) -> Psk {
        let usage =
            if self.reinit().is_some() { ResumptionPskUsage::ReInit } else { ResumptionPskUsage::Branch };
        Psk::Resumption { usage, group_id: self.group_id.clone(), epoch: self.head_epoch().context().epoch }
    }

    /// The options for the group that a reinit asked for; its suite is in [`Group::reinit`].
    pub fn successor_options(&self) -> Result<NewGroupOptions, Error> {
        let reinit = self.reinit().ok_or(Usage::ReInitMissing)?;
        Ok(NewGroupOptions {
            group_id: Some(reinit.group_id.clone()),
            extensions: reinit.extensions.clone(),
            external_senders: Vec::new(),
        })
    }

    /// Joins a group that comes from this one, as [`Group::join`] does others (RFC 9420 s12.4.3.1): its Welcome must name
    /// [`Group::successor_psk`]; after a reinit, it has the parameters that this asked for and all of our members; a branch has the same version and
    /// suite and none but our members. `config` is that of the new group.
    pub fn join_successor(
        &self,
        own: &OwnKeyPackage,
        welcome: &[u8],
        ratchet_tree: Option<&[u8]>,
        config: Config,
        now: Time,
    ) -> Result<Founding, Error> {
        let founding = Self::by_welcome(own, welcome, ratchet_tree, config, now)?;
        self.check_successor(&founding)?;
        Ok(founding)
    }

    fn check_successor(&self, founding: &Founding) -> Result<(), Error> {
        // A Welcome that names such a key leads to epoch 1, or we did not join.
        if founding.group().state.successor_of != Some(self.successor_psk()) {
            return Err(Rule::WelcomePsk.into());
        }
        let successor = founding.group();
        let (old, new) = (self.head_epoch().context(), successor.head_epoch().context());
        let new_tree = &successor.head_epoch().public().tree;
        let follows = |predecessor: &crate::epoch::Member, leaf: &crate::tree::LeafNode| {
            self.config.authentication.is_successor(
                &predecessor.credential,
                &Presented {
                    credential: &leaf.credential,
                    signature_key: &leaf.signature_key,
                    group_id: &new.group_id,
                    operation: Operation::Successor,
                    now: None,
                },
            )
        };
        let old_members = self.head().members().unwrap_or_default();
        let (matches, members) = match self.reinit() {
            Some(reinit) => (
                reinit.group_id == new.group_id
                    && reinit.version == new.version
                    && reinit.cipher_suite == new.cipher_suite
                    && reinit.extensions == new.extensions,
                old_members.iter().all(|member| new_tree.leaves().any(|(_, leaf)| follows(member, leaf))),
            ),
            None => (
                old.version == new.version && old.cipher_suite == new.cipher_suite,
                new_tree.leaves().all(|(_, leaf)| old_members.iter().any(|member| follows(member, leaf))),
            ),
        };
        if !matches {
            return Err(Rule::SubgroupParameters.into());
        }
        if !members {
            return Err(Rule::SubgroupMembers.into());
        }
        Ok(())
    }
}
