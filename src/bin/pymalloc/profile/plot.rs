//! Curves of bytes over seconds, as SVG.

use super::flamegraph::escaped;
use crate::units::bytes;
use std::fmt::Write;

/// A curve.
pub struct Curve {
    /// What it shows.
    pub name: &'static str,
    /// Its colour.
    pub colour: &'static str,
    /// Seconds and bytes, in rising order of the seconds.
    pub points: Vec<(f64, f64)>,
}

/// A time with a name, drawn under the curves.
pub struct Span {
    /// What went on.
    pub name: String,
    /// How many others it lies in.
    pub level: usize,
    /// Seconds.
    pub from: f64,
    /// Seconds.
    pub to: f64,
}

/// Units of the whole picture and of its margins.
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 50.0;
/// Most points drawn of a curve: the greatest of each part stands for it.
const MOST: usize = 2000;

/// A page with the picture.
pub fn page(title: &str, svg: &str) -> String {
    let title = escaped(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         </head>\n<body>\n{svg}</body>\n</html>\n"
    )
}

/// A round number of about a fifth of `most`.
fn step(most: f64) -> f64 {
    let rough = (most / 5.0).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    let fits = |factor: &&f64| **factor * power >= rough;
    power * factors.iter().find(fits).unwrap_or(&10.0)
}

/// A power of two of about a fifth of `most`.
fn byte_step(most: f64) -> f64 {
    2f64.powf((most / 5.0).max(1.0).log2().ceil())
}

/// The picture, as SVG.
pub fn svg(title: &str, curves: &[Curve], spans: &[Span]) -> String {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let end = points().map(|point| point.0).fold(0.001, f64::max);
    let most = points().map(|point| point.1).fold(1.0, f64::max);
    let x = |seconds: f64| LEFT + seconds / end * (WIDTH - LEFT - RIGHT);
    let y = |size: f64| HEIGHT - BOTTOM - size / (most * 1.05) * (HEIGHT - TOP - BOTTOM);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\">{}</text>\n",
        escaped(title)
    );
    draw_axes(&mut text, end, most, &x, &y);
    for span in spans {
        let (from, to) = (x(span.from), x(span.to));
        let _ = writeln!(
            text,
            "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"14\" fill=\"#9467bd\" fill-opacity=\"0.35\" stroke=\"#ffffff\">\
             <title>{name}</title></rect><text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\">{name}</text>",
            TOP + span.level as f64 * 16.0,
            (to - from).max(1.0),
            from + 3.0,
            TOP + span.level as f64 * 16.0 + 11.0,
            name = escaped(&span.name)
        );
    }
    for (place, curve) in curves.iter().enumerate() {
        draw_curve(&mut text, curve, place, &x, &y);
    }
    text.push_str("</svg>\n");
    text
}

/// Lines for sizes, numbers for seconds.
fn draw_axes(
    text: &mut String,
    end: f64,
    most: f64,
    x: &impl Fn(f64) -> f64,
    y: &impl Fn(f64) -> f64,
) {
    for n in 0.. {
        let size = f64::from(n) * byte_step(most);
        if size > most * 1.05 {
            break;
        }
        let _ = writeln!(
            text,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{1:.1}\" y2=\"{1:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{4}</text>",
            WIDTH - RIGHT,
            y(size),
            LEFT - 8.0,
            y(size) + 4.0,
            bytes(size as u64)
        );
    }
    for n in 0.. {
        let seconds = f64::from(n) * step(end);
        if seconds > end * 1.0001 {
            break;
        }
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{} s</text>",
            x(seconds),
            HEIGHT - BOTTOM + 20.0,
            (seconds * 1e6).round() / 1e6
        );
    }
}

fn draw_curve(
    text: &mut String,
    curve: &Curve,
    place: usize,
    x: &impl Fn(f64) -> f64,
    y: &impl Fn(f64) -> f64,
) {
    let per_part = curve.points.len().div_ceil(MOST).max(1);
    let greatest = |part: &[(f64, f64)]| part.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    let points = curve.points.chunks(per_part).filter_map(greatest);
    let points: Vec<_> = points
        .map(|(seconds, size)| format!("{:.1},{:.1}", x(seconds), y(size)))
        .collect();
    let peak = greatest(&curve.points);
    let Some((when, size)) = peak else { return };
    let colour = curve.colour;
    let _ = writeln!(
        text,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
        points.join(" ")
    );
    let _ = writeln!(
        text,
        "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{TOP}\" y2=\"{1}\" stroke=\"{colour}\" stroke-dasharray=\"4 4\"/>\
         <text x=\"{2}\" y=\"{5}\" fill=\"{colour}\">{3}: at most {4} after {when:.2} s</text>",
        x(when),
        HEIGHT - BOTTOM,
        // Two in a row.
        LEFT + 330.0 * (place % 2) as f64,
        curve.name,
        bytes(size as u64),
        44 + 18 * (place / 2)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        assert_eq!(step(10.0), 2.0);
        assert_eq!(step(0.7), 0.2);
        assert_eq!(step(26.0), 10.0);
        assert_eq!(byte_step(5e6), 1_048_576.0);
    }
}
