//! Sparsity, bit-width and bytes of the layers of a file, as bars.

use anyhow::{Result, bail};
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{
    super::inspect::{LayerReport, Report},
    svg::{Area, LARGE, OTHERS, OURS, SMALL, THIRD, failed, picture},
};

const WIDTH: u32 = 900;
/// Pixels of one layer's line, of the heading and of an axis.
const LINE: u32 = 20;
const HEADING: u32 = 90;
/// Pixels for the names of layers.
const NAMES: i32 = 170;

/// What a column of bars shows.
struct Column {
    heading: &'static str,
    colour: RGBColor,
    largest: f64,
    value: fn(&LayerReport) -> f64,
}

/// Draws the layers of a file.
pub fn draw(title: &str, report: &Report) -> Result<String> {
    if report.layers.is_empty() {
        bail!("the file has no layers");
    }
    let height = HEADING + LINE * report.layers.len() as u32;
    let heading = format!("{title}: {} bytes, {:.1}x smaller", report.file_bytes, report.file_ratio);
    let most = |value: fn(&LayerReport) -> f64| report.layers.iter().map(value).fold(1.0, f64::max);
    let columns: [Column; 3] = [
        Column { heading: "zero weights, %", colour: OURS, largest: 100.0, value: |layer| 100.0 * layer.sparsity },
        Column {
            heading: "bits",
            colour: OTHERS,
            largest: most(|layer| f64::from(layer.bits)),
            value: |layer| f64::from(layer.bits),
        },
        Column {
            heading: "bytes",
            colour: THIRD,
            largest: most(|layer| layer.payload_bytes as f64),
            value: |layer| layer.payload_bytes as f64,
        },
    ];
    picture((WIDTH, height), |area| {
        let area = area.titled(&heading, ("sans-serif", LARGE)).map_err(failed)?;
        let (first, rest) = area.split_horizontally(NAMES + (WIDTH as i32 - NAMES) / 3);
        let (second, third) = rest.split_horizontally((WIDTH as i32 - NAMES) / 3);
        draw_column(&first, &report.layers, &columns[0], NAMES)?;
        draw_column(&second, &report.layers, &columns[1], 10)?;
        draw_column(&third, &report.layers, &columns[2], 10)
    })
}

/// Draws one column, with the layers' names if there is room for them on the left.
fn draw_column(area: &Area<'_>, layers: &[LayerReport], column: &Column, left: i32) -> Result<()> {
    let count = layers.len();
    let mut chart = ChartBuilder::on(area)
        .margin_right(15)
        .x_label_area_size(40)
        .y_label_area_size(left)
        .build_cartesian_2d(0.0..column.largest * 1.02, 0.0..count as f64)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_labels(5)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .x_desc(column.heading)
        .y_labels(0)
        .label_style(("sans-serif", SMALL))
        .axis_desc_style(("sans-serif", SMALL))
        .draw()
        .map_err(failed)?;
    // The first layer is drawn at the top.
    let top = |place: usize| (count - place) as f64;
    let bars = layers.iter().enumerate().map(|(place, layer)| {
        Rectangle::new([(0.0, top(place) - 0.85), ((column.value)(layer), top(place) - 0.15)], column.colour.filled())
    });
    chart.draw_series(bars).map_err(failed)?;
    if left == NAMES {
        let (x0, y0) = area.get_base_pixel();
        let style = ("sans-serif", SMALL).into_text_style(area).pos(Pos::new(HPos::Right, VPos::Center));
        for (place, layer) in layers.iter().enumerate() {
            let (x, y) = chart.backend_coord(&(0.0, top(place) - 0.5));
            area.draw_text(&layer.name, &style, (x - x0 - 6, y - y0)).map_err(failed)?;
        }
    }
    Ok(())
}
