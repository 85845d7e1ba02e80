//! How an error of one weight is made good by the weights behind it.
//!
//! A layer's outputs change by `d^T x` if the weights of an output channel change by `d`; over the inputs `x` that is, in the mean square,
//! `d^T H d` with the inputs' second moments `H`. Inputs go together, neighbours most of all, so that the errors of weights whose codes are
//! chosen can be made good by those that are still to be chosen: with `H = U U^T`, `U` upper triangular,
//!
//! ```text
//! d^T H d = sum over k of U_kk^2 (d_k + sum over i < k of d_i U_ik / U_kk)^2
//! ```
//!
//! so the best that weight `k` can do is to aim at itself less the sum (Hassibi and Stork, *Optimal Brain Surgeon*, 1993; Frantar et al.,
//! *GPTQ*, 2023, in the form of successive decisions), and its own error then counts by `U_kk^2`.

use gaunt_data::Batch;
use gaunt_graph::{Conv, Graph, Node, Op, Tensor, ValueId};
use gaunt_train::{Network, TrainError};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use rayon::prelude::*;

/// Inputs that moments are measured on, for each weight of an output channel.
const SAMPLES: usize = 12;
/// Layers with more weights for an output channel are too wide for moments.
const WIDEST: usize = 2304;
/// Share of the mean square that is added to all squares.
const DAMPING: f64 = 0.01;

/// For each weight of an output channel of one layer, in their order.
#[derive(Clone, Debug)]
pub struct Feedback {
    /// `U_ik / U_kk` for all `i` below `k`.
    factors: Vec<Vec<f32>>,
    /// `U_kk^2` over the mean square of the inputs.
    gains: Vec<f32>,
}

impl Feedback {
    /// None if the inputs say nothing.
    fn of(Moments { width, mut sums }: Moments) -> Option<Self> {
        let mean = (0..width).map(|k| sums[k * width + k]).sum::<f64>() / width as f64;
        if !mean.is_finite() || mean <= 0.0 {
            return None;
        }
        for k in 0..width {
            sums[k * width + k] += DAMPING * mean;
        }
        factorize(&mut sums, width);
        let row = |k: usize| &sums[k * width..][..width];
        let factors = (0..width).map(|k| row(k)[..k].iter().map(|u| (u / row(k)[k]) as f32).collect());
        let gains = (0..width).map(|k| (row(k)[k].powi(2) / mean) as f32);
        Some(Self { factors: factors.collect(), gains: gains.collect() })
    }

    /// What weight `k` has to make good: the errors of those before it, as they come down to it. Those from the weight `first` on are added to
    /// what is known of the others.
    pub fn at(&self, k: usize, known: f32, first: usize, errors: &[f32]) -> f32 {
        self.factors[k][first..].iter().zip(errors).fold(known, |sum, (factor, error)| sum + factor * error)
    }

    /// How much the error of weight `k` counts in the end.
    pub fn gain(&self, k: usize) -> f32 {
        self.gains[k]
    }
}

/// Sums of products of the inputs of a layer: the lower triangle of a matrix of `width` rows.
struct Moments {
    width: usize,
    sums: Vec<f64>,
}

impl Moments {
    fn new(width: usize) -> Self {
        Self { width, sums: vec![0.0; width * width] }
    }

    /// Adds rows of `width` inputs.
    fn add(&mut self, samples: &[f32]) {
        let width = self.width;
        self.sums.par_chunks_mut(width).enumerate().for_each(|(k, row)| {
            // Few enough for sums in single precision.
            for block in samples.chunks(64 * width) {
                let mut sums = vec![0.0f32; k + 1];
                for sample in block.chunks_exact(width).filter(|sample| sample[k] != 0.0) {
                    let x = sample[k];
                    sums.iter_mut().zip(sample).for_each(|(sum, y)| *sum += x * y);
                }
                row.iter_mut().zip(sums).for_each(|(moment, sum)| *moment += f64::from(sum));
            }
        });
    }
}

/// Turns the lower triangle of `H = U U^T` into the transpose of `U`: row `k` holds `U_ik` up to `i = k`. From the last row to the first.
fn factorize(h: &mut [f64], width: usize) {
    for k in (0..width).rev() {
        let (before, rest) = h.split_at_mut(k * width);
        let row = &mut rest[..width];
        let pivot = row[k].max(f64::MIN_POSITIVE).sqrt();
        row[..k].iter_mut().for_each(|u| *u /= pivot);
        row[k] = pivot;
        before.par_chunks_mut(width).enumerate().for_each(|(j, other)| {
            let factor = row[j];
            other[..=j].iter_mut().zip(&*row).for_each(|(h, u)| *h -= factor * u);
        });
    }
}

