//! When things are due.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    builders::CredentialExt,
    fixtures::{UID, at, credential, live, minutes, record, seconds, seen, settled, unavailable},
    story::Story,
};
use crate::planner::{
    Act, FailureClass, Lane, Live, Policy, Retiring, Which, after, before, deadline, left, line, next_wake,
    schedule::{budget_at, charge, clock_went_back, give_back, is_ahead, lifetime, retry_at, revoke_again_at},
    spread,
};

fn lived(lifetime: Duration) -> Live {
    Live { expires_at: at("10:00") + lifetime, ..live(1, "10:00") }
}

/// A UID whose spread is nothing to speak of.
const PUNCTUAL: &str = "spread-7989-9";

#[test]
fn a_refresh_comes_before_expiry_and_in_the_last_two_thirds_of_a_life() {
    for (lifetime, before_expiry, refresh_at, close_at) in [
        (minutes(60), minutes(15), minutes(45), seconds(52 * 60 + 30)),
        (minutes(60), minutes(10), minutes(50), minutes(55)),
        (minutes(60), minutes(40), minutes(20), minutes(40)),
        (minutes(20), minutes(15), seconds(400), seconds(800)),
        (seconds(30), minutes(15), seconds(10), seconds(20)),
        (Duration::ZERO, minutes(15), Duration::ZERO, Duration::ZERO),
    ] {
        let times = line(&lived(lifetime), before_expiry, PUNCTUAL);
        let early = left(times.refresh_at, at("10:00") + refresh_at);
        assert!(early < lifetime.mul_f64(0.0001) || lifetime.is_zero(), "{lifetime:?}: {early:?}");
        assert_eq!((times.close_at, times.expires_at), (at("10:00") + close_at, at("10:00") + lifetime));
    }
}

#[test]
fn spread_is_up_to_a_tenth_of_the_life_and_the_same_each_time() {
    let lifetime = minutes(60);
    let early = |uid: &str| left(line(&lived(lifetime), minutes(15), uid).refresh_at, at("10:45"));
    assert_eq!(early(UID), early(UID));
    let uids: Vec<String> = (0..1000_u64).map(|number| format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    assert!(uids.iter().all(|uid| early(uid) < lifetime / 10));
    let mut in_tenths = [0; 10];
    for uid in &uids {
        in_tenths[(spread(uid) * 10.0) as usize] += 1;
    }
    assert!(in_tenths.iter().all(|count| (70..=130).contains(count)), "{in_tenths:?}");
}

#[test]
fn a_lifetime_is_the_shorter_word_and_never_too_short_to_act_in() {
    let policy = Policy::default();
    for (of_token, expected) in [
        (None, minutes(60)),
        (Some(minutes(59)), minutes(59)),
        (Some(minutes(61)), minutes(60)),
        (Some(seconds(31)), seconds(31)),
        (Some(seconds(1)), seconds(30)),
        (Some(Duration::ZERO), seconds(30)),
    ] {
        assert_eq!(lifetime(&policy, of_token), expected, "{of_token:?}");
    }
}

#[test]
fn the_nearer_the_end_the_sooner_the_retry() {
    let record = record().live(1, "10:00");
    for (now, pause) in [
        ("10:00", seconds(300)),
        ("10:40", seconds(300)),
        ("10:44", seconds(240)),
        ("10:50", seconds(150)),
        ("10:59", seconds(15)),
        ("10:59:50", seconds(5)),
    ] {
        let not_before = retry_at(&Policy::default(), at(now), &record, at("10:44"), false, None);
        assert_eq!(not_before, at(now) + pause, "{now}");
    }
}

#[test]
fn without_a_token_the_longer_it_lasts_the_longer_the_pause() {
    for record in [record(), record().live(1, "08:00")] {
        for (now, pause) in [("10:00", 5), ("10:00:20", 5), ("10:01", 15), ("10:10", 150), ("10:20", 300), ("12:00", 300)] {
            let not_before = retry_at(&Policy::default(), at(now), &record, at("10:00"), false, None);
            assert_eq!(not_before, at(now) + seconds(pause), "{now}");
        }
    }
}

#[test]
fn a_rejected_pair_waits_a_quarter_of_an_hour_give_or_take_a_tenth() {
    let policy = Policy::default();
    let pause = |uid: &str| {
        let record = record().edited(|it| it.resource.uid = uid.into());
        left(at("10:00"), retry_at(&policy, at("10:00"), &record, at("10:00"), true, Some(minutes(60))))
    };
    assert!(
        (0..100)
            .map(|number: u64| pause(&format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))))
            .all(|pause| { (seconds(810)..seconds(990)).contains(&pause) })
    );
    let beside_a_token = retry_at(&policy, at("10:44"), &record().live(1, "10:00"), at("10:44"), true, None);
    assert_eq!(beside_a_token, at("10:48"), "beside a valid token it is a retry like any other");
}

