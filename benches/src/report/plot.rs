//! The plots, as SVG beside the samples.

use super::figure::{Figure, bytes, count, mib, time};
use super::growth::SETS;
use super::sweep::curve;
use crate::session::{Row, Session};
use crate::stats::Summary;
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::*;
use pymalloc_bench::catalogue::is_ours;
use std::path::{Path, PathBuf};

/// One line per allocator.
struct Plot {
    /// Added to the name of the samples' file.
    suffix: String,
    title: String,
    x: Axis,
    y: Axis,
    lines: Vec<Line>,
}

/// An axis: what stands at it, how a value is written, and whether it is logarithmic.
struct Axis {
    title: &'static str,
    write: fn(f64) -> String,
    logarithmic: bool,
}

const REQUEST: Axis = Axis {
    title: "request, bytes",
    write: |x| bytes(x.round() as u64),
    logarithmic: true,
};
const LIVE_SET: Axis = Axis {
    title: "live set, bytes",
    ..REQUEST
};
const COST: Axis = Axis {
    title: "",
    write: time,
    logarithmic: true,
};
const ELAPSED: Axis = Axis {
    title: "seconds since the start",
    write: |ms| format!("{:.1}", ms / 1000.0),
    logarithmic: false,
};
const RESIDENT: Axis = Axis {
    title: "",
    write: mib,
    logarithmic: false,
};
/// Rare calls at the right: one over the fraction of calls that take longer.
const RARITY: Axis = Axis {
    title: "one call in … takes longer",
    write: count,
    logarithmic: true,
};

/// Colours that stay apart for colour-blind readers (Okabe and Ito), ours first.
const COLOURS: [RGBColor; 8] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(120, 120, 120),
    RGBColor(0, 0, 0),
];

