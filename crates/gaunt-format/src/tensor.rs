//! One parameter as bytes.
//!
//! The first byte says how: floats as they are, or codes. Scales on the logarithmic grid and codes share one stream
//! of the entropy coder.

use alloc::{format, vec, vec::Vec};

use gaunt_graph::{Data, Tensor, log_scale, nearest_log_scale};

use crate::{
    FormatError,
    ans::{Coder, Decoder, Encoder},
    codes,
    half::{exact_half, float_of},
    limits,
    wire::{Reader, Writer},
};

const PLACE: &str = "a tensor";
const FLOATS: u8 = 0;
/// Floats of 16 bits, where these are enough for all of them.
const HALVES: u8 = 5;
/// One scale on the grid; one for each output channel on the grid; one, or one for each channel, as floats.
const CODES_GRID_ONE: u8 = 1;
const CODES_GRID: u8 = 2;
const CODES_FLOAT_ONE: u8 = 3;
const CODES_FLOAT: u8 = 4;

/// Writes the data of a tensor.
pub(crate) fn write(tensor: &Tensor) -> Vec<u8> {
    let mut out = Writer::default();
    match tensor.data() {
        Data::Floats(floats) => {
            write_floats(&mut out, floats);
        }
        Data::Codes { codes, scales } => {
            let one = scales.len() == 1;
            let grid = grid_codes(scales);
            out.0.push(match (&grid, one) {
                (Some(_), true) => CODES_GRID_ONE,
                (Some(_), false) => CODES_GRID,
                (None, true) => CODES_FLOAT_ONE,
                (None, false) => CODES_FLOAT,
            });
            let mut coder = Encoder::new(codes.len());
            match grid {
                Some(grid) => write_grid(&mut coder, &grid),
                None => scales.iter().for_each(|&scale| out.float(scale)),
            }
            codes::write(&mut coder, codes, tensor.shape());
            out.0.extend(coder.finish());
        }
    }
    out.0
}

/// Reads the data of a tensor of a known shape.
pub(crate) fn read(bytes: &[u8], shape: Vec<usize>) -> Result<Tensor, FormatError> {
    match Source::open(bytes, &shape)? {
        Source::Floats { mut input, size } => {
            let floats = (0..input.left() / size).map(|_| read_float(&mut input, size));
            Ok(Tensor::new(shape, floats.collect::<Result<Vec<f32>, FormatError>>()?)?)
        }
        Source::Codes { mut coder, scales } => {
            let codes = codes::read_last(&mut coder, &shape).ok_or(FormatError::Truncated { place: PLACE })?;
            Ok(Tensor::from_codes(shape, codes, scales)?)
        }
    }
}

/// Where the elements of a tensor come from.
enum Source<'a> {
    /// So many floats of `size` bytes as there are elements.
    Floats {
        input: Reader<'a>,
        size: usize,
    },
    Codes {
        coder: Decoder<'a>,
        scales: Vec<f32>,
    },
}

impl<'a> Source<'a> {
    fn open(bytes: &'a [u8], shape: &[usize]) -> Result<Self, FormatError> {
        let count = limits::elements(shape)?;
        let mut input = Reader::new(bytes, PLACE);
        let kind = input.byte()?;
        let scales = match kind {
            FLOATS | HALVES => {
                let size = if kind == HALVES { 2 } else { 4 };
                if count.checked_mul(size) == Some(input.left()) {
                    return Ok(Self::Floats { input, size });
                }
                let left = input.left();
                return Err(input.invalid(format!("{count} floats of {size} bytes do not fill the {left} bytes left")));
            }
            CODES_GRID_ONE | CODES_FLOAT_ONE => 1,
            CODES_GRID | CODES_FLOAT => shape.first().copied().unwrap_or(1),
            _ => {
                return Err(
                    input.invalid(format!("kind {kind} of data is not known; read it with a newer version of gaunt"))
                );
            }
        };
        let floats = match kind {
            CODES_FLOAT_ONE | CODES_FLOAT => {
                (0..scales).map(|_| input.float()).collect::<Result<Vec<f32>, FormatError>>()?
            }
            _ => Vec::new(),
        };
        let mut coder = Decoder::new(input.take(input.left())?, count);
        let scales = if floats.is_empty() { read_grid(&mut coder, scales)? } else { floats };
        if !scales.iter().all(|scale| scale.is_finite() && *scale > 0.0) {
            return Err(FormatError::invalid(PLACE, "a scale is not positive"));
        }
        Ok(Self::Codes { coder, scales })
    }
}

