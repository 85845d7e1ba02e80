//! Matrix products on vectors: what is left of a convolution once its maps and kernels are transformed.

use crate::{
    geometry::slices,
    lanes::{Isa, LANES, Lanes, ROWS, dispatch, with_constant},
};

/// Terms that are summed before the next row is taken: a column of them leaves room in the nearest cache.
const DEPTH: usize = 256;

/// `to[row][column] = sum of rows[row][k] * columns[column][k] over k`, where rows hold numbers and columns hold vectors.
///
/// Each sum runs over `k` in order, however rows and columns are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub rows: usize,
    pub columns: usize,
    /// Terms of a sum.
    pub depth: usize,
    /// Numbers from a row to the next.
    pub row_pitch: usize,
    /// Numbers from a column to the next.
    pub column_pitch: usize,
    /// Numbers from the target of a row to that of the next.
    pub to_row: usize,
    /// Numbers from the target of a column to that of the next.
    pub to_column: usize,
    /// Whether the sums are added to what is there.
    pub add: bool,
}

/// Where operands and sums lie.
#[derive(Clone, Copy)]
pub(crate) struct Operands {
    pub rows: *const f32,
    pub columns: *const f32,
    pub to: *mut f32,
}

impl Operands {
    /// # Safety
    /// The operands of this row and column lie in the same memory.
    #[inline(always)]
    unsafe fn at(self, product: &Product, row: usize, column: usize) -> Self {
        // SAFETY: as promised by the caller.
        unsafe {
            Self {
                rows: self.rows.add(row * product.row_pitch),
                columns: self.columns.add(column * product.column_pitch),
                to: self.to.add(row * product.to_row + column * product.to_column),
            }
        }
    }
}

impl Product {
    /// # Safety
    /// Operands and targets lie in memory that the pointers may access, and nobody else writes there; with `add` the targets are
    /// initialized.
    pub unsafe fn run(&self, isa: Isa, operands: Operands) {
        let product = self;
        dispatch!(isa, all_terms(product: &Product, operands: Operands));
    }
}

/// Some terms after the other.
///
/// # Safety
/// As [`Product::run`], and the instructions of `L` are enabled.
#[inline(always)]
unsafe fn all_terms<L: Lanes>(product: &Product, operands: Operands) {
    for first in (0..product.depth).step_by(DEPTH) {
        let depth = DEPTH.min(product.depth - first);
        let part = Product { depth, add: product.add || first > 0, ..*product };
        // SAFETY: as promised by the caller; the terms are among the product's.
        unsafe {
            let rows = operands.rows.add(first);
            let columns = operands.columns.add(first * LANES);
            all_columns::<L>(&part, Operands { rows, columns, ..operands });
        }
    }
}

/// A few columns after the other, which stay in the nearest cache while all rows pass.
///
/// # Safety
/// As [`all_terms`].
#[inline(always)]
unsafe fn all_columns<L: Lanes>(product: &Product, operands: Operands) {
    let mut first = 0;
    while first < product.columns {
        let columns = L::columns(ROWS).min(product.columns - first);
        // SAFETY: as promised by the caller; the columns are among the product's.
        unsafe {
            let operands = operands.at(product, 0, first);
            with_constant!(columns columns, P => some_columns::<L, P>(product, operands));
        }
        first += columns;
    }
}

/// Cuts the rows into panels of nearly the same height.
///
/// # Safety
/// As [`all_columns`], for `P` columns.
#[inline(always)]
unsafe fn some_columns<L: Lanes, const P: usize>(product: &Product, operands: Operands) {
    for rows in slices(product.rows, product.rows.div_ceil(ROWS)) {
        // SAFETY: as promised by the caller; the panel's rows are among the product's.
        unsafe {
            let operands = operands.at(product, rows.start, 0);
            with_constant!(rows rows.len(), R => block::<L, R, P>(product, operands));
        }
    }
}

/// `R` rows by `P` columns, all sums in registers.
///
/// # Safety
/// As [`all_columns`], for that many.
#[inline(always)]
unsafe fn block<L: Lanes, const R: usize, const P: usize>(product: &Product, operands: Operands) {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut sums = [[L::zero(); P]; R];
        for k in 0..product.depth {
            let columns = operands.columns.add(k * LANES);
            let x: [L; P] = std::array::from_fn(|p| L::load(columns.add(p * product.column_pitch)));
            for (r, sums) in sums.iter_mut().enumerate() {
                let w = L::splat(operands.rows.add(r * product.row_pitch + k));
                for (sum, &x) in sums.iter_mut().zip(&x) {
                    *sum = sum.add_product(w, x);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (p, &sum) in sums.iter().enumerate() {
                let to = operands.to.add(r * product.to_row + p * product.to_column);
                let sum = if product.add { sum.add(L::load(to)) } else { sum };
                sum.store(to);
            }
        }
    }
}
