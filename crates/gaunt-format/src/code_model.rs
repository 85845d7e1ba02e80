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

use crate::{
    ans::{CHANCE_BITS, Coder, LANES, SYMBOLS},
    grid::{self, ESCAPE, ESCAPED, Magnitudes},
    logarithm::{ONE, log, log_small, power},
    logistic::cost,
    mix::Counter,
    plan::Plan,
    symbols::{Cells, WEIGHT_BITS},
    taps::{FACTOR_BITS, Lanes, MAX_TAPS, TapPredictor},
};

/// A tensor's shape as the model sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dims {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) taps: usize,
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

    /// Codes in a row.
    pub(crate) fn row(&self) -> usize {
        self.columns * self.taps
    }
}

/// Kernels that go side by side, and columns of which it is said at once which ones do.
pub(crate) const BATCH: usize = LANES;

/// Means start as if this many codes of the layer's mean had been seen: in the layer, a row, a column, at a tap, in a kernel.
const LAYER_PRIOR: u64 = 64;
const ROW_PRIOR: u64 = 120;
const COLUMN_PRIOR: u64 = 80;
const TAP_PRIOR: u64 = 392;
const KERNEL_PRIOR: i32 = 3;
/// The same for shares of kernels that are not empty, among all of them, in a row and a column.
const FULL_PRIOR: u64 = 8;
const SHARE_PRIOR: u64 = 16;
/// Largest share that all of them begin with.
const FULL_MOST: u64 = 960;
/// Fractional bits of means and shares.
const MEAN_BITS: u32 = 10;
const MEAN_ONE: i32 = MEAN_BITS as i32 * ONE;
/// Magnitudes count at most this much in sums, and sums of a kernel are at most this.
const MAX_MAGNITUDE: u32 = 1 << 20;
const MAX_SUM: u32 = (1 << 13) - 1;
/// Means of a kernel are at most this.
const MAX_MEAN: u64 = 1 << 20;
/// Logarithms of means are no farther from 0.
const LEVELS: i32 = 30 * ONE;
/// Kernels whose codes are expected to be larger count them without their lowest bits.
const LARGE: i32 = 4 * ONE;
/// Kernels of more taps have no means for each of them.
const TAPS: usize = 64;

/// What is expected of a kernel before any of it is known.
#[derive(Clone, Copy, Debug, Default)]
struct Expectation {
    /// Logarithm of the mean magnitude.
    level: i16,
    /// Lowest bits that are left out when magnitudes of this kernel are added.
    coarse: i16,
    /// The mean without them, with [`MEAN_BITS`] fractional bits, [`KERNEL_PRIOR`] times.
    prior: i32,
}

/// What is the same for all codes at a tap of a row.
#[derive(Clone, Copy, Debug)]
struct Tap {
    /// Logarithm of the tap's mean over the layer's.
    level: i16,
    /// That of what the sum of a kernel so far is divided by.
    divisor: i16,
    first_tendency: i16,
}

/// How codes are predicted, one in each lane.
#[derive(Clone, Copy, Debug)]
struct Contexts<const N: usize> {
    cells: [i16; N],
    /// All bits set where the sign is foretold to be negative: symbols are those of the negated code then.
    negate: [i16; N],
    /// Lowest bits that are coded apart.
    shifts: [i16; N],
}

/// What is known of kernels while their codes are read, one in each lane.
#[derive(Clone, Copy, Debug)]
struct Kernels<const N: usize> {
    levels: [i16; N],
    coarse: [i16; N],
    priors: [i32; N],
    /// Of the magnitudes so far.
    sums: [i32; N],
}

impl<const N: usize> Kernels<N> {
    /// No kernels.
    const NONE: Self = Self { levels: [0; N], coarse: [0; N], priors: [1; N], sums: [0; N] };

    fn set(&mut self, lane: usize, Expectation { level, coarse, prior }: Expectation) {
        (self.levels[lane], self.coarse[lane], self.priors[lane]) = (level, coarse, prior);
    }

