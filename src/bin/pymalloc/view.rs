//! `pymalloc report` and `pymalloc why`: reads recordings and shows them.

use crate::args::{At, Report, View, Why};
use crate::failure::Failure;
use crate::profile::named::Named;
use crate::profile::picture::{self, Kind};
use crate::profile::usage::{self, Measure, Profile};
use crate::profile::why::Pinned;
use crate::profile::{
    dhat, flamegraph, heat_map, json, leaks, pprof, speedscope, summary, table, tree,
};
use std::io::{self, Write};
use std::path::Path;

/// Shows what was asked for.
pub fn report(options: &Report) -> Result<i32, Failure> {
    if options.view == View::Flamegraph {
        // Better known before a long recording is read.
        kind(options.output.as_deref())?;
    }
    let profile = read(&options.file, options.within)?;
    if options.view == View::Temporary && profile.contents.header.sample_bytes > 0 {
        return Err(Failure::Sampled(options.file.clone(), "temporary"));
    }
    let bytes = shown(options, &profile)?;
    write(options.output.as_deref(), &bytes)
}

/// Shows what keeps memory at a moment.
pub fn why(options: &Why) -> Result<i32, Failure> {
    let path = &options.file;
    let drawn = options.output.as_deref();
    let drawn = drawn.map(|output| kind(Some(output)).map(|kind| (output, kind)));
    let drawn = drawn.transpose()?;
    let profile = read(path, 1)?;
    if profile.contents.header.sample_bytes > 0 {
        return Err(Failure::Sampled(path.to_owned(), "why"));
    }
    let named = Named::new(&profile);
    let peak = profile.usage.peak_event;
    let failed = |error| Failure::Recording(path.to_owned(), error);
    let usage = match options.at {
        At::End => None,
        At::Peak => Some(usage::usage_until(path, 1, |_, events| events >= peak)),
        At::Ms(ms) => Some(usage::usage_until(path, 1, |step, _| step.time_ms > ms)),
    };
    let usage = usage.transpose().map_err(failed)?;
    let blocks = usage
        .as_ref()
        .map_or(&profile.usage.blocks, |usage| &usage.blocks);
    let page = u64::from(profile.contents.header.page_bytes);
    let pinned = Pinned::new(blocks, &named, page);
    if let Some((output, kind)) = drawn {
        let svg = heat_map::svg(&pinned, &named);
        write(Some(output), &picture::file(kind, svg, heat_map::page)?)?;
    }
    write(None, pinned.text(&named, options.limit).as_bytes())
}

/// The view's bytes.
fn shown(options: &Report, profile: &Profile) -> Result<Vec<u8>, Failure> {
    let has_stacks = profile.contents.header.has_stacks;
    if options.view == View::Summary && !has_stacks {
        return Ok(summary::summary(profile, None).into_bytes());
    }
    let named = Named::new(profile);
    let name = options.file.file_stem().unwrap_or_default();
    let name = name.display().to_string();
    let json = |value: &serde_json::Value| format!("{value}\n").into_bytes();
    Ok(match options.view {
        View::Summary => summary::summary(profile, Some(&named)).into_bytes(),
        View::Table => table::table(&named, options.by, options.limit).into_bytes(),
        View::Temporary => table::table(&named, Measure::Temporary, options.limit).into_bytes(),
        View::Tree => tree::tree(&named, options.by, options.least).into_bytes(),
        View::Leaks => leaks::leaks(&named, options.limit).into_bytes(),
        View::Diff => {
            let newer = options.newer.as_deref().unwrap_or(&options.file);
            let newer = Named::new(&read(newer, options.within)?);
            table::diff(&named, &newer, options.by, options.limit).into_bytes()
        }
        View::Flamegraph => {
            let svg = flamegraph::svg(&named, options.by, &name).map_err(Failure::NothingToDraw)?;
            let page = |svg: &str| flamegraph::page(svg, options.by, &name);
            picture::file(kind(options.output.as_deref())?, svg, page)?
        }
        View::Folded => flamegraph::folded(&named, options.by).into_bytes(),
        View::Pprof => {
            let (start, duration) = (
                profile.contents.header.start_unix_ms,
                profile.contents.duration_ms,
            );
            pprof::pprof(
                &named,
                start,
                duration,
                profile.contents.header.sample_bytes,
            )
            .map_err(Failure::Output)?
        }
        View::Speedscope => json(&speedscope::speedscope(&named, &name)),
        View::Dhat => json(&dhat::dhat(profile, &named)),
        View::Json => json(&json::json(profile, &named)),
    })
}

/// What a picture is to be: on stdout, a page.
fn kind(output: Option<&Path>) -> Result<Kind, Failure> {
    output.map_or(Ok(Kind::Page), picture::kind)
}

/// The recording at `path`; says on stderr if it is not whole.
fn read(path: &Path, within: u64) -> Result<Profile, Failure> {
    let failed = |error| Failure::Recording(path.to_owned(), error);
    let profile = usage::profile(path, within).map_err(failed)?;
    let end = profile.contents.end;
    if !matches!(end, crate::recording::read::End::Whole(_)) {
        let text = format!("pymalloc: {}: {}\n", path.display(), summary::ended(end));
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
    Ok(profile)
}

/// Writes to the file, or to stdout.
fn write(output: Option<&Path>, bytes: &[u8]) -> Result<i32, Failure> {
    if let Some(path) = output {
        let written = std::fs::write(path, bytes);
        let written = written.map(|()| 0);
        return written.map_err(|error| Failure::Write(path.to_owned(), error));
    }
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    written.map(|()| 0).map_err(Failure::Output)
}
