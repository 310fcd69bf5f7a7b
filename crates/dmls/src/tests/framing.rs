//! Framing (RFC 9420 s6).

use super::refusals;
use super::world::{BOB, MALLORY, NOBODY, NOW, World, anyone_may_join, commit};
use crate::codec::{Decode, Encode};
use crate::config::Config;
use crate::credential::Credential;
use crate::error::{Error, Rule, Usage};
use crate::extension::{ExternalSender, ExternalSenders};
use crate::framing::{
    Content, FramedContentAuthData, MlsMessage, PrivateMessage, PublicMessage, Sender, SenderData,
};
use crate::group::{DmlsMessage, Group, Outcome};
use crate::identity::Identity;
use crate::key_schedule::KeySchedule;
use crate::message::Proposal;
use crate::public_group::PublicGroup;
use crate::registry::{ExtensionType, WireFormat};
use crate::secret_tree::RatchetKind;
use crate::tree::LeafIndex;

refusals! { RULES:
    another_kind_of_message => MessageKind, |world| {
        for schedule in [KeySchedule::Rfc9420, KeySchedule::Dmls] {
            *world = World::with(Config { schedule, ..world.config.clone() });
            let (own, welcome) = world.invitation();
            let info = world.group_info(|_| ());
            let key_package = MlsMessage::KeyPackage(Box::new(own.key_package().clone()));
            for message in [key_package, MlsMessage::Welcome(welcome), MlsMessage::GroupInfo(Box::new(info))] {
                let message = world.mallory.wrap(message, world.mallory.head().id());
                assert_eq!(world.refused(&message), Rule::MessageKind.into());
            }
            let (config, info) = (world.config.clone(), world.mallory.head().group_info(NOW).unwrap());
            let joined = Group::join(&own, &info, None, config.clone(), NOW).map(drop);
            assert_eq!(joined, Err(Rule::MessageKind.into()));
            let key_package = MlsMessage::KeyPackage(Box::new(own.key_package().clone())).to_bytes();
            let observed = PublicGroup::begin(&key_package, None, config).map(drop);
            assert_eq!(observed, Err(Rule::MessageKind.into()));
        }
        let welcome = MlsMessage::Welcome(World::new().invitation().1).to_bytes();
        let (eve, config, rng) = (&world.eve, world.config.clone(), &mut world.rng);
        Group::join_external(eve, &welcome, Default::default(), config, NOW, rng).map(drop).unwrap_err()
    };
    another_group => GroupId, |world| {
        let identity = Identity::generate(world.suite(), Credential::basic("mallory"), &mut world.rng).unwrap();
        let config = world.config.clone();
        let other = Group::create(&identity, Default::default(), config, NOW, &mut world.rng);
        world.mallory = other.unwrap().apply_unsaved();
        let message = world.mallory.send(b"").seal(&mut world.rng).unwrap().apply_unsaved();
        world.refused(&message)
    };
    another_epoch_number => Epoch, |world| {
        // A group looks the epoch up before: only who has no more than the epoch's public part comes here.
        let mut framed = world.framed(Sender::Member(MALLORY), Proposal::Remove(BOB).into());
        framed.epoch += 1;
        let content = world.signed(WireFormat::PUBLIC_MESSAGE, framed, world.mallory_key());
        world.alice.head_epoch().public().verify(content).unwrap_err().into()
    };
    sender_is_blank => Sender, |world| {
        let key = world.mallory_key();
        world.refused(&world.public_from(Sender::Member(NOBODY), Proposal::Remove(BOB), key))
    };
    content_signature => ContentSignature, |world| {
        let key = world.eve.signer().private();
        world.refused(&world.public_from(Sender::Member(MALLORY), Proposal::Remove(BOB), key))
    };
    confirmation_tag => ConfirmationTag, |world| {
        let key_package = world.key_package().key_package().clone();
        world.refused_commit([Proposal::Add(Box::new(key_package))])
    };
    membership_tag => MembershipTag, |world| {
        let mut message = proposal_of_mallory(world);
        message.membership_tag = Some(vec![0; 32].into());
        refused_public(world, message)
    };
    application_in_public => ApplicationInPublic, |world| {
        let framed = world.framed(Sender::Member(MALLORY), Content::Application(b"text".to_vec()));
        let content = world.signed(WireFormat::PUBLIC_MESSAGE, framed, world.mallory_key());
        let membership_tag = Some(vec![0; 32].into());
        refused_public(world, PublicMessage { content: content.content, auth: content.auth, membership_tag })
    };
    external_sender_is_not_listed => ExternalSender, |world| {
        let key = world.server.signer().private();
        world.refused(&world.public_from(Sender::External(1), Proposal::Remove(BOB), key))
    };
    external_sender_proposes_an_update => ExternalContent, |world| {
        let leaf = world.alice.head_epoch().public().member(BOB).unwrap().clone();
        let key = world.server.signer().private();
        let update = world.public_from(Sender::External(0), Proposal::Update(Box::new(leaf)), key);
        let init = Proposal::ExternalInit(crate::crypto::KemOutput::from(vec![9; 32]));
        let init = world.public_from(Sender::External(0), init, key);
        assert_eq!(world.refused(&init), Rule::ExternalContent.into());
        world.refused(&update)
    };
    newcomer_proposes_a_removal => NewMemberProposal, |world| {
        let key = world.eve.signer().private();
        world.refused(&world.public_from(Sender::NewMemberProposal, Proposal::Remove(BOB), key))
    };
    joiner_proposes => NewMemberCommit, |world| {
        let key = world.eve.signer().private();
        world.refused(&world.public_from(Sender::NewMemberCommit, Proposal::Remove(BOB), key))
    };
    sender_data => SenderData, |world| {
        let mut message = text_of_mallory(world);
        message.encrypted_sender_data[0] ^= 1;
        refused_private(world, message)
    };
    ciphertext => Ciphertext, |world| {
        let mut message = text_of_mallory(world);
        // The first Nh bytes would change the keys of the sender data.
        *message.ciphertext.last_mut().unwrap() ^= 1;
        refused_private(world, message)
    };
    padding => Padding, |world| {
        let message = padded_with_ones(world);
        refused_private(world, message)
    };
    stranger_asks_to_be_added => NewMemberRefused, |world| {
        let add = world.add(|_| ());
        world.refused(&world.public_from(Sender::NewMemberProposal, add, world.eve.signer().private()))
    };
    external_sender_is_a_stranger => ExternalSenderCredential, |world| {
        let mut extensions = world.alice.head().context_extensions().unwrap().clone();
        let signature_key = world.server.signer().public().clone();
        let stranger = ExternalSender { signature_key, credential: Credential::basic("stranger") };
        extensions.set_content(&ExternalSenders(vec![stranger]));
        let change = Proposal::GroupContextExtensions(extensions.clone());
        let committed = world.refused_commit([change.clone()]);
        assert_eq!(world.refused_proposal(change), committed);
        let info = world.group_info(|info| info.group_context.extensions = extensions);
        assert_eq!(world.join_external(info).unwrap_err(), committed);
        committed
    };
    message_key_of_a_commit_was_used => MessageKeyUsed, |world| {
        *world = World::with(anyone_may_join());
        let [proposal, commit] = [Proposal::Remove(BOB).into(), commit([]).into()].map(|content| {
            let framed = world.framed(Sender::Member(MALLORY), content);
            let content = world.signed(WireFormat::PRIVATE_MESSAGE, framed, world.mallory_key());
            let message = world.private(content);
            world.wrap(message)
        });
        world.accepted(&proposal);
        world.refused(&commit)
    };
    message_key_was_dropped_unread => MessageKeyTooOld, |world| {
        let sent = 0..world.config.limits.kept_generations + 2;
        let sent = sent.map(|_| world.mallory.send(b"text").seal(&mut world.rng).unwrap().apply_unsaved());
        let sent: Vec<_> = sent.collect();
        world.accepted(sent.last().unwrap());
        assert!(matches!(world.accepted(&sent[0]), Outcome::TooOld { .. }));
        let first = DmlsMessage::from_bytes(&sent[0]).unwrap().message;
        world.alice.head_epoch().open(&world.config, first).map(|_| ()).unwrap_err()
    };
}

