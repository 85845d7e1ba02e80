//! Sixteen numbers at once, by the widest instructions that the processor has.
//!
//! Kernels are written once, for any [`Lanes`]; [`Isa::detect`] picks the implementation when the process starts.

use std::{fmt, sync::OnceLock};

/// Images that are computed side by side.
pub const LANES: usize = 16;

/// A vector of [`LANES`] floats.
///
/// # Safety
/// Methods may only be called on a processor that has the implementation's instructions, from a function that
/// enables them, and with pointers that are valid for `LANES` floats (one, for [`splat`](Lanes::splat)).
pub unsafe trait Lanes: Copy {
    /// Vectors of sums that there are registers for.
    const SUMS: usize;
    /// All zero.
    unsafe fn zero() -> Self;
    /// Reads consecutive numbers, of any alignment.
    unsafe fn load(from: *const f32) -> Self;
    /// Reads one number into all lanes.
    unsafe fn splat(from: *const f32) -> Self;
    /// `self + a * b`; fused where the processor can.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
    /// `self - other`.
    unsafe fn sub(self, other: Self) -> Self;
    /// `self * other`.
    unsafe fn mul(self, other: Self) -> Self;
    /// The greater; `other` where either is not a number.
    unsafe fn max(self, other: Self) -> Self;
    /// The smaller; `other` where either is not a number.
    unsafe fn min(self, other: Self) -> Self;
    /// `yes` where `self > other`, else `no`.
    unsafe fn if_greater(self, other: Self, yes: Self, no: Self) -> Self;
    /// `yes` where `self == other`, else `no`.
    unsafe fn if_equal(self, other: Self, yes: Self, no: Self) -> Self;
    /// Writes consecutive numbers, of any alignment.
    unsafe fn store(self, to: *mut f32);
    /// Writes a square of [`LANES`] vectors with rows and columns exchanged. Vectors are `pitch` numbers apart in `from`, and in
    /// a row in `to`; the squares do not overlap.
    unsafe fn transpose(from: *const f32, pitch: usize, to: *mut f32);

    /// Rounded to bfloat16: to the nearest, of two as near to the even one; a number too large becomes infinity.
    unsafe fn round(self) -> Self;
    /// Rounded numbers in pairs, a word of 32 bits for each lane: `self` in its lower half, `high` in its upper.
    unsafe fn pair(self, high: Self) -> Self;
    /// The lower of each pair.
    unsafe fn low(self) -> Self;
    /// The upper of each pair.
    unsafe fn high(self) -> Self;

    /// Columns of sums beside `rows` rows, for which there are registers.
    #[inline(always)]
    fn columns(rows: usize) -> usize {
        (Self::SUMS / rows).clamp(1, COLUMNS)
    }
}

/// The most rows of sums that kernels compute together.
pub(crate) const ROWS: usize = 6;
/// The most columns of sums, vectors each, that kernels compute together.
pub(crate) const COLUMNS: usize = 4;

/// Evaluates an expression in which a count of rows or columns is a constant, so that its sums can stay in registers:
/// `with_constant!(rows count, R => call::<R>())`.
macro_rules! with_constant {
    (rows $count:expr, $name:ident => $call:expr) => {
        with_constant!(@ $count, [1 2 3 4 5], $crate::lanes::ROWS, $name => $call)
    };
    (columns $count:expr, $name:ident => $call:expr) => {
        with_constant!(@ $count, [1 2 3], $crate::lanes::COLUMNS, $name => $call)
    };
    (@ $count:expr, [$($value:literal)*], $most:expr, $name:ident => $call:expr) => {
        match $count {
            $($value => {
                const $name: usize = $value;
                $call
            })*
            _ => {
                const $name: usize = $most;
                $call
            }
        }
    };
}
pub(crate) use with_constant;

/// A vector as numbers.
///
/// # Safety
/// As for the methods of [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn numbers<L: Lanes>(vector: L) -> [f32; LANES] {
    let mut numbers = [0.0; LANES];
    // SAFETY: as promised by the caller; there is room for all lanes.
    unsafe { vector.store(numbers.as_mut_ptr()) };
    numbers
}

