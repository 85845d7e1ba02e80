//! LeNet-5 with rectifiers and maxima, as it is taught today.

use super::builder::{Builder, Built, Square};
use crate::ValueId;

/// Maps smaller than this after the first pooling keep their size in `conv2`, so that small images reach `fc1`; larger
/// ones lose two pixels on each side as in the paper.
const VALID_FROM: usize = 14;

pub(super) fn lenet5(b: &mut Builder, x: ValueId, classes: usize) -> Built {
    let x = stage(b, "1", x, 6, 2)?;
    let small = b.size(x, 2).min(b.size(x, 3)) < VALID_FROM;
    let mut x = stage(b, "2", x, 16, if small { 2 } else { 0 })?;
    x = b.flatten("flatten", x)?;
    x = b.linear("fc1", x, 120)?;
    x = b.relu("relu3", x)?;
    x = b.linear("fc2", x, 84)?;
    x = b.relu("relu4", x)?;
    b.linear("fc3", x, classes)
}

fn stage(b: &mut Builder, number: &str, x: ValueId, channels: usize, pad: usize) -> Built {
    let path = |module: &str| alloc::format!("{module}{number}");
    let x = b.conv(&path("conv"), x, channels, Square { pad, ..Square::same(5).with_bias() })?;
    let x = b.relu(&path("relu"), x)?;
    b.max_pool(&path("pool"), x)
}
