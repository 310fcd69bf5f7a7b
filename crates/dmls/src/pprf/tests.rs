//! Against a function that has all outputs and a set of punctured inputs, and keeps no tree.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::codec::DecodeError;
use crate::crypto::Provider;
use crate::registry::CipherSuite;

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

fn suite() -> Suite {
    Provider::default().suite(CipherSuite::X25519_AES128).unwrap()
}

fn pprf() -> Pprf {
    Pprf::new(root())
}

fn root() -> Secret {
    Secret::new((0..32).collect())
}

/// The node at the end of the first `depth` bits of `input`, by the book.
fn node(input: &[u8], depth: usize) -> Secret {
    (0..depth).fold(root(), |node, depth| {
        let side: &[u8] = if bit(input, depth) == 0 { b"left" } else { b"right" };
        suite().expand_with_label(&node, "tree", side, 32)
    })
}

fn output(input: &[u8]) -> Secret {
    suite().derive_secret(&node(input, 256), "pprf")
}

/// The nodes that must be live, by the book: siblings of nodes on punctured paths that are not on one themselves.
fn live(inputs: &BTreeSet<Vec<u8>>) -> Vec<Secret> {
    let prefix = |input: &[u8], depth: usize| (0..depth).map(|depth| bit(input, depth)).collect::<Vec<u8>>();
    let mut live = std::collections::BTreeMap::new();
    for input in inputs {
        for depth in 0..256 {
            let mut sibling = input.clone();
            sibling[depth / 8] ^= 0x80 >> (depth % 8);
            let sibling_prefix = prefix(&sibling, depth + 1);
            if !inputs.iter().any(|input| prefix(input, depth + 1) == sibling_prefix) {
                live.insert(sibling_prefix, (sibling, depth + 1));
            }
        }
    }
    // Prefixes that are not prefixes of each other sort from left to right.
    live.into_values().map(|(input, depth)| node(&input, depth)).collect()
}

fn check(pprf: &Pprf, punctured: &BTreeSet<Vec<u8>>) {
    assert_eq!(pprf.punctures(), punctured.len());
    for input in punctured {
        assert_eq!(pprf.evaluate(&suite(), input).err(), Some(PprfError::Punctured));
    }
    let records = store(pprf);
    let mut stored: Vec<&[u8]> = records.values().flat_map(|record| record.chunks_exact(32)).collect();
    let expected = if punctured.is_empty() { vec![root()] } else { live(punctured) };
    let mut expected: Vec<&[u8]> = expected.iter().map(Secret::as_bytes).collect();
    assert_eq!(stored.len(), pprf.live_nodes());
    stored.sort_unstable();
    expected.sort_unstable();
    assert!(stored == expected, "the live nodes");
}

fn store(pprf: &Pprf) -> Records {
    pprf.records().into_iter().map(|(key, value)| (key, value.to_vec())).collect()
}

fn load(records: &Records) -> Result<Pprf, DecodeError> {
    Pprf::from_records(32, records.iter().map(|(key, value)| (&key[..], &value[..])))
}

/// How many records and bytes a puncture writes.
fn write(records: &mut Records, puncture: &Puncture) -> (usize, usize) {
    let mut written = (0, 0);
    for (key, value) in puncture.records() {
        written.0 += 1;
        written.1 += key.len() + value.as_ref().map_or(0, |value| value.len());
        match value {
            Some(value) => records.insert(key, value.to_vec()),
            None => records.remove(&key),
        };
    }
    written
}

