//! Where a search begins, and what may happen in it.

use std::time::{Duration, Instant};

use revoiceit_operator::planner::{Consent, Policy};

use crate::{
    adversity::Adversity,
    brain::Planner,
    edits::Edit,
    search::{Found, Search},
    state::{Budget, Laws, Model, REPLICAS, Rotation, State, Switches},
    wake::Wakes,
    walks::{Dice, walk},
    world::{AccessToken, Backup, Credentials, Held, Listed, Live, NAMES, Record, RefreshToken, Resource, Target, Time, World},
};

/// One search.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) start: Start,
    pub(crate) budget: Budget,
    pub(crate) adversity: Adversity,
    pub(crate) laws: Laws,
    pub(crate) planner: Planner,
    /// Every n-th state has to come to rest; 0: none.
    pub(crate) liveness: u32,
    /// States after which the search is given up, unfinished.
    pub(crate) limit: usize,
    /// Acts of one pass. Counted only where there is a limit, because a count in the state makes many states.
    pub(crate) max_acts: u32,
}

/// What there is in the beginning.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// A resource that nobody has seen yet.
    Fresh,
    /// The same, and somebody else's Secret under the target's name.
    Foreign,
    /// A token that is delivered and lives for an hour.
    Live,
    /// The same as `Live`, to be refreshed now.
    Due,
    /// The same as `Due`, at a Revoiceit whose refreshes are known to rotate.
    Rotating,
    /// A line whose access token has expired, and whose target somebody has deleted.
    Expired,
    /// Two resources with one target, and nobody has seen either.
    Rivals,
    /// The same as `Live`, and another resource wants the same target.
    LiveRival,
    /// The same as `Live`, and a backup of it all.
    Backup,
    /// The same as `Live`, while everything is drained.
    Drain,
}

/// How a scenario is put together: `Scenario::new(Start::Live).time(2).edits(1, &[Edit::Rename]).faults(1, Adversity::ANY_FAULT)`.
impl Scenario {
    pub(crate) const fn new(start: Start) -> Self {
        let laws = Laws {
            rotation: Rotation::Never,
            switches: Switches::AS_DESIGNED,
            glances: true,
            reads_back: false,
            statuses: false,
            waits_for_events: false,
            is_led: false,
        };
        let budget = Budget { time: 0, faults: 0, edits: 0, kills: 0, losses: 0 };
        let (adversity, planner) = (Adversity::NONE, Planner::PRODUCTION);
        Self { start, budget, adversity, laws, planner, liveness: 1, limit: 5_000_000, max_acts: u32::MAX }
    }

    /// How often time goes on to the next moment.
    pub(crate) const fn time(self, time: u8) -> Self {
        Self { budget: Budget { time, ..self.budget }, ..self }
    }

    /// So many faults of these kinds.
    pub(crate) const fn faults(self, faults: u8, adversity: Adversity) -> Self {
        let Adversity { edits, spurious, .. } = self.adversity;
        Self { budget: Budget { faults, ..self.budget }, adversity: Adversity { edits, spurious, ..adversity }, ..self }
    }

    /// So many edits out of these.
    pub(crate) const fn edits(self, number: u8, edits: &'static [Edit]) -> Self {
        Self { budget: Budget { edits: number, ..self.budget }, adversity: Adversity { edits, ..self.adversity }, ..self }
    }

    /// So many refresh tokens end for no reason.
    pub(crate) const fn kills(self, kills: u8) -> Self {
        Self { budget: Budget { kills, ..self.budget }, ..self }
    }

    /// Passes are woken for nothing, too.
    pub(crate) const fn spurious(self) -> Self {
        Self { adversity: Adversity { spurious: true, ..self.adversity }, ..self }
    }

    /// Passes begin only when something wakes them.
    pub(crate) const fn woken(self) -> Self {
        Self { laws: Laws { waits_for_events: true, ..self.laws }, ..self }
    }

    /// The same, with one replica that leads.
    pub(crate) const fn led(self) -> Self {
        Self { laws: Laws { waits_for_events: true, is_led: true, ..self.laws }, ..self }
    }

    /// So many events are lost.
    pub(crate) const fn losses(self, losses: u8) -> Self {
        Self { budget: Budget { losses, ..self.budget }, ..self }
    }

    /// Passes write what the status says.
    pub(crate) const fn statuses(self) -> Self {
        Self { laws: Laws { statuses: true, ..self.laws }, ..self }
    }

    /// Passes begin with a look: the resource is in no cache.
    pub(crate) const fn without_glances(self) -> Self {
        Self { laws: Laws { glances: false, ..self.laws }, ..self }
    }

    pub(crate) const fn rotating(self, rotation: Rotation) -> Self {
        Self { laws: Laws { rotation, ..self.laws }, ..self }
    }

    pub(crate) const fn reading_back(self) -> Self {
        Self { laws: Laws { reads_back: true, ..self.laws }, ..self }
    }

    /// Passes end after so many acts.
    pub(crate) const fn short_passes(self, max_acts: u32) -> Self {
        Self { max_acts, ..self }
    }

    pub(crate) const fn planner(self, planner: Planner) -> Self {
        Self { planner, ..self }
    }

