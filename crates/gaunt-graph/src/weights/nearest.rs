//! The name that somebody probably meant.

use std::vec::Vec;

/// The candidate with the fewest single-character edits to `name`; the first of several.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates.min_by_key(|candidate| edits(name, candidate))
}

/// Bytes of a name that are compared; a longer one is no typing error.
const COMPARED: usize = 256;

/// Levenshtein distance, in bytes.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len().min(COMPARED)).collect();
    for (i, x) in a.bytes().take(COMPARED).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (slot, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let above = *slot;
            left = (left + 1).min(above + 1).min(diagonal + usize::from(x != y));
            *slot = left;
            diagonal = above;
        }
    }
    // The first slot, for an empty `b`, is not kept up to date.
    if b.is_empty() { a.len() } else { row.pop().unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        let cases =
            [("", "", 0), ("abc", "", 3), ("", "abc", 3), ("kitten", "sitting", 3), ("fc.weight", "fc1.weight", 1)];
        for (a, b, distance) in cases {
            assert_eq!(edits(a, b), distance, "{a} to {b}");
        }
    }

    #[test]
    fn the_nearest_wins() {
        let names = ["conv1.weight", "linear.bias", "linear.weight"];
        assert_eq!(nearest("linea.weight", names.into_iter()), Some("linear.weight"));
        assert_eq!(nearest("x", core::iter::empty()), None);
    }
}
