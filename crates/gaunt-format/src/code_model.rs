//! The adaptive model of integer codes.
//!
//! A code is a significance bit (is it not zero?), a sign, and a climb up a ladder of magnitudes. Significance and
//! climb are mixed from what the neighbourhood and the margins of the tensor say; see `docs/format.md` for each
//! context.

use alloc::{vec, vec::Vec};

use crate::{
    logistic::{cost, stretch},
    mix::{Counter, Mixer, Prediction},
    plan::Plan,
    range::{Coder, code_plain},
};

/// Input channels with statistics of their own; further ones share them, modulo this.
const MAX_COLUMNS: usize = 1 << 14;
/// Kernel positions with statistics of their own; the last one stands for all further ones.
const MAX_TAPS: usize = 16;
/// Rungs of the ladder with statistics of their own.
const MAX_RUNGS: usize = 24;
/// Levels that a running mean of levels is sorted into.
const MEANS: usize = 28;

/// A tensor's shape as the model sees it: `[rows, columns, height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dims {
    rows: usize,
    columns: usize,
    height: usize,
    width: usize,
}

impl Dims {
    /// Axis 0 are rows (output channels), axis 1 columns (input channels), the last one of what remains the width of
    /// the kernel, the others its height. A vector is one row.
    pub(crate) fn new(shape: &[usize]) -> Self {
        let (rows, columns, height, width) = match *shape {
            [] => (1, 1, 1, 1),
            [n] => (1, n, 1, 1),
            [o, i] => (o, i, 1, 1),
            [o, i, ref middle @ .., w] => (o, i, middle.iter().product(), w),
        };
        Self { rows, columns, height, width }
    }

    fn taps(&self) -> usize {
        self.height * self.width
    }

    fn row(&self) -> usize {
        self.columns * self.taps()
    }
}

/// Where the next code lies.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    row: usize,
    column: usize,
    y: usize,
    x: usize,
}

/// Levels of the codes around the next one, and what the margins hold.
#[derive(Clone, Copy, Debug, Default)]
struct Surroundings {
    left: i8,
    up: i8,
    /// Same kernel position, one and two input channels before.
    before: [usize; 2],
    /// Same kernel position and input channel, one and two output channels before.
    above: [usize; 2],
    tap: usize,
    row_mean: usize,
    column_mean: usize,
}

const ZERO_INPUTS: usize = 8;
const RUNG_INPUTS: usize = 6;

/// The adaptive state.
#[derive(Clone, Debug)]
pub(crate) struct CodeModel {
    dims: Dims,
    plan: Plan,
    at: Position,
    around: Surroundings,
    /// Signed levels of the last three rows.
    history: Vec<i8>,
    /// Nonzero codes in this kernel so far, and in the kernels before (in this row) and above.
    kernel: u8,
    kernel_before: u8,
    kernels_above: Vec<u8>,
    /// Zeros since the row began or since its last nonzero code.
    run: u32,
    /// Mean levels with 8 fractional bits.
    row_mean: u32,
    column_means: Vec<u16>,
    significance: Mixer<ZERO_INPUTS>,
    /// The prediction for the next code.
    significant: Option<Prediction<ZERO_INPUTS>>,
    climb: Mixer<RUNG_INPUTS>,
    signs: [Counter; 9],
    mantissas: Vec<Counter>,
}

/// Offsets of the groups of counters in the significance mixer.
mod zero {
    use super::MAX_TAPS;
    pub(super) const LAYER: usize = 0;
    pub(super) const ROW: usize = 1;
    pub(super) const TAP: usize = 2;
    pub(super) const KERNEL: usize = TAP + MAX_TAPS;
    pub(super) const STACK: usize = KERNEL + 4 * 3 * 3 * MAX_TAPS;
    pub(super) const MARGINS: usize = STACK + 81 * 4;
    pub(super) const RUN: usize = MARGINS + 256;
    pub(super) const COLUMN: usize = RUN + 16 * 16;
}

