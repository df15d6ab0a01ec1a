//! A plot as SVG: lines over two axes, both logarithmic, so that what grows evenly is a straight line.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 180.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 56.0;
/// Told apart also by those who do not see colours: they differ in brightness.
const COLOURS: [&str; 3] = ["#1f4e79", "#e07b00", "#8a8a8a"];

/// One line.
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    pub(super) points: Vec<(f64, f64)>,
    /// Not measured, but where it would lie.
    pub(super) is_guide: bool,
}

/// The plot. Points have to be above 0.
pub(super) fn plot(title: &str, x: &str, y: &str, series: &[Series<'_>]) -> String {
    let (xs, ys) = (range(series, |point| point.0), range(series, |point| point.1));
    let at_x = |value: f64| LEFT + (value.log10() - xs.0) / (xs.1 - xs.0) * (WIDTH - LEFT - RIGHT);
    let at_y = |value: f64| HEIGHT - BOTTOM - (value.log10() - ys.0) / (ys.1 - ys.0) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{LEFT}\" y=\"26\" font-size=\"16\">{title}</text>\n"
    );
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let mut line = |text: std::fmt::Arguments<'_>| {
        // A String takes everything.
        let _ = svg.write_fmt(text);
        svg.push('\n');
    };
    for tick in ticks(xs) {
        let at = at_x(tick);
        line(format_args!("<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#dddddd\"/>"));
        line(format_args!("<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>", bottom + 18.0, number(tick)));
    }
    for tick in ticks(ys) {
        let at = at_y(tick);
        line(format_args!("<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#dddddd\"/>"));
        line(format_args!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, at + 4.0, number(tick)));
    }
    line(format_args!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{x}</text>", (LEFT + right) / 2.0, HEIGHT - 14.0));
    line(format_args!("<text transform=\"translate(20 {:.1}) rotate(-90)\" text-anchor=\"middle\">{y}</text>", (TOP + bottom) / 2.0));
    for (Series { name, points, is_guide }, colour) in series.iter().zip(COLOURS.into_iter().cycle()) {
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{:.1} {:.1}", at_x(*x), at_y(*y))).collect();
        let dashes = if *is_guide { " stroke-dasharray=\"6 5\"" } else { "" };
        line(format_args!("<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>", path.join("L")));
        for (x, y) in points.iter().filter(|_| !is_guide) {
            line(format_args!("<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{colour}\"/>", at_x(*x), at_y(*y)));
        }
        if let Some((_, y)) = points.last() {
            line(format_args!("<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>", right + 10.0, at_y(*y) + 4.0));
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// The powers of ten between which all lies.
fn range(series: &[Series<'_>], of: impl Fn(&(f64, f64)) -> f64) -> (f64, f64) {
    let values: Vec<f64> = series.iter().flat_map(|series| series.points.iter().map(&of)).map(f64::log10).collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min).floor();
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max).ceil();
    (low, high.max(low + 1.0))
}

fn ticks((low, high): (f64, f64)) -> impl Iterator<Item = f64> {
    (low as i32..=high as i32).map(|power| 10_f64.powi(power))
}

/// With commas between the thousands.
fn number(value: f64) -> String {
    if value < 1.0 {
        return format!("{value}");
    }
    super::grouped(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_from_corner_to_corner_when_it_grows_evenly() {
        let series = [Series { name: "even", points: vec![(10.0, 1.0), (1000.0, 100.0)], is_guide: false }];
        let svg = plot("t", "x", "y", &series);
        assert!(svg.contains("M80.0 344.0L540.0 48.0"), "{svg}");
        assert!(svg.contains(">1,000</text>"), "{svg}");
    }
}
