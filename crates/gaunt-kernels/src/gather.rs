//! Sums over channels and taps for every pixel: convolution forward and the gradient of its input.
//!
//! Six target channels by four columns are summed in registers. Columns are neighbouring pixels of a [`Run`], or, where
//! rows are so short that registers would stay empty, the same pixel in several blocks of images. Positions in the padding
//! are never visited. Sources are numbers, or [pairs](crate::pairs) of bfloat16, each of which counts as a channel.

use std::{mem::MaybeUninit, ops::Range};

use rayon::prelude::*;

use crate::{
    buffer::Buffer,
    geometry::{Run, Tap, slices},
    lanes::{COLUMNS, Isa, LANES, Lanes, ROWS, dispatch, dispatch_pairs, with_constant},
};

/// Runs are short if none is longer than this.
const SHORT: usize = 2;
/// Bytes of source rows that should stay in the second-level cache while all channels of a task pass over them.
const BAND: usize = 512 << 10;
/// Tasks that are aimed at. Fixed, so that nothing depends on the number of threads.
const TASKS: usize = 32;

/// What is summed where.
pub(crate) struct Gather {
    /// In order of their rows, as many for each.
    pub runs: Vec<Run>,
    pub rows: usize,
    pub groups: usize,
    /// Channels of a group.
    pub sources: usize,
    pub targets: usize,
    /// Vectors from a channel to the next.
    pub source_plane: usize,
    pub target_plane: usize,
    pub taps: usize,
    /// Whether sources and weights are pairs.
    pub pairs: bool,
}

/// Up to [`ROWS`] target channels of a group.
struct Panel {
    /// Their first source channel.
    source: usize,
    channels: usize,
    /// In the order in which they are read: source, tap, channel.
    weights: Vec<f32>,
}

/// A part of the targets: some panels of some blocks of images.
struct Task<'a> {
    panels: &'a [Panel],
    sources: &'a [&'a [f32]],
    /// The channels of the panels in each block.
    targets: Vec<&'a mut [MaybeUninit<f32>]>,
}

impl Gather {
    /// The targets of `source [B, C, H, W, 16]`; `weight` is asked for group, target and source in the group, and tap.
    pub fn run(&self, isa: Isa, source: &[f32], weight: impl Fn(usize, usize, usize, usize) -> f32 + Sync) -> Buffer {
        let source_block = self.groups * self.sources * self.source_plane * LANES;
        let target_block = self.groups * self.targets * self.target_plane * LANES;
        assert!(source_block * target_block > 0, "maps and kernels are not empty");
        let sources: Vec<&[f32]> = source.chunks_exact(source_block).collect();
        let panels = self.panels(weight);
        let bands = self.bands();
        let fill = |target: &mut [MaybeUninit<f32>]| {
            self.tasks(&panels, &sources, target, target_block).into_par_iter().for_each(|mut task| {
                let (gather, bands, task) = (self, &bands, &mut task);
                if gather.pairs {
                    dispatch_pairs!(isa, gather_task(gather: &Gather, bands: &[&[Run]], task: &mut Task));
                } else {
                    dispatch!(isa, gather_task(gather: &Gather, bands: &[&[Run]], task: &mut Task));
                }
            });
        };
        // SAFETY: the tasks' targets cover all, runs cover the plane, and each panel writes them for its channels.
        unsafe { Buffer::written(sources.len() * target_block, fill) }
    }

    fn panels(&self, weight: impl Fn(usize, usize, usize, usize) -> f32 + Sync) -> Vec<Panel> {
        let of_group = |group| slices(self.targets, self.targets.div_ceil(ROWS)).map(move |panel| (group, panel));
        let panels: Vec<_> = (0..self.groups).flat_map(of_group).collect();
        let pack = |(group, panel): (usize, Range<usize>)| {
            let channels = panel.len();
            let mut weights = Vec::with_capacity(channels * self.sources * self.taps);
            for (source, tap) in (0..self.sources).flat_map(|source| (0..self.taps).map(move |tap| (source, tap))) {
                weights.extend(panel.clone().map(|target| weight(group, target, source, tap)));
            }
            Panel { source: group * self.sources, channels, weights }
        };
        panels.into_par_iter().map(pack).collect()
    }

    /// Runs whose sources fit into the cache together.
    fn bands(&self) -> Vec<&[Run]> {
        let bytes = self.sources * self.source_plane * LANES * size_of::<f32>();
        let rows = self.rows.div_ceil(bytes.div_ceil(BAND).max(1));
        self.runs.chunks(rows * (self.runs.len() / self.rows)).collect()
    }

    /// Blocks of images that a task computes side by side.
    fn columns(&self, blocks: usize) -> usize {
        let short = self.runs.iter().all(|run| run.count <= SHORT);
        if short { blocks.div_ceil(blocks.div_ceil(COLUMNS).max(1)).max(1) } else { 1 }
    }

