//! Random programs: the engine that ships agrees with the naive model, and would be found out if it
//! did not.

use std::io::Write as _;

use super::mutations::TABLE;
use crate::shipped;
use crate::support::model::Model;
use crate::support::pymt::ExcessRule;
use crate::support::random::compare;

/// Calls of one program: enough for tens of arenas to come and go.
const LENGTH: usize = 200_000;

/// `PYMALLOC_SEED` in decimal, else a new one.
fn first_seed() -> u64 {
    match std::env::var("PYMALLOC_SEED") {
        Ok(seed) => seed.parse().expect("PYMALLOC_SEED is a decimal number"),
        Err(_) => {
            let now = std::time::SystemTime::now();
            let since = now
                .duration_since(std::time::UNIX_EPOCH)
                .expect("the clock is past 1970");
            since.as_micros() as u64
        }
    }
}

#[test]
fn the_engine_agrees_with_the_naive_model_on_random_programs() {
    let first = first_seed();
    writeln!(std::io::stderr(), "random programs: PYMALLOC_SEED={first}").expect("stderr is open");
    for (seed, rule) in [
        ExcessRule::Fixed(0),
        ExcessRule::Fixed(4096),
        ExcessRule::Cycle,
    ]
    .into_iter()
    .enumerate()
    .map(|(i, rule)| (first.wrapping_add(i as u64), rule))
    {
        let mut model = Model::new(rule, None);
        if let Err(disagreement) = compare(seed, LENGTH, &mut shipped(rule), &mut model) {
            panic!("arenas {rule:?}: {disagreement}");
        }
    }
}

#[test]
fn random_programs_find_every_mutation() {
    let rule = ExcessRule::Cycle;
    for (mutation, _) in TABLE {
        let found = (0..10).find_map(|seed| {
            let (mut mutant, mut model) =
                (Model::new(rule, Some(mutation)), Model::new(rule, None));
            compare(seed, LENGTH, &mut mutant, &mut model).err()
        });
        let found = found.unwrap_or_else(|| panic!("no program tells {mutation:?} from the model"));
        println!("{mutation:?}: {found}");
    }
}
