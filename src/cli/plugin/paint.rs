//! What is written to a terminal: colours, times as people say them, and nothing that a terminal would obey.

use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};

/// Colours, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paint {
    is_on: bool,
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// As it should be.
    Good,
    /// It will be, without anybody's doing.
    Pending,
    /// A person should know.
    Warning,
    /// A person has to act.
    Bad,
    /// It could not be found out.
    Unknown,
    /// What to do.
    Advice,
}

impl Mark {
    fn symbol(self) -> (&'static str, u8) {
        match self {
            Self::Good => ("✓", 32),
            Self::Pending => ("…", 36),
            Self::Warning => ("!", 33),
            Self::Bad => ("✗", 31),
            Self::Unknown => ("?", 35),
            Self::Advice => ("→", 36),
        }
    }
}

impl Paint {
    #[cfg(test)]
    pub(super) const OFF: Self = Self { is_on: false };
    #[cfg(test)]
    pub(super) const ON: Self = Self { is_on: true };

    /// For standard output: on a terminal, unless `NO_COLOR` says otherwise.
    pub(super) fn for_stdout() -> Self {
        Self::of(io::stdout().is_terminal(), |name| std::env::var(name).ok())
    }

    fn of(is_terminal: bool, env: impl Fn(&str) -> Option<String>) -> Self {
        let is_refused = env("NO_COLOR").is_some_and(|value| !value.is_empty()) || env("TERM").is_some_and(|term| term == "dumb");
        Self { is_on: is_terminal && !is_refused }
    }

    pub(super) fn mark(self, mark: Mark) -> String {
        let (symbol, colour) = mark.symbol();
        self.with(colour, symbol)
    }

    /// In the colour of a mark.
    pub(super) fn like(self, mark: Mark, text: &str) -> String {
        self.with(mark.symbol().1, text)
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.with(1, text)
    }

    fn with(self, code: u8, text: &str) -> String {
        if self.is_on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Text that comes from the cluster, without what a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// How long it is from one time to the other, in its two largest units.
pub(super) fn span(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).abs().as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) if minutes < 5 && seconds > 0 => format!("{minutes}m{seconds}s"),
        (0, 0, minutes, _) => format!("{minutes}m"),
        (0, hours, 0, _) => format!("{hours}h"),
        (0, hours, minutes, _) => format!("{hours}h{minutes}m"),
        (days, 0, ..) => format!("{days}d"),
        (days, hours, ..) => format!("{days}d{hours}h"),
    }
}

/// A time in whole seconds.
pub(super) fn time(time: Timestamp) -> String {
    time.round(jiff::Unit::Second).unwrap_or(time).to_string()
}

/// Whether clocks that are read to the second differ by more than this.
pub(super) fn differ(a: Timestamp, b: Timestamp, by: SignedDuration) -> bool {
    a.duration_since(b).abs() > by
}

/// Prints to standard output. That nobody is left to read it is no error.
pub(super) fn say(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("the output cannot be written"),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        let of = |is_terminal, name: &'static str, value: &'static str| {
            Paint::of(is_terminal, move |asked| (asked == name).then(|| value.to_owned())).is_on
        };
        assert!(of(true, "TERM", "xterm") && of(true, "NO_COLOR", ""));
        assert!(!of(false, "TERM", "xterm") && !of(true, "NO_COLOR", "1") && !of(true, "TERM", "dumb"));
        assert_eq!((Paint::ON.mark(Mark::Good), Paint::OFF.mark(Mark::Bad)), ("\u{1b}[32m✓\u{1b}[0m".into(), "✗".into()));
    }

    #[test]
    fn times_are_told_in_two_units() {
        let seconds = |seconds| Timestamp::from_second(seconds).expect("a time");
        let table = [
            (0, "0s"),
            (59, "59s"),
            (61, "1m1s"),
            (120, "2m"),
            (301, "5m"),
            (3600, "1h"),
            (3900, "1h5m"),
            (86_400, "1d"),
            (180_000, "2d2h"),
        ];
        for (number, text) in table {
            assert_eq!((span(seconds(0), seconds(number)).as_str(), span(seconds(number), seconds(0)).as_str()), (text, text));
        }
    }

    #[test]
    fn a_terminal_is_told_nothing_that_it_would_obey() {
        assert_eq!(plain("a\u{1b}[2Jb\nc"), "a [2Jb c");
    }
}
