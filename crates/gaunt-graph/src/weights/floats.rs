//! Bytes of floating-point numbers as `f32`.

use std::vec::Vec;

use crate::half::half_to_float;

/// How a number is stored, little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    F64,
    F32,
    F16,
    /// The upper half of an `F32`.
    Bf16,
}

pub(super) fn floats(bytes: &[u8], format: Format) -> Vec<f32> {
    match format {
        Format::F64 => decode(bytes, |bytes| f64::from_le_bytes(bytes) as f32),
        Format::F32 => decode(bytes, f32::from_le_bytes),
        Format::F16 => decode(bytes, |bytes| half_to_float(u16::from_le_bytes(bytes))),
        Format::Bf16 => decode(bytes, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)),
    }
}

fn decode<const SIZE: usize>(bytes: &[u8], number: impl Fn([u8; SIZE]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<SIZE>().0.iter().map(|&bytes| number(bytes)).collect()
}
