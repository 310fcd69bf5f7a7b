//! Every message tells on which head its sender is, by its header and by what we know of that epoch: nobody need announce it
//! (DESIGN s3.3).

use dmls::{Application, EpochId, Level, Outcome, WaitsFor};

use super::common::{Client, SPLIT, identity, key_package, public_config, rng};
use super::consolidate::{commit, four, part, same};
use super::new_epoch;

fn read(by: &mut Client, message: &[u8]) -> Application {
    match by.receive(message, SPLIT).unwrap() {
        Outcome::Application(application) => application,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_message_tells_on_which_head_its_sender_is() {
    let rng = &mut rng(1);
    let [mut a, mut b, mut c, mut d] = four(&public_config(), 50);
    let first = c.head();
    // On ours.
    let message = a.send(b"1", rng);
    assert_eq!(read(&mut c, &message).epoch, c.head());
    // On one that we don't know: its name is told before anything can be decrypted.
    let [lost, won] = part(&mut a, same, &mut b, same, rng);
    let message = a.send(b"2", rng);
    match c.receive(&message, SPLIT).unwrap() {
        Outcome::Held(held) => assert_eq!(held.waits_for, WaitsFor::Epoch(a.head())),
        other => panic!("{other:?}"),
    }
    // What was missing follows an epoch that we have.
    assert_eq!(a.group.head().parent(), Some(&first));
    assert_eq!(c.deliver(&lost.message, SPLIT).unwrap().len(), 2);
    // On a branch that lost.
    new_epoch(c.receive(&won.message, SPLIT).unwrap());
    let said = a.send(b"3", rng);
    let said = read(&mut c, &said);
    assert_eq!((said.epoch, said.on_way), (lost.epoch, false));
    // Behind.
    let said = d.send(b"4", rng);
    let said = read(&mut c, &said);
    assert_eq!((&said.epoch, said.on_way), (&first, true));
    assert_ne!(said.epoch, c.head());
    // So far that it is left behind.
    c.run(|group| group.delete_epoch(&first, Level::Known)).unwrap();
    let message = d.send(b"5", rng);
    assert!(matches!(c.receive(&message, SPLIT).unwrap(),
        Outcome::EpochDeleted(gone) if gone.epoch == Some(first.clone())));
    let erin = identity("erin", rng);
    let own = key_package(&erin, rng);
    let added = commit(&mut b, rng, |c| c.add(own.key_package().clone()));
    let welcome = b.group.unsent_welcomes().next().unwrap().1.to_vec();
    let mut e = Client::join(&erin, &own, &welcome, &b.config).unwrap();
    let number = c.group.epoch(&first).unwrap().number();
    assert_eq!(e.receive(&message, SPLIT).unwrap(), Outcome::BeforeUs { number });
    // Who wants to tell of a head that others may not know says it in an epoch that they have.
    let head = b.head();
    let told = b.run(|group| group.send(head.as_bytes()).at(&first).seal(rng)).unwrap();
    let told = read(&mut d, &told);
    let named = EpochId::from(told.data);
    assert_eq!((&named, told.sender.leaf), (&added.epoch, b.leaf()));
    assert!(d.group.epoch(&named).is_none());
}
