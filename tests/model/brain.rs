//! The production planner, asked through a memory: very many states of the model ask the same questions.

use jiff::Timestamp;
use revoiceit_operator::planner::{self as real, Observed};

use crate::{
    codec::{self, Codec},
    hash::{self, Map, Set},
    sight::{Act, Came, Change, LedgerSight, Plan, Reading, ResourceSight, Rest, Seen, Sighted, SourceSight, TargetSight, Which},
    world::{Credentials, Held, NAMES, Record, Stamp},
};

/// What is checked: the production functions, or the same with one rule broken.
#[derive(Clone, Copy)]
pub(crate) struct Planner {
    pub(crate) plan: fn(&Observed, Timestamp) -> real::Plan,
    pub(crate) fold: fn(Observed, real::Came) -> Observed,
    pub(crate) revised: fn(&Observed, &real::Change) -> real::Record,
    /// The line that targets are written from.
    pub(crate) live: fn(&Observed) -> Option<real::Live>,
}

impl Planner {
    pub(crate) const PRODUCTION: Self = Self { plan: real::plan, fold: real::fold, revised: real::revised, live };
}

fn live(seen: &Observed) -> Option<real::Live> {
    seen.record()?.live.clone()
}

/// The planner, and what it has answered so far.
pub(crate) struct Brain {
    pub(crate) codec: Codec,
    planner: Planner,
    plans: Map<Seen, Plan>,
    folds: Map<(Seen, Came), Seen>,
    sources: Map<(Seen, Option<u8>), bool>,
    forgotten: Set<Seen>,
}

impl Brain {
    pub(crate) fn new(policy: real::Policy, planner: Planner) -> Self {
        let (plans, folds, sources) = (Map::default(), Map::default(), Map::default());
        Self { codec: Codec::new(policy), planner, plans, folds, sources, forgotten: Set::default() }
    }

    /// How many different questions were asked.
    pub(crate) fn asked(&self) -> usize {
        self.plans.len() + self.folds.len()
    }

    /// The memory that the answers take.
    pub(crate) fn bytes(&self) -> usize {
        self.plans.capacity() * size_of::<(Seen, Plan)>()
            + self.folds.capacity() * size_of::<((Seen, Came), Seen)>()
            + self.sources.capacity() * size_of::<(Seen, Option<u8>)>()
            + self.forgotten.capacity() * size_of::<Seen>()
    }

    pub(crate) fn plan(&mut self, seen: &Seen) -> Plan {
        if let Some(plan) = self.plans.get(seen) {
            return *plan;
        }
        let observed = self.codec.observed(seen);
        let plan = self.small_plan(seen, &observed, (self.planner.plan)(&observed, codec::now()));
        self.plans.insert(*seen, plan);
        plan
    }

    pub(crate) fn fold(&mut self, seen: &Seen, came: Came) -> Seen {
        if let Some(after) = self.folds.get(&(*seen, came)) {
            return *after;
        }
        let after = match &came {
            Came::Waited => self.codec.observed(seen).without_sights(),
            Came::Glance => {
                let look = real::Sight::Look(Box::new(self.codec.look(seen, None)));
                (self.planner.fold)(self.codec.observed(&Seen { drain_until: seen.drain_until, ..Seen::NOTHING }), real::Came::Saw(look))
            }
            Came::Look(reading) => {
                let look = real::Sight::Look(Box::new(self.codec.look(seen, Some(reading.began_at))));
                (self.planner.fold)(self.codec.before_look(seen, reading), real::Came::Saw(look))
            }
            came => (self.planner.fold)(self.codec.observed(seen), self.codec.came(came)),
        };
        let after = self.codec.seen(&after);
        self.folds.insert((*seen, came), after);
        after
    }

    /// Whether the look has to read the credentials' content. All but the credentials has been read.
    pub(crate) fn reads_credentials(&mut self, seen: &Seen, had_pair: bool, indexed: Option<u8>) -> bool {
        // The rule asks whether the pass has read a pair before, not which.
        let source = if had_pair { SourceSight::Found(Credentials::default()) } else { SourceSight::Missing };
        let seen = Seen { source, ..*seen };
        let codec = &self.codec;
        *self
            .sources
            .entry((seen, indexed))
            .or_insert_with(|| real::reads_credentials(&codec.observed(&seen), indexed.map(codec::version).as_ref()))
    }