/// Instruction sets that there are kernels for, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512 that also multiplies tiles of bfloat16 (AMX).
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// AVX-512 that also multiplies pairs of bfloat16.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    /// AVX-512: one register holds all lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 with fused multiply-add: two registers.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Whatever the compiler makes of arrays.
    Portable,
}

impl Isa {
    /// The best that this processor has; looked up once.
    pub fn detect() -> Self {
        static DETECTED: OnceLock<Isa> = OnceLock::new();
        *DETECTED.get_or_init(|| Self::available()[0])
    }

    /// All that this processor has, the best first.
    pub fn available() -> Vec<Self> {
        let mut available = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                if is_x86_feature_detected!("avx512bf16") {
                    if crate::tiles::available() {
                        available.push(Isa::Amx);
                    }
                    available.push(Isa::Avx512Bf16);
                }
                available.push(Isa::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                available.push(Isa::Avx2);
            }
        }
        available.push(Isa::Portable);
        available
    }

    /// Whether it has instructions for products of tiles of bfloat16.
    pub fn multiplies_tiles(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self == Isa::Amx;
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Whether it has instructions for products of bfloat16.
    pub fn multiplies_bf16(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx | Isa::Avx512Bf16 => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx2 => false,
            Isa::Portable => false,
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => "amx",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => "avx512-bf16",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "avx2",
            Isa::Portable => "portable",
        })
    }
}

