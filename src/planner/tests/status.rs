//! What the status says: conditions by the rules of kstatus, and numbers that are those of the ledger.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    builders::CredentialExt,
    fixtures::{TARGET, at, credential, failed, foreign, live, ours, quarrel, record, seen, settled, source},
    story::Story,
};
use crate::{
    api::{Failure as Reported, Reason, RevoiceitCredential},
    planner::{Consent, FailureClass, Observed, Owner, Plan, Rest, Source, Status, Suspects, overdue, plan},
};

fn rest(seen: &Observed, clock: &str) -> Rest {
    match plan(seen, at(clock)) {
        Plan::Rest(rest) => rest,
        Plan::Act(act) => panic!("{act:?}"),
    }
}

fn status(seen: &Observed, clock: &str) -> Status {
    rest(seen, clock).status.expect("a status")
}

fn condition(type_: &str, status: &str, reason: &str, message: &str, since: &str) -> Condition {
    Condition {
        type_: type_.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        observed_generation: Some(1),
        last_transition_time: Time(at(since)),
    }
}

fn kinds(status: &Status) -> Vec<String> {
    status.conditions.iter().map(|it| format!("{}={}", it.type_, it.status)).collect()
}

#[test]
fn everything_that_is_known_is_reported() {
    let record = record().live(7, "10:00").retiring(5, "10:05").retiring(6, "10:05").edited(|it| {
        it.suspects = Suspects { lost: 2, ledger_lost: false, disputed: 1 };
        it.handled_request = Some("earlier".into());
        it.failed_refresh = Some(failed(FailureClass::NotSent, "10:01", "10:06"));
        it.failed_issue = Some(failed(FailureClass::Rejected, "09:00", "09:15"));
    });
    let seen = seen(credential().claimed().wanted()).with(record).delivered();
    let message = "The Secret \"speech-token\" is up to date. Pods read a token that is valid until 2026-11-24T11:00:00Z.";
    let time = |clock| Some(Time(at(clock)));
    let expected = Status {
        observed_generation: Some(1),
        conditions: vec![condition("Ready", "True", "TokenReady", message, "10:00")],
        revision: Some(7),
        issued_at: time("10:00"),
        refresh_at: time("10:44"),
        expires_at: time("11:00"),
        failure: Some(Reported { reason: "RevoiceitUnreachable".into(), count: 1, last_at: time("10:01"), next_retry_at: time("10:06") }),
        pending_revocations: Some(2),
        suspected_lost: Some(2),
        last_handled_rotate_request: Some("earlier".into()),
    };
    assert_eq!(status(&seen, "10:00"), expected);
}

#[test]
fn a_status_that_calls_an_expired_token_valid_is_put_right_before_its_refresh_is_waited_for() {
    let ready = status(&settled(), "10:00");
    let waits = |status: &Status, clock| {
        let told = credential().claimed().edited(|it| it.status = Some(status.clone()));
        overdue(&seen(told.wanted()).with(record().live(1, "10:00")).delivered(), at(clock))
    };
    assert_eq!(waits(&ready, "10:59"), None);
    let after = waits(&ready, "11:00").expect("it is over").status.expect("a status");
    assert_eq!(
        (kinds(&after), after.conditions[0].reason.as_str()),
        (vec!["Ready=False".to_owned(), "Reconciling=True".to_owned()], "Issuing")
    );
    assert_eq!(waits(&after, "11:01"), None, "it is told once");
    let failing = credential().claimed().edited(|it| it.status = Some(ready.clone()));
    let failing =
        seen(failing.wanted()).with(record().live(1, "10:00").failed_refresh(FailureClass::NotSent, "10:58", "10:59")).delivered();
    let after = overdue(&failing, at("11:00")).expect("it is over").status.expect("a status");
    assert_eq!(after.conditions[0].reason, "RevoiceitUnreachable", "what is wrong stays what is wrong");
}

