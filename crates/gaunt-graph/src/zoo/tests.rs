use alloc::{collections::BTreeSet, format, string::String, vec, vec::Vec};

use super::*;
use crate::{Data, Op};

const INPUT: [usize; 3] = [3, 32, 32];

fn is_statistic(name: &str) -> bool {
    name.ends_with("running_mean") || name.ends_with("running_var")
}

#[test]
fn the_table_is_in_the_order_of_the_enum() {
    for (i, entry) in ENTRIES.iter().enumerate() {
        assert_eq!(entry.arch as usize, i);
        assert_eq!(entry.name.parse(), Ok(entry.arch));
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let error = "resnet21".parse::<Arch>().unwrap_err();
    assert_eq!(
        format!("{error}"),
        "unknown architecture `resnet21`; there are lenet5, vgg16, resnet18, resnet20, resnet32, resnet56, mobilenet-v1, \
         mobilenet-v2"
    );
}

/// Trainable parameters, and all with running statistics, as PyTorch counts them in the same definitions
/// (`scripts/zoo_counts.py`).
#[test]
fn parameter_counts_are_those_of_pytorch() {
    let expected = [
        (Arch::Lenet5, 62_006, 62_006),
        (Arch::Vgg16, 14_728_266, 14_736_714),
        (Arch::Resnet18, 11_173_962, 11_183_562),
        (Arch::Resnet20, 269_722, 271_098),
        (Arch::Resnet32, 464_154, 466_426),
        (Arch::Resnet56, 853_018, 857_082),
        (Arch::MobilenetV1, 3_217_226, 3_239_114),
        (Arch::MobilenetV2, 2_296_922, 2_332_010),
    ];
    for (arch, trainable, all) in expected {
        let graph = build(arch, 10, INPUT, 0).unwrap();
        graph.validate().unwrap();
        let statistics = graph.parameters().filter(|(id, _)| is_statistic(&graph.value(*id).name));
        let statistics: usize = statistics.map(|(_, tensor)| tensor.len()).sum();
        assert_eq!((graph.parameter_count() - statistics, graph.parameter_count()), (trainable, all), "{arch}");
    }
}

#[test]
fn resnet20_has_the_names_of_its_state_dict() {
    let norm = |name: &str| ["weight", "bias", "running_mean", "running_var"].map(|kind| format!("{name}.{kind}"));
    let mut expected: BTreeSet<String> = norm("bn1").into();
    expected.extend(["conv1.weight", "linear.weight", "linear.bias"].map(String::from));
    for block in (1..=3).flat_map(|layer| (0..3).map(move |block| format!("layer{layer}.{block}"))) {
        for i in 1..=2 {
            expected.insert(format!("{block}.conv{i}.weight"));
            expected.extend(norm(&format!("{block}.bn{i}")));
        }
    }
    assert_eq!(names(Arch::Resnet20), expected);
}

#[test]
fn other_architectures_have_the_names_of_their_state_dicts() {
    let cases: [(Arch, &[&str]); 5] = [
        (Arch::Lenet5, &["conv1.weight", "conv2.bias", "fc1.weight", "fc3.bias"]),
        (Arch::Vgg16, &["features.0.bias", "features.1.running_var", "features.40.weight", "classifier.bias"]),
        (Arch::Resnet18, &["layer2.0.shortcut.0.weight", "layer4.0.shortcut.1.running_mean", "linear.weight"]),
        (Arch::MobilenetV1, &["conv1.weight", "layers.0.conv1.weight", "layers.12.bn2.bias", "linear.weight"]),
        (Arch::MobilenetV2, &["bn2.weight", "layers.0.shortcut.0.weight", "layers.16.bn3.weight", "conv2.weight"]),
    ];
    for (arch, expected) in cases {
        let names = names(arch);
        for name in expected {
            assert!(names.contains(*name), "{arch} lacks {name}");
        }
    }
}

fn names(arch: Arch) -> BTreeSet<String> {
    let graph = build(arch, 10, INPUT, 0).unwrap();
    graph.parameters().map(|(id, _)| graph.value(id).name.clone()).collect()
}

#[test]
fn sizes_channels_and_classes_may_differ() {
    for arch in Arch::all() {
        let side = arch.min_side();
        for input in [[1, side, side], [3, side + 5, side + 12]] {
            let graph = build(arch, 7, input, 0).unwrap();
            graph.validate().unwrap();
            assert_eq!(graph.value(graph.outputs[0]).shape, vec![Dim::Batch(1), Dim::Fixed(7)], "{arch} {input:?}");
        }
        assert!(matches!(build(arch, 7, [3, side - 1, side], 0), Err(ZooError::Input { .. })), "{arch}");
        assert!(matches!(build(arch, 7, [3, side, MAX_SIDE + 1], 0), Err(ZooError::Input { .. })), "{arch}");
    }
    assert!(matches!(build(Arch::Lenet5, 7, [2, 32, 32], 0), Err(ZooError::Input { .. })));
    assert_eq!(build(Arch::Lenet5, 0, INPUT, 0), Err(ZooError::Classes(0)));
    assert!(build(Arch::Lenet5, usize::MAX, INPUT, 0).is_err());
}

#[test]
fn initial_values_depend_on_the_seed_and_have_the_stated_spread() {
    let graph = build(Arch::Resnet20, 10, INPUT, 3).unwrap();
    assert_eq!(graph, build(Arch::Resnet20, 10, INPUT, 3).unwrap());
    assert_ne!(graph, build(Arch::Resnet20, 10, INPUT, 4).unwrap());
    let floats = |name: &str| {
        let value = graph.values.iter().find(|value| value.name == name).unwrap();
        value.tensor.as_ref().unwrap().to_floats()
    };
    let weight = floats("layer3.1.conv1.weight");
    let variance = weight.iter().map(|w| w * w).sum::<f32>() / weight.len() as f32;
    assert!((variance / (2.0 / 576.0) - 1.0).abs() < 0.03, "variance {variance}");
    let linear = floats("linear.weight");
    let largest = linear.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
    assert!((0.12..=0.125).contains(&largest), "largest {largest}");
}

/// Golden bits: a change of the generator would change every network that is trained from a seed.
#[test]
fn initial_values_are_the_same_bits_everywhere() {
    let graph = build(Arch::Lenet5, 10, [1, 28, 28], 1).unwrap();
    let bits = |name: &str| -> Vec<u32> {
        let value = graph.values.iter().find(|value| value.name == name).unwrap();
        let Data::Floats(floats) = value.tensor.as_ref().unwrap().data() else { panic!("codes in the zoo") };
        floats.iter().take(3).map(|w| w.to_bits()).collect()
    };
    assert_eq!(bits("conv1.weight"), [0, 0, 0]);
    assert_eq!(bits("fc1.weight"), [0, 0, 0]);
}

#[test]
fn depthwise_convolutions_have_a_group_for_each_channel() {
    let graph = build(Arch::MobilenetV2, 10, INPUT, 0).unwrap();
    let groups = graph.nodes.iter().filter_map(|node| match &node.op {
        Op::Conv(conv) if conv.groups > 1 => Some(conv.groups),
        _ => None,
    });
    assert_eq!(groups.collect::<Vec<_>>().len(), 17);
}
