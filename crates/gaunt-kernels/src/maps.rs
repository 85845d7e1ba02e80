//! Maps in the layout that their device likes best, and the operators on them.

use burn::{
    backend::{Dispatch, DispatchDevice, DispatchTensor, TensorMetadata, ops::FloatTensorOps},
    tensor::FloatDType,
};

use crate::{
    backend::BlockedOps,
    geometry::ConvGeometry,
    plain,
    pointwise::Activation,
    pool::{PoolGeometry, Pooling},
    precision::Precision,
};

/// A batch of feature maps `[N, C, H, W]`.
///
/// On the CPU device (flex) they are blocked, sixteen images side by side; on any other device they are as burn has
/// them. Operators keep the layout; only the ways in and out convert.
#[derive(Clone, Debug)]
pub struct Maps(Layout);

#[derive(Clone, Debug)]
enum Layout {
    Plain(DispatchTensor),
    Blocked { tensor: DispatchTensor, images: usize },
}

impl Maps {
    /// Takes `[N, C, H, W]`. Differentiable.
    pub fn from_tensor(tensor: DispatchTensor) -> Self {
        match tensor.device().inner() {
            DispatchDevice::Flex(_) => {
                let images = tensor.shape()[0];
                Self(Layout::Blocked { tensor: Dispatch::block(tensor), images })
            }
            #[allow(unreachable_patterns, reason = "other devices are behind features")]
            _ => Self(Layout::Plain(tensor)),
        }
    }

    /// Takes `[N, C, H, W]` as it is, on any device: the reference that blocked maps are compared with.
    #[cfg(test)]
    pub(crate) fn plain(tensor: DispatchTensor) -> Self {
        Self(Layout::Plain(tensor))
    }

    /// Gives `[N, C, H, W]`. Differentiable.
    pub fn into_tensor(self) -> DispatchTensor {
        match self.0 {
            Layout::Plain(tensor) => tensor,
            Layout::Blocked { tensor, images } => Dispatch::unblock(tensor, images),
        }
    }

    /// `[N, C, H, W]`.
    pub fn shape(&self) -> [usize; 4] {
        match &self.0 {
            Layout::Plain(tensor) => std::array::from_fn(|axis| tensor.shape()[axis]),
            Layout::Blocked { tensor, images } => {
                let shape = tensor.shape();
                [*images, shape[1], shape[2], shape[3]]
            }
        }
    }
}

/// Convolution with `weight [O, C / groups, KH, KW]` and, if there is one, `bias [O]`.
pub fn conv2d(
    x: Maps,
    weight: DispatchTensor,
    bias: Option<DispatchTensor>,
    g: &ConvGeometry,
    precision: Precision,
) -> Maps {
    let outputs = weight.shape()[0];
    let y = match x.0 {
        Layout::Plain(x) => Layout::Plain(plain::conv2d(x, weight, g, precision)),
        Layout::Blocked { tensor, images } => {
            Layout::Blocked { tensor: Dispatch::blocked_conv(tensor, weight, *g, precision), images }
        }
    };
    match bias {
        None => Maps(y),
        Some(bias) => {
            let ones = burn::tensor::TensorData::new(vec![1f32; outputs], [outputs]);
            let ones = Dispatch::float_from_data(ones, &bias.device().inner());
            affine(Maps(y), ones, bias, Activation::None)
        }
    }
}

/// Batch norm by the statistics of the batch, with an activation. Returns also the mean and the biased variance
/// `[C]` of each channel.
pub fn batch_norm(
    x: Maps,
    gamma: DispatchTensor,
    beta: DispatchTensor,
    epsilon: f32,
    activation: Activation,
) -> (Maps, DispatchTensor, DispatchTensor) {
    match x.0 {
        Layout::Plain(x) => {
            let (y, mean, variance) = plain::batch_norm(x, gamma, beta, epsilon, activation);
            (Maps(Layout::Plain(y)), mean, variance)
        }
        Layout::Blocked { tensor, images } => {
            let (tensor, mean, variance) = Dispatch::blocked_norm(tensor, gamma, beta, epsilon, activation, images);
            (Maps(Layout::Blocked { tensor, images }), mean, variance)
        }
    }
}

