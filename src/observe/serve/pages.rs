//! The pages that are served.
//!
//! | page | what |
//! |---|---|
//! | `/` | what there is |
//! | `/metrics` | figures, as OpenMetrics text |
//! | `/debug/pprof/heap` | who made what lives: samples, if some are taken, else what `tracemalloc` traces |

use super::super::heap_profile::{self, Draft};
use super::super::mapped::Mapped;
use super::super::metrics;
use super::super::tracemalloc::served;
use super::request::{Page, Source};

/// Writes a page; its status and kind.
pub fn write(page: Page, body: &mut Mapped<u8>) -> (&'static str, &'static str) {
    const OK: &str = "200 OK";
    const UNAVAILABLE: &str = "503 Service Unavailable";
    const TEXT: &str = "text/plain; charset=utf-8";
    let whole = match page {
        Page::Index => {
            body.extend(INDEX.as_bytes());
            Some("text/html; charset=utf-8")
        }
        Page::Metrics => metrics::write_open_metrics(body)
            .is_ok()
            .then_some("application/openmetrics-text; version=1.0.0; charset=utf-8"),
        Page::HeapProfile(source) => {
            let Some(draft) = drawn(source) else {
                body.extend(missing(source).as_bytes());
                return (UNAVAILABLE, TEXT);
            };
            draft.finish(body).then_some("application/octet-stream")
        }
    };
    match whole {
        Some(kind) => (OK, kind),
        None => {
            body.clear();
            body.extend(b"out of memory\n");
            (UNAVAILABLE, TEXT)
        }
    }
}

/// The heap profile of a source, with names where somebody knows them; `None` where nothing is kept.
fn drawn(source: Source) -> Option<Draft> {
    let samples = || heap_profile::draft();
    let draft = match source {
        Source::Any => samples().or_else(served::draft),
        Source::Samples => samples(),
        Source::Tracemalloc => served::draft(),
    };
    draft.map(heap_profile::lines::named)
}

/// What is said where there is no profile: which source is wanted, how to begin it, and which one there is.
fn missing(source: Source) -> &'static str {
    match source {
        Source::Samples if served::is_tracing() => NO_SAMPLES_BUT_TRACES,
        Source::Tracemalloc if heap_profile::is_kept() => NO_TRACES_BUT_SAMPLES,
        _ => NO_PROFILE,
    }
}

const INDEX: &str = "<!DOCTYPE html><title>pymalloc</title><a href=\"/metrics\">metrics</a> \
     <a href=\"/debug/pprof/heap\">heap profile</a>\n";

const NO_PROFILE: &str = "no heap profile is kept. Ask for samples when serving begins: serve_sampled(), \
     'pymalloc serve --sample 512K', or PYMALLOC_SERVE_SAMPLE=524288. Or trace, at any time: tracemalloc::start(), \
     or start_sampled()\n";

const NO_SAMPLES_BUT_TRACES: &str = "no samples are taken: serve_sampled() begins them. tracemalloc is at work: ask \
     for /debug/pprof/heap?source=tracemalloc\n";

const NO_TRACES_BUT_SAMPLES: &str = "tracemalloc is not at work: tracemalloc::start() begins it. Samples are taken: ask \
     for /debug/pprof/heap?source=samples\n";
