//! One pass: plan, perform, fold, until there is nothing more to do.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    error::Error,
    gate::Permit,
    look,
    perform::perform,
    slot::Slot,
    status::{Written, write_status},
};
use crate::{
    planner::{
        self, Act, Answer, Came, Cause, Change, Lane, Ledger, Look, Observed, Plan, Remains, Resource, ResourceId, Rest, Sight, Sighted,
        Stamp, Target, Until, fold, plan,
    },
    revoiceit::{Auth, Revoked},
    runtime::metrics::{IssueCause, Revocation},
};

/// First pause when the API server cannot be reached while something is in hand; doubles up to [`HOLD_MAX`].
const HOLD: Duration = Duration::from_secs(1);
/// Longest pause while something is in hand.
const HOLD_MAX: Duration = Duration::from_secs(15);
/// A pass that waits for a permit looks at the wall clock as often as this.
const CLOCK_LOOK: Duration = Duration::from_secs(5);

/// How a pass ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// When the next one is due.
    pub(super) until: Until,
    /// What the operator still holds. `None`: the pass was broken off, and did not see that.
    pub(super) left: Option<Remains>,
}

/// Does what is to be done for one resource, and says when the next pass is due.
///
/// An error is trouble with reaching the Kubernetes API and nothing else; the record is unchanged by it. While Revoiceit's answer is in hand
/// the pass does not end: the save is tried until it is in. If the process dies before that, the intent tells of it. Nor does it end while it
/// is not known whether its intent was saved.
///
/// `stop` ends the pass only where nothing is lost by it: while it waits for a permit, and between two acts before it has sent a call. What
/// was answered is delivered and told as ever: by that the next leader learns of it, which would otherwise wait until the intent has run out.
///
/// `news`, which `stop` is too, ends it while it waits for a permit, and so does the time at which something else may be due: where an endpoint
/// hangs, it may be long before a call is let through, and meanwhile the resource is deleted, its deadline passes, or its target is to be restored.
pub(super) async fn pass<A: Auth>(
    cx: &Context<A>,
    id: Arc<ResourceId>,
    slot: &mut Slot,
    stop: &CancellationToken,
    news: &CancellationToken,
) -> Result<Ended, Error> {
    let mut seen = Observed::begin(id, stamp(), cx.policy.clone(), cx.place.clone());
    let mut is_guessed = false;
    // Whoever waits for a permit holds what a pass holds, and there may be as many of them as there are resources. So what talks to the API server,
    // which is large, is held only while it does.
    if let Some(glance) = Box::pin(look::glance(cx, &seen)).await? {
        is_guessed = glance.is_guessed;
        seen = with(seen, glance.look);
    }
    let mut permit: Option<(Permit, Lane)> = None;
    let mut pause = HOLD;
    // When the token ends that a new one takes the place of.
    let mut ends_at = None;
    // An intent may have been saved although no reply said so: to the next pass it would look like a crash.
    let mut is_in_doubt = false;
    loop {
        let now = cx.now();
        if stop.is_cancelled() && seen.spent.calls == 0 && !holds_on(&seen) {
            return Ok(broken_off(now));
        }
        let act = match plan(&seen, now) {
            Plan::Rest(_) if is_guessed && seen.sighted == Sighted::Glance => Act::Look,
            // No ledger takes it, and it could not be revoked. No record may tell of it either: the first refresh that rotates has no intent.
            Plan::Rest(rest) if seen.hand.refresh_token().is_some() => {
                if let Err(error) = Box::pin(finish(cx, &seen, rest)).await {
                    tracing::warn!(error = %error.told(), "the status was not written while a token is in hand");
                }
                slot.parked(tokio::time::sleep(pause)).await;
                pause = (pause * 2).min(HOLD_MAX);
                seen = fold(seen, Came::Paused);
                continue;
            }
            Plan::Rest(rest) => match Box::pin(finish(cx, &seen, rest)).await? {
                // The cache lags behind, for as long as its watch is broken: from another glance would come the same status, and conflict.
                None if seen.sighted == Sighted::Glance => Act::Look,
                until => return Ok(Ended { until: until.unwrap_or(Until::At(now)), left: Some(planner::remains(&seen)) }),
            },
            Plan::Act(act) => act,
        };
        let act = match act.leads_to() {
            Some(lane) if permit.as_ref().is_none_or(|(_, held)| *held != lane) => {
                drop(permit.take());
                let deadline = planner::deadline(&seen, &act, now);
                let mut patience = Patience::Endless;
                if !holds_on(&seen) {
                    patience = Patience::Until(planner::next_wake(&seen, now), news);
                    if !cx.gate.is_free(lane)
                        && let Some(rest) = planner::overdue(&seen, now)
                    {
                        // Best effort: a status that cannot be written must not keep the call out of the line.
                        if let Err(error) = Box::pin(finish(cx, &seen, rest)).await {
                            tracing::warn!(error = %error.told(), "the status was not written before a call is waited for");
                        }
                    }
                }
                seen = seen.without_sights();
                permit = slot.waits(wait(cx, deadline, lane, patience)).await.map(|granted| (granted, lane));
                if permit.is_none() {
                    return Ok(broken_off(cx.now()));
                }
                Act::Look
            }
            _ if seen.sighted == Sighted::Glance => Act::Look,
            _ => act,
        };
        tracing::debug!(?act, "act");
        is_in_doubt |= matches!(act, Act::SaveLedger(Change::Intend { .. }));
        let came = if act.is_call() {
            // Who waits for Revoiceit does not keep others from talking to Kubernetes.
            slot.parked(Box::pin(perform(cx, &act, &seen))).await
        } else {
            Box::pin(perform(cx, &act, &seen)).await
        };
        let came = match came {
            Ok(came) => came,
            Err(error) if holds_on(&seen) || is_in_doubt => {
                tracing::warn!(error = %error.told(), "the pass goes on, or what it has in hand or in the ledger would be lost");
                // However long that takes, it keeps nobody else from the API server.
                slot.parked(tokio::time::sleep(pause)).await;
                pause = (pause * 2).min(HOLD_MAX);
                Came::Changed
            }
            Err(error) => return Err(error),
        };
        is_in_doubt &= matches!(came, Came::Changed);
        if act.is_call() {
            permit = None;
            ends_at = ends_at.or_else(|| seen.record()?.live.as_ref().map(|live| live.expires_at));
        }
        measure(cx, &act, &came, &seen, ends_at);
        seen = fold(seen, came);
    }
}

