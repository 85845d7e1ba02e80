//! Convolution on blocked maps, in three passes: forward, gradient of the input, gradient of the weight.
//!
//! Maps are `[B, C, H, W, 16]`: sixteen images lie side by side, so that a pixel of a channel is one vector and every
//! operation is vertical. One tap is a matrix product of its own ([`one_tap`]), and three by three taps are
//! transformed ([`winograd`]) where that saves products. In the direct way, forward and input gradient are the same
//! [`gather`](crate::gather) with the kernel turned; the weight gradient is a [`correlation`](crate::correlation). Where the
//! processor multiplies bfloat16, that way is taken with operands in [pairs](crate::pairs), or as [`tiles`]. Tasks
//! and orders of summation are fixed, so any number of threads gives the same bits.

use crate::{
    buffer::Buffer,
    correlation::Correlation,
    gather::Gather,
    geometry::{ConvGeometry, backward_runs, forward_runs},
    lanes::{Isa, LANES},
    one_tap,
    pairs::{ChannelPairs, pair, pair_blocks, unpair_blocks},
    precision::{Operand, Precision},
    tiles,
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

/// Channels from which on transforms save more than products of pairs do, which are two in the time of one.
const WIDE: usize = 64;

/// How a convolution is computed; shape, precision and instructions alone decide.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// One tap at every pixel of planes of this size.
    OneTap {
        plane: usize,
    },
    Transformed(Tiling),
    Direct,
    /// Directly, with operands in pairs of bfloat16.
    Paired,
    /// Directly, with operands in tiles of such pairs.
    Tiled,
}

/// A convolution of maps in planes of `input` pixels, by the instructions of `isa`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conv {
    pub isa: Isa,
    pub precision: Precision,
    pub geometry: ConvGeometry,
    pub kernel: Kernel,
    pub input: [usize; 2],
}

/// The two passes that sum over channels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Forward,
    InputGradient,
}

impl Conv {
    fn way(&self) -> Way {
        let Kernel { outputs, inputs, .. } = self.kernel;
        let tiling = Tiling::new(&self.geometry, self.kernel, self.input);
        let dense = self.geometry.groups == 1 && inputs > 1;
        if self.precision == Precision::Bf16 && self.isa.multiplies_bf16() && dense {
            if self.isa.multiplies_tiles() {
                return Way::Tiled;
            }
            if tiling.is_none() || inputs.min(outputs) < WIDE {
                return Way::Paired;
            }
        }
        if one_tap::applies(&self.geometry, self.kernel) {
            return Way::OneTap { plane: self.input_plane() };
        }
        tiling.map_or(Way::Direct, Way::Transformed)
    }

    /// `y = x * w`, of `x [B, C, H, W, 16]`.
    pub fn forward(&self, x: &[f32], w: &[f32]) -> Buffer {
        self.forward_by(self.way(), x, w)
    }

    /// Gradient of `x` from that of `y`.
    pub fn input_gradient(&self, dy: &[f32], w: &[f32]) -> Buffer {
        self.input_gradient_by(self.way(), dy, w)
    }

    /// Gradient of the weight, `[O, I, KH, KW]`, from the input as it was [kept](Self::keep).
    pub fn weight_gradient(&self, x: &[f32], dy: &[f32]) -> Buffer {
        self.weight_gradient_by(self.way(), x, dy)
    }

    /// The input in the form that the gradient of the weight takes, if it is not the input itself.
    pub fn keep(&self, x: &[f32]) -> Option<Buffer> {
        // Most training is in single precision, which need not ask for the way.
        if self.precision == Precision::Fp32 { None } else { self.keep_for(self.way(), x) }
    }

    pub(crate) fn keep_for(&self, way: Way, x: &[f32]) -> Option<Buffer> {
        let (channels, plane) = (self.input_channels(), self.input_plane());
        (self.precision_of(way) == Precision::Bf16).then(|| match way {
            Way::Tiled => tiles::keep(self.isa, x, channels, plane),
            _ => pair_blocks(self.isa, x, channels, plane),
        })
    }

    /// Where pairs are multiplied natively and transforms are still faster, rounding would only take time.
    fn precision_of(&self, way: Way) -> Precision {
        let whole = self.isa.multiplies_bf16() && matches!(way, Way::Transformed(_));
        if whole { Precision::Fp32 } else { self.precision }
    }

    pub(crate) fn forward_by(&self, way: Way, x: &[f32], w: &[f32]) -> Buffer {
        let Self { isa, kernel, .. } = *self;
        if let Way::Paired | Way::Tiled = way {
            return self.halved(way, Pass::Forward, x, w);
        }
        let (x, w) = (&*self.operand(way, x), &*self.operand(way, w));
        match way {
            Way::OneTap { plane } => one_tap::forward(isa, x, w, kernel, plane),
            Way::Transformed(tiling) => winograd::forward(isa, &tiling, x, w, kernel),
            _ => self.gather(Pass::Forward).run(isa, x, self.weight(Pass::Forward, w)),
        }
    }

