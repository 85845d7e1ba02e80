//! Rows and kernels of a sparse tensor that are empty, and how likely that is.

use alloc::{vec, vec::Vec};

use crate::{
    ans::{CHANCE_BITS, Coder, LANES},
    context::{MEAN_BITS, MEAN_ONE, each},
    grid,
    logarithm::{log, log_small},
    logistic::cost,
    mix::Counter,
};

/// Columns of which it is said at once whether their kernels are empty.
pub(crate) const PART: usize = LANES;

/// Shares start as if this many kernels had been as full as all are at first, or as the layer: in the layer, in a row and a column.
const LAYER_PRIOR: u64 = 8;
const PRIOR: u64 = 16;
/// So many kernels of a column, with [`MEAN_BITS`] fractional bits and the prior, have a [small logarithm](log_small).
const SMALL_ROWS: u64 = 8192;
/// Largest share at first.
const MOST: u64 = 960;

/// What is known of kernels that are not empty.
#[derive(Clone, Debug)]
pub(crate) struct Fullness {
    /// Their share at first, with [`MEAN_BITS`] fractional bits.
    first: u64,
    /// Their numbers: of all rows before, of this row so far, of each column; rows that are not empty.
    before: u64,
    in_row: u64,
    in_columns: Vec<u32>,
    rows: u64,
    /// Their share, its logarithm, and that of what columns are divided by.
    share: u64,
    level: i32,
    divisor: i32,
    /// Which are not, one row above.
    above: Vec<bool>,
    row_empty: Counter,
    counters: Vec<Counter>,
}

impl Fullness {
    /// Of a tensor whose kernels have a mean sum of magnitudes, with [`MEAN_BITS`] fractional bits.
    pub(crate) fn new(columns: usize, mean: u64) -> Self {
        let mut fullness = Self {
            first: mean.clamp(1, MOST),
            before: 0,
            in_row: 0,
            in_columns: vec![0; columns],
            rows: 0,
            share: 0,
            level: 0,
            divisor: 0,
            above: vec![false; columns],
            row_empty: Counter::new(u32::MAX / 10, 2, 255),
            counters: grid::kernel_counters(),
        };
        fullness.begin_row();
        fullness
    }

    fn begin_row(&mut self) {
        let all = self.rows * self.above.len() as u64 + LAYER_PRIOR;
        self.share = (((self.before << MEAN_BITS) + LAYER_PRIOR * self.first) / all).max(1);
        self.level = log(self.share);
        self.divisor = log(self.rows + PRIOR) + MEAN_ONE;
        self.in_row = 0;
    }

    /// Goes to the next row behind one that was empty or not.
    pub(crate) fn end_row(&mut self, empty: bool) {
        self.before += self.in_row;
        self.rows += u64::from(!empty);
        if empty {
            self.above.fill(false);
        }
        self.begin_row();
    }

    /// Codes whether a row is empty.
    pub(crate) fn code_row<C: Coder>(&mut self, coder: &mut C, empty: bool) -> bool {
        let empty = coder.bit(0, self.row_empty.chance(), empty);
        self.row_empty.learn(empty);
        empty
    }

    /// Codes whether kernels are not empty, from column `first` on.
    pub(crate) fn code_part<C: Coder>(&mut self, coder: &mut C, first: usize, full: &mut [bool; PART]) {
        let count = PART.min(self.above.len() - first);
        let places = self.counters(first, count);
        for (lane, (full, &place)) in full[..count].iter_mut().zip(&places).enumerate() {
            *full = coder.bit(lane, self.counters[place].chance(), *full);
        }
        for (lane, (&full, &place)) in full[..count].iter().zip(&places).enumerate() {
            self.counters[place].learn(full);
            self.in_row += u64::from(full);
            self.in_columns[first + lane] += u32::from(full);
            self.above[first + lane] = full;
        }
    }

    /// How full the row is from column `first` on, over the layer, as a logarithm.
    fn row_share(&self, first: usize) -> i32 {
        log((self.in_row << MEAN_BITS) + PRIOR * self.share) - log(first as u64 + PRIOR) - self.level
    }

    /// The counters of the kernels of some columns from `first` on.
    #[inline(always)]
    fn counters(&self, first: usize, count: usize) -> [usize; PART] {
        let level = self.row_share(first) - self.divisor;
        let (mut in_columns, mut above) = ([0; PART], [false; PART]);
        in_columns[..count].copy_from_slice(&self.in_columns[first..][..count]);
        above[..count].copy_from_slice(&self.above[first..][..count]);
        let weighed = |lane: usize| (u64::from(in_columns[lane]) << MEAN_BITS) + PRIOR * self.share;
        let in_columns: [i32; PART] = if self.rows < SMALL_ROWS {
            each(|lane| log_small(weighed(lane) as i32))
        } else {
            each(|lane| log(weighed(lane)))
        };
        each(|lane| grid::kernel_counter(level + in_columns[lane], above[lane]))
    }

    /// Bits of saying that the kernel of a column is empty, and that it is not.
    pub(crate) fn costs(&self, column: usize) -> [f32; 2] {
        let first = column / PART * PART;
        let counter = self.counters(first, column + 1 - first)[column - first];
        let p = self.counters[counter].chance() << (16 - CHANCE_BITS);
        [cost((1 << 16) - p), cost(p)]
    }
}