    pub(crate) const fn switches(self, switches: Switches) -> Self {
        Self { laws: Laws { switches, ..self.laws }, ..self }
    }
}

/// What is done with it.
impl Scenario {
    /// Searches, and prints what it took.
    pub(crate) fn search(&self, name: &str) -> Found {
        let Self { adversity, liveness, limit, .. } = *self;
        let (model, start) = self.begin();
        let found = Search { model, adversity, liveness, limit }.run(start);
        let Found { states, transitions, depth, questions, time, bytes, is_whole, .. } = &found;
        let cut = if *is_whole { "" } else { ", not to the end" };
        println!(
            "{name}: {states} states{cut}, {transitions} transitions, depth {depth}, {questions} questions, {:.1} s, {} MB",
            time.as_secs_f64(),
            bytes / 1_000_000
        );
        found
    }

    /// Searches to the end, through about so many states, and finds nothing. A model that has come to explore less than half of them would hold
    /// whatever the planner did.
    pub(crate) fn holds(&self, name: &str, states: usize) {
        let found = self.search(name);
        if let Some(found) = found.counterexample {
            panic!("{}: {}\n{}", found.violation.invariant, found.violation.what, found.story.join("\n"));
        }
        assert!(found.is_whole, "{name}: given up after {} states", found.states);
        assert!(found.states * 2 >= states, "{name}: {} states, and there have been {states}", found.states);
    }

    /// So many random histories of so many steps each find nothing.
    pub(crate) fn walks(&self, name: &str, histories: u64, length: usize) {
        let began = Instant::now();
        let (mut model, start) = self.begin();
        for seed in 0..histories {
            if let Some(found) = walk(&mut model, &self.adversity, &start, &mut Dice(seed), length) {
                panic!("history {seed}: {}: {}\n{}", found.violation.invariant, found.violation.what, found.story.join("\n"));
            }
        }
        println!("{name}: {histories} histories, {} questions, {:.1} s", model.brain.asked(), began.elapsed().as_secs_f64());
    }

    fn begin(&self) -> (Model, State) {
        let wakes = self.laws.waits_for_events.then_some(Wakes { is_led: self.laws.is_led, ..Wakes::NONE });
        let mut start = State { world: self.start.world(), budget: self.budget, wakes, ..State::default() };
        (0..REPLICAS).for_each(|replica| start.list(replica, &self.laws.switches));
        (Model::new(policy(self.max_acts), self.planner, self.laws), start)
    }
}

/// Pauses are all alike, so that histories do not differ by them.
fn policy(max_acts: u32) -> Policy {
    let pause = Duration::from_secs(60);
    Policy { retry_min: pause, retry_max: pause, revoke_retry_max: pause, retiring_cap: 3, max_acts, ..Policy::default() }
}

impl Start {
    fn world(self) -> World {
        match self {
            Self::Fresh => fresh(),
            Self::Foreign => foreign(),
            Self::Live => live(3600),
            Self::Expired => World { targets: [Target::Absent; NAMES], ..live(-1) },
            Self::Rotating => rotating(),
            Self::Backup => backup(),
            Self::Rivals => with_rival(fresh()),
            Self::LiveRival => with_rival(live(3600)),
            Self::Due => live(800),
            Self::Drain => World { drain_until: Some(300), ..live(3600) },
        }
    }
}

fn fresh() -> World {
    let mut world = World { resources: [Some(Resource::default()), None], uids: 1, ..World::default() };
    world.credentials = Some(Credentials::default());
    world.tally.issues_left[0] = 1;
    world
}

fn foreign() -> World {
    let mut world = fresh();
    world.targets[0] = Target::Foreign { consent: Consent::NotGiven };
    world
}

fn live(expires_at: Time) -> World {
    let mut world = World { resources: [Some(Resource { held: Held::Claimed, ..Resource::default() }), None], ..fresh() };
    world.tally.issues_left[0] = 0;
    world.tally.was_claimed[0] = true;
    world.tally.delivered[0][0] = 1;
    let refresh = world.refresh_tokens.place(RefreshToken { is_alive: true, ..RefreshToken::default() });
    let access = world.access_tokens.place(AccessToken { of: refresh, rank: 1, expires_at });
    world.targets[0] = Target::Ours { owner: Some(0), content: access, of: 0, is_immutable: false };
    let mut record = Record { claimed: true, next_revision: 2, ..Record::default() };
    record.listed[0] = Listed::Yes;
    record.live = Some(Live { revision: 1, refresh, access, expires_at, pair: 0, version: Some(0), ..Live::default() });
    world.ledgers[0] = Some(record);
    world
}

fn rotating() -> World {
    let mut world = live(800);
    world.ledgers[0] = world.ledgers[0].map(|record| Record { rotates: true, ..record });
    world
}

fn with_rival(world: World) -> World {
    let mut world = World { has_rival: true, uids: 2, ..world };
    world.resources[1] = Some(Resource { uid: 1, ..Resource::default() });
    world.tally.issues_left[1] = 1;
    world
}

fn backup() -> World {
    let world = live(3600);
    let (Some(record), Target::Ours { content, .. }) = (world.ledgers[0], world.targets[0]) else { unreachable!("what lives has both") };
    World { backup: Some(Backup { record, content }), ..world }
}
