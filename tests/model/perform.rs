//! What comes of an act: the two servers, and what can go wrong on the way to them and back.

use revoiceit_operator::planner::Refused;

use crate::{
    commit::Committed,
    pass::refusable,
    sight::{Act, Came, Change, Failure, Hand, Line, Pass, Phase, Plan, ResourceSight, TargetSight},
    state::{Model, Rotation, State, as_kept, as_seen_by},
    world::{AccessToken, BAD_PAIR, Cover, Credentials, Late, Record, RefreshToken, Stamp, Target, Write},
};

/// How long the API server may take over a request whose sender has given up.
const REQUEST_TIMEOUT: i16 = 60;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is processed and answered.
    Plain,
    /// A write is processed, and the reply is lost.
    Committed,
    /// A write is not processed, and nobody says so.
    Dropped,
    /// A write is processed later, and nobody says so.
    Late,
    /// The API server refuses a write.
    Denied,
    /// A call fails.
    Fails(Fault),
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    NotSent,
    /// No answer; not processed.
    Lost,
    /// No answer; processed.
    LostAnswer,
    Unavailable,
    Rejected,
    /// Processed; the answer cannot be used, and the refresh token in it can be read.
    Malformed,
    /// Processed; nothing of the answer can be read.
    Unreadable,
}

impl Model {
    /// What a pass is poised to do.
    pub(crate) fn act(&mut self, pass: &Pass) -> Option<Act> {
        match self.brain.plan(&pass.seen) {
            Plan::Act { act, .. } if pass.phase == Phase::Poised => Some(act),
            _ => None,
        }
    }

    pub(crate) fn perform(&mut self, state: &mut State, replica: usize, outcome: Outcome) {
        let pass = *state.pass(replica);
        let act = self.act(&pass).expect("an act");
        if outcome == Outcome::Denied {
            let refused = refusable(&act).expect("a write");
            if refused == Refused::Ledger
                && let Some(token) = pass.seen.hand.refresh_token()
            {
                // What cannot be saved is revoked, and its cause may have another. That an earlier save of it comes late takes two faults.
                state.world.allow_issues(pass.uid, 1);
                state.world.refresh_tokens[usize::from(token)].is_excused |= state.world.late.is_some();
            }
            return self.came(state, replica, Came::Denied(refused));
        }
        let came = match act {
            Act::Look => unreachable!("a look is read step by step"),
            Act::TryTarget(name) => self.try_target(state, &pass, name),
            Act::Tell => Came::Told,
            Act::Issue { until } if until <= 0 => Came::Issued(Err(Failure::NotSent)),
            Act::Issue { .. } => Came::Issued(self.issue(state, replica, &pass, outcome)),
            Act::Refresh { revision, token, until } if until.is_some_and(|until| until <= 0) => {
                Came::Refreshed { of: Line { revision, token }, answer: Err(Failure::NotSent) }
            }
            Act::Refresh { revision, token, .. } => {
                Came::Refreshed { of: Line { revision, token }, answer: self.refresh(state, replica, &pass, token, outcome) }
            }
            Act::Revoke { which, token } => Came::Revoked { which, answer: self.revoke(state, replica, &pass, token, outcome) },
            write => return self.write(state, replica, &pass, write, outcome),
        };
        if matches!(act, Act::Issue { .. } | Act::Refresh { .. } | Act::Revoke { .. }) {
            state.pass(replica).permit = None;
        }
        self.came(state, replica, came);
    }

    /// After a save without an answer, with something in hand.
    pub(crate) fn read_back(&mut self, state: &mut State, replica: usize) {
        let pass = *state.pass(replica);
        let there = state.world.ledgers[usize::from(pass.uid)].map(|record| as_seen_by(self, state, replica, record));
        if self.laws.switches.judges_by_writer {
            let planned = match self.brain.plan(&pass.seen) {
                Plan::Act { act: Act::SaveLedger { record, .. }, .. } => Some(record),
                _ => None,
            };
            // Another wrote last, so the save failed for certain, and the token goes.
            if there != planned && there != pass.seen.record().copied() {
                return self.came(state, replica, Came::Denied(Refused::Ledger));
            }
        }
        // That there is none proves nothing beside a resource that was read before.
        self.came(state, replica, there.map_or(Came::Changed, |there| Came::Ledger(Some(there))));
    }

