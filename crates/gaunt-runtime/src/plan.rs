//! Where every value of a batch lies: shapes, and buffers that are used again once their value is dead.

use alloc::{vec, vec::Vec};

use gaunt_graph::{Dim, Shape};

use crate::{
    RuntimeError, View,
    program::{Program, Source},
};

/// The layout of one batch size.
pub(crate) struct Plan {
    pub batch: usize,
    shapes: Vec<Vec<usize>>,
    places: Vec<Place>,
    /// Floats in each buffer.
    pub slots: Vec<usize>,
    /// Floats in the work space that all nodes share.
    pub scratch: usize,
}

/// Where a value lies.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Place {
    /// The caller's input of this index.
    Input(usize),
    /// The parameter with this value's index.
    Parameter(usize),
    /// A buffer.
    Slot(usize),
}

impl Plan {
    /// Shapes and buffers for `batch` images.
    ///
    /// # Errors
    /// If there is no image, or the buffers take more than `memory_limit` bytes.
    pub fn new(program: &Program, batch: usize, memory_limit: usize) -> Result<Self, RuntimeError> {
        if batch == 0 {
            return Err(RuntimeError::EmptyBatch);
        }
        let too_large = || RuntimeError::MemoryLimit { batch, limit: memory_limit };
        let shapes: Option<Vec<_>> = program.shapes.iter().map(|shape| shape_at(shape, batch)).collect();
        let shapes = shapes.ok_or_else(too_large)?;
        let scratch = program.steps.iter().map(|step| step.kernel.scratch_len()).max().unwrap_or(0);
        let (places, slots) = Allocator::new(program, &shapes).finish();
        let floats = slots.iter().try_fold(scratch, |sum, &len| sum.checked_add(len));
        match floats.and_then(|floats| floats.checked_mul(size_of::<f32>())) {
            Some(bytes) if bytes <= memory_limit => Ok(Self { batch, shapes, places, slots, scratch }),
            _ => Err(too_large()),
        }
    }

    /// The shape of a value.
    pub fn shape(&self, id: usize) -> &[usize] {
        &self.shapes[id]
    }

    /// Number of elements of a value.
    pub fn len(&self, id: usize) -> usize {
        self.shapes[id].iter().product()
    }

    /// Where a value lies.
    pub fn place(&self, id: usize) -> Place {
        self.places[id]
    }

    /// A value, out of the storage that holds it.
    pub fn view<'a>(
        &'a self,
        id: usize,
        parameters: &'a [Vec<f32>],
        slots: &'a [Vec<f32>],
        inputs: &'a [&'a [f32]],
    ) -> View<'a> {
        let data = match self.places[id] {
            Place::Input(index) => inputs[index],
            Place::Parameter(index) => &parameters[index],
            Place::Slot(index) => &slots[index][..self.len(id)],
        };
        View { shape: &self.shapes[id], data }
    }

    /// Bytes of the buffers and the work space.
    pub fn bytes(&self) -> (usize, usize) {
        let slots: usize = self.slots.iter().sum();
        (slots * size_of::<f32>(), self.scratch * size_of::<f32>())
    }
}

/// A shape for `batch` images, if a buffer of that shape may exist.
pub(crate) fn shape_at(shape: &Shape, batch: usize) -> Option<Vec<usize>> {
    let size_at = |dim: &Dim| match *dim {
        Dim::Fixed(size) => Some(size),
        Dim::Batch(times) => batch.checked_mul(times),
    };
    let sizes: Vec<usize> = shape.iter().map(size_at).collect::<Option<_>>()?;
    let bytes = sizes.iter().try_fold(size_of::<f32>(), |bytes, &size| bytes.checked_mul(size))?;
    (bytes <= isize::MAX as usize).then_some(sizes)
}

/// Hands out buffers in execution order.
struct Allocator<'a> {
    program: &'a Program,
    shapes: &'a [Vec<usize>],
    /// Place of each value that owns its storage.
    places: Vec<Place>,
    slots: Vec<usize>,
    free: Vec<bool>,
}

impl<'a> Allocator<'a> {
    fn new(program: &'a Program, shapes: &'a [Vec<usize>]) -> Self {
        // Steps find their buffers below; a value that shares storage has the place of its root.
        let places = program.sources.iter().enumerate().map(|(id, source)| match *source {
            Source::Input(index) => Place::Input(index),
            Source::Parameter | Source::Step | Source::Alias(_) => Place::Parameter(id),
        });
        let mut allocator = Self { program, shapes, places: places.collect(), slots: vec![], free: vec![] };
        for index in 0..program.steps.len() {
            allocator.place_step(index);
        }
        allocator
    }

    /// Finds a buffer for the output of a step, then frees those that the step was the last to need.
    fn place_step(&mut self, index: usize) {
        let step = &self.program.steps[index];
        let slot = self.dying_operand(index).unwrap_or_else(|| self.take(self.len(step.output)));
        self.places[step.output] = Place::Slot(slot);
        for root in step.operands.iter().map(|&id| self.program.root(id)).chain([step.output]) {
            if let Place::Slot(used) = self.places[root]
                && self.program.last_use[root] <= index
                && (used != slot || root == step.output)
            {
                self.free[used] = true;
            }
        }
    }

    /// The buffer of the first operand, if the step may overwrite it.
    fn dying_operand(&self, index: usize) -> Option<usize> {
        let step = &self.program.steps[index];
        let (&first, others) = step.operands.split_first()?;
        let root = self.program.root(first);
        let dies = self.program.last_use[root] <= index && others.iter().all(|&id| self.program.root(id) != root);
        match self.places[root] {
            Place::Slot(slot) if step.kernel.in_place() && dies && self.len(first) == self.len(step.output) => {
                Some(slot)
            }
            _ => None,
        }
    }

    /// A free buffer: the smallest that is large enough, or else the largest, enlarged.
    fn take(&mut self, len: usize) -> usize {
        let free = (0..self.slots.len()).filter(|&slot| self.free[slot]);
        let best = free.min_by_key(|&slot| match self.slots[slot].checked_sub(len) {
            Some(spare) => (0, spare),
            None => (1, len - self.slots[slot]),
        });
        let slot = best.unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(len);
            self.free.push(false);
        }
        self.slots[slot] = self.slots[slot].max(len);
        self.free[slot] = false;
        slot
    }

    fn len(&self, id: usize) -> usize {
        self.shapes[id].iter().product()
    }

    /// The places of all values, and the size of each buffer.
    fn finish(self) -> (Vec<Place>, Vec<usize>) {
        let places = (0..self.places.len()).map(|id| self.places[self.program.root(id)]).collect();
        (places, self.slots)
    }
}