fn proposal_of_mallory(world: &World) -> PublicMessage {
    let framed = world.framed(Sender::Member(MALLORY), Proposal::Remove(BOB).into());
    world.public(world.signed(WireFormat::PUBLIC_MESSAGE, framed, world.mallory_key()))
}

fn refused_public(world: &mut World, message: PublicMessage) -> Error {
    world.refused(&world.wrap(MlsMessage::PublicMessage(Box::new(message))))
}

fn text_of_mallory(world: &mut World) -> PrivateMessage {
    let framed = world.framed(Sender::Member(MALLORY), Content::Application(b"text".to_vec()));
    let content = world.signed(WireFormat::PRIVATE_MESSAGE, framed, world.mallory_key());
    let MlsMessage::PrivateMessage(message) = world.private(content) else { unreachable!("it is private") };
    message
}

fn refused_private(world: &mut World, message: PrivateMessage) -> Error {
    world.refused(&world.wrap(MlsMessage::PrivateMessage(message)))
}

fn padded_with_ones(world: &World) -> PrivateMessage {
    sealed_by_hand(world, MALLORY, &[1])
}

/// PrivateMessageContent with any padding, in the name of any leaf, with Mallory's key.
fn sealed_by_hand(world: &World, leaf_index: LeafIndex, padding: &[u8]) -> PrivateMessage {
    let suite = world.suite();
    let framed = world.framed(Sender::Member(MALLORY), Content::Application(b"text".to_vec()));
    let content = world.signed(WireFormat::PRIVATE_MESSAGE, framed, world.mallory_key());
    let mut plaintext = b"text".to_vec().to_bytes();
    let FramedContentAuthData { signature, .. } = &content.auth;
    signature.encode(&mut plaintext);
    plaintext.extend_from_slice(padding);

    let reading = &world.mallory.head_epoch().reading;
    let (generation, key, _) = reading.messages.next_key(&suite, MALLORY, RatchetKind::Application).unwrap();
    let mut sender_data_aad = content.content.group_id.to_bytes();
    content.content.epoch.encode(&mut sender_data_aad);
    content.content.content.content_type().encode(&mut sender_data_aad);
    let mut aad = sender_data_aad.clone();
    content.content.authenticated_data.encode(&mut aad);
    // With a reuse guard of zero the nonce is the ratchet's.
    let ciphertext = suite.aead_seal(&key.key, &key.nonce, &aad, &plaintext).unwrap();
    let sender_data = SenderData { leaf_index, generation, reuse_guard: [0; 4] };
    PrivateMessage {
        group_id: content.content.group_id.clone(),
        epoch: content.content.epoch,
        content_type: content.content.content.content_type(),
        authenticated_data: Vec::new(),
        encrypted_sender_data: sender_data
            .seal(&suite, &reading.sender_data, &sender_data_aad, &ciphertext)
            .unwrap(),
        ciphertext,
    }
}

