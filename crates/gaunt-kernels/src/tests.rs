//! Every operator against a naive loop or burn's own operators, on each instruction set and any number of threads.

use burn::tensor::{Device, FloatDType, Tensor, TensorData};

use crate::{
    Activation, Maps, PoolGeometry, Precision, activate, add, affine, average_pool, batch_norm,
    conv::{Conv, Kernel, Way},
    conv2d,
    geometry::ConvGeometry,
    global_average,
    lanes::{Isa, LANES},
    max_pool,
    norm::{Extent, Norm},
    pad_channels,
    pool::{Pool, Pooling},
    precision::round,
    subsample,
    winograd::Tiling,
};

/// Numbers from -1 to 1, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// A convolution to check.
#[derive(Clone, Copy, Debug)]
struct Case {
    images: usize,
    inputs: usize,
    outputs: usize,
    side: [usize; 2],
    kernel: [usize; 2],
    g: ConvGeometry,
}

fn case(images: usize, inputs: usize, outputs: usize, side: [usize; 2], kernel: [usize; 2], g: ConvGeometry) -> Case {
    Case { images, inputs, outputs, side, kernel, g }
}

fn geometry(stride: usize, pads: [usize; 4]) -> ConvGeometry {
    ConvGeometry { stride: [stride; 2], pads, dilation: [1; 2], groups: 1 }
}

/// Sizes at which kernels change their way: borders, tails of pixels, channels and images, groups, phases.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for side in [1, 2, 3, 4, 7, 8] {
        for (kernel, stride, pads) in [
            (1, 1, [0; 4]),
            (1, 2, [0; 4]),
            (3, 1, [1; 4]),
            (3, 2, [1; 4]),
            (3, 2, [0, 0, 1, 1]),
            (3, 1, [2, 0, 1, 2]),
            (5, 1, [2; 4]),
            (5, 2, [2, 1, 2, 2]),
        ] {
            if side + pads[0] + pads[2] >= kernel && side + pads[1] + pads[3] >= kernel {
                cases.push(case(17, 5, 3, [side; 2], [kernel; 2], geometry(stride, pads)));
            }
        }
    }
    for channels in [1, 3, 5, 6, 7, 16, 17, 25] {
        cases.push(case(3, channels, 17, [4, 5], [3, 3], geometry(1, [1; 4])));
        cases.push(case(3, 17, channels, [4, 5], [3, 3], geometry(2, [1; 4])));
        cases.push(case(
            2,
            channels,
            channels,
            [6, 6],
            [3, 3],
            ConvGeometry { groups: channels, ..geometry(1, [1; 4]) },
        ));
        cases.push(case(
            2,
            channels,
            2 * channels,
            [7, 6],
            [3, 3],
            ConvGeometry { groups: channels, ..geometry(2, [1; 4]) },
        ));
    }
    for images in [1, 15, 16, 17, 33, 100] {
        cases.push(case(images, 4, 5, [3, 9], [3, 3], geometry(1, [1; 4])));
        cases.push(case(images, 4, 5, [2, 2], [3, 3], geometry(1, [1; 4])));
    }
    for (side, pads) in [
        ([2, 2], [1; 4]),
        ([4, 4], [1; 4]),
        ([5, 9], [1; 4]),
        ([8, 7], [1; 4]),
        ([10, 8], [0; 4]),
        ([8, 9], [2, 0, 1, 2]),
        ([12, 16], [2; 4]),
    ] {
        for (images, inputs, outputs) in [(17, 16, 16), (33, 9, 33), (130, 25, 8)] {
            cases.push(case(images, inputs, outputs, side, [3, 3], geometry(1, pads)));
        }
    }
    for (images, inputs, outputs) in [(33, 40, 21), (17, 300, 17), (5, 7, 70)] {
        cases.push(case(images, inputs, outputs, [5, 7], [1, 1], geometry(1, [0; 4])));
    }
    // Kernels so large that their gradient is cut.
    cases.push(case(17, 130, 129, [4, 4], [3, 3], geometry(1, [1; 4])));
    cases.push(case(17, 260, 257, [2, 2], [3, 3], geometry(1, [1; 4])));
    cases.push(case(0, 4, 5, [2, 2], [3, 3], geometry(1, [1; 4])));
    cases.push(case(0, 16, 16, [4, 4], [3, 3], geometry(1, [1; 4])));
    cases.push(case(16, 6, 10, [5, 7], [3, 2], ConvGeometry { groups: 2, ..geometry(1, [1; 4]) }));
    cases.push(case(16, 4, 4, [9, 20], [3, 3], ConvGeometry { dilation: [2, 3], ..geometry(1, [2, 3, 2, 3]) }));
    cases.push(case(16, 4, 4, [9, 20], [3, 3], ConvGeometry { dilation: [2, 3], ..geometry(2, [2, 3, 2, 3]) }));
    cases.push(case(16, 3, 4, [4, 4], [2, 2], geometry(3, [0, 0, 3, 3])));
    cases.push(case(16, 2, 2, [70, 40], [3, 3], geometry(1, [1; 4])));
    cases
}