    fn write(&mut self, state: &mut State, replica: usize, pass: &Pass, act: Act, outcome: Outcome) {
        let (write, is_current) = self.request(state, replica, pass, act);
        match outcome {
            Outcome::Plain => {
                let came = match self.commit(state, write, is_current) {
                    Committed::Yes => reply(self, state, replica, pass, act),
                    Committed::No => Came::Changed,
                    Committed::Invalid => Came::Denied(Refused::Target),
                };
                return self.came(state, replica, came);
            }
            Outcome::Committed => {
                self.commit(state, write, is_current);
            }
            Outcome::Late if is_current => state.world.late = Some(Late { write, is_current, until: REQUEST_TIMEOUT }),
            _ => {}
        }
        if pass.seen.hand.refresh_token().is_some() && self.laws.switches.takes_silence_for_failure {
            return self.came(state, replica, Came::Denied(Refused::Ledger));
        }
        let has_intent = pass.seen.record().is_some_and(|record| record.intent.is_some_and(|intent| intent.stamp == Stamp::Mine));
        let may_have_intent = has_intent || matches!(act, Act::SaveLedger { change: Change::IntendIssue | Change::IntendRefresh, .. });
        if pass.seen.hand != Hand::Nothing && self.laws.reads_back && matches!(act, Act::SaveLedger { .. }) {
            state.pass(replica).phase = Phase::ReadBack;
        } else if pass.seen.hand != Hand::Nothing || may_have_intent {
            self.came(state, replica, Came::Changed);
        } else {
            self.give_up(state, replica);
        }
    }

    /// The request, and whether its precondition holds as far as versions go.
    fn request(&self, state: &State, replica: usize, pass: &Pass, act: Act) -> (Write, bool) {
        let uid = pass.uid;
        let switches = self.laws.switches;
        let target = |name: u8| pass.seen.targets[usize::from(name)];
        let ledger_is_current = pass.seen.ledger.is_none_or(|ledger| ledger.is_current) || switches.writes_ledgers_blindly;
        let resource_is_current = matches!(pass.seen.resource, ResourceSight::Here { is_current: true, .. });
        let others = state.world.ledgers[usize::from(1 - uid)].and_then(|record| record.live).map(|live| live.access);
        match act {
            Act::WriteTarget { name, content } => {
                let content = others.filter(|_| switches.confuses_ledgers).unwrap_or(content);
                let blindly = switches.writes_targets_blindly && state.world.targets[usize::from(name)] != Target::Absent;
                let creates = target(name) == TargetSight::Absent && !blindly;
                (Write::Target { name, owner: uid, content, creates }, creates || blindly || target(name).is_current())
            }
            Act::DeleteTarget(name) => (Write::DeleteTarget { name, uid }, target(name).is_current() || switches.writes_targets_blindly),
            Act::SaveLedger { change, record } => {
                let there = state.world.ledgers[usize::from(uid)];
                let creates = pass.seen.ledger.is_none() && !(switches.writes_ledgers_blindly && there.is_some());
                let record = as_kept(state, replica, record, there);
                (Write::Ledger { uid, record, creates, counts_loss: change == Change::Lost }, creates || ledger_is_current)
            }
            Act::DeleteLedger => {
                (Write::DeleteLedger { uid, issuer: state.issuers[replica], told: pass.seen.spent.told }, ledger_is_current)
            }
            Act::Claim => (Write::Claim { uid }, resource_is_current || switches.claims_blindly),
            Act::Release => {
                let is_denied = pass.seen.is_refused(Refused::Ledger);
                (Write::Release { uid, is_denied }, resource_is_current)
            }
            act => unreachable!("{act:?} is no write"),
        }
    }

    fn try_target(&mut self, state: &State, pass: &Pass, name: u8) -> Came {
        let there = state.world.targets[usize::from(name)];
        match pass.seen.targets[usize::from(name)] {
            // It is going to be deleted and created anew, which cannot be tried.
            TargetSight::Ours { is_immutable: true, .. } => Came::Tried(name),
            TargetSight::Absent if there == Target::Absent => Came::Tried(name),
            sight if sight.is_current() => Came::Tried(name),
            _ => Came::Changed,
        }
    }

