//! The ruleset of a group (R16), what GroupInfos say (R13, R15), attestations (R17).

use super::world::{BOB, MALLORY, NOW, World, anyone_may_join, commit, records};
use crate::codec::{Decode, Encode};
use crate::config::{Config, Limits};
use crate::credential::Credential;
use crate::crypto::SignatureKeyPair;
use crate::danger::AcceptAnyCredential;
use crate::error::{Error, Limit, Rule, Unsupported};
use crate::extension::{
    DeliveryKind, ExternalJoins, HandshakeFormat, HomeAttestation, RequiredCapabilities, Ruleset,
};
use crate::framing::{MlsMessage, Sender};
use crate::group::{Group, Outcome};
use crate::identity::Identity;
use crate::key_schedule::KeySchedule;
use crate::message::{GroupInfo, Proposal, ReInit};
use crate::registry::{ExtensionType, ProtocolVersion, WireFormat};
use crate::time::Lifetime;

fn group_info(group: &Group) -> GroupInfo {
    let MlsMessage::GroupInfo(info) = MlsMessage::from_bytes(&group.head().group_info(NOW).unwrap()).unwrap()
    else {
        unreachable!("it is a GroupInfo")
    };
    *info
}

#[test]
fn groups_of_ours_have_a_ruleset_and_require_it() {
    let world = World::with(Config::new(AcceptAnyCredential));
    let extensions = world.alice.head().context_extensions().unwrap().clone();
    assert_eq!(extensions.content(), Ok(Some(Ruleset::default())));
    let required: RequiredCapabilities = extensions.content().unwrap().unwrap();
    assert_eq!(required.extension_types, [ExtensionType::DMLS, ExtensionType::RULESET]);
    // The format is the one that the configuration asks for.
    let world = World::new();
    let ruleset: Ruleset =
        world.alice.head().context_extensions().unwrap().clone().content().unwrap().unwrap();
    assert_eq!(ruleset.handshake, HandshakeFormat::PUBLIC);
    // Not where the draft or the extension of R9 is not used, and not if it is turned off.
    for config in [
        Config { schedule: KeySchedule::Rfc9420, ..Config::new(AcceptAnyCredential) },
        Config { dmls_extension: false, ..Config::new(AcceptAnyCredential) },
        Config { ruleset: None, ..Config::new(AcceptAnyCredential) },
    ] {
        assert!(
            !World::with(config)
                .alice
                .head()
                .context_extensions()
                .unwrap()
                .clone()
                .contains(ExtensionType::RULESET)
        );
    }
}

#[test]
fn a_ruleset_never_changes() {
    let mut world = World::new();
    let extensions = world.alice.head().context_extensions().unwrap().clone();
    let mut dropped = extensions.clone();
    dropped.remove(ExtensionType::RULESET);
    let mut later = extensions.clone();
    later.set(ExtensionType::RULESET, vec![0, 2]);
    let mut not_required = extensions.clone();
    let required = vec![ExtensionType::DMLS];
    not_required.set_content(&RequiredCapabilities { extension_types: required, ..Default::default() });
    for changed in [dropped, later, not_required] {
        let proposal = Proposal::GroupContextExtensions(changed);
        assert_eq!(world.refused_proposal(proposal.clone()), Rule::Ruleset.into());
        assert_eq!(world.refused_commit([proposal.clone()]), Rule::Ruleset.into());
        // Nor do we propose it.
        let refused = world.alice.propose(proposal, NOW, &mut world.rng).unwrap_err();
        assert_eq!(refused, Error::Refused(Rule::Ruleset));
    }
    // Other extensions do, with the same ruleset.
    let sent =
        world.mallory.commit().extensions(extensions).stage(NOW, &mut world.rng).unwrap().apply_unsaved();
    assert!(matches!(world.accepted(&sent.message), Outcome::Commit(_)));

    // Nor does a group without one get one.
    let mut world =
        World::with(Config { ruleset: None, encrypt_handshake: false, ..Config::new(AcceptAnyCredential) });
    let mut added = world.alice.head().context_extensions().unwrap().clone();
    added.set_content(&Ruleset::default());
    let required = vec![ExtensionType::DMLS, ExtensionType::RULESET];
    added.set_content(&RequiredCapabilities { extension_types: required, ..Default::default() });
    let refused = world.refused_commit([Proposal::GroupContextExtensions(added)]);
    assert_eq!(refused, Rule::Ruleset.into());
}

