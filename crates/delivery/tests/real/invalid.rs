//! Bundles of which one thing is wrong: each is refused by its own rule, by whoever gets it, and nothing changes.

use dmls::codec::{Decode, Encode};
use dmls::crypto::Tag;
use dmls::extension::{Extensions, ExternalJoins, ExternalPub, HomeAttestation, Ruleset};
use dmls::framing::MlsMessage;
use dmls::message::GroupInfo;
use dmls::registry::ExtensionType;
use dmls::{Bundle, CommitId, DmlsMessage, Identity, LeafIndex, Lifetime, Rule};
use dmls_delivery::{
    Body, Content, Device, Epochs, Frame, GroupEpochs, Home, HomeRule, Incarnation, Input, Invalid, Message,
    Part, Refused, ServerId, encode_bundle,
};
use ed25519_dalek::{Signer, SigningKey};

use super::world::{NOW, World, ruleset, suite, with_home};

/// Two people at two servers, who have a third to invite.
fn three() -> World {
    let mut world = World::new(2, &[0, 1, 0]);
    let added = world.invites(0, &[1]);
    world.run();
    world.assert_one(&added);
    world
}

impl World {
    fn refused(&mut self, who: usize, bundle: &Bundle, invalid: impl Into<Invalid>) {
        let bundle = encode_bundle(bundle).unwrap();
        let parent = self.head_of(who);
        self.refused_bytes(who, &parent, bundle, invalid.into());
    }

    /// By the home of who submits it, and by others to whom it is brought.
    fn refused_bytes(&mut self, who: usize, parent: &CommitId, bundle: Vec<u8>, invalid: Invalid) {
        let before = [self.kept(0), self.kept(1)];
        let refused = match invalid.clone() {
            Invalid::Over => Refused::EpochOver,
            invalid => Refused::Invalid(invalid),
        };
        assert_eq!(self.submit_at(who, parent, bundle.clone()), Err(refused));
        let body = Body { parent: parent.clone(), bundle };
        let content =
            Content::Message { group: self.name, message: Message::Bodies { bodies: vec![body.clone()] } };
        let (from, incarnation) = (ServerId(0), Incarnation(0));
        let frame = Frame { from, incarnation, to: incarnation, content };
        self.handle(1, Input::Frame(frame)).unwrap();
        assert!([self.kept(0), self.kept(1)] == before, "something changed");
        assert_eq!(self.epochs(1).stage(&body), Err(invalid));
    }

    /// The GroupInfo of a bundle, changed and signed again by whom it says (RFC 9420 s5.1.2, s12.4.3).
    pub(super) fn resigned(&self, bundle: &Bundle, by: u8, change: &dyn Fn(&mut GroupInfo)) -> Bundle {
        let MlsMessage::GroupInfo(mut info) = MlsMessage::from_bytes(&bundle.group_info).unwrap() else {
            panic!()
        };
        change(&mut info);
        let mut content = info.group_context.to_bytes();
        info.extensions.encode(&mut content);
        info.confirmation_tag.encode(&mut content);
        info.signer.encode(&mut content);
        let mut signed = b"MLS 1.0 GroupInfoTBS".to_vec().to_bytes();
        content.encode(&mut signed);
        info.signature = SigningKey::from_bytes(&[by; 32]).sign(&signed).to_bytes().to_vec().into();
        Bundle { group_info: MlsMessage::GroupInfo(info).to_bytes(), ..bundle.clone() }
    }

    /// The second adds the third, who says this of its home.
    fn invitation(&mut self, home: Option<HomeAttestation>) -> Bundle {
        let identity = &self.people[2].identity;
        let identity = match home {
            Some(home) => with_home(identity, &home),
            None => identity.clone().with_extensions(Extensions::new()),
        };
        let own = identity.key_package(Lifetime::starting(NOW, 86_400), &mut self.rng).unwrap();
        self.made(1, |commit| commit.add(own.key_package().clone()))
    }

