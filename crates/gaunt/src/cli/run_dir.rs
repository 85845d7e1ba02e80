//! The folder of a long run: its config, its metrics, its checkpoint.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use gaunt_compress::Snapshot;
use gaunt_train::{Checkpoint, CheckpointError};
use serde::Serialize;

use super::args::RunOptions;

const CONFIG: &str = "config.json";
const METRICS: &str = "metrics.jsonl";
const LATEST: &str = "checkpoint.safetensors";
const BEST: &str = "best.safetensors";
const PREDICTIONS: &str = "predictions.safetensors";
/// What a finished run has no use for.
const STATES: [&str; 3] = [LATEST, BEST, PREDICTIONS];

/// An open run directory.
pub struct RunDir {
    folder: PathBuf,
    /// Locked, so that no other process writes into the folder.
    metrics: File,
}

/// A run that can be gone on with.
pub struct Resumed {
    /// The newest state.
    pub latest: Checkpoint,
    /// The best state in budget, if there was one.
    pub best: Option<Checkpoint>,
    /// What teachers had predicted, if that is kept.
    pub predictions: Option<Checkpoint>,
}

impl RunDir {
    /// Opens the folder of a run that writes `out`; `config` is everything that decides its result. With
    /// `--resume` the saved state comes back, if there is one.
    pub fn open(options: &RunOptions, out: &Path, config: &impl Serialize) -> Result<(Self, Option<Resumed>)> {
        let run_dir = Self::create(options, out, config)?;
        let load = |name| -> Result<Option<Checkpoint>> {
            let path = run_dir.folder.join(name);
            Ok(if path.exists() { Some(Checkpoint::load(&path)?) } else { None })
        };
        let resumed = match load(LATEST)? {
            Some(latest) => Some(Resumed { latest, best: load(BEST)?, predictions: load(PREDICTIONS)? }),
            None => None,
        };
        Ok((run_dir, resumed))
    }

    /// Opens the folder without reading the saved state.
    pub fn create(options: &RunOptions, out: &Path, config: &impl Serialize) -> Result<Self> {
        let folder = options.run_dir.clone().unwrap_or_else(|| beside(out));
        let at = || format!("{}", folder.display());
        fs::create_dir_all(&folder).with_context(at)?;
        let config = serde_json::to_string_pretty(config)?;
        let metrics = OpenOptions::new().create(true).append(true).open(folder.join(METRICS)).with_context(at)?;
        // Not every file system has locks; those without are no reason to refuse.
        if let Err(TryLockError::WouldBlock) = metrics.try_lock() {
            bail!("{}: another run is writing here; wait for it, or choose another --run-dir", folder.display());
        }
        let unfinished = folder.join(LATEST).exists();
        if unfinished && !options.resume && !options.force {
            bail!("{}: holds an unfinished run; go on with --resume, or forget it with --force", folder.display());
        }
        if unfinished && options.resume {
            check_config(&folder.join(CONFIG), &config)?;
        } else {
            for stale in STATES {
                remove(&folder.join(stale))?;
            }
            metrics.set_len(0).with_context(at)?;
            super::output::write(&folder.join(CONFIG), config.as_bytes(), true)?;
        }
        Ok(Self { folder, metrics })
    }

    /// The file of the newest state.
    pub fn latest(&self) -> PathBuf {
        self.folder.join(LATEST)
    }

    /// Adds a line to `metrics.jsonl`.
    pub fn log(&mut self, metrics: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(metrics)?;
        line.push(b'\n');
        self.metrics.write_all(&line).with_context(|| format!("{}", self.folder.join(METRICS).display()))
    }

    /// Keeps a state.
    pub fn save(&self, which: Snapshot, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        let name = match which {
            Snapshot::Latest => LATEST,
            Snapshot::Best => BEST,
            Snapshot::Predictions => PREDICTIONS,
        };
        checkpoint.save(&self.folder.join(name))
    }

    /// The run is done: its states are of no more use.
    pub fn finish(&self) -> Result<()> {
        STATES.into_iter().try_for_each(|state| remove(&self.folder.join(state)))
    }
}

/// The default folder: `model.gaunt` runs in `model.gaunt.run`.
fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".run");
    PathBuf::from(name)
}

/// Fails if the run was started with other options.
fn check_config(path: &Path, config: &str) -> Result<()> {
    let saved = fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    if saved != config {
        let difference = config.lines().zip(saved.lines()).find(|(now, then)| now != then);
        let (now, then) = difference.unwrap_or(("", ""));
        bail!(
            "{}: the run had other options ({} then, {} now); repeat them, or start again without --resume",
            path.display(),
            then.trim(),
            now.trim()
        );
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{}: cannot be removed", path.display()))
        }
        _ => Ok(()),
    }
}
