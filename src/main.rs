//! The `revoiceit-operator` program. Under the name `kubectl-revoiceit` it is the plugin of kubectl.

use std::process::ExitCode;

use revoiceit_operator::cli::{self, Cli, Verb, plugin};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = plugin::run_if_called(&args) {
        return code;
    }
    let cli = Cli::try_parse_and_check(args).unwrap_or_else(|error| error.exit());
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
