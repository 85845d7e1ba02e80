//! The coder as a judge of choices.

use alloc::vec::Vec;

use crate::{
    code_model::{CodeModel, Dims, Kernel},
    plan::Plan,
    range::Discard,
};

/// What each choice for the next code would cost, for rate-distortion optimised quantisation (Wiedemann et al.,
/// *DeepCABAC*, 2020).
///
/// It walks over a tensor kernel by kernel: ask for the [`cost`](Self::cost) of a code, [`take`](Self::take) one, and
/// when the kernel is complete [`commit`](Self::commit) it, whereupon the model learns what the coder will have learnt.
#[derive(Clone, Debug)]
pub struct CostModel {
    model: CodeModel,
    kernel: Kernel,
    taps: usize,
    copy: Vec<i32>,
}

impl CostModel {
    /// At the first kernel of a tensor whose codes will be much like `codes`, such as the rounded weights: the estimate
    /// starts where the coder will start.
    pub fn like(codes: &[i32], shape: &[usize]) -> Self {
        let dims = Dims::new(shape);
        let model = CodeModel::new(dims, Plan::fit(codes, dims.taps()));
        Self { kernel: model.kernel(), model, taps: dims.taps(), copy: Vec::new() }
    }

    /// Codes of a kernel: the product of all axes but the first two.
    pub fn taps(&self) -> usize {
        self.taps
    }

    /// Bits of saying that the next kernel has nothing but zeros, and that it has not; infinite and 0 where kernels do not
    /// say so.
    pub fn kernel_costs(&self) -> [f32; 2] {
        self.model.kernel_costs()
    }

    /// Bits that `code` would cost as the next one of a kernel that has other codes than zeros.
    pub fn cost(&self, code: i32) -> f32 {
        self.model.code_cost(&self.kernel, code)
    }

    /// Takes `code` as the next one of the kernel.
    pub fn take(&mut self, code: i32) {
        self.kernel = self.model.extended(self.kernel.clone(), code);
    }

    /// Learns from the complete kernel and goes on to the next one. Behind the last one there is none to ask about.
    pub fn commit(&mut self, codes: &[i32]) {
        self.copy.clear();
        self.copy.extend_from_slice(codes);
        // What is discarded never ends, and the codes fit.
        let _ = self.model.code_kernel(&mut Discard, &mut self.copy);
        self.model.wrap();
        self.kernel = self.model.kernel();
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
            let shape = [32, 32, 3, 3];
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