    /// How the codes at a tap are predicted, which the taps before foretell to be `predictions`. One loop after the other, without branches:
    /// all of them are vectorised.
    #[inline(always)]
    fn contexts(&self, predictions: &[i16; N], tap: Tap) -> Contexts<N> {
        let so_far: [i16; N] = each(|lane| log_small((self.sums[lane] << MEAN_BITS) + self.priors[lane]) as i16);
        let sizes: [i16; N] = each(|lane| (log_small(i32::from(predictions[lane]).abs() | 1) >> 8) as i16);
        let empty: [i16; N] = each(|lane| -i16::from(self.sums[lane] == 0));
        let negative: [i16; N] = each(|lane| predictions[lane] >> 15);
        let levels: [i16; N] =
            each(|lane| ((self.levels[lane] + so_far[lane] + (self.coarse[lane] << 8) - tap.divisor) >> 1) + tap.level);
        let tendencies: [i16; N] = each(|lane| {
            let foretold = grid::tendency(sizes[lane] - FACTOR_BITS as i16, levels[lane]);
            (foretold & !empty[lane]) | (tap.first_tendency & empty[lane])
        });
        let shifts: [i16; N] = each(|lane| grid::shift(levels[lane]));
        let cells = each(|lane| grid::cell(levels[lane] - (shifts[lane] << 8), tendencies[lane]));
        let negate = each(|lane| negative[lane] & -i16::from(!grid::is_even(tendencies[lane])));
        Contexts { cells, negate, shifts }
    }

    /// Takes one more code of each kernel into its sum.
    #[inline(always)]
    fn add(&mut self, codes: &[i32; N]) {
        let sizes: [u32; N] = if self.coarse == [0; N] {
            codes.map(i32::unsigned_abs)
        } else {
            each(|lane| codes[lane].unsigned_abs() >> self.coarse[lane])
        };
        self.sums = each(|lane| (self.sums[lane] + sizes[lane].min(MAX_SUM) as i32).min(MAX_SUM as i32));
    }
}

/// A number for each lane.
#[inline(always)]
fn each<T, const N: usize>(number: impl FnMut(usize) -> T) -> [T; N] {
    core::array::from_fn(number)
}

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
    /// Columns whose kernels are coded in this row: those that are not empty, or all.
    full: Vec<usize>,
    /// Their numbers: of all rows before, of this row so far, of each column; rows that are not empty.
    full_before: u64,
    full_in_row: u64,
    full_in_columns: Vec<u32>,
    full_rows: u64,
    /// The share of them, with its logarithm and that of what columns are divided by.
    full_mean: u64,
    full_level: i32,
    full_divisor: i32,
    /// Which kernels of the row above are not empty.
    above: Vec<bool>,
    cells: Cells,
    magnitudes: Magnitudes,
    row_empty: Counter,
    kernel_full: Vec<Counter>,
    lows: [Counter; 2],
    classes: [Counter; 32],
    predictor: TapPredictor,
    room: Room,
}

impl CodeModel {
    pub(crate) fn new(dims: Dims, plan: Plan) -> Self {
        let even = Counter::new(1 << 31, 2, 255);
        let tap = |tap| Tap {
            level: 0,
            divisor: (log((tap + KERNEL_PRIOR as usize) as u64) + MEAN_ONE) as i16,
            first_tendency: grid::first_tendency(dims.taps, tap, plan.sparse),
        };
        let columns = if plan.sparse { dims.columns } else { 0 };
        let mut model = Self {
            dims,
            plan,
            row: 0,
            total: 0,
            in_row: 0,
            in_columns: vec![0; dims.columns],
            at_taps: vec![0; dims.taps.min(TAPS)],
            layer_mean: 0,
            layer_level: 0,
            column_divisor: 0,
            taps: (0..dims.taps.min(TAPS)).map(tap).collect(),
            full: (0..dims.columns).collect(),
            full_before: 0,
            full_in_row: 0,
            full_in_columns: vec![0; columns],
            full_rows: 0,
            full_mean: 1,
            full_level: 0,
            full_divisor: 0,
            above: vec![false; columns],
            cells: Cells::new(grid::CELLS),
            magnitudes: Magnitudes::NEW,
            row_empty: Counter::new(u32::MAX / 10, 2, 255),
            kernel_full: grid::first_kernel_counters(plan.sparse),
            lows: [even; 2],
            classes: [even; 32],
            predictor: TapPredictor::new(dims.taps),
            room: Room::default(),
        };
        model.begin_row();
        model
    }

