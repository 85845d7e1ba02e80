//! Tables that line up.

use comfy_table::{CellAlignment, Table, presets};

/// An empty table with a heading; the first column is text, the others are numbers.
pub fn table(heading: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(heading.iter().map(|name| name.to_string()));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
