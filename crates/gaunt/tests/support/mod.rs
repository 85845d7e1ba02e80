//! Running the real binary in a folder of its own.
#![allow(dead_code, reason = "each test program uses a part")]

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

/// A folder in which `gaunt` runs.
pub struct Workplace(TempDir);

impl Workplace {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gaunt"));
        command.args(line.split_whitespace()).current_dir(self.0.path()).env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// Runs `gaunt` with the words of `line`.
    pub fn gaunt(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// Starts `gaunt` with the words of `line`; what it says goes to `said.log`.
    pub fn start(&self, line: &str) -> Child {
        let said = fs::File::create(self.path("said.log")).unwrap();
        self.command(line).stdout(Stdio::null()).stderr(said).spawn().unwrap()
    }

    /// Runs `gaunt`, which must succeed; returns its standard output.
    pub fn succeed(&self, line: &str) -> String {
        let output = self.gaunt(line);
        assert!(output.status.success(), "gaunt {line}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `gaunt`, which must end with `status` and say something on standard error; returns that.
    pub fn fail(&self, line: &str, status: i32) -> String {
        let output = self.gaunt(line);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "gaunt {line}: {message}");
        assert!(!message.trim().is_empty(), "gaunt {line} says nothing");
        assert!(!message.contains("panicked"), "gaunt {line}: {message}");
        message
    }

    /// A trained LeNet-5 as `lenet5.safetensors`.
    pub fn with_lenet5() -> Self {
        let workplace = Self::new();
        workplace
            .succeed("train --arch lenet5 --data digits --epochs 4 --batch 64 --rate 0.1 --out lenet5.safetensors");
        workplace
    }
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
