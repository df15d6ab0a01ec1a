//! When things are due. All of it is wall-clock time, so that a machine that slept is late and not wrong.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    policy::Policy,
    record::{Failed, Live, Record, Retiring},
};

/// `time + by`, or the end of time.
pub fn after(time: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| time.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

/// `time − by`, or the beginning of time.
pub fn before(time: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| time.checked_sub(by).ok()).unwrap_or(Timestamp::MIN)
}

/// How long it is from `now` until `then`; zero when that is past.
pub fn left(now: Timestamp, then: Timestamp) -> Duration {
    then.duration_since(now).try_into().unwrap_or(Duration::ZERO)
}

/// The lifetime that an access token is given: the shorter of the vendor's and the token's own word, and never so short that nothing could be done in it.
pub(super) fn lifetime(policy: &Policy, of_token: Option<Duration>) -> Duration {
    of_token.unwrap_or(policy.token_lifetime).min(policy.token_lifetime).max(policy.min_lifetime)
}

/// A number in `0.0..1.0` that only depends on the UID: spread without randomness. FNV-1a, 64 bits.
pub fn spread(uid: &str) -> f64 {
    let hash = uid.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    // The upper bits are the better mixed ones; 53 of them fit a float.
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

/// The times of the live line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it is refreshed.
    pub refresh_at: Timestamp,
    /// When its access token ends.
    pub expires_at: Timestamp,
    /// From here on an answered failure leads to a new line.
    pub close_at: Timestamp,
}

/// When the live line is refreshed, so that `before_expiry` is kept and not all resources come at once.
pub fn line(live: &Live, before_expiry: Duration, uid: &str) -> Line {
    let lifetime = left(live.sent_at, live.expires_at);
    let margin = before_expiry.min(lifetime * 2 / 3);
    let early = lifetime.mul_f64(0.1 * spread(uid));
    let refresh_at = before(after(live.sent_at, lifetime / 3).max(before(live.expires_at, margin)), early);
    Line { refresh_at, expires_at: live.expires_at, close_at: before(live.expires_at, margin / 2) }
}

/// Clocks that differ by less are taken for one.
const SKEW: Duration = Duration::from_secs(60);

/// The clock went back by more than a minute since the token was asked for: how long it still lives cannot be told.
pub(super) fn clock_went_back(live: &Live, now: Timestamp) -> bool {
    live.sent_at > after(now, SKEW)
}

/// Whether `time` is still to come, when it was `at_most` so far ahead as it was set. One that is further ahead was set before the clock went
/// back, and nothing waits for it.
pub(super) fn is_ahead(time: Timestamp, now: Timestamp, at_most: Duration) -> bool {
    now < time && time <= after(after(now, at_most), SKEW)
}

/// Whether a failed call is not to be tried again yet.
pub(super) fn is_paused(policy: &Policy, failed: &Failed, now: Timestamp) -> bool {
    is_ahead(failed.not_before, now, policy.retry_max.max(policy.rejected_retry.mul_f64(1.1)))
}

/// Whether a failed revocation is not to be tried again yet.
pub(super) fn is_revocation_paused(policy: &Policy, retiring: &Retiring, now: Timestamp) -> bool {
    retiring.not_before.is_some_and(|time| is_ahead(time, now, policy.retry_max.max(policy.revoke_retry_max)))
}

/// Whether a failure that is on record is this one or a later one.
pub(super) fn is_told_by(sent_at: Timestamp, failed: &Failed) -> bool {
    failed.at == sent_at || is_ahead(failed.at, sent_at, Duration::ZERO)
}

/// When a call that failed is tried again: sooner as expiry nears, later the longer there has been no token.
pub(super) fn retry_at(
    policy: &Policy,
    now: Timestamp,
    record: &Record,
    since: Timestamp,
    pair_was_rejected: bool,
    retry_after: Option<Duration>,
) -> Timestamp {
    let remaining = record.live.as_ref().map_or(Duration::ZERO, |live| left(now, live.expires_at));
    let (pause, cap) =
        if remaining.is_zero() { (left(since, now) / 4, policy.retry_max) } else { (remaining / 4, policy.retry_max.min(remaining / 2)) };
    let pause = pause.clamp(policy.retry_min, policy.retry_max);
    if pair_was_rejected && remaining.is_zero() {
        return after(now, policy.rejected_retry.mul_f64(0.9 + 0.2 * spread(&record.resource.uid)));
    }
    after(now, retry_after.map_or(pause, |asked| pause.max(asked.min(cap))))
}

/// When a revocation that failed is tried again. `due`: since when it has been wanted.
pub(super) fn revoke_again_at(
    policy: &Policy,
    now: Timestamp,
    due: Timestamp,
    somebody_waits: bool,
    retry_after: Option<Duration>,
) -> Timestamp {
    let cap = if somebody_waits { policy.retry_max } else { policy.revoke_retry_max };
    let pause = (left(due, now) / 4).clamp(policy.retry_min, cap);
    after(now, retry_after.map_or(pause, |asked| pause.max(asked.min(cap))))
}

/// The issue budget, a GCRA: when the next issue is allowed, if not now.
pub(super) fn budget_at(policy: &Policy, next_issue: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let budget_at = before(next_issue, policy.budget_interval * policy.budget_burst.saturating_sub(1));
    is_ahead(budget_at, now, policy.budget_interval).then_some(budget_at)
}

/// The budget after one more issue, which is allowed.
pub(super) fn charge(policy: &Policy, next_issue: Timestamp, now: Timestamp) -> Timestamp {
    let burst = policy.budget_interval * policy.budget_burst;
    let used = if is_ahead(next_issue, now, burst) { next_issue } else { now };
    after(used, policy.budget_interval)
}

/// The budget when that issue did not come about.
pub(super) fn give_back(policy: &Policy, next_issue: Timestamp) -> Timestamp {
    before(next_issue, policy.budget_interval)
}
