//! The coder as a judge of choices.

use alloc::{vec, vec::Vec};

use crate::{
    ans::Discard,
    code_model::{BATCH, CodeModel, Dims, Kernel},
    fullness::PART,
    plan::Plan,
};

/// What each choice for the next code would cost, for rate-distortion optimised quantisation (Wiedemann et al.,
/// *DeepCABAC*, 2020).
///
/// It walks over a tensor kernel by kernel: ask for the [`cost`](Self::cost) of a code, [`take`](Self::take) one, and
/// when the kernel is complete [`commit`](Self::commit) it. The model learns when the coder does, sixteen kernels at a time.
#[derive(Clone, Debug)]
pub struct CostModel {
    dims: Dims,
    model: CodeModel,
    kernel: Kernel,
    /// The row so far, and the column that is next.
    row: Vec<i32>,
    column: usize,
    /// Columns of kernels with other codes than zeros, or all, that the model has not learnt from.
    batch: Vec<usize>,
    /// Which kernels are not empty in the part of the row that the next one belongs to.
    flags: [bool; PART],
}

impl CostModel {
    /// At the first kernel of a tensor whose codes will be much like `codes`, such as the rounded weights: the estimate
    /// starts where the coder will start.
    pub fn like(codes: &[i32], shape: &[usize]) -> Self {
        let dims = Dims::new(shape);
        let model = CodeModel::new(dims, Plan::fit(codes, dims.taps));
        let kernel = model.kernel(0, 0);
        Self { kernel, model, dims, row: vec![0; dims.row()], column: 0, batch: Vec::new(), flags: [false; PART] }
    }

    /// Codes of a kernel: the product of all axes but the first two.
    pub fn taps(&self) -> usize {
        self.dims.taps
    }

    /// Bits of saying that the next kernel has nothing but zeros, and that it has not; infinite and 0 where kernels do not
    /// say so.
    pub fn kernel_costs(&self) -> [f32; 2] {
        self.model.kernel_costs(self.column)
    }

    /// Bits that `code` would cost as the next one of a kernel that has other codes than zeros.
    pub fn cost(&self, code: i32) -> f32 {
        self.model.code_cost(&self.kernel, code)
    }

    /// Takes `code` as the next one of the kernel.
    pub fn take(&mut self, code: i32) {
        self.model.extend(&mut self.kernel, code);
    }

    /// Learns from the complete kernel, as soon as the coder would, and goes on to the next one. Behind the last one there is none to ask
    /// about.
    pub fn commit(&mut self, codes: &[i32]) {
        let (column, taps) = (self.column, self.dims.taps);
        self.row[column * taps..][..taps].copy_from_slice(codes);
        let full = codes.iter().any(|&code| code != 0);
        self.flags[column % PART] = full;
        let ends = column + 1 == self.dims.columns;
        let fullness = self.model.fullness();
        if full || fullness.is_none() {
            self.batch.push(column);
        }
        if let Some(fullness) = fullness.filter(|_| ends || column % PART == PART - 1) {
            fullness.code_part(&mut Discard, column / PART * PART, &mut self.flags);
        }
        if self.batch.len() == BATCH || ends {
            // What is discarded is never broken, and the codes fit.
            let _ = self.model.code_batch(&mut Discard, &self.batch, &mut self.row);
            self.batch.clear();
        }
        self.column += 1;
        if ends {
            self.model.end_row(false);
            self.column = 0;
        }
        self.kernel = self.model.kernel(self.batch.first().copied().unwrap_or(self.column), self.column);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode_codes;

    /// Codes whose density varies over rows and columns.
    fn codes(shape: [usize; 4], denominator: u32) -> Vec<i32> {
        let mut state = 7u32;
        let count: usize = shape.iter().product();
        (0..count)
            .map(|i| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let dense = (i / 9 % shape[1]) as u32 + 1;
                if state >> 16 < dense * (65_536 / denominator) { (state >> 8) as i32 % 7 - 3 } else { 0 }
            })
            .collect()
    }

    #[test]
    fn the_costs_are_those_of_the_coder() {
        for denominator in [40, 1000] {
            let shape = [14, 16, 3, 3];
            let codes = codes(shape, denominator);
            let mut model = CostModel::like(&codes, &shape);
            let mut bits = 0.0;
            for kernel in codes.chunks(9) {
                let empty = kernel.iter().all(|&code| code == 0);
                let [empty_cost, full_cost] = model.kernel_costs();
                if empty && empty_cost.is_finite() {
                    bits += f64::from(empty_cost);
                } else {
                    bits += f64::from(full_cost);
                    for &code in kernel {
                        bits += f64::from(model.cost(code));
                        model.take(code);
                    }
                }
                model.commit(kernel);
            }
            let coded = 8.0 * encode_codes(&codes, &shape).len() as f64;
            // The coder adds its plan, says of each row that it is not empty, and fills the last byte.
            assert!((0.0..50.0).contains(&(coded - bits)), "{bits} estimated, {coded} coded");
        }
    }
}