/// The feedback of each of `weights`, where there is one: of convolutions without groups and of linear layers, up to a width.
///
/// # Errors
/// If the network cannot run on a batch.
pub fn measure(
    network: &mut Network,
    graph: &Graph,
    weights: &[ValueId],
    batches: impl IntoIterator<Item = Batch>,
    seed: u64,
) -> Result<Vec<Option<Feedback>>, TrainError> {
    let mut moments: Vec<Option<Moments>> =
        weights.iter().map(|&weight| width(graph, weight).map(Moments::new)).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut samples, batches) = (Vec::new(), batches.into_iter().collect::<Vec<Batch>>());
    for batch in &batches {
        for (weight, input) in network.layer_inputs(&batch.images, batch.labels.len())? {
            let place = weights.iter().position(|&other| other == weight);
            if let Some(moments) = place.and_then(|place| moments[place].as_mut()) {
                samples.clear();
                gather(
                    graph,
                    weight,
                    &input,
                    (SAMPLES * moments.width).div_ceil(batches.len()),
                    &mut rng,
                    &mut samples,
                );
                moments.add(&samples);
            }
        }
    }
    Ok(moments.into_iter().map(|moments| moments.and_then(Feedback::of)).collect())
}

fn node_of(graph: &Graph, weight: ValueId) -> Option<&Node> {
    graph.nodes.iter().find(|node| node.inputs.get(1) == Some(&weight))
}

/// Weights of an output channel, if the layer is one that has feedback.
fn width(graph: &Graph, weight: ValueId) -> Option<usize> {
    let shape = graph.value(weight).tensor.as_ref()?.shape();
    let plain = match &node_of(graph, weight)?.op {
        Op::Conv(conv) => conv.groups == 1,
        Op::Linear => true,
        _ => false,
    };
    let width = shape.iter().skip(1).product();
    (plain && (1..=WIDEST).contains(&width)).then_some(width)
}

/// Appends the inputs of randomly chosen outputs.
fn gather(graph: &Graph, weight: ValueId, input: &Tensor, count: usize, rng: &mut ChaCha8Rng, out: &mut Vec<f32>) {
    let Some(node) = node_of(graph, weight) else { return };
    let floats = input.to_floats();
    match (&node.op, input.shape()) {
        (Op::Conv(conv), &[images, channels, height, width]) => {
            let outputs = &graph.value(node.outputs[0]).shape;
            for _ in 0..count {
                let image = rng.random_range(0..images);
                let maps = &floats[image * channels * height * width..][..channels * height * width];
                let place = [outputs[2], outputs[3]].map(|count| rng.random_range(0..count.at(images)));
                window(conv, maps, [height, width], place, out);
            }
        }
        (Op::Linear, shape) => {
            let width = shape.last().copied().unwrap_or(1).max(1);
            let rows = floats.len() / width;
            for _ in 0..count {
                out.extend_from_slice(&floats[rng.random_range(0..rows.max(1)) * width..][..width]);
            }
        }
        _ => {}
    }
}