    fn issue(&mut self, state: &mut State, replica: usize, pass: &Pass, outcome: Outcome) -> Result<(u8, u8), Failure> {
        let Some(Credentials { pair, .. }) = sent_pair(pass) else { unreachable!("an issue needs a pair") };
        if let Some(failure) = fails_before(outcome) {
            return Err(failure);
        }
        if pair == BAD_PAIR {
            return Err(Failure::Rejected);
        }
        let place = state.world.place_of(pass.uid);
        let left = &mut state.world.tally.issues_left[place];
        *left -= 1;
        if *left < 0 {
            self.violated("I2", "one cause has had two issues, and nothing was lost in between");
        }
        if outcome == Outcome::Fails(Fault::Malformed) {
            state.world.allow_issues(pass.uid, 1);
        }
        let cover = cover(state, replica, pass);
        let is_excused = cover != Cover::Intent && state.world.tally.was_missed[usize::from(pass.uid)];
        let refresh = state.world.refresh_tokens.place(RefreshToken {
            is_alive: true,
            uid: pass.uid,
            issuer: state.issuers[replica],
            is_excused,
            cover,
            ..RefreshToken::default()
        });
        let access = self.access_token(state, refresh);
        answered(outcome, (access, refresh), Some(refresh))
    }

    fn refresh(
        &mut self,
        state: &mut State,
        replica: usize,
        pass: &Pass,
        token: u8,
        outcome: Outcome,
    ) -> Result<(u8, Option<u8>), Failure> {
        if matches!(outcome, Outcome::Fails(Fault::Unavailable | Fault::Rejected | Fault::Malformed | Fault::Unreadable)) {
            // An answered failure may lead to a new line.
            state.world.allow_issues(pass.uid, 1);
        }
        if let Some(failure) = fails_before(outcome) {
            return Err(failure);
        }
        self.check_issuer(state, replica, token);
        let old = &mut state.world.refresh_tokens[usize::from(token)];
        if !old.is_alive {
            return Err(Failure::Rejected);
        }
        if self.laws.rotation == Rotation::Replaces {
            old.is_alive = false;
        }
        let rotated = (self.laws.rotation != Rotation::Never).then(|| {
            // The first rotation ever has no intent. So has one whose ledger was deleted by hand.
            let cover = cover(state, replica, pass);
            let is_covered = cover == Cover::Intent;
            // Without one nothing keeps another from trying the old token, and then its line seems to be dead.
            state.world.allow_issues(pass.uid, u8::from(!is_covered && self.laws.rotation == Rotation::Replaces));
            let is_known = pass.seen.record().is_some_and(|record| record.rotates);
            let is_excused = !is_covered && state.world.tally.was_missed[usize::from(pass.uid)];
            if is_known && cover != Cover::Suspect && !is_excused {
                self.check_refresh(state, replica, pass.uid, token);
            }
            let cover = if is_known { cover } else { Cover::Suspect };
            state.world.refresh_tokens.place(RefreshToken {
                is_alive: true,
                uid: pass.uid,
                issuer: state.issuers[replica],
                is_excused,
                cover,
                ..RefreshToken::default()
            })
        });
        let access = self.access_token(state, rotated.unwrap_or(token));
        answered(outcome, (access, rotated), rotated)
    }

    fn access_token(&self, state: &mut State, of: u8) -> u8 {
        state.world.access_tokens.place(AccessToken { of, rank: 0, expires_at: self.brain.codec.lifetime() })
    }

