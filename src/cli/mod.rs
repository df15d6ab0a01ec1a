//! The command line: a file for each verb, and what several of them share.

pub mod crd;
pub mod drain;
pub mod flags;
mod leftovers;
pub mod operator;
mod parts;
pub mod plugin;
pub mod run;
mod values;

use clap::{CommandFactory, FromArgMatches, error::ErrorKind};

/// Keeps Kubernetes Secrets supplied with valid Revoiceit access tokens.
#[derive(clap::Parser, Clone, Debug, PartialEq, Eq)]
#[command(name = "revoiceit-operator", version, max_term_width = 120)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What the program can do.
#[derive(clap::Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Serves a cluster until it is told to stop.
    ///
    /// Durations are written like "15s", "10m" or "1h30m". Each flag can be given as an environment variable instead; a flag wins over its variable.
    Run(Box<run::RunArgs>),
    /// Takes the operator's tokens and traces out of the cluster, before it is uninstalled.
    ///
    /// Stops the operator if --deployment names it, revokes all refresh tokens, deletes the Secrets with access tokens, and removes finalizers and ledgers. The resources stay, and an operator that is installed again obtains new tokens for them. Ends with 0 also when tokens could not be revoked in time: it names them, and they stay in the ledgers.
    #[command(mut_arg("log_format", |flag| flag.default_value("text")), mut_arg("log_level", |flag| flag.default_value("warn")))]
    Drain(Box<drain::DrainArgs>),
    /// Prints the custom resource definition as YAML.
    ///
    /// Apply it with `revoiceit-operator crd | kubectl apply --server-side -f -`.
    Crd(crd::CrdArgs),
}

impl Cli {
    /// Reads the command line and the environment.
    ///
    /// Everything that can be wrong with them is found here, and the error says what to do about it: [`clap::Error::exit`]
    /// prints it. `--help` and `--version` are such errors too.
    pub fn try_parse_and_check(args: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let cli = Self::from_arg_matches(&command.try_get_matches_from_mut(args)?)?;
        match &cli.verb {
            Verb::Run(args) => args.api.check().map_err(|problem| command.error(ErrorKind::ArgumentConflict, problem))?,
            Verb::Drain(args) => args.api.check().map_err(|problem| command.error(ErrorKind::ArgumentConflict, problem))?,
            Verb::Crd(_) => {}
        }
        Ok(cli)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_its_environment_variable() {
        for verb in Cli::command().get_subcommands() {
            for flag in verb.get_arguments().filter(|flag| flag.get_long().is_some_and(|name| name != "help")) {
                let name = flag.get_long().expect("it has a name");
                let variable = flag.get_env().map(|name| name.to_string_lossy().into_owned());
                assert_eq!(variable, Some(format!("REVOICEIT_{}", name.to_uppercase().replace('-', "_"))), "--{name}");
            }
        }
    }

    #[test]
    fn every_flag_is_explained() {
        for verb in Cli::command().get_subcommands() {
            for flag in verb.get_arguments() {
                assert!(flag.get_help().is_some(), "--{}", flag.get_id());
            }
        }
    }
}
