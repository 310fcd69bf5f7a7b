//! A first walk.
use dmls::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

#[test]
fn first_walk() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let rng = &mut rng;
    let now = Time(1_800_000_000);
    let config = Config::default();
    let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
    let id =
        |name: &str, rng: &mut ChaCha20Rng| Identity::generate(suite, Credential::basic(name), rng).unwrap();
    let alice = id("alice", rng);
    let bob = id("bob", rng);
    let carol = id("carol", rng);
    let mut a = Group::create(&alice, NewGroupOptions::default(), config.clone(), now, rng).unwrap().apply();
    let kb = bob.key_package(Lifetime::starting(now, 86400), rng).unwrap();
    let sent = a.commit().add(kb.key_package().clone()).stage(now, rng).unwrap().apply();
    let done = a.confirm(&sent.id, Arrival::at(now)).unwrap().apply();
    assert_eq!(done.id, sent.epoch);
    let mut b = Group::join(&kb, &done.welcome.unwrap(), None, config.clone(), now).unwrap().apply();
    assert_eq!(a.head(), b.head());
    let m = a.send(b"hello", b"", rng).unwrap().apply();
    let Outcome::Application(app) = b.receive(&m, Arrival::at(now)).unwrap().apply() else { panic!() };
    assert_eq!(app.data, b"hello");
    // fork
    let kc = carol.key_package(Lifetime::starting(now, 86400), rng).unwrap();
    let ca = a.commit().add(kc.key_package().clone()).stage(now, rng).unwrap().apply();
    let cb = b.commit().stage(now, rng).unwrap().apply();
    let r = Arrival::retaining(now);
    a.confirm(&ca.id, r).unwrap().apply();
    b.confirm(&cb.id, r).unwrap().apply();
    let oa = a.receive(&cb.message, r).unwrap().apply();
    let ob = b.receive(&ca.message, r).unwrap().apply();
    println!("{oa:?}\n{ob:?}");
    assert_eq!(a.head(), b.head());
    let gi = a.group_info(now).unwrap();
    let dave = id("dave", rng);
    let f = Group::join_external(&dave, &gi, Default::default(), config.clone(), now, rng).unwrap();
    let c = f.commit().unwrap().to_vec();
    let d = f.apply();
    println!("{:?}", a.receive(&c, r).unwrap().apply());
    b.receive(&c, r).unwrap().apply();
    assert_eq!(a.head(), b.head());
    assert_eq!(a.head(), d.head());
    assert_eq!(a.epochs().len(), 5);
}
