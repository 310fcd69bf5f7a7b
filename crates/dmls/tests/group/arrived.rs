//! What arrives, and whose fault it is.

use std::error::Error as _;

use dmls::codec::{Decode, Encode};
use dmls::framing::{MlsMessage, Sender};
use dmls::{DmlsMessage, Error, KeySchedule, LeafIndex, MessageKind, Rule, classify};

use super::common::{Client, NOW, SPLIT, config, identity, key_package, public_config, rng};
use super::pair;

/// The message, as if somebody else had sent it; nothing is signed again.
fn from(message: &[u8], sender: LeafIndex) -> Vec<u8> {
    let mut message = DmlsMessage::from_bytes(message).unwrap();
    let MlsMessage::PublicMessage(public) = &mut message.message else { panic!("not public") };
    public.content.sender = Sender::Member(sender);
    message.to_bytes()
}

#[test]
fn what_others_forge_is_not_our_mistake() {
    let rng = &mut rng(1);
    let (mut a, mut b) = pair(&public_config(), 1);
    let commit = b.stage(rng).message;
    let proposal = b.run(|group| group.propose_update(NOW, rng)).unwrap().message;
    for message in [commit, proposal] {
        let before = a.snapshot();
        // Ours by its words, a stranger's by its signature.
        assert_eq!(a.receive(&from(&message, a.leaf()), SPLIT), Err(Error::Invalid(Rule::MembershipTag)));
        assert_eq!(
            a.receive(&from(&message, LeafIndex(99)), SPLIT),
            Err(Error::Invalid(Rule::MembershipTag))
        );
        assert!(a.snapshot() == before);
    }
}

#[test]
fn what_we_ask_for_is_refused_and_not_an_invalid_message() {
    let rng = &mut rng(2);
    let (mut a, _) = pair(&config(), 2);
    let nobody = LeafIndex(99);
    let committed = a.run(|group| group.commit().remove(nobody).stage(NOW, rng)).map(drop);
    let proposed = a.run(|group| group.propose_remove(nobody, NOW, rng)).map(drop);
    assert_eq!(committed, Err(Error::Refused(Rule::RemoveTarget)));
    assert_eq!(proposed, committed);
    assert!(committed.unwrap_err().to_string().starts_with("not allowed: "));
}

#[test]
fn an_error_has_its_source() {
    let (_, mut b) = pair(&config(), 3);
    let malformed = b.receive(b"nonsense", SPLIT).unwrap_err();
    assert!(malformed.source().is_some_and(|source| malformed.to_string().contains(&source.to_string())));
    let records = dmls::Group::load(&Default::default(), config()).unwrap_err();
    assert!(records.source().is_some_and(|source| records.to_string().contains(&source.to_string())));
    assert!(Error::from(Rule::GroupId).source().is_none());
}

#[test]
fn kinds_are_told_apart_without_deciding_anything() {
    for schedule in [KeySchedule::Dmls, KeySchedule::Rfc9420] {
        let rng = &mut rng(4);
        let config = dmls::Config { schedule, ..config() };
        let (mut a, mut b) = pair(&config, 4);
        let own = key_package(&identity("dave", rng), rng);
        let commit = a.run(|group| group.commit().add(own.key_package().clone()).stage(NOW, rng)).unwrap();
        let message = a.send(b"hello", rng);
        let (group_id, number) = (a.group.id().to_vec(), a.group.head().number());
        let epoch = (schedule == KeySchedule::Dmls).then(|| a.head());
        let of_group = MessageKind::Message { group_id: group_id.clone(), number, epoch };
        let info = a.group.head().group_info(NOW).unwrap();
        let before = b.snapshot();
        assert_eq!(classify(&own.message()), Ok(MessageKind::KeyPackage));
        assert_eq!(classify(&info), Ok(MessageKind::GroupInfo { group_id, number }));
        assert_eq!(classify(&commit.message), Ok(of_group.clone()));
        assert_eq!(classify(&message), Ok(of_group));
        let welcome = a.confirm(&commit, SPLIT).welcome.unwrap();
        assert_eq!(classify(&welcome), Ok(MessageKind::Welcome));
        assert!(matches!(classify(b"nonsense"), Err(Error::Malformed(_))));
        assert!(b.snapshot() == before);
        // And what was told is still to be had.
        assert!(
            b.receive(&message, SPLIT).is_ok() && Client::join(&a.identity, &own, &welcome, &config).is_ok()
        );
    }
}