/// A slow pass: the pause after the failure is over when the pass ends. With another reason in between, each failure would be news.
#[test]
fn what_failed_is_the_reason_also_when_the_next_attempt_is_due_already() {
    let reason = |seen: &Observed, clock| status(seen, clock).conditions.remove(0).reason;
    let sent = |seen: Observed| seen.edited(|it| it.spent.calls = 1);
    let new = |record| sent(seen(credential().claimed().wanted()).with(record));
    let issued = record().failed_issue(FailureClass::Unavailable, "10:00", "10:05");
    assert_eq!(reason(&new(issued.clone()).looked_at("10:04"), "10:04"), "RevoiceitUnavailable");
    assert_eq!(reason(&new(issued.clone()).looked_at("10:05"), "10:05"), "RevoiceitUnavailable");
    let other_pair = new(issued).edited(|it| it.source = source(2)).looked_at("10:05");
    assert_eq!(reason(&other_pair, "10:05"), "Issuing", "that pair has not failed");
    let refreshed = record().live(1, "10:00").failed_refresh(FailureClass::NotSent, "10:50", "10:52");
    let refreshed = sent(settled().with(refreshed).delivered()).looked_at("10:52");
    assert_eq!(reason(&refreshed, "10:52"), "RevoiceitUnreachable");
}

#[test]
fn nothing_that_is_not_known_is_reported() {
    let seen = seen(credential().suspended().wanted());
    let message = "spec.suspend is true: tokens are neither obtained nor refreshed. Set it to false to go on. There is no token yet.";
    let expected = Status {
        observed_generation: Some(1),
        conditions: vec![
            condition("Ready", "False", "Suspended", message, "10:00"),
            condition("Stalled", "True", "Suspended", message, "10:00"),
        ],
        ..Status::default()
    };
    assert_eq!(status(&seen, "10:00"), expected);
}

/// One row of the table in the design for each row here.
#[test]
fn conditions_are_those_of_kstatus() {
    let expired = || settled().looked_at("11:00");
    let failing = |class| settled().with(record().live(1, "10:00").failed_refresh(class, "10:50", "10:54")).delivered().looked_at("10:51");
    let new = |edit: fn(RevoiceitCredential) -> RevoiceitCredential| seen(edit(credential().claimed()).wanted()).with(record());
    let ready: &[&str] = &["Ready=True"];
    let reconciling: &[&str] = &["Ready=False", "Reconciling=True"];
    let stalled: &[&str] = &["Ready=False", "Stalled=True"];
    let waiting = record().intent("another", "10:01");
    let rejected = record().failed_issue(FailureClass::Rejected, "10:00", "10:14");
    let unreachable = record().failed_issue(FailureClass::NotSent, "10:00", "10:00:05");
    let it = |it| it;
    let cases: [(&str, Observed, &str, &[&str], Reason); 15] = [
        ("valid, as specified", settled(), "10:00", ready, Reason::TokenReady),
        ("also while refreshing fails", failing(FailureClass::NotSent), "10:51", ready, Reason::RevoiceitUnreachable),
        ("also while it is rejected", failing(FailureClass::Rejected), "10:51", ready, Reason::RefreshRejected),
        ("also without credentials", settled().source(Source::Missing), "10:00", ready, Reason::CredentialsMissing),
        ("an answer is waited for", new(it).with(waiting), "10:00", reconciling, Reason::WaitingForAnswer),
        ("a retry is due", new(it).with(unreachable), "10:00", reconciling, Reason::RevoiceitUnreachable),
        ("no credentials", new(it).source(Source::Missing), "10:00", stalled, Reason::CredentialsMissing),
        ("incomplete", new(it).source(incomplete()), "10:00", stalled, Reason::CredentialsIncomplete),
        ("rejected", new(it).with(rejected), "10:00", stalled, Reason::CredentialsRejected),
        ("conflict", new(it).target(TARGET, foreign(Consent::NotGiven)), "10:00", stalled, Reason::TargetConflict),
        ("another operator", new(|it| it.with_claim(&elsewhere())), "10:00", stalled, Reason::LedgerElsewhere),
        ("suspended, and valid still", suspended(settled()), "10:00", ready, Reason::Suspended),
        ("suspended and expired", suspended(expired()), "11:00", stalled, Reason::Suspended),
        ("somebody fights", fought_over(), "10:00", reconciling, Reason::Issuing),
        ("being deleted", leaving(), "10:00", reconciling, Reason::Revoking),
    ];
    for (situation, seen, clock, expected, reason) in cases {
        let status = status(&seen, clock);
        assert_eq!(kinds(&status), expected, "{situation}");
        assert!(status.conditions.iter().all(|it| it.reason == reason.as_str()), "{situation}: {}", status.conditions[0].reason);
    }
}

