//! Against a tree that derives every key anew from the encryption secret and remembers which were used.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::crypto::Provider;
use crate::registry::CipherSuite;

const KINDS: [RatchetKind; 2] = [RatchetKind::Handshake, RatchetKind::Application];
const LIMITS: RatchetLimits = RatchetLimits { max_forward: 12, max_kept: 5 };

fn suite() -> Suite {
    Provider::default().suite(CipherSuite::X25519_AES128).unwrap()
}

fn encryption_secret() -> Secret {
    Secret::new((0..32).collect())
}

/// The secrets of the nodes from the root to a leaf, by the book.
fn path(leaves: u32, leaf: LeafIndex) -> Vec<Secret> {
    let (mut secrets, mut first, mut size) = (vec![encryption_secret()], 0, leaves.next_power_of_two());
    while size > 1 {
        size /= 2;
        let side: &[u8] = if leaf.0 < first + size { b"left" } else { b"right" };
        first += if leaf.0 < first + size { 0 } else { size };
        secrets.push(suite().expand_with_label(secrets.last().unwrap(), "tree", side, 32));
    }
    secrets
}

/// The secrets of a ratchet up to a generation, by the book.
fn ratchet(leaves: u32, leaf: LeafIndex, kind: RatchetKind, generation: u32) -> Vec<Secret> {
    let label = if kind == RatchetKind::Handshake { "handshake" } else { "application" };
    let mut secrets = vec![suite().expand_with_label(path(leaves, leaf).last().unwrap(), label, b"", 32)];
    for j in 0..generation {
        secrets.push(suite().derive_tree_secret(secrets.last().unwrap(), "secret", j, 32));
    }
    secrets
}

fn key(leaves: u32, leaf: LeafIndex, kind: RatchetKind, generation: u32) -> (Secret, Secret) {
    let secrets = ratchet(leaves, leaf, kind, generation);
    let derive =
        |label, length| suite().derive_tree_secret(secrets.last().unwrap(), label, generation, length);
    (derive("key", 16), derive("nonce", 12))
}

/// What a ratchet must give: only the rules of which generation is to be had.
#[derive(Clone, Default)]
struct Model {
    next: u32,
    /// Up to which generation keys were dropped.
    dropped: u32,
    kept: Vec<u32>,
}