    fn revoke(&mut self, state: &mut State, replica: usize, pass: &Pass, token: u8, outcome: Outcome) -> Result<bool, Failure> {
        if let Some(failure) = fails_before(outcome) {
            return Err(failure);
        }
        self.check_issuer(state, replica, token);
        // A successor that came since the pass looked may read what was left to it, and whoever deletes cannot know.
        let is_known = pass.seen.resource == ResourceSight::Replaced;
        let is_first = !state.world.refresh_tokens[usize::from(token)].revoked_by_us;
        if is_first && (is_known || state.world.namesake(pass.uid).is_none_or(|resource| resource.uid == pass.uid)) {
            self.check_revocation(state, token);
        }
        // What a drain has closed, or was about to close when it was broken off, is revoked whoever delivers from it at the same time.
        let is_draining = state.world.tally.was_drained || state.world.drain_until.is_some();
        let is_closed = state.world.ledgers[usize::from(pass.uid)].is_some_and(|record| record.closed);
        let token = &mut state.world.refresh_tokens[usize::from(token)];
        let was_known = token.is_alive;
        token.is_alive = false;
        token.revoked_by_us |= !(is_draining && is_closed);
        answered(outcome, was_known, None)
    }
}

/// The pair that an issue of this pass sends.
fn sent_pair(pass: &Pass) -> Option<Credentials> {
    match pass.seen.source {
        crate::sight::SourceSight::Found(credentials) => Some(credentials),
        _ => None,
    }
}

/// What speaks for the token that a call of this pass brings.
fn cover(state: &State, replica: usize, pass: &Pass) -> Cover {
    let there = state.world.ledgers[usize::from(pass.uid)];
    if there.and_then(|there| there.intent).is_some_and(|intent| intent.stamp == Stamp::Of(replica as u8)) {
        return Cover::Intent;
    }
    // The call may leave just when another takes its intent for lost, and the ledger may go then.
    let is_counted = |record: &&Record| there.is_none_or(|there| there.lost > record.lost);
    let had_intent = |record: &Record| record.intent.is_some_and(|intent| intent.stamp == Stamp::Mine);
    if pass.seen.record().filter(is_counted).is_some_and(had_intent) { Cover::Suspect } else { Cover::Nothing }
}

/// Revoiceit has not processed it.
fn fails_before(outcome: Outcome) -> Option<Failure> {
    match outcome {
        Outcome::Fails(Fault::NotSent) => Some(Failure::NotSent),
        Outcome::Fails(Fault::Lost) => Some(Failure::Lost),
        Outcome::Fails(Fault::Unavailable) => Some(Failure::Unavailable),
        Outcome::Fails(Fault::Rejected) => Some(Failure::Rejected),
        _ => None,
    }
}

/// Revoiceit has processed it; this is what arrives.
fn answered<T>(outcome: Outcome, answer: T, readable: Option<u8>) -> Result<T, Failure> {
    match outcome {
        Outcome::Fails(Fault::LostAnswer) => Err(Failure::Lost),
        Outcome::Fails(Fault::Malformed) => Err(Failure::Malformed { refresh: readable }),
        Outcome::Fails(Fault::Unreadable) => Err(Failure::Malformed { refresh: None }),
        _ => Ok(answer),
    }
}

/// The reply to a write that succeeded is the new sight.
fn reply(model: &Model, state: &State, replica: usize, pass: &Pass, act: Act) -> Came {
    let target = |name: u8| Came::Target(name, TargetSight::of(&state.world, usize::from(name), pass.uid));
    match act {
        Act::WriteTarget { name, .. } | Act::DeleteTarget(name) => target(name),
        Act::SaveLedger { .. } | Act::DeleteLedger => {
            Came::Ledger(state.world.ledgers[usize::from(pass.uid)].map(|record| as_seen_by(model, state, replica, record)))
        }
        Act::Claim => Came::Resource(match (pass.seen.resource, state.world.namesake(pass.uid)) {
            (ResourceSight::Here { mut resource, .. }, Some(there)) => {
                resource.held = there.held;
                ResourceSight::Here { resource, is_current: true }
            }
            _ => unreachable!("a claim that succeeded"),
        }),
        // What was not being deleted is still there.
        Act::Release => Came::Resource(match (pass.seen.resource, state.world.namesake(pass.uid)) {
            (ResourceSight::Here { mut resource, .. }, Some(there)) if there.uid == pass.uid => {
                resource.held = there.held;
                ResourceSight::Here { resource, is_current: true }
            }
            _ => ResourceSight::Released,
        }),
        act => unreachable!("{act:?} is no write"),
    }
}
