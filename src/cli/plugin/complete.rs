//! Completion of `kubectl revoiceit …`: kubectl runs `kubectl_complete-revoiceit` with the words of the line, the last one being the one to
//! complete, and reads candidates, one a line, and a number that says what the shell is to do with them.

use std::{ffi::OsString, process::ExitCode, time::Duration};

use clap::{Arg, Command, Parser};
use kube::ResourceExt;
use tokio::time::timeout;

use super::{ClusterFlags, access::Access, command, paint::say};
use crate::runtime::client::install_tls_provider;

/// No files are among what can be given (`ShellCompDirectiveNoFileComp` of cobra, which kubectl is made with).
const NO_FILES: u8 = 4;
/// The shell completes names of files (`ShellCompDirectiveDefault`).
const FILES: u8 = 0;
/// Somebody waits at a prompt.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn run(words: &[OsString]) -> ExitCode {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let (candidates, directive) = match wanted(&command(), &words) {
        Wanted::These(candidates) => (candidates, NO_FILES),
        Wanted::Resources { partial } => (resources(&words).into_iter().filter(|name| name.starts_with(&partial)).collect(), NO_FILES),
        Wanted::File => (Vec::new(), FILES),
    };
    let lines: String = candidates.iter().map(|candidate| format!("{candidate}\n")).collect();
    // At a prompt nobody could read why.
    if say(&format!("{lines}:{directive}\n")).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What can stand in place of the last word.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// One of these; each may have a description behind a tab.
    These(Vec<String>),
    /// The name of a resource that begins so.
    Resources { partial: String },
    /// The name of a file.
    File,
}

fn wanted(plugin: &Command, words: &[String]) -> Wanted {
    let (partial, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let verb = before.iter().find_map(|word| plugin.find_subcommand(word));
    let flags = || plugin.get_arguments().chain(verb.into_iter().flat_map(Command::get_arguments));
    let valued =
        before.last().and_then(|word| flags().find(|flag| spellings(flag).contains(word))).filter(|flag| flag.get_action().takes_values());
    let beginning =
        |candidates: Vec<String>| Wanted::These(candidates.into_iter().filter(|candidate| candidate.starts_with(partial)).collect());
    if let Some(flag) = valued {
        return match flag.get_id().as_str() {
            "kubeconfig" => Wanted::File,
            _ => beginning(values(flag)),
        };
    }
    if partial.starts_with('-') {
        return beginning(flags().flat_map(|flag| described(flag.get_long().map(|name| format!("--{name}")), flag.get_help())).collect());
    }
    let Some(verb) = verb else {
        return beginning(
            plugin.get_subcommands().flat_map(|verb| described(Some(verb.get_name().to_owned()), verb.get_about())).collect(),
        );
    };
    match verb.get_positionals().next() {
        Some(argument) if argument.get_id() == "name" || argument.get_id() == "names" => Wanted::Resources { partial: partial.to_owned() },
        Some(argument) if argument.get_id() == "command" => {
            beginning(plugin.get_subcommands().map(|verb| verb.get_name().to_owned()).collect())
        }
        Some(argument) => beginning(values(argument)),
        None => Wanted::These(Vec::new()),
    }
}

fn spellings(flag: &Arg) -> Vec<String> {
    let long = flag.get_long().map(|name| format!("--{name}"));
    long.into_iter().chain(flag.get_short().map(|letter| format!("-{letter}"))).collect()
}

fn values(flag: &Arg) -> Vec<String> {
    flag.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect()
}

fn described(name: Option<String>, help: Option<&clap::builder::StyledStr>) -> Option<String> {
    let name = name?;
    Some(match help {
        Some(help) => format!("{name}\t{}", help.to_string().lines().next().unwrap_or_default()),
        None => name,
    })
}

/// Their names, if they can be had: at a prompt, silence is the better error.
fn resources(words: &[String]) -> Vec<String> {
    install_tls_provider();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let listed = async {
        let access = Access::connect(&cluster_flags(words)).await.ok()?;
        let resources = access.resources(Some(&access.namespace), None).await.ok()?;
        Some(resources.iter().map(ResourceExt::name_any).collect())
    };
    runtime.block_on(async { timeout(PATIENCE, listed).await }).ok().flatten().unwrap_or_default()
}

/// Those flags on the line that say which cluster is meant; the rest may be half typed.
fn cluster_flags(words: &[String]) -> ClusterFlags {
    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        cluster: ClusterFlags,
    }
    let mut args = vec![String::new()];
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let name = word.split('=').next().unwrap_or_default();
        if matches!(name, "-n" | "--namespace" | "--context" | "--kubeconfig") {
            args.push(word.clone());
            if !word.contains('=') {
                args.extend(words.next().cloned());
            }
        }
    }
    match Flags::try_parse_from(args) {
        Ok(flags) => flags.cluster,
        Err(_) => ClusterFlags { namespace: None, context: None, kubeconfig: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Wanted {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match wanted(&command(), &words) {
            Wanted::These(candidates) => {
                Wanted::These(candidates.iter().map(|candidate| candidate.split('\t').next().unwrap_or_default().to_owned()).collect())
            }
            other => other,
        }
    }

    fn these(candidates: &[&str]) -> Wanted {
        Wanted::These(candidates.iter().map(|&candidate| candidate.to_owned()).collect())
    }

    #[test]
    fn what_can_stand_there_is_offered() {
        assert_eq!(of("s"), these(&["status", "suspend"]));
        assert_eq!(of("-n team-a ro"), these(&["rotate"]));
        assert_eq!(of("rotate --w"), these(&["--wait"]));
        assert_eq!(of("status --co"), these(&["--context"]));
        assert_eq!(of("status -o "), these(&["text", "json", "yaml"]));
        assert_eq!(of("completion z"), these(&["zsh"]));
        assert_eq!(of("man res"), these(&["resume"]));
        assert_eq!(of("status --kubeconfig "), Wanted::File);
        assert_eq!(of("rotate --wait sp"), Wanted::Resources { partial: "sp".into() });
        assert_eq!(of("doctor x"), these(&[]));
    }

    #[test]
    fn the_flags_that_name_the_cluster_are_found_among_others() {
        let words = ["rotate", "--wait", "-n", "team-a", "--kubeconfig=/k", "--tim"].map(str::to_owned);
        let flags = ClusterFlags { namespace: Some("team-a".into()), context: None, kubeconfig: Some("/k".into()) };
        assert_eq!(cluster_flags(&words), flags);
    }
}
