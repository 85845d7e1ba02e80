//! Same seed, data and options: the same bytes, whatever happened on the way.

mod support;

use std::{thread::sleep, time::Duration};

use support::Workplace;

const COMPRESS: &str = "compress lenet5.safetensors --data digits --target-ratio 15 --epochs 8 --batch 32 --seed 5";

#[test]
fn threads_leave_no_trace() {
    let place = Workplace::with_lenet5();
    place.succeed(&format!("{COMPRESS} --threads 1 -o one.gaunt"));
    place.succeed(&format!("{COMPRESS} --threads 2 -o two.gaunt"));
    place.succeed(&format!("{COMPRESS} --threads 3 -o three.gaunt"));
    assert!(place.read("one.gaunt") == place.read("two.gaunt"));
    assert!(place.read("one.gaunt") == place.read("three.gaunt"));
}

#[test]
fn killed_and_resumed_runs_leave_no_trace() {
    let place = Workplace::with_lenet5();
    // At a fiftieth, dead channels leave the network on the way; views are predicted before an epoch begins.
    for budget in ["--target-ratio 15", "--max-drop 3", "--views 3 --target-ratio 50"] {
        let compress = COMPRESS.replace("--target-ratio 15", budget);
        let output = place.gaunt(&format!("{compress} --force -o undisturbed.gaunt"));
        assert!(output.status.success(), "{}", support::stderr(&output));
        let left = support::stderr(&output).contains("dead channels have left the network");
        assert!(left || !budget.ends_with("50"), "{}", support::stderr(&output));
        let mut kills = 0;
        // Each round runs a little longer before it is killed, until one gets through.
        for round in 1.. {
            let mut child = place.start(&format!("{compress} --resume --run-dir run -o killed.gaunt"));
            for _ in 0..5 * round {
                sleep(Duration::from_millis(97));
                if child.try_wait().unwrap().is_some() {
                    break;
                }
            }
            if let Some(status) = child.try_wait().unwrap() {
                let said = String::from_utf8_lossy(&place.read("said.log")).into_owned();
                assert!(status.success(), "{compress} after {kills} kills: {status}: {said}");
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            // Killed after the file was written, while that was evaluated: it is whole, and a resumed run would refuse to touch it.
            if place.path("killed.gaunt").exists() {
                break;
            }
        }
        assert!(kills > 0, "the run was never killed");
        assert!(place.read("undisturbed.gaunt") == place.read("killed.gaunt"), "{compress} after {kills} kills");
        std::fs::remove_file(place.path("killed.gaunt")).unwrap();
    }
}

#[test]
fn a_run_is_not_resumed_with_other_options_nor_forgotten_by_accident() {
    let place = Workplace::with_lenet5();
    let long = COMPRESS.replace("--epochs 8", "--epochs 500");
    let mut child = place.start(&format!("{long} --run-dir run -o out.gaunt"));
    for _ in 0..600 {
        if place.path("run/checkpoint.safetensors").exists() {
            break;
        }
        sleep(Duration::from_millis(50));
    }
    let message = place.fail(&format!("{long} --run-dir run --resume -o out.gaunt"), 1);
    assert!(message.contains("another run"), "{message}");
    child.kill().unwrap();
    child.wait().unwrap();
    let message = place.fail(&format!("{long} --run-dir run -o out.gaunt"), 1);
    assert!(message.contains("--resume"), "{message}");
    let message =
        place.fail(&format!("{} --run-dir run --resume -o out.gaunt", long.replace("--seed 5", "--seed 6")), 1);
    assert!(message.contains("other options") && message.contains("\"seed\": 5"), "{message}");
}
