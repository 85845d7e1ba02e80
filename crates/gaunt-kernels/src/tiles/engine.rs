//! Products of tiles: by the processor's instructions, or by a loop that stands for them.

use std::mem::MaybeUninit;

use super::{SIDE, TILE};
use crate::lanes::Isa;

/// Tiles that follow one another in both operands.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Segment {
    /// Words from the operand's start to the first tile.
    pub rows: usize,
    pub columns: usize,
    /// Tiles; not zero.
    pub count: usize,
}

/// Operands of a product, whose tiles lie in a row: sixteen words for each row of a tile. Offsets count words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operands {
    /// The tiles of rows.
    pub rows: [*const f32; 2],
    /// From a tile to the next.
    pub row_step: usize,
    /// The tiles of columns, a row for each word of the sum.
    pub columns: [*const f32; 2],
    pub column_step: usize,
}

/// Sums of a product, `[row tile][column tile][row][column]`; aligned, as all tiles had better be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Sums([[[[f32; SIDE]; SIDE]; 2]; 2]);

/// Numbers of sums.
pub(super) const SUMS: usize = 4 * TILE;

impl Sums {
    /// As many as there is room for, all zero.
    ///
    /// # Panics
    /// If the room is not a whole number of sums, or does not begin with a line of the cache.
    pub fn zeros(room: &mut [MaybeUninit<f32>]) -> &mut [Self] {
        assert!(
            room.len().is_multiple_of(SUMS) && room.as_ptr().cast::<Self>().is_aligned(),
            "sums lie in whole lines"
        );
        room.fill(MaybeUninit::new(0.0));
        // SAFETY: that many sums, which are nothing but numbers, were written there, and the room is borrowed.
        unsafe { std::slice::from_raw_parts_mut(room.as_mut_ptr().cast(), room.len() / SUMS) }
    }

    /// A row of two tiles of rows, in a tile of columns.
    pub fn row(&self, row: usize, tile: usize) -> &[f32; SIDE] {
        &self.0[row / SIDE][tile][row % SIDE]
    }
}

/// Tiles of rows and of columns that a product has, one or two each; others are neither read nor summed.
pub(super) type Extent = [usize; 2];

/// What a product is added to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Zero,
    Sums,
}

/// What multiplies tiles, set up for tiles of some depth until it is dropped.
pub(super) struct Engine {
    #[cfg(target_arch = "x86_64")]
    native: bool,
    /// Words of a row.
    depth: usize,
}

