//! What flows along the edges of a graph at run time.

use gaunt_kernels::Maps;

use crate::plain::{self, Plain};

/// A value: maps in the layout of the kernels, or a plain tensor. It is converted when an operator wants the other.
#[derive(Clone, Debug)]
pub(crate) enum Flow {
    Plain(Plain),
    Maps(Maps),
}

impl Flow {
    /// As a plain tensor.
    pub fn plain(self) -> Plain {
        match self {
            Flow::Plain(tensor) => tensor,
            Flow::Maps(maps) => maps.into_tensor(),
        }
    }

    /// As maps; the value must have the shape `[N, C, H, W]`.
    pub fn maps(self) -> Maps {
        match self {
            Flow::Plain(tensor) => Maps::from_tensor(tensor),
            Flow::Maps(maps) => maps,
        }
    }

    /// Its shape.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Flow::Plain(tensor) => plain::shape(tensor),
            Flow::Maps(maps) => maps.shape().to_vec(),
        }
    }
}
