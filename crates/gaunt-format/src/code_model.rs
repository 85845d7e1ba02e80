//! The adaptive model of integer codes.
//!
//! All that is known of a code before it is read is condensed into two numbers. Its *level* is the logarithm of the magnitude
//! to expect, from the means of its row, its column, its place in the kernel and the kernel so far. Its *tendency* is how far
//! the taps before it foretell its sign. Level and tendency choose the two cells that predict the code.
//! Rows and kernels of a sparse tensor say first whether they are empty. [`grid`] has the cells, `docs/format.md` of the
//! project every detail.

use alloc::{vec, vec::Vec};

use crate::{
    grid::{self, ESCAPE, ESCAPED},
    logarithm::{ONE, exp2, log2},
    logistic::cost,
    mix::Counter,
    plan::Plan,
    range::{CHANCE_BITS, Coder, code_plain},
    symbols::{Cells, EVEN_TARGETS, TARGETS},
    taps::{NO_PREDICTIONS, Predictions, TapPredictor},
};

/// A tensor's shape as the model sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dims {
    pub(crate) rows: usize,
    columns: usize,
    taps: usize,
}

impl Dims {
    /// Axis 0 are rows (output channels), axis 1 columns (input channels), what remains are the taps of a kernel. A vector is
    /// one row.
    pub(crate) fn new(shape: &[usize]) -> Self {
        let (rows, columns, taps) = match *shape {
            [] => (1, 1, 1),
            [n] => (1, n, 1),
            [o, i, ref taps @ ..] => (o, i, taps.iter().product()),
        };
        Self { rows, columns, taps }
    }

    pub(crate) fn taps(&self) -> usize {
        self.taps
    }

    /// Codes in a row.
    pub(crate) fn row(&self) -> usize {
        self.columns * self.taps
    }
}

/// Means start as if this many codes of the layer's mean had been seen: in the layer, a row, a column, at a tap, in a kernel.
const LAYER_PRIOR: u64 = 64;
const ROW_PRIOR: u64 = 62;
const COLUMN_PRIOR: u64 = 40;
const TAP_PRIOR: u64 = 392;
const KERNEL_PRIOR: u64 = 2;
/// Fractional bits of means.
const MEAN_BITS: u32 = 10;
const MEAN_ONE: i32 = MEAN_BITS as i32 * ONE;
/// Magnitudes count at most this much in sums.
const MAX_MAGNITUDE: u32 = 1 << 20;
/// Kernels of more taps have no means for each of them.
const TAPS: usize = 64;

/// What is expected of a kernel before any of it is known.
#[derive(Clone, Copy, Debug)]
struct Expectation {
    /// Logarithm of the mean magnitude.
    level: i32,
    /// The mean, with [`MEAN_BITS`] fractional bits.
    mean: u64,
}

/// A kernel of which some codes are known.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    expected: Expectation,
    tap: usize,
    /// Of the magnitudes so far.
    sum: u64,
    predictions: Predictions,
}

impl Kernel {
    fn new(expected: Expectation) -> Self {
        Self { expected, tap: 0, sum: 0, predictions: NO_PREDICTIONS }
    }
}

/// How the next code is predicted.
#[derive(Clone, Copy, Debug)]
struct Context {
    cells: [usize; 2],
    /// The sign is foretold to be negative: symbols are those of the negated code.
    negate: bool,
    /// No sign is to be preferred.
    even: bool,
    /// Lowest bits that are coded apart.
    shift: u32,
}

/// The adaptive state.
#[derive(Clone, Debug)]
pub(crate) struct CodeModel {
    dims: Dims,
    plan: Plan,
    row: usize,
    column: usize,
    /// Sums of magnitudes: of all rows before, of this row, of each column, of each tap.
    total: u64,
    in_row: u64,
    in_columns: Vec<u32>,
    at_taps: Vec<u64>,
    /// The layer's mean and its logarithm, the logarithm of what columns are divided by, and those of the taps' means over the
    /// layer's.
    layer_mean: u64,
    layer_level: i32,
    column_divisor: i32,
    tap_levels: Vec<i32>,
    first_tendencies: Vec<usize>,
    /// Whether the kernel before in this row, and those of the row above, are not empty.
    left: bool,
    above: Vec<bool>,
    cells: Cells,
    row_empty: Counter,
    kernel_full: Vec<Counter>,
    lows: [Counter; 2],
    classes: [Counter; 32],
    predictor: TapPredictor,
}

