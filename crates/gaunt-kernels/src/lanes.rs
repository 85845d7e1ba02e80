//! Sixteen numbers at once, by the widest instructions that the processor has.
//!
//! Kernels are written once, for any [`Lanes`]; [`Isa::detect`] picks the implementation when the process starts.

use std::sync::OnceLock;

/// Images that are computed side by side.
pub const LANES: usize = 16;

/// A vector of [`LANES`] floats.
///
/// # Safety
/// Methods may only be called on a processor that has the implementation's instructions, from a function that
/// enables them, and with pointers that are valid for `LANES` floats (one, for [`splat`](Lanes::splat)).
pub unsafe trait Lanes: Copy {
    /// All zero.
    unsafe fn zero() -> Self;
    /// Reads consecutive numbers, of any alignment.
    unsafe fn load(from: *const f32) -> Self;
    /// Reads one number into all lanes.
    unsafe fn splat(from: *const f32) -> Self;
    /// `self + a * b`; fused where the processor can.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// Writes consecutive numbers, of any alignment.
    unsafe fn store(self, to: *mut f32);
}

/// Instruction sets that there are kernels for, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
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
                available.push(Isa::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                available.push(Isa::Avx2);
            }
        }
        available.push(Isa::Portable);
        available
    }
}

/// Runs a generic kernel with the instructions of `$isa` enabled: `dispatch!(isa, kernel(arguments))` calls
/// `kernel::<L>(arguments)`, which must be `#[inline(always)]` so that it is compiled with them.
macro_rules! dispatch {
    ($isa:expr, $kernel:ident ( $($name:ident : $type:ty),* $(,)? )) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        unsafe fn avx512($($name: $type),*) {
            // SAFETY: the caller enables AVX-512 and passes on what it was given.
            unsafe { $kernel::<core::arch::x86_64::__m512>($($name),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2($($name: $type),*) {
            // SAFETY: the caller enables AVX2 and FMA and passes on what it was given.
            unsafe { $kernel::<[core::arch::x86_64::__m256; 2]>($($name),*) }
        }
        match $isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this variant exists only after the processor was asked.
            $crate::lanes::Isa::Avx512 => unsafe { avx512($($name),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this variant exists only after the processor was asked.
            $crate::lanes::Isa::Avx2 => unsafe { avx2($($name),*) },
            // SAFETY: arrays need no special instructions.
            $crate::lanes::Isa::Portable => unsafe { $kernel::<[f32; $crate::lanes::LANES]>($($name),*) },
        }
    }};
}
pub(crate) use dispatch;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::Lanes;

    // SAFETY: each method is one instruction of AVX-512F, with the trait's preconditions.
    unsafe impl Lanes for __m512 {
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
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: as promised by the caller.
            unsafe { _mm512_fmadd_ps(a, b, self) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as promised by the caller.
            unsafe { _mm512_storeu_ps(to, self) }
        }
    }

    // SAFETY: each method is a pair of AVX2 or FMA instructions, with the trait's preconditions.
    unsafe impl Lanes for [__m256; 2] {
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
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: as promised by the caller.
            unsafe { [_mm256_fmadd_ps(a[0], b[0], self[0]), _mm256_fmadd_ps(a[1], b[1], self[1])] }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as promised by the caller; the second half begins 8 floats on.
            unsafe {
                _mm256_storeu_ps(to, self[0]);
                _mm256_storeu_ps(to.add(8), self[1]);
            }
        }
    }
}

// SAFETY: plain arithmetic; loads and stores have the trait's preconditions.
unsafe impl Lanes for [f32; LANES] {
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
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        core::array::from_fn(|i| self[i] + a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as promised by the caller; the write need not be aligned.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }
}
