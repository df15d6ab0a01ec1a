//! What one sees: narration, commands and their output, and a sign of life while something is waited for.

use std::fmt::{Display, Write as _};
use std::io::{IsTerminal, Write as _};
use std::pin::pin;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, interval, sleep};

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const RED: &str = "31";
const CYAN: &str = "36";

/// Stands before everything but marks and times.
const MARGIN: &str = "    ";
/// How wide a line is at most, and how wide it may have to be at least: a terminal's own width counts in between.
const WIDTH: usize = 96;
const NARROWEST: usize = 40;

/// How long one may read what a command printed: so long, and so long for each line, but not longer.
const READING: Duration = Duration::from_millis(700);
const READING_LINE: Duration = Duration::from_millis(150);
const READING_MOST: Duration = Duration::from_millis(3_500);

/// Shown one after the other while something is waited for.
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const SPINNER_EVERY: Duration = Duration::from_millis(100);
/// How often a file, which cannot show a spinner, gets a line instead.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Standard output. Colours and the spinner are for terminals alone; `NO_COLOR` and `TERM=dumb` are respected.
#[derive(Debug)]
pub(crate) struct Screen {
    began: Instant,
    is_terminal: bool,
    has_colours: bool,
}

impl Screen {
    /// From now on times are counted.
    pub(crate) fn new() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let is_terminal = std::io::stdout().is_terminal() && !is_dumb;
        Self { began: Instant::now(), is_terminal, has_colours: is_terminal && !is_set("NO_COLOR") }
    }

    /// A headline with the time that has passed since the start.
    pub(crate) fn step(&self, headline: &str) {
        let seconds = self.began.elapsed().as_secs();
        let time = format!("{}:{:02}", seconds / 60, seconds % 60);
        let rule = "─".repeat(self.width().saturating_sub(time.len() + headline.chars().count() + 2));
        self.print(&format!("\n\n{} {} {}\n", self.paint(DIM, time), self.paint(BOLD, headline), self.paint(DIM, rule)));
    }

    /// What this is.
    pub(crate) fn title(&self, title: &str, text: &str) {
        self.print(&format!("\n{MARGIN}{}\n{}", self.paint(BOLD, title), self.filled(text)));
    }

    /// Narration, after an empty line. Its lines are broken where they are too long.
    pub(crate) fn say(&self, text: &str) {
        self.print(&format!("\n{}", self.filled(text)));
    }

    /// A command, as one would type it.
    pub(crate) fn command(&self, command: &str) {
        let mut lines = command.lines();
        let first = lines.next().unwrap_or_default();
        let mut text = format!("\n{MARGIN}{} {}\n", self.paint(DIM, "$"), self.paint(CYAN, first));
        for line in lines {
            let _ = writeln!(text, "{MARGIN}  {}", self.paint(CYAN, line));
        }
        self.print(&text);
    }

    /// What a command printed, or a part of a log.
    pub(crate) fn output(&self, text: &str) {
        let width = if self.is_terminal { self.width() } else { usize::MAX };
        self.print(&folded(&indented(text), width));
    }

    /// Gives whoever sits at a terminal the time to read this text.
    pub(crate) async fn read(&self, text: &str) {
        if self.is_terminal {
            let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
            sleep(READING.saturating_add(READING_LINE.saturating_mul(lines)).min(READING_MOST)).await;
        }
    }

    /// Something was done or is as it should be.
    pub(crate) fn good(&self, text: impl Display) {
        self.marked(GREEN, "✓", &text.to_string());
    }

    /// Something is not as it should be.
    pub(crate) fn bad(&self, text: &str) {
        self.print("\n");
        self.marked(RED, "✗", text);
    }

    fn marked(&self, colour: &str, mark: &str, text: &str) {
        self.print(&format!("  {} {}", self.paint(colour, mark), self.filled(text).trim_start()));
    }

    /// Waits for `work`. Meanwhile a terminal shows what `what` says, and a file gets it as a line now and then.
    pub(crate) async fn wait<T>(&self, what: impl Fn() -> String, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut ticks = interval(if self.is_terminal { SPINNER_EVERY } else { LINE_EVERY });
        ticks.tick().await;
        for frame in SPINNER.iter().cycle() {
            tokio::select! {
                result = &mut work => {
                    if self.is_terminal {
                        self.print("\r\x1b[K");
                    }
                    return result;
                }
                _ = ticks.tick() => {
                    let text = what();
                    self.print(&if self.is_terminal {
                        // A line that is broken could not be taken back.
                        let text: String = text.chars().take(self.width() - MARGIN.len() - 1).collect();
                        format!("\r  {} {text}\x1b[K", self.paint(CYAN, frame))
                    } else {
                        format!("  … {text}\n")
                    });
                }
            }
        }
        unreachable!("a cycle has no end")
    }

    /// Asks whoever sits at a terminal for Enter. Where there is none, goes on.
    pub(crate) async fn confirm(&self, question: &str) {
        if !self.is_terminal || !std::io::stdin().is_terminal() {
            return;
        }
        self.print("\n");
        self.marked(CYAN, "?", question);
        self.print(MARGIN);
        let (answer, answered) = oneshot::channel();
        // Not a task of the runtime: that would wait for it in the end, and nobody need ever answer.
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_line(&mut String::new());
            let _ = answer.send(());
        });
        let _ = answered.await;
    }

    /// Leaves the line that a spinner was on when its wait was given up.
    pub(crate) fn interrupted(&self) {
        if self.is_terminal {
            self.print("\r\x1b[K");
        }
    }

    fn paint(&self, colour: &str, text: impl Display) -> String {
        if self.has_colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// How long a line may be here and now.
    fn width(&self) -> usize {
        let size = self.is_terminal.then(|| rustix::termios::tcgetwinsize(std::io::stdout()).ok()).flatten();
        let columns = size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
        columns.unwrap_or(WIDTH).clamp(NARROWEST, WIDTH)
    }

    /// The text with the margin before each line, and its lines broken between words. Commands stay as they are.
    fn filled(&self, text: &str) -> String {
        let mut whole = String::new();
        for line in text.trim_end().lines() {
            if line.starts_with("kubectl ") {
                let _ = writeln!(whole, "{MARGIN}{line}");
                continue;
            }
            let mut filled = String::new();
            for word in line.split(' ') {
                if !filled.is_empty() && MARGIN.len() + filled.chars().count() + 1 + word.chars().count() > self.width() {
                    let _ = writeln!(whole, "{MARGIN}{filled}");
                    filled.clear();
                } else if !filled.is_empty() {
                    filled.push(' ');
                }
                filled.push_str(word);
            }
            let _ = writeln!(whole, "{}", format!("{MARGIN}{filled}").trim_end());
        }
        whole
    }

    /// Whoever reads may have gone, as `head` does. That is no reason to stop halfway and leave things behind.
    #[expect(clippy::unused_self, reason = "there is one screen")]
    fn print(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }
}

