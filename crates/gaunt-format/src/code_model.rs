//! The adaptive model of integer codes.
//!
//! All that is known of a code before it is read is condensed into two numbers. Its *level* is the logarithm of the magnitude
//! to expect, from the means of its row, its column, its place in the kernel and the kernel so far. Its *tendency* is how far
//! the taps before it foretell its sign. Level and tendency choose the cell that predicts the code.
//! Rows and kernels of a sparse tensor say first whether they are empty.
//!
//! Up to sixteen kernels go side by side, tap by tap, and the model learns from them when they are complete. So the codes of
//! a tap depend on nothing that is read with them, and a processor works at all of them at once. [`grid`] has the cells, `docs/format.md`
//! of the project every detail.

use alloc::{vec, vec::Vec};
use core::{iter::Sum, ops::AddAssign};

use crate::{
    ans::{CHANCE_BITS, Coder, LANES, Lanes, UNKNOWN},
    context::{Contexts, Expectation, Kernels, LEVELS, MEAN_BITS, MEAN_ONE, Tap, each},
    fullness::{Fullness, PART},
    grid::{self, ESCAPE, ESCAPED, Magnitudes},
    logarithm::{log, power},
    logistic::cost,
    plan::Plan,
    rests::{Rests, code_of, symbol_of, turned},
    symbols::{Cells, WEIGHT_BITS},
    taps::{MAX_TAPS, TapPredictor},
};

/// A tensor's shape as the model sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dims {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) taps: usize,
}

impl Dims {
    /// Axis 0 are rows (output channels), axis 1 columns (input channels), what remains are the taps of a kernel, or more columns if it
    /// is too much. A vector is one row.
    pub(crate) fn new(shape: &[usize]) -> Self {
        let (rows, columns, taps) = match *shape {
            [] => (1, 1, 1),
            [n] => (1, n, 1),
            [o, i, ref taps @ ..] => (o, i, taps.iter().product()),
        };
        let (columns, taps) = if taps > MOST_TAPS { (columns * taps, 1) } else { (columns, taps) };
        Self { rows, columns, taps }
    }

    /// Codes in a row.
    pub(crate) fn row(&self) -> usize {
        self.columns * self.taps
    }
}

/// Kernels that go side by side.
pub(crate) const BATCH: usize = LANES;

/// Means start as if this many codes of the layer's mean had been seen: in the layer, a row, a column, at a tap.
const LAYER_PRIOR: u64 = 64;
const ROW_PRIOR: u64 = 120;
const COLUMN_PRIOR: u64 = 80;
const TAP_PRIOR: u64 = 392;
/// Magnitudes count at most this much in sums.
const MAX_MAGNITUDE: u32 = 1 << 20;
/// A batch of kernels with more taps would take too much memory.
const MOST_TAPS: usize = 64;

/// A kernel of which some codes are known, for one who asks what others would cost.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    known: Kernels<1>,
    tap: usize,
    predictions: [[i16; 1]; MAX_TAPS],
}

/// Room for what a batch knows until it is learnt.
#[derive(Clone, Debug, Default)]
struct Room {
    codes: Vec<Lanes<i32>>,
    /// Codes as far as 16 bits reach.
    small: Vec<Lanes<i16>>,
    /// Whether a code may have another magnitude than symbols have.
    is_open: bool,
    cells: Vec<Lanes<i16>>,
    symbols: Vec<Lanes<u8>>,
    predictions: Vec<Lanes<i16>>,
}

/// The adaptive state.
#[derive(Clone, Debug)]
pub(crate) struct CodeModel {
    dims: Dims,
    plan: Plan,
    row: usize,
    /// Sums of magnitudes: of all rows before, of this row, of each column, of each tap.
    total: u64,
    in_row: u64,
    in_columns: Vec<u32>,
    at_taps: Vec<u64>,
    /// The layer's mean and its logarithm, the logarithm of what columns are divided by.
    layer_mean: u64,
    layer_level: i32,
    column_divisor: i32,
    taps: Vec<Tap>,
    /// Which kernels are empty, if some may be.
    fullness: Option<Fullness>,
    /// Columns of this row whose kernels are not empty.
    full: Vec<usize>,
    cells: Cells,
    magnitudes: Magnitudes,
    rests: Rests,
    predictor: TapPredictor,
    room: Room,
}

