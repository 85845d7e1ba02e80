//! Results side by side: points lost over bytes, one chart for each network, ours and those of others.

use anyhow::{Result, bail, ensure};
use plotters::prelude::*;
use serde::Deserialize;

use super::svg::{Area, LARGE, OTHERS, OURS, SMALL, failed, picture, size};

/// Pixels of one chart.
const SIZE: (u32, u32) = (560, 380);
/// Charts in a line.
const COLUMNS: usize = 2;

/// The file: networks with their points.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Results {
    network: Vec<Network>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    name: String,
    /// Parameters of the original, of four bytes each.
    parameters: f64,
    #[serde(default)]
    point: Vec<Point>,
}

/// One result: its size as bytes or as a ratio to the original.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Point {
    by: String,
    bytes: Option<f64>,
    ratio: Option<f64>,
    /// Points of accuracy lost on the test split.
    lost: f64,
}

/// Points of this are ours.
const US: &str = "gaunt";

impl Network {
    /// Where each point lies.
    fn places(&self) -> Result<Vec<(&Point, (f64, f64))>> {
        let place = |point: &'_ Point| match (point.bytes, point.ratio) {
            (Some(bytes), None) => Some((bytes, point.lost)),
            (None, Some(ratio)) => Some((4.0 * self.parameters / ratio, point.lost)),
            _ => None,
        };
        let mut places = Vec::new();
        for point in &self.point {
            let found = place(point).filter(|(bytes, lost)| bytes.is_finite() && *bytes > 0.0 && lost.is_finite());
            let Some(found) = found else {
                bail!("{}, the point by {}: give bytes or ratio, one of them, and lost", self.name, point.by);
            };
            places.push((point, found));
        }
        ensure!(!places.is_empty(), "{} has no points", self.name);
        Ok(places)
    }
}

/// Draws the results in the text of a `.toml` file.
pub fn draw(text: &str) -> Result<String> {
    let results: Results = toml::from_str(text)?;
    ensure!(!results.network.is_empty(), "there is no network");
    let columns = results.network.len().min(COLUMNS);
    let rows = results.network.len().div_ceil(columns);
    let places: Vec<_> = results.network.iter().map(Network::places).collect::<Result<_>>()?;
    picture((SIZE.0 * columns as u32, SIZE.1 * rows as u32), |area| {
        let areas = area.split_evenly((rows, columns));
        let charts = areas.iter().zip(&results.network).zip(&places);
        charts.into_iter().try_for_each(|((area, network), places)| draw_network(area, &network.name, places))
    })
}

fn draw_network(area: &Area<'_>, name: &str, places: &[(&Point, (f64, f64))]) -> Result<()> {
    let range = |values: &dyn Fn(&(f64, f64)) -> f64| {
        let values = places.iter().map(|(_, place)| values(place));
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
    };
    let ((smallest, largest), (best, worst)) = (range(&|place| place.0), range(&|place| place.1));
    // Labels stand to the right of their points.
    let (left, right) = (smallest / 1.3, largest * (largest / smallest).max(2.0).sqrt() * 1.3);
    let sizes: LogCoord<f64> = (left..right).log_scale().into();
    let mut chart = ChartBuilder::on(area)
        .caption(name, ("sans-serif", LARGE))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(sizes.with_key_points(ticks(left, right)), worst.max(1.0) + 0.3..best.min(0.0) - 0.3)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("bytes of the file")
        .y_desc("points lost")
        .x_label_formatter(&size)
        .y_label_formatter(&tenths)
        .label_style(("sans-serif", SMALL))
        .draw()
        .map_err(failed)?;
    let marks = places.iter().map(|(point, place)| {
        let colour = if point.by.starts_with(US) { OURS } else { OTHERS };
        let label = Text::new(point.by.clone(), (8, -6), ("sans-serif", SMALL));
        EmptyElement::at(*place) + Circle::new((0, 0), 4, colour.filled()) + label
    });
    chart.draw_series(marks).map_err(failed)?;
    Ok(())
}

/// To the nearest tenth; adding zero takes the sign off a zero.
fn tenths(points: &f64) -> String {
    format!("{:.1}", (points * 10.0).round() / 10.0 + 0.0)
}

/// Round numbers between two: once, twice and five times the powers of ten, or more of them where those are too few to read by.
fn ticks(left: f64, right: f64) -> Vec<f64> {
    const FEW: usize = 3;
    let powers = (left.log10().floor() as i32)..=(right.log10().floor() as i32);
    let between = |digits: &[f64]| -> Vec<f64> {
        let all = powers.clone().flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)));
        all.filter(|tick| (left..=right).contains(tick)).collect()
    };
    let coarse = between(&[1.0, 2.0, 5.0]);
    if coarse.len() < FEW { between(&[1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0]) } else { coarse }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[[network]]\nname = \"VGG\"\nparameters = 1000\n\
        [[network.point]]\nby = \"gaunt\"\nbytes = 100\nlost = 0.5\n\
        [[network.point]]\nby = \"others\"\nratio = 20\nlost = 1\n";

    #[test]
    fn ours_and_others_are_drawn() {
        let drawn = draw(GOOD).unwrap();
        for part in ["<svg", "VGG", "gaunt", "others", "points lost"] {
            assert!(drawn.contains(part), "{part}");
        }
    }

    #[test]
    fn a_tick_at_zero_has_no_sign() {
        assert_eq!([-1e-17, 0.0, -0.2, 1.4000000001].map(|points| tenths(&points)), ["0.0", "0.0", "-0.2", "1.4"]);
    }

    #[test]
    fn narrow_ranges_have_closer_ticks() {
        assert_eq!(ticks(8.0, 60.0), [10.0, 20.0, 50.0]);
        assert_eq!(ticks(137e3, 381e3), [150e3, 200e3, 250e3, 300e3]);
        assert!((2..40).all(|left| ticks(f64::from(left), 2.4 * f64::from(left)).len() >= 3));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (from, to, message) in [
            ("bytes = 100\n", "", "the point by gaunt"),
            ("ratio = 20", "ratio = 0", "the point by others"),
            ("lost = 1", "loss = 1", "loss"),
            ("parameters = 1000\n", "", "parameters"),
        ] {
            let error = format!("{:#}", draw(&GOOD.replace(from, to)).unwrap_err());
            assert!(error.contains(message), "{error}");
        }
        assert!(draw("network = []").unwrap_err().to_string().contains("no network"));
    }
}
