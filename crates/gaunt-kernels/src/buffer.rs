//! Memory for maps: aligned to vectors, written once, and used again.
//!
//! A training step frees and allocates the same large tensors over and over. Given back to the system, each would have to be
//! cleared page by page; so freed buffers wait here for the next tensor of their size, or of down to half of it.

use std::{
    mem::MaybeUninit,
    ops::{Deref, DerefMut},
    sync::{Mutex, PoisonError},
};

use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};

use crate::lanes::LANES;

/// A vector in memory.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

/// Bytes that wait at most; beyond, those that waited longest go back to the system.
const LIMIT: usize = 2 << 30;

/// Buffers that wait, the longest first; their lengths are zero.
static FREE: Mutex<Vec<Vec<Line>>> = Mutex::new(Vec::new());

/// A copy of numbers as memory of a tensor, which waits for the next of its size when the tensor is gone.
pub fn bytes_of(numbers: &[f32]) -> Bytes {
    Buffer::of(numbers).into_bytes()
}

/// Numbers of blocked maps, or of gradients of weights.
pub(crate) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// `len` numbers that `fill` writes.
    ///
    /// # Safety
    /// `fill` writes every one of them.
    pub unsafe fn written(len: usize, fill: impl FnOnce(&mut [MaybeUninit<f32>])) -> Self {
        let count = len.div_ceil(LANES);
        let mut lines = take(count);
        let room = lines.spare_capacity_mut()[..count].as_mut_ptr().cast::<MaybeUninit<f32>>();
        // SAFETY: a line is as many numbers as it has lanes, without padding, and the room is borrowed only here.
        let room = unsafe { std::slice::from_raw_parts_mut(room, count * LANES) };
        room[len..].fill(MaybeUninit::new(0.0));
        fill(&mut room[..len]);
        // SAFETY: the capacity suffices, and the caller promises that all was written.
        unsafe { lines.set_len(count) };
        Self { lines, len }
    }

    /// A copy of numbers.
    pub fn of(numbers: &[f32]) -> Self {
        // SAFETY: there are as many.
        unsafe { Self::written(numbers.len(), |room| _ = room.write_copy_of_slice(numbers)) }
    }

    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        // SAFETY: all are written.
        unsafe { Self::written(len, |room| room.fill(MaybeUninit::new(0.0))) }
    }

    /// As the memory of a tensor.
    pub fn into_bytes(self) -> Bytes {
        let len = size_of_val(&*self);
        // SAFETY: that many bytes are initialized, by the invariant of `Vec`.
        unsafe { Bytes::from_controller(Box::new(self), len) }
    }
}

/// Room for numbers of one task, which it writes before it reads them.
pub(crate) struct Scratch(Vec<Line>);

// SAFETY: the memory belongs to the scratch; who uses its pointer answers for the rest.
unsafe impl Sync for Scratch {}

impl Scratch {
    /// Room for at least `len` numbers.
    pub fn new(len: usize) -> Self {
        Self(take(len.div_ceil(LANES)))
    }

    pub fn as_ptr(&self) -> *const f32 {
        self.0.as_ptr().cast()
    }

    /// The room, to write.
    pub fn uninit(&mut self) -> &mut [MaybeUninit<f32>] {
        let room = self.0.spare_capacity_mut();
        // SAFETY: a line is as many numbers as it has lanes, without padding.
        unsafe { std::slice::from_raw_parts_mut(room.as_mut_ptr().cast(), room.len() * LANES) }
    }

    /// The room may be written through this pointer while nobody else reads or writes the same numbers.
    pub fn as_mut_ptr(&self) -> *mut f32 {
        self.0.as_ptr().cast_mut().cast()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.0));
    }
}

/// Memory in which several tasks write places of their own.
#[derive(Clone, Copy)]
pub(crate) struct Shared(pub *mut f32);

// SAFETY: who writes through the pointer answers for the places.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// The place of number `index`.
    pub fn at(&self, index: usize) -> *mut f32 {
        self.0.wrapping_add(index)
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a line is as many numbers as it has lanes, without padding.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: a line is as many numbers as it has lanes, without padding.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl AllocationController for Buffer {
    /// The most that burn's memory may claim; lines are better aligned.
    fn alloc_align(&self) -> usize {
        align_of::<u128>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(&mut self, _: AccessPolicy) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let numbers: &mut [f32] = self;
        let len = size_of_val(numbers);
        // SAFETY: numbers are bytes without padding, and the caller only writes initialized ones.
        Ok(unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), len) })
    }

    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let numbers: &[f32] = self;
        // SAFETY: numbers are bytes without padding.
        Ok(unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.lines));
    }
}

fn bytes(lines: &Vec<Line>) -> usize {
    lines.capacity() * size_of::<Line>()
}

/// Room for at least `len` lines, none of which can be relied on.
fn take(len: usize) -> Vec<Line> {
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let fitting = free.iter().enumerate().rev().filter(|(_, lines)| (len..=2 * len).contains(&lines.capacity()));
    match fitting.min_by_key(|(_, lines)| lines.capacity()).map(|(at, _)| at) {
        Some(at) => free.remove(at),
        None => {
            // Without the lock: the system may take its time.
            drop(free);
            Vec::with_capacity(len)
        }
    }
}

fn give(mut lines: Vec<Line>) {
    if cfg!(debug_assertions) || cfg!(test) {
        // What is read before it is written shows.
        lines.fill(Line([f32::NAN; LANES]));
    }
    lines.clear();
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    free.push(lines);
    let mut waiting: usize = free.iter().map(bytes).sum();
    let surplus = free.iter().take_while(|lines| {
        let surplus = waiting > LIMIT;
        waiting -= bytes(lines);
        surplus
    });
    let surplus = surplus.count();
    let surplus: Vec<_> = free.drain(..surplus).collect();
    drop(free);
    drop(surplus);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: f32, lines: usize) -> Buffer {
        let fill = |room: &mut [MaybeUninit<f32>]| room.fill(MaybeUninit::new(value));
        // SAFETY: all is filled.
        unsafe { Buffer::written(lines * LANES, fill) }
    }

    #[test]
    fn a_freed_buffer_is_used_again() {
        // A size that no other test has.
        const LINES: usize = 12345;
        let first = of(1.0, LINES);
        let address = first.as_ptr();
        assert!(address.cast::<Line>().is_aligned());
        let bytes = first.into_bytes();
        let copy = bytes.clone();
        drop(bytes);
        let second = of(2.0, LINES);
        assert_eq!(second.as_ptr(), address);
        assert!(second.iter().all(|&x| x == 2.0));
        assert!(copy.chunks_exact(4).all(|x| x == 1f32.to_ne_bytes()));
    }
}
