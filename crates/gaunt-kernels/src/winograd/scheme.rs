//! Minimal filtering along one axis: what goes in, what comes out, and what is multiplied between.
//!
//! For a tile of a row, `outputs = output(kernel(w) * input(x))` is the correlation with three taps, with one product for each
//! point. Applied to columns and then to rows it serves two dimensions (Winograd, 1980; Lavin and Gray, 2016).

use crate::lanes::Lanes;

/// The most numbers of a tile along one axis; what a scheme does not use is zero.
pub(crate) const MOST: usize = 6;

/// A linear map along one axis.
pub(crate) trait Transform {
    /// Numbers that go in.
    const FROM: usize;
    /// Numbers that come out.
    const TO: usize;

    /// # Safety
    /// The instructions of `L` are enabled.
    unsafe fn apply<L: Lanes>(from: [L; MOST]) -> [L; MOST];
}

/// Transforms of a tile along one axis. Those of gradients are the adjoints of those that run forward.
pub(crate) trait Scheme {
    /// The position of the first input relative to the first tap of the first output.
    const LEAD: usize;
    /// Inputs of a tile.
    const INPUTS: usize = Self::Input::FROM;
    /// Outputs of a tile, which is also the step from a tile to the next.
    const OUTPUTS: usize = Self::Output::TO;
    /// Products of a tile.
    const POINTS: usize = Self::Input::TO;

    /// Inputs to points.
    type Input: Transform;
    /// Points to outputs.
    type Output: Transform;
    /// Gradients of outputs to those of points.
    type OutputAdjoint: Transform;
    /// Three taps to points.
    type Kernel: Transform;
    /// Gradients of points to those of the three taps.
    type KernelAdjoint: Transform;
}

/// `a + factor * b`.
///
/// # Safety
/// As for [`Transform::apply`].
#[inline(always)]
unsafe fn plus<L: Lanes>(a: L, factor: f32, b: L) -> L {
    // SAFETY: as promised by the caller.
    unsafe { a.add_product(L::splat(&factor), b) }
}

/// `factor * a`.
///
/// # Safety
/// As for [`Transform::apply`].
#[inline(always)]
unsafe fn times<L: Lanes>(factor: f32, a: L) -> L {
    // SAFETY: as promised by the caller.
    unsafe { L::splat(&factor).mul(a) }
}