#[test]
fn whoever_does_not_know_a_value_does_not_join() {
    let mut world = World::new();
    let (own, welcome) = world.forged_invitation(None, |_, info| {
        let ruleset = Ruleset { delivery: DeliveryKind(7), ..Ruleset::default() };
        info.group_context.extensions.set_content(&ruleset);
    });
    assert_eq!(world.join(&own, welcome).unwrap_err(), Unsupported::Ruleset.into());
    // Nor who could not follow the group to the size that it may have.
    let (own, welcome) = World::new().invitation();
    world.config.limits.members = 100;
    assert_eq!(world.join(&own, welcome).unwrap_err(), Limit::TreeSize.into());
}

#[test]
fn the_ruleset_decides_about_external_joins() {
    let mut world = World::new();
    assert_eq!(world.refused_newcomer(ExternalJoins::NONE), Rule::ExternalJoins.into());
    // We don't try it, either.
    let joined = world.join_external(group_info(&world.alice));
    assert_eq!(joined.unwrap_err(), Rule::GroupInfoExternalPub.into());
    let mut world = World::ruled(Ruleset::default());
    let joined = world.join_external(group_info(&world.alice));
    assert_eq!(joined.unwrap_err(), Error::Refused(Rule::ExternalJoins));

    // An earlier self is removed, and all is well.
    let signer = world.mallory.head_epoch().signer.duplicate();
    world.eve = Identity::new(world.suite(), Credential::basic("mallory"), signer);
    let message = world.external_commit(|_| ());
    assert!(matches!(world.accepted(&message), Outcome::Commit(_)));

    // A group without a ruleset accepts what RFC 9420 accepts.
    let unruled = Config { ruleset: None, encrypt_handshake: false, ..Config::new(AcceptAnyCredential) };
    let mut world = World::with(Config { offer_external_joins: true, ..unruled });
    let message = world.external_commit(|_| ());
    assert!(matches!(world.accepted(&message), Outcome::Commit(_)));
}

#[test]
fn external_joins_are_offered_where_they_are_wanted() {
    let offers = |config: Config| {
        group_info(&World::with(config).alice).extensions.contains(ExtensionType::EXTERNAL_PUB)
    };
    let with = |external_joins| Ruleset { external_joins, ..Ruleset::default() };
    for (expected, ruleset, offer) in [
        (true, Some(with(ExternalJoins::ANYONE)), false),
        (true, Some(with(ExternalJoins::RESYNC)), false),
        (false, Some(with(ExternalJoins::NONE)), true),
        (false, None, false),
        (true, None, true),
    ] {
        assert_eq!(
            offers(Config { ruleset, offer_external_joins: offer, ..Config::new(AcceptAnyCredential) }),
            expected,
            "offer: {offer}"
        );
    }
    let rfc = Config { schedule: KeySchedule::Rfc9420, ..Config::new(AcceptAnyCredential) };
    assert!(!offers(rfc.clone()));
    assert!(offers(Config { offer_external_joins: true, ..rfc }));
}

#[test]
fn handshakes_have_the_format_of_the_ruleset() {
    // A public message where private ones are asked for.
    let mut world = World::with(anyone_may_join());
    let proposal = world.mallory_says(Proposal::Remove(BOB));
    assert_eq!(world.refused(&proposal), Rule::HandshakeFormat.into());
    let refused = world.refused_commit([Proposal::Remove(BOB)]);
    assert_eq!(refused, Rule::HandshakeFormat.into());
    // What comes from outside is always public.
    let key = world.server.signer().private();
    let proposal = world.public_from(Sender::External(0), Proposal::Remove(BOB), key);
    assert!(matches!(world.accepted(&proposal), Outcome::Proposal(_)));

    // A private commit where public ones are asked for.
    let mut world = World::new();
    let framed = world.framed(Sender::Member(MALLORY), commit([]).into());
    let content = world.signed(WireFormat::PRIVATE_MESSAGE, framed, world.mallory_key());
    let message = world.private(content);
    assert_eq!(world.refused(&world.wrap(message)), Rule::HandshakeFormat.into());
    // The configuration of a member does not matter.
    world.config.encrypt_handshake = true;
    world.mallory = Group::load(&records(&world.mallory), world.config.clone()).unwrap();
    let sent = world.mallory.commit().stage(NOW, &mut world.rng).unwrap().apply_unsaved();
    assert!(matches!(world.accepted(&sent.message), Outcome::Commit(_)));
}

