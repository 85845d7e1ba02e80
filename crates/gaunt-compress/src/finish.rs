//! From trained codes to the graph that the file holds: fold batch norm, round scales and biases, drop dead channels.

use gaunt_graph::{
    Data, Graph, Op, Tensor, TensorError, ValueId, log_scale, nearest_log_scale,
    rewrite::{drop_dead_channels, fold_batch_norm, prune_unused},
};

/// The codes of one weight, with a scale for each output channel.
#[derive(Clone, Debug, PartialEq)]
pub struct CodedWeight {
    /// The parameter.
    pub weight: ValueId,
    /// Row-major codes.
    pub codes: Vec<i32>,
    /// Scale of each output channel.
    pub scales: Vec<f32>,
}

/// Largest code of a bias: eight bits hold the folded batch norm with an error far below that of the weights.
const BIAS_LEVELS: f32 = 127.0;

/// Puts the codes into the graph (which holds everything else as floats, batch norm not yet folded) and makes it
/// as small as it gets without another change of function: this graph is what the file holds and what is evaluated.
///
/// # Errors
/// If codes and scales do not fit their parameters.
pub fn finish(mut graph: Graph, coded: Vec<CodedWeight>) -> Result<Graph, TensorError> {
    for CodedWeight { weight, codes, scales } in coded {
        let value = &mut graph.values[weight.index()];
        if let Some(tensor) = &value.tensor {
            value.tensor = Some(Tensor::from_codes(tensor.shape().to_vec(), codes, scales)?);
        }
    }
    fold_batch_norm(&mut graph);
    drop_dead_channels(&mut graph);
    prune_unused(&mut graph);
    round_scales(&mut graph)?;
    quantize_biases(&mut graph)?;
    Ok(graph)
}

/// Moves every scale of a coded tensor to the logarithmic grid that the file stores.
fn round_scales(graph: &mut Graph) -> Result<(), TensorError> {
    for value in &mut graph.values {
        let Some(tensor) = &value.tensor else { continue };
        let Data::Codes { codes, scales } = tensor.data() else { continue };
        let per_scale = codes.len() / scales.len().max(1);
        let mut previous = 1.0;
        let rounded = scales.iter().enumerate().map(|(channel, &scale)| {
            // A channel without codes needs no scale: repeating its neighbour's costs nothing.
            let empty = codes[channel * per_scale..][..per_scale].iter().all(|&code| code == 0);
            if !empty {
                previous = log_scale(nearest_log_scale(scale));
            }
            previous
        });
        let rounded = rounded.collect();
        value.tensor = Some(Tensor::from_codes(tensor.shape().to_vec(), codes.clone(), rounded)?);
    }
    Ok(())
}

/// Biases of convolutions and linear layers become 8-bit codes with one scale.
fn quantize_biases(graph: &mut Graph) -> Result<(), TensorError> {
    let biases = graph.nodes.iter().filter(|node| matches!(node.op, Op::Conv(_) | Op::Linear));
    let biases: Vec<ValueId> = biases.filter_map(|node| node.inputs.get(2).copied()).collect();
    for bias in biases {
        let value = &mut graph.values[bias.index()];
        if let Some(tensor) = &value.tensor
            && let Data::Floats(floats) = tensor.data()
        {
            value.tensor = Some(quantize_bias(tensor.shape(), floats)?);
        }
    }
    Ok(())
}

fn quantize_bias(shape: &[usize], floats: &[f32]) -> Result<Tensor, TensorError> {
    let largest = floats.iter().fold(0.0f32, |largest, b| largest.max(b.abs()));
    let step = if largest > 0.0 { log_scale(nearest_log_scale(largest / BIAS_LEVELS)) } else { 1.0 };
    let codes = floats.iter().map(|b| (b / step).round() as i32).collect();
    Tensor::from_codes(shape.to_vec(), codes, vec![step])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_keep_seven_bits_of_their_largest() {
        let floats = [0.5, -0.25, 0.0, 0.003];
        let tensor = quantize_bias(&[4], &floats).unwrap();
        for (found, wanted) in tensor.to_floats().iter().zip(floats) {
            assert!((found - wanted).abs() <= 0.5 / 127.0 * 0.52, "{found} for {wanted}");
        }
        assert_eq!(quantize_bias(&[2], &[0.0, 0.0]).unwrap().to_floats(), [0.0, 0.0]);
    }

    #[test]
    fn scales_move_to_the_grid_and_empty_channels_repeat_their_neighbour() {
        let mut graph = Graph::new("test");
        let tensor = Tensor::from_codes(vec![3, 2], vec![1, -2, 0, 0, 3, 0], vec![0.1, 77.0, 0.2]).unwrap();
        let id = graph.add_parameter("weight", tensor);
        round_scales(&mut graph).unwrap();
        let Some(Data::Codes { scales, .. }) = graph.value(id).tensor.as_ref().map(Tensor::data) else { panic!() };
        assert_eq!(scales[0], scales[1]);
        for (found, wanted) in [(scales[0], 0.1f32), (scales[2], 0.2)] {
            assert!((found / wanted - 1.0).abs() < 0.0112);
            assert_eq!(found, log_scale(nearest_log_scale(found)));
        }
    }
}