impl CodeModel {
    pub(crate) fn new(dims: Dims, plan: Plan) -> Self {
        let start = power(plan.level() + MEAN_ONE);
        let fullness = plan.sparse.then(|| Fullness::new(dims.columns, start.saturating_mul(dims.taps as u64)));
        let mut model = Self {
            dims,
            plan,
            row: 0,
            total: 0,
            in_row: 0,
            in_columns: vec![0; dims.columns],
            at_taps: vec![0; dims.taps],
            layer_mean: 0,
            layer_level: 0,
            column_divisor: 0,
            taps: (0..dims.taps).map(|tap| Tap::new(dims.taps, tap, plan.sparse)).collect(),
            fullness,
            full: Vec::new(),
            cells: Cells::new(grid::CELLS),
            magnitudes: Magnitudes::NEW,
            rests: Rests::new(),
            predictor: TapPredictor::new(dims.taps),
            room: Room::default(),
        };
        model.begin_row();
        model
    }

    /// Which kernels are empty, if some may be.
    pub(crate) fn fullness(&mut self) -> Option<&mut Fullness> {
        self.fullness.as_mut()
    }

    /// Codes the next row. Readers pass zeros and get the codes; none if they do not fit `i32` or were never written.
    pub(crate) fn code_row<C: Coder>(&mut self, coder: &mut C, codes: &mut [i32]) -> Option<()> {
        let empty = self.code_empty(coder, codes);
        if self.fullness.is_none() {
            for first in (0..self.dims.columns).step_by(BATCH) {
                let columns: Lanes<usize> = each(|lane| first + lane);
                let count = BATCH.min(self.dims.columns - first);
                self.code_batch(coder, &columns[..count], codes)?;
            }
        } else if !empty {
            let full = core::mem::take(&mut self.full);
            let coded = full.chunks(BATCH).try_for_each(|columns| self.code_batch(coder, columns, codes));
            self.full = full;
            coded?;
        }
        self.end_row(empty);
        if coder.is_broken() { None } else { Some(()) }
    }

    /// Codes whether the row of a sparse tensor is empty, and if not, which kernels are not; lists their columns.
    fn code_empty<C: Coder>(&mut self, coder: &mut C, codes: &[i32]) -> bool {
        let Some(fullness) = &mut self.fullness else { return false };
        if fullness.code_row(coder, codes.iter().all(|&code| code == 0)) {
            return true;
        }
        let Dims { columns, taps, .. } = self.dims;
        self.full.clear();
        for first in (0..columns).step_by(PART) {
            let mut flags = [false; PART];
            if !C::READS {
                for (flag, kernel) in flags.iter_mut().zip(codes[first * taps..].chunks(taps)) {
                    *flag = kernel.iter().any(|&code| code != 0);
                }
            }
            fullness.code_part(coder, first, &mut flags);
            self.full.extend((first..columns).zip(flags).filter(|(_, full)| *full).map(|(column, _)| column));
        }
        false
    }

    /// Codes the kernels of some columns of a row, 16 at most.
    pub(crate) fn code_batch<C: Coder>(&mut self, coder: &mut C, columns: &[usize], row: &mut [i32]) -> Option<()> {
        let mut room = core::mem::take(&mut self.room);
        let taps = self.dims.taps;
        room.codes.resize(taps, [0; LANES]);
        room.small.resize(taps, [0; LANES]);
        room.is_open = false;
        room.cells.resize(taps, [0; LANES]);
        room.symbols.resize(taps, [0; LANES]);
        room.predictions.clear();
        room.predictions.resize(taps.min(MAX_TAPS), [0; LANES]);
        let base = columns.first().map_or(0, |&first| self.row_level(first));
        let mut kernels = Kernels::NONE;
        for (lane, &column) in columns.iter().enumerate() {
            kernels.set(lane, self.expect(base, column));
            if !C::READS {
                let codes = &row[column * taps..][..taps];
                codes.iter().zip(&mut room.codes).for_each(|(&code, codes)| codes[lane] = code);
            }
        }
        let coded = self.code_taps(coder, columns.len(), &mut kernels, &mut room);
        if C::READS {
            for (lane, &column) in columns.iter().enumerate() {
                let codes = &mut row[column * taps..][..taps];
                codes.iter_mut().zip(&room.codes).for_each(|(code, codes)| *code = codes[lane]);
            }
        }
        if coded.is_some() {
            self.learn(columns, &kernels.levels, &room);
        }
        self.room = room;
        coded
    }