/// Inputs that share prefixes of every length, which random ones never do.
fn inputs(most: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let steps = prop::collection::vec((any::<prop::sample::Index>(), 0..256usize, any::<bool>()), 1..most);
    (any::<[u8; 32]>(), steps).prop_map(|(first, steps)| {
        let mut inputs = vec![first.to_vec()];
        for (from, flipped, scramble) in steps {
            let mut input = from.get(&inputs).clone();
            input[flipped / 8] ^= 0x80 >> (flipped % 8);
            if scramble {
                for byte in &mut input[flipped / 8 + 1..] {
                    *byte = byte.wrapping_mul(31).wrapping_add(flipped as u8);
                }
            }
            inputs.push(input);
        }
        inputs
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was punctured before, an input has its one output until it is punctured itself.
    #[test]
    fn outputs_do_not_depend_on_the_order(inputs in inputs(6), reload: bool) {
        let mut pprf = pprf();
        let mut records = store(&pprf);
        let mut punctured = BTreeSet::new();
        for input in inputs {
            if punctured.contains(&input) {
                continue;
            }
            let (found, puncture) = pprf.evaluate(&suite(), &input).unwrap();
            prop_assert_eq!(found, output(&input));
            write(&mut records, &puncture);
            pprf.apply(puncture);
            prop_assert_eq!(&store(&pprf), &records);
            punctured.insert(input);
            if reload {
                pprf = load(&records).unwrap();
            }
        }
        check(&pprf, &punctured);
        let loaded = load(&records).unwrap();
        prop_assert_eq!(&store(&loaded), &records);
        check(&loaded, &punctured);
    }

    /// Records of which some are missing, changed or too many are refused.
    #[test]
    fn damaged_records_are_refused(
        inputs in inputs(6), which: prop::sample::Index, other: prop::sample::Index, kind in 0..7u8
    ) {
        let mut pprf = pprf();
        for input in &inputs {
            if let Ok((_, puncture)) = pprf.evaluate(&suite(), input) {
                pprf.apply(puncture);
            }
        }
        let mut records = store(&pprf);
        let keys: Vec<_> = records.keys().cloned().collect();
        let key = which.get(&keys).clone();
        match kind {
            0 => drop(records.remove(&key)),
            1 => records.get_mut(&key).unwrap().push(0),
            2 => records.get_mut(&key).unwrap().extend([0; 32]),
            3 => drop(records.insert(Vec::new(), vec![0; 32])),
            4 => {
                let value = records.remove(&key).unwrap();
                let level = u16::from_be_bytes([key[32], key[33]]) ^ (1 + other.index(511) as u16);
                records.insert([&key[..32], &level.to_be_bytes()].concat(), value);
            }
            // All of another input: it can't begin where a third one lets it, except by chance.
            5 => drop(records.insert([&[!key[0]; 32][..], &[1, 0]].concat(), Vec::new())),
            _ => drop(records.insert(key[..33].to_vec(), Vec::new())),
        }
        prop_assert!(load(&records).is_err());
    }
}

#[test]
fn evaluating_changes_nothing() {
    let pprf = pprf();
    for _ in 0..2 {
        let (found, _) = pprf.evaluate(&suite(), &[9; 32]).unwrap();
        assert_eq!(found, output(&[9; 32]));
    }
    check(&pprf, &BTreeSet::new());
}

#[test]
#[should_panic = "a puncture is applied to the function that it came from"]
fn a_stale_puncture_is_a_bug() {
    let mut pprf = pprf();
    let [first, second] = [[9; 32], [7; 32]].map(|input| pprf.evaluate(&suite(), &input).unwrap().1);
    pprf.apply(first);
    pprf.apply(second);
}

#[test]
#[should_panic = "a puncture is applied to the function that it came from"]
fn a_stale_puncture_of_a_node_that_is_gone_is_a_bug() {
    let mut pprf = pprf();
    let (_, first) = pprf.evaluate(&suite(), &[9; 32]).unwrap();
    pprf.apply(first);
    let [second, third] = [[0xff; 32], [0xfe; 32]].map(|input| pprf.evaluate(&suite(), &input).unwrap().1);
    pprf.apply(second);
    pprf.apply(third);
}

/// The k-th puncture writes what the second did (the first deletes the root instead), and is found in as few steps.
fn count(inputs: impl Iterator<Item = [u8; 32]>) {
    let mut pprf = pprf();
    let mut records = store(&pprf);
    for (k, input) in inputs.enumerate() {
        let (_, puncture) = pprf.evaluate(&suite(), &input).unwrap();
        let (written, bytes) = write(&mut records, &puncture);
        assert!(written <= 10, "{written} records at {k}");
        // Two parts at most are written whole for less: that which begins, and that of the node above.
        assert!(bytes <= 10 * 34 + 256 * 32 + 31 * 32, "{bytes} bytes at {k}");
        pprf.apply(puncture);
    }
    assert_eq!(store(&pprf), records);
    assert_eq!(store(&load(&records).unwrap()), records);
}

#[test]
fn the_kth_puncture_writes_what_the_first_did() {
    let hash = |k: u32| suite().hash(&[&k.to_be_bytes()]).try_into().unwrap();
    count((0..512).map(hash));
}

/// An insider grinds for inputs that share a prefix with others. These share more than can be ground for: each as much
/// as possible with the last one, all with the first, and neighbours in order.
#[test]
fn ground_inputs_cost_no_more() {
    let flipped = |mut input: [u8; 32], bit: usize| {
        input[bit / 8] ^= 0x80 >> (bit % 8);
        input
    };
    count((0..257).map(|k| if k == 0 { [0x5a; 32] } else { flipped([0x5a; 32], k - 1) }));
    count((0..257).map(|k| if k == 0 { [0x5a; 32] } else { flipped([0x5a; 32], 256 - k) }));
    count((0..257usize).map(|k| (0..k).fold([0x5a; 32], flipped)));
    count((0..512u16).map(|k| {
        let mut input = [0x5a; 32];
        input[30..].copy_from_slice(&k.to_be_bytes());
        input
    }));
}

#[test]
fn inputs_of_another_length_are_refused() {
    for length in [0, 1, 31, 33, 64] {
        let refused = pprf().evaluate(&suite(), &vec![0; length]).err();
        assert_eq!(refused, Some(PprfError::InputLength), "{length}");
    }
    let sha384 = Provider::default().suite(CipherSuite::P384_AES256).unwrap();
    assert_eq!(pprf().evaluate(&sha384, &[0; 32]).err(), Some(PprfError::InputLength));
    assert_eq!(pprf().evaluate(&sha384, &[0; 48]).err(), Some(PprfError::InputLength));
}

#[test]
fn the_first_puncture_costs_8_nh_nodes() {
    for code in [CipherSuite::X25519_AES128, CipherSuite::P384_AES256, CipherSuite::P521_AES256] {
        let suite = Provider::default().suite(code).unwrap();
        let nh = suite.nh();
        let mut pprf = Pprf::new(Secret::zero(nh));
        let (_, puncture) = pprf.evaluate(&suite, &vec![0x5a; nh]).unwrap();
        pprf.apply(puncture);
        assert_eq!(pprf.live_nodes(), 8 * nh);
        let records = pprf.records();
        assert_eq!(records.len(), 8 * nh / 32);
        assert_eq!(records.iter().map(|(_, value)| value.len()).sum::<usize>(), 8 * nh * nh);
        let loaded = Pprf::from_records(nh, records.iter().map(|(key, value)| (&key[..], &value[..])));
        assert!(loaded.unwrap().records() == records);
    }
}

#[test]
fn inconsistent_records_are_refused() {
    let mut pprf = pprf();
    let root = store(&pprf);
    for input in [[9; 32], [7; 32]] {
        let (_, puncture) = pprf.evaluate(&suite(), &input).unwrap();
        pprf.apply(puncture);
    }
    let good = store(&pprf);
    assert!(load(&root).is_ok() && load(&good).is_ok());
    let key = |input: u8, level: u16| [&[input; 32][..], &level.to_be_bytes()].concat();
    let refused = |from: &Records, change: &dyn Fn(&mut Records)| {
        let mut records = from.clone();
        change(&mut records);
        load(&records).is_err()
    };
    assert!(refused(&root, &|r| r.clear()), "nothing");
    assert!(refused(&root, &|r| r.get_mut(&[][..]).unwrap().truncate(31)), "half a root");
    assert!(refused(&good, &|r| r.extend(root.clone())), "a root above punctured inputs");
    assert!(refused(&good, &|r| drop(r.remove(&key(9, 224)))), "a part is missing");
    // 7 and 9 share 4 bits: the copath of 7 begins at level 5.
    assert!(refused(&good, &|r| r.retain(|key, _| key[0] == 7)), "what the copath began in is missing");
    assert!(refused(&good, &|r| r.retain(|key, _| key[0] == 9)), "a node less than one input leaves");
    assert!(
        refused(&good, &|r| {
            let part = r.remove(&key(7, 5)).unwrap();
            r.insert(key(7, 0), [&[0; 5 * 32], &part[..]].concat());
        }),
        "a node above a punctured input"
    );
    assert!(refused(&good, &|r| r.get_mut(&key(9, 0)).unwrap().extend([0; 32])), "a node above a copath");
    assert!(refused(&good, &|r| drop(r.insert(key(9, 256), Vec::new()))), "a part beyond the leaf");
    assert!(refused(&good, &|r| drop(r.insert(key(8, 257), Vec::new()))), "a level beyond the leaf");
    assert!(
        refused(&good, &|r| drop(r.insert(key(8, 256), Vec::new()))),
        "it shares no 255 bits with another"
    );
    assert!(Pprf::from_records(48, good.iter().map(|(key, value)| (&key[..], &value[..]))).is_err());
}

#[test]
fn debug_shows_no_secret() {
    let mut pprf = pprf();
    assert_eq!(format!("{pprf:?}"), "Pprf(0 punctures, 1 live nodes)");
    let (_, puncture) = pprf.evaluate(&suite(), &[9; 32]).unwrap();
    assert_eq!(format!("{puncture:?}"), "Puncture(..)");
    pprf.apply(puncture);
    assert_eq!(format!("{pprf:?}"), "Pprf(1 punctures, 256 live nodes)");
}