    /// Begins a look: what it replaces is forgotten, but for what `fold` asks of it. That it asks for no more is made sure each time.
    pub(crate) fn forget(&mut self, seen: &Seen) -> (Seen, Reading) {
        let is_claimed = matches!(seen.resource, ResourceSight::Here { resource, .. } if resource.held == Held::Claimed);
        let reading = Reading {
            done: 0,
            began_at: 0,
            had_intent: seen.record().is_some_and(|record| record.intent.is_some_and(|intent| intent.stamp == Stamp::Mine)),
            had_pair: matches!(seen.source, SourceSight::Found(_)),
            found: 0,
        };
        let forgetful = Seen {
            sighted: Sighted::No,
            resource: ResourceSight::NotFound { proven: false },
            ledger: None,
            source: SourceSight::Missing,
            targets: [TargetSight::Unread; NAMES],
            finalizer_seen: seen.finalizer_seen || is_claimed,
            ..*seen
        };
        if self.forgotten.insert(*seen) {
            for ledger in [None, seen.ledger, Some(LedgerSight { record: Record::default(), is_current: true })] {
                let look = |seen| real::Came::Saw(real::Sight::Look(Box::new(self.codec.look(&seen, Some(0)))));
                let with_memory = (self.planner.fold)(self.codec.observed(seen), look(Seen { ledger, ..*seen }));
                let without = (self.planner.fold)(self.codec.before_look(&forgetful, &reading), look(Seen { ledger, ..*seen }));
                assert_eq!(self.codec.seen(&with_memory), self.codec.seen(&without), "fold asks for more of what a look replaces");
            }
        }
        (forgetful, reading)
    }

    /// What a write of the target puts into it.
    fn written(&self, observed: &Observed) -> Option<u8> {
        self.codec.content(observed, &(self.planner.live)(observed)?)
    }

    fn small_plan(&self, seen: &Seen, observed: &Observed, plan: real::Plan) -> Plan {
        let act = match plan {
            real::Plan::Act(act) => act,
            real::Plan::Rest(rest) => return Plan::Rest(small_rest(&rest)),
        };
        let lane = act.leads_to();
        let act = match act {
            real::Act::Look => Act::Look,
            real::Act::TryTarget(name) => Act::TryTarget(codec::name_of(name.as_str())),
            real::Act::WriteTarget(name) => {
                Act::WriteTarget { name: codec::name_of(name.as_str()), content: self.written(observed).expect("something to write") }
            }
            real::Act::DeleteTarget(name) => Act::DeleteTarget(codec::name_of(name.as_str())),
            real::Act::SaveLedger(change) => {
                let record = self.codec.small_record(&(self.planner.revised)(observed, &change));
                Act::SaveLedger { change: small_change(&change), record }
            }
            real::Act::DeleteLedger => Act::DeleteLedger,
            real::Act::Claim => Act::Claim,
            real::Act::Release => Act::Release,
            real::Act::Issue { until } => Act::Issue { until: codec::time(until) },
            real::Act::Refresh { revision, until } => {
                let live = seen.record().and_then(|record| record.live).expect("a line to refresh");
                assert_eq!(u64::from(live.revision), revision, "only the live line is refreshed");
                Act::Refresh { revision: live.revision, token: live.refresh, until: until.map(codec::time) }
            }
            real::Act::Revoke(real::Which::Revision(revision)) => {
                let revision = u8::try_from(revision).expect("few revisions");
                let token = seen.record().and_then(|record| token_of(record, revision)).expect("a token of that revision");
                Act::Revoke { which: Which::Revision(revision), token }
            }
            real::Act::Revoke(real::Which::InHand) => {
                Act::Revoke { which: Which::InHand, token: seen.hand.refresh_token().expect("a token in hand") }
            }
            real::Act::Tell(_) => Act::Tell,
        };
        Plan::Act { act, lane }
    }
}

/// As the shell finds the token that an act names.
fn token_of(record: &Record, revision: u8) -> Option<u8> {
    let live = record.live.filter(|live| live.revision == revision).map(|live| live.refresh);
    live.or_else(|| record.retiring.iter().find(|retiring| retiring.revision == revision).map(|retiring| retiring.refresh))
}

fn small_rest(rest: &real::Rest) -> Rest {
    let ready = rest.status.iter().flat_map(|status| &status.conditions).find(|condition| condition.type_ == "Ready");
    Rest {
        says: ready.map_or(0, |ready| 1 | hash::wide(&ready.reason) as u16),
        is_ready: ready.is_some_and(|ready| ready.status == "True"),
        until: match rest.until {
            real::Until::At(at) => Some(codec::time(at)),
            real::Until::Woken | real::Until::Forgotten => None,
        },
    }
}

fn small_change(change: &real::Change) -> Change {
    let number = |name: &real::Name| codec::name_of(name.as_str());
    match change {
        real::Change::Intend { intent, .. } => match intent.call {
            real::IntentCall::Issue => Change::IntendIssue,
            real::IntentCall::Refresh { .. } => Change::IntendRefresh,
        },
        real::Change::Withdraw => Change::Withdraw,
        real::Change::Clear => Change::Clear,
        real::Change::Suspect => Change::Suspect,
        real::Change::Fold { .. } => Change::Fold,
        real::Change::Shorten { .. } => Change::Shorten,
        real::Change::Retire { .. } => Change::Retire,
        real::Change::GiveUp { .. } => unreachable!("no revocation is refused here"),
        real::Change::List(name) => Change::List(number(name)),
        real::Change::Unlist { name, .. } => Change::Unlist(number(name)),
        real::Change::Forget(name) => Change::Forget(number(name)),
        real::Change::Close => Change::Close,
        real::Change::Lost { .. } => Change::Lost,
    }
}