/// Runs a generic kernel with the instructions of `$isa` enabled: `dispatch!(isa, kernel(name: Type, ..) -> Output)` calls
/// `kernel::<L>(name, ..)`, which must be `#[inline(always)]` so that it is compiled with them.
macro_rules! dispatch {
    ($isa:expr, $kernel:ident ( $($name:ident : $type:ty),* $(,)? ) $(-> $output:ty)?) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        unsafe fn avx512($($name: $type),*) $(-> $output)? {
            // SAFETY: the caller enables AVX-512 and passes on what it was given.
            unsafe { $kernel::<core::arch::x86_64::__m512>($($name),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2($($name: $type),*) $(-> $output)? {
            // SAFETY: the caller enables AVX2 and FMA and passes on what it was given.
            unsafe { $kernel::<[core::arch::x86_64::__m256; 2]>($($name),*) }
        }
        match $isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: these variants exist only after the processor was asked.
            $crate::lanes::Isa::Amx | $crate::lanes::Isa::Avx512Bf16 | $crate::lanes::Isa::Avx512 => unsafe {
                avx512($($name),*)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this variant exists only after the processor was asked.
            $crate::lanes::Isa::Avx2 => unsafe { avx2($($name),*) },
            // SAFETY: arrays need no special instructions.
            $crate::lanes::Isa::Portable => unsafe { $kernel::<[f32; $crate::lanes::LANES]>($($name),*) },
        }
    }};
}
pub(crate) use dispatch;

/// As [`dispatch`], for kernels whose operands are [`Pairs`].
macro_rules! dispatch_pairs {
    ($isa:expr, $kernel:ident ( $($name:ident : $type:ty),* $(,)? ) $(-> $output:ty)?) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bf16")]
        unsafe fn native($($name: $type),*) $(-> $output)? {
            // SAFETY: the caller enables AVX-512 with bfloat16 and passes on what it was given.
            unsafe { $kernel::<$crate::lanes::NativePairs>($($name),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        unsafe fn avx512($($name: $type),*) $(-> $output)? {
            // SAFETY: the caller enables AVX-512 and passes on what it was given.
            unsafe { $kernel::<$crate::lanes::Pairs<core::arch::x86_64::__m512>>($($name),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2($($name: $type),*) $(-> $output)? {
            // SAFETY: the caller enables AVX2 and FMA and passes on what it was given.
            unsafe { $kernel::<$crate::lanes::Pairs<[core::arch::x86_64::__m256; 2]>>($($name),*) }
        }
        match $isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: these variants exist only after the processor was asked.
            $crate::lanes::Isa::Amx | $crate::lanes::Isa::Avx512Bf16 => unsafe { native($($name),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this variant exists only after the processor was asked.
            $crate::lanes::Isa::Avx512 => unsafe { avx512($($name),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this variant exists only after the processor was asked.
            $crate::lanes::Isa::Avx2 => unsafe { avx2($($name),*) },
            $crate::lanes::Isa::Portable => {
                // SAFETY: arrays need no special instructions.
                unsafe { $kernel::<$crate::lanes::Pairs<[f32; $crate::lanes::LANES]>>($($name),*) }
            }
        }
    }};
}
pub(crate) use dispatch_pairs;

/// The methods of [`Lanes`] as those of the first field have them, but for the product.
macro_rules! as_inner {
    ($inner:ty) => {
        const SUMS: usize = <$inner>::SUMS;

        as_inner! { @ $inner: self add(other) sub(other) mul(other) max(other) min(other) round() low() high() pair(other) }

        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: as promised by the caller.
            unsafe { Self(<$inner>::zero()) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as promised by the caller.
            unsafe { Self(<$inner>::load(from)) }
        }
        #[inline(always)]
        unsafe fn splat(from: *const f32) -> Self {
            // SAFETY: as promised by the caller.
            unsafe { Self(<$inner>::splat(from)) }
        }
        #[inline(always)]
        unsafe fn if_greater(self, other: Self, yes: Self, no: Self) -> Self {
            // SAFETY: as promised by the caller.
            unsafe { Self(self.0.if_greater(other.0, yes.0, no.0)) }
        }
        #[inline(always)]
        unsafe fn if_equal(self, other: Self, yes: Self, no: Self) -> Self {
            // SAFETY: as promised by the caller.
            unsafe { Self(self.0.if_equal(other.0, yes.0, no.0)) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as promised by the caller.
            unsafe { self.0.store(to) }
        }
        #[inline(always)]
        unsafe fn transpose(from: *const f32, pitch: usize, to: *mut f32) {
            // SAFETY: as promised by the caller.
            unsafe { <$inner>::transpose(from, pitch, to) }
        }
    };
    (@ $inner:ty: $this:ident $($name:ident($($other:ident)?))*) => {
        $(#[inline(always)]
        unsafe fn $name($this $(, $other: Self)?) -> Self {
            // SAFETY: as promised by the caller.
            unsafe { Self($this.0.$name($($other.0)?)) }
        })*
    };
}

/// A vector whose products are of pairs of bfloat16: a word of 32 bits has two terms of a sum. Sums and all else are `f32`, as in
/// `L`.
#[derive(Clone, Copy)]
pub(crate) struct Pairs<L>(L);

// SAFETY: the methods are those of `L`.
unsafe impl<L: Lanes> Lanes for Pairs<L> {
    as_inner!(L);

    /// The upper pair first, as the instruction has it.
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: as promised by the caller.
        unsafe { Self(self.0.add_product(a.0.high(), b.0.high()).add_product(a.0.low(), b.0.low())) }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::NativePairs;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::{LANES, Lanes};

    /// [`Pairs`](super::Pairs) that are multiplied by one instruction.
    #[derive(Clone, Copy)]
    pub(crate) struct NativePairs(__m512);

    // SAFETY: the methods are those of `__m512`, and an instruction of AVX-512 with bfloat16.
    unsafe impl Lanes for NativePairs {
        as_inner!(__m512);

        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: as promised by the caller; both types are 64 bytes of any value.
            unsafe {
                let a = core::mem::transmute::<__m512, __m512bh>(a.0);
                let b = core::mem::transmute::<__m512, __m512bh>(b.0);
                Self(_mm512_dpbf16_ps(self.0, a, b))
            }
        }
    }

    /// Methods that are one intrinsic on vectors each.
    macro_rules! intrinsics {
        ($($name:ident($a:ident $(, $other:ident)*) = $call:expr;)*) => {
            $(#[inline(always)]
            unsafe fn $name(self $(, $other: Self)*) -> Self {
                let $a = self;
                // SAFETY: as promised by the caller.
                unsafe { $call }
            })*
        };
    }

    // SAFETY: each method is one or two instructions of AVX-512F, with the trait's preconditions.
    unsafe impl Lanes for __m512 {
        const SUMS: usize = 24;

        intrinsics! {
            add_product(sum, a, b) = _mm512_fmadd_ps(a, b, sum);
            add(a, b) = _mm512_add_ps(a, b);
            sub(a, b) = _mm512_sub_ps(a, b);
            mul(a, b) = _mm512_mul_ps(a, b);
            max(a, b) = _mm512_max_ps(a, b);
            min(a, b) = _mm512_min_ps(a, b);
            if_greater(a, b, yes, no) = _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), no, yes);
            if_equal(a, b, yes, no) = _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b), no, yes);
            round(a) = {
                let bits = _mm512_castps_si512(a);
                let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                let rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
                let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
                let bits = _mm512_mask_blend_epi32(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), rounded, quiet);
                _mm512_castsi512_ps(bits).high()
            };
            pair(a, high) = {
                let low = _mm512_srli_epi32::<16>(_mm512_castps_si512(a));
                _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_castps_si512(high)))
            };
            low(a) = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(a)));
            high(a) = {
                let upper = _mm512_set1_epi32(-0x1_0000);
                _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), upper))
            };
        }

        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: as promised by the caller.
            unsafe { _mm512_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as promised by the caller.
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn splat(from: *const f32) -> Self {
            // SAFETY: as promised by the caller.
            unsafe { _mm512_set1_ps(*from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as promised by the caller.
            unsafe { _mm512_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn transpose(from: *const f32, pitch: usize, to: *mut f32) {
            // SAFETY: as promised by the caller; AVX-512F implies AVX.
            unsafe { transpose_quarters(from, pitch, to) }
        }
    }

    /// A square of sixteen as four squares of eight.
    ///
    /// # Safety
    /// As for [`Lanes::transpose`].
    #[inline(always)]
    unsafe fn transpose_quarters(from: *const f32, pitch: usize, to: *mut f32) {
        for (row, column) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
            // SAFETY: as promised by the caller; a quarter lies in the square.
            unsafe { transpose_eight(from.add(row * pitch + column), pitch, to.add(column * LANES + row)) }
        }
    }

    /// # Safety
    /// As for [`Lanes::transpose`], with eight rows of eight, and [`LANES`] from row to row in `to`.
    #[inline(always)]
    unsafe fn transpose_eight(from: *const f32, pitch: usize, to: *mut f32) {
        // SAFETY: as promised by the caller.
        unsafe {
            let r: [__m256; 8] = core::array::from_fn(
                #[inline(always)]
                |row| _mm256_loadu_ps(from.add(row * pitch)),
            );
            // Pairs of rows interleaved, then pairs of pairs: four columns of the upper and of the lower half each.
            let [a0, a1] = [_mm256_unpacklo_ps(r[0], r[1]), _mm256_unpackhi_ps(r[0], r[1])];
            let [a2, a3] = [_mm256_unpacklo_ps(r[2], r[3]), _mm256_unpackhi_ps(r[2], r[3])];
            let [a4, a5] = [_mm256_unpacklo_ps(r[4], r[5]), _mm256_unpackhi_ps(r[4], r[5])];
            let [a6, a7] = [_mm256_unpacklo_ps(r[6], r[7]), _mm256_unpackhi_ps(r[6], r[7])];
            let b = [
                _mm256_shuffle_ps::<0x44>(a0, a2),
                _mm256_shuffle_ps::<0xEE>(a0, a2),
                _mm256_shuffle_ps::<0x44>(a1, a3),
                _mm256_shuffle_ps::<0xEE>(a1, a3),
                _mm256_shuffle_ps::<0x44>(a4, a6),
                _mm256_shuffle_ps::<0xEE>(a4, a6),
                _mm256_shuffle_ps::<0x44>(a5, a7),
                _mm256_shuffle_ps::<0xEE>(a5, a7),
            ];
            for column in 0..4 {
                let (upper, lower) = (b[column], b[column + 4]);
                _mm256_storeu_ps(to.add(column * LANES), _mm256_permute2f128_ps::<0x20>(upper, lower));
                _mm256_storeu_ps(to.add((column + 4) * LANES), _mm256_permute2f128_ps::<0x31>(upper, lower));
            }
        }
    }

    /// As [`intrinsics`], for each half.
    macro_rules! halves {
        ($($name:ident($a:ident $(, $other:ident)*) = $call:expr;)*) => {
            $(#[inline(always)]
            unsafe fn $name(self $(, $other: Self)*) -> Self {
                core::array::from_fn(
                    #[inline(always)]
                    |half| {
                        let $a = self[half];
                        $(let $other = $other[half];)*
                        // SAFETY: as promised by the caller.
                        unsafe { $call }
                    },
                )
            })*
        };
    }

    // SAFETY: each method is a few AVX2 or FMA instructions, with the trait's preconditions.
    unsafe impl Lanes for [__m256; 2] {
        const SUMS: usize = 6;

        halves! {
            add_product(sum, a, b) = _mm256_fmadd_ps(a, b, sum);
            add(a, b) = _mm256_add_ps(a, b);
            sub(a, b) = _mm256_sub_ps(a, b);
            mul(a, b) = _mm256_mul_ps(a, b);
            max(a, b) = _mm256_max_ps(a, b);
            min(a, b) = _mm256_min_ps(a, b);
            if_greater(a, b, yes, no) = _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_GT_OQ>(a, b));
            if_equal(a, b, yes, no) = _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b));
            round(a) = {
                let bits = _mm256_castps_si256(a);
                let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
                let rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd);
                let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
                let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a);
                let bits = _mm256_blendv_ps(_mm256_castsi256_ps(rounded), _mm256_castsi256_ps(quiet), nan);
                _mm256_and_ps(bits, _mm256_castsi256_ps(_mm256_set1_epi32(-0x1_0000)))
            };
            pair(a, high) = {
                let low = _mm256_srli_epi32::<16>(_mm256_castps_si256(a));
                _mm256_or_ps(_mm256_castsi256_ps(low), high)
            };
            low(a) = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(a)));
            high(a) = _mm256_and_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-0x1_0000)));
        }

        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: as promised by the caller.
            unsafe { [_mm256_setzero_ps(); 2] }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as promised by the caller; the second half begins 8 floats on.
            unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
        }
        #[inline(always)]
        unsafe fn splat(from: *const f32) -> Self {
            // SAFETY: as promised by the caller.
            unsafe { [_mm256_broadcast_ss(&*from); 2] }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as promised by the caller; the second half begins 8 floats on.
            unsafe {
                _mm256_storeu_ps(to, self[0]);
                _mm256_storeu_ps(to.add(8), self[1]);
            }
        }
        #[inline(always)]
        unsafe fn transpose(from: *const f32, pitch: usize, to: *mut f32) {
            // SAFETY: as promised by the caller.
            unsafe { transpose_quarters(from, pitch, to) }
        }
    }
}

