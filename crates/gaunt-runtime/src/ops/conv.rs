//! Convolution.
//!
//! Each group of input channels is first laid out in planes with the zero padding around them. Planes are split by
//! stride phase: with stride 2, even and odd rows and columns lie apart, so that outputs which are neighbours read
//! inputs which are neighbours. Every tap of the kernel is then one contiguous run, whatever stride, dilation and
//! padding are, and an output channel is a weighted sum of such runs over the whole plane. The few sums that straddle
//! two rows are thrown away.
//!
//! Order of summation: bias, then input channel, kernel row, kernel column; zero weights are left out.

use alloc::{format, string::String};

use gaunt_graph::Conv;

use super::taps::{RUN, Taps, weighted_sum};
use crate::{
    kernel::{Kernel, Operands, Site},
    view::ViewMut,
};

/// Bound on the elements of a group's planes, far below what an index may hold.
const MAX_PLANES: usize = 1 << 31;

/// A convolution over images of a known size.
pub(crate) struct ConvKernel {
    taps: Taps,
    group_channels: usize,
    groups: usize,
    layout: Layout,
    out_size: [usize; 2],
}

impl ConvKernel {
    pub fn new(conv: &Conv, site: &Site) -> Result<Self, String> {
        let [height, width] = site.image_size()?;
        let weight = site.weight(1)?;
        let &[_, group_channels, kernel_height, kernel_width] = weight.shape() else {
            return Err(format!("the weight must have four axes, but has {}", weight.shape().len()));
        };
        let area = kernel_height * kernel_width;
        let layout = Layout::new(conv, [height, width]);
        let layout =
            layout.filter(|layout| layout.plane_len.checked_mul(group_channels).is_some_and(|len| len < MAX_PLANES));
        let Some(layout) = layout else {
            return Err(format!("the padded input has {MAX_PLANES} elements or more, which is not supported"));
        };
        let offset = |i: usize| {
            let (row, column) = (i % area / kernel_width, i % kernel_width);
            let position = layout.position(row * conv.dilation[0], column * conv.dilation[1]);
            (i / area * layout.plane_len + position) as u32
        };
        let taps = Taps::new(&weight.to_floats(), group_channels * area, offset);
        Ok(Self { taps, group_channels, groups: conv.groups, layout, out_size: site.output_size()? })
    }

    /// Positions in a plane from the first to the last output, rounded up to whole vectors.
    fn span(&self) -> usize {
        ((self.out_size[0] - 1) * self.layout.pitch + self.out_size[1]).next_multiple_of(8)
    }

    /// The planes of a group, with room for the last run to read past their end.
    fn planes_len(&self) -> usize {
        self.group_channels * self.layout.plane_len + RUN
    }
}

impl Kernel for ConvKernel {
    fn run(&self, operands: &Operands, out: ViewMut, scratch: &mut [f32]) {
        let x = operands.get(0);
        let bias = operands.optional(1);
        let [out_height, out_width] = self.out_size;
        let channels = out.shape[1];
        let group_len = self.group_channels * x.shape[2] * x.shape[3];
        let (planes, sums) = scratch.split_at_mut(self.planes_len());
        let sums = &mut sums[..self.span()];
        let group_outputs = out.data.chunks_exact_mut(channels / self.groups * out_height * out_width);
        for (i, (x, out)) in x.data.chunks_exact(group_len).zip(group_outputs).enumerate() {
            self.layout.fill(x, planes);
            let first = i % self.groups * (channels / self.groups);
            let maps = out.chunks_exact_mut(out_height * out_width);
            for (channel, (map, taps)) in maps.zip(self.taps.channels().skip(first)).enumerate() {
                let bias = bias.map_or(0.0, |bias| bias[first + channel]);
                weighted_sum(bias, taps.iter().map(|tap| (tap.offset as usize, tap.weight)), planes, sums);
                let rows = sums.chunks(self.layout.pitch);
                map.chunks_exact_mut(out_width)
                    .zip(rows)
                    .for_each(|(row, sums)| row.copy_from_slice(&sums[..out_width]));
            }
        }
    }

    fn reads(&self, input: usize) -> bool {
        input != 1
    }

    fn scratch_len(&self) -> usize {
        self.planes_len() + self.span()
    }

