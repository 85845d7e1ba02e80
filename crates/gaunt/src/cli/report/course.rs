//! The course of a run: accuracy on the validation split, and the estimated size of the file, over the epochs.

use anyhow::{Context, Result, bail};
use plotters::prelude::*;
use serde::Deserialize;

use super::svg::{LARGE, OTHERS, OURS, SMALL, failed, picture, size};

const SIZE: (u32, u32) = (800, 420);

/// A line of `metrics.jsonl`; of a training there are no bytes.
#[derive(Debug, Deserialize)]
struct Line {
    epoch: f64,
    validation: Option<f64>,
    bytes: Option<f64>,
}

/// Draws a run from the text of its `metrics.jsonl`.
pub fn draw(title: &str, metrics: &str) -> Result<String> {
    let lines = metrics.lines().enumerate().map(|(number, line)| {
        serde_json::from_str(line).with_context(|| format!("line {} of metrics.jsonl", number + 1))
    });
    let lines: Vec<Line> = lines.collect::<Result<_>>()?;
    let points = |value: fn(&Line) -> Option<f64>| -> Vec<(f64, f64)> {
        lines.iter().filter_map(|line| Some((line.epoch, value(line)?))).collect()
    };
    let (accuracies, sizes) = (points(|line| line.validation), points(|line| line.bytes.filter(|&bytes| bytes > 0.0)));
    let Some(last) = lines.last().map(|line| line.epoch).filter(|_| !accuracies.is_empty()) else {
        bail!("the run has no evaluations yet");
    };
    picture(SIZE, |area| {
        let worst = accuracies.iter().map(|&(_, y)| y).fold(f64::MAX, f64::min);
        let largest = sizes.iter().map(|&(_, y)| y).fold(10.0, f64::max);
        let mut chart = ChartBuilder::on(area)
            .caption(title, ("sans-serif", LARGE))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .right_y_label_area_size(if sizes.is_empty() { 10 } else { 70 })
            .build_cartesian_2d(0.0..last, (worst - 1.0).max(0.0)..100.0)
            .map_err(failed)?
            .set_secondary_coord(0.0..last, 0.0..largest * 1.1);
        chart
            .configure_mesh()
            .x_desc("epoch")
            .y_desc("validation, %")
            .label_style(("sans-serif", SMALL))
            .light_line_style(WHITE)
            .draw()
            .map_err(failed)?;
        chart
            .draw_series(LineSeries::new(accuracies, OURS.stroke_width(2)))
            .map_err(failed)?
            .label("accuracy")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], OURS.stroke_width(2)));
        if !sizes.is_empty() {
            let axis = ("sans-serif", SMALL);
            chart
                .configure_secondary_axes()
                .y_desc("bytes")
                .label_style(axis)
                .y_label_formatter(&size)
                .draw()
                .map_err(failed)?;
            chart
                .draw_secondary_series(LineSeries::new(sizes, OTHERS.stroke_width(2)).point_size(2))
                .map_err(failed)?
                .label("bytes of the file")
                .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], OTHERS.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerLeft)
            .background_style(WHITE)
            .border_style(BLACK)
            .draw()
            .map_err(failed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_drawn_and_a_broken_line_is_named() {
        let lines = "{\"epoch\": 0.5, \"validation\": 90.0, \"bytes\": 5000}\n{\"epoch\": 1, \"validation\": 91.0, \"bytes\": 3000}";
        let drawn = draw("run", lines).unwrap();
        assert!(drawn.starts_with("<svg") && drawn.contains("bytes of the file"));
        assert!(draw("training", "{\"epoch\": 1, \"validation\": 91.0}").unwrap().starts_with("<svg"));
        assert!(draw("run", "").unwrap_err().to_string().contains("no evaluations"));
        assert!(format!("{:#}", draw("run", "{\"epoch\": 1}\nx").unwrap_err()).contains("line 2"));
    }
}
