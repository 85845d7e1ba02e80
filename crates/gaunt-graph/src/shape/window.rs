//! Rules of operators that slide a window over an image.

use alloc::vec;

use super::{Dim, Rule, Show, err, expect, image, overflow};
use crate::{Conv, Pool, Resize};

pub(super) fn conv(conv: &Conv, x: &[Dim], weight: &[Dim], bias: Option<&[Dim]>) -> Rule {
    let (batch, [channels, height, width]) = image(x)?;
    let (Dim::Fixed(outputs), [inputs_per_group, kernel_height, kernel_width]) = image(weight)? else {
        return err!("the weight {} depends on the batch size", Show(weight));
    };
    if [kernel_height, kernel_width] != conv.kernel {
        let [h, w] = conv.kernel;
        return err!("the kernel is {h} x {w}, but the weight has shape {}", Show(weight));
    }
    let groups = conv.groups;
    if groups == 0 || outputs % groups != 0 || inputs_per_group.checked_mul(groups) != Some(channels) {
        let weight = Show(weight);
        return err!(
            "a weight of shape {weight} in {groups} groups does not fit {channels} input channels; it must be \
             [outputs, channels / groups, KH, KW] with channels and outputs divisible by groups"
        );
    }
    if let Some(bias) = bias {
        expect("the bias", bias, &[Dim::Fixed(outputs)])?;
    }
    let window = |axis: usize, size| Window {
        size,
        kernel: conv.kernel[axis],
        stride: conv.stride[axis],
        dilation: conv.dilation[axis],
        pads: [conv.pads[axis], conv.pads[axis + 2]],
    };
    let (height, width) = (window(0, height).count(false)?, window(1, width).count(false)?);
    Ok(vec![batch, Dim::Fixed(outputs), Dim::Fixed(height), Dim::Fixed(width)])
}

pub(super) fn pool(pool: &Pool, x: &[Dim]) -> Rule {
    let (batch, [channels, height, width]) = image(x)?;
    let window = |axis: usize, size| Window {
        size,
        kernel: pool.kernel[axis],
        stride: pool.stride[axis],
        dilation: pool.dilation[axis],
        pads: [pool.pads[axis], pool.pads[axis + 2]],
    };
    let windows = [window(0, height), window(1, width)];
    let [height, width] = [windows[0].count(pool.ceil)?, windows[1].count(pool.ceil)?];
    windows.iter().try_for_each(Window::check_pool_padding)?;
    Ok(vec![batch, Dim::Fixed(channels), Dim::Fixed(height), Dim::Fixed(width)])
}

pub(super) fn resize(resize: &Resize, x: &[Dim]) -> Rule {
    let (batch, [channels, height, width]) = image(x)?;
    let [out_height, out_width] = resize.size;
    if height == 0 || width == 0 || out_height == 0 || out_width == 0 {
        return err!("resizes {height} x {width} to {out_height} x {out_width}; no side may be zero");
    }
    if resize.scale.iter().any(|scale| !scale.is_finite() || *scale <= 0.0) {
        let [h, w] = resize.scale;
        return err!("the scales {h} and {w} must be positive");
    }
    Ok(vec![batch, Dim::Fixed(channels), Dim::Fixed(out_height), Dim::Fixed(out_width)])
}

/// One axis of a sliding window.
struct Window {
    size: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pads: [usize; 2],
}

impl Window {
    /// Distance from the first to the last tap, plus one.
    fn extent(&self) -> Rule<usize> {
        let Self { kernel, stride, dilation, .. } = *self;
        if kernel == 0 || stride == 0 || dilation == 0 {
            return err!("kernel {kernel}, stride {stride} and dilation {dilation} must not be zero");
        }
        (kernel - 1).checked_mul(dilation).and_then(|span| span.checked_add(1)).ok_or_else(overflow)
    }

    /// Number of positions of the window.
    fn count(&self, ceil: bool) -> Rule<usize> {
        let extent = self.extent()?;
        let Self { size, kernel, stride, dilation, pads: [before, after] } = *self;
        let start_limit = size.checked_add(before).ok_or_else(overflow)?;
        let padded = start_limit.checked_add(after).ok_or_else(overflow)?;
        let Some(free) = padded.checked_sub(extent) else {
            return err!(
                "a kernel of {kernel} with dilation {dilation} spans {extent}, more than the input's {size} plus \
                 padding {before} and {after}"
            );
        };
        let steps = free / stride + usize::from(ceil && free % stride != 0);
        // A last window that starts beyond the input would see padding only: it is left out, as in PyTorch.
        let starts_inside = steps.checked_mul(stride).is_some_and(|start| start < start_limit);
        Ok(if ceil && steps > 0 && !starts_inside { steps } else { steps.checked_add(1).ok_or_else(overflow)? })
    }

    /// A pooling window must see something besides padding.
    fn check_pool_padding(&self) -> Rule<()> {
        match self.pads.iter().find(|&&pad| pad >= self.kernel) {
            Some(pad) => err!("padding {pad} must be less than the kernel's {}", self.kernel),
            None => Ok(()),
        }
    }
}
