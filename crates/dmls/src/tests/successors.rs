//! Groups that come from groups (RFC 9420 s11.2, s11.3): what a member checks before it follows.

use super::refusals;
use super::world::{BOB, NOW, World};
use crate::config::{Config, PreSharedKeys};
use crate::credential::Credential;
use crate::crypto::Secret;
use crate::epoch::NewGroupOptions;
use crate::error::{Error, Rule};
use crate::group::{ExternalJoinOptions, Group};
use crate::identity::{Identity, OwnKeyPackage};
use crate::message::{Psk, ReInit};
use crate::registry::{CipherSuite, ProtocolVersion};
use crate::time::Lifetime;

refusals! { RULES:
    branch_with_a_stranger => SubgroupMembers, |world| {
        let psk = world.alice.successor_psk();
        joined(world, ["mallory", "eve"], SUITE, NewGroupOptions::default(), Some(psk)).unwrap_err()
    };
    branch_with_another_suite => SubgroupParameters, |world| {
        let psk = world.alice.successor_psk();
        joined(world, ["mallory", "alice"], OTHER, NewGroupOptions::default(), Some(psk)).unwrap_err()
    };
}

const SUITE: CipherSuite = CipherSuite::X25519_AES128;
const OTHER: CipherSuite = CipherSuite::X25519_CHACHA20;

/// Any resumption psk: all know it.
struct Known;

impl PreSharedKeys for Known {
    fn external(&self, _: &[u8]) -> Option<Secret> {
        None
    }

    fn resumption(&self, _: &[u8], _: u64) -> Option<Secret> {
        Some(Secret::new(vec![9; 32]))
    }
}

/// Alice joins a group of these two as the second one.
fn joined(
    world: &mut World,
    names: [&str; 2],
    suite: CipherSuite,
    options: NewGroupOptions,
    psk: Option<Psk>,
) -> Result<(), Error> {
    let (own, welcome, config) = invited(world, names, suite, options, psk);
    world.alice.join_successor(&own, &welcome, None, config, NOW).map(|_| ())
}

/// What the second one gets.
fn invited(
    world: &mut World,
    names: [&str; 2],
    suite: CipherSuite,
    options: NewGroupOptions,
    psk: Option<Psk>,
) -> (OwnKeyPackage, Vec<u8>, Config) {
    let config = Config { psks: std::sync::Arc::new(Known), ..world.config.clone() };
    let suite = config.provider.suite(suite).unwrap();
    let [creator, member] =
        names.map(|name| Identity::generate(suite, Credential::basic(name), &mut world.rng).unwrap());
    let mut group =
        Group::create(&creator, options, config.clone(), NOW, &mut world.rng).unwrap().apply_unsaved();
    let own = member.key_package(Lifetime::starting(NOW, 1000), &mut world.rng).unwrap();
    let mut commit = group.commit().add(own.key_package().clone());
    if let Some(psk) = psk {
        commit = commit.psk(psk);
    }
    let sent = commit.stage(NOW, &mut world.rng).unwrap().apply_unsaved();
    let welcome = group.confirm(&sent.id).unwrap().apply_unsaved().welcome.unwrap();
    (own, welcome, config)
}

#[test]
fn a_group_that_comes_from_another_is_joined_from_that() {
    let mut world = World::new();
    let names = ["mallory", "alice"];
    let mut join = |psk| {
        let (own, welcome, config) = invited(&mut world, names, SUITE, NewGroupOptions::default(), psk);
        Group::join(&own, &welcome, None, config, NOW).map(|_| ())
    };
    assert_eq!(join(None), Ok(()));
    let psk = World::new().alice.successor_psk();
    assert_eq!(join(Some(psk)), Err(Rule::WelcomePsk.into()));
}

#[test]
fn a_branch_of_some_of_the_members() {
    let mut world = World::new();
    let psk = world.alice.successor_psk();
    let names = ["mallory", "alice"];
    let join = |world: &mut World, psk| joined(world, names, SUITE, NewGroupOptions::default(), psk);
    assert_eq!(join(&mut world, Some(psk.clone())), Ok(()));
    // Nothing ties it to this group, or another epoch of it does.
    assert_eq!(join(&mut world, None), Err(Rule::WelcomePsk.into()));
    world.mallory_commits(|commit| commit);
    assert_eq!(join(&mut world, Some(psk)), Err(Rule::WelcomePsk.into()));
}

#[test]
fn a_reinit_has_all_members_and_what_was_agreed() {
    let mut world = World::new();
    world.mallory_commits(|commit| commit.remove(BOB));
    let mut extensions = world.alice.head().context_extensions().unwrap().clone();
    extensions.remove(crate::registry::ExtensionType::EXTERNAL_SENDERS);
    let reinit = ReInit {
        group_id: b"next".to_vec(),
        version: ProtocolVersion::MLS10,
        cipher_suite: SUITE,
        extensions,
    };
    world.mallory_commits(|commit| commit.reinit(reinit));
    let options = world.alice.successor_options().unwrap();
    let psk = Some(world.alice.successor_psk());
    let mut check = |names, suite, options, psk| joined(&mut world, names, suite, options, psk);
    let names = ["mallory", "alice"];
    assert_eq!(check(names, SUITE, options.clone(), psk.clone()), Ok(()));
    assert_eq!(check(names, SUITE, options.clone(), None), Err(Rule::WelcomePsk.into()));
    let members = Err(Rule::SubgroupMembers.into());
    assert_eq!(check(["mallory", "eve"], SUITE, options.clone(), psk.clone()), members);
    let parameters = Err(Rule::SubgroupParameters.into());
    assert_eq!(check(names, OTHER, options.clone(), psk.clone()), parameters);
    let another_id = NewGroupOptions { group_id: Some(b"other".to_vec()), ..options.clone() };
    assert_eq!(check(names, SUITE, another_id, psk.clone()), parameters);
    let mut other = options;
    other.extensions.set_content(&crate::extension::Ruleset { members: 9, ..Default::default() });
    assert_eq!(check(names, SUITE, other, psk), parameters);
}

/// The key of a branch is for its creator (s11.3), in epoch 0, not for those who come by themselves.
#[test]
fn a_joiner_names_the_key_of_a_branch() {
    let mut world = World::new();
    let ruleset = crate::extension::Ruleset {
        external_joins: crate::extension::ExternalJoins::ANYONE,
        ..Default::default()
    };
    let config = Config { psks: std::sync::Arc::new(Known), ruleset: Some(ruleset), ..world.config.clone() };
    let rng = &mut world.rng;
    let identity = Identity::generate(*world.alice.suite(), Credential::basic("alice"), rng).unwrap();
    let options = NewGroupOptions::default();
    let empty = Group::create(&identity, options, config.clone(), NOW, rng).unwrap().apply_unsaved();
    let info = empty.head().group_info(NOW).unwrap();
    let options = ExternalJoinOptions { psks: vec![world.alice.successor_psk()], ..Default::default() };
    let joined = Group::join_external(&world.eve, &info, options, config, NOW, rng).map(drop);
    // It is we who ask for it.
    assert_eq!(joined, Err(Error::Refused(Rule::PskUsage)));
}
