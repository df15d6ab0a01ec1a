//! The `revoiceit-operator` program.

use std::process::ExitCode;

use revoiceit_operator::cli::{self, Cli, Verb};

fn main() -> ExitCode {
    let cli = Cli::try_parse_and_check(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let outcome = match cli.verb {
        Verb::Run(args) => cli::operator::run(&args),
        Verb::Drain(args) => cli::drain::run(&args),
        Verb::Crd(_) => cli::crd::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