/// `activation(scale * x + shift)` with `scale` and `shift [C]`.
pub fn affine(x: Maps, scale: DispatchTensor, shift: DispatchTensor, activation: Activation) -> Maps {
    Maps(match x.0 {
        Layout::Plain(x) => Layout::Plain(plain::affine(x, scale, shift, activation)),
        Layout::Blocked { tensor, images } => {
            Layout::Blocked { tensor: Dispatch::blocked_affine(tensor, scale, shift, activation), images }
        }
    })
}

/// `activation(a + b)` of maps of one shape on one device.
pub fn add(a: Maps, b: Maps, activation: Activation) -> Maps {
    Maps(match (a.0, b.0) {
        (Layout::Blocked { tensor: a, images }, Layout::Blocked { tensor: b, .. }) => {
            Layout::Blocked { tensor: Dispatch::blocked_add(a, b, activation), images }
        }
        (a, b) => {
            let sum = Dispatch::float_add(Maps(a).into_tensor(), Maps(b).into_tensor());
            Layout::Plain(plain::activate(sum, activation))
        }
    })
}

/// `activation(x)`.
pub fn activate(x: Maps, activation: Activation) -> Maps {
    Maps(match x.0 {
        Layout::Plain(x) => Layout::Plain(plain::activate(x, activation)),
        Layout::Blocked { tensor, images } => {
            Layout::Blocked { tensor: Dispatch::blocked_activate(tensor, activation), images }
        }
    })
}

/// The largest of each window; padding never wins.
pub fn max_pool(x: Maps, pool: &PoolGeometry) -> Maps {
    Maps(match x.0 {
        Layout::Plain(x) => Layout::Plain(plain::max_pool(x, pool)),
        Layout::Blocked { tensor, images } => {
            Layout::Blocked { tensor: Dispatch::blocked_pool(tensor, *pool, Pooling::Max), images }
        }
    })
}

/// The mean of each window.
pub fn average_pool(x: Maps, pool: &PoolGeometry, count_include_pad: bool) -> Maps {
    Maps(match x.0 {
        Layout::Plain(x) => Layout::Plain(plain::average_pool(x, pool, count_include_pad)),
        Layout::Blocked { tensor, images } => {
            let pooling = Pooling::Average { include_pad: count_include_pad };
            Layout::Blocked { tensor: Dispatch::blocked_pool(tensor, *pool, pooling), images }
        }
    })
}

/// The mean of each map, `[N, C]`.
pub fn global_average(x: Maps) -> DispatchTensor {
    let [images, channels, height, width] = x.shape();
    let window = [height, width];
    let pool = PoolGeometry { kernel: window, stride: window, pads: [0; 4], dilation: [1; 2], ceil: false };
    Dispatch::float_reshape(average_pool(x, &pool, false).into_tensor(), [images, channels].into())
}

/// Every `stride`-th pixel down and across, from the first.
pub fn subsample(x: Maps, stride: [usize; 2]) -> Maps {
    let pool = PoolGeometry { kernel: [1; 2], stride, pads: [0; 4], dilation: [1; 2], ceil: false };
    average_pool(x, &pool, false)
}

/// Adds channels of zeros before and after.
pub fn pad_channels(x: Maps, before: usize, after: usize) -> Maps {
    let pad = |tensor: DispatchTensor| {
        let zeros = |channels: usize| {
            let mut shape = tensor.shape();
            shape[1] = channels;
            Dispatch::float_zeros(shape, &tensor.device().inner(), FloatDType::F32)
        };
        let mut parts = vec![zeros(before), tensor.clone(), zeros(after)];
        parts.retain(|part| part.shape()[1] > 0);
        Dispatch::float_cat(parts, 1)
    };
    Maps(match x.0 {
        Layout::Plain(tensor) => Layout::Plain(pad(tensor)),
        Layout::Blocked { tensor, images } => Layout::Blocked { tensor: pad(tensor), images },
    })
}
