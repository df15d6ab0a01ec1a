//! Which histories are run.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::history::{Kind, Report, run};

const QUIET: Kind = Kind { resources: 20, hours: 24, edits: true, faults: false, storms: 0, last: (1, 8), rotates: false, both_lead: true };
/// Something is wrong most of the time, and for less than eight minutes at a time.
const STORMY: Kind = Kind { faults: true, storms: 48, ..QUIET };

/// Runs so many histories of a kind, on all cores; none may have anything to complain of.
fn histories(name: &str, kind: Kind, seeds: u64) -> Report {
    let next = AtomicU64::new(0);
    let total = std::sync::Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    let report = run(kind, seed);
                    let violations = report.violations.iter().map(|violation| format!("seed {seed}: {violation}"));
                    let mut total = total.lock().expect("no history panics with it");
                    total.looks += report.looks;
                    total.expired += report.expired;
                    total.absent += report.absent;
                    total.judged += report.judged;
                    total.issues += report.issues;
                    total.suspects += report.suspects;
                    total.writes += report.writes;
                    total.violations.extend(violations);
                }
            });
        }
    });
    let total = total.into_inner().expect("no history panics with it");
    println!(
        "{name}: {seeds} histories, {} writes, {} issues, {} suspects; of {} looks {} found an expired token and {} none; at {} of them it had to be valid",
        total.writes, total.issues, total.suspects, total.looks, total.expired, total.absent, total.judged
    );
    assert!(
        total.violations.is_empty(),
        "{} violations:\n{}",
        total.violations.len(),
        total.violations[..total.violations.len().min(20)].join("\n")
    );
    assert!(total.judged > total.looks / 5, "{} of {} looks were judged: this shows too little", total.judged, total.looks);
    total
}

/// For each cause one line of tokens, exactly.
#[test]
fn quiet_days() {
    histories("quiet", QUIET, 2);
}

#[test]
fn stormy_days() {
    histories("stormy", STORMY, 2);
}

#[test]
fn stormy_days_of_tokens_that_rotate() {
    histories("stormy, rotating", Kind { rotates: true, ..STORMY }, 2);
}

#[test]
fn stormy_mornings_with_an_election() {
    histories("stormy, elected", Kind { both_lead: false, hours: 6, resources: 10, ..STORMY }, 2);
}

/// For a night. Says what part of the time pods found a valid token.
mod at_night {
    use super::*;

    fn count(default: u64) -> u64 {
        std::env::var("HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(default)
    }

    #[test]
    #[ignore = "minutes"]
    fn days() {
        histories("quiet", QUIET, count(100));
        histories("stormy", STORMY, count(100));
        histories("stormy, rotating", Kind { rotates: true, ..STORMY }, count(100));
        histories("stormy, elected", Kind { both_lead: false, ..STORMY }, count(100) / 4);
    }

    #[test]
    #[ignore = "minutes"]
    fn weeks_of_many() {
        histories("a week of 300", Kind { resources: 300, hours: 7 * 24, storms: 12, ..STORMY }, count(100) / 50);
    }

    /// Revoiceit is away for so long that tokens do expire.
    #[test]
    #[ignore = "minutes"]
    fn long_outages() {
        histories("outages of up to 45 minutes", Kind { faults: false, storms: 12, last: (15, 45), ..QUIET }, count(100));
    }
}

/// What a seed has shown, it shows again.
#[test]
fn a_history_is_the_same_each_time() {
    let kind = Kind { hours: 3, ..STORMY };
    assert_eq!(run(kind, 7), run(kind, 7));
    assert_ne!(run(kind, 7).digest, run(kind, 8).digest);
}

#[test]
#[ignore = "to look at one: SEED=7 KIND=stormy"]
fn one_history() {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).with_test_writer().init();
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let kind = match std::env::var("KIND").as_deref() {
        Ok("quiet") => QUIET,
        Ok("rotating") => Kind { rotates: true, ..STORMY },
        Ok("elected") => Kind { both_lead: false, hours: 6, resources: 10, ..STORMY },
        _ => STORMY,
    };
    println!("{:#?}", run(kind, seed));
}
