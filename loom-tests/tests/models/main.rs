//! The promises of the concurrent protocols, over the files that ship.
//!
//! | file | protocol | threads | preemptions | executions | seconds |
//! |---|---|---|---|---|---|
//! | lock_excludes_and_wakes | `sync::Lock` | 2–3 | 4, 5, any | 38,208 | 4.7 |
//! | no_chain_is_stranded | `inbox::Gate` | 2–3 | 4, 5, any | 37,740 | 4.7 |
//! | no_heap_is_shared_while_one_is_idle | `roster` | 3 | 2, 4 | 17,944 | 2.4 |
//! | map_is_published_whole | `address_map` | 2 | any | 101 | 0.0 |
//! | no_slot_is_in_two_hands | `extents` | 3 | 2, 3 | 24,946 | 5.8 |
//! | one_free_wins | `descriptor`, `huge` | 2 | 3 to any | 31,756 | 5.8 |
//! | released_arenas_are_nobodys | `engine` over `extents` | 3 | 2 | 3,876 | 1.0 |
//! | kept_blocks_have_one_owner | `kept`, `huge` | 2 | 2 to any | 14,834 | 3.5 |
//! | blocks_come_home | `heap` | 2 | 6 | 1,976 | 0.3 |
//! | options_are_read_once | `options::Store` | 2 | any | 391 | 0.0 |
//! | events_keep_their_order | `observe::recorder::order`, `progress` | 2–3 | 3, any | 3,820 | 0.6 |
//! | hooks_are_registered_once | `registration` | 3 | 3 | 8,720 | 0.9 |
//!
//! Together 19 seconds on two shared cores. `cargo test --release -p pymalloc-loom-tests -- --nocapture` prints
//! the figures of each model; `LOOM_MAX_PREEMPTIONS=4` deepens all of them, for a night. `../../mutants.sh`
//! shows that each model can fail.
//!
//! No model, since no other thread runs then: what a child does after fork.

mod blocks_come_home;
mod events_keep_their_order;
mod hooks_are_registered_once;
mod kept_blocks_have_one_owner;
mod lock_excludes_and_wakes;
mod map_is_published_whole;
mod no_chain_is_stranded;
mod no_heap_is_shared_while_one_is_idle;
mod no_slot_is_in_two_hands;
mod one_free_wins;
mod options_are_read_once;
mod released_arenas_are_nobodys;