    pub(crate) fn is_sparse(&self) -> bool {
        self.plan.sparse
    }

    /// Codes the next row. Readers pass zeros and get the codes; none if they do not fit `i32` or were never written.
    pub(crate) fn code_row<C: Coder>(&mut self, coder: &mut C, codes: &mut [i32]) -> Option<()> {
        let empty = self.plan.sparse && self.code_row_empty(coder, codes);
        if !empty {
            let mut full = core::mem::take(&mut self.full);
            if self.plan.sparse {
                self.code_full(coder, codes, &mut full);
            }
            let coded = full.chunks(BATCH).try_for_each(|columns| self.code_batch(coder, columns, codes));
            self.full = full;
            coded?;
        }
        self.end_row(empty);
        if coder.is_broken() { None } else { Some(()) }
    }

    fn code_row_empty<C: Coder>(&mut self, coder: &mut C, codes: &[i32]) -> bool {
        let empty = coder.bit(0, chance(self.row_empty), codes.iter().all(|&code| code == 0));
        self.row_empty.learn(empty);
        if empty {
            self.above.fill(false);
        }
        empty
    }

    /// Codes which kernels of the row are not empty, and lists their columns.
    fn code_full<C: Coder>(&mut self, coder: &mut C, codes: &[i32], full: &mut Vec<usize>) {
        let Dims { columns, taps, .. } = self.dims;
        full.clear();
        for first in (0..columns).step_by(BATCH) {
            let mut flags = [false; BATCH];
            if !C::READS {
                for (flag, kernel) in flags.iter_mut().zip(codes[first * taps..].chunks(taps)) {
                    *flag = kernel.iter().any(|&code| code != 0);
                }
            }
            self.code_flags(coder, first, &mut flags);
            full.extend((first..columns).zip(flags).filter(|(_, full)| *full).map(|(column, _)| column));
        }
    }

    /// Codes whether kernels are not empty, from column `first` on.
    pub(crate) fn code_flags<C: Coder>(&mut self, coder: &mut C, first: usize, flags: &mut [bool; BATCH]) {
        let count = BATCH.min(self.dims.columns - first);
        let share = self.share(first);
        let mut counters = [0; BATCH];
        for (lane, counter) in counters[..count].iter_mut().enumerate() {
            *counter = self.full_counter(share, first + lane);
        }
        for (lane, (full, &counter)) in flags[..count].iter_mut().zip(&counters).enumerate() {
            *full = coder.bit(lane, chance(self.kernel_full[counter]), *full);
        }
        for (lane, (&full, &counter)) in flags[..count].iter().zip(&counters).enumerate() {
            self.kernel_full[counter].learn(full);
            self.full_in_row += u64::from(full);
            self.full_in_columns[first + lane] += u32::from(full);
            self.above[first + lane] = full;
        }
    }

    /// How full the row is from column `first` on, over the layer, as a logarithm.
    fn share(&self, first: usize) -> i32 {
        let full = log((self.full_in_row << MEAN_BITS) + SHARE_PRIOR * self.full_mean);
        full - log(first as u64 + SHARE_PRIOR) - self.full_level
    }

    /// The counter of a column's kernel, in a part of a row that is so full.
    #[inline(always)]
    fn full_counter(&self, share: i32, column: usize) -> usize {
        let full = (u64::from(self.full_in_columns[column]) << MEAN_BITS) + SHARE_PRIOR * self.full_mean;
        grid::kernel_counter(share + log(full) - self.full_divisor, self.above[column])
    }

