//! Wishes for single layers, from a small TOML file.
//!
//! ```toml
//! ["conv1"]
//! dense = true     # no pruning, at least 8 bits
//!
//! ["layer3.*"]
//! min-bits = 3     # codes of this layer use at least this bit-width
//! ```
//!
//! Each table names a layer by its weight's name, with or without `.weight`, or by a prefix that ends in `*`; the last match wins.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What is asked for one layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LayerOverride {
    /// Keep the layer dense: no dead zone, no pull towards zero, at least 8 bits.
    #[serde(default)]
    pub dense: bool,
    /// Least bit-width that the layer's step must allow its largest weight.
    #[serde(default)]
    pub min_bits: Option<u32>,
}

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides(Vec<(String, LayerOverride)>);

/// A file that cannot be obeyed.
#[derive(Debug, thiserror::Error)]
pub enum OverridesError {
    /// Not TOML, or a key that is not known.
    #[error("layer overrides: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A value out of range.
    #[error("layer overrides: `{layer}` asks for min-bits = {found}; allowed are 2 to {MAX_BITS}")]
    Bits {
        /// The table.
        layer: String,
        /// Its value.
        found: u32,
    },
    /// A table that names no layer of the network.
    #[error("layer overrides: no layer is called `{layer}`; the network's are {known}")]
    UnknownLayer {
        /// The table.
        layer: String,
        /// What there is.
        known: String,
    },
}

/// Codes beyond this width gain nothing over floats.
const MAX_BITS: u32 = 16;
/// What `dense` means in bits.
const DENSE_BITS: u32 = 8;

impl Overrides {
    /// Reads the text of a TOML file.
    ///
    /// # Errors
    /// If it is not TOML, has unknown keys, or a bit-width out of range.
    pub fn parse(text: &str) -> Result<Self, OverridesError> {
        let tables: BTreeMap<String, LayerOverride> = toml::from_str(text)?;
        for (layer, wish) in &tables {
            if let Some(found) = wish.min_bits.filter(|bits| !(2..=MAX_BITS).contains(bits)) {
                return Err(OverridesError::Bits { layer: layer.clone(), found });
            }
        }
        Ok(Self(tables.into_iter().collect()))
    }

    /// The wish for the layer whose weight has this name.
    pub fn of(&self, weight: &str) -> LayerOverride {
        let found = self.0.iter().rev().find(|(pattern, _)| matches(pattern, weight));
        found.map(|(_, wish)| *wish).unwrap_or_default()
    }

    /// Checks that every table names a layer.
    ///
    /// # Errors
    /// If one does not.
    pub fn check<'a>(&self, weights: impl Iterator<Item = &'a str> + Clone) -> Result<(), OverridesError> {
        for (pattern, _) in &self.0 {
            if !weights.clone().any(|weight| matches(pattern, weight)) {
                let known = weights.map(layer_name).collect::<Vec<_>>().join(", ");
                return Err(OverridesError::UnknownLayer { layer: pattern.clone(), known });
            }
        }
        Ok(())
    }
}

impl LayerOverride {
    /// Least bit-width, if one is asked for.
    pub fn floor_bits(self) -> Option<u32> {
        let dense = self.dense.then_some(DENSE_BITS);
        self.min_bits.max(dense)
    }
}

/// A layer is called by its weight's name without the suffix.
pub(crate) fn layer_name(weight: &str) -> &str {
    weight.strip_suffix(".weight").unwrap_or(weight)
}

fn matches(pattern: &str, weight: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => weight.starts_with(prefix),
        None => weight == pattern || layer_name(weight) == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_matched_by_name_and_prefix() {
        let overrides = Overrides::parse("[conv1]\ndense = true\n[\"layer3.*\"]\nmin-bits = 3\n").unwrap();
        assert_eq!(overrides.of("conv1.weight").floor_bits(), Some(8));
        assert_eq!(overrides.of("layer3.0.conv1.weight").floor_bits(), Some(3));
        assert_eq!(overrides.of("layer2.0.conv1.weight"), LayerOverride::default());
        overrides.check(["conv1.weight", "layer3.0.conv1.weight"].into_iter()).unwrap();
    }

    #[test]
    fn what_cannot_be_obeyed_is_said() {
        assert!(Overrides::parse("[conv1]\nbits = 3").unwrap_err().to_string().contains("unknown field `bits`"));
        assert!(Overrides::parse("[conv1]\nmin-bits = 40").unwrap_err().to_string().contains("allowed are 2 to 16"));
        let overrides = Overrides::parse("[conv9]\ndense = true").unwrap();
        let error = overrides.check(["conv1.weight"].into_iter()).unwrap_err().to_string();
        assert!(error.contains("no layer is called `conv9`") && error.contains("conv1"), "{error}");
    }
}
