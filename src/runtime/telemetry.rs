//! Logs: JSON lines or text on stderr, and never a secret, whatever the level.
//!
//! # Guarantees
//! - Below warnings only this program's own events are logged. Libraries are held to warnings by [`Ceiling`], which no
//!   flag and no `RUST_LOG` lifts: at their finer levels they show headers and bodies.
//! - `kube_client::client` is silent altogether. It warns of answers that do not deserialize *with the whole answer*,
//!   which may be a Secret. What it has to say is in the error that its caller gets.
//! - A panic is logged with its place and, if that is a constant of the program, its text.
//!
//! The warnings of the other libraries in the tree were read for this: none holds content. What this program logs itself
//! is up to its types: secrets are types that cannot be printed, and errors go through
//! [`describe`](super::describe::describe).

use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    io::{IsTerminal, stderr},
    panic,
};

use tracing::{Metadata, Subscriber, error, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::ParseError,
    fmt::MakeWriter,
    layer::{Context, SubscriberExt},
    util::{SubscriberInitExt, TryInitError},
};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// For people; in colours on a terminal.
    Text,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions<'a> {
    /// How lines look.
    pub format: LogFormat,
    /// A level or a list of directives: `--log-level`.
    pub level: &'a str,
    /// `RUST_LOG`, if it is set. Read after `level`, it wins where the two disagree.
    pub rust_log: Option<&'a str>,
    /// Whether text is coloured.
    pub colours: bool,
}

/// Logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `--log-level` or `RUST_LOG` cannot be read.
    #[error(
        "cannot read the log level {given:?}: --log-level takes error, warn, info, debug or trace, \
         or directives such as info,revoiceit_operator::controller=debug; so does RUST_LOG"
    )]
    Level {
        /// What was given.
        given: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// It is set up already.
    #[error("logging is set up already")]
    Twice(#[source] TryInitError),
}

/// Sets up logging for the process, records of the `log` crate included, and the panic hook.
///
/// `level` is a level or a list of directives. `RUST_LOG` is read after it and wins where the two disagree. Both only ever
/// lower what the [`Ceiling`] lets through.
pub fn init(format: LogFormat, level: &str) -> Result<(), TelemetryError> {
    let rust_log = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let options = LogOptions { format, level, rust_log: rust_log.as_deref(), colours };
    subscriber(options, stderr)?.try_init().map_err(TelemetryError::Twice)?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// The subscriber that [`init`] installs, for one that writes somewhere else.
pub fn subscriber<W>(options: LogOptions<'_>, writer: W) -> Result<impl Subscriber + Send + Sync + use<W>, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let LogOptions { format, level, rust_log, colours } = options;
    let given: Vec<&str> = [Some(level), rust_log].into_iter().flatten().filter(|given| !given.is_empty()).collect();
    let given = given.join(",");
    let wanted = EnvFilter::builder().parse(&given).map_err(|source| TelemetryError::Level { given, source })?;
    // The default timer writes UTC.
    let layer = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(writer);
    let layer = match format {
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(true).boxed(),
        LogFormat::Text => layer.boxed(),
    };
    Ok(tracing_subscriber::registry().with(layer).with(wanted).with(Ceiling))
}

/// The most that may be logged of each target.
#[derive(Clone, Copy, Debug)]
pub struct Ceiling;

impl Ceiling {
    /// The finest level of this target. The first entry that is the target or above it counts.
    fn of(target: &str) -> LevelFilter {
        let entries = [
            ("revoiceit_operator", LevelFilter::TRACE),
            // A CA that is not re-read, and certificates that are not checked: worth a warning, and only the path is told.
            ("kube_client::client::tls", LevelFilter::WARN),
            ("kube_client::client", LevelFilter::OFF),
            // An error for each connection that fails, which its caller gets as well.
            ("rustls_platform_verifier", LevelFilter::OFF),
        ];
        let above = |path: &str| target.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        entries.into_iter().find(|(path, _)| above(path)).map_or(LevelFilter::WARN, |(_, level)| level)
    }
}

impl<S: Subscriber> Layer<S> for Ceiling {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= Self::of(metadata.target())
    }
}

fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let text = constant_text(info.payload());
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    if !tracing::dispatcher::has_been_set() {
        eprintln!("panic at {place}: {text}");
        return;
    }
    // A backtrace is names and places, no values. Captured only when RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(backtrace));
    error!(place, thread, text, backtrace, "panic");
}

