//! `kubectl revoiceit completion` and `man`: what is made from the flags.

use anyhow::{Context as _, bail};
use clap::Command;
use clap_complete::Shell;

use super::{NAME, Outcome, command, flags::ManArgs, paint::say};

pub(super) fn completion(shell: Shell) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command().bin_name(NAME), NAME, &mut script);
    say(&String::from_utf8(script).context("a script that is not UTF-8")?)?;
    Ok(Outcome::Good)
}

pub(super) fn man(args: &ManArgs) -> anyhow::Result<Outcome> {
    say(&page(args.command.as_deref())?)?;
    Ok(Outcome::Good)
}

/// The manual page of the plugin, or of one command.
fn page(of: Option<&str>) -> anyhow::Result<String> {
    let mut plugin = command();
    plugin.build();
    let page = match of {
        None => plugin.display_name(NAME),
        Some(name) => match plugin.find_subcommand(name) {
            Some(verb) => verb.clone().display_name(format!("{NAME}-{name}")),
            None => bail!("there is no command \"{name}\": there are {}", verbs(&plugin)),
        },
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text).context("cannot write the page")?;
    String::from_utf8(text).context("a page that is not UTF-8")
}

fn verbs(plugin: &Command) -> String {
    plugin.get_subcommands().map(Command::get_name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_with_its_examples() {
        for verb in ["status", "rotate", "suspend", "resume", "doctor"] {
            let page = page(Some(verb)).expect("it has one");
            assert!(
                page.contains(&format!(".TH kubectl\\-revoiceit\\-{verb} 1")) || page.contains(&format!(".TH kubectl-revoiceit-{verb} 1")),
                "{page}"
            );
            assert!(page.contains("Examples:"), "{page}");
        }
        assert!(page(None).expect("the plugin has one").contains("doctor"));
        let told = page(Some("rotat")).expect_err("no such command").to_string();
        assert!(told.starts_with("there is no command \"rotat\": there are status, rotate, suspend,"), "{told}");
    }

    #[test]
    fn a_script_completes_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command().bin_name(NAME), NAME, &mut script);
            let script = String::from_utf8(script).expect("UTF-8");
            assert!(script.contains(NAME) && script.contains("doctor") && script.contains("operator-namespace"), "{shell}");
        }
    }
}
