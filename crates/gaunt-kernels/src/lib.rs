//! Training operators that are fast on a CPU, as an extension of burn.
//!
//! [`Maps`] are feature maps in the layout that their device likes best. On burn's CPU device that is *blocked*: `[B, C, H, W,
//! 16]`, sixteen images side by side in a vector. A pixel of a channel is then one vector for any number of
//! channels, and convolution, batch norm, activation and sums are vertical operations without tails or shuffles.
//! On other devices maps are plain and the operators are made of burn's own, so that the same network trains everywhere.
//!
//! Operators are differentiable by burn's autodiff, and fused where memory traffic counts: batch norm and residual sums
//! take their activation along. All are deterministic: the same bits for any number of threads.
//!
//! # Convolution
//!
//! Three ways in `f32`, chosen by shape alone. One tap is a matrix product for every pixel. Three by three taps are transformed
//! (Winograd, tiles of 4 by 4 outputs, or of 2 by 2 for maps of that size) where that saves products, which takes a fourth of them at
//! about one more digit of rounding error. All else is summed directly, and padding is never multiplied with.
//!
//! Operands are `f32`, or rounded to bfloat16 ([`Precision`]); sums are `f32` always. Processors with AMX multiply all dense
//! convolutions in bfloat16 as tiles, sixteen images by sixteen channels. Those whose AVX-512 has bfloat16 multiply two pairs in the
//! time of one product, which is less than transforms save: they take pairs where there is nothing to transform or channels are few,
//! and transform `f32` elsewhere. Others round before the kernels of `f32`, for the same numbers up to the order of sums. What is
//! rounded waits for the backward pass as bfloat16, in half the memory.
//!
//! # Instruction sets
//!
//! AMX, AVX-512 with and without bfloat16, AVX2 with FMA, and portable code, detected when the process starts ([`Isa`]); compilers
//! turn portable code into NEON on ARM, where that is always there. Results differ between them by rounding, since fused products are rounded once. AMX is taken only if the system grants its
//! registers and a product of small integers comes out right.
//!
//! # Limits
//!
//! Maps are `f32` between operators. Gradients of gradients are not computed. The memory of freed maps waits for maps of their size or
//! down to half of it, up to 2 GiB, instead of going back to the system at each step.

mod autodiff;
mod backend;
mod buffer;
mod conv;
mod correlation;
mod gather;
mod geometry;
mod lanes;
mod layout;
mod maps;
mod norm;
mod one_tap;
mod pairs;
mod plain;
mod pointwise;
mod pool;
mod precision;
mod product;
pub mod profile;
#[cfg(test)]
mod tests;
mod tiles;
mod winograd;

pub use buffer::bytes_of;
pub use geometry::ConvGeometry;
pub use lanes::{Isa, LANES};
pub use maps::{
    Maps, activate, add, affine, average_pool, batch_norm, conv2d, global_average, max_pool, pad_channels, subsample,
};
pub use pointwise::Activation;
pub use pool::PoolGeometry;
pub use precision::Precision;