    /// A commit that is forgotten as soon as it is made.
    fn made(
        &mut self,
        who: usize,
        with: impl for<'g> FnOnce(dmls::CommitBuilder<'g>) -> dmls::CommitBuilder<'g>,
    ) -> Bundle {
        let (id, bundle) = self.make(who, with);
        self.people[who].group().discard_unsent(&id).unwrap().apply_unsaved();
        bundle
    }

    fn update_by_reference(&mut self) -> Bundle {
        let update = self.people[0].group.as_mut().unwrap().propose_update(NOW, &mut self.rng);
        let update = update.unwrap().apply_unsaved().message;
        self.people[1].group().receive(&update, NOW).unwrap().apply_unsaved();
        let bundle = self.made(1, |commit| commit);
        assert_eq!(bundle.proposals.len(), 1);
        bundle
    }
}

fn with_tag(commit: &[u8], tag: &[u8]) -> Vec<u8> {
    let mut message = DmlsMessage::from_bytes(commit).unwrap();
    let MlsMessage::PublicMessage(public) = &mut message.message else { panic!() };
    public.auth.confirmation_tag = Some(Tag::from(tag));
    message.to_bytes()
}

fn rule(rule: Rule) -> Invalid {
    Invalid::Commit(rule.into())
}

#[test]
fn bytes_that_are_no_bundle() {
    let mut world = three();
    let bundle = encode_bundle(&world.update_by_reference()).unwrap();
    let head = world.head_of(1);
    for length in 0..bundle.len() {
        let before = world.kept(1);
        let refused = world.submit_at(1, &head, bundle[..length].to_vec());
        assert!(matches!(refused, Err(Refused::Invalid(Invalid::Malformed(_)))), "{length}: {refused:?}");
        assert_eq!(world.kept(1), before);
    }
    let longer = [&bundle[..], &[0]].concat();
    let refused = world.submit_at(1, &head, longer);
    assert!(matches!(refused, Err(Refused::Invalid(Invalid::Malformed(_)))), "{refused:?}");
    let mut later = bundle.clone();
    later[1] = 2;
    world.refused_bytes(1, &head, later, Invalid::Version(2));
    world.submit_at(1, &head, bundle).unwrap();
}

#[test]
fn parts_that_are_too_large() {
    let mut world = three();
    let bundle = world.made(1, |commit| commit);
    let head = world.head_of(1);
    let encoded = |bundle: &Bundle| {
        let mut out = 1u16.to_bytes();
        bundle.commit.encode(&mut out);
        bundle.proposals.encode(&mut out);
        bundle.welcome.encode(&mut out);
        bundle.group_info.encode(&mut out);
        out
    };
    let large = |part: Part| match part {
        Part::Bundle => Bundle { welcome: Some(vec![0; 16 << 20]), ..bundle.clone() },
        Part::Proposals => Bundle { proposals: vec![Vec::new(); 1025], ..bundle.clone() },
        Part::Proposal => Bundle { proposals: vec![vec![0; (1 << 16) + 1]], ..bundle.clone() },
        _ => Bundle { group_info: vec![0; (1 << 18) + 1], ..bundle.clone() },
    };
    for part in [Part::Bundle, Part::Proposals, Part::Proposal, Part::GroupInfo] {
        let large = large(part);
        assert_eq!(encode_bundle(&large), Err(Invalid::TooLarge(part)));
        world.refused_bytes(1, &head, encoded(&large), Invalid::TooLarge(part));
    }
    // What is as large as it may be is judged by what it is.
    let full = Bundle { proposals: vec![vec![0; 1 << 16]], ..bundle.clone() };
    world.refused(1, &full, rule(Rule::BundleProposals));
    let full = Bundle { group_info: vec![0; 1 << 18], ..bundle };
    let refused = world.submit_at(1, &head, encode_bundle(&full).unwrap());
    assert!(matches!(refused, Err(Refused::Invalid(Invalid::Malformed(_)))), "{refused:?}");
}