/// The text with the margin before each line that is not empty.
fn indented(text: &str) -> String {
    let mut whole = String::new();
    for line in text.trim_end().lines() {
        let _ = writeln!(whole, "{}", format_args!("{MARGIN}{line}").to_string().trim_end());
    }
    whole
}

/// The text with what does not fit into a line of this width in further ones, a little more to the right.
fn folded(text: &str, width: usize) -> String {
    let mut whole = String::new();
    for line in text.lines() {
        let further = " ".repeat((line.len() - line.trim_start().len() + 2).min(NARROWEST / 2));
        let mut rest: Vec<char> = line.chars().collect();
        while rest.len() > width {
            // Between words, unless a word is very long.
            let end = rest[..=width].iter().rposition(|letter| *letter == ' ').filter(|end| *end > width / 2).unwrap_or(width);
            let first: String = rest.drain(..end).collect();
            let _ = writeln!(whole, "{first}");
            rest = further.chars().chain(rest.into_iter().skip_while(|letter| *letter == ' ')).collect();
        }
        let _ = writeln!(whole, "{}", rest.iter().collect::<String>());
    }
    whole
}

/// A duration for people: `0.4 s`, `12 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 9.95 { format!("{seconds:.1} s") } else { format!("{seconds:.0} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_broken_between_words_and_keeps_all_its_letters() {
        let text = "    one two three four five six\n    12345678901234567890123456789\n";
        let broken = "    one two three\n      four five six\n    1234567890123456\n      7890123456789\n";
        assert_eq!(folded(text, 20), broken);
        assert_eq!(folded(text, usize::MAX), text);
    }
}
