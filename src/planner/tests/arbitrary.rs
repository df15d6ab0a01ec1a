//! Anything that could be seen, for what holds whatever is. What is large is boxed: the stack of a test is small.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{Timestamp, ToSpan};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::json;

use super::{
    builders::CredentialExt,
    fixtures::{
        TARGET, UID, at, credential, digest, failed, foreign, id, issued, ledger, live, me, name, ours, place, record, refresh, refreshed,
        rotated, source, version, written,
    },
};
use crate::{
    api::RevoiceitCredential,
    planner::{
        Called, Cause, Consent, Denied, Failed, FailureClass, Hand, Intent, IntentCall, Ledger, LineId, Look, Observed, Owner, Policy,
        Quarrel, Record, Refused, Resource, Sighted, Source, Spent, Stamp, Suspects, Target, TargetId, Unusable, Version,
    },
    revoiceit::{Failure, Issued, Refreshed},
};

/// Within two hours of 10:00, and rarely anywhere.
pub(super) fn a_time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        40 => (-240..=240_i64).prop_map(|halves| at("10:00") + (30 * halves).seconds()),
        1 => select(vec![Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH]),
    ]
}

fn a_failed() -> impl Strategy<Value = Failed> {
    (a_class(), a_time(), a_time(), any::<u32>(), a_time(), 1..3_u64).prop_map(|(class, since, at, count, not_before, pair)| Failed {
        since,
        at,
        count,
        not_before,
        source: digest(pair),
        ..failed(class, "10:00", "10:00")
    })
}

fn a_class() -> impl Strategy<Value = FailureClass> {
    select(vec![FailureClass::NotSent, FailureClass::Lost, FailureClass::Unavailable, FailureClass::Rejected, FailureClass::Malformed])
}

fn an_intent(stamps: &'static [&'static str]) -> impl Strategy<Value = Intent> {
    (option::of(0..12_u64), select(stamps), a_time(), 1..3_u64).prop_map(|(refresh, stamp, until, pair)| {
        let (call, cause) = match refresh {
            Some(revision) => (IntentCall::Refresh { revision }, Cause::Refresh),
            None => (IntentCall::Issue, Cause::First),
        };
        Intent { call, cause, source: digest(pair), stamp: Stamp::new(stamp), until }
    })
}

/// The revisions are those that the order gives: first the retired ones, then the live one.
fn tokens() -> impl Strategy<Value = Record> {
    let retired = (a_time(), 0..3_u32, option::of(a_time()), option::of(a_time()));
    (vec(retired, 0..10), option::of((a_time(), 0..7200_i64, 1..3_u64, 0..3_u64, any::<[bool; 2]>()))).prop_map(|(retired, lived)| {
        let mut it = record();
        for (due, tries, not_before, worked_at) in retired {
            let mut more = it.clone().retiring(it.next_revision, "10:00");
            if let Some(last) = more.retiring.last_mut() {
                (last.due, last.tries, last.not_before, last.worked_at) = (due, tries, not_before, worked_at);
            }
            it = more;
        }
        if let Some((sent_at, lifetime, pair, seen_in, doubts)) = lived {
            let mut line = live(it.next_revision, "10:00");
            line.sent_at = sent_at;
            line.expires_at = sent_at.checked_add(lifetime.seconds()).unwrap_or(Timestamp::MAX);
            (line.source, line.source_version) = (digest(pair), (seen_in > 0).then(|| version(seen_in)));
            [line.rejected, line.unanswered] = doubts;
            it.next_revision += 1;
            it.live = Some(line);
        }
        it
    })
}

fn listed() -> impl Strategy<Value = Vec<TargetId>> {
    proptest::sample::subsequence(vec![TARGET, "old", "new"], 0..=3)
        .prop_flat_map(|names| {
            let left = vec(option::of(a_time()), names.len());
            (Just(names), left)
        })
        .prop_map(|(names, left)| names.into_iter().zip(left).map(|(it, left_at)| TargetId { name: name(it), left_at }).collect())
}

/// A record as this operator may have left it, or another one, or a hand. Its intent, if it has one, has one of these stamps.
pub(super) fn a_record_of(stamps: &'static [&'static str]) -> BoxedStrategy<Record> {
    let whole = (tokens(), option::of(an_intent(stamps)), option::of(a_failed()), option::of(a_failed()), listed(), a_time());
    let flags = (any::<bool>(), prop::bool::weighted(0.2), any::<bool>(), option::of("[ab]"), 0..1000_u64);
    let suspects = (0..3_u32, any::<bool>(), 0..2_u32);
    (whole, flags, suspects, option::of("[a-z]{1,4}X"))
        .prop_map(|(whole, flags, (lost, ledger_lost, disputed), unknown)| {
            let (tokens, intent, failed_issue, failed_refresh, targets, next_issue) = whole;
            let (claimed, closed, rotates, handled_request, deadline_seconds) = flags;
            let suspects = Suspects { lost, ledger_lost, disputed };
            let extra = unknown.into_iter().map(|key| (key, json!([1]))).collect();
            Record {
                intent,
                failed_issue,
                failed_refresh,
                targets,
                next_issue,
                claimed,
                closed,
                rotates,
                handled_request,
                deadline_seconds,
                suspects,
                extra,
                ..tokens
            }
        })
        .boxed()
}