#[test]
fn commits_that_are_not_what_they_should_be() {
    let mut world = three();
    let private = world.people[1].group.as_mut().unwrap().send(b"a commit").seal(&mut world.rng);
    let private = private.unwrap().apply_unsaved();
    let bundle = world.update_by_reference();
    let with = |commit: Vec<u8>| Bundle { commit, ..bundle.clone() };
    world.refused(1, &Bundle { proposals: Vec::new(), ..bundle.clone() }, rule(Rule::ProposalUnknown));
    let twice =
        Bundle { proposals: [&bundle.proposals[..], &bundle.proposals[..]].concat(), ..bundle.clone() };
    world.refused(1, &twice, rule(Rule::BundleProposals));
    world.refused(1, &with(private), rule(Rule::MessageKind));
    // The confirmation tag is not under the commit's signature, but under that of the GroupInfo.
    world.refused(1, &with(with_tag(&bundle.commit, &[9; 32])), rule(Rule::BundleTag));
    let id = world.head_of(1);
    let refused = world.submit_at(1, &CommitId::from(vec![9; 32]), encode_bundle(&bundle).unwrap());
    assert_eq!(refused, Err(Refused::UnknownEpoch));
    world.submit_at(1, &id, encode_bundle(&bundle).unwrap()).unwrap();
}

#[test]
fn group_infos_that_do_not_vouch_for_the_child() {
    let mut world = three();
    let bundle = world.made(1, |commit| commit);
    let other = world.made(1, |commit| commit);
    let others = Bundle { group_info: other.group_info.clone(), ..bundle.clone() };
    world.refused(1, &others, rule(Rule::BundleContext));
    let name = |info: &mut GroupInfo| info.extensions.set(ExtensionType::COMMIT_ID, vec![9; 32]);
    world.refused(1, &world.resigned(&bundle, 2, &name), rule(Rule::BundleCommit));
    let no_name = |info: &mut GroupInfo| info.extensions.remove(ExtensionType::DMLS_EPOCH);
    world.refused(1, &world.resigned(&bundle, 2, &no_name), rule(Rule::BundleEpoch));
    world.refused(1, &world.resigned(&bundle, 1, &|_| ()), rule(Rule::GroupInfoSignature));
    let signer = |info: &mut GroupInfo| info.signer = LeafIndex(0);
    world.refused(1, &world.resigned(&bundle, 1, &signer), rule(Rule::BundleSigner));
    let tree = |info: &mut GroupInfo| info.extensions.set(ExtensionType::RATCHET_TREE, vec![0]);
    world.refused(1, &world.resigned(&bundle, 2, &tree), Invalid::TreeInGroupInfo);
    world.refused(
        1,
        &Bundle { welcome: Some(bundle.group_info.clone()), ..bundle.clone() },
        rule(Rule::MessageKind),
    );
    let invitation = {
        let home = world.signers[0].attest(Device([3; 32]), &world.people[2].identity);
        world.invitation(Some(home))
    };
    world.refused(1, &Bundle { welcome: None, ..invitation }, rule(Rule::BundleWelcome));
    // What is signed again without a change is taken.
    let head = world.head_of(1);
    let same = world.resigned(&bundle, 2, &|_| ());
    world.submit_at(1, &head, encode_bundle(&same).unwrap()).unwrap();
}

#[test]
fn external_joins_only_where_the_group_has_them() {
    let closed = Ruleset { external_joins: ExternalJoins::NONE, ..ruleset() };
    for (ruleset, is_taken) in [(ruleset(), true), (closed, false)] {
        let mut world = World::of(2, &[0, 1, 0], ruleset);
        world.invites(0, &[1]);
        world.run();
        let bundle = world.made(1, |commit| commit);
        let offer = |info: &mut GroupInfo| {
            let external_pub = ExternalPub { external_pub: vec![9; 32].into() };
            info.extensions.set_content(&external_pub);
        };
        let offering = world.resigned(&bundle, 2, &offer);
        let head = world.head_of(1);
        match is_taken {
            true => world.submit_at(1, &head, encode_bundle(&offering).unwrap()).unwrap(),
            false => world.refused(1, &offering, rule(Rule::BundleExternalPub)),
        }
    }
}

