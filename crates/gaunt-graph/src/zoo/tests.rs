use alloc::{collections::BTreeSet, format, vec};

use super::*;
use crate::Op;

const INPUT: [usize; 3] = [3, 32, 32];

fn floats(graph: &Graph, name: &str) -> alloc::vec::Vec<f32> {
    let value = graph.values.iter().find(|value| value.name == name).unwrap();
    value.tensor.as_ref().unwrap().to_floats()
}

#[test]
fn the_table_follows_the_variants() {
    for (index, entry) in ENTRIES.iter().enumerate() {
        assert_eq!(entry.arch as usize, index, "{}", entry.name);
        assert_eq!(entry.name.parse(), Ok(entry.arch));
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let error = "resnet21".parse::<Arch>().unwrap_err().to_string();
    assert!(error.contains("`resnet21`") && Arch::all().all(|arch| error.contains(arch.name())), "{error}");
}

/// Trainable parameters, all with running statistics, and some names, as in the original definitions in PyTorch.
#[test]
fn parameters_are_those_of_the_originals() {
    type Case = (Arch, [usize; 3], usize, usize, &'static [&'static str]);
    #[rustfmt::skip]
    let expected: [Case; 8] = [
        (Arch::Lenet5, [1, 28, 28], 61_706, 61_706, &["conv1.weight", "conv2.bias", "fc1.weight", "fc3.bias"]),
        (Arch::Vgg16, INPUT, 14_728_266, 14_736_714,
            &["features.0.bias", "features.1.running_var", "features.40.weight", "classifier.bias"]),
        (Arch::Resnet18, INPUT, 11_173_962, 11_183_562,
            &["layer2.0.shortcut.0.weight", "layer4.0.shortcut.1.running_mean", "linear.weight"]),
        (Arch::Resnet20, INPUT, 269_722, 271_098, &["layer3.2.bn2.bias"]),
        (Arch::Resnet32, INPUT, 464_154, 466_426, &["layer3.4.bn2.bias"]),
        (Arch::Resnet56, INPUT, 853_018, 857_082, &["layer3.8.bn2.bias"]),
        (Arch::MobilenetV1, INPUT, 3_217_226, 3_239_114,
            &["conv1.weight", "layers.0.conv1.weight", "layers.12.bn2.bias", "linear.weight"]),
        (Arch::MobilenetV2, INPUT, 2_296_922, 2_332_010,
            &["bn2.weight", "layers.0.shortcut.0.weight", "layers.16.bn3.weight", "conv2.weight"]),
    ];
    for (arch, input, trainable, all, names) in expected {
        let graph = build(arch, 10, input, 0).unwrap();
        graph.validate().unwrap();
        let statistics = graph.parameters().filter(|(id, _)| graph.value(*id).name.contains("running_"));
        let statistics: usize = statistics.map(|(_, tensor)| tensor.len()).sum();
        assert_eq!((graph.parameter_count() - statistics, graph.parameter_count()), (trainable, all), "{arch}");
        for name in names {
            assert!(graph.values.iter().any(|value| value.name == *name), "{arch} lacks {name}");
        }
    }
}

/// By hand: 442,368 in the first layer, 14,155,776 and 12,976,128 and again in the stages, 640 in the last.
#[test]
fn multiplications_are_those_of_the_paper() {
    assert_eq!(build(Arch::Resnet20, 10, INPUT, 0).unwrap().multiplications(), 40_551_040);
}

/// `tests/data/resnet20-names.txt` lists the floats of a state dict that the original implementation saved.
#[test]
fn resnet20_has_the_names_and_shapes_of_its_state_dict() {
    let graph = build(Arch::Resnet20, 10, INPUT, 0).unwrap();
    let found = graph.parameters().map(|(id, tensor)| format!("{} {:?}", graph.value(id).name, tensor.shape()));
    let expected = include_str!("../../tests/data/resnet20-names.txt").lines().map(String::from);
    assert_eq!(found.collect::<BTreeSet<_>>(), expected.collect::<BTreeSet<_>>());
}

#[test]
fn sizes_channels_and_classes_may_differ() {
    for arch in Arch::all() {
        let side = arch.min_side();
        let graph = build(arch, 7, [1, side, side + 13], 0).unwrap();
        graph.validate().unwrap();
        assert_eq!(graph.value(graph.outputs[0]).shape, vec![Dim::Batch(1), Dim::Fixed(7)], "{arch}");
        assert!(matches!(build(arch, 7, [3, side - 1, side], 0), Err(ZooError::Side { .. })), "{arch}");
        assert!(matches!(build(arch, 7, [3, side, MAX_SIDE + 1], 0), Err(ZooError::Side { .. })), "{arch}");
    }
    assert_eq!(build(Arch::Lenet5, 7, [0, 32, 32], 0), Err(ZooError::Channels(0)));
    assert_eq!(build(Arch::Lenet5, 0, INPUT, 0), Err(ZooError::Classes(0)));
    assert_eq!(build(Arch::Lenet5, usize::MAX, INPUT, 0), Err(ZooError::Classes(usize::MAX)));
}

#[test]
fn initial_values_depend_on_the_seed_and_have_the_stated_spread() {
    let graph = build(Arch::Resnet20, 10, INPUT, 3).unwrap();
    assert_eq!(graph, build(Arch::Resnet20, 10, INPUT, 3).unwrap());
    assert_ne!(graph, build(Arch::Resnet20, 10, INPUT, 4).unwrap());
    let weight = floats(&graph, "layer3.1.conv1.weight");
    let variance = weight.iter().map(|w| w * w).sum::<f32>() / weight.len() as f32;
    assert!((variance / (2.0 / 576.0) - 1.0).abs() < 0.03, "variance {variance}");
    let largest = floats(&graph, "linear.weight").iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
    assert!((0.12..=0.125).contains(&largest), "largest {largest}");
}

/// Golden bits: another generator would change every network that is trained from a seed.
#[test]
fn initial_values_are_the_same_bits_everywhere() {
    let graph = build(Arch::Lenet5, 10, [1, 28, 28], 1).unwrap();
    let bits = |name: &str| [0, 1, 2].map(|i| floats(&graph, name)[i].to_bits());
    assert_eq!(bits("conv1.weight"), [3_142_960_966, 3_168_245_912, 1_011_026_086]);
    assert_eq!(bits("fc3.bias"), [1_022_057_757, 3_182_317_364, 1_011_945_774]);
}

#[test]
fn depthwise_convolutions_have_a_group_for_each_channel() {
    let graph = build(Arch::MobilenetV2, 10, INPUT, 0).unwrap();
    let is_grouped = |op: &Op| matches!(op, Op::Conv(conv) if conv.groups > 1);
    assert_eq!(graph.nodes.iter().filter(|node| is_grouped(&node.op)).count(), 17);
}
