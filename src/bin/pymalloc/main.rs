//! The command `pymalloc`: runs any dynamically linked program on the allocator, by `LD_PRELOAD`, and says
//! what it used.
//!
//! The launcher never names the library crate: with the feature `preload` on, that would export our
//! `malloc` from the launcher itself, and the preloaded library would find an executable with its own
//! malloc and pass everything through. What both sides share comes in by `#[path]`.
//!
//! ```text
//! args        what was asked for                     failure   every way to end, its line and its status
//! run         plain: becomes the program;            target    which ELF image would run, and whether
//!             --stats: watches it, then reports                the loader would preload into it
//! demo        the workload under both mallocs        library   which libpymalloc.so, and whether it is one
//! workload      … and the workload itself            elf       the few ELF fields those two ask for
//! child       starts, forwards signals, waits        system    the only file that calls libc
//! record      runs it and leaves a recording        view      what is shown of one: profile/
//! live        a growing recording in the terminal    serve     … over HTTP
//! follow        … and both's way to read it
//! mem         memory over time                    units     numbers for people
//! stats_file  where the summary arrives              report    text for people
//! progress    how far a recording is read
//! ```

mod args;
mod child;
mod demo;
mod elf;
mod failure;
mod follow;
mod library;
mod live;
mod mem;
mod profile;
#[allow(
    dead_code,
    reason = "the launcher names every call; what the library serves may have addresses only, and labels"
)]
#[path = "../../observe/profile_proto.rs"]
mod profile_proto;
mod progress;
mod record;
#[allow(
    dead_code,
    reason = "the launcher reads recordings; the library, which includes this folder too, writes them"
)]
#[path = "../../observe/recording/mod.rs"]
mod recording;
mod report;
mod run;
mod serve;
#[allow(
    dead_code,
    reason = "the allocator's own arithmetic, of which the launcher asks little"
)]
#[path = "../../obmalloc/size_class.rs"]
mod size_class;
mod stats_file;
#[allow(
    dead_code,
    reason = "the launcher reads summaries; the library, which includes this file too, writes them"
)]
#[path = "../../global/summary.rs"]
mod summary;
mod system;
mod target;
mod units;
mod view;
mod workload;

use args::Command;
use failure::Failure;
use std::io::Write;

fn main() {
    let status = match start() {
        Ok(status) => status,
        Err(failure) => {
            // Nobody is left to tell when stderr is closed, too.
            let _ = writeln!(std::io::stderr(), "pymalloc: {failure}");
            failure.status()
        }
    };
    std::process::exit(status)
}

/// Does what was asked; the status to end with.
fn start() -> Result<i32, Failure> {
    match args::parse(std::env::args_os())? {
        Command::Help => print(args::HELP),
        Command::RunHelp => print(args::RUN_HELP),
        Command::Version => print(concat!("pymalloc ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Run(options) => run::run(&options),
        Command::RecordHelp => print(args::RECORD_HELP),
        Command::Record(options) => record::record(&options),
        Command::ReportHelp => print(args::REPORT_HELP),
        Command::Report(options) => view::report(&options),
        Command::LiveHelp => print(args::LIVE_HELP),
        Command::Live(options) => live::live(&options),
        Command::ServeHelp => print(args::SERVE_HELP),
        Command::Serve(options) => serve::serve(&options),
        Command::MemHelp => print(args::MEM_HELP),
        Command::Mem(options) => mem::mem(&options),
        Command::WhyHelp => print(args::WHY_HELP),
        Command::Why(options) => view::why(&options),
        Command::DemoWorkload => print(&format!("{:016x}\n", workload::run())),
    }
}

/// Prints to stdout what the user asked to see.
fn print(text: &str) -> Result<i32, Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map(|()| 0).map_err(Failure::Output)
}