fn elsewhere() -> String {
    format!("elsewhere/{}", super::fixtures::UID)
}

fn incomplete() -> Source {
    Source::Incomplete { key: "clientSecret".into(), version: super::fixtures::version(1) }
}

fn suspended(seen: Observed) -> Observed {
    seen.edited(|it| it.resource = credential().claimed().suspended().wanted())
}

fn fought_over() -> Observed {
    settled().target(TARGET, ours(Owner::Me)).edited(|it| it.quarrel = quarrel("10:00:20"))
}

fn leaving() -> Observed {
    seen(credential().claimed().deleting("10:00").leaving()).with(record().intent("another", "10:01"))
}

#[test]
fn a_condition_keeps_its_time_until_it_flips() {
    let mut story = Story::of(credential());
    let conditions = |story: &Story| {
        let status = story.credential.as_ref().and_then(|it| it.status.clone()).expect("a status");
        status.conditions.into_iter().map(|it| (it.type_, it.status, it.last_transition_time.0)).collect::<Vec<_>>()
    };
    let of = |type_: &str, status: &str, clock: &str| (type_.to_owned(), status.to_owned(), at(clock));
    story.source = Source::Missing;
    story.pass();
    assert_eq!(conditions(&story), [of("Ready", "False", "10:00"), of("Stalled", "True", "10:00")]);
    story.source = source(1);
    story.fails([crate::revoiceit::Failure::NotSent]);
    story.at("10:05").pass();
    assert_eq!(conditions(&story), [of("Ready", "False", "10:00"), of("Reconciling", "True", "10:05")], "another reason is no flip");
    story.at("10:06").pass();
    assert_eq!(conditions(&story), [of("Ready", "True", "10:06")]);
    for _ in 0..3 {
        story.pass_on();
    }
    assert_eq!(conditions(&story), [of("Ready", "True", "10:06")]);
    story.source = Source::Missing;
    story.edit(CredentialExt::suspended);
    story.at("23:00").pass();
    assert_eq!(conditions(&story), [of("Ready", "False", "23:00"), of("Stalled", "True", "23:00")]);
}

#[test]
fn a_status_that_says_nothing_new_is_the_same() {
    let mut story = Story::of(credential());
    story.pass();
    let before = story.credential.as_ref().and_then(|it| it.status.clone());
    for clock in ["10:01", "10:20", "10:43"] {
        story.at(clock).pass();
        assert_eq!(story.credential.as_ref().and_then(|it| it.status.clone()), before, "{clock}");
    }
}

#[test]
fn every_edit_of_the_spec_is_answered_with_its_generation() {
    let mut story = Story::of(credential());
    story.pass();
    story.edit(|it| it.grace("10m"));
    story.pass();
    let status = story.credential.as_ref().and_then(|it| it.status.clone()).expect("a status");
    assert_eq!(status.observed_generation, Some(2));
    assert!(status.conditions.iter().all(|it| it.observed_generation == Some(2)));
    let edited = credential().claimed().grace("1h").deleting("10:00").edited(|it| it.metadata.generation = Some(9));
    let leaving = leaving().edited(|it| it.resource = edited.leaving());
    assert_eq!(self::status(&leaving, "10:00").observed_generation, Some(9), "also while it is being deleted");
}

#[test]
fn pending_revocations_count_the_live_line_only_in_a_deletion() {
    let lines = || record().live(3, "10:00").retiring(1, "11:00").retiring(2, "11:00");
    let wanted = seen(credential().claimed().grace("1h").wanted()).with(lines()).delivered();
    assert_eq!(status(&wanted, "10:00").pending_revocations, Some(2));
    let mut story = Story::of(credential().claimed().deleting("10:00")).with(lines());
    story.fails(std::iter::repeat_n(crate::revoiceit::Failure::NotSent, 3));
    for _ in 0..3 {
        story.pass();
    }
    let left = story.credential.as_ref().and_then(|it| it.status.clone()).and_then(|it| it.pending_revocations);
    assert_eq!(left, Some(3));
}

