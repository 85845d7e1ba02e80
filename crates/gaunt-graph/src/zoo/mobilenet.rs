//! MobileNets for CIFAR: the stem and early stages keep the map that ImageNet's variants halve.

use alloc::format;

use super::builder::{Builder, Built, Square};
use crate::ValueId;

/// Channels and stride of V1's blocks.
#[rustfmt::skip]
const V1: [(usize, usize); 13] = [
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
];

/// Expansion, channels, blocks, and stride of the first block of V2's stages.
#[rustfmt::skip]
const V2: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
];

pub(super) fn v1(b: &mut Builder, x: ValueId, classes: usize) -> Built {
    let mut x = stem(b, x)?;
    for (index, (channels, stride)) in V1.into_iter().enumerate() {
        let at = |module: &str| format!("layers.{index}.{module}");
        x = b.depthwise(&at("conv1"), x, stride)?;
        x = b.batch_norm(&at("bn1"), x)?;
        x = b.relu(&at("relu1"), x)?;
        x = b.conv(&at("conv2"), x, channels, Square::same(1))?;
        x = b.batch_norm(&at("bn2"), x)?;
        x = b.relu(&at("relu2"), x)?;
    }
    head(b, x, classes)
}

pub(super) fn v2(b: &mut Builder, x: ValueId, classes: usize) -> Built {
    let mut x = stem(b, x)?;
    let blocks = V2.into_iter().flat_map(|(expansion, channels, blocks, first)| {
        (0..blocks).map(move |block| (expansion, channels, if block == 0 { first } else { 1 }))
    });
    for (index, (expansion, channels, stride)) in blocks.enumerate() {
        x = inverted_residual(b, &format!("layers.{index}"), x, expansion, channels, stride)?;
    }
    x = b.conv("conv2", x, 1280, Square::same(1))?;
    x = b.batch_norm("bn2", x)?;
    x = b.relu("relu2", x)?;
    head(b, x, classes)
}

/// Expand, filter each channel, project without activation; add the input where the map keeps its size.
fn inverted_residual(
    b: &mut Builder,
    path: &str,
    x: ValueId,
    expansion: usize,
    channels: usize,
    stride: usize,
) -> Built {
    let at = |module: &str| format!("{path}.{module}");
    let inputs = b.size(x, 1);
    let mut y = b.conv(&at("conv1"), x, expansion * inputs, Square::same(1))?;
    y = b.batch_norm(&at("bn1"), y)?;
    y = b.relu(&at("relu1"), y)?;
    y = b.depthwise(&at("conv2"), y, stride)?;
    y = b.batch_norm(&at("bn2"), y)?;
    y = b.relu(&at("relu2"), y)?;
    y = b.conv(&at("conv3"), y, channels, Square::same(1))?;
    y = b.batch_norm(&at("bn3"), y)?;
    if stride != 1 {
        return Ok(y);
    }
    let mut shortcut = x;
    if inputs != channels {
        shortcut = b.conv(&at("shortcut.0"), x, channels, Square::same(1))?;
        shortcut = b.batch_norm(&at("shortcut.1"), shortcut)?;
    }
    b.add(&at("add"), y, shortcut)
}

fn stem(b: &mut Builder, x: ValueId) -> Built {
    let x = b.conv("conv1", x, 32, Square::same(3))?;
    let x = b.batch_norm("bn1", x)?;
    b.relu("relu1", x)
}

fn head(b: &mut Builder, x: ValueId, classes: usize) -> Built {
    let x = b.global_mean("avgpool", x)?;
    b.linear("linear", x, classes)
}