/// A tensor that is read row by row: a row is what has the same place on the first axis. A vector is one row, and so is a scalar.
///
/// What it holds is a row, the scales, a few numbers for each column and the state of the coder, some 40 KiB; never the tensor.
pub struct Rows<'a> {
    source: Source<'a>,
    /// Those of codes.
    codes: Option<codes::Rows>,
    next: usize,
    count: usize,
    /// The buffers that rows are read into: of one the row's length, the other stays empty.
    float_row: Vec<f32>,
    code_row: Vec<i32>,
}

/// A row of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Row<'r> {
    /// The elements.
    Floats(&'r [f32]),
    /// Elements are codes times scales.
    Codes {
        /// The codes.
        codes: &'r [i32],
        /// One for the row; or, in a vector whose elements have their own, one for each code.
        scales: &'r [f32],
    },
}

impl<'a> Rows<'a> {
    pub(crate) fn open(bytes: &'a [u8], shape: &[usize]) -> Result<Self, FormatError> {
        let mut source = Source::open(bytes, shape)?;
        let (count, length) = match *shape {
            _ if shape.contains(&0) => (0, 0),
            [] => (1, 1),
            [n] => (1, n),
            [count, ref others @ ..] => (count, others.iter().product()),
        };
        let (mut codes, mut float_row, mut code_row) = (None, Vec::new(), Vec::new());
        match &mut source {
            Source::Floats { .. } => float_row.resize(length, 0.0),
            Source::Codes { coder, .. } => {
                if count == 0 && !coder.is_complete() {
                    return Err(FormatError::Truncated { place: PLACE });
                }
                code_row.resize(length, 0);
                codes = (count > 0).then(|| codes::Rows::begin(coder, shape));
            }
        }
        Ok(Self { source, codes, next: 0, count, float_row, code_row })
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The next row; none behind the last one.
    ///
    /// # Errors
    /// If the bytes end early or are none of ours. There is no row after that.
    pub fn next_row(&mut self) -> Result<Option<Row<'_>>, FormatError> {
        if self.next == self.count {
            return Ok(None);
        }
        let row = core::mem::replace(&mut self.next, self.count);
        match &mut self.source {
            Source::Floats { input, size } => {
                for float in &mut self.float_row {
                    *float = read_float(input, *size)?;
                }
                self.next = row + 1;
                Ok(Some(Row::Floats(&self.float_row)))
            }
            Source::Codes { coder, scales } => {
                self.code_row.fill(0);
                let read = self.codes.as_mut().and_then(|codes| codes.next(coder, &mut self.code_row));
                let whole = row + 1 < self.count || coder.is_complete();
                read.filter(|()| whole).ok_or(FormatError::Truncated { place: PLACE })?;
                self.next = row + 1;
                let own = scales.len() > 1 && scales.len() == self.count;
                let scales = if own { &scales[row..=row] } else { scales };
                Ok(Some(Row::Codes { codes: &self.code_row, scales }))
            }
        }
    }
}

fn write_floats(out: &mut Writer, floats: &[f32]) {
    match floats.iter().map(|&float| exact_half(float)).collect::<Option<Vec<u16>>>() {
        Some(halves) => {
            out.0.push(HALVES);
            halves.iter().for_each(|half| out.0.extend(half.to_le_bytes()));
        }
        None => {
            out.0.push(FLOATS);
            floats.iter().for_each(|&float| out.float(float));
        }
    }
}

/// Reads a float of `size` bytes.
fn read_float(input: &mut Reader, size: usize) -> Result<f32, FormatError> {
    if size == 4 {
        return input.float();
    }
    let bytes = input.take(2)?;
    Ok(float_of(u16::from_le_bytes([bytes[0], bytes[1]])))
}

/// The grid codes of scales, if all lie on the grid.
fn grid_codes(scales: &[f32]) -> Option<Vec<i32>> {
    let code = |&scale: &f32| {
        let on_grid = scale.is_finite() && scale > 0.0;
        let code = on_grid.then(|| nearest_log_scale(scale))?;
        (log_scale(code) == scale).then_some(code)
    };
    scales.iter().map(code).collect()
}