impl Engine {
    pub fn new(isa: Isa, depth: usize) -> Self {
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

    /// Adds `rows[r] * columns[c]` over the tiles of all segments to `sums[r][c]`, or to zero.
    ///
    /// # Safety
    /// All tiles that segments name lie in memory that may be read, for the tiles of the extent.
    pub unsafe fn multiply(
        &self,
        extent: Extent,
        operands: &Operands,
        segments: &[Segment],
        start: Start,
        sums: &mut Sums,
    ) {
        debug_assert!(segments.iter().all(|segment| segment.count > 0));
        #[cfg(target_arch = "x86_64")]
        if self.native {
            // SAFETY: as promised by the caller; tiles are configured.
            return unsafe { amx::multiply(extent, operands, segments, start, sums) };
        }
        // SAFETY: as promised by the caller.
        unsafe { by_loop(self.depth, extent, operands, segments, start, sums) }
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
unsafe fn by_loop(
    depth: usize,
    extent: Extent,
    operands: &Operands,
    segments: &[Segment],
    start: Start,
    sums: &mut Sums,
) {
    let halves = |word: f32| [f32::from_bits(word.to_bits() << 16), f32::from_bits(word.to_bits() & 0xFFFF_0000)];
    if start == Start::Zero {
        *sums = Sums::default();
    }
    for segment in segments {
        for tile in 0..segment.count {
            for (r, c) in (0..extent[0]).flat_map(|r| (0..extent[1]).map(move |c| (r, c))) {
                let rows = operands.rows[r].wrapping_add(segment.rows + tile * operands.row_step);
                let columns = operands.columns[c].wrapping_add(segment.columns + tile * operands.column_step);
                for (row, sums) in sums.0[r][c].iter_mut().enumerate() {
                    for word in 0..depth {
                        // SAFETY: as promised by the caller.
                        let a = halves(unsafe { *rows.add(row * SIDE + word) });
                        for (column, sum) in sums.iter_mut().enumerate() {
                            // SAFETY: as promised by the caller.
                            let b = halves(unsafe { *columns.add(word * SIDE + column) });
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
    use crate::pairs::pair;

    let words = |seed: usize| -> Vec<f32> {
        let number = |i: usize| ((i * 37 + seed) % 13) as f32 - 6.0;
        (0..4 * TILE).map(|i| pair(number(2 * i), number(2 * i + 1))).collect()
    };
    let (rows, columns) = (words(1), words(5));
    let operands = Operands {
        rows: [rows.as_ptr(), rows[TILE..].as_ptr()],
        row_step: 2 * TILE,
        columns: [columns.as_ptr(), columns[TILE..].as_ptr()],
        column_step: 2 * TILE,
    };
    let segments = [Segment { rows: 0, columns: 0, count: 2 }, Segment { rows: 0, columns: 2 * TILE, count: 1 }];
    let cases = [3, SIDE].into_iter().flat_map(|depth| [[1, 1], [1, 2], [2, 1], [2, 2]].map(|extent| (depth, extent)));
    cases.into_iter().all(|(depth, extent)| {
        let engine = Engine::new(Isa::Amx, depth);
        let (mut native, mut expected) = (Sums::default(), Sums::default());
        [Start::Zero, Start::Sums].into_iter().all(|start| {
            // SAFETY: tiles were granted, and segments lie in the operands.
            unsafe {
                engine.multiply(extent, &operands, &segments, start, &mut native);
                by_loop(depth, extent, &operands, &segments, start, &mut expected);
            }
            native == expected
        })
    })
}

#[cfg(target_arch = "x86_64")]
mod amx {
    use std::arch::asm;

    use super::{Extent, Operands, SIDE, Segment, Start, Sums};

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

    /// What the loop has no registers for.
    #[repr(C)]
    struct Frame {
        rows: [*const f32; 2],
        columns: [*const f32; 2],
        row_step: usize,
        column_step: usize,
    }

    /// The loop over segments and their tiles: sums are in registers, each at its offset in memory, and a tile of each operand is
    /// added by the given instructions.
    macro_rules! multiply_tiles {
        ($frame:ident, $segments:ident, $start:ident, $sums:ident, sums: [$($register:literal at $offset:literal),*], add: [$($add:literal),*]) => {
            asm!(
                "test {count}, {count}",
                "jnz 5f",
                $(concat!("tilezero ", $register),)*
                "jmp 4f",
                "5:",
                $(concat!("tileloadd ", $register, ", [{sums} + {pitch}*1 + ", $offset, "]"),)*
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
                $($add,)*
                "add {r0}, {row_step}",
                "add {r1}, {row_step}",
                "add {c0}, {column_step}",
                "add {c1}, {column_step}",
                "dec {count}",
                "jnz 3b",
                "add {segment}, 24",
                "4:",
                "cmp {segment}, {last}",
                "jne 2b",
                $(concat!("tilestored [{sums} + {pitch}*1 + ", $offset, "], ", $register),)*
                segment = inout(reg) $segments.as_ptr() => _,
                last = in(reg) $segments.as_ptr_range().end,
                frame = in(reg) &$frame,
                row_step = in(reg) $frame.row_step,
                column_step = in(reg) $frame.column_step,
                sums = in(reg) $sums,
                // Bytes from a row of a tile to the next.
                pitch = in(reg) 64usize,
                r0 = out(reg) _,
                r1 = out(reg) _,
                c0 = out(reg) _,
                c1 = out(reg) _,
                count = inout(reg) usize::from($start == Start::Sums) => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            )
        };
    }

    /// # Safety
    /// As [`Engine::multiply`](super::Engine::multiply), and tiles are configured.
    pub(super) unsafe fn multiply(
        extent: Extent,
        operands: &Operands,
        segments: &[Segment],
        start: Start,
        sums: &mut Sums,
    ) {
        const WORD: usize = 4;
        let Operands { rows, row_step, columns, column_step } = *operands;
        let frame = Frame { rows, columns, row_step: row_step * WORD, column_step: column_step * WORD };
        // SAFETY: as promised by the caller; sums are four tiles, and nothing else is written.
        unsafe {
            match extent {
                [1, 1] => multiply_tiles!(frame, segments, start, sums,
                sums: ["tmm0" at "0"],
                add: [
                    "tileloadd tmm4, [{r0} + {pitch}*1]", "tileloadd tmm6, [{c0} + {pitch}*1]", "tdpbf16ps tmm0, tmm4, tmm6"
                ]),
                [1, _] => multiply_tiles!(frame, segments, start, sums,
                sums: ["tmm0" at "0", "tmm1" at "1024"],
                add: [
                    "tileloadd tmm4, [{r0} + {pitch}*1]", "tileloadd tmm6, [{c0} + {pitch}*1]",
                    "tileloadd tmm7, [{c1} + {pitch}*1]", "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7"
                ]),
                [_, 1] => multiply_tiles!(frame, segments, start, sums,
                sums: ["tmm0" at "0", "tmm2" at "2048"],
                add: [
                    "tileloadd tmm6, [{c0} + {pitch}*1]", "tileloadd tmm4, [{r0} + {pitch}*1]",
                    "tileloadd tmm5, [{r1} + {pitch}*1]", "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm2, tmm5, tmm6"
                ]),
                _ => multiply_tiles!(frame, segments, start, sums,
                sums: ["tmm0" at "0", "tmm1" at "1024", "tmm2" at "2048", "tmm3" at "3072"],
                add: [
                    "tileloadd tmm4, [{r0} + {pitch}*1]", "tileloadd tmm6, [{c0} + {pitch}*1]",
                    "tileloadd tmm7, [{c1} + {pitch}*1]", "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm5, [{r1} + {pitch}*1]", "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7"
                ]),
            }
        }
    }
}
