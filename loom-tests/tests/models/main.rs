//! The promises of the concurrent protocols, over the files that ship.
//!
//! `cargo test --release -p pymalloc-loom-tests -- --nocapture` prints how many executions each model
//! took. `../../mutants.sh` shows that each model can fail.

mod blocks_come_home;
mod hooks_are_registered_once;
mod lock_excludes_and_wakes;
mod map_is_published_whole;
mod no_chain_is_stranded;
mod no_heap_is_shared_while_one_is_idle;
mod no_slot_is_in_two_hands;
mod one_free_wins;
mod options_are_read_once;
mod released_arenas_are_nobodys;
