//! How the kernels are differentiated: each operation names its gradients, and skips those that nobody wants.

use burn::backend::{
    Autodiff, TensorMetadata,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    tensor::FloatTensor,
};

use crate::{
    backend::BlockedOps,
    geometry::ConvGeometry,
    pointwise::Activation,
    pool::{PoolGeometry, Pooling},
    precision::Precision,
};

/// Gradients are operations of the inner backend: burn differentiates once.
const NO_SECOND: &str = "gradients of gradients are not computed";

fn shape<const D: usize, T: TensorMetadata>(tensor: &T) -> [usize; D] {
    let shape = tensor.shape();
    std::array::from_fn(|axis| shape[axis])
}

#[derive(Debug)]
struct Block;

impl<B: BlockedOps> Backward<B, 1> for Block {
    /// Images.
    type State = usize;

    fn backward(self, ops: Ops<usize, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        if let [Some(x)] = ops.parents {
            grads.register::<B>(x.id, B::unblock(dy, ops.state));
        }
    }
}

#[derive(Debug)]
struct Unblock;

impl<B: BlockedOps> Backward<B, 1> for Unblock {
    type State = ();

    fn backward(self, ops: Ops<(), 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        if let [Some(x)] = ops.parents {
            grads.register::<B>(x.id, B::block(dy));
        }
    }
}

#[derive(Debug)]
struct Conv;

impl<B: BlockedOps> Backward<B, 2> for Conv {
    /// `x` as it is kept, its height and width, `w`, geometry, precision.
    type State = (FloatTensor<B>, [usize; 2], FloatTensor<B>, ConvGeometry, Precision);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let (x, input, w, geometry, precision) = ops.state;
        let [x_node, w_node] = ops.parents;
        let kernel = shape::<4, _>(&w);
        if let Some(node) = x_node {
            grads.register::<B>(node.id, B::blocked_conv_input(dy.clone(), w, geometry, precision, input));
        }
        if let Some(node) = w_node {
            grads.register::<B>(node.id, B::blocked_conv_weight(x, dy, geometry, precision, input, kernel));
        }
    }
}

#[derive(Debug)]
struct Norm;

/// What a batch norm keeps.
#[derive(Clone, Debug)]
struct NormState<T> {
    x: T,
    gamma: T,
    beta: T,
    mean: T,
    variance: T,
    epsilon: f32,
    activation: Activation,
    images: usize,
}

impl<B: BlockedOps> Backward<B, 3> for Norm {
    type State = NormState<FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let NormState { x, gamma, beta, mean, variance, epsilon, activation, images } = ops.state;
        let (dx, dgamma, dbeta) =
            B::blocked_norm_gradient(x, gamma, beta, mean, variance, dy, epsilon, activation, images);
        for (parent, gradient) in ops.parents.into_iter().zip([dx, dgamma, dbeta]) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct Affine;

impl<B: BlockedOps> Backward<B, 3> for Affine {
    /// `x`, `y`, scales, activation.
    type State = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, Activation);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let (x, y, scale, activation) = ops.state;
        let (dx, dscale, dshift) = B::blocked_affine_gradient(x, y, scale, dy, activation);
        for (parent, gradient) in ops.parents.into_iter().zip([dx, dscale, dshift]) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

/// An operation that passes the gradient before its activation to each of its `N` inputs.
#[derive(Debug)]
struct Pass;

impl<B: BlockedOps, const N: usize> Backward<B, N> for Pass {
    /// The output, and the activation.
    type State = (FloatTensor<B>, Activation);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let (y, activation) = ops.state;
        let dx = match activation {
            Activation::None => dy,
            _ => B::blocked_activation_gradient(y, dy, activation),
        };
        for node in ops.parents.into_iter().flatten() {
            grads.register::<B>(node.id, dx.clone());
        }
    }
}

#[derive(Debug)]
struct Pool;

impl<B: BlockedOps> Backward<B, 1> for Pool {
    /// `x`, `y`, geometry.
    type State = (FloatTensor<B>, FloatTensor<B>, PoolGeometry, Pooling);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let (x, y, geometry, pooling) = ops.state;
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::blocked_pool_gradient(x, y, dy, geometry, pooling));
        }
    }
}