#[test]
fn revocation_is_tried_again_at_growing_pauses() {
    let policy = Policy::default();
    for (now, waiting, nobody) in [("10:00", 5, 5), ("10:01", 15, 15), ("10:20", 300, 300), ("12:00", 300, 1800), ("20:00", 300, 3600)] {
        assert_eq!(revoke_again_at(&policy, at(now), at("10:00"), true, None), at(now) + seconds(waiting), "{now}");
        assert_eq!(revoke_again_at(&policy, at(now), at("10:00"), false, None), at(now) + seconds(nobody), "{now}");
    }
    assert_eq!(revoke_again_at(&policy, at("09:00"), at("10:00"), true, None), at("09:00:05"), "before it is due at all");
}

#[test]
fn the_budget_is_a_burst_of_five_and_then_one_each_quarter() {
    let policy = Policy::default();
    let mut next_issue = Timestamp::UNIX_EPOCH;
    for _ in 0..5 {
        assert_eq!(budget_at(&policy, next_issue, at("10:00")), None);
        next_issue = charge(&policy, next_issue, at("10:00"));
    }
    assert_eq!(next_issue, at("11:15"));
    assert_eq!(budget_at(&policy, next_issue, at("10:00")), Some(at("10:15")));
    assert_eq!(budget_at(&policy, next_issue, at("10:15")), None);
    assert_eq!(budget_at(&policy, give_back(&policy, next_issue), at("10:00")), None);
    let next_issue = charge(&policy, next_issue, at("10:15"));
    assert_eq!(budget_at(&policy, next_issue, at("10:15")), Some(at("10:30")));
    assert_eq!(budget_at(&policy, next_issue, at("11:30")), None, "unused, it fills up again");
}

#[test]
fn a_time_that_is_further_ahead_than_it_was_ever_set_is_not_waited_for() {
    for (clock, is_waited_for) in
        [("09:59", false), ("10:00", false), ("10:01", true), ("10:06", true), ("10:06:01", false), ("20:00", false)]
    {
        assert_eq!(is_ahead(at(clock), at("10:00"), minutes(5)), is_waited_for, "{clock}");
    }
}

#[test]
fn a_clock_that_went_back_makes_a_token_due() {
    for (now, went_back) in [("10:00", false), ("09:59", false), ("09:58:59", true), ("05:00", true)] {
        assert_eq!(clock_went_back(&live(1, "10:00"), at(now)), went_back, "{now}");
    }
    let mut story = Story::of(credential().claimed()).with(record().live(1, "10:00"));
    assert_eq!(story.at("09:59").pass(), ["Rest Ready: TokenReady until 10:44:00"]);
    assert_eq!(story.at("07:00").pass()[..2], ["Look", "Refresh 1"]);
    assert_eq!(story.pass(), ["Rest Ready: TokenReady until 07:44:00"]);
}

/// Nothing that was written in the hours to come keeps them from being lived through.
#[test]
fn after_the_clock_went_back_no_pause_is_waited_for() {
    let paused = Retiring { not_before: Some(at("13:00")), tries: 1, ..super::fixtures::retiring(2, "09:00") };
    let before = record().live(1, "10:00").failed_refresh(FailureClass::NotSent, "12:00", "12:04").failed_issue(
        FailureClass::Rejected,
        "12:00",
        "12:15",
    );
    let mut story = Story::of(credential().claimed()).with(before.retiring(2, "09:00").edited(|it| it.retiring[0] = paused));
    story.fails([unavailable()]);
    assert_eq!(
        story.at("07:00").pass(),
        ["Look", "Save Shorten to 07:05:00", "Look", "Refresh 1", "Save Fold", "Rest Ready: RevoiceitUnavailable until 07:05:00"],
        "the failure is saved: it is not tried again at once"
    );
    assert_eq!(story.pass_on()[1..], ["Refresh 1", "Save Fold", "WriteTarget speech-token", "Rest Ready: TokenReady until now"]);
    assert_eq!(story.pass(), ["Look", "Revoke 2", "Save Fold", "Rest Ready: TokenReady until 07:49:00"]);
}

