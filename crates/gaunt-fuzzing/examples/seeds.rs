//! Writes the starting corpus of the fuzz targets anew, for a new version of the format:
//! `cargo run --release -p gaunt-fuzzing --example seeds`

use std::fs;

use gaunt_fuzzing::{TARGETS, folder, seeds};

fn main() -> std::io::Result<()> {
    for target in TARGETS {
        let corpus = folder().join("corpus").join(target.name);
        if corpus.exists() {
            fs::remove_dir_all(&corpus)?;
        }
        fs::create_dir_all(corpus)?;
    }
    let seeds = seeds();
    for seed in &seeds {
        fs::write(folder().join("corpus").join(seed.target).join(&seed.name), &seed.bytes)?;
    }
    println!("{} seeds, {} bytes", seeds.len(), seeds.iter().map(|seed| seed.bytes.len()).sum::<usize>());
    Ok(())
}
