//! Convolution by products of tiles of bfloat16, as processors with AMX have them.
//!
//! A tile is sixteen rows of sixteen words, each a [pair](crate::pairs). [`Engine::multiply`] sums products of tiles into two by two
//! tiles of numbers, 32 rows by 32 columns, along [`Segment`]s of the operands. Forward, and for the gradient of the input, rows are
//! target channels and columns two pixels of sixteen images; words are pairs of source channels. For the gradient of the weight rows
//! are output channels and columns input channels; words are pairs of images. Where there are no such instructions the same is
//! computed by a loop, which is how it is tested anywhere.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::{
    buffer::{Buffer, Scratch, Shared},
    conv::Kernel,
    correlation::tap_rows,
    gather::Gather,
    geometry::{ConvGeometry, Run},
    lanes::{Isa, LANES, Lanes, dispatch},
    pairs::{ChannelPairs, pair, pair_blocks, pitch},
};

/// Rows of a tile, and words of a row.
const SIDE: usize = LANES;
/// Rows and columns of the sums of a product: two tiles.
const WIDTH: usize = 2 * SIDE;
/// Words of a tile.
const TILE: usize = SIDE * SIDE;
/// Tasks that sums over images are cut into at least. Fixed, so that nothing depends on the number of threads.
const TASKS: usize = 16;

/// Tiles that follow one another in both operands.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Segment {
    /// Words from the operand's start to the first tile.
    rows: usize,
    columns: usize,
    /// Tiles; not zero.
    count: usize,
}

/// Operands of a product; offsets count words.
#[derive(Clone, Copy, Debug)]
struct Operands {
    /// The two tiles of rows.
    rows: [*const f32; 2],
    /// From a row to the next.
    row_pitch: usize,
    /// From a tile to the next.
    row_step: usize,
    /// The two tiles of columns, a row for each word of the sum.
    columns: [*const f32; 2],
    column_pitch: usize,
    column_step: usize,
}

/// Sums of a product, `[row tile][column tile][row][column]`.
type Sums = [[[[f32; SIDE]; SIDE]; 2]; 2];

/// What multiplies tiles, set up for tiles of some depth until it is dropped.
struct Engine {
    #[cfg(target_arch = "x86_64")]
    native: bool,
    /// Words of a row.
    depth: usize,
}

impl Engine {
    fn new(isa: Isa, depth: usize) -> Self {
        assert!((1..=SIDE).contains(&depth), "a row has up to {SIDE} words");
        #[cfg(target_arch = "x86_64")]
        {
            let native = isa == Isa::Amx;
            if native {
                // SAFETY: this variant is only used after processor and system were asked.
                unsafe { amx::configure(depth) };
            }
            Self { native, depth }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = isa;
            Self { depth }
        }
    }