/// The text of a panic if it is a constant. One that was put together may quote what could not be parsed.
fn constant_text(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("(text not shown: it may hold a secret)")
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::{Value, json};
    use tracing::{debug, debug_span, info, info_span, subscriber::with_default, trace, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: &str, rust_log: Option<&str>, doing: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let writer = {
            let buffer = buffer.clone();
            move || buffer.clone()
        };
        let options = LogOptions { format, level, rust_log, colours: false };
        with_default(subscriber(options, writer).expect("a good level"), doing);
        String::from_utf8(buffer.0.lock().expect("not poisoned").clone()).expect("text")
    }

    #[test]
    fn no_level_makes_libraries_show_content() {
        let noise = || {
            let body = "hunter2";
            // What kube really does with an answer that does not deserialize.
            warn!(target: "kube_client::client", "{body}");
            error!(target: "kube_client::client", "{body}");
            error!(target: "kube_client::client::builder", "{body}");
            info!(target: "kube_client", "{body}");
            debug!(target: "kube_runtime::watcher", "{body}");
            trace!(target: "hyper::proto::h1::role", "{body}");
            debug!(target: "hyper_util::client::legacy::pool", "{body}");
            info!(target: "tower_http::trace::on_request", "{body}");
            trace!(target: "reqwest::connect::verbose", "{body}");
            trace!(target: "h2::codec::framed_write", "{body}");
            info!(target: "revoiceit_operator_impostor", "{body}");
            info!(target: "log", "{body}");
            let span = debug_span!(target: "kube_client::client::builder", "HTTP", http.url = body);
            span.in_scope(|| warn!("inside"));
            let span = tracing::trace_span!(target: "rustls", "handshake", body);
            span.in_scope(|| warn!("inside"));
        };
        let log_noise = || {
            let body = "hunter2";
            log::error!(target: "kube_client::client", "{body}");
            log::info!(target: "rustls::client::hs", "{body}");
            log::trace!(target: "reqwest::connect::verbose", "{body}");
            log::debug!(target: "log", "{body}");
        };
        let _ = tracing_log::LogTracer::init();
        for rust_log in [
            "trace",
            "kube_client::client=trace,kube_client=trace,hyper=trace,hyper_util=trace,rustls=trace,reqwest=trace,log=trace",
            "[HTTP]=trace",
            "trace,[HTTP{http.url=hunter2}]=trace",
        ] {
            for format in [LogFormat::Json, LogFormat::Text] {
                let text = logged(format, "trace", Some(rust_log), || {
                    noise();
                    log_noise();
                });
                assert!(text.contains("inside") && !text.contains("hunter2"), "{rust_log}: {text}");
            }
        }
    }

    #[test]
    fn warnings_of_libraries_and_everything_of_our_own_are_logged() {
        let _ = tracing_log::LogTracer::init();
        let text = logged(LogFormat::Text, "trace", None, || {
            warn!(target: "kube_runtime::watcher", "one");
            log::warn!(target: "rustls::common_state", "two");
            warn!(target: "kube_client::client::tls", "three");
            trace!("four");
        });
        for (line, words) in
            text.lines().zip(["kube_runtime::watcher: one", "rustls::common_state: two", "tls: three", "telemetry::tests: four"])
        {
            assert!(line.ends_with(words), "{line:?} does not end with {words:?}");
        }
        assert_eq!(text.lines().count(), 4, "{text}");
    }

    #[test]
    fn rust_log_wins_over_the_flag() {
        let lines = |level, rust_log| {
            logged(LogFormat::Text, level, rust_log, || {
                debug!("fine");
                info!("coarse");
            })
            .lines()
            .count()
        };
        assert_eq!(lines("info", None), 1);
        assert_eq!(lines("info", Some("")), 1);
        assert_eq!(lines("info", Some("debug")), 2);
        assert_eq!(lines("debug", Some("warn")), 0);
        assert_eq!(lines("warn,revoiceit_operator::runtime=debug", None), 2);
        let error = subscriber(LogOptions { format: LogFormat::Json, level: "loud=loud", rust_log: None, colours: false }, stderr)
            .err()
            .expect("not a level");
        assert!(error.to_string().starts_with("cannot read the log level \"loud=loud\": --log-level takes error, warn, "), "{error}");
    }

    #[test]
    fn a_json_line_has_the_fields_of_its_spans_and_the_time_in_utc() {
        let text = logged(LogFormat::Json, "info", None, || {
            info_span!("pass", id = "p1", resource = "team-a/speech").in_scope(|| info!(call = "refresh", took_ms = 12, "answered"));
        });
        let mut line: Value = serde_json::from_str(&text).expect("one line of JSON");
        let time = line.as_object_mut().and_then(|line| line.remove("timestamp")).expect("a timestamp");
        assert!(time.as_str().is_some_and(|time| time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok()), "{time}");
        let expected = json!({
            "level": "INFO",
            "target": "revoiceit_operator::runtime::telemetry::tests",
            "message": "answered",
            "call": "refresh",
            "took_ms": 12,
            "spans": [{"name": "pass", "id": "p1", "resource": "team-a/speech"}],
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn only_constant_texts_of_panics_are_shown() {
        let text = |panics: fn()| {
            let payload = panic::catch_unwind(panics).expect_err("it panics");
            constant_text(payload.as_ref())
        };
        assert_eq!(text(|| panic!("no such act")), "no such act");
        assert_eq!(text(|| assert!("hunter2".parse::<u32>().expect("a number") > 0)), "(text not shown: it may hold a secret)");
        assert_eq!(text(|| panic::panic_any(7)), "(text not shown: it may hold a secret)");
    }
}