#[test]
fn leaves_that_do_not_say_who_speaks_for_them() {
    let mut world = three();
    let leaf = LeafIndex(2);
    let third = world.people[2].identity.clone();
    let device = Device([3; 32]);
    let key = third.signer().public().clone();
    let home = |rule| Invalid::Home { leaf, rule };
    let bad = |world: &mut World, attestation: Option<HomeAttestation>, rule| {
        let bundle = world.invitation(attestation);
        world.refused(1, &bundle, home(rule));
    };
    bad(&mut world, None, HomeRule::Missing);
    let good = world.signers[0].attest(device, &third);
    // Bytes that are no name of a server, or of a device.
    let sign = |world: &World, server_id: Vec<u8>, device_id: Vec<u8>| {
        let server = world.signers[0].keys.private();
        Some(HomeAttestation::sign(&suite(), server, server_id, device_id, &key).unwrap())
    };
    let name = world.signers[0].home.to_bytes();
    for (server_id, device_id) in [
        (b"server".to_vec(), device.0.to_vec()),
        ([&name[..], &[0]].concat(), device.0.to_vec()),
        (name.clone(), vec![3; 31]),
        (name.clone(), vec![3; 33]),
    ] {
        let attestation = sign(&world, server_id, device_id);
        bad(&mut world, attestation, HomeRule::Malformed);
    }
    // Signed by another server, for another key, for another device, changed.
    let private = world.signers[1].keys.private();
    let others = world.signers[0].home.attest(&suite(), private, device, &key).unwrap();
    bad(&mut world, Some(others), HomeRule::Signature);
    let for_another = world.signers[0].attest(device, &world.people[0].identity);
    bad(&mut world, Some(for_another), HomeRule::Signature);
    let moved = HomeAttestation { device_id: vec![4; 32], ..good.clone() };
    bad(&mut world, Some(moved), HomeRule::Signature);
    let unsigned = HomeAttestation { signature: vec![7; 64].into(), ..good.clone() };
    bad(&mut world, Some(unsigned), HomeRule::Signature);
    // Another key under the number of a server that is there: whoever has it signed as it should be.
    let mut thief = super::world::Signer::new(0, &mut world.rng);
    let thiefs = thief.attest(device, &third);
    bad(&mut world, Some(thiefs.clone()), HomeRule::ServerKey);
    // The same, by a member who would change its home.
    let second = world.people[1].identity.clone();
    thief.home = Home { server: ServerId(1), ..thief.home };
    let identity = with_home(&second, &thief.attest(Device([2; 32]), &second));
    let bundle = world.made(1, |commit| commit.identity(identity));
    world.refused(1, &bundle, Invalid::Home { leaf: LeafIndex(1), rule: HomeRule::ServerKey });
    // The device of somebody else.
    let twice = world.signers[0].attest(Device([1; 32]), &third);
    bad(&mut world, Some(twice), HomeRule::DeviceTwice);
    let bundle = world.invitation(Some(good));
    let head = world.head_of(1);
    world.submit_at(1, &head, encode_bundle(&bundle).unwrap()).unwrap();
}

#[test]
fn one_commit_brings_a_server_with_one_key() {
    let mut world = World::new(3, &[0, 2, 2]);
    let thief = super::world::Signer::new(2, &mut world.rng);
    let third = world.people[2].identity.clone();
    let mut add = |identity: &Identity| {
        let own = identity.key_package(Lifetime::starting(NOW, 86_400), &mut world.rng).unwrap();
        own.key_package().clone()
    };
    let (one, other) =
        (add(&world.people[1].identity), add(&with_home(&third, &thief.attest(Device([3; 32]), &third))));
    let bundle = world.made(0, |commit| commit.add(one).add(other));
    world.refused(0, &bundle, Invalid::Home { leaf: LeafIndex(2), rule: HomeRule::ServerKey });
}

/// Its home does not take it, for it knows better; what others have agreed on is taken.
#[test]
fn a_server_under_a_key_that_the_roster_does_not_have() {
    let mut world = World::new(2, &[0, 0]);
    let thief = super::world::Signer::new(1, &mut world.rng);
    let (second, device) = (world.people[1].identity.clone(), Device([2; 32]));
    world.people[1].identity = with_home(&second, &thief.attest(device, &second));
    let package = world.key_package(1);
    let bundle = world.made(0, |commit| commit.add(package));
    let (head, bundle) = (world.head_of(0), encode_bundle(&bundle).unwrap());
    let before = world.kept(0);
    let refused = world.submit_at(0, &head, bundle.clone());
    assert_eq!((refused, world.kept(0) == before), (Err(Refused::UnknownServer(ServerId(1))), true));
    let commit = world.epochs(0).stage(&Body { parent: head.clone(), bundle: bundle.clone() }).unwrap();
    assert_eq!(commit.servers, [ServerId(0), ServerId(1)].into());
    // With that key in the roster it is as good as any.
    world.known.0.borrow_mut().push(thief.home);
    world.submit_at(0, &head, bundle).unwrap();
}