/// Offsets of the groups of counters in the climb mixer.
mod rung {
    use super::{MAX_RUNGS, MAX_TAPS, MEANS};
    pub(super) const LAYER: usize = 0;
    pub(super) const NEAR: usize = LAYER + MAX_RUNGS;
    pub(super) const STACK: usize = NEAR + MAX_RUNGS * 16;
    pub(super) const ROW: usize = STACK + MAX_RUNGS * 16;
    pub(super) const COLUMN: usize = ROW + MAX_RUNGS * MEANS;
    pub(super) const TAP: usize = COLUMN + MAX_RUNGS * MEANS;
    pub(super) const END: usize = TAP + MAX_RUNGS * MAX_TAPS;
}

impl CodeModel {
    pub(crate) fn new(dims: Dims, plan: Plan) -> Self {
        let columns = dims.columns.min(MAX_COLUMNS);
        let context = Counter::new(plan.density(), 3, 1023);
        let mut counters = vec![context; zero::COLUMN + columns];
        counters[..zero::KERNEL].fill(margin(plan.density()));
        counters[zero::COLUMN..].fill(margin(plan.density()));
        let climb = vec![Counter::new(plan.magnitude(), 3, 1023); rung::END];
        let one = 1 << 16;
        let mut model = Self {
            dims,
            plan,
            at: Position::default(),
            around: Surroundings::default(),
            history: vec![0; dims.row() * dims.rows.min(3)],
            kernel: 0,
            kernel_before: 0,
            kernels_above: vec![0; columns],
            run: 0,
            row_mean: 0,
            column_means: vec![0; columns],
            significance: Mixer::new(
                counters,
                4,
                [-one / 2, one / 2, one / 2, one / 4, one / 4, one / 8, one / 8, one / 8],
            ),
            significant: None,
            climb: Mixer::new(climb, MAX_RUNGS, [one / 4; RUNG_INPUTS]),
            signs: [Counter::new(1 << 31, 4, 255); 9],
            mantissas: vec![Counter::new(1 << 31, 2, 255); 32 * 4],
        };
        model.look_around();
        model
    }

    /// Codes the next element. Decoders pass any `value` and get the true one.
    pub(crate) fn code<C: Coder>(&mut self, coder: &mut C, value: i32) -> i64 {
        let Some(prediction) = self.significant.take() else { return 0 };
        let nonzero = coder.code(prediction.p(), value != 0);
        self.significance.learn(&prediction, nonzero, ZERO_RATE);
        let mut read = 0;
        if nonzero {
            let sign = self.sign_context();
            let negative = coder.code(self.signs[sign].clamped(), value < 0);
            self.signs[sign].learn(negative);
            let magnitude = self.code_magnitude(coder, value.unsigned_abs().max(1));
            read = if negative { -(magnitude as i64) } else { magnitude as i64 };
        }
        self.advance(read);
        read
    }

    /// Bits that `value` would cost here.
    pub(crate) fn cost(&self, value: i32) -> f32 {
        let Some(prediction) = &self.significant else { return 0.0 };
        if value == 0 {
            return cost_of(false, prediction.p());
        }
        let sign = self.signs[self.sign_context()].clamped();
        cost_of(true, prediction.p()) + cost_of(value < 0, sign) + self.magnitude_cost(value.unsigned_abs())
    }

    /// Codes a magnitude of at least 1.
    fn code_magnitude<C: Coder>(&mut self, coder: &mut C, magnitude: u32) -> u64 {
        let ladder = self.plan.ladder();
        let above = magnitude - 1;
        for step in 0..ladder {
            if !self.code_rung(coder, step, above > step) {
                return u64::from(step) + 1;
            }
        }
        // Beyond the single rungs, each is twice as wide as the one before.
        let rest = above.wrapping_sub(ladder).wrapping_add(1).max(1);
        let mut class = 0;
        while class < 31 && self.code_rung(coder, ladder + class, rest.ilog2() > class) {
            class += 1;
        }
        u64::from(ladder) + self.code_mantissa(coder, class, rest)
    }

