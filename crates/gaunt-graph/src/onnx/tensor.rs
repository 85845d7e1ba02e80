//! Weights of an ONNX file: every element type that networks use, inline or in a file beside the model.

use std::borrow::Cow;

use onnx_rs::ast::{DataLocation, DataType, TensorProto};

use super::{
    OnnxError,
    constant::{Affine, Array, Constant},
    error::{Outcome, Reason, fail},
    external::External,
};
use crate::half::half_to_float;

/// Decodes a tensor; its declared size must match the bytes that are there.
pub(super) fn decode(tensor: &TensorProto<'_>, external: &External) -> Result<Constant, OnnxError> {
    decode_unnamed(tensor, external)
        .map_err(|Reason(reason)| OnnxError::Tensor { name: tensor.name().to_string(), reason })
}

fn decode_unnamed(tensor: &TensorProto<'_>, external: &External) -> Outcome<Constant> {
    if tensor.segment().is_some() {
        return fail!("tensors in segments are not supported");
    }
    let (shape, count) = size(tensor)?;
    let raw = match tensor.data_location() {
        DataLocation::Default => tensor.as_raw().map(Cow::Borrowed),
        DataLocation::External => Some(Cow::Owned(external.read(tensor)?)),
    };
    let source = Source { tensor, raw: raw.as_deref(), count };
    let constant = match tensor.data_type() {
        DataType::Float => {
            Constant::Floats(Array { shape, data: source.elements(f32::from_le_bytes, |t| t.as_f32())? })
        }
        DataType::Double => floats(shape, source.elements(f64::from_le_bytes, |t| t.as_f64())?, |x| x as f32),
        DataType::Float16 => floats(shape, source.bits16()?, half_to_float),
        DataType::Bfloat16 => floats(shape, source.bits16()?, |bits| f32::from_bits(u32::from(bits) << 16)),
        DataType::Int64 => ints(shape, source.elements(i64::from_le_bytes, |t| t.as_i64())?),
        DataType::Int32 => ints(shape, source.narrow(i32::from_le_bytes, |x| x)?),
        DataType::Int16 => ints(shape, source.narrow(i16::from_le_bytes, |x| x as i16)?),
        DataType::Uint16 => ints(shape, source.narrow(u16::from_le_bytes, |x| x as u16)?),
        DataType::Int8 => ints(shape, source.narrow(i8::from_le_bytes, |x| x as i8)?),
        DataType::Uint8 => ints(shape, source.narrow(u8::from_le_bytes, |x| x as u8)?),
        DataType::Bool => ints(shape, source.narrow(|[byte]: [u8; 1]| u8::from(byte != 0), |x| u8::from(x != 0))?),
        DataType::Uint32 => ints(shape, source.elements(u32::from_le_bytes, |t| t.as_u64().map(truncate))?),
        DataType::Uint64 => {
            let numbers = source.elements(u64::from_le_bytes, |t| t.as_u64())?;
            ints(shape, numbers.into_iter().map(|x| i64::try_from(x).unwrap_or(i64::MAX)).collect())
        }
        other => return fail!("element type {other:?} is not supported; use floats or integers"),
    };
    Ok(constant)
}

/// The shape and the number of elements.
fn size(tensor: &TensorProto<'_>) -> Outcome<(Vec<usize>, usize)> {
    let shape: Option<Vec<usize>> = tensor.dims().iter().map(|&dim| usize::try_from(dim).ok()).collect();
    let count = shape.as_ref().and_then(|s| s.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim)));
    match shape.zip(count) {
        Some(size) => Ok(size),
        None => fail!("{:?} is not a shape", tensor.dims()),
    }
}

/// Where the elements of one tensor are.
struct Source<'a> {
    tensor: &'a TensorProto<'a>,
    raw: Option<&'a [u8]>,
    count: usize,
}

impl<'a> Source<'a> {
    /// The elements, from raw bytes or else from the typed field.
    fn elements<T: Clone + 'a, const N: usize>(
        &self,
        from_bytes: impl Fn([u8; N]) -> T,
        typed: impl Fn(&'a TensorProto<'a>) -> Option<Cow<'a, [T]>>,
    ) -> Outcome<Vec<T>> {
        let elements = match self.raw {
            Some(raw) => {
                let (chunks, rest) = raw.as_chunks::<N>();
                self.check(chunks.len(), rest.len())?;
                chunks.iter().map(|&chunk| from_bytes(chunk)).collect()
            }
            None => {
                let elements = typed(self.tensor).unwrap_or_default();
                self.check(elements.len(), 0)?;
                elements.into_owned()
            }
        };
        Ok(elements)
    }

    /// As [`elements`](Self::elements), for types whose typed field is `int32_data`.
    fn narrow<T: Clone + 'a, const N: usize>(
        &self,
        from_bytes: impl Fn([u8; N]) -> T,
        from_int: impl Fn(i32) -> T,
    ) -> Outcome<Vec<T>> {
        self.elements(from_bytes, |tensor| tensor.as_i32().map(|ints| ints.iter().map(|&x| from_int(x)).collect()))
    }

    fn bits16(&self) -> Outcome<Vec<u16>> {
        self.narrow(u16::from_le_bytes, |x| x as u16)
    }

    fn check(&self, found: usize, rest: usize) -> Outcome<()> {
        if found == self.count && rest == 0 {
            return Ok(());
        }
        fail!("shape {:?} has {} elements, but the file holds {found}", self.tensor.dims(), self.count)
    }
}

fn truncate(numbers: Cow<'_, [u64]>) -> Cow<'static, [u32]> {
    numbers.iter().map(|&x| x as u32).collect()
}

fn floats<T>(shape: Vec<usize>, data: Vec<T>, convert: impl Fn(T) -> f32) -> Constant {
    Constant::Floats(Array { shape, data: data.into_iter().map(convert).collect() })
}

fn ints<T: Into<i64>>(shape: Vec<usize>, data: Vec<T>) -> Constant {
    Constant::Ints(Array { shape, data: data.into_iter().map(|x| Affine::number(x.into())).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_sizes_must_match_the_bytes() {
        let decode =
            |dims, bytes: &[u8]| decode(&TensorProto::from_raw("w", dims, DataType::Float, bytes), &External::None);
        assert!(decode(vec![2], &[0; 8]).is_ok());
        assert!(decode(vec![0], &[]).is_ok());
        for (dims, length) in
            [(vec![2], 7), (vec![2], 12), (vec![i64::MAX], 8), (vec![-1], 4), (vec![1 << 40, 1 << 40], 4)]
        {
            assert!(matches!(decode(dims, &vec![0; length]), Err(OnnxError::Tensor { .. })));
        }
    }
}
