//! Every rule of [`Rule`] has a test in which somebody breaks it, and nothing but it.
//!
//! The attacker is the strongest there is: a member with valid keys, who signs what it likes ([`world`]). What she forges
//! must be refused with exactly the rule that it breaks, and must leave the victim as it was.

mod bundles;
mod commits;
mod draft;
mod framing;
mod growth;
mod joining;
mod leaves;
mod redaction;
mod references;
mod rulesets;
mod successors;
mod validation;
mod world;

use crate::error::Rule;

/// A test for each rule: `name => Rule, |world| error;`, and the list of the rules.
macro_rules! refusals {
    ($list:ident: $($name:ident => $rule:ident, $attempt:expr;)*) => {
        pub(super) const $list: &[$crate::error::Rule] = &[$($crate::error::Rule::$rule,)*];

        $(#[test]
        fn $name() {
            let attempt: fn(&mut $crate::tests::world::World) -> $crate::error::Error = $attempt;
            let error = attempt(&mut $crate::tests::world::World::new());
            assert_eq!(error, $crate::error::Rule::$rule.into());
        })*
    };
}
use refusals;

#[test]
fn every_rule_is_tested_in_one_place() {
    let lists = [
        framing::RULES,
        commits::RULES,
        joining::RULES,
        leaves::RULES,
        successors::RULES,
        draft::RULES,
        bundles::RULES,
    ];
    for rule in Rule::ALL {
        let times = lists.iter().flat_map(|list| list.iter()).filter(|tested| *tested == rule).count();
        assert_eq!(times, 1, "{} is in {times} lists", rule.id());
    }
}

#[test]
fn every_rule_has_an_id_of_its_own() {
    let mut ids: Vec<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), Rule::ALL.len());
}
