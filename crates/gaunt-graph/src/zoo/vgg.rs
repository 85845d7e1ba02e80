//! VGG-16 for CIFAR: 13 convolutions with bias and batch norm, one linear layer.

use alloc::format;

use super::builder::{Builder, Built, Square};
use crate::ValueId;

/// Channels of the convolutions between poolings.
const STAGES: [&[usize]; 5] = [&[64, 64], &[128, 128], &[256, 256, 256], &[512, 512, 512], &[512, 512, 512]];

pub(super) fn vgg16(b: &mut Builder, mut x: ValueId, classes: usize) -> Built {
    // Positions in PyTorch's `nn.Sequential`, which are its parameters' names.
    let mut next = (0..).map(|index| format!("features.{index}"));
    let mut path = || next.next().unwrap_or_default();
    for stage in STAGES {
        for &channels in stage {
            x = b.conv(&path(), x, channels, Square::same(3).with_bias())?;
            x = b.batch_norm(&path(), x)?;
            x = b.relu(&path(), x)?;
        }
        x = b.max_pool(&path(), x)?;
    }
    x = b.global_mean(&path(), x)?;
    b.linear("classifier", x, classes)
}