#[test]
fn the_ruleset_bounds_the_tree_and_limits_do_not() {
    let mut world =
        World::ruled(Ruleset { members: 4, external_joins: ExternalJoins::ANYONE, ..Ruleset::default() });
    let limits = Limits { members: 3, ..Limits::default() };
    let small = Config { limits, ..world.config.clone() };
    world.alice = Group::load(&records(&world.alice), small).unwrap();
    let sent = world.external_commit(|_| ());
    assert!(matches!(world.accepted(&sent), Outcome::Commit(_)));
    // The path of another external joiner makes the tree too large.
    world.eve = Identity::generate(world.suite(), Credential::basic("frank"), &mut world.rng).unwrap();
    let joined = world.join_external(group_info(&world.alice));
    assert_eq!(joined.unwrap_err(), Error::Refused(Rule::Members));
}

#[test]
fn group_infos_name_their_epoch_and_its_commit() {
    let mut world = World::new();
    let sent = world.alice.commit().stage(NOW, &mut world.rng).unwrap().apply_unsaved();
    world.alice.confirm(&sent.id).unwrap().apply_unsaved();
    let info = group_info(&world.alice);
    assert_eq!(info.extensions.data(ExtensionType::DMLS_EPOCH), Some(world.alice.head().id().as_bytes()));
    assert_eq!(info.extensions.data(ExtensionType::COMMIT_ID), Some(sent.id.as_bytes()));
    // It survives storage, and who follows says the same.
    let loaded = Group::load(&records(&world.alice), world.config.clone()).unwrap();
    assert_eq!(group_info(&loaded), info);
    world.mallory.receive(&sent.message, NOW).unwrap().apply_unsaved();
    assert_eq!(
        group_info(&world.mallory).extensions.data(ExtensionType::COMMIT_ID),
        Some(sent.id.as_bytes())
    );

    // In a Welcome, too: the joiner passes it on.
    let own = world.key_package();
    let commit = world.mallory.commit().add(own.key_package().clone());
    let sent = commit.stage(NOW, &mut world.rng).unwrap().apply_unsaved();
    assert_eq!(sent.commit.added[0].key_package, own.reference(&world.suite()));
    let welcome = world.mallory.confirm(&sent.id).unwrap().apply_unsaved().welcome.unwrap();
    let joined = Group::join(&own, &welcome, None, world.config.clone(), NOW).unwrap().apply_unsaved();
    let info = group_info(&joined);
    assert_eq!(info.extensions.data(ExtensionType::COMMIT_ID), Some(sent.id.as_bytes()));
    assert_eq!(*joined.head().commit_id(), sent.id);
}

#[test]
fn epoch_0_is_named_by_its_first_group_info() {
    let mut world = World::new();
    let founding =
        Group::create(&world.eve, Default::default(), world.config.clone(), NOW, &mut world.rng).unwrap();
    let first = founding.group_info().unwrap().to_vec();
    let message = MlsMessage::from_bytes(&first).unwrap();
    let group = founding.apply_unsaved();
    let id = message.commit_id(&world.suite());
    let MlsMessage::GroupInfo(info) = message else { unreachable!("it is a GroupInfo") };
    assert!(!info.extensions.contains(ExtensionType::COMMIT_ID));
    assert_eq!(group_info(&group).extensions.data(ExtensionType::COMMIT_ID), Some(id.as_bytes()));
    assert_eq!(*group.head().commit_id(), id);
}

#[test]
fn the_group_info_of_a_welcome_names_the_epoch_to_which_it_leads() {
    let mut world = World::new();
    let (own, welcome) = world.forged_invitation(None, |_, info| {
        info.extensions.set(ExtensionType::DMLS_EPOCH, vec![7; 32]);
    });
    assert_eq!(world.join(&own, welcome).unwrap_err(), Rule::EpochHeader.into());
}

