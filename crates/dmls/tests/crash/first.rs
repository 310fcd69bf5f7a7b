//! The `main` of the README's first program, word for word.

use dmls::danger::AcceptAnyCredential;
use dmls::{
    CipherSuite, Config, Credential, Error, Group, Identity, Lifetime, Network, NewGroupOptions, Time,
};

use super::store::Store;

pub fn main() -> Result<(), Error> {
    let mut rng = rand::rng();
    let now = Time(1_800_000_000); // seconds since 1970, from your clock
    let config = Config::new(AcceptAnyCredential); // who is who: yours to say
    let suite = config.provider.suite(CipherSuite::X25519_AES128).expect("every provider has it");
    let (mut a_store, mut b_store) = (Store::open("alice"), Store::open("bob"));

    // Alice creates a group. Bob publishes a key package.
    let alice = Identity::generate(suite, Credential::basic("alice"), &mut rng)?;
    let bob = Identity::generate(suite, Credential::basic("bob"), &mut rng)?;
    let bobs = bob.key_package(Lifetime::starting(now, 90 * 86_400), &mut rng)?;
    b_store.keep(&bobs)?;
    let founding = Group::create(&alice, NewGroupOptions::default(), config.clone(), now, &mut rng)?;
    let mut a = founding.persist(|changes| a_store.begin(changes))?;

    // Alice adds Bob. Nobody else puts commits in order here, so she stages and confirms in one step. Nobody else needs this
    // commit. The Welcome is kept in her records until she says that it was sent.
    let step = a.commit().add(bobs.key_package().clone()).stage_confirmed(now, &mut rng)?;
    let added = step.persist(|changes, _| a_store.write(changes))?;
    let welcome = added.epoch.welcome.expect("Bob was added");
    let mut b = Group::join(&bobs, &welcome, None, config, now)?.persist(|changes| b_store.begin(changes))?;
    a.welcome_sent(&added.sent.id)?.persist(|changes, _| a_store.write(changes))?;

    let message =
        a.send(b"hello").seal(&mut rng)?.persist(|changes, message| a_store.send(changes, message))?;
    b.receive(&message, now)?.persist(|changes, outcome| b_store.read(changes, outcome))?;
    a_store.sent(&message)?;
    assert_eq!(b_store.inbox, [b"hello"]);

    // The network splits. Each side commits, and keeps the epoch at which they part.
    let step = a.commit().stage_confirmed(now, &mut rng)?;
    let from_a = step.persist(|changes, made| a_store.send(changes, &made.sent.message))?.sent.message;
    let step = b.commit().stage_confirmed(now, &mut rng)?;
    let from_b = step.persist(|changes, made| b_store.send(changes, &made.sent.message))?.sent.message;
    assert_ne!(a.head(), b.head());

    // It heals. Each sees the other's branch; the higher confirmation tag wins, with everybody.
    a.receive(&from_b, now)?.persist(|changes, outcome| a_store.read(changes, outcome))?;
    b_store.sent(&from_b)?;
    b.receive(&from_a, now)?.persist(|changes, outcome| b_store.read(changes, outcome))?;
    a_store.sent(&from_a)?;
    assert_eq!(a.head(), b.head());
    assert_eq!(a.head().authenticator()?, b.head().authenticator()?);

    // Everything has arrived: old epochs can go.
    a.set_network(Network::Whole).persist(|changes, _| a_store.write(changes))?;
    a.delete_old_epochs().persist(|changes, _| a_store.write(changes))?;
    Ok(())
}
