//! What all plots share: a canvas, colours, axes in powers of ten.

use anyhow::{Result, anyhow};
use plotters::{coord::Shift, prelude::*};

/// A drawing in progress.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Ours, other people's, and a third for contrast; told apart by the colour-blind as well (Okabe and Ito).
pub const OURS: RGBColor = RGBColor(0, 114, 178);
pub const OTHERS: RGBColor = RGBColor(213, 94, 0);
pub const THIRD: RGBColor = RGBColor(0, 158, 115);
/// Of labels and headings, in pixels.
pub const SMALL: i32 = 13;
pub const LARGE: i32 = 17;

/// The text of a picture of this size that `draw` draws.
pub fn picture(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        draw(&area)?;
        area.present().map_err(failed)?;
    }
    Ok(text)
}

/// Errors of drawing, whose types depend on the canvas.
pub fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the plot cannot be drawn: {error}")
}

/// Bytes as people write them on an axis.
pub fn size(bytes: &f64) -> String {
    match bytes {
        b if *b >= 1e6 => format!("{} MB", b / 1e6),
        b if *b >= 1e3 => format!("{} kB", b / 1e3),
        b => format!("{b:.0} B"),
    }
}

/// Text that is safe between tags.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_easily() {
        for (bytes, text) in [(999.0, "999 B"), (53_000.0, "53 kB"), (1_500_000.0, "1.5 MB")] {
            assert_eq!(size(&bytes), text);
        }
    }

    #[test]
    fn names_cannot_open_a_tag() {
        assert_eq!(escape("<b>&"), "&lt;b&gt;&amp;");
    }
}