#[test]
fn the_later_of_two_failures_is_reported() {
    let both = |issue: &str, refresh: &str| {
        let record = record().live(1, "10:00").failed_issue(FailureClass::Lost, issue, "10:30").failed_refresh(
            FailureClass::Malformed,
            refresh,
            "10:30",
        );
        status(&seen(credential().claimed().wanted()).with(record).delivered(), "10:00").failure.map(|it| it.reason)
    };
    assert_eq!(both("09:50", "09:40").as_deref(), Some("AnswerLost"));
    assert_eq!(both("09:40", "09:50").as_deref(), Some("MalformedAnswer"));
}

/// Numbers that do not fit what the schema has for them.
#[test]
fn a_number_that_is_too_large_is_the_largest() {
    let record = record().live(1, "10:00").edited(|it| {
        it.suspects.lost = u32::MAX;
        it.failed_refresh = Some(crate::planner::Failed { count: u32::MAX, ..failed(FailureClass::Lost, "09:50", "10:30") });
    });
    let status = status(&seen(credential().claimed().wanted()).with(record).delivered(), "10:00");
    assert_eq!((status.suspected_lost, status.failure.map(|it| it.count)), (Some(i32::MAX), Some(i32::MAX)));
}

#[test]
fn times_are_in_whole_seconds_and_expiry_is_never_late() {
    let line = crate::planner::Live { expires_at: "2026-11-24T10:59:59.999Z".parse().expect("a time"), ..live(1, "10:00") };
    let seen = seen(credential().claimed().wanted()).with(record().live(1, "10:00").edited(|it| it.live = Some(line))).delivered();
    assert_eq!(status(&seen, "10:00").expires_at, Some(Time(at("10:59:59"))));
}

#[test]
fn where_there_is_no_resource_there_is_no_status() {
    let mut story = Story::of(credential()).with(record().live(1, "10:00"));
    story.credential = None;
    for absent in [crate::planner::Resource::NotFound { proven: false }, crate::planner::Resource::Unreadable(Default::default())] {
        story.absent = absent;
        story.pass();
        let seen = story.last.clone().expect("a pass");
        assert_eq!(rest(&seen, "10:00").status, None);
    }
}

/// Whoever sees a plan, what it was made from, or what it says, sees no secret; all of them contain one word.
#[test]
fn nothing_secret_is_printed() {
    let full = record().live(1, "10:00").retiring(2, "10:00").intent("me", "10:02");
    let grant = crate::planner::Hand::Granted {
        issued: super::fixtures::issued(9),
        sent_at: at("10:00"),
        source: super::fixtures::digest(1),
        source_version: super::fixtures::version(1),
        request: None,
    };
    let rotated =
        crate::planner::Hand::Refreshed { of: super::fixtures::line_id(1), refreshed: super::fixtures::rotated(9), sent_at: at("10:00") };
    let malformed = crate::planner::Hand::Failed {
        call: crate::planner::Called::Refresh(super::fixtures::line_id(1)),
        failure: crate::revoiceit::Failure::Malformed { refresh: Some(super::fixtures::refresh(9)) },
        sent_at: at("10:00"),
    };
    for hand in [grant, rotated, malformed] {
        let seen = settled().with(full.clone()).delivered().holding(hand);
        let printed = format!("{seen:?} {:#?} {:?} {:?}", seen, plan(&seen, at("10:00")), full);
        assert!(!printed.contains("canary"), "{printed}");
    }
    let reported = serde_json::to_string(&status(&settled(), "10:00")).expect("JSON");
    assert!(!reported.contains("canary"), "{reported}");
    assert!(String::from_utf8_lossy(&full.to_json()).contains("canary"), "the word is what the secrets contain");
}

#[test]
fn a_conflict_says_why() {
    let said = |consent| {
        let seen = seen(credential().wanted()).target(TARGET, foreign(consent));
        status(&seen, "10:00").conditions[0].message.clone()
    };
    for (consent, why) in [
        (Consent::NotGiven, "it is left alone and no token is obtained"),
        (Consent::WrongType, "its type is not Opaque"),
        (Consent::Immutable, "it is immutable"),
        (Consent::Owned, "another object owns it"),
    ] {
        assert!(said(consent).contains(why), "{consent:?}: {}", said(consent));
    }
}
