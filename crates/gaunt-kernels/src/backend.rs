//! The kernels as operations of burn's CPU backend.

use burn::backend::{Backend, Flex, TensorMetadata, backend_extension, ops::FloatTensorOps, tensor::FloatTensor};
use burn::tensor::{DType, TensorData};

use crate::{
    buffer::Buffer,
    conv::{Conv, Kernel},
    geometry::ConvGeometry,
    lanes::{Isa, LANES},
    layout,
    norm::{Extent, Norm, Statistics},
    pointwise::{self, Activation},
    pool::{Pool, PoolGeometry, Pooling},
    precision::Precision,
    profile,
};

/// Operations on blocked maps `[B, C, H, W, 16]`.
#[backend_extension(Flex, Autodiff)]
pub trait BlockedOps: Backend {
    /// `[N, C, H, W]` to blocked.
    fn block(x: FloatTensor<Self>) -> FloatTensor<Self>;
    /// Blocked to `[N, C, H, W]`.
    fn unblock(x: FloatTensor<Self>, images: usize) -> FloatTensor<Self>;
    /// Convolution with `w [O, I, KH, KW]`.
    fn blocked_conv(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        geometry: ConvGeometry,
        precision: Precision,
    ) -> FloatTensor<Self>;
    /// Gradient of the convolution's input, which has planes of `input` pixels.
    fn blocked_conv_input(
        dy: FloatTensor<Self>,
        w: FloatTensor<Self>,
        geometry: ConvGeometry,
        precision: Precision,
        input: [usize; 2],
    ) -> FloatTensor<Self>;
    /// The input in the form that [`blocked_conv_weight`](Self::blocked_conv_weight) takes: itself, or `[B / 2, 1, 1, lines, 16]` of
    /// words, each of which has the bfloat16 numbers of two images.
    fn blocked_conv_keep(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        geometry: ConvGeometry,
        precision: Precision,
    ) -> FloatTensor<Self>;
    /// Gradient of the convolution's weight, which has the given shape, from its input as it was kept.
    fn blocked_conv_weight(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        geometry: ConvGeometry,
        precision: Precision,
        input: [usize; 2],
        shape: [usize; 4],
    ) -> FloatTensor<Self>;
    /// Batch norm by the statistics of the batch: the result, the means, the biased variances.
    fn blocked_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
        activation: Activation,
        images: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// Gradients of `x`, `gamma`, `beta`.
    #[allow(clippy::too_many_arguments, reason = "the operands of the operator")]
    fn blocked_norm_gradient(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        epsilon: f32,
        activation: Activation,
        images: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// `activation(scale * x + shift)` by channel.
    fn blocked_affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self>;
    /// Gradients of `x`, `scale`, `shift`.
    fn blocked_affine_gradient(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// `activation(a + b)`.
    fn blocked_add(a: FloatTensor<Self>, b: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self>;
    /// `activation(x)`.
    fn blocked_activate(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self>;
    /// The gradient before an activation, from its output.
    fn blocked_activation_gradient(
        y: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self>;
    /// One number for each window.
    fn blocked_pool(x: FloatTensor<Self>, geometry: PoolGeometry, pooling: Pooling) -> FloatTensor<Self>;
    /// The gradient of a pool's input `x`, from its output `y` and the gradient of that.
    fn blocked_pool_gradient(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        geometry: PoolGeometry,
        pooling: Pooling,
    ) -> FloatTensor<Self>;
}

type Tensor = FloatTensor<Flex>;

/// The elements of a tensor, which [`whole`] made contiguous.
fn floats(tensor: &Tensor) -> &[f32] {
    let start = tensor.layout().start_offset();
    &tensor.storage::<f32>()[start..start + tensor.layout().num_elements()]
}

/// A tensor whose elements lie in a row.
fn whole(tensor: Tensor) -> Tensor {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

fn tensor(floats: Vec<f32>, shape: impl Into<Vec<usize>>) -> Tensor {
    Flex::float_from_data(TensorData::new(floats, shape.into()), &Default::default())
}

fn buffered(floats: Buffer, shape: impl Into<Vec<usize>>) -> Tensor {
    let shape: Vec<usize> = shape.into();
    let data = TensorData::from_bytes(floats.into_bytes(), shape, DType::F32);
    Flex::float_from_data(data, &Default::default())
}

fn shape<const D: usize>(tensor: &Tensor) -> [usize; D] {
    let shape = tensor.shape();
    std::array::from_fn(|axis| shape[axis])
}

fn extent(x: &Tensor, images: usize) -> Extent {
    let [_, channels, height, width, _] = shape(x);
    Extent { channels, plane: height * width, images }
}

/// Height and width of blocked maps.
fn plane(x: &Tensor) -> [usize; 2] {
    let [_, _, height, width, _] = shape(x);
    [height, width]
}

fn convolution(geometry: ConvGeometry, precision: Precision, kernel: [usize; 4], input: [usize; 2]) -> Conv {
    Conv { isa: Isa::detect(), precision, geometry, kernel: Kernel::of(kernel), input }
}

/// What a pool and its gradient are called in a profile.
fn pool_names(pooling: Pooling) -> [&'static str; 2] {
    match pooling {
        Pooling::Max => ["max pool forward", "max pool gradient"],
        Pooling::Average { .. } => ["average pool forward", "average pool gradient"],
    }
}

impl BlockedOps for Flex {
    fn block(x: Tensor) -> Tensor {
        let _timer = profile::timer("block");
        let [images, c, h, w] = shape(&x);
        buffered(layout::block(floats(&whole(x)), c * h * w), [images.div_ceil(LANES), c, h, w, LANES])
    }

    fn unblock(x: Tensor, images: usize) -> Tensor {
        let _timer = profile::timer("unblock");
        let [_, c, h, w, _] = shape(&x);
        tensor(layout::unblock(floats(&whole(x)), images, c * h * w), [images, c, h, w])
    }

    fn blocked_conv(x: Tensor, w: Tensor, geometry: ConvGeometry, precision: Precision) -> Tensor {
        let _timer = profile::timer("conv2d forward");
        let conv = convolution(geometry, precision, shape(&w), plane(&x));
        let [height, width] = geometry.output_size(conv.input, conv.kernel.size);
        let ([blocks, ..], x, w): ([usize; 5], _, _) = (shape(&x), whole(x), whole(w));
        buffered(conv.forward(floats(&x), floats(&w)), [blocks, conv.kernel.outputs, height, width, LANES])
    }

    fn blocked_conv_input(
        dy: Tensor,
        w: Tensor,
        geometry: ConvGeometry,
        precision: Precision,
        input: [usize; 2],
    ) -> Tensor {
        let _timer = profile::timer("conv2d input gradient");
        let conv = convolution(geometry, precision, shape(&w), input);
        let ([blocks, ..], dy, w): ([usize; 5], _, _) = (shape(&dy), whole(dy), whole(w));
        let channels = conv.kernel.inputs * geometry.groups;
        buffered(conv.input_gradient(floats(&dy), floats(&w)), [blocks, channels, input[0], input[1], LANES])
    }

    fn blocked_conv_keep(x: Tensor, w: Tensor, geometry: ConvGeometry, precision: Precision) -> Tensor {
        let _timer = profile::timer("conv2d keep");
        let [blocks, _, height, width, _] = shape(&x);
        let x = whole(x);
        match convolution(geometry, precision, shape(&w), [height, width]).keep(floats(&x)) {
            Some(pairs) => {
                let blocks = blocks.div_ceil(2);
                let lines = pairs.len() / (blocks * LANES);
                buffered(pairs, [blocks, 1, 1, lines, LANES])
            }
            None => x,
        }
    }

    fn blocked_conv_weight(
        x: Tensor,
        dy: Tensor,
        geometry: ConvGeometry,
        precision: Precision,
        input: [usize; 2],
        kernel: [usize; 4],
    ) -> Tensor {
        let _timer = profile::timer("conv2d weight gradient");
        let conv = convolution(geometry, precision, kernel, input);
        let (x, dy) = (whole(x), whole(dy));
        buffered(conv.weight_gradient(floats(&x), floats(&dy)), kernel)
    }

    fn blocked_norm(
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        epsilon: f32,
        activation: Activation,
        images: usize,
    ) -> (Tensor, Tensor, Tensor) {
        let _timer = profile::timer("batch norm forward");
        let (x, gamma, beta) = (whole(x), whole(gamma), whole(beta));
        let extent = extent(&x, images);
        let norm = Norm { gamma: floats(&gamma), beta: floats(&beta), epsilon, activation };
        let (y, statistics) = norm.forward(Isa::detect(), floats(&x), extent);
        let channels = [extent.channels];
        (buffered(y, shape::<5>(&x)), tensor(statistics.mean, channels), tensor(statistics.variance, channels))
    }

    fn blocked_norm_gradient(
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        mean: Tensor,
        variance: Tensor,
        dy: Tensor,
        epsilon: f32,
        activation: Activation,
        images: usize,
    ) -> (Tensor, Tensor, Tensor) {
        let _timer = profile::timer("batch norm gradient");
        let (x, dy, gamma, beta) = (whole(x), whole(dy), whole(gamma), whole(beta));
        let extent = extent(&x, images);
        let statistics =
            Statistics { mean: floats(&whole(mean)).to_vec(), variance: floats(&whole(variance)).to_vec() };
        let norm = Norm { gamma: floats(&gamma), beta: floats(&beta), epsilon, activation };
        let (dx, dgamma, dbeta) = norm.gradient(Isa::detect(), floats(&x), floats(&dy), &statistics, extent);
        let channels = [extent.channels];
        (buffered(dx, shape::<5>(&x)), tensor(dgamma, channels), tensor(dbeta, channels))
    }

    fn blocked_affine(x: Tensor, scale: Tensor, shift: Tensor, activation: Activation) -> Tensor {
        let _timer = profile::timer("affine forward");
        let (x, scale, shift) = (whole(x), whole(scale), whole(shift));
        let [_, _, height, width, _] = shape(&x);
        let y =
            pointwise::affine(Isa::detect(), floats(&x), floats(&scale), floats(&shift), height * width, activation);
        buffered(y, shape::<5>(&x))
    }

    fn blocked_affine_gradient(
        x: Tensor,
        y: Tensor,
        scale: Tensor,
        dy: Tensor,
        activation: Activation,
    ) -> (Tensor, Tensor, Tensor) {
        let _timer = profile::timer("affine gradient");
        let (x, y, scale, dy) = (whole(x), whole(y), whole(scale), whole(dy));
        let [_, channels, height, width, _] = shape(&x);
        let (dx, dscale, dshift) = pointwise::affine_gradient(
            Isa::detect(),
            floats(&x),
            floats(&y),
            floats(&dy),
            floats(&scale),
            height * width,
            activation,
        );
        (buffered(dx, shape::<5>(&x)), tensor(dscale, [channels]), tensor(dshift, [channels]))
    }

    fn blocked_add(a: Tensor, b: Tensor, activation: Activation) -> Tensor {
        let _timer = profile::timer("add forward");
        let (a, b) = (whole(a), whole(b));
        buffered(pointwise::add(Isa::detect(), floats(&a), floats(&b), activation), shape::<5>(&a))
    }

    fn blocked_activate(x: Tensor, activation: Activation) -> Tensor {
        let _timer = profile::timer("activation forward");
        let x = whole(x);
        buffered(pointwise::activate(Isa::detect(), floats(&x), activation), shape::<5>(&x))
    }

    fn blocked_activation_gradient(y: Tensor, dy: Tensor, activation: Activation) -> Tensor {
        let _timer = profile::timer("activation gradient");
        let (y, dy) = (whole(y), whole(dy));
        buffered(pointwise::activation_gradient(Isa::detect(), floats(&y), floats(&dy), activation), shape::<5>(&y))
    }

    fn blocked_pool(x: Tensor, geometry: PoolGeometry, pooling: Pooling) -> Tensor {
        let _timer = profile::timer(pool_names(pooling)[0]);
        let [blocks, channels, height, width, _] = shape(&x);
        let pool = Pool::new(&geometry, pooling, [height, width]);
        let output = pool.output();
        buffered(pool.forward(Isa::detect(), floats(&whole(x))), [blocks, channels, output[0], output[1], LANES])
    }

    fn blocked_pool_gradient(x: Tensor, y: Tensor, dy: Tensor, geometry: PoolGeometry, pooling: Pooling) -> Tensor {
        let _timer = profile::timer(pool_names(pooling)[1]);
        let (x, y, dy) = (whole(x), whole(y), whole(dy));
        let [_, _, height, width, _] = shape(&x);
        let pool = Pool::new(&geometry, pooling, [height, width]);
        buffered(pool.gradient(Isa::detect(), floats(&x), floats(&y), floats(&dy)), shape::<5>(&x))
    }
}
