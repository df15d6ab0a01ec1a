//! Revoiceit is away for three quarters of an hour. Then it is back, and thousands of tokens are due at once.

use jiff::{SignedDuration, Timestamp};
use revoiceit_operator::controller::Limits;
use tokio::time::sleep;

use crate::{
    clock,
    histories::QUIET,
    history::{History, Kind, MINUTE, simulated},
    revoiceit::{LIFETIME, Weather},
    witness::client_of,
};

const OUTAGE: u32 = 45;
/// The longest pause between two tries.
const RETRY_MAX: SignedDuration = SignedDuration::from_mins(5);
/// What a look, a call and a queue's tick take.
const SLACK: SignedDuration = SignedDuration::from_secs(15);

/// What became of one token that was there in the outage.
struct Fate {
    expires_at: Timestamp,
    /// When the next one was handed out.
    replaced_at: Timestamp,
}

struct Recovery {
    began: Timestamp,
    ended: Timestamp,
    /// Calls that were made in the outage.
    calls: u64,
    /// Of each resource, by the end of its token.
    fates: Vec<Fate>,
}

/// One replica leads. The resources come one after the other for an hour, so that the ends of their tokens are spread over one.
async fn recovery(mut history: History, weather: Weather) -> Recovery {
    let count = history.wanted.len();
    history.start_replicas();
    for minute in 0..60 {
        for number in minute * count / 60..(minute + 1) * count / 60 {
            history.write_credentials(number);
            history.create(number);
        }
        sleep(MINUTE).await;
    }
    history.settle(60).await;

    let (began, calls) = (clock::truth(), history.revoiceit.lock().calls);
    history.revoiceit.lock().weather = weather;
    history.settle(OUTAGE).await;
    let (ended, calls) = (clock::truth(), history.revoiceit.lock().calls - calls);
    history.revoiceit.lock().weather = Weather::Fair;
    history.settle(30).await;
    history.check_rest().await;
    assert_eq!(history.server.lock().witness.violations, [""; 0]);

    let revoiceit = history.revoiceit.lock();
    let fate = |name: &str| {
        let client = client_of(name);
        let tokens: Vec<Timestamp> =
            revoiceit.access.iter().filter(|access| access.client == client).map(|access| access.expires_at).collect();
        let after = tokens.iter().position(|expires_at| *expires_at - LIFETIME >= ended).expect("a new token after the outage");
        Fate { expires_at: tokens[after - 1], replaced_at: tokens[after] - LIFETIME }
    };
    let mut fates: Vec<Fate> = history.wanted.iter().map(|wanted| fate(&wanted.name)).collect();
    fates.sort_by_key(|fate| fate.expires_at);
    Recovery { began, ended, calls, fates }
}

/// As many calls a second as the limits let through, with Revoiceit as fast as it is here: 0.46 s on average.
fn rate(limits: Limits) -> f64 {
    f64::from(limits.qps).min(f64::from(limits.in_flight) * 0.75 / 0.46)
}

fn outage(resources: usize, limits: Limits, weather: Weather) {
    // Something goes wrong: a line that fails again and again near its end is replaced.
    let kind = Kind { resources, edits: false, both_lead: false, storms: 1, limits, ..QUIET };
    let Recovery { began, ended, calls, fates } = simulated(kind, 0, move |history| recovery(history, weather));
    let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64();

    // Each token that ends at this place in line has so many before it, and is tried again before three quarters of its rest are over.
    let mut unneeded = Vec::new();
    for (place, fate) in fates.iter().enumerate() {
        let line = SignedDuration::from_secs_f64(place as f64 / rate(limits)) + SLACK;
        let rest = fate.expires_at.duration_since(ended);
        if fate.replaced_at >= fate.expires_at && rest * 3 / 4 > line {
            unneeded.push(format!("the token that ended {rest} after the outage"));
        }
        let at_most = RETRY_MAX + SignedDuration::from_secs_f64(resources as f64 / rate(limits)) + SLACK;
        assert!(fate.replaced_at <= ended + at_most, "replaced {} after the outage", fate.replaced_at.duration_since(ended));
    }
    let expired = fates.iter().filter(|fate| fate.replaced_at >= fate.expires_at).count();
    let before = fates.iter().filter(|fate| fate.expires_at <= ended).count();
    let last = fates.iter().map(|fate| fate.replaced_at).max().expect("some");
    println!(
        "{resources} resources, {weather:?} for {OUTAGE} min, {limits:?}: {calls} calls in the outage, {:.1} a second; {before} tokens expired in it \
         and {} after it; all had new ones {:.0} s after it",
        calls as f64 / seconds(began, ended),
        expired - before,
        seconds(ended, last)
    );
    assert!(calls as f64 <= f64::from(limits.burst) + f64::from(limits.qps) * (seconds(began, ended) + 1.0), "{calls} calls");
    assert_eq!(unneeded, [""; 0]);
}

/// A twentieth of the resources, and of what Revoiceit gets.
const SMALL: Limits = Limits { qps: 3, burst: 5, in_flight: 16 };

#[test]
fn after_three_quarters_of_an_hour_without_a_connection_no_token_expires_that_need_not() {
    outage(500, SMALL, Weather::Away);
}

#[test]
fn after_three_quarters_of_an_hour_of_503_no_token_expires_that_need_not() {
    outage(500, SMALL, Weather::Overloaded);
}

#[test]
#[ignore = "minutes"]
fn at_night_ten_thousand() {
    for weather in [Weather::Away, Weather::Overloaded] {
        outage(10_000, Limits { in_flight: 64, ..QUIET.limits }, weather);
    }
}
