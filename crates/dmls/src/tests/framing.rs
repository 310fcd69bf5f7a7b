//! Framing (RFC 9420 s6).

use super::refusals;
use super::world::{BOB, MALLORY, NOBODY, NOW, World, anyone_may_join, commit};
use crate::codec::Encode;
use crate::credential::Credential;
use crate::error::{Error, Rule};
use crate::framing::{
    Content, FramedContentAuthData, MlsMessage, PrivateMessage, PublicMessage, Sender, SenderData,
};
use crate::group::Group;
use crate::identity::Identity;
use crate::message::Proposal;
use crate::registry::WireFormat;
use crate::secret_tree::RatchetKind;
use crate::tree::LeafIndex;

refusals! { RULES:
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
        world.refused(&world.public_from(Sender::External(0), Proposal::Update(Box::new(leaf)), key))
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

/// Sealed by hand: PrivateMessageContent with a padding that is not zero.
fn padded_with_ones(world: &World) -> PrivateMessage {
    let suite = world.suite();
    let framed = world.framed(Sender::Member(MALLORY), Content::Application(b"text".to_vec()));
    let content = world.signed(WireFormat::PRIVATE_MESSAGE, framed, world.mallory_key());
    let mut plaintext = b"text".to_vec().to_bytes();
    let FramedContentAuthData { signature, .. } = &content.auth;
    signature.encode(&mut plaintext);
    plaintext.push(1);

    let reading = &world.mallory.head_epoch().reading;
    let (generation, key, _) = reading.messages.next_key(&suite, MALLORY, RatchetKind::Application).unwrap();
    let mut sender_data_aad = content.content.group_id.to_bytes();
    content.content.epoch.encode(&mut sender_data_aad);
    content.content.content.content_type().encode(&mut sender_data_aad);
    let mut aad = sender_data_aad.clone();
    content.content.authenticated_data.encode(&mut aad);
    // With a reuse guard of zero the nonce is the ratchet's.
    let ciphertext = suite.aead_seal(&key.key, &key.nonce, &aad, &plaintext).unwrap();
    let sender_data = SenderData { leaf_index: MALLORY, generation, reuse_guard: [0; 4] };
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
fn a_text_whose_key_was_dropped_unread_is_too_old() {
    let mut world = World::new();
    let sent = 0..world.config.limits.kept_generations + 2;
    let sent = sent.map(|_| world.mallory.send(b"text").seal(&mut world.rng).unwrap().apply_unsaved());
    let sent: Vec<_> = sent.collect();
    world.accepted(sent.last().unwrap());
    let epoch = world.alice.head().id().clone();
    assert_eq!(world.accepted(&sent[0]), crate::group::Outcome::TooOld { epoch });
}
