//! The operators, one family per file: what it is, its work, its tests.

pub(crate) mod binary;
pub(crate) mod choose;
pub(crate) mod concat;
pub(crate) mod conv;
pub(crate) mod gather;
pub(crate) mod layout;
pub(crate) mod linear;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod pad;
pub(crate) mod pool;
pub(crate) mod reduce;
pub(crate) mod resize;
pub(crate) mod softmax;
pub(crate) mod taps;
pub(crate) mod unary;
