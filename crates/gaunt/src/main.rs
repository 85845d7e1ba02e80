//! The `gaunt` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    gaunt::cli::main()
}
