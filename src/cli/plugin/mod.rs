//! `kubectl revoiceit`: the same program under the name of a kubectl plugin.
//!
//! It does nothing that a person could not do with kubectl, and has no rights of its own: it reads status and the metadata of Secrets, and
//! writes one annotation and one field. No token ever comes to it.

mod access;
mod chain;
mod complete;
mod delivery;
mod doctor;
mod each;
mod flags;
mod paint;
mod rotate;
mod status;
mod suspend;
mod trouble;
mod view;
mod words;

use std::{ffi::OsStr, path::Path, process::ExitCode};

use anyhow::Context as _;
use clap::{CommandFactory, Parser};

use self::access::Access;
pub use self::flags::{ClusterFlags, DoctorArgs, Format, ManArgs, RotateArgs, StatusArgs, SuspendArgs, Which};
use crate::runtime::client::install_tls_provider;

/// The name that kubectl looks for when somebody types `kubectl revoiceit`; also the field manager of what is written.
pub const NAME: &str = "kubectl-revoiceit";
/// The name that kubectl looks for to complete a line that begins with `kubectl revoiceit`.
const COMPLETER: &str = "kubectl_complete-revoiceit";

/// Shows and handles the RevoiceitCredentials of a cluster.
///
/// It works with the rights of whoever calls it: "view" in a namespace is enough to look, "edit" to change. It never reads or prints a token.
#[derive(Parser, Clone, Debug, PartialEq, Eq)]
#[command(name = NAME, bin_name = "kubectl revoiceit", version, max_term_width = 120, arg_required_else_help = true, after_help = flags::EXIT_CODES)]
pub struct Plugin {
    /// How the cluster is reached.
    #[command(flatten)]
    pub cluster: ClusterFlags,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What the plugin can do.
#[derive(clap::Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Shows the way from the credentials to the token, the target Secret and the next attempt.
    ///
    /// The whole namespace when no name is given. It needs the role "view"; who may also read Secrets is told whether they are there, by their metadata alone.
    #[command(after_help = flags::STATUS_EXAMPLES)]
    Status(StatusArgs),
    /// Has new tokens issued now.
    ///
    /// Sets the annotation revoiceit.com/rotate-requested-at to the current time. The old refresh token is revoked some minutes after the new access token is in the target Secret. It needs the role "edit".
    #[command(after_help = flags::ROTATE_EXAMPLES)]
    Rotate(RotateArgs),
    /// Stops the issuing and refreshing of tokens. The token in the target Secret is left to expire.
    ///
    /// Sets spec.suspend to true. It needs the role "edit".
    #[command(after_help = flags::SUSPEND_EXAMPLES)]
    Suspend(SuspendArgs),
    /// Goes on with what was suspended.
    ///
    /// Sets spec.suspend to false. It needs the role "edit".
    #[command(after_help = flags::RESUME_EXAMPLES)]
    Resume(SuspendArgs),
    /// Checks the installation, and says for each finding what to do.
    ///
    /// It is for whoever runs the cluster. A check that the caller has no right to make is named and left out.
    #[command(after_help = flags::DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// Prints a completion script for the command kubectl-revoiceit.
    ///
    /// For "kubectl revoiceit" no script is needed: kubectl asks a program kubectl_complete-revoiceit in the PATH, which is one more link to this one.
    #[command(after_help = flags::COMPLETION_EXAMPLES)]
    Completion {
        /// The shell that is to complete.
        shell: clap_complete::Shell,
    },
    /// Prints a manual page, for man(1).
    #[command(after_help = flags::MAN_EXAMPLES)]
    Man(ManArgs),
}

/// How a command ended that did what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// All is well.
    Good,
    /// Something is not as it should be, and was told.
    Amiss,
}

impl Outcome {
    fn of(is_good: bool) -> Self {
        if is_good { Self::Good } else { Self::Amiss }
    }
}

/// Runs the plugin, if that is what the program was called as.
pub fn run_if_called(args: &[std::ffi::OsString]) -> Option<ExitCode> {
    match called_as(args.first()?) {
        Some(NAME) => Some(run(&Plugin::try_parse_from(args).unwrap_or_else(|error| error.exit()))),
        Some(COMPLETER) => Some(complete::run(args.get(1..).unwrap_or_default())),
        _ => None,
    }
}

/// The name without its folder, and without what Windows adds.
fn called_as(program: &OsStr) -> Option<&str> {
    let name = Path::new(program).file_name()?.to_str()?;
    Some(name.strip_suffix(".exe").unwrap_or(name))
}

/// The command, for the reference.
pub fn command() -> clap::Command {
    Plugin::command()
}

fn run(plugin: &Plugin) -> ExitCode {
    let Plugin { cluster, verb } = plugin;
    let outcome = match verb {
        Verb::Status(args) => asked(cluster, async |access| status::run(access, args).await),
        Verb::Rotate(args) => asked(cluster, async |access| rotate::run(access, args).await),
        Verb::Suspend(args) => asked(cluster, async |access| suspend::run(access, args, true).await),
        Verb::Resume(args) => asked(cluster, async |access| suspend::run(access, args, false).await),
        Verb::Doctor(args) => asked(cluster, async |access| doctor::run(access, args).await),
        Verb::Completion { shell } => words::completion(*shell),
        Verb::Man(args) => words::man(args),
    };
    match outcome {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Amiss) => ExitCode::from(flags::AMISS),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Connects, and does this. There is no log: what kube would write there may hold what it read.
fn asked(cluster: &ClusterFlags, work: impl AsyncFnOnce(&Access) -> anyhow::Result<Outcome>) -> anyhow::Result<Outcome> {
    install_tls_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the async runtime cannot be started")?;
    runtime.block_on(async {
        let access = Access::connect(cluster).await?;
        work(&access).await
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_decides() {
        let table = [
            ("/usr/local/bin/kubectl-revoiceit", Some(NAME)),
            ("kubectl-revoiceit.exe", Some(NAME)),
            ("./kubectl_complete-revoiceit", Some(COMPLETER)),
            ("/revoiceit-operator", Some("revoiceit-operator")),
            ("", None),
        ];
        for (program, name) in table {
            assert_eq!(called_as(OsStr::new(program)), name, "{program}");
        }
        assert!(run_if_called(&["revoiceit-operator".into(), "crd".into()]).is_none());
        assert!(run_if_called(&[]).is_none());
    }

    #[test]
    fn every_flag_is_explained_and_every_verb_has_examples() {
        let command = command();
        for verb in command.get_subcommands() {
            for flag in verb.get_arguments() {
                assert!(flag.get_help().is_some(), "{} --{}", verb.get_name(), flag.get_id());
            }
            let examples = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let call = format!("kubectl revoiceit {}", verb.get_name());
            assert!(examples.starts_with("Examples:\n") && examples.contains(&call), "{}", verb.get_name());
        }
    }

    /// Each line is taken out of the help and read.
    #[test]
    fn the_examples_are_valid() {
        for verb in command().get_subcommands() {
            let examples = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in examples.lines().filter_map(|line| line.trim().strip_prefix("kubectl revoiceit ")) {
                let words = line.split(['#', '>', '|']).next().unwrap_or_default().split_whitespace();
                let read = Plugin::try_parse_from(std::iter::once(NAME).chain(words));
                assert!(read.is_ok(), "{line}: {}", read.expect_err("checked"));
            }
        }
    }
}
