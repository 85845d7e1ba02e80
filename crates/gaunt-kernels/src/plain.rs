//! The operators on plain maps `[N, C, H, W]`, made of burn's own: the default body on every device, and the reference
//! that the kernels are tested against.

use burn::backend::{
    Dispatch, DispatchTensor, TensorMetadata,
    ops::{ActivationOps, ConvOptions, FloatTensorOps, ModuleOps, PadMode},
};
use burn::tensor::{FloatDType, TensorData};

use crate::{
    geometry::ConvGeometry,
    pointwise::Activation,
    pool::{PoolGeometry, Windows},
    precision::Precision,
};

fn reshape(tensor: DispatchTensor, shape: &[usize]) -> DispatchTensor {
    Dispatch::float_reshape(tensor, shape.to_vec().into())
}

fn shape(x: &DispatchTensor) -> [usize; 4] {
    let shape = x.shape();
    std::array::from_fn(|axis| shape[axis])
}

pub(crate) fn conv2d(
    x: DispatchTensor,
    weight: DispatchTensor,
    g: &ConvGeometry,
    precision: Precision,
) -> DispatchTensor {
    let [top, left, bottom, right] = g.pads;
    let options = ConvOptions {
        stride: g.stride,
        padding: [(top, bottom), (left, right)],
        dilation: g.dilation,
        groups: g.groups,
    };
    let precision = precision.of_sums(shape(&weight)[1]);
    Dispatch::conv2d(operand(x, precision), operand(weight, precision), None, options)
}

/// Rounds an operand. Its gradient is rounded on the way back; the kernels round the gradient of the result instead.
fn operand(x: DispatchTensor, precision: Precision) -> DispatchTensor {
    match precision {
        Precision::Fp32 => x,
        Precision::Bf16 => Dispatch::float_cast(Dispatch::float_cast(x, FloatDType::BF16), FloatDType::F32),
    }
}

pub(crate) fn batch_norm(
    x: DispatchTensor,
    gamma: DispatchTensor,
    beta: DispatchTensor,
    epsilon: f32,
    activation: Activation,
) -> (DispatchTensor, DispatchTensor, DispatchTensor) {
    let channels = [shape(&x)[1]];
    let mean_of = |x: DispatchTensor| [3, 2, 0].into_iter().fold(x, Dispatch::float_mean_dim);
    let mean = mean_of(x.clone());
    let centred = Dispatch::float_sub(x, mean.clone());
    let variance = mean_of(Dispatch::float_mul(centred.clone(), centred.clone()));
    let deviation = Dispatch::float_sqrt(Dispatch::float_add_scalar(variance.clone(), epsilon.into()));
    let normal = affine(Dispatch::float_div(centred, deviation), gamma, beta, activation);
    (normal, reshape(mean, &channels), reshape(variance, &channels))
}

pub(crate) fn affine(
    x: DispatchTensor,
    scale: DispatchTensor,
    shift: DispatchTensor,
    activation: Activation,
) -> DispatchTensor {
    let per_channel = [1, shape(&x)[1], 1, 1];
    let scaled = Dispatch::float_mul(x, reshape(scale, &per_channel));
    activate(Dispatch::float_add(scaled, reshape(shift, &per_channel)), activation)
}

pub(crate) fn activate(x: DispatchTensor, activation: Activation) -> DispatchTensor {
    match activation {
        Activation::None => x,
        Activation::Relu => Dispatch::relu(x),
        Activation::Relu6 => Dispatch::float_clamp(x, 0f32.into(), 6f32.into()),
    }
}

pub(crate) fn max_pool(x: DispatchTensor, pool: &PoolGeometry) -> DispatchTensor {
    Dispatch::max_pool2d(padded(x, pool, f32::NEG_INFINITY), pool.kernel, pool.stride, [0, 0], pool.dilation, false)
}

/// Sums each window by a depthwise convolution with ones, and divides by how many positions count.
pub(crate) fn average_pool(x: DispatchTensor, pool: &PoolGeometry, count_include_pad: bool) -> DispatchTensor {
    let ([_, channels, height, width], device) = (shape(&x), x.device());
    let upload =
        |floats: Vec<f32>, shape: Vec<usize>| Dispatch::float_from_data(TensorData::new(floats, shape), &device);
    let ones = vec![channels, 1, pool.kernel[0], pool.kernel[1]];
    let weight = upload(vec![1.0; ones.iter().product()], ones);
    let options = ConvOptions { stride: pool.stride, padding: [(0, 0); 2], dilation: pool.dilation, groups: channels };
    let sums = Dispatch::conv2d(padded(x, pool, 0.0), weight, None, options);
    let counts = [0, 1].map(|axis| Windows::new(pool, axis, [height, width][axis]).counts(count_include_pad));
    let shares = counts[0].iter().flat_map(|&h| counts[1].iter().map(move |&w| 1.0 / (h * w) as f32)).collect();
    Dispatch::float_mul(sums, upload(shares, vec![1, 1, counts[0].len(), counts[1].len()]))
}

/// Maps with `value` around them, so that windows without padding cover what the pool's windows cover.
fn padded(x: DispatchTensor, pool: &PoolGeometry, value: f32) -> DispatchTensor {
    let [.., height, width] = shape(&x);
    let pads = [height, width].into_iter().enumerate().map(|(axis, size)| {
        let windows = Windows::new(pool, axis, size);
        (windows.before, windows.end().saturating_sub(windows.before + size))
    });
    let pads: Vec<(usize, usize)> = [(0, 0); 2].into_iter().chain(pads).collect();
    if pads == [(0, 0); 4] { x } else { Dispatch::float_pad(x, &pads, PadMode::Constant(value)) }
}