    fn code_rung<C: Coder>(&mut self, coder: &mut C, step: u32, higher: bool) -> bool {
        let prediction = self.predict_rung(step);
        let higher = coder.code(prediction.p(), higher);
        self.climb.learn(&prediction, higher, RUNG_RATE);
        higher
    }

    /// Codes the `class` bits below the leading one of `rest`: two with statistics, the others plain.
    fn code_mantissa<C: Coder>(&mut self, coder: &mut C, class: u32, rest: u32) -> u64 {
        let mut read = 1u64;
        let modelled = class.min(2);
        for i in 1..=modelled {
            let counter = &mut self.mantissas[(class * 4) as usize + read as usize];
            let bit = coder.code(counter.clamped(), rest >> (class - i) & 1 != 0);
            counter.learn(bit);
            read = read << 1 | u64::from(bit);
        }
        let plain = class - modelled;
        (read << plain) | u64::from(code_plain(coder, rest, plain))
    }

    fn magnitude_cost(&self, magnitude: u32) -> f32 {
        let ladder = self.plan.ladder();
        let above = magnitude - 1;
        let climb = |steps: u32| (0..steps).map(|step| cost_of(true, self.predict_rung(step).p())).sum::<f32>();
        let stop = |step: u32| cost_of(false, self.predict_rung(step).p());
        if above < ladder {
            return climb(above) + stop(above);
        }
        let class = (above - ladder + 1).ilog2();
        climb(ladder + class) + stop(ladder + class) + class as f32
    }

    fn predict_rung(&self, step: u32) -> Prediction<RUNG_INPUTS> {
        let step = (step as usize).min(MAX_RUNGS - 1);
        let around = &self.around;
        let near = (around.left.unsigned_abs() + around.up.unsigned_abs()).min(15);
        let stack = around.before.iter().chain(&around.above).sum::<usize>().min(15);
        let slots = [
            rung::LAYER + step,
            rung::NEAR + step * 16 + usize::from(near),
            rung::STACK + step * 16 + stack,
            rung::ROW + step * MEANS + around.row_mean,
            rung::COLUMN + step * MEANS + around.column_mean,
            rung::TAP + step * MAX_TAPS + around.tap,
        ];
        self.climb.predict(slots, step)
    }

    fn sign_context(&self) -> usize {
        (3 * (self.around.left.signum() + 1) + self.around.up.signum() + 1) as usize
    }

    /// Takes in the code at this position and goes to the next.
    fn advance(&mut self, code: i64) {
        let level = level(code.unsigned_abs());
        let slot = self.at.column % MAX_COLUMNS;
        let here = self.index();
        if let Some(place) = self.history.get_mut(here) {
            *place = if code < 0 { -(level as i8) } else { level as i8 };
        }
        self.kernel += u8::from(code != 0 && self.kernel < 255);
        self.run = if code == 0 { self.run.saturating_add(1) } else { 0 };
        self.row_mean = (self.row_mean as i32 + ((level as i32 * 256 - self.row_mean as i32) >> 4)) as u32;
        let mean = &mut self.column_means[slot];
        *mean = (i32::from(*mean) + ((level as i32 * 256 - i32::from(*mean)) >> 4)) as u16;
        self.step();
        self.look_around();
    }

    fn step(&mut self) {
        self.at.x += 1;
        if self.at.x < self.dims.width {
            return;
        }
        self.at = Position { x: 0, y: self.at.y + 1, ..self.at };
        if self.at.y < self.dims.height {
            return;
        }
        self.kernels_above[self.at.column % MAX_COLUMNS] = self.kernel;
        self.kernel_before = core::mem::take(&mut self.kernel);
        self.at = Position { y: 0, column: self.at.column + 1, ..self.at };
        if self.at.column < self.dims.columns {
            return;
        }
        self.at = Position { row: self.at.row + 1, ..Position::default() };
        self.kernel_before = 0;
        self.run = 0;
        let start = self.significance.counter(zero::LAYER).probability();
        self.significance.reset(zero::ROW, margin(start));
    }

