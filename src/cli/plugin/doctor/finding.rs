//! What a check says: that all is well, what is amiss and what to do about it, or why it could not be made.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::plugin::{
    paint::{Mark, Paint, plain},
    trouble::Trouble,
};

/// Of what is found again and again, so many are named.
const MOST: usize = 10;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Check {
    pub(super) name: &'static str,
    /// What was seen, in a word.
    pub(super) seen: String,
    pub(super) findings: Vec<Finding>,
    /// Why it was not made, or not wholly.
    pub(super) not_checked: Vec<String>,
}

/// Something is amiss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) what: String,
    pub(super) advice: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Level {
    /// Tokens are missing, will be, or are at risk.
    Problem,
    /// It works, and somebody should know.
    Warning,
}

impl Check {
    pub(super) fn new(name: &'static str, seen: impl Into<String>) -> Self {
        Self { name, seen: seen.into(), findings: Vec::new(), not_checked: Vec::new() }
    }

    pub(super) fn problem(&mut self, what: impl Into<String>, advice: impl Into<String>) {
        self.findings.push(Finding { level: Level::Problem, what: what.into(), advice: advice.into() });
    }

    pub(super) fn warning(&mut self, what: impl Into<String>, advice: impl Into<String>) {
        self.findings.push(Finding { level: Level::Warning, what: what.into(), advice: advice.into() });
    }

    pub(super) fn skip(&mut self, why: &Trouble) {
        self.skip_as(why.to_string());
    }

    pub(super) fn skip_as(&mut self, why: impl Into<String>) {
        let why = why.into();
        if !self.not_checked.contains(&why) {
            self.not_checked.push(why);
        }
    }
}

/// All checks, and the sum.
pub(super) fn report(checks: &[Check], paint: Paint) -> String {
    let mut text = String::new();
    let mut line = |mark: Mark, name: &str, what: &str| {
        let _ = writeln!(text, "{} {name:<11}  {}", paint.mark(mark), plain(what));
    };
    for Check { name, seen, findings, not_checked } in checks {
        for Finding { level, what, advice } in findings.iter().take(MOST) {
            line(if *level == Level::Problem { Mark::Bad } else { Mark::Warning }, name, what);
            line(Mark::Advice, "", advice);
        }
        if findings.len() > MOST {
            line(Mark::Bad, name, &format!("… and {} more; -o json names all", findings.len() - MOST));
        }
        for why in not_checked {
            line(Mark::Unknown, name, &format!("not checked: {why}"));
        }
        if findings.is_empty() && not_checked.is_empty() {
            line(Mark::Good, name, seen);
        }
    }
    text.push_str(&sum(checks));
    text
}

fn sum(checks: &[Check]) -> String {
    let count = |level: Level| checks.iter().flat_map(|check| &check.findings).filter(|finding| finding.level == level).count();
    let skipped = checks.iter().filter(|check| !check.not_checked.is_empty()).count();
    let skipped = if skipped == 0 { String::new() } else { format!(" Checks that could not be made, or not wholly: {skipped}.") };
    match (count(Level::Problem), count(Level::Warning)) {
        (0, 0) => format!("Nothing amiss was found.{skipped}\n"),
        (problems, warnings) => format!("Problems: {problems}, warnings: {warnings}.{skipped}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_stands_with_what_to_do() {
        let mut bad = Check::new("crd", "unseen");
        bad.problem("It is gone.", "Bring it back.");
        bad.warning("It is old.", "Renew it.");
        let mut dark = Check::new("metrics", "unseen");
        dark.skip_as("no right");
        dark.skip_as("no right");
        let good = Check::new("lease", "held by x");
        assert_eq!(
            report(&[bad, dark, good.clone()], Paint::OFF),
            "✗ crd          It is gone.\n→              Bring it back.\n! crd          It is old.\n→              Renew it.\n\
             ? metrics      not checked: no right\n✓ lease        held by x\n\
             Problems: 1, warnings: 1. Checks that could not be made, or not wholly: 1.\n"
        );
        assert_eq!(report(&[good], Paint::OFF), "✓ lease        held by x\nNothing amiss was found.\n");
    }

    #[test]
    fn what_is_found_again_and_again_is_counted() {
        let mut check = Check::new("resources", "");
        for number in 0..MOST + 2 {
            check.problem(format!("team-a/speech-{number}"), "Act.");
        }
        let text = report(&[check], Paint::OFF);
        assert_eq!(text.lines().count(), 2 * MOST + 2);
        assert!(text.ends_with("✗ resources    … and 2 more; -o json names all\nProblems: 12, warnings: 0.\n"), "{text}");
    }
}