impl Case {
    fn weight(&self) -> Kernel {
        Kernel::of([self.outputs, self.inputs / self.g.groups, self.kernel[0], self.kernel[1]])
    }

    fn blocks(&self) -> usize {
        self.images.div_ceil(LANES)
    }

    /// Maps with nothing but zeros in lanes without an image.
    fn maps(&self, seed: u64, channels: usize, plane: [usize; 2]) -> Vec<f32> {
        let size = channels * plane[0] * plane[1];
        crate::layout::block(&noise(seed, self.images * size), size).to_vec()
    }

    /// Calls `visit` with the indices in `x`, `w` and `y` of every product.
    fn products(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let Case { inputs, outputs, side, kernel, g, .. } = *self;
        let output = g.output_size(side, kernel);
        let (group_inputs, group_outputs) = (inputs / g.groups, outputs / g.groups);
        for o in 0..outputs {
            for (row, column) in (0..output[0]).flat_map(|row| (0..output[1]).map(move |column| (row, column))) {
                for i in 0..group_inputs {
                    for (kh, kw) in (0..kernel[0]).flat_map(|kh| (0..kernel[1]).map(move |kw| (kh, kw))) {
                        let y = (row * g.stride[0] + kh * g.dilation[0]).wrapping_sub(g.pads[0]);
                        let x = (column * g.stride[1] + kw * g.dilation[1]).wrapping_sub(g.pads[1]);
                        if y < side[0] && x < side[1] {
                            let channel = o / group_outputs * group_inputs + i;
                            visit(
                                (channel * side[0] + y) * side[1] + x,
                                ((o * group_inputs + i) * kernel[0] + kh) * kernel[1] + kw,
                                (o * output[0] + row) * output[1] + column,
                            );
                        }
                    }
                }
            }
        }
    }

    /// Output, gradient of the input and gradient of the weight, in `f64`.
    fn naive(&self, x: &[f32], w: &[f32], dy: &[f32]) -> [Vec<f64>; 3] {
        let mut results = [vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; w.len()]];
        let [x_block, y_block] = [x, dy].map(|maps| maps.len() / self.blocks().max(1) / LANES);
        self.products(|xi, wi, yi| {
            for block in 0..self.blocks() {
                for lane in 0..LANES {
                    let xi = (block * x_block + xi) * LANES + lane;
                    let yi = (block * y_block + yi) * LANES + lane;
                    results[0][yi] += f64::from(x[xi]) * f64::from(w[wi]);
                    results[1][xi] += f64::from(dy[yi]) * f64::from(w[wi]);
                    results[2][wi] += f64::from(dy[yi]) * f64::from(x[xi]);
                }
            }
        });
        results
    }

    fn operands(&self) -> [Vec<f32>; 3] {
        let output = self.g.output_size(self.side, self.kernel);
        [self.maps(1, self.inputs, self.side), noise(2, self.weight().len()), self.maps(3, self.outputs, output)]
    }

    /// Transforms cost a digit.
    fn tolerance(&self) -> f64 {
        if Tiling::new(&self.g, self.weight(), self.side).is_some() { 2e-5 } else { 2e-6 }
    }

    fn conv(&self, isa: Isa, precision: Precision) -> Conv {
        Conv { isa, precision, geometry: self.g, kernel: self.weight(), input: self.side }
    }

    fn fast(&self, isa: Isa, precision: Precision, [x, w, dy]: &[Vec<f32>; 3]) -> [Vec<f32>; 3] {
        let conv = self.conv(isa, precision);
        let kept = conv.keep(x);
        [
            conv.forward(x, w).to_vec(),
            conv.input_gradient(dy, w).to_vec(),
            conv.weight_gradient(kept.as_deref().unwrap_or(x), dy).to_vec(),
        ]
    }

    /// What processors with bfloat16 compute in pairs, or in tiles.
    fn halved(&self, isa: Isa, way: Way, [x, w, dy]: &[Vec<f32>; 3]) -> [Vec<f32>; 3] {
        let conv = self.conv(isa, Precision::Bf16);
        let kept = conv.keep_for(way, x).expect("inputs are kept in pairs");
        [
            conv.forward_by(way, x, w).to_vec(),
            conv.input_gradient_by(way, dy, w).to_vec(),
            conv.weight_gradient_by(way, &kept, dy).to_vec(),
        ]
    }

    fn assert_equals(&self, what: &str, found: &[Vec<f32>; 3], expected: &[Vec<f64>; 3], tolerance: f64) {
        for (which, (found, expected)) in ["y", "dx", "dw"].into_iter().zip(found.iter().zip(expected)) {
            assert_eq!(found.len(), expected.len(), "{which} {self:?}");
            let scale = expected.iter().fold(1.0, |a: f64, b| a.max(b.abs()));
            for (at, (&found, &expected)) in found.iter().zip(expected).enumerate() {
                let error = (f64::from(found) - expected).abs();
                assert!(error < tolerance * scale, "{which}[{at}] = {found}, expected {expected}, {what} {self:?}");
            }
        }
    }
}