pub(super) fn a_record() -> impl Strategy<Value = Record> {
    a_record_of(&["me", "another"])
}

pub(super) fn a_credential() -> BoxedStrategy<RevoiceitCredential> {
    let claim = select(vec!["", "finalizer", "ours", "copied", "elsewhere"]);
    let spec = (any::<bool>(), select(vec![TARGET, "new"]), select(vec!["0s", "5m"]));
    (claim, option::of("[ab]"), option::of(a_time()), spec)
        .prop_map(|(claim, request, deleted, (is_suspended, target, deadline))| {
            let it = credential().target(target).deadline(deadline);
            let it = match claim {
                "finalizer" => it.with_finalizer(),
                "ours" => it.claimed(),
                "copied" => it.with_finalizer().with_claim("revoiceit-system/another-uid"),
                "elsewhere" => it.with_finalizer().with_claim(&format!("elsewhere/{UID}")),
                _ => it,
            };
            let it = request.into_iter().fold(it, |it, request| it.rotate(&request));
            it.edited(|it| {
                it.spec.suspend = is_suspended;
                it.metadata.deletion_timestamp = deleted.map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time);
            })
        })
        .boxed()
}

fn a_resource() -> BoxedStrategy<Resource> {
    let absent = vec![Resource::NotFound { proven: false }, Resource::NotFound { proven: true }, Resource::Replaced, Resource::Released];
    prop_oneof![
        4 => a_credential().prop_map(|it| if it.metadata.deletion_timestamp.is_some() { it.leaving() } else { it.wanted() }),
        1 => a_credential().prop_map(|it| Resource::Unreadable(Arc::new(it.metadata))),
        1 => select(absent),
    ]
    .boxed()
}

pub(super) fn a_source() -> impl Strategy<Value = Source> {
    let incomplete = |number| Source::Incomplete { key: "clientId".into(), version: version(number) };
    prop_oneof![
        (1..4_u64).prop_map(source),
        (1..4_u64).prop_map(move |number| [Source::Missing, incomplete(number)][(number % 2) as usize].clone()),
    ]
}

/// Nothing, or what a record puts there, or anything else.
pub(super) fn a_target() -> impl Strategy<Value = Target> {
    let anything = [Owner::Me, Owner::OtherUid, Owner::None].map(ours).into_iter();
    let consents = [Consent::NotGiven, Consent::Given, Consent::WrongType, Consent::Immutable, Consent::Owned];
    let anything: Vec<_> = anything.chain(consents.map(foreign)).collect();
    prop_oneof![
        2 => Just(Target::Absent),
        2 => (1..12_u64).prop_map(|revision| written(&credential(), &live(revision, "10:00"))),
        2 => select(anything),
        1 => Just(match ours(Owner::Me) {
            Target::Ours { owner, data, meta, .. } => Target::Ours { owner, data, meta, immutable: true },
            other => other,
        }),
        1 => (select(vec![Owner::Me, Owner::OtherUid, Owner::None]), any::<bool>()).prop_map(|(owner, immutable)| ours(owner).held(immutable)),
    ]
}

pub(super) fn targets() -> impl Strategy<Value = BTreeMap<crate::planner::Name, Target>> {
    vec(option::of(a_target()), 3)
        .prop_map(|them| [TARGET, "old", "new"].into_iter().zip(them).filter_map(|(under, target)| Some((name(under), target?))).collect())
}

fn a_ledger() -> BoxedStrategy<Ledger> {
    let why = vec![Unusable::Corrupt, Unusable::LaterFormat, Unusable::ForeignHome, Unusable::ForeignResource, Unusable::OtherIssuer];
    prop_oneof![8 => a_record().prop_map(ledger), 2 => Just(Ledger::Absent), 1 => select(why).prop_map(Ledger::Unusable)].boxed()
}

pub(super) fn a_failure() -> impl Strategy<Value = Failure> {
    prop_oneof![
        select(vec![Failure::NotSent, Failure::Lost, Failure::Rejected, Failure::Malformed { refresh: None }]),
        option::of(0..7200_u64).prop_map(|asked| Failure::Unavailable { retry_after: asked.map(std::time::Duration::from_secs) }),
        (20..30_u64).prop_map(|number| Failure::Malformed { refresh: Some(refresh(number)) }),
    ]
}

fn an_issued() -> impl Strategy<Value = Issued> {
    (20..30_u64, option::of(0..7200_u64))
        .prop_map(|(number, lifetime)| Issued { lifetime: lifetime.map(std::time::Duration::from_secs), ..issued(number) })
}

fn a_refreshed() -> impl Strategy<Value = Refreshed> {
    (20..30_u64, any::<bool>()).prop_map(|(number, rotates)| if rotates { rotated(number) } else { refreshed(number) })
}