/// Implements [`Transform`] for types named here: numbers in, numbers out, and the numbers themselves.
macro_rules! transforms {
    ($($name:ident [$($in:ident),*] $(let $given:pat = $term:expr;)* => [$($out:expr),*])*) => {
        $(pub(crate) struct $name;

        impl Transform for $name {
            const FROM: usize = [$(stringify!($in)),*].len();
            const TO: usize = [$(stringify!($out)),*].len();

            #[inline(always)]
            unsafe fn apply<L: Lanes>([$($in,)* ..]: [L; MOST]) -> [L; MOST] {
                // SAFETY: as promised by the caller.
                unsafe {
                    let mut to = [L::zero(); MOST];
                    $(let $given = $term;)*
                    [$($out),*].into_iter().zip(&mut to).for_each(#[inline(always)] |(out, to)| *to = out);
                    to
                }
            }
        })*
    };
}

/// Four outputs from six inputs: the points 0, 1, -1, 2, -2 and infinity. A fourth of the products in two dimensions, for
/// about one more digit of rounding error.
pub(crate) struct Quad;

impl Scheme for Quad {
    const LEAD: usize = 0;
    type Input = QuadInput;
    type Output = QuadOutput;
    type OutputAdjoint = QuadOutputAdjoint;
    type Kernel = QuadKernel;
    type KernelAdjoint = QuadKernelAdjoint;
}

transforms! {
    QuadInput [x0, x1, x2, x3, x4, x5]
        let (even, odd) = (plus(x4, -4.0, x2), plus(x3, -4.0, x1));
        let (wide_even, wide_odd) = (x4.sub(x2), times(2.0, x3.sub(x1)));
        => [
            plus(plus(x4, 4.0, x0), -5.0, x2),
            even.add(odd),
            even.sub(odd),
            wide_even.add(wide_odd),
            wide_even.sub(wide_odd),
            plus(plus(x5, 4.0, x1), -5.0, x3)
        ]
    QuadOutput [m0, m1, m2, m3, m4, m5]
        let (sum, difference) = (m1.add(m2), m1.sub(m2));
        let (wide_sum, wide_difference) = (m3.add(m4), m3.sub(m4));
        => [
            m0.add(sum).add(wide_sum),
            plus(difference, 2.0, wide_difference),
            plus(sum, 4.0, wide_sum),
            plus(difference, 8.0, wide_difference).add(m5)
        ]
    QuadOutputAdjoint [y0, y1, y2, y3]
        let (even, odd) = (y0.add(y2), y1.add(y3));
        let (wide_even, wide_odd) = (plus(y0, 4.0, y2), times(2.0, plus(y1, 4.0, y3)));
        => [y0, even.add(odd), even.sub(odd), wide_even.add(wide_odd), wide_even.sub(wide_odd), y3]
    QuadKernel [w0, w1, w2]
        let (even, odd) = (times(-1.0 / 6.0, w0.add(w2)), times(-1.0 / 6.0, w1));
        let (wide_even, wide_odd) = (plus(times(1.0 / 24.0, w0), 1.0 / 6.0, w2), times(1.0 / 12.0, w1));
        => [times(0.25, w0), even.add(odd), even.sub(odd), wide_even.add(wide_odd), wide_even.sub(wide_odd), w2]
    QuadKernelAdjoint [u0, u1, u2, u3, u4, u5]
        let (even, odd) = (times(-1.0 / 6.0, u1.add(u2)), times(-1.0 / 6.0, u1.sub(u2)));
        let (wide_even, wide_odd) = (u3.add(u4), u3.sub(u4));
        => [
            plus(plus(even, 0.25, u0), 1.0 / 24.0, wide_even),
            plus(odd, 1.0 / 12.0, wide_odd),
            plus(even, 1.0 / 6.0, wide_even).add(u5)
        ]
}

/// Two outputs from two inputs with nothing around them, three products instead of four: for maps of two by two pixels,
/// where the padding is most of the window.
pub(crate) struct Pair;

impl Scheme for Pair {
    const LEAD: usize = 1;
    type Input = PairInput;
    type Output = PairOutput;
    type OutputAdjoint = PairOutputAdjoint;
    type Kernel = PairKernel;
    type KernelAdjoint = PairKernelAdjoint;
}

transforms! {
    PairInput [x0, x1] => [x0.add(x1), x1, x0]
    PairOutput [m0, m1, m2] => [m0.add(m1), m0.add(m2)]
    PairOutputAdjoint [y0, y1] => [y0.add(y1), y0, y1]
    PairKernel [w0, w1, w2] => [w1, w2.sub(w1), w0.sub(w1)]
    PairKernelAdjoint [u0, u1, u2] => [u2, u0.sub(u1).sub(u2), u1]
}

/// A tile, `[row][column]`.
pub(crate) type Tile<L> = [[L; MOST]; MOST];

/// Applies a transform to the columns of a tile, then to its rows.
///
/// # Safety
/// The instructions of `L` are enabled.
#[inline(always)]
pub(crate) unsafe fn both_axes<L: Lanes, T: Transform>(tile: &Tile<L>) -> Tile<L> {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut turned = [[L::zero(); MOST]; MOST];
        for column in 0..T::FROM {
            let mut from = [L::zero(); MOST];
            for row in 0..T::FROM {
                from[row] = tile[row][column];
            }
            let to = T::apply(from);
            for row in 0..T::TO {
                turned[row][column] = to[row];
            }
        }
        for row in turned.iter_mut().take(T::TO) {
            *row = T::apply(*row);
        }
        turned
    }
}