    pub(crate) fn input_gradient_by(&self, way: Way, dy: &[f32], w: &[f32]) -> Buffer {
        let Self { isa, kernel, .. } = *self;
        if let Way::Paired | Way::Tiled = way {
            return self.halved(way, Pass::InputGradient, dy, w);
        }
        let (dy, w) = (&*self.operand(way, dy), &*self.operand(way, w));
        match way {
            Way::OneTap { plane } => one_tap::input_gradient(isa, dy, w, kernel, plane),
            Way::Transformed(tiling) => winograd::input_gradient(isa, &tiling, dy, w, kernel),
            _ => self.gather(Pass::InputGradient).run(isa, dy, self.weight(Pass::InputGradient, w)),
        }
    }

    pub(crate) fn weight_gradient_by(&self, way: Way, x: &[f32], dy: &[f32]) -> Buffer {
        let Self { isa, geometry, kernel, input, .. } = *self;
        if let Way::Tiled = way {
            return tiles::weight_gradient(isa, x, dy, &geometry, kernel, input);
        }
        if let Way::Paired = way {
            let dy = pair_blocks(isa, dy, kernel.outputs, self.output_plane());
            return Correlation::of_pairs(x, &dy, &geometry, kernel, input).run(isa);
        }
        let blocks = dy.len() / (kernel.outputs * self.output_plane() * LANES);
        let unpaired = match self.precision_of(way) {
            Precision::Fp32 => None,
            Precision::Bf16 => Some(unpair_blocks(isa, x, self.input_channels(), self.input_plane(), blocks)),
        };
        let (x, dy) = (unpaired.as_deref().unwrap_or(x), &*self.operand(way, dy));
        match way {
            Way::OneTap { plane } => one_tap::weight_gradient(isa, x, dy, kernel, plane),
            Way::Transformed(tiling) => winograd::weight_gradient(isa, &tiling, x, dy, kernel),
            _ => Correlation::new(x, dy, &geometry, kernel, input).run(isa),
        }
    }

    fn operand<'a>(&self, way: Way, numbers: &'a [f32]) -> Operand<'a> {
        self.precision_of(way).of_sums(self.kernel.inputs).operand(self.isa, numbers)
    }

    fn input_plane(&self) -> usize {
        self.input[0] * self.input[1]
    }

    fn output_plane(&self) -> usize {
        let [height, width] = self.geometry.output_size(self.input, self.kernel.size);
        height * width
    }

    fn input_channels(&self) -> usize {
        self.geometry.groups * self.kernel.inputs
    }

    fn gather(&self, pass: Pass) -> Gather {
        let Self { geometry, kernel, input, .. } = self;
        let (groups, taps, outputs) = (geometry.groups, kernel.taps(), kernel.outputs / geometry.groups);
        let (input_plane, output_plane) = (self.input_plane(), self.output_plane());
        match pass {
            Pass::Forward => Gather {
                runs: forward_runs(geometry, *input, kernel.size),
                rows: geometry.output_size(*input, kernel.size)[0],
                groups,
                sources: kernel.inputs,
                targets: outputs,
                source_plane: input_plane,
                target_plane: output_plane,
                taps,
                pairs: false,
            },
            Pass::InputGradient => Gather {
                runs: backward_runs(geometry, *input, kernel.size),
                rows: input[0],
                groups,
                sources: outputs,
                targets: kernel.inputs,
                source_plane: output_plane,
                target_plane: input_plane,
                taps,
                pairs: false,
            },
        }
    }

    /// The weight of group, target and source in the group, and tap.
    fn weight<'a>(&self, pass: Pass, w: &'a [f32]) -> impl Fn(usize, usize, usize, usize) -> f32 + Sync + 'a {
        let (outputs, inputs, taps) =
            (self.kernel.outputs / self.geometry.groups, self.kernel.inputs, self.kernel.taps());
        move |group, target, source, tap| {
            let [output, input] = if pass == Pass::Forward { [target, source] } else { [source, target] };
            w[((group * outputs + output) * inputs + input) * taps + tap]
        }
    }

    /// A sum over channels in pairs, or in tiles.
    fn halved(&self, way: Way, pass: Pass, from: &[f32], w: &[f32]) -> Buffer {
        let gather = self.gather(pass);
        if let Way::Tiled = way {
            let [output, input] = [self.kernel.inputs * gather.taps, gather.taps];
            let [target, source] = if pass == Pass::Forward { [output, input] } else { [input, output] };
            return tiles::gather(self.isa, &gather, from, tiles::Weights { numbers: w, target, source });
        }
        let weight = self.weight(pass, w);
        let sources = gather.sources;
        let maps = ChannelPairs::of(self.isa, from, sources, gather.source_plane);
        let gather = Gather { sources: maps.pairs, source_plane: maps.pitch() / LANES, pairs: true, ..gather };
        gather.run(self.isa, maps.words(), |group, target, source, tap| {
            let of = |source| if source < sources { weight(group, target, source, tap) } else { 0.0 };
            pair(of(2 * source), of(2 * source + 1))
        })
    }
}