    fn tasks<'a>(
        &self,
        panels: &'a [Panel],
        sources: &'a [&'a [f32]],
        target: &'a mut [MaybeUninit<f32>],
        target_block: usize,
    ) -> Vec<Task<'a>> {
        let columns = self.columns(sources.len());
        let parts = TASKS.div_ceil(sources.len().div_ceil(columns).max(1)).min(panels.len());
        let mut tasks = Vec::new();
        for (sources, targets) in sources.chunks(columns).zip(target.chunks_mut(target_block * columns)) {
            let first = tasks.len();
            let part = panels.len().div_ceil(parts);
            tasks.extend(panels.chunks(part).map(|panels| Task { panels, sources, targets: Vec::new() }));
            for mut rest in targets.chunks_mut(target_block) {
                for task in &mut tasks[first..] {
                    let channels: usize = task.panels.iter().map(|panel| panel.channels).sum();
                    let (part, others) = rest.split_at_mut(channels * self.target_plane * LANES);
                    task.targets.push(part);
                    rest = others;
                }
            }
        }
        tasks
    }
}

/// All of a task, band by band.
///
/// # Safety
/// The instructions of `L` are enabled. Sources and targets have the lengths that the gather implies.
#[inline(always)]
unsafe fn gather_task<L: Lanes>(gather: &Gather, bands: &[&[Run]], task: &mut Task) {
    for band in bands {
        let mut first = 0;
        for panel in task.panels {
            for run in *band {
                // SAFETY: the panel's channels begin at `first` in the task's targets.
                unsafe {
                    with_constant!(rows panel.channels, C => {
                        gather_run::<L, C>(gather, run, panel, first, task.sources, &mut task.targets)
                    });
                }
            }
            first += panel.channels;
        }
    }
}

/// One run of pixels of a panel of `C` channels, the first of which is `first` in the targets.
///
/// # Safety
/// As [`gather_task`].
#[inline(always)]
unsafe fn gather_run<L: Lanes, const C: usize>(
    gather: &Gather,
    run: &Run,
    panel: &Panel,
    first: usize,
    sources: &[&[f32]],
    targets: &mut [&mut [MaybeUninit<f32>]],
) {
    let source = panel.source * gather.source_plane;
    let target = first * gather.target_plane + run.output;
    // SAFETY: taps and pixels of a run lie in the planes, so the addresses are inside the slices.
    unsafe {
        if let ([from], [to]) = (sources, &mut *targets) {
            let (from, to) = (from.as_ptr().add(source * LANES), to.as_mut_ptr().cast::<f32>().add(target * LANES));
            gather_columns::<L, C>(gather, &run.taps, &panel.weights, run.count, |pixel| {
                (from.add(pixel * run.input_step * LANES), to.add(pixel * run.output_step * LANES))
            });
        } else {
            for pixel in 0..run.count {
                let (source, target) = (source + pixel * run.input_step, target + pixel * run.output_step);
                let blocks = targets.len();
                gather_columns::<L, C>(gather, &run.taps, &panel.weights, blocks, |block| {
                    let to = targets[block].as_mut_ptr().cast::<f32>();
                    (sources[block].as_ptr().add(source * LANES), to.add(target * LANES))
                });
            }
        }
    }
}

/// `count` columns, each given by the vectors that it starts from in the source and the target.
///
/// # Safety
/// As [`gather_task`]; all that taps and channels add to the vectors stays inside the slices.
#[inline(always)]
unsafe fn gather_columns<L: Lanes, const C: usize>(
    gather: &Gather,
    taps: &[Tap],
    weights: &[f32],
    count: usize,
    mut at: impl FnMut(usize) -> (*const f32, *mut f32),
) {
    let mut first = 0;
    while first < count {
        let columns = L::columns(C).min(count - first);
        // SAFETY: as promised by the caller.
        unsafe {
            with_constant!(columns columns, P => {
                gather_block::<L, C, P>(gather, taps, weights, std::array::from_fn(|i| at(first + i)))
            });
        }
        first += columns;
    }
}

/// `P` columns of `C` channels, all sums in registers.
///
/// # Safety
/// As [`gather_columns`].
#[inline(always)]
unsafe fn gather_block<L: Lanes, const C: usize, const P: usize>(
    gather: &Gather,
    taps: &[Tap],
    weights: &[f32],
    columns: [(*const f32, *mut f32); P],
) {
    // SAFETY: as promised by the caller; a panel has `C` weights for each source and tap.
    unsafe {
        let mut sums = [[L::zero(); P]; C];
        for source in 0..gather.sources {
            let plane = source * gather.source_plane;
            let weights = weights.as_ptr().add(source * gather.taps * C);
            for tap in taps {
                let offset = (plane + tap.input) * LANES;
                let x: [L; P] = std::array::from_fn(|p| L::load(columns[p].0.add(offset)));
                for (c, sums) in sums.iter_mut().enumerate() {
                    let w = L::splat(weights.add(tap.weight * C + c));
                    for (sum, &x) in sums.iter_mut().zip(&x) {
                        *sum = sum.add_product(w, x);
                    }
                }
            }
        }
        for (c, sums) in sums.iter().enumerate() {
            for (sum, (_, to)) in sums.iter().zip(columns) {
                sum.store(to.add(c * gather.target_plane * LANES));
            }
        }
    }
}
