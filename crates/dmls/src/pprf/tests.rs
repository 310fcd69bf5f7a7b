//! Against a function that has all outputs and a set of punctured inputs, and keeps no tree.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::crypto::Provider;
use crate::registry::CipherSuite;

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
    let stored: Vec<Secret> = pprf.secrets.chunks_exact(32).map(|s| Secret::new(s.to_vec())).collect();
    let expected = if punctured.is_empty() { vec![root()] } else { live(punctured) };
    assert_eq!(stored.len(), pprf.live_nodes());
    assert!(stored == expected, "the live nodes, from left to right");

    let record = pprf.record();
    let decoded = Pprf::from_bytes(&record).unwrap();
    assert_eq!(*decoded.record(), *record);
    assert_eq!(decoded.live_nodes(), pprf.live_nodes());
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
    fn outputs_do_not_depend_on_the_order(inputs in inputs(6)) {
        let mut pprf = pprf();
        let mut punctured = BTreeSet::new();
        for input in inputs {
            if punctured.contains(&input) {
                continue;
            }
            let (found, puncture) = pprf.evaluate(&suite(), &input).unwrap();
            prop_assert_eq!(found, output(&input));
            let record = pprf.record_after(&puncture);
            pprf.apply(puncture);
            prop_assert_eq!(pprf.record(), record);
            punctured.insert(input);
        }
        check(&pprf, &punctured);
    }

    /// Punctures that were all computed before the first was applied come to the same.
    #[test]
    fn stale_punctures_are_cut(inputs in inputs(6)) {
        let mut stale = pprf();
        let punctures: Vec<_> = inputs.iter().map(|input| stale.evaluate(&suite(), input).unwrap().1).collect();
        for puncture in punctures {
            stale.apply(puncture);
        }
        let mut fresh = pprf();
        for input in inputs.iter().rev() {
            if let Ok((_, puncture)) = fresh.evaluate(&suite(), input) {
                fresh.apply(puncture);
            }
        }
        prop_assert_eq!(stale.record(), fresh.record());
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(pprf) = Pprf::from_bytes(&bytes) {
            prop_assert_eq!(&pprf.record()[..], &bytes[..]);
        }
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
fn the_same_puncture_twice_does_nothing() {
    let mut pprf = pprf();
    let (_, first) = pprf.evaluate(&suite(), &[9; 32]).unwrap();
    let (_, second) = pprf.evaluate(&suite(), &[9; 32]).unwrap();
    pprf.apply(first);
    let record = pprf.record();
    assert_eq!(pprf.record_after(&second), record);
    pprf.apply(second);
    assert_eq!(pprf.record(), record);
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
        // Nothing but the secrets, the input, and a few bytes of lengths.
        assert!(pprf.record().len() <= 8 * nh * nh + nh + 9);
    }
}

#[test]
fn inconsistent_records_are_refused() {
    let mut pprf = pprf();
    for input in [[9; 32], [7; 32]] {
        let (_, puncture) = pprf.evaluate(&suite(), &input).unwrap();
        pprf.apply(puncture);
    }
    let encode = |nh: u8, inputs: &[u8], secrets: &[u8]| {
        let mut out = vec![nh];
        inputs.encode(&mut out);
        secrets.encode(&mut out);
        out
    };
    let Pprf { inputs, secrets, .. } = &pprf;
    assert!(Pprf::from_bytes(&encode(32, inputs, secrets)).is_ok());
    let swapped = [&inputs[32..], &inputs[..32]].concat();
    let twice = [&inputs[..32], &inputs[..32]].concat();
    for damaged in [
        encode(31, inputs, secrets),
        encode(48, inputs, secrets),
        encode(0, &[], &[]),
        encode(32, &swapped, secrets),
        encode(32, &twice, secrets),
        encode(32, &inputs[..63], secrets),
        encode(32, &inputs[..32], secrets),
        encode(32, &[], secrets),
        encode(32, inputs, &secrets[32..]),
        encode(32, inputs, &secrets[1..]),
        encode(32, &[], &[]),
    ] {
        assert!(Pprf::from_bytes(&damaged).is_err());
    }
    for nodes in 0..pprf.live_nodes() {
        let cut = encode(32, &inputs[..63], &secrets[..32 * nodes]);
        assert!(Pprf::from_bytes(&cut).is_err(), "half an input, and {nodes} nodes");
    }
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