    /// Codes the kernels of some columns of a row, 16 at most.
    pub(crate) fn code_batch<C: Coder>(&mut self, coder: &mut C, columns: &[usize], row: &mut [i32]) -> Option<()> {
        let mut room = core::mem::take(&mut self.room);
        let taps = self.dims.taps;
        room.codes.resize(taps, [0; LANES]);
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
        let coded = self.code_taps(coder, columns.len(), kernels, &mut room);
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
        mut kernels: Kernels<LANES>,
        room: &mut Room,
    ) -> Option<()> {
        for tap in 0..self.dims.taps {
            let predictions = room.predictions.get(tap).unwrap_or(&[0; LANES]);
            let Contexts { cells, negate, shifts } = kernels.contexts(predictions, self.taps[tap.min(TAPS - 1)]);
            self.set_cells(&cells[..count]);
            let codes = &mut room.codes[tap];
            let mut symbols = [0; LANES];
            if !C::READS {
                symbols = each(|lane| symbol_of(turned(codes[lane], negate[lane]), shifts[lane]));
            }
            coder.symbols(self.cells.parts(), &cells[..count], &mut symbols[..count]);
            let escaped = symbols.contains(&ESCAPE);
            if escaped || shifts != [0; LANES] {
                self.code_rests(coder, &symbols[..count], &shifts, &negate, codes)?;
            } else {
                *codes = each(|lane| turned(code_of(symbols[lane]), negate[lane]));
            }
            codes[count..].fill(0);
            kernels.add(codes);
            if self.predictor.is_fitted() {
                self.predictor.extend(&mut room.predictions, tap, codes);
            }
            (room.cells[tap], room.symbols[tap]) = (cells, symbols);
        }
        Some(())
    }

