//! `gaunt report`: plots of a file, of a run, or of results side by side.
//!
//! An `.svg` holds the plots alone, an `.html` the table as well. What is plotted follows from the input: a `.gaunt` file's layers, the
//! course of a run directory, the results listed in a `.toml` file.

mod course;
mod layers;
mod results;
mod svg;

use std::{ffi::OsStr, path::Path};

use anyhow::{Context, Result, bail};

use super::{args::Report, inspect, model::MAX_BYTES, output};

/// What is told of one input.
struct Page {
    title: String,
    /// A picture in SVG.
    picture: String,
    /// Text that belongs below, in columns.
    text: String,
}

/// Draws and writes.
pub fn report(args: &Report) -> Result<()> {
    let html = match extension(&args.out) {
        Some("svg") => false,
        Some("html") => true,
        _ => bail!("{}: the ending must be .svg or .html", args.out.display()),
    };
    output::check(&args.out, args.force)?;
    let page = page(&args.input).with_context(|| format!("{}", args.input.display()))?;
    let bytes = if html { in_html(&page) } else { page.picture };
    output::write(&args.out, bytes.as_bytes(), args.force)?;
    eprintln!("{}: written", args.out.display());
    Ok(())
}

fn page(input: &Path) -> Result<Page> {
    let title = input.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if input.is_dir() {
        let metrics = input.join("metrics.jsonl");
        let text = String::from_utf8(output::read(&metrics, MAX_BYTES)?).context("metrics.jsonl is no text")?;
        return Ok(Page { picture: course::draw(&title, &text)?, title, text: String::new() });
    }
    match extension(input) {
        Some("gaunt") => {
            let report = inspect::report(&output::read(input, MAX_BYTES)?)?;
            Ok(Page { picture: layers::draw(&title, &report)?, title, text: inspect::text(&report) })
        }
        Some("toml") => {
            let text = String::from_utf8(output::read(input, MAX_BYTES)?).context("it is no text")?;
            Ok(Page { picture: results::draw(&text)?, title, text: String::new() })
        }
        _ => bail!("nothing to report on: give a .gaunt file, a run directory or a .toml file of results"),
    }
}

fn extension(path: &Path) -> Option<&str> {
    path.extension().and_then(OsStr::to_str)
}

fn in_html(page: &Page) -> String {
    let Page { title, picture, text } = page;
    let (title, text) = (svg::escape(title), svg::escape(text));
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\n\
         <body style=\"font-family: sans-serif; margin: 2em\">\n<h1>{title}</h1>\n{picture}\n<pre>{text}</pre>\n</body></html>\n"
    )
}