#[test]
fn convolution_equals_the_naive_loop_on_each_instruction_set() {
    for case in cases() {
        let operands = case.operands();
        let [x, w, dy] = &operands;
        let naive = case.naive(x, w, dy);
        for isa in Isa::available() {
            let fast = case.fast(isa, Precision::Fp32, &operands);
            case.assert_equals(&format!("{isa:?}"), &fast, &naive, case.tolerance());
        }
    }
}

/// With operands that bfloat16 has, nothing is rounded but sums, whatever the way.
#[test]
fn convolution_in_bf16_equals_the_naive_loop_on_rounded_operands() {
    for case in cases() {
        let operands = case.operands().map(|numbers| numbers.into_iter().map(round).collect());
        let [x, w, dy]: &[Vec<f32>; 3] = &operands;
        let naive = case.naive(x, w, dy);
        for isa in Isa::available() {
            let fast = case.fast(isa, Precision::Bf16, &operands);
            case.assert_equals(&format!("{isa:?}"), &fast, &naive, case.tolerance());
            // Tiles add up all images and pixels one after the other.
            for (way, tolerance) in [(Way::Paired, 2e-6), (Way::Tiled, 1e-5)] {
                if case.g.groups == 1 {
                    let halved = case.halved(isa, way, &operands);
                    case.assert_equals(&format!("{way:?}, {isa:?}"), &halved, &naive, tolerance);
                }
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let with = |threads: usize, f: &(dyn Fn() -> Vec<Vec<f32>> + Sync)| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start").install(f)
    };
    let same = |f: &(dyn Fn() -> Vec<Vec<f32>> + Sync)| [2, 7].iter().all(|&threads| with(threads, f) == with(1, f));
    assert!(same(&|| vertical(Isa::detect())));
    let cases = [
        case(100, 17, 19, [8, 8], [3, 3], geometry(1, [1; 4])),
        case(33, 24, 24, [5, 9], [3, 3], ConvGeometry { groups: 24, ..geometry(2, [1; 4]) }),
        case(128, 40, 70, [2, 2], [3, 3], geometry(1, [1; 4])),
        case(128, 130, 129, [4, 4], [3, 3], geometry(1, [1; 4])),
        case(128, 40, 70, [2, 2], [5, 5], geometry(1, [2; 4])),
    ];
    for case in cases {
        let operands = case.operands();
        for precision in [Precision::Fp32, Precision::Bf16] {
            assert!(same(&|| case.fast(Isa::detect(), precision, &operands).to_vec()), "{precision:?} {case:?}");
        }
        for way in [Way::Paired, Way::Tiled] {
            let halved = || case.halved(Isa::detect(), way, &operands).to_vec();
            assert!(case.g.groups > 1 || same(&halved), "{way:?} {case:?}");
        }
    }
}

/// Two maps `[N, C, H, W]`, a weight, and two numbers per channel.
struct Inputs {
    maps: [Tensor<4>; 2],
    weight: Tensor<4>,
    channels: [Tensor<1>; 2],
}

impl Inputs {
    fn new(shape: [usize; 4], weight: [usize; 4], device: &Device) -> Self {
        let maps = |seed| Tensor::<4>::from_data(TensorData::new(noise(seed, shape.iter().product()), shape), device);
        let channel = |seed| Tensor::<1>::from_data(TensorData::new(noise(seed, shape[1]), [shape[1]]), device);
        let weight = TensorData::new(noise(4, weight.iter().product()), weight);
        Self {
            maps: [maps(1), maps(2)],
            weight: Tensor::from_data(weight, device),
            channels: [channel(5).add_scalar(1.5), channel(6)],
        }
    }

    fn require_grad(self) -> Self {
        Self {
            maps: self.maps.map(Tensor::require_grad),
            weight: self.weight.require_grad(),
            channels: self.channels.map(Tensor::require_grad),
        }
    }
}

/// An operator on two maps, a weight and two numbers per channel, some of which it ignores.
type Operator = dyn Fn([Maps; 2], &Inputs) -> Tensor<4>;

/// The output, and the gradients of all inputs that have one.
fn differentiate(shape: [usize; 4], enter: fn(burn::backend::DispatchTensor) -> Maps, f: &Operator) -> Vec<Vec<f32>> {
    let inputs = Inputs::new(shape, [shape[1], shape[1], 3, 3], &Device::flex().autodiff()).require_grad();
    let y = f(inputs.maps.clone().map(|maps| enter(maps.into_dispatch())), &inputs);
    let factors = TensorData::new(noise(7, y.shape().num_elements()), y.shape());
    let factors = Tensor::<4>::from_data(factors, &Device::flex().autodiff());
    let gradients = (y.clone() * factors).sum().backward();
    let mut results = vec![y.into_data()];
    results.extend(inputs.maps.iter().filter_map(|x| Some(x.grad(&gradients)?.into_data())));
    results.extend(inputs.weight.grad(&gradients).map(Tensor::into_data));
    results.extend(inputs.channels.iter().filter_map(|x| Some(x.grad(&gradients)?.into_data())));
    results.into_iter().map(|data| data.try_to_vec().expect("results are f32")).collect()
}

fn assert_close(name: &str, blocked: &[f32], reference: &[f32], tolerance: f32) {
    assert_eq!(blocked.len(), reference.len(), "{name}");
    let scale = reference.iter().fold(1.0, |a: f32, b| a.max(b.abs()));
    for (at, (blocked, reference)) in blocked.iter().zip(reference).enumerate() {
        let error = (blocked - reference).abs();
        assert!(error <= tolerance * scale, "{name} [{at}]: {blocked}, expected {reference}");
    }
}

fn out(maps: Maps) -> Tensor<4> {
    Tensor::from_dispatch(maps.into_tensor())
}

const ACTIVATIONS: [Activation; 3] = [Activation::None, Activation::Relu, Activation::Relu6];

fn operators() -> Vec<(String, Box<Operator>)> {
    let mut operators: Vec<(String, Box<Operator>)> = Vec::new();
    let mut operator = |name: String, f: Box<Operator>| operators.push((name, f));
    for precision in [Precision::Fp32, Precision::Bf16] {
        operator(
            format!("conv2d {precision:?}"),
            Box::new(move |[x, _], inputs| {
                let (weight, bias) = (inputs.weight.clone().into_dispatch(), inputs.channels[0].clone());
                out(conv2d(x, weight, Some(bias.into_dispatch()), &geometry(2, [1, 0, 2, 1]), precision))
            }),
        );
    }
    for activation in ACTIVATIONS {
        operator(
            format!("batch_norm {activation:?}"),
            Box::new(move |[x, _], inputs| {
                let [gamma, beta] = inputs.channels.clone().map(Tensor::into_dispatch);
                // Wide enough for all of the activation's parts.
                let gamma = Tensor::<1>::from_dispatch(gamma).mul_scalar(3.0).into_dispatch();
                let (y, mean, variance) = batch_norm(x, gamma, beta, 1e-3, activation);
                // Statistics are results too, but have no gradient.
                let [mean, variance] = [mean, variance].map(|x| Tensor::<1>::from_dispatch(x).detach());
                out(y) + (mean - variance).reshape([1, -1, 1, 1])
            }),
        );
        operator(
            format!("affine {activation:?}"),
            Box::new(move |[x, _], inputs| {
                let [scale, shift] = inputs.channels.clone().map(Tensor::into_dispatch);
                out(affine(x, scale, shift, activation))
            }),
        );
        operator(format!("add {activation:?}"), Box::new(move |[a, b], _| out(add(a, b, activation))));
        operator(format!("activate {activation:?}"), Box::new(move |[x, _], _| out(activate(x, activation))));
    }
    for pool in pools() {
        operator(format!("max_pool {pool:?}"), Box::new(move |[x, _], _| out(max_pool(x, &pool))));
        for pad in [false, true] {
            let name = format!("average_pool {pad} {pool:?}");
            operator(name, Box::new(move |[x, _], _| out(average_pool(x, &pool, pad))));
        }
    }
    operator("subsample".into(), Box::new(|[x, _], _| out(subsample(x, [2, 3]))));
    operator("pad_channels".into(), Box::new(|[x, _], _| out(pad_channels(x, 2, 1))));
    operator(
        "global_average".into(),
        Box::new(|[x, _], _| Tensor::<2>::from_dispatch(global_average(x)).unsqueeze_dims(&[2, 3])),
    );
    operators
}

fn pools() -> Vec<PoolGeometry> {
    let pool = PoolGeometry { kernel: [2, 2], stride: [2, 2], pads: [0; 4], dilation: [1, 1], ceil: false };
    vec![
        pool,
        PoolGeometry { kernel: [3, 3], stride: [2, 2], pads: [1; 4], ..pool },
        PoolGeometry { kernel: [3, 2], stride: [1, 2], pads: [0, 1, 1, 0], ..pool },
        PoolGeometry { kernel: [2, 2], stride: [2, 2], ceil: true, ..pool },
        PoolGeometry { kernel: [2, 2], dilation: [2, 3], stride: [1, 1], ..pool },
    ]
}

/// Batches end inside, at and behind a block; planes are odd; a lone pixel has a variance only over the batch.
const SHAPES: [[usize; 4]; 5] = [[2, 3, 5, 7], [15, 2, 5, 6], [16, 1, 6, 5], [17, 5, 5, 5], [33, 2, 7, 5]];

#[test]
fn operators_and_their_gradients_equal_burns_own() {
    for shape in SHAPES {
        for (name, f) in operators() {
            let blocked = differentiate(shape, Maps::from_tensor, &*f);
            let reference = differentiate(shape, Maps::plain, &*f);
            assert_eq!(blocked.len(), reference.len(), "{name}: as many gradients");
            for (which, (blocked, reference)) in blocked.iter().zip(&reference).enumerate() {
                // In bfloat16 the default body rounds gradients at another place.
                let tolerance = if name.contains("Bf16") && which > 0 { 8e-3 } else { 2e-5 };
                assert_close(&format!("{name} {shape:?}, result {which}"), blocked, reference, tolerance);
            }
        }
    }
}

/// Each pass rounds both of its operands, on any of the ways to compute a convolution, and nothing else.
#[test]
fn bfloat16_rounds_the_operands_of_all_passes() {
    let device = Device::flex().autodiff();
    let tensor = |seed: u64, shape: [usize; 4]| {
        Tensor::<4>::from_data(TensorData::new(noise(seed, shape.iter().product()), shape), &device)
    };
    let rounded = |x: Tensor<4>| x.cast(FloatDType::BF16).cast(FloatDType::F32);
    for (shape, side) in [([5, 3, 1, 1], 4), ([16, 16, 3, 3], 8), ([5, 3, 3, 3], 7)] {
        let pads = [shape[2] / 2; 4];
        let run = |x: Tensor<4>, w: Tensor<4>, dy: Tensor<4>, precision: Precision| {
            let (x, w) = (x.require_grad(), w.require_grad());
            let maps = Maps::from_tensor(x.clone().into_dispatch());
            let y = out(conv2d(maps, w.clone().into_dispatch(), None, &geometry(1, pads), precision));
            let gradients = (y.clone() * dy).sum().backward();
            let [dx, dw] = [x, w].map(|x| x.grad(&gradients).expect("it was asked for").into_data());
            [y.into_data(), dx, dw].map(|data| data.try_to_vec::<f32>().expect("results are f32"))
        };
        let (x, w, dy) =
            (tensor(1, [17, shape[1], side, side]), tensor(2, shape), tensor(3, [17, shape[0], side, side]));
        let expected = run(rounded(x.clone()), rounded(w.clone()), rounded(dy.clone()), Precision::Fp32);
        let found = run(x.clone(), w.clone(), dy.clone(), Precision::Bf16);
        let whole = run(x, w, dy, Precision::Fp32);
        for (which, ((found, expected), whole)) in found.iter().zip(&expected).zip(&whole).enumerate() {
            assert_close(&format!("{shape:?}, result {which}"), found, expected, 2e-5);
            let shows = whole.iter().zip(expected).any(|(whole, expected)| (whole - expected).abs() > 1e-3);
            assert!(shows, "{shape:?}, result {which}: rounding shows");
        }
    }
}

#[test]
fn inference_gives_what_training_gives() {
    let on = |device: &Device| -> Vec<Vec<f32>> {
        let results = operators().into_iter().map(|(_, f)| {
            let inputs = Inputs::new([17, 3, 5, 5], [3, 3, 3, 3], device);
            let maps = inputs.maps.clone().map(|maps| Maps::from_tensor(maps.into_dispatch()));
            f(maps, &inputs).into_data().try_to_vec().expect("results are f32")
        });
        results.collect()
    };
    assert_eq!(on(&Device::flex().autodiff()), on(&Device::flex()));
}

#[test]
fn frozen_inputs_get_no_gradient_and_change_no_other() {
    let device = Device::flex().autodiff();
    let gradients = |freeze: bool| {
        let Inputs { maps: [x, _], weight, .. } = Inputs::new([3, 2, 4, 4], [2, 2, 3, 3], &device);
        let (x, weight) = (if freeze { x } else { x.require_grad() }, weight.require_grad());
        let maps = Maps::from_tensor(x.clone().into_dispatch());
        let y = out(conv2d(maps, weight.clone().into_dispatch(), None, &geometry(1, [1; 4]), Precision::Fp32));
        let gradients = y.powi_scalar(2).sum().backward();
        (x.grad(&gradients).is_some(), weight.grad(&gradients).map(Tensor::into_data))
    };
    let (frozen, free) = (gradients(true), gradients(false));
    assert!(!frozen.0 && free.0 && free.1.is_some());
    assert_eq!(frozen.1, free.1);
}

#[test]
fn a_large_mean_does_not_cancel_the_variance() {
    let (images, plane) = (17, 9);
    let plain: Vec<f32> = noise(1, images * plane).iter().map(|x| 1000.0 + 0.25 * x).collect();
    let count = plain.len() as f64;
    let mean = plain.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = plain.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    // Lanes without an image hold anything.
    let mut blocked = crate::layout::block(&plain, plane).to_vec();
    blocked[plane * LANES..].chunks_exact_mut(LANES).for_each(|pixel| pixel[1..].fill(-77.0));
    for isa in Isa::available() {
        let norm = Norm { gamma: &[1.0], beta: &[0.0], epsilon: 1e-5, activation: Activation::None };
        let (_, found) = norm.forward(isa, &blocked, Extent { channels: 1, plane, images });
        assert!((f64::from(found.mean[0]) - mean).abs() < 1e-4, "{isa:?}");
        assert!((f64::from(found.variance[0]) / variance - 1.0).abs() < 1e-4, "{isa:?}");
    }
}

/// Results of the operators that are not convolutions, on blocked maps.
fn vertical(isa: Isa) -> Vec<Vec<f32>> {
    let extent = Extent { channels: 5, plane: 42, images: 37 };
    let size = extent.channels * extent.plane;
    let [x, y, dy] = [1, 2, 3].map(|seed| crate::layout::block(&noise(seed, extent.images * size), size));
    let [gamma, beta] = [4, 5].map(|seed| noise(seed, extent.channels));
    let norm = Norm { gamma: &gamma, beta: &beta, epsilon: 1e-5, activation: Activation::Relu };
    let (normal, batch) = norm.forward(isa, &x, extent);
    let (dx, dgamma, dbeta) = norm.gradient(isa, &x, &dy, &batch, extent);
    let mut results = vec![normal.to_vec(), batch.mean, batch.variance];
    results.extend([dx.to_vec(), dgamma, dbeta]);
    let (dx, dscale, dshift) =
        crate::pointwise::affine_gradient(isa, &x, &y, &dy, &gamma, extent.plane, Activation::Relu6);
    results.extend([dx.to_vec(), dscale, dshift, crate::pointwise::add(isa, &x, &y, Activation::Relu).to_vec()]);
    for pooling in [Pooling::Max, Pooling::Average { include_pad: true }] {
        let pool = Pool::new(&pools()[1], pooling, [6, 7]);
        let y = pool.forward(isa, &x);
        results.push(pool.gradient(isa, &x, &y, &noise(6, y.len())).to_vec());
        results.push(y.to_vec());
    }
    results
}

#[test]
fn instruction_sets_agree_up_to_rounding() {
    let portable = vertical(Isa::Portable);
    for isa in Isa::available() {
        for (which, (found, expected)) in vertical(isa).iter().zip(&portable).enumerate() {
            assert_close(&format!("{isa:?}, result {which}"), found, expected, 1e-5);
        }
    }
}
