//! Broken files, given to every verb that reads one: status 1 and a message, never a panic.

mod support;

use support::Workplace;

/// Verbs that read a `.gaunt` file.
const GAUNT_VERBS: [&str; 5] = [
    "eval FILE --data digits",
    "inspect FILE",
    "verify FILE",
    "export FILE -o exported.onnx --force",
    "run FILE --input image.npy",
];
/// Verbs that read any network.
const NETWORK_VERBS: [&str; 3] = [
    "eval FILE --arch lenet5 --data digits",
    "compress FILE --arch lenet5 --data digits --target-ratio 9 --epochs 0 -o out.gaunt",
    "export FILE --arch lenet5 -o exported.safetensors --force",
];

/// Truncations, flipped bits and noise.
fn broken(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut state = 99u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let mut all = vec![Vec::new(), bytes[..1].to_vec(), bytes[..bytes.len() - 1].to_vec()];
    for _ in 0..4 {
        all.push(bytes[..random(bytes.len())].to_vec());
        let mut flipped = bytes.to_vec();
        flipped[random(bytes.len())] ^= 1 << random(8);
        all.push(flipped);
    }
    all.push((0..1000).map(|_| random(256) as u8).collect());
    all
}

#[test]
fn broken_gaunt_files_end_in_status_1() {
    let place = Workplace::with_lenet5();
    place.succeed("compress lenet5.safetensors --data digits --target-ratio 9 --epochs 0 -o good.gaunt");
    place.write("image.npy", gaunt::data::npy::encode(&[1, 8, 8], &[0.0; 64]));
    place.succeed("run good.gaunt --input image.npy");
    for bytes in broken(&place.read("good.gaunt")) {
        place.write("bad.gaunt", &bytes);
        for verb in GAUNT_VERBS {
            place.fail(&verb.replace("FILE", "bad.gaunt"), 1);
        }
    }
}

#[test]
fn broken_networks_end_in_status_1() {
    let place = Workplace::with_lenet5();
    place.succeed("export lenet5.safetensors --arch lenet5 -o good.onnx");
    for (good, bad) in
        [("lenet5.safetensors", "bad.safetensors"), ("good.onnx", "bad.onnx"), ("lenet5.safetensors", "bad.pth")]
    {
        let bytes = place.read(good);
        // A flipped bit in a weight is a valid network: these formats have no checksums. Only truncations and noise must fail.
        for bytes in broken(&bytes).into_iter().filter(|broken| broken.len() < bytes.len()) {
            place.write(bad, &bytes);
            for verb in NETWORK_VERBS {
                place.fail(&verb.replace("FILE", bad), 1);
            }
        }
    }
}

#[test]
fn broken_inputs_and_data_end_in_status_1() {
    let place = Workplace::with_lenet5();
    place.succeed("compress lenet5.safetensors --data digits --target-ratio 9 --epochs 0 -o good.gaunt");
    let image = gaunt::data::npy::encode(&[1, 8, 8], &[0.0; 64]);
    for bytes in broken(&image).into_iter().filter(|broken| broken.len() != image.len()) {
        place.write("bad.npy", &bytes);
        place.fail("run good.gaunt --input bad.npy", 1);
    }
    place.write("wrong.npy", gaunt::data::npy::encode(&[3, 8, 8], &[0.0; 192]));
    assert!(place.fail("run good.gaunt --input wrong.npy", 1).contains("[3, 8, 8]"));
    place.fail("run good.gaunt --input missing.png", 1);
    for data in ["cifar10:nowhere", "folder:nowhere", "idx:nowhere"] {
        assert!(place.fail(&format!("eval good.gaunt --data {data}"), 1).contains("nowhere"));
    }
}

#[test]
fn wrong_usage_is_status_2() {
    let place = Workplace::new();
    for line in [
        "",
        "compres",
        "compress m.onnx --data digits -o m.gaunt",
        "compress m.onnx --data digits --target-size huge -o m.gaunt",
        "compress m.onnx --data nothing:here --max-drop 1 -o m.gaunt",
        "compress m.onnx --data digits --max-drop -1 -o m.gaunt",
        "compress m.onnx --data digits --max-drop 1 --method magic -o m.gaunt",
        "train --arch alexnet --data digits --out m.safetensors",
        "eval m.onnx --data digits --mean 0.5",
        "eval m.onnx --data digits --split middle",
    ] {
        place.fail(line, 2);
    }
    assert!(place.fail("train --arch alexnet --data digits --out m.safetensors", 2).contains("resnet20"));
}
