//! Mutations of a good file, given to every verb that reads one: an answer or a message, never a panic, a hang or a hunger for memory.
//!
//! `GAUNT_MUTATIONS=10000 cargo test --release -p gaunt --test mutations` tries more of them, `GAUNT_MUTATION_SEED` others.
#![cfg(unix)]

mod support;

use std::{
    env,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use gaunt_fuzzing::sealed;
use support::Workplace;

/// Verbs that read a `.gaunt` file, with the statuses that they may end with.
const VERBS: [(&str, &[i32]); 6] = [
    ("inspect FILE", &[0, 1]),
    ("verify FILE", &[0, 1]),
    ("run FILE --input image.npy", &[0, 1]),
    ("eval FILE --data digits", &[0, 1]),
    ("export FILE -o exported.onnx --force", &[0, 1]),
    // 3: the budget cannot be met.
    ("compress FILE --data digits --target-ratio 9 --epochs 0 -o out.gaunt --force", &[0, 1, 3]),
];
/// KiB of data that a verb may take, and how long.
const MEMORY: usize = 1 << 20;
const TIME: Duration = Duration::from_secs(60);

/// A generator that needs no crate.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound.max(1)
    }

    /// A few changes of a few bytes each. Most files get checksums that hold, so that more than the checksums is tried.
    fn mutation(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        for _ in 0..=self.below(3) {
            self.change(&mut bytes);
        }
        if self.below(4) > 0 { sealed(&bytes) } else { bytes }
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let place = self.below(bytes.len());
        let run = place..(place + self.below(8)).min(bytes.len());
        match self.below(6) {
            0 => bytes.truncate(place),
            1 => drop(bytes.drain(run)),
            2 => bytes.insert(place, self.below(256) as u8),
            3 => bytes.extend_from_within(run),
            4 => bytes[run].fill(0xFF),
            _ => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1 << self.below(8)),
        }
    }
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// How `gaunt` ends, with little memory; none if it does not.
fn end(place: &Workplace, line: &str) -> Option<ExitStatus> {
    let limited = format!("ulimit -d {MEMORY}; exec \"$0\" {line}");
    let mut command = Command::new("sh");
    command.args(["-c", &limited, env!("CARGO_BIN_EXE_gaunt")]).current_dir(place.path("."));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while start.elapsed() < TIME {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

#[test]
fn mutated_files_end_in_an_answer_or_a_message() {
    let place = Workplace::with_lenet5();
    place.succeed("compress lenet5.safetensors --data digits --target-ratio 9 --epochs 0 -o good.gaunt");
    place.write("image.npy", gaunt::data::npy::encode(&[1, 8, 8], &[0.0; 64]));
    let good = place.read("good.gaunt");
    let mut random = Random(number("GAUNT_MUTATION_SEED", 1));
    let mut answers = 0;
    for count in 0..number("GAUNT_MUTATIONS", 12) {
        let bytes = random.mutation(&good);
        place.write("bad.gaunt", &bytes);
        for (verb, allowed) in VERBS {
            let status = end(&place, &verb.replace("FILE", "bad.gaunt"));
            let code = status.and_then(|status| status.code());
            if !code.is_some_and(|code| allowed.contains(&code)) {
                let kept = env::temp_dir().join(format!("mutation-{count}.gaunt"));
                std::fs::write(&kept, &bytes).unwrap();
                panic!("mutation {count}, kept as {}: {verb} ends with {status:?}", kept.display());
            }
            answers += usize::from(code == Some(0));
        }
    }
    println!("{answers} answers, messages otherwise");
}
