//! Visits all numbers of one kind in a state: times, tokens, revisions, ranks.

use crate::{
    sight::{Called, Failure, Hand, Line, Pass, Phase, ResourceSight, Seen, Sighted, TargetSight, is_token},
    state::State,
    wake::NEVER,
    world::{Failed, IntentCall, Listed, Record, Target, Time, Write},
};

/// Visits what it overrides.
pub(crate) trait Visitor {
    /// Past times are alike below the floor.
    fn time(&mut self, _time: &mut Time, _floor: Time) {}
    fn refresh_token(&mut self, _token: &mut u8) {}
    fn access_token(&mut self, _token: &mut u8) {}
    fn revision(&mut self, _uid: usize, _revision: &mut u8) {}
}

/// It is past, and that is all that matters.
const PAST: Time = -1;
/// Older than a look may be.
const STALE: Time = -61;
/// Longer ago than a name lingers, seen in a look that is as old as it may be.
const LINGERED: Time = -200;
/// Longer ago than an access token lives.
const EXPIRED: Time = -3601;
/// Longer ago than a deletion waits, and than the two NotFounds that are a proof lie apart.
const OVER: Time = -301;

pub(crate) fn state(state: &mut State, v: &mut impl Visitor) {
    let world = &mut state.world;
    world.drain_until.iter_mut().for_each(|at| v.time(at, PAST));
    for (uid, record) in world.ledgers.iter_mut().enumerate() {
        record.iter_mut().for_each(|it| self::record(it, uid, v));
    }
    if let Some(backup) = &mut world.backup {
        record(&mut backup.record, 0, v);
        content(&mut backup.content, v);
    }
    for target in &mut world.targets {
        if let Target::Ours { content, .. } = target {
            self::content(content, v);
        }
    }
    for pass in state.passes.iter_mut().flatten() {
        self::pass(pass, v);
    }
    if let Some(late) = &mut world.late {
        v.time(&mut late.until, PAST);
        match &mut late.write {
            Write::Target { content, .. } => self::content(content, v),
            Write::Ledger { record, uid, .. } => self::record(record, usize::from(*uid), v),
            Write::DeleteTarget { .. } | Write::DeleteLedger { .. } | Write::Claim { .. } | Write::Release { .. } => {}
        }
    }
    for access in world.access_tokens.iter_mut() {
        v.time(&mut access.expires_at, PAST);
        v.refresh_token(&mut access.of);
    }
    world.resources.iter_mut().flatten().flat_map(|resource| &mut resource.deleted_at).for_each(|at| v.time(at, OVER));
    state.absent_since.iter_mut().flatten().flatten().for_each(|at| v.time(at, OVER));
    let due = state.wakes.iter_mut().flat_map(|wakes| wakes.due.iter_mut().flatten());
    due.filter(|due| **due != NEVER).for_each(|due| v.time(due, 0));
}

pub(crate) fn pass(pass: &mut Pass, v: &mut impl Visitor) {
    if let Phase::Read(reading) = &mut pass.phase {
        v.time(&mut reading.began_at, STALE);
    }
    let uid = usize::from(pass.uid);
    let Seen { sighted, resource, ledger, source: _, targets, hand, refused: _, finalizer_seen: _, spent: _, drain_until } = &mut pass.seen;
    drain_until.iter_mut().for_each(|at| v.time(at, PAST));
    if let Sighted::Look(at) = sighted {
        v.time(at, STALE);
    }
    if let ResourceSight::Here { resource, .. } = resource {
        resource.deleted_at.iter_mut().for_each(|at| v.time(at, OVER));
    }
    ledger.iter_mut().for_each(|ledger| record(&mut ledger.record, uid, v));
    for target in targets {
        if let TargetSight::Ours { content, .. } = target {
            self::content(content, v);
        }
    }
    self::hand(hand, uid, v);
}

fn content(content: &mut u8, v: &mut impl Visitor) {
    if is_token(*content) {
        v.access_token(content);
    }
}

fn record(record: &mut Record, uid: usize, v: &mut impl Visitor) {
    v.revision(uid, &mut record.next_revision);
    v.time(&mut record.next_issue, PAST);
    if let Some(live) = &mut record.live {
        v.revision(uid, &mut live.revision);
        v.refresh_token(&mut live.refresh);
        v.access_token(&mut live.access);
        v.time(&mut live.expires_at, PAST);
    }
    for retiring in record.retiring.iter_mut() {
        v.revision(uid, &mut retiring.revision);
        v.refresh_token(&mut retiring.refresh);
        v.time(&mut retiring.due, PAST);
        retiring.not_before.iter_mut().for_each(|at| v.time(at, PAST));
        retiring.worked_at.iter_mut().for_each(|at| v.time(at, EXPIRED));
    }
    if let Some(intent) = &mut record.intent {
        v.time(&mut intent.until, PAST);
        if let IntentCall::Refresh(revision) = &mut intent.call {
            v.revision(uid, revision);
        }
    }
    for Failed { at, not_before, .. } in record.failed_issue.iter_mut().chain(&mut record.failed_refresh) {
        v.time(at, LINGERED);
        v.time(not_before, PAST);
    }
    for listed in &mut record.listed {
        if let Listed::Left(at) = listed {
            v.time(at, LINGERED);
        }
    }
}

fn hand(hand: &mut Hand, uid: usize, v: &mut impl Visitor) {
    match hand {
        Hand::Nothing => {}
        Hand::Granted { access, refresh, sent_at, .. } => {
            v.access_token(access);
            v.refresh_token(refresh);
            v.time(sent_at, EXPIRED);
        }
        Hand::Refreshed { of, access, rotated, sent_at } => {
            line(of, uid, v);
            v.access_token(access);
            rotated.iter_mut().for_each(|token| v.refresh_token(token));
            v.time(sent_at, EXPIRED);
        }
        Hand::Failed { call, failure, sent_at } => {
            if let Called::Refresh(of) = call {
                line(of, uid, v);
            }
            if let Failure::Malformed { refresh: Some(token) } = failure {
                v.refresh_token(token);
            }
            v.time(sent_at, LINGERED);
        }
        Hand::Ended { token, .. } | Hand::NotEnded { token, .. } => v.refresh_token(token),
    }
}

fn line(line: &mut Line, uid: usize, v: &mut impl Visitor) {
    v.revision(uid, &mut line.revision);
    v.refresh_token(&mut line.token);
}

/// Lets time pass: all times come nearer.
pub(crate) fn pass_time(state: &mut State, seconds: Time) {
    struct Passing(Time);
    impl Visitor for Passing {
        fn time(&mut self, time: &mut Time, floor: Time) {
            *time = time.saturating_sub(self.0).max(floor);
        }
    }
    self::state(state, &mut Passing(seconds));
    // The server has given up on it.
    state.world.late = state.world.late.filter(|late| late.until >= 0);
}
