//! The workloads: functions that prepare their input, hand their timed sections to the [`Meter`], call
//! [`Meter::live`] while their memory is live, and leave nothing behind.
//!
//! They reach the allocator as programs do: through `Box`, `Vec` and `std::alloc`, so that the
//! compiler may fold the size of a request where it is a constant.

mod aligned;
mod batch;
mod block;
mod btree;
mod churn;
mod control;
pub mod counted;
mod false_sharing;
mod grow;
mod html;
mod json;
mod larson;
mod many_threads;
mod markdown;
mod operation;
mod pair;
mod pair_full;
mod persistent;
mod prodcons;
mod regexes;
mod replace;
mod replay;
mod script;
mod shift;
mod sparse;
mod sweep;
mod syntax;
mod text;
mod trace;
mod trees;
mod zeroed;

use crate::worker::meter::Meter;

/// A workload's function. The error is a message for the user: an input that is missing or damaged.
pub type Work = fn(&mut Meter) -> Result<(), String>;

/// The function of the workload of that name in [`crate::catalogue`].
pub fn find(name: &str) -> Option<Work> {
    single_threaded(name).or_else(|| all_others(name))
}

fn single_threaded(name: &str) -> Option<Work> {
    Some(match name {
        "pair-8" => pair::run::<8>,
        "pair-64" => pair::run::<64>,
        "pair-512" => pair::run::<512>,
        "pair-4k" => pair::run::<4096>,
        "pair-64k" => pair::run::<65_536>,
        "pair-1m" => pair::run::<1_048_576>,
        "pair-classes" => pair::classes,
        "pair-runtime" => pair::runtime,
        "pair-full" => pair_full::run,
        "trees" => trees::run,
        "batch-fifo" => batch::fifo,
        "batch-lifo" => batch::lifo,
        "batch-random" => batch::random,
        "replace-1m" => replace::run::<1>,
        "replace-64m" => replace::run::<64>,
        "replace-1g" => replace::run::<1024>,
        "replace-4g" => replace::run::<4096>,
        "shift" => shift::run,
        "grow-large" => grow::large,
        "grow-small" => grow::small,
        "zeroed-small" => zeroed::small,
        "zeroed-large" => zeroed::large,
        "aligned" => aligned::run,
        "control-1m" => control::run::<1>,
        "control-64m" => control::run::<64>,
        "control-1g" => control::run::<1024>,
        "control-4g" => control::run::<4096>,
        _ => return None,
    })
}

fn all_others(name: &str) -> Option<Work> {
    Some(match name {
        "larson" => larson::run,
        "pairs-threads" => pair::threads,
        "prodcons-1-1" => prodcons::one_to_one,
        "prodcons-1-n" => prodcons::one_to_many,
        "prodcons-n-1" => prodcons::many_to_one,
        "false-active" => false_sharing::active,
        "false-passive" => false_sharing::passive,
        "churn" => churn::run,
        "threads-2000" => many_threads::run,
        "trace-startup_exit" => |m| trace::run(m, "startup_exit"),
        "trace-regex_tokenize" => |m| trace::run(m, "regex_tokenize"),
        "trace-frag_churn" => |m| trace::run(m, "frag_churn"),
        "trace-waves" => |m| trace::run(m, "waves"),
        "json" => json::run,
        "json-threads" => json::threads,
        "syn" => syntax::run,
        "regex" => regexes::run,
        "markdown" => markdown::run,
        "html" => html::run,
        "rhai" => script::run,
        "imbl" => persistent::run,
        "btree" => btree::run,
        "scan" => sparse::scan,
        "interpret" => sparse::interpret,
        "op-private" => operation::private,
        "op-remote" => operation::remote,
        "op-waves" => operation::waves,
        // Not in the catalogue: its input is the user's.
        "replay" => replay::run,
        "sweep-pair" => sweep::pair,
        "sweep-batch" => sweep::batch,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_name_in_the_catalogue_has_its_function() {
        for workload in crate::catalogue::WORKLOADS {
            assert!(super::find(workload.name).is_some(), "{}", workload.name);
        }
        for counted in crate::catalogue::COUNTED {
            assert!(
                super::counted::find(counted.name).is_some(),
                "{}",
                counted.name
            );
        }
    }
}