#[test]
fn a_successor_keeps_what_marks_the_group() {
    let mut world = World::new();
    let reinit = |world: &World, extensions| {
        let (version, cipher_suite) = (ProtocolVersion::MLS10, world.suite().code());
        ReInit { group_id: b"next".to_vec(), version, cipher_suite, extensions }
    };
    let extensions = world.alice.head().context_extensions().unwrap().clone();
    let mut without_ruleset = extensions.clone();
    without_ruleset.remove(ExtensionType::RULESET);
    let mut not_required = extensions.clone();
    not_required.set_content(&RequiredCapabilities::default());
    for changed in [without_ruleset, not_required] {
        let reinit = reinit(&world, changed);
        let proposal = Proposal::ReInit(reinit.clone());
        assert_eq!(world.refused_proposal(proposal.clone()), Rule::ReInitExtensions.into());
        let refused = world.alice.propose(proposal, NOW, &mut world.rng).unwrap_err();
        assert_eq!(refused, Error::Refused(Rule::ReInitExtensions));
        let refused = world.alice.commit().reinit(reinit).stage(NOW, &mut world.rng).unwrap_err();
        assert_eq!(refused, Error::Refused(Rule::ReInitExtensions));
    }
    // Another ruleset is what a reinit is for; but we ask for none that we could not live by.
    let mut unknown = extensions.clone();
    unknown.set_content(&Ruleset { version: 2, ..Ruleset::default() });
    let unknown = reinit(&world, unknown);
    let refused = world.alice.commit().reinit(unknown.clone()).stage(NOW, &mut world.rng).unwrap_err();
    assert_eq!(refused, Unsupported::Ruleset.into());
    let received = world.mallory_says(Proposal::ReInit(unknown));
    assert!(matches!(world.accepted(&received), Outcome::Proposal(_)));
    let mut world = World::new();
    let mut other = extensions;
    other.set_content(&Ruleset { external_joins: ExternalJoins::NONE, ..Ruleset::default() });
    let other = reinit(&world, other);
    let sent = world.mallory.commit().reinit(other).stage(NOW, &mut world.rng).unwrap().apply_unsaved();
    assert!(matches!(world.accepted(&sent.message), Outcome::Commit(_)));
    // RFC 9420 groups become what they like.
    let rfc = Config { schedule: KeySchedule::Rfc9420, ..Config::new(AcceptAnyCredential) };
    let mut world = World::with(rfc);
    let reinit = reinit(&world, Default::default());
    world.alice.commit().reinit(reinit).stage(NOW, &mut world.rng).unwrap().apply_unsaved();
}

#[test]
fn a_leaf_says_which_server_speaks_for_it() {
    let mut world = World::new();
    let (suite, server) = (world.suite(), world.server.signer().clone());
    let key = world.eve.signer().public().clone();
    let (server_id, device_id) = (b"server".to_vec(), b"device".to_vec());
    let attestation =
        HomeAttestation::sign(&suite, server.private(), server_id.clone(), device_id.clone(), &key).unwrap();
    let mut extensions = crate::extension::Extensions::new();
    extensions.set_content(&attestation);
    world.eve = world.eve.clone().with_extensions(extensions);
    let own = world.eve.key_package(Lifetime::starting(NOW, 1000), &mut world.rng).unwrap();
    let sent = world.mallory.commit().add(own.key_package().clone());
    let sent = sent.stage(NOW, &mut world.rng).unwrap().apply_unsaved();
    world.accepted(&sent.message);
    let public = world.alice.head_epoch().public();
    let (_, leaf) = public.tree.leaves().find(|(_, leaf)| leaf.signature_key == key).unwrap();
    let read = leaf.home_attestation().unwrap().unwrap();
    assert_eq!(read, attestation);
    assert!(read.verify(&suite, server.public(), &leaf.signature_key).is_ok());
    // Each part is covered.
    let other = SignatureKeyPair::generate(&suite, &mut world.rng).unwrap();
    assert!(read.verify(&suite, other.public(), &key).is_err());
    assert!(read.verify(&suite, server.public(), other.public()).is_err());
    for changed in [
        HomeAttestation { server_id: device_id, ..read.clone() },
        HomeAttestation { device_id: server_id, ..read.clone() },
        HomeAttestation { server_id: b"serverd".to_vec(), device_id: b"evice".to_vec(), ..read.clone() },
    ] {
        assert!(changed.verify(&suite, server.public(), &key).is_err());
    }
    let bytes = read.to_bytes();
    assert_eq!(HomeAttestation::from_bytes(&bytes), Ok(read));
    assert!(HomeAttestation::from_bytes(&bytes[1..]).is_err());
    let none = public.tree.leaf(MALLORY).unwrap().home_attestation();
    assert_eq!(none, Ok(None));
}