    fn code_taps<C: Coder>(
        &mut self,
        coder: &mut C,
        count: usize,
        kernels: &mut Kernels<LANES>,
        room: &mut Room,
    ) -> Option<()> {
        for tap in 0..self.dims.taps {
            let predictions = room.predictions.get(tap).unwrap_or(&[0; LANES]);
            let Contexts { cells, negate, shifts } = kernels.contexts(predictions, self.taps[tap]);
            let (codes, small) = (&mut room.codes[tap], &mut room.small[tap]);
            let mut symbols = [0; LANES];
            if !C::READS {
                symbols = each(|lane| symbol_of(turned(codes[lane], negate[lane]), shifts[lane]));
                symbols[count..].fill(0);
            }
            let mut highest = coder.symbols(self.cells.parts(), &cells[..count], &mut symbols);
            if highest == UNKNOWN {
                let prior = |cell| grid::prior(cell, self.plan.sparse, &self.magnitudes);
                self.cells.begin(&cells[..count], prior);
                highest = coder.symbols(self.cells.parts(), &cells[..count], &mut symbols);
            }
            if highest == ESCAPE || shifts != [0; LANES] {
                self.rests.code(coder, &symbols[..count], &shifts, &negate, codes)?;
                codes[count..].fill(0);
                *small = each(|lane| saturated(codes[lane]));
                room.is_open = true;
            } else {
                *small = each(|lane| (code_of(symbols[lane]) ^ negate[lane]) - negate[lane]);
                *codes = each(|lane| i32::from(small[lane]));
            }
            kernels.add(codes, small);
            if self.predictor.is_fitted() {
                self.predictor.extend(&mut room.predictions, tap, small);
            }
            (room.cells[tap], room.symbols[tap]) = (cells, symbols);
        }
        Some(())
    }

    /// Takes a complete batch into all sums, cells and predictions.
    fn learn(&mut self, columns: &[usize], levels: &Lanes<i16>, room: &Room) {
        for (cells, symbols) in room.cells.iter().zip(&room.symbols) {
            let prior = |cell| grid::prior(cell, self.plan.sparse, &self.magnitudes);
            self.cells.learn(&cells[..columns.len()], symbols, prior);
        }
        self.magnitudes.learn(&room.symbols);
        let sums = self.add_to_taps(room);
        for (&column, sum) in columns.iter().zip(sums) {
            self.in_row += u64::from(sum);
            self.in_columns[column] = self.in_columns[column].saturating_add(sum);
        }
        self.predictor.learn(&room.small, levels, columns.len());
    }

    /// Adds kernels to the sums of the taps. Returns their own sums.
    fn add_to_taps(&mut self, room: &Room) -> Lanes<u32> {
        if room.is_open {
            let mut sums = [0; LANES];
            for (codes, at_tap) in room.codes.iter().zip(&mut self.at_taps) {
                *at_tap += u64::from(add_lanes(&mut sums, &each(|lane| magnitude(codes[lane]))));
            }
            return sums;
        }
        let mut sums = [0; LANES];
        for (small, at_tap) in room.small.iter().zip(&mut self.at_taps) {
            *at_tap += u64::from(add_lanes(&mut sums, &each(|lane| small[lane].unsigned_abs())));
        }
        sums.map(u32::from)
    }

    /// How large codes of the row are from a column on, over the layer, as a logarithm.
    fn row_level(&self, column: usize) -> i32 {
        let seen = (column * self.dims.taps) as u64;
        log((self.in_row << MEAN_BITS) + ROW_PRIOR * self.layer_mean) - log(seen + ROW_PRIOR) - self.layer_level
    }

    /// What is expected of the kernel in a column.
    fn expect(&self, row_level: i32, column: usize) -> Expectation {
        let sum = (u64::from(self.in_columns.get(column).copied().unwrap_or(0)) << MEAN_BITS)
            + COLUMN_PRIOR * self.layer_mean;
        Expectation::new(row_level + log(sum) - self.column_divisor - 2 * MEAN_ONE)
    }

