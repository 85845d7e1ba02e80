//! Parameters: shape and data, as floats or as integer codes.

use alloc::{vec, vec::Vec};

/// A parameter of the network, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

/// Elements of a [`Tensor`].
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Plain numbers.
    Floats(Vec<f32>),
    /// Integer codes; element `i` is `codes[i] as f32 * scales[channel of i]`.
    ///
    /// `scales` has one entry for the whole tensor, or one for each index of axis 0 (the output channel).
    Codes {
        /// The codes, row-major. Zero is a pruned weight.
        codes: Vec<i32>,
        /// Positive scales: one, or one per output channel.
        scales: Vec<f32>,
    },
}

/// Why a tensor could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// Shape and element count disagree.
    #[error("a tensor of shape {shape:?} has {expected} elements, but {found} were given")]
    Length {
        /// The shape.
        shape: Vec<usize>,
        /// Product of the shape.
        expected: usize,
        /// Elements given.
        found: usize,
    },
    /// The product of the shape exceeds the address space.
    #[error("a tensor of shape {0:?} is too large")]
    Overflow(Vec<usize>),
    /// Neither one scale nor one per output channel.
    #[error(
        "a tensor of shape {shape:?} takes 1 scale or one for each index of its first axis, but {found} were given"
    )]
    Scales {
        /// The shape.
        shape: Vec<usize>,
        /// Scales given.
        found: usize,
    },
}

impl Tensor {
    /// A tensor of floats.
    ///
    /// # Errors
    /// If `floats` does not have as many elements as `shape` says.
    pub fn new(shape: Vec<usize>, floats: Vec<f32>) -> Result<Self, TensorError> {
        check_length(&shape, floats.len())?;
        Ok(Self { shape, data: Data::Floats(floats) })
    }

    /// A tensor of codes with one scale, or one for each index of the first axis.
    ///
    /// # Errors
    /// If the counts of codes or scales do not fit the shape.
    pub fn from_codes(shape: Vec<usize>, codes: Vec<i32>, scales: Vec<f32>) -> Result<Self, TensorError> {
        check_length(&shape, codes.len())?;
        if scales.len() != 1 && shape.first() != Some(&scales.len()) {
            return Err(TensorError::Scales { shape, found: scales.len() });
        }
        Ok(Self { shape, data: Data::Codes { codes, scales } })
    }

    /// A tensor filled with one number.
    ///
    /// # Panics
    /// If the product of the shape exceeds the address space.
    pub fn full(shape: Vec<usize>, value: f32) -> Self {
        let len = shape.iter().product();
        Self { shape, data: Data::Floats(vec![value; len]) }
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::Floats(floats) => floats.len(),
            Data::Codes { codes, .. } => codes.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as floats; codes are multiplied by their scale, in `f32`.
    pub fn to_floats(&self) -> Vec<f32> {
        match &self.data {
            Data::Floats(floats) => floats.clone(),
            Data::Codes { codes, scales } => {
                let per_scale = (codes.len() / scales.len().max(1)).max(1);
                codes.chunks(per_scale).zip(scales).flat_map(|(c, &s)| c.iter().map(move |&q| q as f32 * s)).collect()
            }
        }
    }

    /// The same numbers as floats.
    #[must_use]
    pub fn decoded(&self) -> Self {
        Self { shape: self.shape.clone(), data: Data::Floats(self.to_floats()) }
    }

    /// The elements at the given indices of one axis.
    ///
    /// # Panics
    /// If there is no such axis or index.
    pub fn keep(&self, axis: usize, indices: &[usize]) -> Self {
        let inner: usize = self.shape[axis + 1..].iter().product();
        let size = self.shape[axis];
        let outer: usize = self.shape[..axis].iter().product();
        let picked = (0..outer).flat_map(|o| indices.iter().map(move |i| (o * size + i) * inner));
        let mut shape = self.shape.clone();
        shape[axis] = indices.len();
        let data = match &self.data {
            Data::Floats(floats) => {
                Data::Floats(picked.flat_map(|at| floats[at..at + inner].iter().copied()).collect())
            }
            Data::Codes { codes, scales } => Data::Codes {
                codes: picked.flat_map(|at| codes[at..at + inner].iter().copied()).collect(),
                scales: if axis == 0 && scales.len() > 1 {
                    indices.iter().map(|&i| scales[i]).collect()
                } else {
                    scales.clone()
                },
            },
        };
        Self { shape, data }
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// If the element counts differ, or per-channel scales no longer fit the first axis.
    pub fn reshape(self, shape: Vec<usize>) -> Result<Self, TensorError> {
        match self.data {
            Data::Floats(floats) => Self::new(shape, floats),
            Data::Codes { codes, scales } => Self::from_codes(shape, codes, scales),
        }
    }
}

fn check_length(shape: &[usize], found: usize) -> Result<(), TensorError> {
    let product = shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    let expected = product.ok_or_else(|| TensorError::Overflow(shape.to_vec()))?;
    if expected != found {
        return Err(TensorError::Length { shape: shape.to_vec(), expected, found });
    }
    Ok(())
}