    fn weight_bytes(&self) -> usize {
        self.taps.bytes()
    }
}

/// Where the elements of a channel lie: padded, and split by stride phase.
struct Layout {
    /// Of the image.
    size: [usize; 2],
    stride: [usize; 2],
    /// Padding above and to the left.
    before: [usize; 2],
    /// Rows of one phase.
    rows: usize,
    /// Columns of one phase, that is, distance between its rows.
    pitch: usize,
    /// Elements of all phases of one channel.
    plane_len: usize,
}

impl Layout {
    /// None if the size of a channel exceeds the address space.
    fn new(conv: &Conv, size: [usize; 2]) -> Option<Self> {
        let [top, left, bottom, right] = conv.pads;
        let padded = [size[0] + top + bottom, size[1] + left + right];
        // A step beyond the end is as good as any longer one.
        let stride = [conv.stride[0].min(padded[0]), conv.stride[1].min(padded[1])];
        let (rows, pitch) = (padded[0].div_ceil(stride[0]), padded[1].div_ceil(stride[1]));
        let plane_len = stride[0].checked_mul(rows)?.checked_mul(stride[1].checked_mul(pitch)?)?;
        Some(Self { size, stride, before: [top, left], rows, pitch, plane_len })
    }

    /// Where an element of the padded image lies.
    fn position(&self, row: usize, column: usize) -> usize {
        let phase = row % self.stride[0] * self.stride[1] + column % self.stride[1];
        (phase * self.rows + row / self.stride[0]) * self.pitch + column / self.stride[1]
    }