impl<B: BlockedOps, C: CheckpointStrategy> BlockedOps for Autodiff<B, C> {
    fn block(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let images = x.shape()[0];
        match Block.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(images, B::block(x.into_primitive())),
            OpsKind::UnTracked(prep) => prep.finish(B::block(x.into_primitive())),
        }
    }

    fn unblock(x: FloatTensor<Self>, images: usize) -> FloatTensor<Self> {
        match Unblock.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((), B::unblock(x.into_primitive(), images)),
            OpsKind::UnTracked(prep) => prep.finish(B::unblock(x.into_primitive(), images)),
        }
    }

    fn blocked_conv(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        geometry: ConvGeometry,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let op = Conv.prepare::<C>([x.node(), w.node()]).compute_bound().stateful();
        let (x, w) = (x.into_primitive(), w.into_primitive());
        let y = B::blocked_conv(x.clone(), w.clone(), geometry, precision);
        match op {
            OpsKind::Tracked(prep) => {
                let [_, _, height, width, _] = shape::<5, _>(&x);
                let kept = B::blocked_conv_keep(x, w.clone(), geometry, precision);
                prep.finish((kept, [height, width], w, geometry, precision), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn blocked_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
        activation: Activation,
        images: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let op = Norm.prepare::<C>([x.node(), gamma.node(), beta.node()]).compute_bound().stateful();
        let (x, gamma, beta) = (x.into_primitive(), gamma.into_primitive(), beta.into_primitive());
        let (y, mean, variance) = B::blocked_norm(x.clone(), gamma.clone(), beta.clone(), epsilon, activation, images);
        let statistics = (FloatTensor::<Self>::new(mean.clone()), FloatTensor::<Self>::new(variance.clone()));
        let y = match op {
            OpsKind::Tracked(prep) => {
                prep.finish(NormState { x, gamma, beta, mean, variance, epsilon, activation, images }, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(y),
        };
        (y, statistics.0, statistics.1)
    }

    fn blocked_affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let op = Affine.prepare::<C>([x.node(), scale.node(), shift.node()]).compute_bound().stateful();
        let (x, scale, shift) = (x.into_primitive(), scale.into_primitive(), shift.into_primitive());
        let y = B::blocked_affine(x.clone(), scale.clone(), shift, activation);
        match op {
            OpsKind::Tracked(prep) => prep.finish((x, y.clone(), scale, activation), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn blocked_add(a: FloatTensor<Self>, b: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        let op = Backward::<B, 2>::prepare::<C>(Pass, [a.node(), b.node()]).compute_bound().stateful();
        let y = B::blocked_add(a.into_primitive(), b.into_primitive(), activation);
        match op {
            OpsKind::Tracked(prep) => prep.finish((y.clone(), activation), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn blocked_activate(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        let op = Backward::<B, 1>::prepare::<C>(Pass, [x.node()]).compute_bound().stateful();
        let y = B::blocked_activate(x.into_primitive(), activation);
        match op {
            OpsKind::Tracked(prep) => prep.finish((y.clone(), activation), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn blocked_pool(x: FloatTensor<Self>, geometry: PoolGeometry, pooling: Pooling) -> FloatTensor<Self> {
        let op = Pool.prepare::<C>([x.node()]).compute_bound().stateful();
        let x = x.into_primitive();
        let y = B::blocked_pool(x.clone(), geometry, pooling);
        match op {
            OpsKind::Tracked(prep) => prep.finish((x, y.clone(), geometry, pooling), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn blocked_pool_gradient(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: PoolGeometry,
        _: Pooling,
    ) -> FloatTensor<Self> {
        unimplemented!("{NO_SECOND}")
    }

    fn blocked_conv_input(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: ConvGeometry,
        _: Precision,
        _: [usize; 2],
    ) -> FloatTensor<Self> {
        unimplemented!("{NO_SECOND}")
    }

    fn blocked_conv_keep(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: ConvGeometry,
        _: Precision,
    ) -> FloatTensor<Self> {
        unimplemented!("{NO_SECOND}")
    }

    fn blocked_conv_weight(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: ConvGeometry,
        _: Precision,
        _: [usize; 2],
        _: [usize; 4],
    ) -> FloatTensor<Self> {
        unimplemented!("{NO_SECOND}")
    }

    fn blocked_norm_gradient(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: f32,
        _: Activation,
        _: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        unimplemented!("{NO_SECOND}")
    }

    fn blocked_affine_gradient(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        unimplemented!("{NO_SECOND}")
    }

    fn blocked_activation_gradient(_: FloatTensor<Self>, _: FloatTensor<Self>, _: Activation) -> FloatTensor<Self> {
        unimplemented!("{NO_SECOND}")
    }
}
