//! Which histories are run.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use revoiceit_operator::controller::Limits;

use crate::history::{Kind, Report, run};

pub(crate) const QUIET: Kind = Kind {
    resources: 20,
    hours: 24,
    edits: true,
    faults: false,
    storms: 0,
    last: (1, 8),
    rotates: false,
    old_lives: false,
    both_lead: true,
    limits: Limits { qps: 50, burst: 100, in_flight: 16 },
};
/// Something is wrong most of the time, and for less than eight minutes at a time.
const STORMY: Kind = Kind { faults: true, storms: 48, ..QUIET };
const ROTATING: Kind = Kind { rotates: true, ..STORMY };
/// Two tokens of a line are then alive at once, and only a revocation ends the first.
const OLD_LIVES: Kind = Kind { old_lives: true, ..ROTATING };
const OUTAGES: Kind = Kind { faults: false, storms: 12, last: (15, 45), ..QUIET };

/// Runs a history of this kind for each seed, on all cores; none may have anything to complain of.
fn histories(name: &str, kind: Kind, seeds: Range<u64>) -> Report {
    let next = AtomicU64::new(seeds.start);
    let total = std::sync::Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
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
                    total.unknown += report.unknown;
                    total.writes += report.writes;
                    total.violations.extend(violations);
                }
            });
        }
    });
    let total = total.into_inner().expect("no history panics with it");
    println!(
        "{name}: histories {seeds:?}, {} writes, {} issues, {} suspects, {} unknown; of {} looks {} found an expired token and {} none; at {} of them it had to be valid",
        total.writes, total.issues, total.suspects, total.unknown, total.looks, total.expired, total.absent, total.judged
    );
    assert!(
        total.violations.is_empty(),
        "{} violations:\n{}",
        total.violations.len(),
        total.violations[..total.violations.len().min(20)].join("\n")
    );
    let histories = seeds.end - seeds.start;
    assert!(total.unknown <= histories.div_ceil(20), "of {} tokens in {histories} histories nobody can know", total.unknown);
    assert!(total.judged > total.looks / 5, "{} of {} looks were judged: this shows too little", total.judged, total.looks);
    total
}

/// For each cause one line of tokens, exactly.
#[test]
fn quiet_days() {
    histories("quiet", QUIET, 0..2);
}

#[test]
fn stormy_days() {
    histories("stormy", STORMY, 0..2);
}

#[test]
fn stormy_days_of_tokens_that_rotate() {
    histories("stormy, rotating", ROTATING, 0..2);
}

#[test]
fn stormy_mornings_of_tokens_whose_predecessors_live_on() {
    histories("stormy, the old live on", Kind { hours: 6, ..OLD_LIVES }, 0..2);
}

#[test]
fn stormy_mornings_with_an_election() {
    histories("stormy, elected", Kind { both_lead: false, hours: 6, resources: 10, ..STORMY }, 0..2);
}

/// For a night. Says what part of the time pods found a valid token.
mod at_night {
    use super::*;

    /// The seeds `FROM` up to `FROM` + `HISTORIES`, in parts: a night of thousands can be shared out.
    fn seeds(part: u64) -> Range<u64> {
        let number = |name: &str, default| std::env::var(name).map_or(default, |number| number.parse().expect("a number"));
        let from = number("FROM", 0);
        from..from + number("HISTORIES", 100).div_ceil(part)
    }

    #[test]
    #[ignore = "minutes"]
    fn quiet_days() {
        histories("quiet", QUIET, seeds(1));
    }

    #[test]
    #[ignore = "minutes"]
    fn stormy_days() {
        histories("stormy", STORMY, seeds(1));
    }

    #[test]
    #[ignore = "minutes"]
    fn stormy_days_of_tokens_that_rotate() {
        histories("stormy, rotating", ROTATING, seeds(1));
    }

    #[test]
    #[ignore = "minutes"]
    fn stormy_days_of_tokens_whose_predecessors_live_on() {
        histories("stormy, the old live on", OLD_LIVES, seeds(1));
    }

    #[test]
    #[ignore = "minutes"]
    fn stormy_days_with_an_election() {
        histories("stormy, elected", Kind { both_lead: false, ..STORMY }, seeds(4));
    }

    #[test]
    #[ignore = "minutes"]
    fn weeks_of_many() {
        histories("a week of 300", Kind { resources: 300, hours: 7 * 24, storms: 12, ..STORMY }, seeds(50));
    }

    /// Revoiceit is away for so long that tokens do expire.
    #[test]
    #[ignore = "minutes"]
    fn long_outages() {
        histories("outages of up to 45 minutes", OUTAGES, seeds(1));
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
        Ok("outages") => OUTAGES,
        Ok("rotating") => ROTATING,
        Ok("old lives") => OLD_LIVES,
        Ok("elected") => Kind { both_lead: false, hours: 6, resources: 10, ..STORMY },
        _ => STORMY,
    };
    println!("{:#?}", run(kind, seed));
}
