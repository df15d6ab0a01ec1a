//! The reference of the command line: of the operator, and of the plugin of kubectl.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};
use revoiceit_operator::cli::{Cli, plugin};

/// `docs/reference/cli.md`: every verb, and every flag with its environment variable, its default and its text.
pub(crate) fn reference() -> String {
    let command = Cli::command();
    let mut page = format!(
        "# Command line\n\n<!-- Generated from the flags in src/cli. Do not edit: run `make generate`. -->\n\n{} \
         `revoiceit-operator VERB --help` says the same.\n",
        sentences(&command)
    );
    for verb in command.get_subcommands() {
        write_verb(&mut page, verb);
    }
    write_plugin(&mut page, &plugin::command());
    page
}

fn write_plugin(page: &mut String, plugin: &Command) {
    let _ = write!(
        page,
        "\n## `kubectl revoiceit`\n\n{} It is the same program under the name `kubectl-revoiceit`: [how to install it](../kubectl-revoiceit.md).\n\n{}\n",
        sentences(plugin),
        plugin.get_after_help().map(ToString::to_string).unwrap_or_default()
    );
    write_arguments(page, plugin, "For all commands");
    for verb in plugin.get_subcommands() {
        let _ = write!(page, "\n## `kubectl revoiceit {}`\n\n{}\n", verb.get_name(), sentences(verb));
        write_arguments(page, verb, "Arguments and flags");
        let examples = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        let commands = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
        for (title, text) in examples.split("\n\n").filter_map(|part| part.split_once(":\n")) {
            let _ = write!(page, "\n### {title}\n\n```sh\n{}\n```\n", commands(text));
        }
    }
}

fn write_arguments(page: &mut String, command: &Command, title: &str) {
    let _ = write!(page, "\n### {title}\n\n| | default | |\n|---|---|---|\n");
    for arg in command.get_arguments().filter(|arg| !matches!(arg.get_long(), Some("help" | "version"))) {
        let name = if arg.is_positional() { named(arg) } else { spelled(arg) };
        let short = arg.get_short().map(|letter| format!("`-{letter}`, ")).unwrap_or_default();
        let default = if arg.get_action().takes_values() { default(arg) } else { String::new() };
        let _ = writeln!(page, "| {short}`{name}` | {default} | {} |", explained(arg));
    }
}

/// An argument that is known by its place.
fn named(arg: &Arg) -> String {
    let name = arg.get_value_names().and_then(|names| names.first()).map_or_else(|| arg.get_id().to_string(), ToString::to_string);
    if arg.get_num_args().is_some_and(|number| number.max_values() > 1) { format!("{name}…") } else { name }
}

fn write_verb(page: &mut String, verb: &Command) {
    let _ = write!(page, "\n## `revoiceit-operator {}`\n\n{}\n", verb.get_name(), sentences(verb));
    let flags: Vec<&Arg> = verb.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_long() != Some("help")).collect();
    let mut heading = None;
    for flag in flags {
        if flag.get_help_heading() != heading {
            heading = flag.get_help_heading();
            let _ = write!(page, "\n### {}\n\n", heading.unwrap_or("Flags"));
            page.push_str("| flag | environment variable | default | |\n|---|---|---|---|\n");
        }
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            spelled(flag),
            flag.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default(),
            default(flag),
            explained(flag),
        );
    }
}

fn sentences(command: &Command) -> String {
    let text = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    format!("{}.", text.trim_end_matches('.'))
}

fn spelled(flag: &Arg) -> String {
    let name = flag.get_long().unwrap_or(flag.get_id().as_str());
    match flag.get_value_names() {
        Some([value, ..]) if flag.is_require_equals_set() => format!("--{name}={value}"),
        Some([value, ..]) if flag.get_action().takes_values() => format!("--{name} {value}"),
        _ => format!("--{name}"),
    }
}

fn default(flag: &Arg) -> String {
    if !flag.get_action().takes_values() {
        return "`false`".into();
    }
    flag.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect::<Vec<_>>().join(", ")
}

fn explained(flag: &Arg) -> String {
    let text = flag.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<_> = flag.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if values.is_empty() || !flag.get_action().takes_values() || values.iter().any(|value| value == "`true`") {
        return format!("{}.", text.trim_end_matches('.'));
    }
    format!("{}: {}.", text.trim_end_matches('.'), values.join(", "))
}