/// Methods that treat lane by lane.
macro_rules! lane_by_lane {
    ($($name:ident($a:ident $(, $other:ident)*) = $call:expr;)*) => {
        $(#[inline(always)]
        unsafe fn $name(self $(, $other: Self)*) -> Self {
            core::array::from_fn(|lane| {
                let $a = self[lane];
                $(let $other = $other[lane];)*
                $call
            })
        })*
    };
}

// SAFETY: plain arithmetic; loads and stores have the trait's preconditions.
unsafe impl Lanes for [f32; LANES] {
    const SUMS: usize = 6;

    lane_by_lane! {
        add_product(sum, a, b) = sum + a * b;
        add(a, b) = a + b;
        sub(a, b) = a - b;
        mul(a, b) = a * b;
        max(a, b) = if a > b { a } else { b };
        min(a, b) = if a < b { a } else { b };
        if_greater(a, b, yes, no) = if a > b { yes } else { no };
        if_equal(a, b, yes, no) = if a == b { yes } else { no };
        round(a) = crate::precision::round(a);
        pair(a, high) = f32::from_bits(a.to_bits() >> 16 | high.to_bits());
        low(a) = f32::from_bits(a.to_bits() << 16);
        high(a) = f32::from_bits(a.to_bits() & 0xFFFF_0000);
    }

    #[inline(always)]
    unsafe fn zero() -> Self {
        [0.0; LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as promised by the caller; the read need not be aligned.
        unsafe { from.cast::<Self>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn splat(from: *const f32) -> Self {
        // SAFETY: as promised by the caller.
        [unsafe { *from }; LANES]
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as promised by the caller; the write need not be aligned.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, pitch: usize, to: *mut f32) {
        for (row, column) in (0..LANES).flat_map(|row| (0..LANES).map(move |column| (row, column))) {
            // SAFETY: as promised by the caller.
            unsafe { *to.add(column * LANES + row) = *from.add(row * pitch + column) };
        }
    }
}
