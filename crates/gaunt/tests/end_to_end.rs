//! The main job on real images, by the real binary.

mod support;

use serde_json::Value;
use support::Workplace;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_network_becomes_a_small_file_that_evaluates_runs_and_leaves_by_any_door() {
    let place = Workplace::with_lenet5();
    let compressed = json(&place.succeed(
        "compress lenet5.safetensors --data digits --target-ratio 20 --epochs 6 --batch 64 -o lenet5.gaunt --json",
    ));
    assert_eq!(compressed["met"], true);
    assert!(compressed["file_ratio"].as_f64().unwrap() >= 20.0, "{compressed}");
    let size = place.read("lenet5.gaunt").len();
    assert_eq!(compressed["file_bytes"], size);

    let original = json(&place.succeed("eval lenet5.safetensors --data digits --json"));
    let thin = json(&place.succeed("eval lenet5.gaunt --data digits --json"));
    assert_eq!(compressed["test"]["original"], original["top1"]);
    assert_eq!(compressed["test"]["file"], thin["top1"]);
    assert_eq!(thin["images"], 360);
    let lost = original["top1"].as_f64().unwrap() - thin["top1"].as_f64().unwrap();
    assert!(lost < 6.0, "{lost} points are lost");
    let validation = json(&place.succeed("eval lenet5.gaunt --data digits --split val --json"));
    assert_eq!(compressed["validation"]["after_tuning"], validation["top1"]);

    let inspected = json(&place.succeed("inspect lenet5.gaunt --json"));
    let layers = inspected["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 5);
    let sparsities: Vec<f64> = layers.iter().map(|layer| layer["sparsity"].as_f64().unwrap()).collect();
    assert!(sparsities.iter().any(|s| (s - sparsities[0]).abs() > 0.1), "layers differ: {sparsities:?}");
    let payload: u64 = layers.iter().map(|layer| layer["payload_bytes"].as_u64().unwrap()).sum();
    assert_eq!(payload + inspected["overhead_bytes"].as_u64().unwrap(), size as u64);

    assert!(place.succeed("verify lenet5.gaunt").contains("equal to the last bit"));
    place.succeed("export lenet5.gaunt -o lenet5.onnx");
    let exported = json(&place.succeed("eval lenet5.onnx --data digits --json"));
    assert_eq!(exported["top1"], thin["top1"]);
    place.succeed("export lenet5.gaunt -o thin.safetensors");
}

#[test]
fn a_budget_of_accuracy_is_kept_and_one_out_of_reach_is_status_3() {
    let place = Workplace::with_lenet5();
    let report =
        json(&place.succeed(
            "compress lenet5.safetensors --data digits --max-drop 2 --epochs 6 --batch 64 -o kept.gaunt --json",
        ));
    let validation = &report["validation"];
    let drop = validation["original"].as_f64().unwrap() - validation["after_tuning"].as_f64().unwrap();
    assert!(drop <= 2.0, "{drop} points");
    assert!(report["file_ratio"].as_f64().unwrap() > 8.0, "{report}");

    let output = place.gaunt(
        "compress lenet5.safetensors --data digits --target-ratio 2000 --max-drop 0 --epochs 1 --batch 64 -o out.gaunt",
    );
    assert_eq!(output.status.code(), Some(3), "{}", support::stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("the budget is not met"));
    place.succeed("verify out.gaunt");
}

#[test]
fn quantising_without_training_and_overrides_work() {
    let place = Workplace::with_lenet5();
    place.write("layers.toml", "[conv1]\ndense = true\n[\"fc*\"]\nmin-bits = 4\n");
    place.succeed(
        "compress lenet5.safetensors --data digits --target-ratio 7 --epochs 0 --layers layers.toml -o ptq.gaunt",
    );
    let inspected = json(&place.succeed("inspect ptq.gaunt --json"));
    let bits = |name: &str| {
        let layers = inspected["layers"].as_array().unwrap();
        layers.iter().find(|layer| layer["name"] == name).unwrap()["bits"].as_u64().unwrap()
    };
    assert!(bits("conv1") >= 8, "{inspected}");
    assert!(bits("fc1") >= 4, "{inspected}");
    place.write("layers.toml", "[conv7]\ndense = true\n");
    let message = place.fail(
        "compress lenet5.safetensors --data digits --target-ratio 9 --epochs 0 --layers layers.toml -o other.gaunt",
        1,
    );
    assert!(message.contains("no layer is called `conv7`"), "{message}");
}

#[test]
fn without_training_the_smallest_file_is_looked_for_that_keeps_the_accuracy() {
    let place = Workplace::with_lenet5();
    let file = |drop: u32| {
        let line =
            format!("compress lenet5.safetensors --data digits --max-drop {drop} --epochs 0 -o {drop}.gaunt --json");
        let report = json(&place.succeed(&line));
        let number = |path: &str| report.pointer(path).unwrap().as_f64().unwrap();
        assert!(number("/validation/original") - number("/validation/after_tuning") <= f64::from(drop), "{report}");
        number("/file_ratio")
    };
    let (little, much) = (file(2), file(20));
    assert!(little > 8.5 && much > 1.2 * little, "{little} and {much} times smaller");
}

#[test]
fn a_dense_network_is_stored_at_eight_bits_and_compressed_from_there() {
    let place = Workplace::with_lenet5();
    let stored = json(&place.succeed("compress lenet5.safetensors --data digits --method int8 -o dense.gaunt --json"));
    let number = |report: &serde_json::Value, path: &str| report.pointer(path).unwrap().as_f64().unwrap();
    assert!((3.5..5.0).contains(&number(&stored, "/file_ratio")), "{stored}");
    assert!((number(&stored, "/test/original") - number(&stored, "/test/file")).abs() < 1.0, "{stored}");
    let thin = json(
        &place
            .succeed("compress dense.gaunt --data digits --target-ratio 15 --epochs 1 --batch 64 -o thin.gaunt --json"),
    );
    assert!(number(&thin, "/file_ratio") >= 15.0, "{thin}");
    assert_eq!(thin["parameters"], stored["parameters"]);
    // The trainer and the runtime may see an image or two otherwise.
    assert!((number(&thin, "/test/original") - number(&stored, "/test/file")).abs() < 1.0, "{thin}");
}

#[test]
fn a_network_can_be_trained_on_all_images() {
    let place = Workplace::new();
    let train = "train --arch lenet5 --data digits --epochs 1 --batch 64 --json --validation";
    let kept = json(&place.succeed(&format!("{train} 0.2 -o kept.safetensors")));
    let all = json(&place.succeed(&format!("{train} 0 -o all.safetensors")));
    assert!(kept["validation"].is_number() && all["validation"].is_null(), "{kept} {all}");
    assert!(all["test"].is_number(), "{all}");
    assert!(place.fail(&format!("{train} 1 -o none.safetensors"), 2).contains("below 1"));
}

#[test]
fn a_student_learns_from_a_teacher_that_knows_its_images() {
    let place = Workplace::with_lenet5();
    let train = "train --arch resnet20 --data digits --epochs 4 --batch 64 --rate 0.1 --seed 7 --json --out student.safetensors --force";
    // The labels have no part in this loss.
    let student = json(&place.succeed(&format!("{train} --teacher lenet5.safetensors --teacher-share 1")));
    assert!(student["test"].as_f64().unwrap() > 50.0, "{student}");

    place.succeed("export lenet5.safetensors -o lenet5.onnx");
    let fails = |flags: &str, status| place.fail(&format!("{train} {flags}"), status);
    assert!(fails("--teacher lenet5.onnx --size 12", 1).contains("8x8, but the images have 1 of 12x12"));
    assert!(fails("--teacher lenet5.safetensors --mean 0.1 --std 0.2", 1).contains("leave them out"));
    assert!(fails("--teacher nowhere.onnx", 1).contains("nowhere.onnx"));
    assert!(fails("--teacher-share 0.5", 2).contains("--teacher <FILE>"));
}

#[test]
fn a_compression_learns_from_a_second_teacher() {
    let place = Workplace::with_lenet5();
    let compress = "compress lenet5.safetensors --data digits --target-ratio 15 --epochs 1 --batch 64";
    place.succeed(&format!("{compress} -o alone.gaunt"));
    place.succeed("train --arch resnet20 --data digits --epochs 1 --batch 64 -o resnet20.safetensors");
    let taught = format!("{compress} --teacher resnet20.safetensors --views 2 -o taught.gaunt --json");
    let taught = json(&place.succeed(&taught));
    assert!(taught["file_ratio"].as_f64().unwrap() >= 15.0, "{taught}");
    assert_eq!(taught["recipe"], "joint, ratio 15, second teacher, 2 views, 1 epochs");
    assert_ne!(place.read("taught.gaunt"), place.read("alone.gaunt"));

    let fails = |flags: &str| place.fail(&format!("{compress} -o none.gaunt {flags}"), 1);
    assert!(fails("--teacher nowhere.onnx").contains("nowhere.onnx"));
    assert!(fails("--teacher resnet20.safetensors --mean 0.1 --std 0.2").contains("another normalisation"));
    assert!(
        place
            .fail(
                "compress lenet5.safetensors --data digits --method int8 --teacher resnet20.safetensors -o none.gaunt",
                2
            )
            .contains("--teacher")
    );
}

#[test]
fn sizes_of_growing_images_that_do_not_fit_are_refused_before_the_training() {
    let place = Workplace::new();
    let refused = place.fail("train --arch resnet20 --data digits --epochs 4 --first-size 6 -o out.safetensors", 1);
    assert!(refused.contains("6x6, which the network does not take"), "{refused}");
}
