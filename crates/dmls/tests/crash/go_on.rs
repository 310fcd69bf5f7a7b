//! After a crash, as the README says: what is stored is sent again. Then the program goes on where it was.

use dmls::danger::AcceptAnyCredential;
use dmls::{
    CipherSuite, Config, Credential, Error, Group, Identity, Lifetime, Network, NewGroupOptions, Outcome,
    OwnKeyPackage, Time,
};

use super::store::Store;

const NOW: Time = Time(1_800_000_000);

fn config() -> Config {
    Config::new(AcceptAnyCredential)
}

pub fn main() -> Result<(), Error> {
    let mut rng = rand::rng();
    let (mut a_store, mut b_store) = (Store::open("alice"), Store::open("bob"));
    let mut a = alice(&mut a_store)?;
    let mut b = bob(&mut b_store, &mut a, &mut a_store)?;

    // She knows whether she has said it.
    if !has_sent(&a, &a_store) {
        a.send(b"hello").seal(&mut rng)?.persist(|changes, message| a_store.send(changes, message))?;
    }
    deliver(&mut a_store, &mut b, &mut b_store)?;
    deliver(&mut b_store, &mut a, &mut a_store)?;
    // Both were before the split.
    if a.head().number() == 1 && b.head().number() == 1 {
        let step = a.commit().stage_confirmed(NOW, &mut rng)?;
        step.persist(|changes, made| a_store.send(changes, &made.sent.message))?;
        let step = b.commit().stage_confirmed(NOW, &mut rng)?;
        step.persist(|changes, made| b_store.send(changes, &made.sent.message))?;
        deliver(&mut a_store, &mut b, &mut b_store)?;
        deliver(&mut b_store, &mut a, &mut a_store)?;
    }
    a.set_network(Network::Whole).persist(|changes, _| a_store.write(changes))?;
    a.delete_old_epochs().persist(|changes, _| a_store.write(changes))?;
    Ok(())
}

/// Alice's group: that of her records, or one that she creates.
fn alice(store: &mut Store) -> Result<Group, Error> {
    if !store.records.is_empty() {
        return Group::load(&store.records, config());
    }
    let rng = &mut rand::rng();
    let alice = Identity::generate(suite(), Credential::basic("alice"), rng)?;
    let founding = Group::create(&alice, NewGroupOptions::default(), config(), NOW, rng)?;
    founding.persist(|changes| store.begin(changes))
}

/// Bob's group: that of his records, or that of the Welcome which Alice sends again, or for the first time.
fn bob(store: &mut Store, a: &mut Group, a_store: &mut Store) -> Result<Group, Error> {
    let rng = &mut rand::rng();
    if store.records.is_empty() && store.key_package.is_none() {
        let bob = Identity::generate(suite(), Credential::basic("bob"), rng)?;
        store.keep(&bob.key_package(Lifetime::starting(NOW, 90 * 86_400), rng)?)?;
    }
    let own = store.key_package.as_ref().map(|own| OwnKeyPackage::from_secret(&suite(), own)).transpose()?;
    if let (0, Some(own)) = (a.head().number(), &own) {
        let step = a.commit().add(own.key_package().clone()).stage_confirmed(NOW, rng)?;
        step.persist(|changes, _| a_store.write(changes))?;
    }
    let unsent: Vec<_> = a.unsent_welcomes().map(|(id, welcome)| (id.clone(), welcome.to_vec())).collect();
    let b = match (own, unsent.first()) {
        (Some(own), Some((_, welcome))) => {
            let founding = Group::join(&own, welcome, None, config(), NOW)?;
            founding.persist(|changes| store.begin(changes))?
        }
        // He has it already, if it comes again.
        _ => Group::load(&store.records, config())?,
    };
    for (id, _) in &unsent {
        a.welcome_sent(id)?.persist(|changes, _| a_store.write(changes))?;
    }
    Ok(b)
}

fn suite() -> dmls::Suite {
    config().provider.suite(CipherSuite::X25519_AES128).expect("every provider has it")
}

/// Whether Alice has used a key for application data since Bob is there: it has a record, until she goes on to the next epoch.
fn has_sent(a: &Group, store: &Store) -> bool {
    let ratchet = [b"r", a.head().id().as_bytes(), &[2, 0, 0, 0, 0]].concat();
    a.head().number() > 1 || store.records.contains_key(&ratchet)
}

/// What one member has to send, to the other. Nobody commits here but in `stage_confirmed`, so nothing is pending.
fn deliver(from: &mut Store, group: &mut Group, to: &mut Store) -> Result<(), Error> {
    for message in from.outbox.clone() {
        let step = group.receive(&message, NOW)?;
        assert!(
            matches!(step.outcome(), Outcome::Application(_) | Outcome::Commit(_) | Outcome::Duplicate),
            "{:?}",
            step.outcome()
        );
        step.persist(|changes, outcome| to.read(changes, outcome))?;
        from.sent(&message)?;
    }
    Ok(())
}