/// What the taps of all channels see for one output.
fn window(conv: &Conv, maps: &[f32], [height, width]: [usize; 2], [row, column]: [usize; 2], out: &mut Vec<f32>) {
    for plane in maps.chunks_exact(height * width) {
        for y in 0..conv.kernel[0] {
            for x in 0..conv.kernel[1] {
                let y = (row * conv.stride[0] + y * conv.dilation[0]).checked_sub(conv.pads[0]);
                let x = (column * conv.stride[1] + x * conv.dilation[1]).checked_sub(conv.pads[1]);
                out.push(match (y.filter(|&y| y < height), x.filter(|&x| x < width)) {
                    (Some(y), Some(x)) => plane[y * width + x],
                    _ => 0.0,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use gaunt_graph::{
        Dim,
        zoo::{self, Arch},
    };
    use gaunt_train::Device;

    use super::*;

    const WIDTH: usize = 7;

    /// Rows of numbers that go together.
    fn samples(count: usize) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut row = [0.0f32; WIDTH];
        let mut next = || {
            let mut last = 0.0;
            for x in &mut row {
                last = 0.8 * last + rng.random::<f32>() - 0.3;
                *x = last;
            }
            row
        };
        (0..count).flat_map(|_| next()).collect()
    }

    fn feedback_of(samples: &[f32]) -> Option<Feedback> {
        let mut moments = Moments::new(WIDTH);
        moments.add(samples);
        Feedback::of(moments)
    }

    /// The mean square of what errors change, with the damping.
    fn change(samples: &[f32], errors: &[f32]) -> f64 {
        let rows = samples.chunks_exact(WIDTH);
        let count = rows.len() as f64;
        let dot = |row: &[f32]| row.iter().zip(errors).map(|(x, e)| f64::from(x * e)).sum::<f64>();
        let squares = samples.iter().map(|x| f64::from(x * x)).sum::<f64>() / count / WIDTH as f64;
        rows.map(|row| dot(row).powi(2)).sum::<f64>() / count
            + DAMPING * squares * errors.iter().map(|e| f64::from(e * e)).sum::<f64>()
    }

    #[test]
    fn successive_decisions_add_up_to_the_change_of_the_outputs() {
        let samples = samples(500);
        let feedback = feedback_of(&samples).unwrap();
        let errors = [0.3, -0.4, 0.1, 0.0, 0.5, -0.2, 0.25];
        let squares = samples.iter().map(|x| f64::from(x * x)).sum::<f64>() / 500.0 / WIDTH as f64;
        let parts = (0..WIDTH).map(|k| {
            f64::from(feedback.gain(k)) * f64::from(errors[k] + feedback.at(k, 0.0, 0, &errors[..k])).powi(2) * squares
        });
        let (sum, expected) = (parts.sum::<f64>(), change(&samples, &errors));
        assert!((sum / expected - 1.0).abs() < 1e-3, "{sum} for {expected}");
    }

    #[test]
    fn errors_are_made_good() {
        let samples = samples(500);
        let feedback = feedback_of(&samples).unwrap();
        let weights = [0.4f32, 1.3, -0.6, 2.2, 0.45, -1.4, 0.35];
        let plain = weights.map(|w| w.round() - w);
        let mut errors = Vec::new();
        for (k, w) in weights.iter().enumerate() {
            errors.push((w - feedback.at(k, 0.0, 0, &errors)).round() - w);
        }
        assert!(change(&samples, &errors) < 0.6 * change(&samples, &plain));
    }

    #[test]
    fn inputs_that_are_always_zero_give_none() {
        assert!(feedback_of(&[0.0; 3 * WIDTH]).is_none());
    }

    #[test]
    fn windows_are_what_a_convolution_reads() {
        let conv = Conv { kernel: [3, 2], stride: [2, 1], pads: [1, 0, 0, 1], dilation: [1, 2], groups: 1 };
        let maps: Vec<f32> = (0..2 * 4 * 5).map(|i| i as f32 + 1.0).collect();
        // What the graph gives the node as its output, and places are drawn from.
        let [images, weights] =
            [vec![Dim::Batch(1), Dim::Fixed(2), Dim::Fixed(4), Dim::Fixed(5)], [3, 2, 3, 2].map(Dim::Fixed).to_vec()];
        let outputs = Op::Conv(conv.clone()).output_shapes(&[&images, &weights]).unwrap();
        assert_eq!(outputs[0][2..], [Dim::Fixed(2), Dim::Fixed(4)]);
        let mut found = Vec::new();
        window(&conv, &maps, [4, 5], [0, 3], &mut found);
        assert_eq!(found, [0.0, 0.0, 4.0, 0.0, 9.0, 0.0, 0.0, 0.0, 24.0, 0.0, 29.0, 0.0]);
    }

    #[test]
    fn layers_of_a_network_have_feedback_unless_they_have_groups() {
        let graph = zoo::build(Arch::MobilenetV2, 10, [3, 8, 8], 0).unwrap();
        let mut network = Network::new(&graph, &Device::default()).unwrap();
        let weights: Vec<ValueId> = graph.weights().into_iter().map(|weight| weight.value).collect();
        let images = (0..2 * 3 * 64).map(|i| (i % 13) as f32 / 6.0 - 1.0).collect();
        let batch = Batch { images, shape: [2, 3, 8, 8], labels: vec![0, 1], indices: vec![0, 1] };
        let found = measure(&mut network, &graph, &weights, [batch], 1).unwrap();
        assert_eq!(found.len(), weights.len());
        for (feedback, &weight) in found.iter().zip(&weights) {
            let grouped = matches!(&node_of(&graph, weight).unwrap().op, Op::Conv(conv) if conv.groups > 1);
            assert!(feedback.is_none() || !grouped);
            if let Some(feedback) = feedback {
                assert_eq!(Some(feedback.gains.len()), width(&graph, weight));
            }
        }
        assert!(found.iter().filter(|feedback| feedback.is_some()).count() > weights.len() / 2);
    }
}