    /// Lays out the channels of an image.
    fn fill(&self, x: &[f32], planes: &mut [f32]) {
        planes.fill(0.0);
        let [height, width] = self.size;
        let step = self.stride[1];
        let channels = x.chunks_exact(height * width);
        for (channel, plane) in channels.zip(planes.chunks_exact_mut(self.plane_len)) {
            for (row, x) in channel.chunks_exact(width).enumerate() {
                for first in 0..step.min(width) {
                    let start = self.position(row + self.before[0], first + self.before[1]);
                    let picked = x[first..].iter().step_by(step);
                    plane[start..].iter_mut().zip(picked).for_each(|(y, &x)| *y = x);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use gaunt_graph::{Conv, Op, Tensor};

    use crate::testing::{evaluate, noise};

    /// A convolution to try: why, input `[C, H, W]`, output channels, geometry.
    struct Case(&'static str, [usize; 3], usize, Conv);

    fn conv(kernel: [usize; 2], stride: [usize; 2], pads: [usize; 4], dilation: [usize; 2], groups: usize) -> Conv {
        Conv { kernel, stride, pads, dilation, groups }
    }

    fn cases() -> Vec<Case> {
        vec![
            Case("one pixel", [1, 1, 1], 1, conv([1, 1], [1, 1], [0; 4], [1, 1], 1)),
            Case("pointwise", [5, 7, 6], 4, conv([1, 1], [1, 1], [0; 4], [1, 1], 1)),
            Case("pointwise with stride", [3, 8, 9], 4, conv([1, 1], [2, 2], [0; 4], [1, 1], 1)),
            Case("the usual", [3, 32, 32], 4, conv([3, 3], [1, 1], [1; 4], [1, 1], 1)),
            Case("stride 2, even size", [4, 8, 8], 3, conv([3, 3], [2, 2], [1; 4], [1, 1], 1)),
            Case("stride 2, odd size", [2, 9, 7], 3, conv([3, 3], [2, 2], [1; 4], [1, 1], 1)),
            Case("stride beyond the window", [2, 11, 11], 2, conv([2, 2], [3, 4], [0; 4], [1, 1], 1)),
            Case("a single step", [2, 3, 3], 2, conv([2, 2], [1, usize::MAX], [0; 4], [1, 1], 1)),
            Case("patches", [3, 12, 12], 5, conv([4, 4], [4, 4], [0; 4], [1, 1], 1)),
            Case("uneven padding", [2, 6, 5], 3, conv([3, 2], [1, 2], [0, 2, 1, 3], [1, 1], 1)),
            Case("padding wider than the image", [1, 2, 2], 1, conv([3, 3], [1, 1], [4; 4], [1, 1], 1)),
            Case("dilation", [2, 10, 9], 2, conv([3, 3], [1, 1], [2; 4], [2, 2], 1)),
            Case("dilation with stride", [2, 13, 9], 2, conv([3, 2], [2, 3], [1; 4], [3, 2], 1)),
            Case("two groups", [4, 6, 6], 6, conv([3, 3], [1, 1], [1; 4], [1, 1], 2)),
            Case("depthwise", [5, 8, 8], 5, conv([3, 3], [2, 2], [1; 4], [1, 1], 5)),
            Case("depthwise, two outputs per channel", [3, 5, 5], 6, conv([3, 3], [1, 1], [1; 4], [1, 1], 3)),
            Case("one row", [2, 1, 40], 2, conv([1, 5], [1, 1], [0, 2, 0, 2], [1, 1], 1)),
        ]
    }

    /// The definition, loop by loop.
    fn reference(conv: &Conv, x: &[f32], [c, h, w]: [usize; 3], weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let [kh, kw] = conv.kernel;
        let (group_in, group_out) = (c / conv.groups, bias.len() / conv.groups);
        let out = |axis: usize, size: usize| {
            let extent = (conv.kernel[axis] - 1) * conv.dilation[axis] + 1;
            (size + conv.pads[axis] + conv.pads[axis + 2] - extent) / conv.stride[axis] + 1
        };
        let mut y = Vec::new();
        for (o, &bias) in bias.iter().enumerate() {
            for (row, column) in (0..out(0, h)).flat_map(|row| (0..out(1, w)).map(move |column| (row, column))) {
                let mut sum = bias;
                for (i, &weight) in weight[o * group_in * kh * kw..][..group_in * kh * kw].iter().enumerate() {
                    let channel = o / group_out * group_in + i / (kh * kw);
                    let r = row * conv.stride[0] + i / kw % kh * conv.dilation[0];
                    let c = column * conv.stride[1] + i % kw * conv.dilation[1];
                    let inside =
                        (conv.pads[0]..h + conv.pads[0]).contains(&r) && (conv.pads[1]..w + conv.pads[1]).contains(&c);
                    if inside && weight != 0.0 {
                        sum += weight * x[(channel * h + r - conv.pads[0]) * w + c - conv.pads[1]];
                    }
                }
                y.push(sum);
            }
        }
        y
    }

    fn run(Case(_, [c, h, w], outputs, conv): &Case, weight: Tensor, bias: &[f32], x: &[f32]) -> Vec<f32> {
        let bias = Tensor::new(vec![*outputs], bias.to_vec()).unwrap();
        evaluate(Op::Conv(conv.clone()), &[(&[x.len() / (c * h * w), *c, *h, *w], x)], &[weight, bias])
    }

    /// Both float and code weights, a batch of two, bit by bit.
    #[test]
    fn sums_are_those_of_the_definition() {
        for case in cases() {
            let Case(name, size @ [c, h, w], outputs, conv) = &case;
            let shape = vec![*outputs, c / conv.groups, conv.kernel[0], conv.kernel[1]];
            let len = shape.iter().product();
            let (bias, x) = (noise(*outputs, 1), noise(2 * c * h * w, 2));
            let floats = Tensor::new(shape.clone(), noise(len, 3)).unwrap();
            let codes = noise(len, 4).iter().map(|&x| if x < 0.3 { 0 } else { (x * 20.0) as i32 - 9 }).collect();
            let scales = noise(*outputs, 5).iter().map(|x| x.abs() + 0.01).collect();
            for weight in [floats, Tensor::from_codes(shape, codes, scales).unwrap()] {
                let expected: Vec<f32> =
                    x.chunks(c * h * w).flat_map(|x| reference(conv, x, *size, &weight.to_floats(), &bias)).collect();
                assert_eq!(run(&case, weight, &bias, &x), expected, "{name}");
            }
        }
    }

    #[test]
    fn a_channel_without_weights_is_its_bias() {
        let case = Case("all pruned", [1, 3, 3], 1, conv([3, 3], [1, 1], [1; 4], [1, 1], 1));
        let weight = Tensor::from_codes(vec![1, 1, 3, 3], vec![0; 9], vec![1.0]).unwrap();
        assert_eq!(run(&case, weight, &[0.25], &[f32::INFINITY; 9]), [0.25; 9]);
    }
}
