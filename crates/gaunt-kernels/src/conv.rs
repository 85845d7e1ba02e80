//! Convolution on blocked maps, in three passes: forward, gradient of the input, gradient of the weight.
//!
//! Maps are `[B, C, H, W, 16]`: sixteen images lie side by side, so that a pixel of a channel is one vector and every
//! operation is vertical. One tap is a matrix product of its own ([`one_tap`]), and three by three taps are
//! transformed ([`winograd`]) where that saves products. In the direct way, forward and input gradient are the same
//! [`gather`](crate::gather) with the kernel turned; the weight gradient is a [`correlation`](crate::correlation). Tasks
//! and orders of summation are fixed, so any number of threads gives the same bits.

use crate::{
    buffer::Buffer,
    correlation::Correlation,
    gather::Gather,
    geometry::{ConvGeometry, backward_runs, forward_runs},
    lanes::Isa,
    one_tap,
    winograd::{self, Tiling},
};

/// A kernel `[O, I, KH, KW]`; `I` counts the channels of one group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    pub outputs: usize,
    pub inputs: usize,
    pub size: [usize; 2],
}

impl Kernel {
    pub fn of(shape: [usize; 4]) -> Self {
        Self { outputs: shape[0], inputs: shape[1], size: [shape[2], shape[3]] }
    }

    /// Positions in the kernel.
    pub fn taps(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Numbers.
    pub fn len(&self) -> usize {
        self.outputs * self.inputs * self.taps()
    }
}

/// How a convolution is computed; its shape alone decides, and all three passes go the same way.
enum Way {
    /// One tap at every pixel of planes of this size.
    OneTap {
        plane: usize,
    },
    Transformed(Tiling),
    Direct,
}

impl Way {
    fn of(g: &ConvGeometry, kernel: Kernel, input: [usize; 2]) -> Self {
        if one_tap::applies(g, kernel) {
            return Self::OneTap { plane: input[0] * input[1] };
        }
        Tiling::new(g, kernel, input).map_or(Self::Direct, Self::Transformed)
    }
}

/// `y = x * w`: `x [B, C, H, W, 16]` in planes of `input` pixels.
pub(crate) fn forward(isa: Isa, x: &[f32], w: &[f32], g: &ConvGeometry, kernel: Kernel, input: [usize; 2]) -> Buffer {
    match Way::of(g, kernel, input) {
        Way::OneTap { plane } => return one_tap::forward(isa, x, w, kernel, plane),
        Way::Transformed(tiling) => return winograd::forward(isa, &tiling, x, w, kernel),
        Way::Direct => {}
    }
    let [height, width] = g.output_size(input, kernel.size);
    let (outputs, taps) = (kernel.outputs / g.groups, kernel.taps());
    let gather = Gather {
        runs: forward_runs(g, input, kernel.size),
        rows: height,
        groups: g.groups,
        sources: kernel.inputs,
        targets: outputs,
        source_plane: input[0] * input[1],
        target_plane: height * width,
        taps,
    };
    gather
        .run(isa, x, |group, target, source, tap| w[((group * outputs + target) * kernel.inputs + source) * taps + tap])
}

/// Gradient of `x` from that of `y`.
pub(crate) fn input_gradient(
    isa: Isa,
    dy: &[f32],
    w: &[f32],
    g: &ConvGeometry,
    kernel: Kernel,
    input: [usize; 2],
) -> Buffer {
    match Way::of(g, kernel, input) {
        Way::OneTap { plane } => return one_tap::input_gradient(isa, dy, w, kernel, plane),
        Way::Transformed(tiling) => return winograd::input_gradient(isa, &tiling, dy, w, kernel),
        Way::Direct => {}
    }
    let [height, width] = g.output_size(input, kernel.size);
    let (outputs, taps) = (kernel.outputs / g.groups, kernel.taps());
    let gather = Gather {
        runs: backward_runs(g, input, kernel.size),
        rows: input[0],
        groups: g.groups,
        sources: outputs,
        targets: kernel.inputs,
        source_plane: height * width,
        target_plane: input[0] * input[1],
        taps,
    };
    gather.run(isa, dy, |group, target, source, tap| {
        w[((group * outputs + source) * kernel.inputs + target) * taps + tap]
    })
}

/// Gradient of the weight, `[O, I, KH, KW]`.
pub(crate) fn weight_gradient(
    isa: Isa,
    x: &[f32],
    dy: &[f32],
    g: &ConvGeometry,
    kernel: Kernel,
    input: [usize; 2],
) -> Vec<f32> {
    match Way::of(g, kernel, input) {
        Way::OneTap { plane } => one_tap::weight_gradient(isa, x, dy, kernel, plane),
        Way::Transformed(tiling) => winograd::weight_gradient(isa, &tiling, x, dy, kernel),
        Way::Direct => Correlation::new(x, dy, g, kernel, input).run(isa),
    }
}
