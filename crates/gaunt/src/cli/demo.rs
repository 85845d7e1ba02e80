//! `gaunt demo`: the main job from start to end, on images that are embedded in the program.

use std::time::Instant;

use anyhow::{Result, bail};
use clap::Parser;

use super::{
    Ending,
    args::{Cli, Demo, Verb},
    compress, interrupt, machine, model, print, train, verify,
};

/// The commands of the demo; `DIR` stands for its folder. One precision, so that processors differ by little.
const TRAIN: &str = "gaunt train --arch resnet20 --data digits --epochs 15 --batch 64 --rate 0.1 --precision fp32 --out DIR/digits.safetensors --force";
const COMPRESS: &str = "gaunt compress DIR/digits.safetensors --data digits --target-ratio 50 --epochs 20 --batch 64 --precision fp32 --out DIR/digits.gaunt --force";
const VERIFY: &str = "gaunt verify DIR/digits.gaunt";

/// Trains, compresses and verifies as the verbs of these names do, and shows the commands.
pub fn demo(args: &Demo) -> Result<Ending> {
    let started = Instant::now();
    let device = machine::set_up(&args.machine)?;
    interrupt::listen();
    let temporary = tempfile::tempdir()?;
    let folder = args.out.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder)?;
    let folder = folder.display().to_string();
    let verb = |command: &str| -> Result<Verb> {
        eprintln!("\n$ {}", command.replace("DIR/", "").replace(" --force", ""));
        Ok(Cli::try_parse_from(command.split(' ').map(|word| word.replace("DIR", &folder)))?.verb)
    };

    let Verb::Train(train) = verb(TRAIN)? else { bail!("not a training command: {TRAIN}") };
    eprintln!("{}", train::text(&train::train_to_file(&train, &device)?));

    let Verb::Compress(compress) = verb(COMPRESS)? else { bail!("not a compression command: {COMPRESS}") };
    let loaded = model::load(&compress.model, &compress.data.input)?;
    let report = compress::compress_to_file(&compress, &loaded, &device)?;
    print(&if args.json { serde_json::to_string(&report)? } else { compress::text(&report) })?;

    let Verb::Verify(verify) = verb(VERIFY)? else { bail!("not a verification command: {VERIFY}") };
    eprintln!("{}", verify::text(&verify::verify_file(&verify.file)?));
    let keep = if args.out.is_some() { "" } else { "; --out DIR keeps the files" };
    eprintln!("\nthe demo took {:.0} s{keep}", started.elapsed().as_secs_f64());
    Ok(if report.met { Ending::Done } else { Ending::OverBudget })
}