/// Writes every plot the samples allow and says where.
///
/// # Errors
/// When a file cannot be written.
pub fn write_all(session: &Session, saved: &Path) -> Result<Vec<PathBuf>, String> {
    let mut written = Vec::new();
    let plots = sweeps(session)
        .into_iter()
        .chain(live_heap(session))
        .chain(resident(session))
        .chain(tails(session));
    for plot in plots {
        let path = saved.with_extension(format!("{}.svg", plot.suffix));
        draw(&plot, &path).map_err(|e| format!("{}: {e}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

fn sweeps(session: &Session) -> Vec<Plot> {
    let of_row = |row: &Row| {
        let points = |column: &str| {
            curve(session, &row.name, column)
                .into_iter()
                .map(|(x, y)| (x as f64, y))
                .collect()
        };
        let lines = session
            .columns
            .iter()
            .map(|c| (c.name.clone(), points(&c.name)));
        let title = format!(
            "{}: wall time per {} by size of the request",
            row.name, row.unit
        );
        Plot {
            suffix: row.name.clone(),
            title,
            x: REQUEST,
            y: COST,
            lines: with_points(lines),
        }
    };
    session
        .rows
        .iter()
        .map(of_row)
        .filter(|plot| !plot.lines.is_empty())
        .collect()
}

/// Cost of a random replacement by the size of the live set.
fn live_heap(session: &Session) -> Option<Plot> {
    let points = |column: &str| {
        let at = |&(set, bits): &(&str, u32)| {
            let row = format!("replace-{set}");
            let cpu = Summary::of(&session.values(&row, column, |o| Figure::Cpu.of(o)))?.median;
            Some((f64::from(bits).exp2(), cpu))
        };
        SETS.iter().filter_map(at).collect::<Vec<_>>()
    };
    let lines = with_points(
        session
            .columns
            .iter()
            .map(|c| (c.name.clone(), points(&c.name))),
    );
    let title = "replace: CPU time per replacement by size of the live set".into();
    let enough = lines.iter().any(|(_, points)| points.len() > 1);
    enough.then_some(Plot {
        suffix: "live-heap".into(),
        title,
        x: LIVE_SET,
        y: COST,
        lines,
    })
}

/// The resident set over time, a plot for each workload that was watched.
fn resident(session: &Session) -> Vec<Plot> {
    let of_row = |row: &Row| {
        let points = |column: &str| {
            let watched = session
                .outcomes(&row.name, column)
                .find(|o| !o.timeline.is_empty());
            let moments = watched.map_or(&[][..], |o| &o.timeline);
            moments
                .iter()
                .map(|m| (f64::from(m.ms), m.kib as f64))
                .collect()
        };
        Plot {
            suffix: format!("rss-{}", row.name),
            title: format!(
                "{}: resident set over time, an idle second at the end",
                row.name
            ),
            x: ELAPSED,
            y: RESIDENT,
            lines: with_points(
                session
                    .columns
                    .iter()
                    .map(|c| (c.name.clone(), points(&c.name))),
            ),
        }
    };
    let plots = session.rows.iter().map(of_row);
    plots.filter(|plot| !plot.lines.is_empty()).collect()
}

/// How long the rare calls take, medians over the runs.
fn tails(session: &Session) -> Vec<Plot> {
    let of_row = |row: &Row| {
        let points = |column: &str| {
            let tails: Vec<_> = session
                .outcomes(&row.name, column)
                .filter_map(|o| Some(&o.latency.as_ref()?.tail))
                .collect();
            let n = tails.iter().map(|tail| tail.len()).min().unwrap_or(0);
            let at = |i: usize| {
                let times: Vec<f64> = tails.iter().map(|tail| tail[i].1.max(1.0)).collect();
                Some((1.0 / tails[0][i].0, Summary::of(&times)?.median))
            };
            (0..n).filter_map(at).collect()
        };
        Plot {
            suffix: format!("latency-{}", row.name),
            title: format!("{}: CPU time of single calls", row.name),
            x: RARITY,
            y: COST,
            lines: with_points(
                session
                    .columns
                    .iter()
                    .map(|c| (c.name.clone(), points(&c.name))),
            ),
        }
    };
    let plots = session.rows.iter().map(of_row);
    plots.filter(|plot| !plot.lines.is_empty()).collect()
}

type Line = (String, Vec<(f64, f64)>);

/// The lines that have points.
fn with_points(lines: impl Iterator<Item = Line>) -> Vec<Line> {
    lines.filter(|(_, points)| !points.is_empty()).collect()
}

fn draw(plot: &Plot, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let x = range(plot, |p| p.0, plot.x.logarithmic);
    let y = range(plot, |p| p.1, plot.y.logarithmic);
    let root = SVGBackend::new(path, (1100, 640)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut builder = ChartBuilder::on(&root);
    builder
        .caption(&plot.title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(80);
    if plot.x.logarithmic {
        let x = x.log_scale().base(2.0);
        draw_lines(builder.build_cartesian_2d(x, y.log_scale())?, plot)?;
    } else {
        draw_lines(builder.build_cartesian_2d(x, y)?, plot)?;
    }
    root.present()?;
    Ok(())
}

/// From the smallest to the largest value, with room; a linear axis begins at 0.
fn range(plot: &Plot, of: fn(&(f64, f64)) -> f64, logarithmic: bool) -> std::ops::Range<f64> {
    let values = plot.lines.iter().flat_map(|(_, points)| points).map(of);
    let (low, high) = values.fold((f64::INFINITY, 0f64), |(low, high), v| {
        (low.min(v), high.max(v))
    });
    if logarithmic {
        (low * 0.8)..(high * 1.25)
    } else {
        0.0..(high * 1.08).max(1.0)
    }
}

fn draw_lines<'a, X, Y>(
    mut chart: ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
    plot: &Plot,
) -> Result<(), Box<dyn std::error::Error>>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .x_desc(plot.x.title)
        .y_desc(plot.y.title)
        .x_labels(16)
        .x_label_formatter(&|x| (plot.x.write)(*x))
        .y_label_formatter(&|y| (plot.y.write)(*y))
        .light_line_style(RGBColor(235, 235, 235))
        .draw()?;
    // Ours is drawn last, on top, but has the first colour.
    let (ours, peers): (Vec<_>, Vec<_>) = plot.lines.iter().partition(|(name, _)| is_ours(name));
    let coloured = ours
        .iter()
        .zip(0..)
        .chain(peers.iter().zip(ours.len()..))
        .collect::<Vec<_>>();
    for ((name, points), i) in coloured.into_iter().rev() {
        let colour = COLOURS[i % COLOURS.len()];
        let width = if is_ours(name) { 3 } else { 1 };
        chart
            .draw_series(LineSeries::new(
                points.iter().copied(),
                colour.stroke_width(width),
            ))?
            .label(name)
            .legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(width))
            });
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .legend_area_size(30)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pymalloc_bench::outcome::{Latency, Moment};

    /// Draws all plots of a session and gives their texts, by suffix.
    fn drawn(session: &Session, name: &str) -> Vec<(String, String)> {
        let stem = format!("pymalloc-bench-plot-{name}-{}", std::process::id());
        let saved = std::env::temp_dir().join(format!("{stem}.json"));
        let read = |path: &PathBuf| {
            let svg = std::fs::read_to_string(path).unwrap();
            std::fs::remove_file(path).unwrap();
            let file = path.file_name().unwrap().to_str().unwrap();
            let suffix = file.strip_prefix(&format!("{stem}.")).unwrap();
            (suffix.to_owned(), svg)
        };
        write_all(session, &saved)
            .unwrap()
            .iter()
            .map(read)
            .collect()
    }

    #[test]
    fn a_sweep_becomes_an_svg_with_every_allocator() {
        let plots = drawn(&crate::report::tests::session(), "sweep");
        assert_eq!(plots.len(), 1);
        for name in ["system", "mimalloc", "pymalloc", "pymalloc#2"] {
            assert!(plots[0].1.contains(name), "{name}");
        }
    }

    #[test]
    fn a_watched_process_and_a_tail_become_plots_of_their_own() {
        let mut session = crate::report::tests::session();
        session.rows.retain(|row| row.name == "json");
        let of_json = |s: &&mut crate::session::Sample| s.row == "json" && s.round == 0;
        for sample in session.samples.iter_mut().filter(of_json) {
            let outcome = sample.result.as_mut().unwrap();
            outcome.timeline = (0..50)
                .map(|i| Moment {
                    ms: 10 * i,
                    kib: u64::from(100 * i),
                })
                .collect();
            outcome.latency = Some(Latency {
                tail: vec![(1.0, 0.0), (0.1, 20.0), (0.01, 300.0)],
                ..Latency::default()
            });
        }
        let plots = drawn(&session, "rss");
        let names: Vec<_> = plots.iter().map(|plot| plot.0.as_str()).collect();
        assert_eq!(names, ["rss-json.svg", "latency-json.svg"]);
        assert!(plots.iter().all(|plot| plot.1.contains("polyline")));
    }
}