    /// Where the history keeps this position.
    fn index(&self) -> usize {
        let Position { row, column, y, x } = self.at;
        row % 3 * self.dims.row() + (column * self.dims.height + y) * self.dims.width + x
    }

    /// Gathers the contexts of the position and predicts its significance.
    fn look_around(&mut self) {
        if self.at.row >= self.dims.rows {
            self.significant = None;
            return;
        }
        let Position { row, column, y, x } = self.at;
        let (here, taps, row_len) = (self.index(), self.dims.taps(), self.dims.row());
        let in_row = here - row % 3 * row_len;
        let get = |there: bool, index: usize| if there { self.history.get(index).copied().unwrap_or(0) } else { 0 };
        let back = |there: bool, distance: usize| get(there, here.wrapping_sub(distance));
        let size = |level: i8| usize::from(level.unsigned_abs());
        let column_slot = column % MAX_COLUMNS;
        self.around = Surroundings {
            left: back(x > 0, 1),
            up: back(y > 0, self.dims.width),
            before: [size(back(column > 0, taps)), size(back(column > 1, 2 * taps))],
            above: [1, 2].map(|rows| size(get(row >= rows, (row + 3 - rows) % 3 * row_len + in_row))),
            tap: (y * self.dims.width + x).min(MAX_TAPS - 1),
            row_mean: level(u64::from(self.row_mean)).min(MEANS - 1),
            column_mean: level(u64::from(self.column_means[column_slot])).min(MEANS - 1),
        };
        self.significant = Some(self.predict_significance(column_slot));
    }

    fn predict_significance(&self, column: usize) -> Prediction<ZERO_INPUTS> {
        let around = &self.around;
        let kernel = usize::from(self.kernel.min(3));
        let near = |level: i8| usize::from(level.unsigned_abs().min(2));
        let far = |level: usize| level.min(2);
        let [before, before2] = around.before.map(far);
        let [above, above2] = around.above.map(far);
        let odds = |slot: usize| stretch(self.significance.counter(slot).probability());
        let layer = odds(zero::LAYER);
        let relative = |slot: usize| ((odds(slot) - layer + 1024).clamp(0, 2047) >> 7) as usize;
        let run = (32 - self.run.leading_zeros() as usize).min(15);
        let kernels = usize::from(self.kernel_before.min(3)) * 4 + usize::from(self.kernels_above[column].min(3));
        let slots = [
            zero::LAYER,
            zero::ROW,
            zero::COLUMN + column,
            zero::TAP + around.tap,
            zero::KERNEL + ((around.tap * 4 + kernel) * 3 + near(around.left)) * 3 + near(around.up),
            zero::STACK + (((kernel * 3 + before) * 3 + before2) * 3 + above) * 3 + above2,
            zero::MARGINS + relative(zero::ROW) * 16 + relative(zero::COLUMN + column),
            zero::RUN + run * 16 + kernels,
        ];
        self.significance.predict(slots, kernel)
    }
}

/// A counter of a margin (the layer, a row, a column, a kernel position), which starts at `p` as if it had seen two
/// nonzero codes.
fn margin(p: u32) -> Counter {
    let seen = (2u64 << 32) / (u64::from(p) + 1);
    Counter::new(p, seen.min(2000) as u16, u16::MAX)
}

/// Shifts of the mixers' learning rates.
const ZERO_RATE: u32 = 17;
const RUNG_RATE: u32 = 16;

fn cost_of(bit: bool, p: u32) -> f32 {
    cost(if bit { p } else { 65_536 - p })
}

/// Two steps per octave: 0, 1, 2, 3, then 4 for 4 and 5, 5 for 6 and 7, 6 for 8 to 11, and so on.
fn level(magnitude: u64) -> usize {
    match magnitude {
        0 | 1 => magnitude as usize,
        _ => {
            let octave = magnitude.ilog2();
            (2 * octave + (magnitude >> (octave - 1) & 1) as u32) as usize
        }
    }
}