impl CodeModel {
    pub(crate) fn new(dims: Dims, plan: Plan) -> Self {
        let taps = dims.taps.min(TAPS);
        let even = Counter::new(1 << 31, 2, 255);
        let mut model = Self {
            dims,
            plan,
            row: 0,
            column: 0,
            total: 0,
            in_row: 0,
            in_columns: vec![0; dims.columns],
            at_taps: vec![0; taps],
            layer_mean: 0,
            layer_level: 0,
            column_divisor: 0,
            tap_levels: vec![0; taps],
            first_tendencies: (0..taps).map(|tap| grid::first_tendency(dims.taps, tap, plan.sparse)).collect(),
            left: false,
            above: vec![false; if plan.sparse { dims.columns } else { 0 }],
            cells: grid::first_cells(plan.sparse),
            row_empty: Counter::new(u32::MAX / 10, 2, 255),
            kernel_full: grid::first_kernel_counters(plan.sparse),
            lows: [even; 2],
            classes: [even; 32],
            predictor: TapPredictor::new(dims.taps),
        };
        model.begin_row();
        model
    }

    /// Codes the next row. Readers pass zeros and get the codes; none if they do not fit `i32` or the stream has ended.
    pub(crate) fn code_row<C: Coder>(&mut self, coder: &mut C, codes: &mut [i32]) -> Option<()> {
        let empty = self.plan.sparse && self.code_row_empty(coder, codes.iter().all(|&code| code == 0));
        if empty {
            self.above.fill(false);
        } else if self.dims.taps > 0 {
            for kernel in codes.chunks_exact_mut(self.dims.taps) {
                self.code_kernel(coder, kernel)?;
            }
        }
        self.end_row();
        if coder.is_exhausted() { None } else { Some(()) }
    }

    fn code_row_empty<C: Coder>(&mut self, coder: &mut C, empty: bool) -> bool {
        let empty = coder.code(self.row_empty.clamped(), empty);
        self.row_empty.learn(empty);
        empty
    }

    /// Codes the next kernel of a row that is not empty.
    pub(crate) fn code_kernel<C: Coder>(&mut self, coder: &mut C, codes: &mut [i32]) -> Option<()> {
        let expected = self.expect();
        let full = !self.plan.sparse || self.code_full(coder, expected, codes.iter().any(|&code| code != 0));
        if full {
            let mut kernel = Kernel::new(expected);
            for code in codes.iter_mut() {
                let context = self.context(&kernel);
                *code = self.code_one(coder, context, *code)?;
                self.extend(&mut kernel, *code);
                self.at_taps[(kernel.tap - 1).min(TAPS - 1)] += magnitude(*code);
            }
            self.in_row += kernel.sum;
            let column = &mut self.in_columns[self.column];
            *column = column.saturating_add(kernel.sum.min(u64::from(u32::MAX)) as u32);
            self.predictor.learn(codes, expected.level);
        }
        self.column += 1;
        if coder.is_exhausted() { None } else { Some(()) }
    }

    fn code_full<C: Coder>(&mut self, coder: &mut C, expected: Expectation, full: bool) -> bool {
        let slots = self.full_slots(expected);
        let full = coder.code(self.chance_full(slots), full);
        slots.iter().for_each(|&slot| self.kernel_full[slot].learn(full));
        self.left = full;
        self.above[self.column] = full;
        full
    }

    fn chance_full(&self, slots: [usize; 2]) -> u32 {
        let [a, b] = slots.map(|slot| self.kernel_full[slot].probability() >> 17);
        (a + b).clamp(8, 65_528)
    }

    fn full_slots(&self, expected: Expectation) -> [usize; 2] {
        let level = expected.level + log2(self.dims.taps as u64);
        grid::kernel_counters(level, self.left, self.above[self.column])
    }