impl Model {
    fn take(&mut self, generation: u32) -> Result<(), SecretTreeError> {
        if generation < self.next {
            let gone =
                if generation < self.dropped { SecretTreeError::TooOld } else { SecretTreeError::KeyUsed };
            let position = self.kept.iter().position(|kept| *kept == generation).ok_or(gone)?;
            self.kept.remove(position);
            return Ok(());
        }
        if generation - self.next > LIMITS.max_forward {
            return Err(SecretTreeError::TooFarAhead);
        }
        self.kept.extend(self.next..generation);
        let dropped = self.kept.len().saturating_sub(LIMITS.max_kept);
        if let Some(last) = self.kept.drain(..dropped).next_back() {
            self.dropped = last + 1;
        }
        self.next = generation + 1;
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct Access {
    leaf: u32,
    kind: RatchetKind,
    /// `None`: to send.
    generation: Option<u32>,
    /// Whether the message turned out to be good.
    apply: bool,
    /// Whether the tree is stored and loaded first.
    reload: bool,
}

fn accesses(leaves: u32) -> impl Strategy<Value = Vec<Access>> {
    let access =
        (0..leaves, prop::sample::select(&KINDS), prop::option::weighted(0.8, 0..30u32), 0..8u8, 0..8u8);
    let access = access.prop_map(|(leaf, kind, generation, apply, reload)| Access {
        leaf,
        kind,
        generation,
        apply: apply > 0,
        reload: reload == 0,
    });
    prop::collection::vec(access, 1..40)
}

fn store(tree: &SecretTree) -> BTreeMap<RecordKey, Vec<u8>> {
    tree.records().map(|(key, bytes)| (key, bytes.to_vec())).collect()
}

fn write(store: &mut BTreeMap<RecordKey, Vec<u8>>, advance: &Advance) {
    for (key, record) in advance.records() {
        match record {
            Some(bytes) => store.insert(key, bytes.to_vec()),
            None => store.remove(&key),
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_key_once_and_the_right_one(
        (leaves, accesses) in (1..12u32).prop_flat_map(|leaves| (Just(leaves), accesses(leaves)))
    ) {
        let mut tree = SecretTree::new(encryption_secret(), leaves);
        let mut stored = store(&tree);
        let mut models: BTreeMap<(u32, RatchetKind), Model> = BTreeMap::new();
        for Access { leaf, kind, generation, apply, reload } in accesses {
            if reload {
                tree = SecretTree::from_records(leaves, stored.clone()).unwrap();
            }
            let model = models.entry((leaf, kind)).or_default();
            let mut after = model.clone();
            let leaf = LeafIndex(leaf);
            let (generation, found) = match generation {
                Some(generation) => (generation, tree.key(&suite(), leaf, kind, generation, LIMITS)),
                None => {
                    let (generation, key, advance) = tree.next_key(&suite(), leaf, kind).unwrap();
                    prop_assert_eq!(generation, model.next);
                    (generation, Ok((key, advance)))
                }
            };
            match (found, after.take(generation)) {
                (Ok((found, advance)), Ok(())) => {
                    let (key, nonce) = key(leaves, leaf, kind, generation);
                    prop_assert_eq!(found.key, key);
                    prop_assert_eq!(&found.nonce[..], nonce.as_bytes());
                    if apply {
                        write(&mut stored, &advance);
                        tree.apply(advance);
                        *model = after;
                    }
                }
                (Err(found), Err(expected)) => prop_assert_eq!(found, expected),
                (found, expected) => prop_assert!(false, "{found:?}, expected {expected:?}"),
            }
            prop_assert_eq!(&store(&tree), &stored);
            prop_assert!(tree.check().is_ok());
        }
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(ratchet) = Ratchet::from_bytes(&bytes) {
            prop_assert_eq!(&ratchet.record()[..], &bytes[..]);
        }
    }
}

/// RFC 9420 s9.2: no value from which a used key could be derived is left.
#[test]
fn what_is_consumed_is_deleted() {
    let (leaf, kind) = (LeafIndex(5), RatchetKind::Application);
    let mut tree = SecretTree::new(encryption_secret(), 8);
    let (_, advance) = tree.key(&suite(), leaf, kind, 3, LIMITS).unwrap();
    let before: Vec<u8> = store(&tree).into_values().flatten().collect();
    assert!(contains(&before, &encryption_secret()), "nothing is deleted before the advance is applied");
    tree.apply(advance);

    let after: Vec<u8> = store(&tree).into_values().flatten().collect();
    let ratchet = ratchet(8, leaf, kind, 4);
    let (used_key, used_nonce) = key(8, leaf, kind, 3);
    for consumed in path(8, leaf).iter().chain(&ratchet[..4]).chain([&used_key, &used_nonce]) {
        assert!(!contains(&after, consumed));
    }
    assert!(contains(&after, &ratchet[4]));
    for kept in 0..3 {
        assert!(contains(&after, &key(8, leaf, kind, kept).0));
    }
}

fn contains(bytes: &[u8], secret: &Secret) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[test]
fn one_message_writes_one_ratchet() {
    let mut tree = SecretTree::new(encryption_secret(), 1024);
    let (_, _, first) = tree.next_key(&suite(), LeafIndex(0), RatchetKind::Handshake).unwrap();
    // The root goes, ten nodes of the copath and two ratchets come.
    assert_eq!(first.records().count(), 13);
    tree.apply(first);
    let (_, _, second) = tree.next_key(&suite(), LeafIndex(0), RatchetKind::Handshake).unwrap();
    let keys: Vec<RecordKey> = second.records().map(|(key, _)| key).collect();
    assert_eq!(keys, [RecordKey::Ratchet(LeafIndex(0), RatchetKind::Handshake)]);
}

/// What was used and what was dropped are told apart, also after loading.
#[test]
fn dropped_keys_are_not_called_used() {
    let (leaf, kind) = (LeafIndex(0), RatchetKind::Application);
    let mut tree = SecretTree::new(encryption_secret(), 1);
    let take = |tree: &mut SecretTree, generation| {
        tree.key(&suite(), leaf, kind, generation, LIMITS).map(|(_, advance)| tree.apply(advance))
    };
    assert_eq!(take(&mut tree, 5), Ok(()));
    assert_eq!(take(&mut tree, 4), Ok(()));
    assert_eq!(take(&mut tree, 5), Err(SecretTreeError::KeyUsed));
    // 0 to 3 are kept; of 6 to 9 with them three too many.
    assert_eq!(take(&mut tree, 10), Ok(()));
    let mut tree = SecretTree::from_records(1, store(&tree)).unwrap();
    for generation in 0..3 {
        assert_eq!(take(&mut tree, generation), Err(SecretTreeError::TooOld), "{generation}");
    }
    for generation in [4, 5, 10] {
        assert_eq!(take(&mut tree, generation), Err(SecretTreeError::KeyUsed), "{generation}");
    }
    for generation in [3, 6, 7, 8, 9] {
        assert_eq!(take(&mut tree, generation), Ok(()), "{generation}");
    }
}

#[test]
#[should_panic = "an advance is applied to the tree that it came from"]
fn a_stale_advance_is_a_bug() {
    let mut tree = SecretTree::new(encryption_secret(), 2);
    let advance = |tree: &SecretTree, leaf| tree.next_key(&suite(), LeafIndex(leaf), KINDS[0]).unwrap().2;
    let (one, other) = (advance(&tree, 0), advance(&tree, 1));
    tree.apply(one);
    tree.apply(other);
}

#[test]
fn leaves_outside_are_refused() {
    let tree = SecretTree::new(encryption_secret(), 3);
    for leaf in [4, 5, 1 << 30, u32::MAX] {
        let found = tree.next_key(&suite(), LeafIndex(leaf), RatchetKind::Handshake);
        assert_eq!(found.err(), Some(SecretTreeError::UnknownLeaf), "{leaf}");
    }
    assert!(SecretTree::new(encryption_secret(), 0).next_key(&suite(), LeafIndex(0), KINDS[0]).is_ok());
    assert!(
        SecretTree::new(encryption_secret(), u32::MAX).next_key(&suite(), LeafIndex(0), KINDS[0]).is_ok()
    );
}

#[test]
fn the_last_generation() {
    let fresh = Ratchet::new(encryption_secret()).record().to_vec();
    let mut last = fresh.clone();
    last[1..5].copy_from_slice(&u32::MAX.to_be_bytes());
    let leaf = LeafIndex(0);
    let records = [(RecordKey::Ratchet(leaf, KINDS[0]), last), (RecordKey::Ratchet(leaf, KINDS[1]), fresh)];
    let mut tree = SecretTree::from_records(1, records).unwrap();
    let far = RatchetLimits { max_forward: u32::MAX, max_kept: usize::MAX };

    let (_, advance) = tree.key(&suite(), leaf, KINDS[0], u32::MAX, far).unwrap();
    tree.apply(advance);
    assert_eq!(tree.next_key(&suite(), leaf, KINDS[0]).err(), Some(SecretTreeError::Exhausted));
    for generation in [0, u32::MAX - 1, u32::MAX] {
        let found = tree.key(&suite(), leaf, KINDS[0], generation, far);
        assert_eq!(found.err(), Some(SecretTreeError::KeyUsed));
    }
    let mut tree = SecretTree::from_records(1, store(&tree)).unwrap();
    assert_eq!(tree.next_key(&suite(), leaf, KINDS[0]).err(), Some(SecretTreeError::Exhausted));

    let found = tree.key(&suite(), leaf, KINDS[1], u32::MAX, LIMITS);
    assert_eq!(found.err(), Some(SecretTreeError::TooFarAhead));
    let (_, advance) = tree.key(&suite(), leaf, KINDS[1], LIMITS.max_forward, LIMITS).unwrap();
    tree.apply(advance);
    let dropped = tree.key(&suite(), leaf, KINDS[1], 0, LIMITS);
    assert_eq!(dropped.err(), Some(SecretTreeError::TooOld), "only {} are kept", LIMITS.max_kept);
}

/// RFC 9420 s15.2: senders stop at the bound of the AEAD, receivers don't.
#[test]
fn a_sender_stops_at_the_bound_of_the_aead() {
    let fresh = Ratchet::new(encryption_secret()).record().to_vec();
    let mut last = fresh.clone();
    last[1..5].copy_from_slice(&((1u32 << 24) - 1).to_be_bytes());
    let leaf = LeafIndex(0);
    let records = [(RecordKey::Ratchet(leaf, KINDS[0]), last), (RecordKey::Ratchet(leaf, KINDS[1]), fresh)];
    let mut tree = SecretTree::from_records(1, records).unwrap();
    let (generation, _, advance) = tree.next_key(&suite(), leaf, KINDS[0]).unwrap();
    assert_eq!(generation, (1 << 24) - 1);
    tree.apply(advance);
    assert_eq!(tree.next_key(&suite(), leaf, KINDS[0]).err(), Some(SecretTreeError::Exhausted));
    assert!(tree.key(&suite(), leaf, KINDS[0], 1 << 24, LIMITS).is_ok());
    assert!(tree.next_key(&suite(), leaf, KINDS[1]).is_ok());
}

#[test]
fn records_that_do_not_fit_are_refused() {
    let ratchet = Ratchet::new(encryption_secret()).record().to_vec();
    let node = |index| (RecordKey::Node(NodeIndex(index)), vec![7; 32]);
    let ratchet = |leaf, kind| (RecordKey::Ratchet(LeafIndex(leaf), kind), ratchet.clone());
    let refused = |records: Vec<(RecordKey, Vec<u8>)>| SecretTree::from_records(4, records).is_err();
    assert!(!refused(vec![node(1), node(5)]));
    assert!(refused(vec![node(3), node(0)]), "a node above another");
    assert!(refused(vec![node(3), node(5)]), "a node above another");
    assert!(refused(vec![node(7)]), "outside");
    assert!(refused(vec![node(u32::MAX)]), "outside");
    assert!(!refused(vec![node(2), node(5), ratchet(0, KINDS[0]), ratchet(0, KINDS[1])]));
    assert!(refused(vec![node(2), node(5), ratchet(0, KINDS[0])]), "half a leaf");
    assert!(refused(vec![node(1), ratchet(0, KINDS[0]), ratchet(0, KINDS[1])]), "a node above a ratchet");
    assert!(refused(vec![ratchet(4, KINDS[0]), ratchet(4, KINDS[1])]), "outside");
    assert!(refused(vec![(RecordKey::Ratchet(LeafIndex(0), KINDS[0]), vec![2])]), "not a ratchet");
    let mut forgets = Ratchet::new(encryption_secret()).record().to_vec();
    forgets[4] = 3;
    assert!(Ratchet::from_bytes(&forgets).is_ok());
    let end = forgets.len();
    forgets[end - 2] = 4;
    assert!(Ratchet::from_bytes(&forgets).is_err(), "forgotten before it was derived");
    forgets[end - 2] = 2;
    forgets[end - 1] = 48;
    for (generation, fits) in [(1, false), (2, true), (3, false)] {
        let kept = [&forgets[..], &[0, 0, 0, generation], &[7; 44]].concat();
        assert_eq!(Ratchet::from_bytes(&kept).is_ok(), fits, "{generation} kept, 0 and 1 forgotten, 3 next");
    }
}

#[test]
fn debug_shows_no_secret() {
    let mut tree = SecretTree::new(encryption_secret(), 2);
    assert_eq!(format!("{tree:?}"), "SecretTree { leaves: 2, nodes: 1, ratchets: {} }");
    let (key, advance) = tree.key(&suite(), LeafIndex(0), RatchetKind::Handshake, 2, LIMITS).unwrap();
    assert_eq!(format!("{key:?}"), "MessageKey(..)");
    assert_eq!(format!("{advance:?}"), "Advance { leaf: LeafIndex(0), split: Some(NodeIndex(1)), .. }");
    tree.apply(advance);
    assert_eq!(
        format!("{tree:?}"),
        "SecretTree { leaves: 2, nodes: 1, ratchets: {\
         (LeafIndex(0), Handshake): Ratchet { next: Some(3), kept: 2, .. }, \
         (LeafIndex(0), Application): Ratchet { next: Some(0), kept: 0, .. }} }"
    );
}
