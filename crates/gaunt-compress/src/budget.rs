//! What the user allows: bytes, a ratio, a loss of accuracy.

use std::{fmt, str::FromStr};

/// Goals for one compression; at least one is set, and all that are set must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Budget {
    /// Largest file, in bytes.
    pub size: Option<u64>,
    /// Smallest file ratio: 4 bytes for each parameter of the original over the bytes of the file.
    pub ratio: Option<f64>,
    /// Largest loss of top-1 accuracy on the validation split, in percentage points.
    pub max_drop: Option<f64>,
}

impl Budget {
    /// Bytes that the file may have, given the original's parameter count; none if only accuracy is limited.
    pub fn bytes(&self, parameters: usize) -> Option<f64> {
        let by_ratio = self.ratio.map(|ratio| 4.0 * parameters as f64 / ratio);
        match (self.size.map(|size| size as f64), by_ratio) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Whether a file of `bytes` that lost `drop` points keeps every goal.
    pub fn holds(&self, parameters: usize, bytes: usize, drop: f64) -> bool {
        self.bytes(parameters).is_none_or(|limit| bytes as f64 <= limit) && self.holds_accuracy(drop)
    }

    /// Whether a loss of `drop` points is allowed.
    pub fn holds_accuracy(&self, drop: f64) -> bool {
        // Accuracies are ratios of counts: leave room for their rounding, not for another image.
        self.max_drop.is_none_or(|limit| drop <= limit + 1e-9)
    }
}

/// A number of bytes as people write it: `200KiB`, `0.5 MB`, `91000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

/// A size that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no size; write a positive number with an optional unit B, kB, KiB, MB, MiB, such as 200KiB")]
pub struct ByteSizeError(String);

const UNITS: [(&str, f64); 7] =
    [("", 1.0), ("b", 1.0), ("kb", 1e3), ("kib", 1024.0), ("mb", 1e6), ("mib", 1048576.0), ("k", 1024.0)];

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let error = || ByteSizeError(text.to_string());
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let number: f64 = number.parse().map_err(|_| error())?;
        let unit = unit.trim().to_ascii_lowercase();
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
        let bytes = number * scale;
        if !(1.0..1e15).contains(&bytes) {
            return Err(error());
        }
        Ok(Self(bytes as u64))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        match self.0 {
            0..1024 => write!(f, "{} B", self.0),
            1024..1048576 => write!(f, "{:.1} KiB", bytes / 1024.0),
            _ => write!(f, "{:.2} MiB", bytes / 1048576.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("200KiB", 204_800), ("0.5 MB", 500_000), ("91000", 91_000), ("1k", 1024), ("2mib", 2_097_152), ("7 B", 7)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "KiB", "-3", "0", "1.2.3", "5 apples", "1e99", "inf"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_strictest_of_size_and_ratio_counts() {
        let budget = Budget { size: Some(1000), ratio: Some(8.0), max_drop: Some(0.5) };
        assert_eq!(budget.bytes(1000), Some(500.0));
        assert!(budget.holds(1000, 500, 0.5));
        assert!(!budget.holds(1000, 501, 0.5));
        assert!(!budget.holds(1000, 500, 0.51));
        assert_eq!(Budget { max_drop: Some(1.0), ..Budget::default() }.bytes(1000), None);
    }
}
