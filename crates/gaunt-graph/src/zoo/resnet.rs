//! Residual networks for CIFAR.

use alloc::{format, vec, vec::Vec};

use super::builder::{Builder, Built, Square};
use crate::{Op, PadMode, SliceAxis, ValueId};

/// How a block's input reaches its sum when the sizes differ.
#[derive(Clone, Copy)]
enum Shortcut {
    /// Option A of the paper: every second pixel, padded with channels of zeros.
    Padded,
    /// Option B: a 1 x 1 convolution with batch norm.
    Projected,
}

/// ResNet-18: 3 x 3 stem, four stages of two blocks.
pub(super) fn resnet18(b: &mut Builder, x: ValueId, classes: usize) -> Built {
    resnet(b, x, classes, &[(64, 2), (128, 2), (256, 2), (512, 2)], Shortcut::Projected)
}

/// The paper's networks for CIFAR, of `6 * blocks + 2` layers.
pub(super) fn thin(b: &mut Builder, x: ValueId, classes: usize, blocks: usize) -> Built {
    resnet(b, x, classes, &[(16, blocks), (32, blocks), (64, blocks)], Shortcut::Padded)
}

/// `stages` lists channels and blocks; each stage but the first halves the map.
fn resnet(b: &mut Builder, mut x: ValueId, classes: usize, stages: &[(usize, usize)], shortcut: Shortcut) -> Built {
    let stem = stages.first().map_or(0, |stage| stage.0);
    x = b.conv("conv1", x, stem, Square::same(3))?;
    x = b.batch_norm("bn1", x)?;
    x = b.relu("relu", x)?;
    for (stage, &(channels, blocks)) in stages.iter().enumerate() {
        for index in 0..blocks {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            x = block(b, &format!("layer{}.{index}", stage + 1), x, channels, stride, shortcut)?;
        }
    }
    x = b.global_mean("avgpool", x)?;
    b.linear("linear", x, classes)
}

fn block(b: &mut Builder, path: &str, x: ValueId, channels: usize, stride: usize, shortcut: Shortcut) -> Built {
    let at = |module: &str| format!("{path}.{module}");
    let mut y = b.conv(&at("conv1"), x, channels, Square::same(3).stride(stride))?;
    y = b.batch_norm(&at("bn1"), y)?;
    y = b.relu(&at("relu1"), y)?;
    y = b.conv(&at("conv2"), y, channels, Square::same(3))?;
    y = b.batch_norm(&at("bn2"), y)?;
    let same = stride == 1 && b.size(x, 1) == channels;
    let x = match shortcut {
        _ if same => x,
        Shortcut::Padded => padded(b, &at("shortcut"), x, channels)?,
        Shortcut::Projected => {
            let x = b.conv(&at("shortcut.0"), x, channels, Square::same(1).stride(stride))?;
            b.batch_norm(&at("shortcut.1"), x)?
        }
    };
    let sum = b.add(&at("add"), y, x)?;
    b.relu(&at("relu2"), sum)
}

/// `x[:, :, ::2, ::2]`, with the missing channels split evenly before and after.
fn padded(b: &mut Builder, path: &str, x: ValueId, channels: usize) -> Built {
    let every_second = |axis| SliceAxis { axis, start: 0, step: 2, len: b.size(x, axis).div_ceil(2) };
    let axes: Vec<SliceAxis> = [2, 3].map(every_second).into();
    let missing = channels.saturating_sub(b.size(x, 1)) as i64;
    let pads = vec![(0, 0), (missing / 2, missing - missing / 2), (0, 0), (0, 0)];
    let x = b.graph.add_node(format!("{path}.slice"), Op::Slice { axes }, &[x])?;
    b.graph.add_node(format!("{path}.pad"), Op::Pad { pads, mode: PadMode::Constant(0.0) }, &[x])
}
