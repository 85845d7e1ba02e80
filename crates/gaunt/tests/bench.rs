//! `gaunt bench`, by the real binary.

mod support;

use serde_json::Value;
use support::Workplace;

/// Runs `gaunt bench train --json` and checks what every report holds.
fn report(flags: &str) -> Value {
    let output = Workplace::new().succeed(&format!("bench train --batch 4 --steps 2 --threads 2 --json {flags}"));
    let report: Value = serde_json::from_str(&output).unwrap();
    for (key, expected) in [("batch", 4), ("steps", 2), ("threads", 2)] {
        assert_eq!(report[key], expected, "{report}");
    }
    assert_eq!(report["precision"], if flags.contains("bf16") { "bf16" } else { "fp32" });
    let number = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key} is no number in {report}"));
    let images = number("images_per_s") * number("step_ms") / 1e3;
    assert!((images - 4.0).abs() < 1e-6, "{images} images a step");
    if cfg!(target_os = "linux") {
        assert!(number("peak_rss_bytes") > 4.0 * number("parameters"), "{report}");
    }
    report
}

fn ops(report: &Value) -> Vec<&str> {
    let ops = report["ops"].as_array().unwrap();
    let shares: f64 = ops.iter().map(|op| op["share"].as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 1e-6, "{shares} in {ops:?}");
    assert!(ops.iter().all(|op| op["ms"].as_f64().unwrap() >= 0.0), "{ops:?}");
    ops.iter().map(|op| op["op"].as_str().unwrap()).collect()
}

#[test]
fn a_training_step_is_timed_operator_by_operator() {
    let report = report("--arch resnet20");
    assert_eq!((&report["arch"], &report["mode"]), (&"resnet20".into(), &"plain".into()));
    assert_eq!(report["parameters"], 269_722);
    let ops = ops(&report);
    for op in ["conv2d forward", "conv2d input gradient", "conv2d weight gradient", "batch norm gradient", "optimiser"]
    {
        assert!(ops.contains(&op), "{ops:?} lack {op}");
    }
    assert_eq!(ops.last(), Some(&"other"));
}

#[test]
fn a_teacher_and_a_compression_are_timed_too() {
    assert_eq!(report("--arch lenet5 --teacher --precision bf16")["mode"], "teacher");
    let report = report("--arch lenet5 --compress --size 16 --classes 3");
    assert_eq!(report["mode"], "compress");
    let ops = ops(&report);
    assert!(ops.contains(&"quantiser") && ops.contains(&"rate model"), "{ops:?}");
}

#[test]
fn people_get_a_table() {
    let text = Workplace::new().succeed("bench train --arch lenet5 --batch 2 --steps 1");
    for part in ["conv2d forward", "images/s", "lenet5, 83126 parameters"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn wrong_flags_are_wrong_usage_and_impossible_sizes_are_failures() {
    let place = Workplace::new();
    for flags in
        ["", "train", "train --arch resnet21", "train --arch lenet5 --batch 1", "train --arch lenet5 --steps 0"]
    {
        place.fail(&format!("bench {flags}"), 2);
    }
    assert!(place.fail("bench train --arch lenet5 --precision fp64", 2).contains("bf16"));
    place.fail("bench train --arch lenet5 --teacher --compress", 2);
    assert!(place.fail("bench train --arch vgg16 --size 8", 1).contains("32 x 32"));
}

#[test]
fn a_file_is_timed() {
    let place = Workplace::with_lenet5();
    place.succeed("compress lenet5.safetensors --data digits --target-ratio 12 --epochs 0 -o thin.gaunt");
    let report: Value =
        serde_json::from_str(&place.succeed("bench infer thin.gaunt --batch 3 --runs 5 --json")).unwrap();
    let number = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key} is no number in {report}"));
    assert!(0.0 < number("fastest_ms") && number("fastest_ms") <= number("median_ms"), "{report}");
    assert!(number("median_ms") <= number("slowest_ms"), "{report}");
    assert!((number("images_per_s") * number("median_ms") / 3000.0 - 1.0).abs() < 1e-6, "{report}");
    assert!(number("weight_bytes") > 0.0 && number("activation_bytes") > 0.0, "{report}");
    assert!(place.succeed("bench infer thin.gaunt").contains("images a second"));
    place.fail("bench infer thin.gaunt --batch 0", 2);
    place.fail("bench infer missing.gaunt", 1);
}

#[test]
fn the_coder_is_timed_on_a_file() {
    let place = Workplace::with_lenet5();
    place.succeed("compress lenet5.safetensors --data digits --target-ratio 12 --epochs 0 -o thin.gaunt");
    let report: Value = serde_json::from_str(&place.succeed("bench codec thin.gaunt --json")).unwrap();
    let number = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key} is no number in {report}"));
    assert!(number("payload_bytes") < number("file_bytes"), "{report}");
    assert!((number("bits_per_weight") * number("weights") / 8.0 - number("payload_bytes")).abs() < 1e-6, "{report}");
    assert!(number("encoded_per_s") > 0.0 && number("decoded_per_s") > 0.0 && number("open_s") > 0.0, "{report}");
    // Whatever is installed makes more of the codes.
    let rivals = report["rivals"].as_array().unwrap().iter().filter_map(|rival| rival["bytes"].as_f64());
    assert!(rivals.into_iter().all(|bytes| bytes > number("payload_bytes")), "{report}");
    assert!(place.succeed("bench codec thin.gaunt").contains("zstd -19"));
}