#[test]
fn a_sender_outside_of_the_tree() {
    let mut world = World::new();
    let key = world.mallory_key();
    let message = world.public_from(Sender::Member(LeafIndex(1 << 20)), Proposal::Remove(BOB), key);
    assert_eq!(world.refused(&message), Rule::Sender.into());
}

#[test]
fn an_external_sender_commits() {
    let mut world = World::new();
    let message = world.public_from(Sender::External(0), commit([]), world.server.signer().private());
    assert_eq!(world.refused(&message), Rule::ExternalContent.into());
}

#[test]
fn an_external_sender_who_is_not_the_one_listed() {
    let mut world = World::new();
    let message = world.public_from(Sender::External(0), Proposal::Remove(BOB), world.eve.signer().private());
    assert_eq!(world.refused(&message), Rule::ContentSignature.into());
}

#[test]
fn a_repeated_text_is_a_duplicate() {
    let mut world = World::new();
    let message = text_of_mallory(&mut world);
    let message = world.wrap(MlsMessage::PrivateMessage(message));
    world.accepted(&message);
    assert_eq!(world.accepted(&message), crate::group::Outcome::Duplicate);
}

#[test]
fn a_sender_of_a_private_message_is_blank() {
    let mut world = World::new();
    for leaf in [NOBODY, LeafIndex(1 << 20)] {
        let message = sealed_by_hand(&world, leaf, &[]);
        assert_eq!(refused_private(&mut world, message), Rule::Sender.into());
    }
    // Nothing else is wrong with it.
    let message = sealed_by_hand(&world, MALLORY, &[]);
    let message = world.wrap(MlsMessage::PrivateMessage(message));
    assert!(matches!(world.accepted(&message), Outcome::Application(_)));
}

/// Sealed with the group's keys, signed with another's: what is encrypted is verified like what is not.
#[test]
fn content_signature_inside_of_a_private_message() {
    let mut world = World::new();
    for signer in [world.eve.signer().clone(), world.bob.signer.clone()] {
        let framed = world.framed(Sender::Member(MALLORY), Content::Application(b"text".to_vec()));
        let content = world.signed(WireFormat::PRIVATE_MESSAGE, framed, signer.private());
        let message = world.private(content);
        assert_eq!(world.refused(&world.wrap(message)), Rule::ContentSignature.into());
    }
}

#[test]
fn newcomer_signs_with_another_key() {
    let mut world = World::new();
    let add = world.add(|_| ());
    let message = world.public_from(Sender::NewMemberProposal, add, world.server.signer().private());
    assert_eq!(world.refused(&message), Rule::ContentSignature.into());
}

#[test]
fn joiner_signs_with_another_key() {
    let mut world = World::new();
    let joining = DmlsMessage::from_bytes(&world.external_commit(|_| ())).unwrap().message;
    let MlsMessage::PublicMessage(joining) = joining else { unreachable!("always public") };
    let key = world.server.signer().private();
    let message = world.public_from(Sender::NewMemberCommit, joining.content.content, key);
    assert_eq!(world.refused(&message), Rule::ContentSignature.into());
}