#[test]
fn a_call_is_due_at_the_gate_when_it_matters() {
    let issue = Act::Issue { until: at("10:02") };
    let revoke = Act::Revoke(Which::Revision(1));
    let now = at("10:44");
    assert_eq!(issue.leads_to(), Some(Lane::Issue));
    let fresh = seen(credential().wanted());
    assert_eq!(deadline(&fresh, &issue, now), at("10:05"), "created and five minutes");
    let failed = fresh.clone().with(record().failed_issue(FailureClass::NotSent, "10:40", "10:42"));
    assert_eq!(deadline(&failed, &issue, now), at("10:47"), "the retry and five minutes");
    assert_eq!(deadline(&settled(), &Act::Refresh { revision: 1, until: None }, now), at("11:00"), "when the token ends");
    assert_eq!(deadline(&settled(), &issue, now), at("11:00"), "a successor too");
    assert_eq!(deadline(&settled(), &issue, at("11:30")), at("11:00"), "after that whoever has waited longest comes first");
    let failing = settled().with(record().live(1, "10:00").failed_issue(FailureClass::NotSent, "11:20", "11:25"));
    assert_eq!(deadline(&failing, &issue, at("11:30")), at("11:30"), "who fails and fails does not come before everybody else");
    let superseded = settled().with(record().live(2, "10:30").retiring(1, "10:40"));
    assert_eq!(deadline(&superseded, &revoke, now), at("11:40"), "a superseded one has an hour from when it was due");
    let leaving = seen(credential().claimed().deleting("10:40").leaving()).with(record().live(1, "10:00"));
    assert_eq!(deadline(&leaving, &revoke, now), at("10:40"), "somebody waits, and has done so since then");
    assert_eq!(deadline(&leaving, &revoke, at("10:30")), at("10:30"), "a clock that is behind");
}

#[test]
fn whoever_waits_for_a_call_is_woken_for_what_becomes_due_meanwhile() {
    let close = line(&live(1, "10:00"), minutes(15), UID).close_at;
    assert_eq!(next_wake(&settled(), at("10:50")), Some(close), "an answered failure would lead to a new line");
    assert_eq!(next_wake(&settled(), at("10:55")), Some(at("11:00")), "the token expires");
    let leaving = seen(credential().claimed().deadline("5m").deleting("10:40").leaving()).with(record().live(1, "10:00"));
    assert_eq!(next_wake(&leaving, at("10:41")), Some(at("10:45")), "the finalizer goes");
    assert_eq!(next_wake(&seen(credential().wanted()), at("10:01")), None, "nothing but what happens to it");
}

#[test]
fn times_end_where_time_ends() {
    assert_eq!(after(at("10:00"), Duration::MAX), Timestamp::MAX);
    assert_eq!(before(at("10:00"), Duration::MAX), Timestamp::MIN);
    assert_eq!(left(at("10:00"), at("09:00")), Duration::ZERO);
    assert_eq!(left(at("10:00"), at("10:00:30")), seconds(30));
}

/// Look and the server's patience are less than a name lingers, which is no more than an intent stands, which is no more than the least grace.
#[test]
fn the_times_that_protect_each_other_are_in_order() {
    let Policy { look_age, linger, intent, min_grace, .. } = Policy::default();
    let patience = seconds(60);
    assert!(look_age <= patience && look_age + patience <= linger && linger <= intent && intent <= min_grace);
}

#[test]
fn a_policy_file_gives_whole_milliseconds_and_nothing_unknown() {
    let policy: Policy = serde_json::from_str(r#"{ "tokenLifetime": 4000, "budgetBurst": 50 }"#).expect("a policy");
    assert_eq!((policy.token_lifetime, policy.budget_burst, policy.linger), (seconds(4), 50, Policy::default().linger));
    assert!(serde_json::from_str::<Policy>(r#"{ "tokenLifetyme": 4000 }"#).is_err());
}