    /// Gives cells that are used for the first time what they begin with.
    #[inline(always)]
    fn set_cells(&mut self, cells: &[i16]) {
        for &cell in cells {
            if !self.cells.is_set(cell) {
                self.compute(cell);
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn compute(&mut self, cell: i16) {
        let even = grid::is_even(cell % grid::TENDENCIES as i16);
        self.cells.compute(cell, &grid::prior(cell, self.plan.sparse, &self.magnitudes), even);
    }

    /// Takes a complete batch into all sums, cells and predictions.
    fn learn(&mut self, columns: &[usize], levels: &Lanes<i16>, room: &Room) {
        let mut symbols_seen = [0; SYMBOLS];
        for (cells, symbols) in room.cells.iter().zip(&room.symbols) {
            for (&cell, &symbol) in cells[..columns.len()].iter().zip(symbols) {
                symbols_seen[usize::from(symbol) & (SYMBOLS - 1)] += 1;
                if self.cells.learn(cell, symbol) {
                    self.compute(cell);
                }
            }
        }
        self.magnitudes.learn(&symbols_seen);
        let sums = self.add_to_taps(&room.codes);
        for (&column, sum) in columns.iter().zip(sums) {
            self.in_row += sum;
            let in_column = &mut self.in_columns[column];
            *in_column = in_column.saturating_add(sum.min(u64::from(u32::MAX)) as u32);
        }
        self.predictor.learn(&room.codes, levels, columns.len());
    }

    /// Adds kernels to the sums of the taps. Returns their own sums.
    fn add_to_taps(&mut self, codes: &[Lanes<i32>]) -> Lanes<u64> {
        let mut sums = [0; LANES];
        // So many taps at once that sums fit 32 bits. Nothing is asked of taps where there are more of them.
        for (part, codes) in codes.chunks(TAPS).enumerate() {
            let mut part_sums = [0; LANES];
            for (tap, codes) in codes.iter().enumerate() {
                let sizes: Lanes<u32> = codes.map(magnitude);
                part_sums = each(|lane| part_sums[lane] + sizes[lane]);
                if part == 0 {
                    self.at_taps[tap] += u64::from(sizes.iter().sum::<u32>());
                }
            }
            sums = each(|lane| sums[lane] + u64::from(part_sums[lane]));
        }
        sums
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
        let level = (row_level + log(sum) - self.column_divisor - 2 * MEAN_ONE).clamp(-LEVELS, LEVELS);
        let coarse = (level - LARGE).max(0) >> 8;
        let mean = power(level - (coarse << 8) + MEAN_ONE).min(MAX_MEAN);
        Expectation { level: level as i16, coarse: coarse as i16, prior: KERNEL_PRIOR * mean as i32 }
    }

    /// What the symbols of some lanes leave open: magnitudes beyond the last symbol, the lowest bits, signs that are not told.
    #[cold]
    #[inline(never)]
    fn code_rests<C: Coder>(
        &mut self,
        coder: &mut C,
        symbols: &[u8],
        shifts: &Lanes<i16>,
        negate: &Lanes<i16>,
        codes: &mut Lanes<i32>,
    ) -> Option<()> {
        for (lane, &symbol) in symbols.iter().enumerate() {
            let shift = shifts[lane] as u32;
            let turned = |code: i64| if negate[lane] != 0 { -code } else { code };
            let code = if shift > 0 || symbol == ESCAPE {
                self.code_rest(coder, lane, symbol, shift, turned(i64::from(codes[lane])))
            } else {
                i64::from(code_of(symbol))
            };
            codes[lane] = i32::try_from(turned(code)).ok()?;
        }
        Some(())
    }

    fn code_rest<C: Coder>(&mut self, coder: &mut C, lane: usize, symbol: u8, shift: u32, code: i64) -> i64 {
        let magnitude = code.unsigned_abs();
        let mut high = (u64::from(symbol) + 1) >> 1;
        if symbol == ESCAPE {
            high = ESCAPED + self.code_escaped(coder, lane, (magnitude >> shift).wrapping_sub(ESCAPED));
        }
        let mut low = 0;
        if shift > 0 {
            let counter = &mut self.lows[usize::from(high == 0)];
            let bit = coder.bit(lane, chance(*counter), magnitude >> (shift - 1) & 1 == 1);
            counter.learn(bit);
            low = u64::from(bit) << (shift - 1) | u64::from(coder.plain(lane, magnitude as u32, shift - 1));
        }
        let read = (high << shift | low) as i64;
        let negative = if symbol == ESCAPE || (symbol == 0 && read != 0) {
            coder.plain(lane, u32::from(code < 0), 1) == 1
        } else {
            symbol & 1 == 0
        };
        if negative { -read } else { read }
    }

    /// A number of any size: the place of the leading one of its successor, then the bits below that.
    fn code_escaped<C: Coder>(&mut self, coder: &mut C, lane: usize, number: u64) -> u64 {
        let next = number.wrapping_add(1).max(1);
        let mut class = 0;
        while class < 31 {
            let counter = &mut self.classes[class as usize];
            let higher = coder.bit(lane, chance(*counter), next.ilog2() > class);
            counter.learn(higher);
            if !higher {
                break;
            }
            class += 1;
        }
        (1 << class | u64::from(coder.plain(lane, next as u32, class))) - 1
    }

    /// Bits of saying that the kernel of a column is empty, and that it is not, where the part of the row that it belongs to begins at column `first`; a
    /// dense tensor says neither.
    pub(crate) fn kernel_costs(&self, first: usize, column: usize) -> [f32; 2] {
        if !self.plan.sparse {
            return [f32::INFINITY, 0.0];
        }
        let p = chance(self.kernel_full[self.full_counter(self.share(first), column)]) << (16 - CHANCE_BITS);
        [cost((1 << 16) - p), cost(p)]
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
        let contexts = kernel.known.contexts(predictions, self.taps[kernel.tap.min(TAPS - 1)]);
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
        (prior[usize::from(symbol)] >> (WEIGHT_BITS - CHANCE_BITS)).max(1)
    }

    /// Takes one more code into what is known of the kernel.
    pub(crate) fn extend(&self, kernel: &mut Kernel, code: i32) {
        kernel.known.add(&[code]);
        self.predictor.extend(&mut kernel.predictions, kernel.tap, &[code]);
        kernel.tap += 1;
    }

    fn begin_row(&mut self) {
        let Dims { columns, taps, .. } = self.dims;
        let (kernels, seen) = ((self.row * columns) as u64, (self.row * self.dims.row()) as u64);
        let start = power(self.plan.level() + MEAN_ONE);
        self.layer_mean = ((start * LAYER_PRIOR + (self.total << MEAN_BITS)) / (LAYER_PRIOR + seen)).max(1);
        self.layer_level = log(self.layer_mean) - MEAN_ONE;
        self.column_divisor = log((self.row * taps) as u64 + COLUMN_PRIOR);
        for (tap, sum) in self.taps.iter_mut().zip(&self.at_taps).filter(|_| taps <= TAPS) {
            let mean = log((sum << MEAN_BITS) + TAP_PRIOR * self.layer_mean) - log(kernels + TAP_PRIOR);
            tap.level = (mean - MEAN_ONE - self.layer_level).clamp(-LEVELS, LEVELS) as i16;
        }
        let first = (start * taps as u64).clamp(1, FULL_MOST);
        let all = self.full_rows * columns as u64 + FULL_PRIOR;
        self.full_mean = (((self.full_before << MEAN_BITS) + FULL_PRIOR * first) / all).max(1);
        self.full_level = log(self.full_mean);
        self.full_divisor = log(self.full_rows + SHARE_PRIOR) + MEAN_ONE;
        (self.in_row, self.full_in_row) = (0, 0);
    }

    /// Goes to the next row.
    pub(crate) fn end_row(&mut self, empty: bool) {
        self.total += self.in_row;
        self.full_before += self.full_in_row;
        self.full_rows += u64::from(!empty);
        self.row += 1;
        self.begin_row();
    }
}

/// The part of the range that belongs to a set bit: neither empty nor all of it.
fn chance(counter: Counter) -> u32 {
    (counter.probability() >> (32 - CHANCE_BITS)).clamp(4, (1 << CHANCE_BITS) - 4)
}

/// What a code adds to sums.
#[inline(always)]
fn magnitude(code: i32) -> u32 {
    code.unsigned_abs().min(MAX_MAGNITUDE)
}

/// The negative of a code, if `negate` has all bits set.
#[inline(always)]
fn turned(code: i32, negate: i16) -> i32 {
    (code ^ i32::from(negate)).wrapping_sub(i32::from(negate))
}

/// The symbol of a code whose lowest `shift` bits are coded apart.
#[inline(always)]
fn symbol_of(code: i32, shift: i16) -> u8 {
    let high = code.unsigned_abs() >> shift;
    let symbol = 2 * high.min(ESCAPED as u32) as i32 - i32::from(code > 0);
    symbol.max(0).min(i32::from(ESCAPE)) as u8
}

/// The code of a symbol that leaves nothing open.
#[inline(always)]
fn code_of(symbol: u8) -> i32 {
    let magnitude = i32::from(symbol + 1) >> 1;
    let sign = i32::from(symbol & 1) - 1;
    (magnitude ^ sign) - sign
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_tell_magnitude_and_sign() {
        for code in -7..=7 {
            assert_eq!(code_of(symbol_of(code, 0)), code);
        }
        for (code, shift, symbol) in
            [(8, 0, 15), (-8, 0, 15), (9, 1, 7), (-9, 1, 8), (1, 1, 0), (-1, 1, 0), (i32::MIN, 24, 15)]
        {
            assert_eq!(symbol_of(code, shift), symbol, "{code} without {shift} bits");
        }
    }
}
