//! An allocator that moves an end forward, and back when the last block is freed.

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::{Cell, UnsafeCell},
    ptr::null_mut,
};

/// Bytes of the heap.
const BYTES: usize = 960 << 10;
/// The strictest alignment that is served.
const ALIGNMENT: usize = 16;

#[repr(align(16))]
struct Memory(UnsafeCell<[u8; BYTES]>);

/// The memory and how much of it is taken.
pub struct Heap {
    memory: Memory,
    end: Cell<usize>,
}

// SAFETY: the program has one thread and no interrupt handlers, so that nothing is ever shared.
unsafe impl Sync for Heap {}

impl Heap {
    pub const fn new() -> Self {
        Self { memory: Memory(UnsafeCell::new([0; BYTES])), end: Cell::new(0) }
    }

    fn start(&self) -> *mut u8 {
        self.memory.0.get().cast()
    }

    /// Where the last block would end if it was of this size.
    fn grown(&self, start: usize, size: usize) -> Option<usize> {
        start.checked_add(size)?.checked_next_multiple_of(ALIGNMENT).filter(|&end| end <= BYTES)
    }

    /// The place of a block in the memory, if it is the last one.
    fn last(&self, block: *mut u8, size: usize) -> Option<usize> {
        let place = block.addr() - self.start().addr();
        (self.grown(place, size) == Some(self.end.get())).then_some(place)
    }
}

// SAFETY: blocks start at multiples of the alignment, lie within the memory, and overlap no other: only the last one moves the end back.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let place = self.end.get();
        match self.grown(place, layout.size()) {
            Some(end) if layout.align() <= ALIGNMENT => {
                self.end.set(end);
                self.start().wrapping_add(place)
            }
            _ => null_mut(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(place) = self.last(block, layout.size()) {
            self.end.set(place);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if let Some(end) = self.last(block, layout.size()).and_then(|place| self.grown(place, size)) {
            self.end.set(end);
            return block;
        }
        // SAFETY: the caller's promises for `size` and the layout of the block are those of `realloc`.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(size));
            }
            moved
        }
    }
}