/// A committer can vouch for two commits that differ in the membership tag only. Which comes first must not matter.
#[test]
fn two_copies_of_a_commit_are_two_commits_in_any_order() {
    let mut world = three();
    let bundle = world.made(1, |commit| commit);
    let mut message = DmlsMessage::from_bytes(&bundle.commit).unwrap();
    let MlsMessage::PublicMessage(public) = &mut message.message else { panic!() };
    public.membership_tag = Some(vec![9; 32].into());
    let id = message.message.commit_id(&suite());
    let name = |info: &mut GroupInfo| info.extensions.set(ExtensionType::COMMIT_ID, id.as_bytes().to_vec());
    let copy = Bundle { commit: message.to_bytes(), ..world.resigned(&bundle, 2, &name) };
    let parent = world.head_of(1);
    let bodies = [&bundle, &copy]
        .map(|bundle| Body { parent: parent.clone(), bundle: encode_bundle(bundle).unwrap() });
    let [one, other] = [[0, 1], [1, 0]].map(|order| {
        let mut epochs = world.epochs(0);
        let mut staged = order.map(|which| (which, epochs.stage(&bodies[which]).unwrap()));
        staged.sort_by_key(|(which, _)| *which);
        staged
    });
    assert_eq!(one, other);
    assert_eq!(one[1].1.id, id);
    assert_ne!(one[0].1.id, id);
}

#[test]
fn what_somebody_else_made_leaves_nothing_behind() {
    let mut world = three();
    let (id, bundle) = world.make(0, |commit| commit);
    let head = world.head_of(1);
    let before = world.kept(1);
    let refused = world.submit_at(1, &head, encode_bundle(&bundle).unwrap());
    assert_eq!((refused, world.kept(1) == before), (Err(Refused::NotMember), true));
    // Nor what its committer brings to a server that is not its home.
    let (group, device) = (world.name, world.people[0].device);
    let body = Body { parent: head.clone(), bundle: encode_bundle(&bundle).unwrap() };
    let refused = world.handle(1, Input::Submit { group, device, body });
    assert_eq!((refused, world.kept(1) == before), (Err(Refused::NotMember), true));
    // Nor with what comes after it.
    let next = world.commits(1, |commit| commit);
    let holds = |name: &CommitId| {
        let name = name.as_bytes();
        world.kept(1).keys().filter(|key| key.windows(name.len()).any(|part| part == name)).count()
    };
    assert!(holds(&next) > 0);
    assert_eq!(holds(&id), 0);
    world.run();
    world.assert_one(&next);
}

#[test]
fn what_was_made_on_an_epoch_that_was_let_go() {
    let mut world = three();
    let (old, late) = (world.head_of(1), world.made(1, |commit| commit));
    for who in [0, 1, 0] {
        world.commits(who, |commit| commit);
        world.run();
    }
    assert_ne!(world.head_of(1), old);
    world.refused_bytes(1, &old, encode_bundle(&late).unwrap(), Invalid::Over);
}

/// Each byte of a bundle, changed: it is refused, or the commit is what it was.
#[test]
fn no_byte_changes_what_a_commit_is() {
    let mut world = three();
    let home = world.signers[0].attest(Device([3; 32]), &world.people[2].identity);
    let head = world.head_of(1);
    for bundle in [world.update_by_reference(), world.invitation(Some(home))] {
        let bytes = encode_bundle(&bundle).unwrap();
        let mut epochs = world.epochs(0);
        let stage = |epochs: &mut GroupEpochs, bundle: Vec<u8>| {
            epochs.wake().unwrap();
            let staged = epochs.stage(&Body { parent: head.clone(), bundle });
            if staged.is_ok() {
                epochs.rest();
            }
            staged
        };
        let commit = stage(&mut epochs, bytes.clone()).unwrap();
        let mut same = 0;
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << (place % 8);
            if let Ok(staged) = stage(&mut epochs, changed) {
                assert_eq!(staged, commit, "byte {place}");
                same += 1;
            }
        }
        // What only joiners can read, and the membership tags of proposals.
        assert!(same > 0 && same < bytes.len() * 3 / 4, "{same} of {}", bytes.len());
    }
}