    /// What is expected of the kernel at the model's place.
    fn expect(&self) -> Expectation {
        let mean = |sum: u64, prior: u64| log2((sum << MEAN_BITS) + prior * self.layer_mean);
        let seen = (self.column * self.dims.taps) as u64;
        let in_column = self.in_columns.get(self.column).copied().unwrap_or(0);
        let row = mean(self.in_row, ROW_PRIOR) - log2(seen + ROW_PRIOR);
        let column = mean(u64::from(in_column), COLUMN_PRIOR) - self.column_divisor;
        let level = row + column - MEAN_ONE - (MEAN_ONE + self.layer_level);
        Expectation { level, mean: exp2(level + MEAN_ONE) }
    }

    #[inline(always)]
    fn context(&self, kernel: &Kernel) -> Context {
        let Kernel { expected, tap, sum, .. } = *kernel;
        let so_far = log2((sum << MEAN_BITS) + KERNEL_PRIOR * expected.mean) - KERNEL_DIVISORS[tap.min(TAPS - 1)];
        let level = ((expected.level + so_far) >> 1) + self.tap_levels[tap.min(TAPS - 1)];
        let prediction = kernel.predictions.get(tap).copied().unwrap_or(0);
        let first = self.first_tendencies[tap.min(TAPS - 1)];
        let tendency = if sum == 0 { first } else { grid::tendency(prediction, level) };
        let shift = grid::shift(level);
        let cells = grid::cells(level - shift as i32 * ONE, tendency);
        let even = grid::is_even(tendency);
        Context { cells, negate: prediction < 0 && !even, even, shift }
    }

    /// Codes one code; none if it does not fit.
    #[inline(always)]
    fn code_one<C: Coder>(&mut self, coder: &mut C, context: Context, code: i32) -> Option<i32> {
        let Context { cells, negate, even, shift } = context;
        let starts = self.cells.blend(cells);
        let flipped = if negate { i64::from(code).wrapping_neg() } else { i64::from(code) };
        let symbol = coder.symbol(&starts, symbol_of(flipped, shift));
        let target = if even { &EVEN_TARGETS[symbol] } else { &TARGETS[symbol] };
        cells.iter().for_each(|&cell| self.cells.learn(cell, target));
        let mut read = (symbol as i64 + 1) >> 1;
        if symbol & 1 == 0 {
            read = -read;
        }
        if shift > 0 || symbol == ESCAPE {
            read = self.code_rest(coder, symbol, shift, flipped);
        }
        if negate {
            read = -read;
        }
        i32::try_from(read).ok()
    }

    /// What the symbol leaves open: magnitudes beyond the last symbol, the lowest bits, signs that it does not tell.
    #[cold]
    fn code_rest<C: Coder>(&mut self, coder: &mut C, symbol: usize, shift: u32, code: i64) -> i64 {
        let magnitude = code.unsigned_abs();
        let mut high = (symbol as u64 + 1) >> 1;
        if symbol == ESCAPE {
            high = ESCAPED + self.code_escaped(coder, (magnitude >> shift).wrapping_sub(ESCAPED));
        }
        let mut low = 0;
        if shift > 0 {
            let counter = &mut self.lows[usize::from(high == 0)];
            let bit = coder.code(counter.clamped(), magnitude >> (shift - 1) & 1 == 1);
            counter.learn(bit);
            low = u64::from(bit) << (shift - 1) | u64::from(code_plain(coder, magnitude as u32, shift - 1));
        }
        let read = (high << shift | low) as i64;
        let negative = if symbol == ESCAPE || (symbol == 0 && read != 0) {
            code_plain(coder, u32::from(code < 0), 1) == 1
        } else {
            symbol & 1 == 0
        };
        if negative { -read } else { read }
    }

    /// A number of any size: the place of the leading one of its successor, then the bits below that.
    fn code_escaped<C: Coder>(&mut self, coder: &mut C, number: u64) -> u64 {
        let next = number.wrapping_add(1).max(1);
        let mut class = 0;
        while class < 31 {
            let counter = &mut self.classes[class as usize];
            let higher = coder.code(counter.clamped(), next.ilog2() > class);
            counter.learn(higher);
            if !higher {
                break;
            }
            class += 1;
        }
        (1 << class | u64::from(code_plain(coder, next as u32, class))) - 1
    }

