//! Rank-erased tensors: what the interpreter computes with, and the few helpers that it needs over burn's operators.
//!
//! A scalar of the graph (rank 0) is held with the shape `[1]`, since not every backend has rank 0.

use burn::{
    backend::ops::{BoolTensorOps, FloatTensorOps, IntTensorOps},
    backend::{DType, Dispatch, DispatchDevice, DispatchTensor, TensorMetadata, get_device_settings},
    tensor::{Slice, TensorData, read_sync},
};
use gaunt_kernels::bytes_of;

/// A tensor of any rank on any device.
pub(crate) type Plain = DispatchTensor;

/// Copies host numbers to a device.
pub(crate) fn upload(values: &[f32], shape: &[usize], device: &DispatchDevice) -> Plain {
    let data = TensorData::from_bytes(bytes_of(values), device_shape(shape), DType::F32);
    Dispatch::float_from_data(data, device)
}

/// Copies a tensor to the host, row-major; `None` if the device fails.
pub(crate) fn download(tensor: Plain) -> Option<Vec<f32>> {
    read_sync(Dispatch::float_into_data(tensor)).ok()?.try_into_vec().ok()
}

/// Copies a tensor to numbers on the host, row-major; `None` if the device fails, or there are not as many.
pub(crate) fn download_into(tensor: Plain, to: &mut [f32]) -> Option<()> {
    let data = read_sync(Dispatch::float_into_data(tensor)).ok()?;
    let from = data.as_slice::<f32>().ok()?;
    (from.len() == to.len()).then(|| to.copy_from_slice(from))
}

/// The shape.
pub(crate) fn shape(tensor: &Plain) -> Vec<usize> {
    tensor.shape().iter().copied().collect()
}

/// The same elements under another shape.
pub(crate) fn reshape(tensor: Plain, to: &[usize]) -> Plain {
    if shape(&tensor) == to { tensor } else { Dispatch::float_reshape(tensor, device_shape(to).into()) }
}

/// Gives a tensor `rank` axes by leading ones, as broadcasting wants.
pub(crate) fn with_rank(tensor: Plain, rank: usize) -> Plain {
    let old = shape(&tensor);
    let mut new = vec![1; rank.saturating_sub(old.len())];
    new.extend(old);
    reshape(tensor, &new)
}

/// Two tensors with the rank of the larger.
pub(crate) fn aligned(a: Plain, b: Plain) -> (Plain, Plain) {
    let rank = a.shape().num_dims().max(b.shape().num_dims());
    (with_rank(a, rank), with_rank(b, rank))
}

/// Repeats axes of size 1 until the shape is `to`, which may have more axes.
pub(crate) fn expand(tensor: Plain, to: &[usize]) -> Plain {
    let tensor = with_rank(tensor, to.len().max(1));
    if shape(&tensor) == to { tensor } else { Dispatch::float_expand(tensor, device_shape(to).into()) }
}

/// The shape that two shapes of equal rank broadcast to.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Vec<usize> {
    a.iter().zip(b).map(|(&a, &b)| if a == 1 { b } else { a }).collect()
}

/// The slices at `indices` along `axis`.
pub(crate) fn select(tensor: Plain, axis: usize, indices: &[usize]) -> Plain {
    let device = tensor.device();
    let kind: DType = get_device_settings::<Dispatch>(&device).int_dtype.into();
    let indices: Vec<i64> = indices.iter().map(|&i| i as i64).collect();
    let count = indices.len();
    let data = TensorData::new(indices, [count]).convert_dtype(kind);
    Dispatch::float_select(tensor, axis, Dispatch::int_from_data(data, &device))
}

/// The range `start..end` along `axis`.
pub(crate) fn narrow(tensor: Plain, axis: usize, start: usize, end: usize) -> Plain {
    let whole = shape(&tensor);
    if (start, end) == (0, whole[axis]) {
        return tensor;
    }
    let ranges = whole.iter().enumerate();
    let slices: Vec<Slice> =
        ranges.map(|(i, &size)| if i == axis { Slice::from(start..end) } else { Slice::from(0..size) }).collect();
    Dispatch::float_slice(tensor, &slices)
}

/// `a` where `condition` is not zero, else `b`; all of one shape.
pub(crate) fn choose(condition: Plain, a: Plain, b: Plain) -> Plain {
    let settings = get_device_settings::<Dispatch>(&condition.device());
    let mask = Dispatch::float_not_equal_elem(condition, 0f32.into(), settings.bool_dtype);
    Dispatch::float_mask_where(b, mask, a)
}

/// 1 where `a < b`, else 0; both of one shape. It has no gradient.
pub(crate) fn lower(a: Plain, b: Plain) -> Plain {
    let settings = get_device_settings::<Dispatch>(&a.device());
    let mask = Dispatch::float_lower(a, b, settings.bool_dtype);
    Dispatch::bool_into_float(mask, settings.float_dtype)
}

/// 1 where not zero, else 0. It has no gradient.
pub(crate) fn not_zero(tensor: Plain) -> Plain {
    let settings = get_device_settings::<Dispatch>(&tensor.device());
    let mask = Dispatch::float_not_equal_elem(tensor, 0f32.into(), settings.bool_dtype);
    Dispatch::bool_into_float(mask, settings.float_dtype)
}

fn device_shape(shape: &[usize]) -> Vec<usize> {
    if shape.is_empty() { vec![1] } else { shape.to_vec() }
}
