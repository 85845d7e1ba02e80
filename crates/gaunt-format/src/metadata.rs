//! What a file says beside its graph: how images become input, what classes are called, where it comes from.

use alloc::{format, string::String, vec::Vec};

use crate::{
    FormatError,
    wire::{Reader, Writer},
};

/// Everything beside the graph. All of it is optional; readers skip entries that they do not know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// Mean of each channel of the input, on values scaled to 0..1; empty if not known.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel.
    pub std: Vec<f32>,
    /// Names of the classes, in the order of the logits; empty if not known.
    pub classes: Vec<String>,
    /// Where the file comes from.
    pub provenance: Provenance,
    /// What the network gives for a known input.
    pub golden: Option<Golden>,
}

/// Where a file comes from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provenance {
    /// Name and version of the program that wrote the file.
    pub tool: String,
    /// Method, budget and data, for people.
    pub recipe: String,
    /// Seed of the run.
    pub seed: u64,
    /// Parameters of the original network; 0 if not known.
    pub parameters: u64,
    /// Those of them that are weights of convolutions and linear layers.
    pub weights: u64,
    /// Top-1 of the original and of this network on the same images, in per cent.
    pub accuracy: Option<[f32; 2]>,
}

/// A known input and its outputs. The input is not stored but generated, see [`Golden::input`].
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    /// Which input.
    pub seed: u32,
    /// All outputs for a batch of one, one after the other.
    pub outputs: Vec<f32>,
}

impl Golden {
    /// The input of `len` numbers in `-2..2`, from a generator that any language can repeat: `state` starts at the
    /// seed; for each number it becomes `state * 1664525 + 1013904223` modulo 2^32, and the number is its upper 16
    /// bits over 16384, minus 2.
    pub fn input(seed: u32, len: usize) -> Vec<f32> {
        let mut state = seed;
        let number = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as f32 / 16384.0 - 2.0
        };
        (0..len).map(number).collect()
    }
}

const NORMALIZATION: u64 = 1;
const CLASSES: u64 = 2;
const TOOL: u64 = 3;
const RECIPE: u64 = 4;
const SEED: u64 = 5;
const PARAMETERS: u64 = 6;
const ACCURACY: u64 = 7;
const GOLDEN: u64 = 8;
const WEIGHTS: u64 = 9;

impl Metadata {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Writer::default();
        let mut entry = |tag: u64, wanted: bool, fill: &dyn Fn(&mut Writer)| {
            if wanted {
                let mut body = Writer::default();
                fill(&mut body);
                out.number(tag);
                out.bytes(&body.0);
            }
        };
        let Provenance { tool, recipe, seed, parameters, weights, accuracy } = &self.provenance;
        entry(NORMALIZATION, !self.mean.is_empty(), &|body| {
            self.mean.iter().chain(&self.std).for_each(|&float| body.float(float));
        });
        entry(CLASSES, !self.classes.is_empty(), &|body| {
            self.classes.iter().for_each(|class| body.bytes(class.as_bytes()));
        });
        entry(TOOL, !tool.is_empty(), &|body| body.0.extend(tool.as_bytes()));
        entry(RECIPE, !recipe.is_empty(), &|body| body.0.extend(recipe.as_bytes()));
        entry(SEED, *seed != 0, &|body| body.number(*seed));
        entry(PARAMETERS, *parameters != 0, &|body| body.number(*parameters));
        entry(WEIGHTS, *weights != 0, &|body| body.number(*weights));
        entry(ACCURACY, accuracy.is_some(), &|body| accuracy.iter().flatten().for_each(|&float| body.float(float)));
        entry(GOLDEN, self.golden.is_some(), &|body| {
            if let Some(golden) = &self.golden {
                body.number(u64::from(golden.seed));
                golden.outputs.iter().for_each(|&float| body.float(float));
            }
        });
        out.0
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut input = Reader::new(bytes, PLACE);
        let mut metadata = Self::default();
        while input.left() > 0 {
            let tag = input.number()?;
            let mut body = Reader::new(input.bytes()?, PLACE);
            match tag {
                NORMALIZATION => {
                    let floats = floats(&mut body)?;
                    let (mean, std) = floats.split_at(floats.len() / 2);
                    if mean.len() != std.len()
                        || !std.iter().all(|&std| std > 0.0)
                        || !floats.iter().all(|x| x.is_finite())
                    {
                        return Err(FormatError::invalid(
                            PLACE,
                            "the normalisation is not a mean and a positive deviation for each channel",
                        ));
                    }
                    (metadata.mean, metadata.std) = (mean.into(), std.into());
                }
                CLASSES => {
                    while body.left() > 0 {
                        metadata.classes.push(body.string()?);
                    }
                }
                TOOL => metadata.provenance.tool = text(&mut body)?,
                RECIPE => metadata.provenance.recipe = text(&mut body)?,
                SEED => metadata.provenance.seed = body.number()?,
                PARAMETERS => metadata.provenance.parameters = body.number()?,
                WEIGHTS => metadata.provenance.weights = body.number()?,
                ACCURACY => metadata.provenance.accuracy = Some([body.float()?, body.float()?]),
                GOLDEN => metadata.golden = Some(golden(&mut body)?),
                // An entry of a later version: it may be skipped.
                _ => continue,
            }
            body.end()?;
        }
        Ok(metadata)
    }
}

const PLACE: &str = "the metadata";

fn floats(body: &mut Reader) -> Result<Vec<f32>, FormatError> {
    if !body.left().is_multiple_of(4) {
        return Err(FormatError::invalid(PLACE, format!("{} bytes are no whole number of floats", body.left())));
    }
    (0..body.left() / 4).map(|_| body.float()).collect()
}

fn golden(body: &mut Reader) -> Result<Golden, FormatError> {
    let seed = u32::try_from(body.number()?)
        .map_err(|_| FormatError::invalid(PLACE, "the golden seed has more than 32 bits"))?;
    Ok(Golden { seed, outputs: floats(body)? })
}

fn text(body: &mut Reader) -> Result<String, FormatError> {
    let bytes = body.take(body.left())?;
    core::str::from_utf8(bytes).map(Into::into).map_err(|_| FormatError::invalid(PLACE, "a text is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn full() -> Metadata {
        Metadata {
            mean: vec![0.5, 0.25],
            std: vec![1.0, 2.0],
            classes: vec!["cat".into(), String::new(), "Hund".into()],
            provenance: Provenance {
                tool: "gaunt 0.1.0".into(),
                recipe: "joint".into(),
                seed: 7,
                parameters: 273_850,
                weights: 270_896,
                accuracy: Some([91.73, 91.0]),
            },
            golden: Some(Golden { seed: 3, outputs: vec![1.5, f32::MIN_POSITIVE] }),
        }
    }

    #[test]
    fn metadata_comes_back() {
        for metadata in [full(), Metadata::default()] {
            assert_eq!(Metadata::read(&metadata.write()), Ok(metadata));
        }
    }

    #[test]
    fn unknown_entries_are_skipped_and_broken_ones_refused() {
        let mut out = Writer::default();
        out.number(999);
        out.bytes(b"from the future");
        out.0.extend(full().write());
        assert_eq!(Metadata::read(&out.0), Ok(full()));
        for broken in
            [&[1, 4, 0, 0, 0, 0][..], &[8, 9, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0, 0, 0, 0], &[2, 1, 9], &[5, 2, 1, 1]]
        {
            assert!(Metadata::read(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn the_golden_input_is_pinned() {
        assert_eq!(Golden::input(1, 3), [-1.054_199_2, -0.522_949_2, 0.016_967_773]);
    }
}
