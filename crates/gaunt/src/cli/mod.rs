//! The command line: one file per verb, and the contract that scripts rely on.
//!
//! Standard output carries the result (one JSON object with `--json`), standard error everything else. Exit status: 0
//! done, 1 a failure that the message explains, 2 wrong usage, 3 a budget that could not be met.

mod args;
mod bench;
mod compress;
mod data;
mod demo;
mod eval;
mod export;
mod inspect;
mod interrupt;
mod machine;
mod model;
mod output;
mod progress;
mod report;
mod run;
mod run_dir;
mod table;
mod teacher;
mod train;
mod verify;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use args::{Cli, Verb};

/// How a verb ended when nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Done,
    /// The best file was kept, but it is not in budget.
    OverBudget,
}

/// Runs the command line and says with which status the process ends.
pub fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).format_timestamp(None).init();
    // clap ends the process with status 2 and a hint if the usage is wrong.
    let cli = Cli::parse();
    if let Verb::Compress(args) = &cli.verb {
        args.check().unwrap_or_else(|error| error.exit());
    }
    match dispatch(&cli.verb) {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::OverBudget) => ExitCode::from(3),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(verb: &Verb) -> Result<Ending> {
    match verb {
        Verb::Demo(args) => demo::demo(args),
        Verb::Train(args) => train::train(args).map(|()| Ending::Done),
        Verb::Compress(args) => compress::compress(args),
        Verb::Eval(args) => eval::eval(args).map(|()| Ending::Done),
        Verb::Inspect(args) => inspect::inspect(args).map(|()| Ending::Done),
        Verb::Export(args) => export::export(args).map(|()| Ending::Done),
        Verb::Verify(args) => verify::verify(args).map(|()| Ending::Done),
        Verb::Run(args) => run::run(args).map(|()| Ending::Done),
        Verb::Report(args) => report::report(args).map(|()| Ending::Done),
        Verb::Bench(args) => bench::bench(args).map(|()| Ending::Done),
    }
}

/// Prints the result on standard output.
fn print(text: &str) -> Result<()> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.write_all(b"\n")?;
    Ok(stdout.flush()?)
}

/// A reader that has seen enough, such as `head`, is no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
