//! How much misuse of C and C++ is caught: 37 kinds over three sizes and five of C++, 116 in all, the kinds
//! that public collections try allocators on. `cargo test --test misuse_table -- --nocapture --include-ignored`
//! prints the table of the README, other allocators included.
//!
//! | outcome | meaning |
//! |---|---|
//! | caught | the program ended, or the property held, before it went on |
//! | late | it went on, and ended by a signal later |
//! | unharmed | it went on, and the heap works: blocks are apart and keep their contents |
//! | damage | it went on, and the heap hands out memory twice or changes it |

#[path = "c/harness.rs"]
mod harness;
#[path = "support/preload.rs"]
mod support;
#[path = "misuse_table/tally.rs"]
mod tally;

use tally::{Arm, Outcome, Tally};

/// Prints the tally and holds it to what the README says.
fn catches_at_least(arm: &Arm, least: usize, most_damage: usize) {
    let tally = Tally::of(arm);
    let caught = tally.count(Outcome::Caught);
    let damage = tally.count(Outcome::Damage);
    println!(
        "{}: {caught} caught, {damage} damage\n{}",
        arm.name,
        tally.text()
    );
    let all: usize = tally.rows.iter().map(|(_, outcomes)| outcomes.len()).sum();
    assert_eq!(all, 116);
    assert!(
        caught >= least,
        "{}: {caught} caught\n{}",
        arm.name,
        tally.text()
    );
    assert!(
        damage <= most_damage,
        "{}: {damage} damage\n{}",
        arm.name,
        tally.text()
    );
}

#[test]
fn production_catches_seventy() {
    // Not noticed before it is handed out again: an aligned pointer into a block above 512 bytes, or to a block
    // that was never handed out, which a free puts into the list unseen.
    catches_at_least(&Arm::ours("production", &[]), 70, 2);
}

#[test]
fn checks_catch_a_hundred() {
    let arm = Arm::ours("checks:on", &[("PYMALLOC_CONF", "checks:on")]);
    catches_at_least(&arm, 100, 0);
}

#[test]
fn debug_catches_what_can_be_noticed() {
    catches_at_least(&Arm::ours("debug", &[("PYMALLOC", "debug")]), 80, 0);
}

#[test]
#[ignore = "prints the README's table of other allocators, which need not be installed"]
fn table_of_all_allocators() {
    println!("| allocator | caught | late | unharmed | damage |\n|---|---|---|---|---|");
    for arm in tally::all() {
        if arm.library.as_ref().is_some_and(|path| !path.exists()) {
            println!("| {} | not installed |", arm.name);
            continue;
        }
        let tally = Tally::of(&arm);
        let counts = [
            Outcome::Caught,
            Outcome::Late,
            Outcome::Unharmed,
            Outcome::Damage,
        ];
        let counts = counts.map(|outcome| tally.count(outcome).to_string());
        println!("| {} | {} |", arm.name, counts.join(" | "));
    }
}