    /// Takes the code at the kernel's tap into what is known of the kernel.
    #[inline(always)]
    fn extend(&self, kernel: &mut Kernel, code: i32) {
        if code != 0 {
            kernel.sum += magnitude(code);
            self.predictor.extend(&mut kernel.predictions, kernel.tap, code);
        }
        kernel.tap += 1;
    }

    /// Bits of saying that the kernel at the model's place is empty, and that it is not; a dense tensor says neither.
    pub(crate) fn kernel_costs(&self) -> [f32; 2] {
        if !self.plan.sparse {
            return [f32::INFINITY, 0.0];
        }
        let p = self.chance_full(self.full_slots(self.expect()));
        [cost(65_536 - p), cost(p)]
    }

    /// The kernel at the model's place, of which no code is known.
    pub(crate) fn kernel(&self) -> Kernel {
        Kernel::new(self.expect())
    }

    /// Bits that `code` would cost as the next one of the kernel. Those of magnitudes beyond the symbols are estimated.
    pub(crate) fn code_cost(&self, kernel: &Kernel, code: i32) -> f32 {
        let Context { cells, negate, shift, .. } = self.context(kernel);
        let symbol = symbol_of(if negate { -i64::from(code) } else { i64::from(code) }, shift);
        let chance = self.cells.blend(cells).part(symbol) << (16 - CHANCE_BITS);
        let escaped = (u64::from(code.unsigned_abs()) >> shift).saturating_sub(ESCAPED) + 1;
        let rest = if symbol == ESCAPE { 2 * escaped.ilog2() + 2 } else { u32::from(symbol == 0 && shift > 0) };
        cost(chance) + (rest + shift) as f32
    }

    /// The kernel with one more code.
    pub(crate) fn extended(&self, mut kernel: Kernel, code: i32) -> Kernel {
        self.extend(&mut kernel, code);
        kernel
    }

    /// Goes to the next row if this one is complete.
    pub(crate) fn wrap(&mut self) {
        if self.column == self.dims.columns {
            self.end_row();
        }
    }

    fn begin_row(&mut self) {
        let Dims { columns, taps, .. } = self.dims;
        let (kernels, seen) = ((self.row * columns) as u64, (self.row * self.dims.row()) as u64);
        let start = exp2(self.plan.level() + MEAN_ONE);
        self.layer_mean = ((start * LAYER_PRIOR + (self.total << MEAN_BITS)) / (LAYER_PRIOR + seen)).max(1);
        self.layer_level = log2(self.layer_mean) - MEAN_ONE;
        self.column_divisor = log2((self.row * taps) as u64 + COLUMN_PRIOR);
        for (level, sum) in self.tap_levels.iter_mut().zip(&self.at_taps).filter(|_| taps <= TAPS) {
            let mean = log2((sum << MEAN_BITS) + TAP_PRIOR * self.layer_mean) - log2(kernels + TAP_PRIOR);
            *level = mean - MEAN_ONE - self.layer_level;
        }
        (self.in_row, self.column, self.left) = (0, 0, false);
    }

    fn end_row(&mut self) {
        self.total += self.in_row;
        self.row += 1;
        self.begin_row();
    }
}

/// The logarithm of what the sum of a kernel's first codes is divided by, for each number of them.
static KERNEL_DIVISORS: [i32; TAPS] = {
    let (mut table, mut tap) = ([0; TAPS], 0);
    while tap < TAPS {
        table[tap] = log2(tap as u64 + KERNEL_PRIOR) + MEAN_ONE;
        tap += 1;
    }
    table
};

/// What a code adds to sums.
fn magnitude(code: i32) -> u64 {
    u64::from(code.unsigned_abs().min(MAX_MAGNITUDE))
}

/// The symbol of a code whose lowest `shift` bits are coded apart.
#[inline(always)]
fn symbol_of(code: i64, shift: u32) -> usize {
    let high = (code.unsigned_abs() >> shift) as usize;
    match high {
        0 => 0,
        1..8 => 2 * high - usize::from(code > 0),
        _ => ESCAPE,
    }
}
