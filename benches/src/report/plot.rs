//! The plots, as SVG beside the samples.

use super::figure::{Figure, bytes, time};
use super::sweep::curve;
use crate::session::Session;
use crate::stats::Summary;
use plotters::prelude::*;
use pymalloc_bench::catalogue::is_ours;
use std::path::{Path, PathBuf};

/// One line per allocator, both axes logarithmic.
struct Plot {
    /// Added to the name of the samples' file.
    suffix: String,
    title: String,
    x_title: &'static str,
    lines: Vec<(String, Vec<(f64, f64)>)>,
}

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
    for plot in sweeps(session).into_iter().chain(live_heap(session)) {
        let path = saved.with_extension(format!("{}.svg", plot.suffix));
        draw(&plot, &path).map_err(|e| format!("{}: {e}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

fn sweeps(session: &Session) -> Vec<Plot> {
    let of_row = |row: &crate::session::Row| {
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
            x_title: "request, bytes",
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
    let sets = [
        ("replace-1m", 20),
        ("replace-64m", 26),
        ("replace-1g", 30),
        ("replace-4g", 32),
    ];
    let points = |column: &str| {
        let at = |&(row, bits): &(&str, u32)| {
            let cpu = Summary::of(&session.values(row, column, |o| Figure::Cpu.of(o)))?.median;
            Some((f64::from(bits).exp2(), cpu))
        };
        sets.iter().filter_map(at).collect::<Vec<_>>()
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
        x_title: "live set, bytes",
        lines,
    })
}

type Line = (String, Vec<(f64, f64)>);

/// The lines that have points.
fn with_points(lines: impl Iterator<Item = Line>) -> Vec<Line> {
    lines.filter(|(_, points)| !points.is_empty()).collect()
}

fn draw(plot: &Plot, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let all = || plot.lines.iter().flat_map(|(_, points)| points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let (low, high) = all().map(of).fold((f64::INFINITY, 0f64), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        (low * 0.8)..(high * 1.25)
    };
    let root = SVGBackend::new(path, (1100, 640)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(&plot.title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(
            range(|p| p.0).log_scale().base(2.0),
            range(|p| p.1).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc(plot.x_title)
        .x_labels(16)
        .x_label_formatter(&|x| bytes(x.round() as u64))
        .y_label_formatter(&|y| time(*y))
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
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_becomes_an_svg_with_every_allocator() {
        let saved =
            std::env::temp_dir().join(format!("pymalloc-bench-plot-{}.json", std::process::id()));
        let plots = write_all(&crate::report::tests::session(), &saved).unwrap();
        assert_eq!(plots.len(), 1);
        let svg = std::fs::read_to_string(&plots[0]).unwrap();
        std::fs::remove_file(&plots[0]).unwrap();
        for name in ["system", "mimalloc", "pymalloc", "pymalloc#2"] {
            assert!(svg.contains(name), "{name}");
        }
    }
}