#[test]
fn a_group_without_external_senders() {
    let mut world = World::new();
    let mut extensions = world.alice.head().context_extensions().unwrap().clone();
    extensions.remove(ExtensionType::EXTERNAL_SENDERS);
    world.mallory_commits(|commit| commit.extensions(extensions));
    let key = world.server.signer().private();
    let message = world.public_from(Sender::External(0), Proposal::Remove(BOB), key);
    assert_eq!(world.refused(&message), Rule::ExternalSender.into());
}

/// "membership_tag" is there of members and of nobody else (s6.2): the bytes don't fit otherwise.
#[test]
fn a_membership_tag_from_outside_or_none_from_inside() {
    let mut world = World::new();
    for from_outside in [true, false] {
        let (sender, key, tag) = match from_outside {
            true => (Sender::External(0), world.server.signer().private(), Some(vec![0; 32].into())),
            false => (Sender::Member(MALLORY), world.mallory_key(), None),
        };
        let framed = world.framed(sender, Proposal::Remove(BOB).into());
        let signed = world.signed(WireFormat::PUBLIC_MESSAGE, framed, key);
        let message = PublicMessage { content: signed.content, auth: signed.auth, membership_tag: tag };
        let message = world.wrap(MlsMessage::PublicMessage(Box::new(message)));
        assert!(matches!(world.refused(&message), Error::Malformed(_)));
    }
}

/// "reuse_guard" is fresh for each message, and in its nonce (s6.3.1): whoever goes back to an old state seals with an old key.
#[test]
fn reuse_guards_are_random_and_used() {
    let mut world = World::new();
    let reading = &world.mallory.head_epoch().reading;
    let (_, key, _) = reading.messages.next_key(&world.suite(), MALLORY, RatchetKind::Application).unwrap();
    let mut guards = Vec::new();
    for _ in 0..3 {
        let sealed = world.mallory.send(b"text").seal(&mut world.rng).unwrap().outcome().clone();
        let MlsMessage::PrivateMessage(sealed) = DmlsMessage::from_bytes(&sealed).unwrap().message else {
            unreachable!("it is private")
        };
        let epoch = world.mallory.head_epoch();
        let data = sealed.sender_data(&world.suite(), &epoch.reading.sender_data).unwrap();
        assert_eq!((data.leaf_index, data.generation), (MALLORY, 0));
        let mut aad = sealed.group_id.to_bytes();
        sealed.epoch.encode(&mut aad);
        sealed.content_type.encode(&mut aad);
        sealed.authenticated_data.encode(&mut aad);
        let mut nonce = *key.nonce;
        nonce.iter_mut().zip(data.reuse_guard).for_each(|(byte, guard)| *byte ^= guard);
        assert!(world.suite().aead_open(&key.key, &nonce, &aad, &sealed.ciphertext).is_ok());
        guards.push(data.reuse_guard);
    }
    guards.dedup();
    assert_eq!(guards.len(), 3);
}

/// An observer can't compute the tag, but counts its bytes.
#[test]
fn confirmation_tag_of_another_length() {
    let mut world = World::new();
    let framed = world.framed(Sender::Member(MALLORY), commit([Proposal::Remove(BOB)]).into());
    let mut content = world.signed(WireFormat::PUBLIC_MESSAGE, framed, world.mallory_key());
    content.auth.confirmation_tag = Some(vec![0; 31].into());
    let message = world.public(content);
    let message = world.wrap(MlsMessage::PublicMessage(Box::new(message)));
    // Before the proposals are looked at: it has no path.
    assert_eq!(world.refused(&message), Rule::ConfirmationTag.into());
    assert_eq!(world.observed(&message, false), Some(Err(Rule::ConfirmationTag.into())));
}

#[test]
fn we_send_no_application_data_in_public() {
    let world = World::new();
    let framed = world.framed(Sender::Member(MALLORY), Content::Application(b"text".to_vec()));
    let content = world.signed(WireFormat::PUBLIC_MESSAGE, framed, world.mallory_key());
    let epoch = world.mallory.head_epoch();
    let key = &epoch.secrets.membership_key;
    let refused = PublicMessage::protect(&world.suite(), key, content, epoch.context());
    assert_eq!(refused, Err(Rule::ApplicationInPublic));
}

#[test]
fn an_exported_secret_has_the_length_that_its_kdf_can_make() {
    let world = World::new();
    let export =
        |length| world.alice.head().export("label", b"context", length).map(|secret| secret.as_bytes().len());
    assert_eq!(export(255 * 32), Ok(255 * 32));
    assert_eq!(export(255 * 32 + 1), Err(Usage::ExporterLength.into()));
}