/// Drawn for each pass and never used again: an intent with it is this pass's own.
pub(super) fn stamp() -> Stamp {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bits = [0_u8; 16];
    SystemRandom::new().fill(&mut bits).unwrap_or_else(|_| unreachable!("the system's random numbers are always there"));
    Stamp::new(bits.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Ending now would lose something, or let it look lost. An intent that ran out unsent is still this pass's to withdraw, and nobody else's.
fn holds_on(seen: &Observed) -> bool {
    !seen.hand.is_empty() || seen.my_intent().is_some()
}

pub(super) fn with(seen: Observed, look: Look) -> Observed {
    fold(seen, Came::Saw(Sight::Look(Box::new(look))))
}

/// It comes back at once, unless nobody serves the queue any more.
fn broken_off(now: Timestamp) -> Ended {
    Ended { until: Until::At(now), left: None }
}

/// For how long a pass waits for a permit.
enum Patience<'a> {
    /// It has something that would be lost.
    Endless,
    /// Until this time, if there is one, or until there is news.
    Until(Option<Timestamp>, &'a CancellationToken),
}

impl Patience<'_> {
    async fn ends(&self, clock: fn() -> Timestamp) {
        let Self::Until(time, news) = self else { return std::future::pending().await };
        let time_comes = async {
            let Some(time) = *time else { return std::future::pending().await };
            while clock() < time {
                tokio::time::sleep(planner::left(clock(), time).min(CLOCK_LOOK)).await;
            }
        };
        tokio::select! {
            () = news.cancelled() => {}
            () = time_comes => {}
        }
    }
}

/// The permit, or `None` when there may be something else to do first.
async fn wait<A: Auth>(cx: &Context<A>, deadline: Timestamp, lane: Lane, patience: Patience<'_>) -> Option<Permit> {
    let began = tokio::time::Instant::now();
    let waits = cx.gate.wait(deadline, lane);
    cx.metrics.gate_waiting(lane, cx.gate.depth(lane) + 1);
    let permit = tokio::select! {
        biased;
        permit = waits => Some(permit),
        () = patience.ends(cx.clock) => None,
    };
    cx.metrics.gate_waiting(lane, cx.gate.depth(lane));
    if permit.is_some() {
        cx.metrics.gate_passed(lane, began.elapsed());
    }
    permit
}

/// What this act adds to the metrics.
fn measure<A: Auth>(cx: &Context<A>, act: &Act, came: &Came, seen: &Observed, ends_at: Option<Timestamp>) {
    match (act, came) {
        (Act::Issue { .. }, Came::Answered { answer: Answer::Issue(Ok(_)), .. }) => {
            if let Some(cause) = seen.my_intent().and_then(|intent| issue_cause(intent.cause)) {
                cx.metrics.token_issued(cause);
            }
        }
        (_, Came::Answered { answer: Answer::Revoke(_, outcome), .. }) => {
            cx.taken.revoked(outcome.is_ok());
            cx.metrics.revocation(match outcome {
                Ok(Revoked::Confirmed) => Revocation::Confirmed,
                Ok(Revoked::Unknown) => Revocation::Unknown,
                Err(_) => Revocation::Failed,
            });
        }
        (Act::DeleteTarget(_), Came::Saw(Sight::Target(_, Target::Absent))) => cx.taken.deleted(),
        (Act::Release, Came::Saw(_)) => cx.taken.released(),
        (Act::WriteTarget(_), Came::Saw(_)) if seen.spent.calls > 0 => {
            if let Some(ends_at) = ends_at {
                cx.metrics.token_replaced(ends_at.duration_since(cx.now()).as_secs_f64());
            }
        }
        (Act::DeleteLedger, Came::Saw(_)) => {
            cx.metrics.tokens_unaccounted(seen.record().map_or(0, |record| u64::from(record.suspects.lost)));
        }
        (Act::SaveLedger(_), Came::Saw(Sight::Ledger(Ledger::Here { record, .. }))) => {
            let disputed = seen.record().is_some_and(|before| before.suspects.disputed < record.suspects.disputed);
            if disputed {
                cx.metrics.revocation(Revocation::Disputed);
            }
        }
        _ => {}
    }
}

fn issue_cause(cause: Cause) -> Option<IssueCause> {
    match cause {
        Cause::First => Some(IssueCause::First),
        Cause::CredentialsChanged => Some(IssueCause::CredentialsChanged),
        Cause::RotationRequested => Some(IssueCause::RotationRequested),
        Cause::RefreshRejected => Some(IssueCause::RefreshRejected),
        Cause::RefreshFailing => Some(IssueCause::RefreshFailed),
        Cause::Refresh => None,
    }
}

/// Status and telling, and when the next pass is due. `None`: the resource is another one than was seen.
///
/// What is told is what the status says newly, so it is told when that has been written, and not again and again while it cannot be.
async fn finish<A: Auth>(cx: &Context<A>, seen: &Observed, rest: Rest) -> Result<Option<Until>, Error> {
    let Rest { until, status, tell } = rest;
    if matches!(until, Until::Forgotten) {
        cx.absences.found(&seen.id.uid);
        cx.repairs.forget(&seen.id.uid);
        cx.facts.forget(&seen.id.uid);
    } else if let Some(status) = &status {
        let is_served = matches!(&seen.resource, Resource::Wanted(resource) if !resource.spec.suspend);
        cx.facts.learn(&seen.id, status, seen.record(), is_served);
    } else if matches!(seen.resource, Resource::Unreadable(_)) {
        cx.facts.unreadable(&seen.id);
    } else {
        // It is gone, or another operator speaks of it. What this one holds counts all the same.
        cx.facts.outlived(&seen.id, seen.record());
    }
    let is_unattended = is_unattended(cx, seen);
    if cx.facts.unattended(&seen.id.uid, is_unattended) && is_unattended {
        tracing::warn!("a ledger is left alone: its resource is out of scope (--namespace), or is gone and the ledger cannot be used");
    }
    if let Some(status) = status
        && write_status(cx, seen, &status).await? == Written::Conflict
    {
        return Ok(None);
    }
    for notice in &tell {
        cx.events.publish(notice, seen).await;
    }
    Ok(Some(until))
}

/// No watch has the resource, and there is a ledger for which this pass could do nothing.
fn is_unattended<A: Auth>(cx: &Context<A>, seen: &Observed) -> bool {
    let is_left = match &seen.ledger {
        Ledger::Absent => false,
        Ledger::Unusable(_) => true,
        Ledger::Here { .. } => matches!(seen.resource, Resource::Wanted(_) | Resource::Unreadable(_)),
    };
    is_left && !cx.watched.has(&seen.id.uid)
}
