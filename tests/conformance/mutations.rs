//! The replay can fail: every wrong variant of the specification's table is caught by exactly the
//! recordings the table names.

use crate::support::model::{Model, Mutation, Mutation::*};
use crate::support::replay::replay;
use crate::{SHARED, open_shared};

/// Section 5.3 of the specification: which of [`SHARED`], in its order, catch the variant.
pub const TABLE: [(Mutation, &str); 14] = [
    (RingBack, "XXXX"),
    (OldestBlockFirst, "XXXX"),
    (NeverUsedFirst, "XXXX"),
    (AlwaysReformat, "XXX-"),
    (OldestPoolFirst, "XXXX"),
    (CarveFirst, "XXXX"),
    (AlwaysUnmap, "XXXX"),
    (UnmapOnlyIfAnother, "-XX-"),
    (RuleBBehind, "--X-"),
    (RuleCAtEnd, "--XX"),
    (InPlaceSameClassOnly, "XXX-"),
    (FreeBeforeAlloc, "XXXX"),
    (InPlaceAtThreeQuarters, "XXXX"),
    (ZeroFromClass0, "XXXX"),
];

#[test]
fn every_mutation_of_the_specs_table_is_caught() {
    let mut found = TABLE.map(|(mutation, _)| (mutation, String::new()));
    let mut first = Vec::new();
    for name in SHARED {
        let recording = open_shared(name);
        for (mutation, cells) in &mut found {
            let mut mutant = Model::new(recording.excess_rule, Some(*mutation));
            match replay(&recording, &mut mutant) {
                Ok(_) => cells.push('-'),
                Err(divergence) => {
                    cells.push('X');
                    first.push(format!("{mutation:?} in {name}: {divergence}"));
                }
            }
        }
    }
    let expected = TABLE.map(|(mutation, cells)| (mutation, cells.to_owned()));
    assert_eq!(
        found,
        expected,
        "where each replay stopped:\n{}",
        first.join("\n")
    );
    println!("{}", first.join("\n"));
}