    /// Bits of saying that the kernel of a column is empty, and that it is not; a dense tensor says neither.
    pub(crate) fn kernel_costs(&self, column: usize) -> [f32; 2] {
        self.fullness.as_ref().map_or([f32::INFINITY, 0.0], |fullness| fullness.costs(column))
    }

    /// The kernel in a column, of which no code is known, in a batch that begins at column `first`.
    pub(crate) fn kernel(&self, first: usize, column: usize) -> Kernel {
        let mut known = Kernels::NONE;
        known.set(0, self.expect(self.row_level(first), column));
        Kernel { known, tap: 0, predictions: [[0]; MAX_TAPS] }
    }

    /// Bits that `code` would cost as the next one of the kernel. Those of magnitudes beyond the symbols are estimated.
    pub(crate) fn code_cost(&self, kernel: &Kernel, code: i32) -> f32 {
        let predictions = kernel.predictions.get(kernel.tap).unwrap_or(&[0]);
        let contexts = kernel.known.contexts(predictions, self.taps[kernel.tap]);
        let Contexts { cells: [cell], negate: [negate], shifts: [shift] } = contexts;
        let symbol = symbol_of(turned(code, negate), shift);
        let length = self.length(cell, symbol);
        let escaped = (u64::from(code.unsigned_abs()) >> shift).saturating_sub(ESCAPED) + 1;
        let rest = if symbol == ESCAPE { 2 * escaped.ilog2() + 2 } else { u32::from(symbol == 0 && shift > 0) };
        cost(length << (16 - CHANCE_BITS)) + (rest + shift as u32) as f32
    }

    /// The part of a symbol, whether or not its cell was used before.
    fn length(&self, cell: i16, symbol: u8) -> u32 {
        if self.cells.is_set(cell) {
            return self.cells.parts()[cell as usize].length(symbol);
        }
        let prior = grid::prior(cell, self.plan.sparse, &self.magnitudes);
        (prior.weights[usize::from(symbol)] >> (WEIGHT_BITS - CHANCE_BITS)).max(1)
    }

    /// Takes one more code into what is known of the kernel.
    pub(crate) fn extend(&self, kernel: &mut Kernel, code: i32) {
        let small = [saturated(code)];
        kernel.known.add(&[code], &small);
        self.predictor.extend(&mut kernel.predictions, kernel.tap, &small);
        kernel.tap += 1;
    }

    fn begin_row(&mut self) {
        let Dims { columns, taps, .. } = self.dims;
        let (kernels, seen) = ((self.row * columns) as u64, (self.row * self.dims.row()) as u64);
        let start = power(self.plan.level() + MEAN_ONE);
        self.layer_mean = ((start * LAYER_PRIOR + (self.total << MEAN_BITS)) / (LAYER_PRIOR + seen)).max(1);
        self.layer_level = log(self.layer_mean) - MEAN_ONE;
        self.column_divisor = log((self.row * taps) as u64 + COLUMN_PRIOR);
        for (tap, sum) in self.taps.iter_mut().zip(&self.at_taps) {
            let mean = log((sum << MEAN_BITS) + TAP_PRIOR * self.layer_mean) - log(kernels + TAP_PRIOR);
            tap.level = (mean - MEAN_ONE - self.layer_level).clamp(-LEVELS, LEVELS) as i16;
        }
        self.in_row = 0;
    }

    /// Goes to the next row.
    pub(crate) fn end_row(&mut self, empty: bool) {
        self.total += self.in_row;
        if let Some(fullness) = &mut self.fullness {
            fullness.end_row(empty);
        }
        self.row += 1;
        self.begin_row();
    }
}

/// Adds numbers to sums, lane by lane. Returns the sum of all of them. It is a function of its own so that no loop around it is vectorised in place
/// of the lanes.
#[inline(never)]
fn add_lanes<T: Copy + AddAssign + Sum>(sums: &mut Lanes<T>, numbers: &Lanes<T>) -> T {
    sums.iter_mut().zip(numbers).for_each(|(sum, &number)| *sum += number);
    numbers.iter().copied().sum()
}

/// As much of a code as 16 bits hold.
#[inline(always)]
fn saturated(code: i32) -> i16 {
    code.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// What a code adds to sums.
#[inline(always)]
fn magnitude(code: i32) -> u32 {
    code.unsigned_abs().min(MAX_MAGNITUDE)
}
