//! Borrowed arrays, and loops over several of them at once.

/// The highest number of axes that a value may have.
pub const MAX_RANK: usize = 8;

/// A dense row-major array.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View<'a> {
    /// Size of each axis.
    pub shape: &'a [usize],
    /// The elements; as many as the product of the shape.
    pub data: &'a [f32],
}

/// A dense row-major array that an operator fills.
pub(crate) struct ViewMut<'a> {
    pub shape: &'a [usize],
    pub data: &'a mut [f32],
}

/// Distance between neighbours along each axis of a dense array.
pub(crate) fn dense_strides(shape: &[usize]) -> [isize; MAX_RANK] {
    let mut strides = [0; MAX_RANK];
    let mut stride = 1;
    for (axis, &size) in shape.iter().enumerate().rev() {
        strides[axis] = stride;
        stride *= size as isize;
    }
    strides
}

/// Strides by which a dense array of shape `from` is read as if it had `rank` axes, as NumPy broadcasts:
/// axes are aligned at the right, and an axis of size 1 is repeated.
pub(crate) fn broadcast_strides(from: &[usize], rank: usize) -> [isize; MAX_RANK] {
    let dense = dense_strides(from);
    let mut strides = [0; MAX_RANK];
    let new_axes = rank - from.len();
    for (axis, &size) in from.iter().enumerate() {
        strides[new_axes + axis] = if size == 1 { 0 } else { dense[axis] };
    }
    strides
}

/// A loop nest over `N` arrays with the same sizes and different strides.
///
/// Neighbouring axes that all arrays walk evenly are merged, so that the innermost loop is as long as it can be:
/// two arrays of the same shape become a single row, a value per channel becomes one row per channel.
pub(crate) struct Nest<const N: usize> {
    rank: usize,
    sizes: [usize; MAX_RANK],
    strides: [[isize; N]; MAX_RANK],
}

impl<const N: usize> Nest<N> {
    pub fn new(sizes: &[usize], strides: [[isize; MAX_RANK]; N]) -> Self {
        let mut nest = Self { rank: 0, sizes: [1; MAX_RANK], strides: [[0; N]; MAX_RANK] };
        for (axis, &size) in sizes.iter().enumerate().filter(|&(_, &size)| size != 1) {
            nest.push(size, core::array::from_fn(|n| strides[n][axis]));
        }
        nest.rank = nest.rank.max(1);
        nest
    }

    fn push(&mut self, size: usize, strides: [isize; N]) {
        if let Some(outer) = self.rank.checked_sub(1)
            && (0..N).all(|n| self.strides[outer][n] == strides[n] * size as isize)
        {
            self.sizes[outer] *= size;
            self.strides[outer] = strides;
        } else {
            self.sizes[self.rank] = size;
            self.strides[self.rank] = strides;
            self.rank += 1;
        }
    }

    /// Number of elements in a row.
    pub fn row_len(&self) -> usize {
        self.sizes[self.rank - 1]
    }

    /// Distance between the elements of a row, in each array.
    pub fn row_strides(&self) -> [isize; N] {
        self.strides[self.rank - 1]
    }

    /// Calls `visit` with the position at which each row begins in each array, in row-major order.
    pub fn for_each_row(&self, start: [isize; N], mut visit: impl FnMut([usize; N])) {
        let outer = self.rank - 1;
        let rows: usize = self.sizes[..outer].iter().product();
        let mut index = [0; MAX_RANK];
        let mut at = start;
        for _ in 0..rows {
            visit(at.map(|position| position as usize));
            for axis in (0..outer).rev() {
                index[axis] += 1;
                let wraps = index[axis] == self.sizes[axis];
                let steps = if wraps { 1 - self.sizes[axis] as isize } else { 1 };
                at = core::array::from_fn(|n| at[n] + steps * self.strides[axis][n]);
                if !wraps {
                    break;
                }
                index[axis] = 0;
            }
        }
    }
}

/// Fills `out` row by row with the elements that start at `start` in `x` and lie `strides` apart.
pub(crate) fn strided_copy(x: &[f32], start: isize, strides: [isize; MAX_RANK], out: ViewMut) {
    let nest = Nest::new(out.shape, [strides]);
    let (len, [step]) = (nest.row_len(), nest.row_strides());
    let mut rows = out.data.chunks_exact_mut(len);
    nest.for_each_row([start], |[at]| {
        let Some(row) = rows.next() else { return };
        match step {
            1 => row.copy_from_slice(&x[at..at + len]),
            0 => row.fill(x[at]),
            _ => row.iter_mut().enumerate().for_each(|(i, y)| *y = x[at.wrapping_add_signed(i as isize * step)]),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    fn rows<const N: usize>(nest: &Nest<N>) -> Vec<[usize; N]> {
        let mut rows = Vec::new();
        nest.for_each_row([0; N], |at| rows.push(at));
        rows
    }

    #[test]
    fn equal_shapes_merge_into_one_row() {
        let strides = dense_strides(&[2, 3, 4]);
        let nest = Nest::new(&[2, 3, 4], [strides, strides]);
        assert_eq!((nest.row_len(), nest.row_strides(), rows(&nest)), (24, [1, 1], vec![[0, 0]]));
    }

    #[test]
    fn a_value_per_channel_becomes_one_row_per_channel() {
        let nest = Nest::new(&[2, 3, 4, 4], [broadcast_strides(&[3, 1, 1], 4)]);
        assert_eq!((nest.row_len(), nest.row_strides()), (16, [0]));
        assert_eq!(rows(&nest), [[0], [1], [2], [0], [1], [2]]);
    }

    #[test]
    fn a_single_element_is_one_row() {
        let nest = Nest::new(&[1, 1], [[5; MAX_RANK]]);
        assert_eq!((nest.row_len(), rows(&nest)), (1, vec![[0]]));
    }

    #[test]
    fn a_strided_copy_transposes_and_walks_backwards() {
        let x = [0., 1., 2., 3., 4., 5.];
        let mut out = [0.; 6];
        let mut strides = [0; MAX_RANK];
        strides[..2].copy_from_slice(&[1, 3]);
        strided_copy(&x, 0, strides, ViewMut { shape: &[3, 2], data: &mut out });
        assert_eq!(out, [0., 3., 1., 4., 2., 5.]);
        strides[0] = -1;
        strided_copy(&x, 5, strides, ViewMut { shape: &[6], data: &mut out });
        assert_eq!(out, [5., 4., 3., 2., 1., 0.]);
    }
}