    /// `sums[r][c] = sum of rows[r] * columns[c]` over the tiles of all segments; zero if there is no segment.
    ///
    /// # Safety
    /// All tiles that segments name lie in memory that may be read.
    unsafe fn multiply(&self, operands: &Operands, segments: &[Segment], sums: &mut Sums) {
        debug_assert!(segments.iter().all(|segment| segment.count > 0));
        #[cfg(target_arch = "x86_64")]
        if self.native {
            // SAFETY: as promised by the caller; tiles are configured.
            return unsafe { amx::multiply(operands, segments, sums) };
        }
        // SAFETY: as promised by the caller.
        unsafe { by_loop(self.depth, operands, segments, sums) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Drop for Engine {
    fn drop(&mut self) {
        if self.native {
            // SAFETY: tiles were configured when this was made.
            unsafe { amx::release() };
        }
    }
}

/// # Safety
/// As [`Engine::multiply`].
unsafe fn by_loop(depth: usize, operands: &Operands, segments: &[Segment], sums: &mut Sums) {
    let halves = |word: f32| [f32::from_bits(word.to_bits() << 16), f32::from_bits(word.to_bits() & 0xFFFF_0000)];
    *sums = Default::default();
    for segment in segments {
        for tile in 0..segment.count {
            for (r, c) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let rows = operands.rows[r].wrapping_add(segment.rows + tile * operands.row_step);
                let columns = operands.columns[c].wrapping_add(segment.columns + tile * operands.column_step);
                for (row, sums) in sums[r][c].iter_mut().enumerate() {
                    for word in 0..depth {
                        // SAFETY: as promised by the caller.
                        let a = halves(unsafe { *rows.add(row * operands.row_pitch + word) });
                        for (column, sum) in sums.iter_mut().enumerate() {
                            // SAFETY: as promised by the caller.
                            let b = halves(unsafe { *columns.add(word * operands.column_pitch + column) });
                            *sum += a[0] * b[0] + a[1] * b[1];
                        }
                    }
                }
            }
        }
    }
}

/// Whether tiles can be multiplied here: the processor has them, the system grants them, and they give the right sums.
#[cfg(target_arch = "x86_64")]
pub(crate) fn available() -> bool {
    static AVAILABLE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *AVAILABLE.get_or_init(|| amx::granted() && agrees())
}

/// Whether native products of small integers are those of the loop.
#[cfg(target_arch = "x86_64")]
fn agrees() -> bool {
    let words = |seed: usize| -> Vec<f32> {
        let number = |i: usize| ((i * 37 + seed) % 13) as f32 - 6.0;
        (0..4 * TILE).map(|i| pair(number(2 * i), number(2 * i + 1))).collect()
    };
    let (rows, columns) = (words(1), words(5));
    [3, SIDE].into_iter().all(|depth| {
        let engine = Engine::new(Isa::Amx, depth);
        let operands = Operands {
            rows: [rows.as_ptr(), rows[TILE..].as_ptr()],
            row_pitch: SIDE,
            row_step: 2 * TILE,
            columns: [columns.as_ptr(), columns[TILE..].as_ptr()],
            column_pitch: SIDE,
            column_step: 2 * TILE,
        };
        let segments = [Segment { rows: 0, columns: 0, count: 2 }, Segment { rows: 0, columns: 2 * TILE, count: 1 }];
        let (mut native, mut expected) = (Sums::default(), Sums::default());
        // SAFETY: tiles were granted, and segments lie in the operands.
        unsafe {
            engine.multiply(&operands, &segments, &mut native);
            by_loop(depth, &operands, &segments, &mut expected);
        }
        native == expected
    })
}

#[cfg(target_arch = "x86_64")]
mod amx {
    use std::arch::asm;

    use super::{Operands, SIDE, Segment, Sums};

    /// Whether the processor has tiles of bfloat16 and the system lets this process use them.
    pub(super) fn granted() -> bool {
        use std::arch::x86_64::__cpuid_count;
        /// `CPUID.(7, 0).EDX`: products of bfloat16 tiles, and tiles.
        const FEATURES: u32 = 1 << 22 | 1 << 24;
        __cpuid_count(0, 0).eax >= 7 && __cpuid_count(7, 0).edx & FEATURES == FEATURES && request()
    }

    /// Asks the system for the registers, which it saves for threads only on demand.
    #[cfg(target_os = "linux")]
    fn request() -> bool {
        const ARCH_PRCTL: i64 = 158;
        const REQUEST_PERMISSION: i64 = 0x1023;
        const TILE_DATA: i64 = 18;
        let mut result = ARCH_PRCTL;
        // SAFETY: a system call with two numbers, which touches no memory of the process.
        unsafe {
            asm!("syscall", inout("rax") result, in("rdi") REQUEST_PERMISSION, in("rsi") TILE_DATA, out("rcx") _,
                out("r11") _, options(nostack));
        }
        result == 0
    }

    /// Other systems have no such request that is known here.
    #[cfg(not(target_os = "linux"))]
    fn request() -> bool {
        false
    }

    /// What `ldtilecfg` reads.
    #[repr(C, align(64))]
    struct Config {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }

    /// Registers 0 to 3 for sums, 4 and 5 for rows of `depth` words, 6 and 7 for as many rows of columns.
    ///
    /// # Safety
    /// Tiles are granted.
    pub(super) unsafe fn configure(depth: usize) {
        let whole = SIDE as u8;
        let mut config = Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        for register in 0..8 {
            config.row_bytes[register] = if matches!(register, 4 | 5) { 4 * depth as u16 } else { 4 * SIDE as u16 };
            config.rows[register] = if register >= 6 { depth as u8 } else { whole };
        }
        // SAFETY: as promised by the caller; the configuration is 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, readonly, preserves_flags)) }
    }

    /// # Safety
    /// Tiles are granted.
    pub(super) unsafe fn release() {
        // SAFETY: as promised by the caller.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) }
    }

    /// # Safety
    /// As [`Engine::multiply`](super::Engine::multiply), and tiles are configured.
    pub(super) unsafe fn multiply(operands: &Operands, segments: &[Segment], sums: &mut Sums) {
        const WORD: usize = 4;
        let Operands { rows, row_pitch, row_step, columns, column_pitch, column_step } = operands;
        /// What the loop has no registers for.
        #[repr(C)]
        struct Frame {
            rows: [*const f32; 2],
            columns: [*const f32; 2],
            row_step: usize,
            column_step: usize,
        }
        let frame =
            Frame { rows: *rows, columns: *columns, row_step: row_step * WORD, column_step: column_step * WORD };
        // SAFETY: as promised by the caller; sums are four tiles, and nothing else is written.
        unsafe {
            asm!(
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                "jmp 4f",
                // A segment.
                "2:",
                "mov {r0}, [{segment}]",
                "mov {c0}, [{segment} + 8]",
                "mov {count}, [{segment} + 16]",
                "shl {r0}, 2",
                "shl {c0}, 2",
                "mov {r1}, [{frame} + 8]",
                "mov {c1}, [{frame} + 24]",
                "add {r1}, {r0}",
                "add {c1}, {c0}",
                "add {r0}, [{frame}]",
                "add {c0}, [{frame} + 16]",
                // A tile of each operand.
                "3:",
                "tileloadd tmm4, [{r0} + {row_pitch}*1]",
                "tileloadd tmm6, [{c0} + {column_pitch}*1]",
                "tileloadd tmm7, [{c1} + {column_pitch}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm5, [{r1} + {row_pitch}*1]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {r0}, [{frame} + 32]",
                "add {r1}, [{frame} + 32]",
                "add {c0}, [{frame} + 40]",
                "add {c1}, [{frame} + 40]",
                "dec {count}",
                "jnz 3b",
                "add {segment}, 24",
                "4:",
                "cmp {segment}, {last}",
                "jne 2b",
                "mov {count}, 64",
                "tilestored [{sums} + {count}*1], tmm0",
                "tilestored [{sums} + {count}*1 + 1024], tmm1",
                "tilestored [{sums} + {count}*1 + 2048], tmm2",
                "tilestored [{sums} + {count}*1 + 3072], tmm3",
                segment = inout(reg) segments.as_ptr() => _,
                last = in(reg) segments.as_ptr_range().end,
                frame = in(reg) &frame,
                sums = in(reg) sums,
                row_pitch = in(reg) row_pitch * WORD,
                column_pitch = in(reg) column_pitch * WORD,
                r0 = out(reg) _,
                r1 = out(reg) _,
                c0 = out(reg) _,
                c1 = out(reg) _,
                count = out(reg) _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

/// A sum over channels: `from [B, C, plane, 16]` as the gather says, with weights by target, source and tap.
pub(crate) fn gather(
    isa: Isa,
    gather: &Gather,
    from: &[f32],
    weight: impl Fn(usize, usize, usize) -> f32 + Sync,
) -> Buffer {
    // Tiles of equal depth: the last would be nearly empty else.
    let chunks = gather.sources.div_ceil(2).div_ceil(SIDE);
    let depth = gather.sources.div_ceil(2).div_ceil(chunks);
    let maps = ChannelPairs::of(isa, from, gather.sources, gather.source_plane, chunks * depth);
    let panels = gather.targets.div_ceil(WIDTH);
    let weights = pack_weights(gather, [chunks, depth], weight);
    let sources = maps.words().chunks_exact(maps.pairs * maps.pitch());
    let tasks: Vec<_> = sources.enumerate().flat_map(|task| (0..panels).map(move |panel| (task, panel))).collect();
    let len = maps.words().len() / (maps.pairs * maps.pitch()) * gather.targets * gather.target_plane * LANES;
    let fill = |y: &mut [MaybeUninit<f32>]| {
        let y = Shared(y.as_mut_ptr().cast());
        tasks.par_iter().for_each(|&((block, source), panel)| {
            let weights = &weights[panel * gather.taps * chunks * 2 * TILE..][..gather.taps * chunks * 2 * TILE];
            let first = panel * WIDTH;
            let to = y.at((block * gather.targets + first) * gather.target_plane * LANES);
            let targets = WIDTH.min(gather.targets - first);
            let engine = Engine::new(isa, depth);
            let operands = Operands {
                rows: [weights.as_ptr(), weights[TILE..].as_ptr()],
                row_pitch: SIDE,
                row_step: 2 * TILE,
                columns: [source.as_ptr(); 2],
                column_pitch: maps.pitch(),
                column_step: depth * maps.pitch(),
            };
            for run in &gather.runs {
                // SAFETY: weights and maps have all tiles that taps name, and no other task has the panel's targets.
                unsafe { gather_run(&engine, run, operands, chunks, to, [targets, gather.target_plane]) };
            }
        });
    };
    // SAFETY: runs cover the plane, and panels the targets of each block.
    unsafe { Buffer::written(len, fill) }
}

/// Weights `[panel][tap][chunk][row tile]` of tiles, rows of which are targets and words pairs of sources.
fn pack_weights(
    gather: &Gather,
    [chunks, depth]: [usize; 2],
    weight: impl Fn(usize, usize, usize) -> f32 + Sync,
) -> Vec<f32> {
    let mut weights = vec![0.0; gather.targets.div_ceil(WIDTH) * gather.taps * chunks * 2 * TILE];
    weights.par_chunks_exact_mut(chunks * 2 * TILE).enumerate().for_each(|(index, tiles)| {
        let (panel, tap) = (index / gather.taps * WIDTH, index % gather.taps);
        for (chunk, tiles) in tiles.chunks_exact_mut(2 * TILE).enumerate() {
            for (row, words) in tiles.chunks_exact_mut(SIDE).enumerate().take(gather.targets - panel) {
                for (word, to) in words.iter_mut().enumerate().take(depth) {
                    let source = 2 * (chunk * depth + word);
                    let of =
                        |source: usize| if source < gather.sources { weight(panel + row, source, tap) } else { 0.0 };
                    *to = pair(of(source), of(source + 1));
                }
            }
        }
    });
    weights
}

/// The pixels of a run in a panel of targets, two by two.
///
/// # Safety
/// The operands have what the run's taps name; `to` may be written for that many targets of the plane.
unsafe fn gather_run(
    engine: &Engine,
    run: &Run,
    operands: Operands,
    chunks: usize,
    to: *mut f32,
    [targets, plane]: [usize; 2],
) {
    let segments = run.taps.iter().map(|tap| Segment {
        rows: tap.weight * chunks * operands.row_step,
        columns: tap.input * LANES,
        count: chunks,
    });
    let segments: Vec<Segment> = segments.collect();
    let mut sums = Sums::default();
    for first in (0..run.count).step_by(2) {
        let pixels = [first, (first + 1).min(run.count - 1)];
        let columns = [0, 1].map(|c| operands.columns[c].wrapping_add(pixels[c] * run.input_step * LANES));
        // SAFETY: as promised by the caller.
        unsafe {
            engine.multiply(&Operands { columns, ..operands }, &segments, &mut sums);
            for (target, c) in (0..targets).flat_map(|target| [(target, 0), (target, 1)]) {
                let to = to.add((target * plane + run.output + pixels[c] * run.output_step) * LANES);
                to.copy_from_nonoverlapping(sums[target / SIDE][c][target % SIDE].as_ptr(), LANES);
            }
        }
    }
}

/// Gradient of the weight, `[O, I, KH, KW]`, from inputs that are paired by blocks of images, and gradients of outputs as they are.
pub(crate) fn weight_gradient(
    isa: Isa,
    x: &[f32],
    dy: &[f32],
    g: &ConvGeometry,
    kernel: Kernel,
    input: [usize; 2],
) -> Vec<f32> {
    let [input_plane, output_plane] = [input, g.output_size(input, kernel.size)].map(|[height, width]| height * width);
    let columns = turn(isa, x, kernel.inputs, input_plane);
    let padded = kernel.outputs.next_multiple_of(WIDTH);
    let rows = pair_blocks(isa, dy, kernel.outputs, padded, output_plane);
    let blocks = x.len() / (kernel.inputs * pitch(input_plane));
    let (row_block, column_block) = (padded * pitch(output_plane), columns.block);
    let taps = tap_rows(g, input, kernel.size);
    let panels: Vec<[usize; 2]> = (0..kernel.outputs)
        .step_by(WIDTH)
        .flat_map(|output| (0..kernel.inputs).step_by(WIDTH).map(move |input| [output, input]))
        .collect();
    let parts = TASKS.div_ceil(panels.len() * taps.len()).min(blocks.max(1));
    let tasks: Vec<_> = panels
        .iter()
        .flat_map(|&panel| (0..taps.len()).flat_map(move |tap| (0..parts).map(move |part| (panel, tap, part))))
        .collect();
    let sums = tasks.par_iter().map(|&([output, input], tap, part)| {
        let segments = (blocks * part / parts..blocks * (part + 1) / parts).flat_map(|block| {
            taps[tap].iter().map(move |row| Segment {
                rows: block * row_block + row.output * LANES,
                columns: block * column_block + row.input * TILE,
                count: row.count,
            })
        });
        let segments: Vec<Segment> = segments.collect();
        let at = |tile: usize| rows.as_ptr().wrapping_add((output + tile * SIDE) * pitch(output_plane));
        let columns_at = |tile: usize| columns.room.as_ptr().wrapping_add((input / SIDE + tile) * input_plane * TILE);
        let operands = Operands {
            rows: [at(0), at(1)],
            row_pitch: pitch(output_plane),
            row_step: LANES,
            columns: [columns_at(0), columns_at(1)],
            column_pitch: SIDE,
            column_step: g.stride[1] * TILE,
        };
        let mut sums = Box::<Sums>::default();
        // SAFETY: rows and columns are padded to whole pairs of tiles, and segments name pixels of both planes.
        unsafe { Engine::new(isa, SIDE).multiply(&operands, &segments, &mut sums) };
        sums
    });
    let sums: Vec<Box<Sums>> = sums.collect();
    let input_panels = kernel.inputs.div_ceil(WIDTH);
    let mut gradient = vec![0.0; kernel.len()];
    gradient.par_chunks_exact_mut(kernel.inputs * taps.len()).enumerate().for_each(|(output, row)| {
        let first = output / WIDTH * input_panels;
        for (at, to) in row.iter_mut().enumerate() {
            let (input, tap) = (at / taps.len(), at % taps.len());
            let parts = &sums[((first + input / WIDTH) * taps.len() + tap) * parts..][..parts];
            let [o, i] = [output % WIDTH, input % WIDTH];
            *to = parts.iter().map(|sums| sums[o / SIDE][i / SIDE][o % SIDE][i % SIDE]).sum();
        }
    });
    gradient
}

/// Inputs with channels on the lanes.
struct Turned {
    room: Scratch,
    /// Words of a block.
    block: usize,
}

/// Paired inputs `[block, C, pixel, image]` as `[block, tile of channels, pixel, image, channel]`, zero for channels that there are
/// not.
fn turn(isa: Isa, x: &[f32], channels: usize, plane: usize) -> Turned {
    let tiles = channels.next_multiple_of(WIDTH) / SIDE;
    let blocks = x.len() / (channels * pitch(plane));
    let pitch = pitch(plane);
    let mut turned = Turned { room: Scratch::new(blocks * tiles * plane * TILE), block: tiles * plane * TILE };
    let room = &mut turned.room.uninit()[..blocks * tiles * plane * TILE];
    room.par_chunks_exact_mut(plane * TILE).enumerate().for_each(|(index, to)| {
        let (block, first) = (index / tiles, index % tiles * SIDE);
        let present = SIDE.min(channels.saturating_sub(first));
        let from = &x[(block * channels + first.min(channels)) * pitch..][..present * pitch];
        dispatch!(isa, turn_tile(from: &[f32], pitch: usize, to: &mut [MaybeUninit<f32>]));
    });
    turned
}

/// # Safety
/// `from` has up to sixteen channels, `pitch` numbers each, `to` a tile for each pixel; the instructions of `L` are enabled.
#[inline(always)]
unsafe fn turn_tile<L: Lanes>(from: &[f32], pitch: usize, to: &mut [MaybeUninit<f32>]) {
    let mut square = [0.0; TILE];
    for (pixel, to) in to.chunks_exact_mut(TILE).enumerate() {
        for (channel, line) in from.chunks_exact(pitch).zip(square.chunks_exact_mut(LANES)) {
            line.copy_from_slice(&channel[pixel * LANES..][..LANES]);
        }
        // SAFETY: as promised by the caller.
        unsafe { L::transpose(square.as_ptr(), LANES, to.as_mut_ptr().cast()) }
    }
}
