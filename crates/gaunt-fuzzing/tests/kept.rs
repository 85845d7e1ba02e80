//! Every input that is kept goes through its reader.

use std::{collections::BTreeSet, fs};

use gaunt_format::{FormatError, Model};
use gaunt_fuzzing::{TARGETS, folder, seeds};

/// Path, from the folder of the fuzz targets, and content of each file of a target.
fn inputs(kind: &str, target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder().join(kind).join(target);
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let paths: BTreeSet<_> = entries.map(|entry| entry.unwrap().path()).collect();
    let name = |path: &std::path::Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (format!("{kind}/{target}/{}", name(path)), fs::read(path).unwrap())).collect()
}

#[test]
fn corpus_and_regressions_do_no_harm() {
    for target in TARGETS {
        let corpus = inputs("corpus", target.name);
        assert!(!corpus.is_empty(), "{} has nothing to start from", target.name);
        for (path, bytes) in corpus.iter().chain(&inputs("regressions", target.name)) {
            println!("{path}");
            (target.run)(bytes);
        }
    }
}

/// The readers' own tests go further; this one keeps the targets from doing nothing.
#[test]
fn damaged_seeds_do_no_harm() {
    for target in TARGETS {
        for (path, bytes) in inputs("corpus", target.name) {
            println!("{path}");
            for place in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << (place % 8);
                (target.run)(&damaged);
                (target.run)(&bytes[..place]);
            }
        }
    }
}

#[test]
fn the_corpus_is_of_this_version_of_the_format() {
    let stale = "write it anew: cargo run --release -p gaunt-fuzzing --example seeds";
    for seed in seeds() {
        let path = folder().join("corpus").join(seed.target).join(&seed.name);
        assert!(fs::read(&path).is_ok_and(|bytes| bytes == seed.bytes), "{} is stale; {stale}", path.display());
    }
    for (path, bytes) in inputs("corpus", "container") {
        assert!(!matches!(Model::from_bytes(&bytes), Err(FormatError::Version { .. })), "{path} is stale; {stale}");
    }
}