/// With a refresh token in it.
pub(super) fn a_token_in_hand() -> BoxedStrategy<Hand> {
    a_hand().prop_filter_map("no token", |hand| hand.refresh_token().is_some().then_some(hand)).boxed()
}

fn a_line() -> impl Strategy<Value = LineId> {
    (0..12_u64, 0..12_u64).prop_map(|(revision, number)| LineId { revision, refresh: refresh(number) })
}

pub(super) fn a_hand() -> BoxedStrategy<Hand> {
    let called = prop_oneof![(1..3_u64).prop_map(|pair| Called::Issue(digest(pair))), a_line().prop_map(Called::Refresh)];
    prop_oneof![
        3 => Just(Hand::Nothing),
        2 => (an_issued(), a_time(), 1..3_u64, option::of("[ab]")).prop_map(|(issued, sent_at, pair, request)| Hand::Granted {
            issued,
            sent_at,
            source: digest(pair),
            source_version: version(pair),
            request,
        }),
        2 => (a_line(), a_refreshed(), a_time()).prop_map(|(of, refreshed, sent_at)| Hand::Refreshed { of, refreshed, sent_at }),
        2 => (called, a_failure(), a_time()).prop_map(|(call, failure, sent_at)| Hand::Failed { call, failure, sent_at }),
        1 => (0..12_u64, any::<[bool; 2]>())
            .prop_map(|(number, [unknown, disputed])| Hand::Ended { token: refresh(number), unknown, disputed: unknown && disputed }),
        1 => (0..12_u64, 1..5_u32, any::<bool>(), a_time()).prop_map(|(number, tries, refused, sent_at)| {
            Hand::NotEnded { token: refresh(number), tries, retry_after: None, refused, sent_at }
        }),
    ]
    .boxed()
}

fn a_quarrel() -> impl Strategy<Value = Quarrel> {
    (a_time(), option::of("\\PC{0,80}")).prop_map(|(until, with)| Quarrel { until, with })
}

pub(super) fn a_look() -> BoxedStrategy<Look> {
    (option::of(a_time()), a_resource(), a_ledger(), a_source(), targets(), option::of(a_quarrel()))
        .prop_map(|(began_at, resource, ledger, source, targets, quarrel)| {
            let source = match source {
                Source::Found { version, .. } if began_at.is_none() => Source::Unread { version },
                source => source,
            };
            Look { began_at, resource, ledger, source, targets, quarrel }
        })
        .boxed()
}

fn a_refusal() -> impl Strategy<Value = BTreeMap<Refused, Denied>> {
    let what = proptest::sample::subsequence(vec![Refused::Target, Refused::Ledger, Refused::Resource], 0..=2);
    let denied = select(vec![Denied::Terminating, Denied::Quota, Denied::Admission, Denied::Invalid, Denied::TooLarge, Denied::Forbidden]);
    (what, denied, any::<bool>())
        .prop_map(|(what, denied, is_any)| what.into_iter().filter(|_| is_any).map(|what| (what, denied)).collect())
}

fn spent() -> impl Strategy<Value = Spent> {
    (0..26_u32, 0..3_u32, vec(any::<bool>(), 6)).prop_map(|(acts, calls, is)| Spent {
        acts,
        calls,
        refreshed: is[0],
        answered_since_look: is[1],
        intent_sent: is[2],
        tried: is[3].then(|| name(TARGET)),
        hand_kept: is[4],
        hand_doomed: is[4],
        told: is[5],
    })
}

fn an_observed() -> BoxedStrategy<Observed> {
    let draining = prop_oneof![4 => Just(None), 1 => a_time().prop_map(Some)];
    (a_look(), a_hand(), a_refusal(), spent(), any::<bool>(), draining)
        .prop_map(|(look, hand, refused, spent, finalizer_seen, draining)| {
            let Look { began_at, resource, ledger, source, targets, quarrel } = look;
            let policy = Arc::new(Policy { draining, ..Policy::default() });
            let begun = Observed::begin(Arc::new(id()), me(), policy, Arc::new(place()));
            let sighted = began_at.map_or(Sighted::Glance, Sighted::Look);
            Observed { sighted, resource, ledger, source, targets, quarrel, hand, refused, finalizer_seen, spent, ..begun }
        })
        .boxed()
}

/// What was seen, mostly not long ago, and the time.
pub(super) fn a_moment() -> BoxedStrategy<(Observed, Timestamp)> {
    (an_observed(), a_time(), option::weighted(0.9, 0..60_i64))
        .prop_map(|(seen, now, age)| {
            let began_at = age.and_then(|age| now.checked_sub(age.seconds()).ok());
            (Observed { sighted: began_at.map_or(seen.sighted, Sighted::Look), ..seen }, now)
        })
        .boxed()
}

/// For what is compared by version only.
pub(super) fn a_version() -> impl Strategy<Value = Option<Version>> {
    option::of((1..4_u64).prop_map(version))
}
