//! Values that are known when a network is read: weights, and the integers of shape arithmetic.

use super::error::{Outcome, Reason, fail};
use crate::Dim;

/// `times * batch + plus`, for any batch size from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Affine {
    pub times: i64,
    pub plus: i64,
}

/// A row-major tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array<T> {
    pub shape: Vec<usize>,
    pub data: Vec<T>,
}

/// A tensor of floats, or of integers or truth values.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    Floats(Array<f32>),
    Ints(Array<Affine>),
}

impl Affine {
    pub fn number(plus: i64) -> Self {
        Self { times: 0, plus }
    }

    /// The number, if it does not depend on the batch.
    pub fn as_number(self) -> Option<i64> {
        (self.times == 0).then_some(self.plus)
    }

    fn combine(a: Self, b: Self, op: fn(i64, i64) -> Option<i64>) -> Outcome<Self> {
        match (op(a.times, b.times), op(a.plus, b.plus)) {
            (Some(times), Some(plus)) => Ok(Self { times, plus }),
            _ => fail!("shape arithmetic overflows 64 bits"),
        }
    }

    pub fn add(self, other: Self) -> Outcome<Self> {
        Self::combine(self, other, i64::checked_add)
    }

    pub fn sub(self, other: Self) -> Outcome<Self> {
        Self::combine(self, other, i64::checked_sub)
    }

    pub fn mul(self, other: Self) -> Outcome<Self> {
        let (factor, value) = match (self.as_number(), other.as_number()) {
            (Some(factor), _) => (factor, other),
            (_, Some(factor)) => (factor, self),
            _ => return fail!("shape arithmetic multiplies the batch size by itself"),
        };
        Self::combine(value, Self { times: factor, plus: factor }, i64::checked_mul)
    }

    /// Integer division as in C: towards zero.
    pub fn div(self, other: Self) -> Outcome<Self> {
        if let (Some(a), Some(b)) = (self.as_number(), other.as_number()) {
            return match a.checked_div(b) {
                Some(quotient) => Ok(Self::number(quotient)),
                None => fail!("shape arithmetic divides {a} by {b}"),
            };
        }
        let exact = |a: i64, b: i64| (a.checked_rem(b) == Some(0)).then(|| a / b);
        let quotient = match other {
            Self { times: 0, plus } => {
                exact(self.times, plus).zip(exact(self.plus, plus)).map(|(times, plus)| Self { times, plus })
            }
            Self { times, plus: 0 } if self.plus == 0 => exact(self.times, times).map(Self::number),
            _ => None,
        };
        quotient.ok_or_else(|| Reason("shape arithmetic divides a batch size with a remainder".into()))
    }

    /// The remainder, with the sign of the divisor.
    pub fn modulo(self, divisor: Self) -> Outcome<Self> {
        let (Some(a), Some(b)) = (self.as_number(), divisor.as_number()) else {
            // What divides without a remainder for every batch leaves nothing; the rest is refused.
            return self.div(divisor).map(|_| Self::number(0));
        };
        match a.checked_rem(b) {
            Some(rest) if rest != 0 && (rest < 0) != (b < 0) => Ok(Self::number(rest + b)),
            Some(rest) => Ok(Self::number(rest)),
            None => fail!("shape arithmetic divides {a} by {b}"),
        }
    }

    /// Sign of `self - other` if it is the same for all batch sizes.
    fn compare(self, other: Self) -> Outcome<core::cmp::Ordering> {
        use core::cmp::Ordering::{Equal, Greater, Less};
        let Self { times, plus } = self.sub(other)?;
        let at_one = times.checked_add(plus);
        match (times.cmp(&0), at_one) {
            (Equal, _) => Ok(plus.cmp(&0)),
            (Greater, Some(1..)) => Ok(Greater),
            (Less, Some(..0)) => Ok(Less),
            _ => fail!("shape arithmetic depends on which of two sizes is larger, and so on the batch size"),
        }
    }

    pub fn max(self, other: Self) -> Outcome<Self> {
        Ok(if self.compare(other)?.is_lt() { other } else { self })
    }

    pub fn min(self, other: Self) -> Outcome<Self> {
        Ok(if self.compare(other)?.is_gt() { other } else { self })
    }

    pub fn equal(self, other: Self) -> Outcome<Self> {
        Ok(Self::number(self.compare(other)?.is_eq().into()))
    }
}

impl From<Dim> for Affine {
    fn from(dim: Dim) -> Self {
        match dim {
            Dim::Fixed(size) => Self { times: 0, plus: size as i64 },
            Dim::Batch(times) => Self { times: times as i64, plus: 0 },
        }
    }
}

impl TryFrom<Affine> for Dim {
    type Error = Reason;

    fn try_from(value: Affine) -> Outcome<Dim> {
        match (usize::try_from(value.times), usize::try_from(value.plus)) {
            (Ok(0), Ok(size)) => Ok(Dim::Fixed(size)),
            (Ok(times), Ok(0)) => Ok(Dim::Batch(times)),
            _ => fail!("{} times the batch size plus {} is not a size", value.times, value.plus),
        }
    }
}

impl<T: Clone> Array<T> {
    pub fn scalar(value: T) -> Self {
        Self { shape: vec![], data: vec![value] }
    }

    pub fn vector(data: Vec<T>) -> Self {
        Self { shape: vec![data.len()], data }
    }