/// The mean as 13 plain bits, then the distances from it as codes. (Neighbouring channels have little in common, so that
/// differences between them would cost half a bit more.)
fn write_grid(coder: &mut Encoder, grid: &[i32]) {
    let mean = grid.iter().map(|&code| i64::from(code)).sum::<i64>().div_euclid(grid.len().max(1) as i64) as i32;
    code_grid_mean(coder, mean);
    if grid.len() > 1 {
        let distances: Vec<i32> = grid.iter().map(|&code| code - mean).collect();
        codes::write(coder, &distances, &[grid.len()]);
    }
}

fn read_grid(coder: &mut Decoder, count: usize) -> Result<Vec<f32>, FormatError> {
    let mean = code_grid_mean(coder, 0);
    let distances = if count > 1 { codes::read(coder, &[count]) } else { Some(vec![0; count]) };
    let distances = distances.ok_or(FormatError::Truncated { place: PLACE })?;
    Ok(distances.into_iter().map(|distance| log_scale(mean.saturating_add(distance))).collect())
}

/// Grid codes lie between -4032 and 4064, see [`nearest_log_scale`].
fn code_grid_mean(coder: &mut impl Coder, mean: i32) -> i32 {
    coder.plain(0, (mean + GRID_ZERO) as u32, GRID_BITS) as i32 - GRID_ZERO
}

const GRID_BITS: u32 = 13;
const GRID_ZERO: i32 = 1 << 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A tensor comes back, as a whole and row by row.
    fn check(tensor: &Tensor) {
        let (bytes, shape) = (write(tensor), tensor.shape().to_vec());
        assert_eq!(read(&bytes, shape.clone()).as_ref(), Ok(tensor));
        let mut rows = Rows::open(&bytes, &shape).unwrap();
        let (mut elements, count) = (Vec::new(), rows.count());
        for _ in 0..count {
            match rows.next_row().unwrap().unwrap() {
                Row::Floats(floats) => elements.extend(floats),
                Row::Codes { codes, scales: &[scale] } => {
                    elements.extend(codes.iter().map(|&code| code as f32 * scale))
                }
                Row::Codes { codes, scales } => {
                    assert_eq!(codes.len(), scales.len());
                    elements.extend(codes.iter().zip(scales).map(|(&code, scale)| code as f32 * scale));
                }
            }
        }
        assert_eq!(rows.next_row(), Ok(None));
        assert_eq!(elements, tensor.to_floats());
    }

    proptest! {
        #[test]
        fn tensors_come_back(
            rows in 0usize..5, columns in 0usize..5,
            floats in prop_oneof![prop::collection::vec(any::<f32>(), 25), prop::collection::vec((-9i8..9).prop_map(f32::from), 25)],
            codes in prop::collection::vec(-4i32..4, 25),
            scales in prop::collection::vec(prop_oneof![1e-30f32..1e30, (-900i32..900).prop_map(log_scale)], 5),
        ) {
            let (shape, count) = (if rows == 4 { vec![columns] } else { vec![rows, columns] }, if rows == 4 { columns } else { rows * columns });
            let floats = Tensor::new(shape.clone(), floats[..count].iter().map(|x| if x.is_nan() { 0.0 } else { *x }).collect()).unwrap();
            check(&floats);
            for scales in [&scales[..1], &scales[..shape[0]]] {
                let Ok(coded) = Tensor::from_codes(shape.clone(), codes[..count].to_vec(), scales.to_vec()) else { continue };
                check(&coded);
            }
        }
    }

    #[test]
    fn what_holds_nothing_but_zeros_can_be_read_back() {
        for count in [1, 50_000, 600_000, 1_500_000] {
            let zeros = Tensor::from_codes(vec![1, count], vec![0; count], vec![1.0]).unwrap();
            let bytes = write(&zeros);
            assert_eq!(read(&bytes, vec![1, count]), Ok(zeros), "{count} zeros in {} bytes", bytes.len());
        }
    }

    #[test]
    fn a_few_bytes_cannot_claim_a_huge_tensor() {
        for shape in [vec![1 << 20, 1 << 20], vec![0, usize::MAX], vec![usize::MAX, 3]] {
            assert!(read(&[CODES_GRID_ONE, 0, 0], shape.clone()).is_err() || shape.contains(&0), "{shape:?}");
        }
    }

    #[test]
    fn negative_and_infinite_scales_are_refused() {
        for scale in [-1.0f32, 0.0, f32::INFINITY, f32::NAN] {
            let mut bytes = vec![CODES_FLOAT_ONE];
            bytes.extend(scale.to_le_bytes());
            assert!(read(&bytes, vec![2, 2]).is_err());
        }
    }
}
