//! temporary
#![allow(missing_docs)]
use burn::backend::{Dispatch, DispatchTensor, ops::{ActivationOps, ConvOptions, FloatTensorOps, ModuleOps}};
use crate::plain;
#[derive(Clone, Debug)]
pub struct Maps(DispatchTensor);
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation { None, Relu, Relu6 }
pub struct ConvGeometry { pub stride: [usize; 2], pub pads: [usize; 4], pub dilation: [usize; 2], pub groups: usize }
pub struct PoolGeometry { pub kernel: [usize; 2], pub stride: [usize; 2], pub pads: [usize; 4], pub dilation: [usize; 2], pub ceil: bool }
impl Maps {
    pub fn from_tensor(t: DispatchTensor) -> Self { Self(t) }
    pub fn into_tensor(self) -> DispatchTensor { self.0 }
    pub fn shape(&self) -> [usize; 4] { plain::shape(&self.0).try_into().unwrap() }
}
pub fn conv2d(x: Maps, w: DispatchTensor, b: Option<DispatchTensor>, g: &ConvGeometry) -> Maps {
    let [t, l, bo, r] = g.pads;
    let o = ConvOptions { stride: g.stride, padding: [(t, bo), (l, r)], dilation: g.dilation, groups: g.groups };
    Maps(Dispatch::conv2d(x.0, w, b, o))
}
pub fn batch_norm(x: Maps, g: DispatchTensor, b: DispatchTensor, eps: f32, a: Activation) -> (Maps, DispatchTensor, DispatchTensor) {
    let m = |t| [0, 2, 3].into_iter().fold(t, |t, d| Dispatch::float_mean_dim(t, d));
    let c = plain::shape(&x.0)[1];
    let mean = m(x.0.clone());
    let centred = Dispatch::float_sub(x.0, mean.clone());
    let var = m(Dispatch::float_mul(centred.clone(), centred.clone()));
    let y = Dispatch::float_div(centred, Dispatch::float_sqrt(Dispatch::float_add_scalar(var.clone(), eps.into())));
    let y = affine(Maps(y), g, b, a);
    (y, plain::reshape(mean, &[c]), plain::reshape(var, &[c]))
}
pub fn affine(x: Maps, s: DispatchTensor, b: DispatchTensor, a: Activation) -> Maps {
    let c = plain::shape(&x.0)[1];
    let y = Dispatch::float_mul(x.0, plain::reshape(s, &[1, c, 1, 1]));
    activate(Maps(Dispatch::float_add(y, plain::reshape(b, &[1, c, 1, 1]))), a)
}
pub fn add(a: Maps, b: Maps, act: Activation) -> Maps { activate(Maps(Dispatch::float_add(a.0, b.0)), act) }
pub fn activate(x: Maps, a: Activation) -> Maps {
    match a { Activation::None => x, Activation::Relu => Maps(Dispatch::relu(x.0)), Activation::Relu6 => Maps(Dispatch::float_clamp(x.0, 0f32.into(), 6f32.into())) }
}
pub fn max_pool(x: Maps, g: &PoolGeometry) -> Maps { Maps(Dispatch::max_pool2d(x.0, g.kernel, g.stride, [g.pads[0], g.pads[1]], g.dilation, g.ceil)) }
pub fn average_pool(x: Maps, g: &PoolGeometry, include: bool) -> Maps { Maps(Dispatch::avg_pool2d(x.0, g.kernel, g.stride, [g.pads[0], g.pads[1]], include, g.ceil)) }
pub fn global_average(x: Maps) -> DispatchTensor {
    let [n, c, ..] = x.shape();
    plain::reshape(Dispatch::float_mean_dim(Dispatch::float_mean_dim(x.0, 3), 2), &[n, c])
}