    /// The elements at `offset + sum(index * stride)`, for all indices within `shape`.
    ///
    /// Every such position must lie in the data; the callers take them from checked operators.
    pub fn strided(&self, shape: &[usize], strides: &[isize], offset: usize) -> Self {
        let count: usize = shape.iter().product();
        let mut data = Vec::with_capacity(count);
        let mut index = vec![0usize; shape.len()];
        let mut position = offset as isize;
        for _ in 0..count {
            data.extend(self.data.get(position as usize).cloned());
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                position += strides[axis];
                if index[axis] < shape[axis] {
                    break;
                }
                position -= strides[axis] * shape[axis] as isize;
                index[axis] = 0;
            }
        }
        Self { shape: shape.to_vec(), data }
    }

    /// Distance between neighbours along each axis.
    pub fn strides(&self) -> Vec<isize> {
        let mut strides = vec![1isize; self.shape.len()];
        for axis in (1..self.shape.len()).rev() {
            strides[axis - 1] = strides[axis] * self.shape[axis] as isize;
        }
        strides
    }

    /// Broadcast to a shape that the own one fits.
    pub fn expand(&self, shape: &[usize]) -> Self {
        let new_axes = shape.len() - self.shape.len();
        let own = self.strides().into_iter().zip(&self.shape).map(|(stride, &size)| if size == 1 { 0 } else { stride });
        let strides: Vec<isize> = core::iter::repeat_n(0, new_axes).chain(own).collect();
        self.strided(shape, &strides, 0)
    }

    pub fn transpose(&self, perm: &[usize]) -> Self {
        let own = self.strides();
        let strides: Vec<isize> = perm.iter().map(|&axis| own[axis]).collect();
        let shape: Vec<usize> = perm.iter().map(|&axis| self.shape[axis]).collect();
        self.strided(&shape, &strides, 0)
    }

    /// `combine` of the elements of two arrays, broadcast to `shape`.
    pub fn zip<U: Clone, V>(
        &self,
        other: &Array<U>,
        shape: &[usize],
        combine: impl Fn(T, U) -> Outcome<V>,
    ) -> Outcome<Array<V>> {
        let (a, b) = (self.expand(shape), other.expand(shape));
        let data = a.data.into_iter().zip(b.data).map(|(a, b)| combine(a, b)).collect::<Outcome<_>>()?;
        Ok(Array { shape: shape.to_vec(), data })
    }
}

impl Constant {
    pub fn shape(&self) -> &[usize] {
        match self {
            Constant::Floats(array) => &array.shape,
            Constant::Ints(array) => &array.shape,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Constant::Floats(array) => array.data.len(),
            Constant::Ints(array) => array.data.len(),
        }
    }

    pub fn dims(&self) -> Vec<Dim> {
        self.shape().iter().map(|&size| Dim::Fixed(size)).collect()
    }

    /// A vector of integers from sizes.
    pub fn sizes(dims: &[Dim]) -> Self {
        Constant::Ints(Array::vector(dims.iter().map(|&dim| dim.into()).collect()))
    }

    /// As floats.
    pub fn to_floats(&self) -> Outcome<Array<f32>> {
        match self {
            Constant::Floats(array) => Ok(array.clone()),
            Constant::Ints(array) => {
                let float = |value: &Affine| match value.as_number() {
                    Some(number) => Ok(number as f32),
                    None => fail!("a number that depends on the batch size is used as data"),
                };
                Ok(Array { shape: array.shape.clone(), data: array.data.iter().map(float).collect::<Outcome<_>>()? })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: Affine = Affine { times: 1, plus: 0 };

    fn number(plus: i64) -> Affine {
        Affine::number(plus)
    }

    #[test]
    fn affine_arithmetic_keeps_the_batch() {
        let double = BATCH.mul(number(6)).unwrap().div(number(3)).unwrap();
        assert_eq!(double, Affine { times: 2, plus: 0 });
        assert_eq!(double.div(BATCH).unwrap(), number(2));
        assert_eq!(double.modulo(number(2)).unwrap(), number(0));
        assert_eq!(number(-7).modulo(number(4)).unwrap(), number(1));
        assert_eq!(number(7).modulo(number(-4)).unwrap(), number(-1));
        assert!(BATCH.modulo(number(2)).is_err());
        assert_eq!(BATCH.add(number(3)).unwrap().sub(BATCH).unwrap(), number(3));
        assert!(BATCH.mul(BATCH).is_err());
        assert!(BATCH.div(number(2)).is_err());
        assert!(number(1).div(number(0)).is_err());
        assert!(number(i64::MIN).div(number(-1)).is_err());
        assert!(number(i64::MAX).add(number(1)).is_err());
    }

    #[test]
    fn affine_comparison_answers_only_when_every_batch_agrees() {
        assert_eq!(BATCH.equal(number(-1)).unwrap(), number(0));
        assert_eq!(BATCH.max(number(0)).unwrap(), BATCH);
        assert_eq!(BATCH.min(number(0)).unwrap(), number(0));
        assert!(BATCH.equal(number(1)).is_err());
        assert!(BATCH.max(number(4)).is_err());
    }

    #[test]
    fn strided_reads_backwards_and_across() {
        let array = Array { shape: vec![2, 3], data: vec![0, 1, 2, 3, 4, 5] };
        assert_eq!(array.transpose(&[1, 0]).data, [0, 3, 1, 4, 2, 5]);
        assert_eq!(array.strided(&[2, 2], &[3, -2], 2).data, [2, 0, 5, 3]);
        assert_eq!(array.strided(&[0, 2], &[3, 1], 0).data, [0; 0]);
    }
}
