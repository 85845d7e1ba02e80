//! How each operator is executed, one file per family.

pub(crate) mod elementwise;
pub(crate) mod image;
pub(crate) mod layout;
pub(crate) mod product;
pub(crate) mod reduction;
pub(crate) mod resize;
