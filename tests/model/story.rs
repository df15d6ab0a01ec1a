//! A trace as a story that a person can follow.

use revoiceit_operator::planner::Consent;

use crate::{
    adversity::Step,
    pass::Start,
    perform::{Fault, Outcome},
    sight::{Act, Change, Pass, Phase, Which, is_token},
    state::{Model, State},
    world::{Belongs, Listed, Record, Target, World},
};

/// The lines so far, and which replica is which: they change places in the states, not in the story.
pub(crate) struct Story {
    pub(crate) lines: Vec<String>,
    names: [char; 2],
    world: Option<World>,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self { lines: Vec::new(), names: ['A', 'B'], world: None }
    }

    /// What is done.
    pub(crate) fn tell(&mut self, model: &mut Model, state: &State, step: Step) {
        self.world = Some(state.world);
        let by = |replica: usize, what: String| format!("{}: {what}", self.names[replica]);
        let line = match step {
            Step::Begin { replica, uid, start } => {
                let how = match start {
                    Start::Look => "begins to look",
                    Start::Glance => "glances",
                    Start::StaleGlance => "glances at a stale cache that shows the finalizer, and begins to look",
                };
                by(replica, format!("{how} (UID {uid})"))
            }
            Step::Read { replica, bogus } => by(replica, read(model, state, replica, bogus)),
            Step::Perform { replica, outcome } => {
                let act = state.passes[replica].and_then(|pass| model.act(&pass));
                by(replica, format!("{}{}", act.map_or(String::new(), |act| told(&act)), became(outcome)))
            }
            Step::ReadBack { replica } => by(replica, "reads the ledger back".to_owned()),
            Step::Status { replica } => by(replica, "writes the status".to_owned()),
            Step::Crash { replica } => by(replica, "crashes".to_owned()),
            Step::Time { seconds } => format!("   {seconds} s later"),
            Step::EndDrain => "   the drain ends, and the operator runs again".to_owned(),
            Step::LateWrite => "   the late write arrives".to_owned(),
            Step::Collect { name } => format!("   the garbage collector deletes target-{name}"),
            Step::Kill { token } => format!("   Revoiceit ends refresh token {token}"),
            Step::Edit(edit) => format!("   user: {edit:?}"),
            Step::LoseEvent => "   the next event is lost".to_owned(),
            Step::Relist => "   the watches list anew".to_owned(),
            Step::Sweep => "   ledgers without a resource are looked for".to_owned(),
        };
        self.lines.push(line);
    }

    /// What came of it.
    pub(crate) fn after(&mut self, state: &State, is_swapped: bool) {
        if is_swapped {
            self.names.swap(0, 1);
        }
        let is_time = self.lines.last().is_some_and(|line| line.ends_with("s later"));
        let changes = self.world.take().filter(|_| !is_time).map(|before| changes(&before, &state.world)).unwrap_or_default();
        if let Some(line) = self.lines.last_mut().filter(|_| !changes.is_empty()) {
            *line = format!("{line:<60} → {}", changes.join("; "));
        }
    }
}

fn read(model: &Model, state: &State, replica: usize, bogus: bool) -> String {
    let Some(Pass { phase: Phase::Read(reading), .. }) = state.passes[replica] else { return String::new() };
    let what = format!("{:?}", model.laws.switches.order[usize::from(reading.done)]).to_lowercase();
    if bogus { format!("reads {what}, and is told that there is none") } else { format!("reads {what}") }
}

fn told(act: &Act) -> String {
    match act {
        Act::Look => "Look".to_owned(),
        Act::TryTarget(name) => format!("TryTarget(target-{name})"),
        Act::WriteTarget { name, .. } => format!("WriteTarget(target-{name})"),
        Act::DeleteTarget(name) => format!("DeleteTarget(target-{name})"),
        Act::SaveLedger { change, .. } => format!(
            "SaveLedger({})",
            match change {
                Change::IntendIssue => "Intend issue".to_owned(),
                Change::IntendRefresh => "Intend refresh".to_owned(),
                Change::List(name) => format!("List target-{name}"),
                Change::Unlist(name) => format!("Unlist target-{name}"),
                Change::Forget(name) => format!("Forget target-{name}"),
                change => format!("{change:?}"),
            }
        ),
        Act::DeleteLedger => "DeleteLedger".to_owned(),
        Act::Claim => "Claim".to_owned(),
        Act::Release => "Release".to_owned(),
        Act::Issue { .. } => "Issue".to_owned(),
        Act::Refresh { revision, .. } => format!("Refresh(revision {revision})"),
        Act::Revoke { which: Which::Revision(revision), .. } => format!("Revoke(revision {revision})"),
        Act::Revoke { which: Which::InHand, .. } => "Revoke(in hand)".to_owned(),
        Act::Tell => "Tell".to_owned(),
    }
}

fn became(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Plain => "",
        Outcome::Committed => "  committed, reply lost",
        Outcome::Dropped => "  not committed, no reply",
        Outcome::Late => "  no reply, and it may come late",
        Outcome::Denied => "  denied",
        Outcome::Fails(Fault::NotSent) => "  not sent",
        Outcome::Fails(Fault::Lost) => "  not processed, no answer",
        Outcome::Fails(Fault::LostAnswer) => "  processed, answer lost",
        Outcome::Fails(Fault::Unavailable) => "  answered 503",
        Outcome::Fails(Fault::Rejected) => "  answered 401",
        Outcome::Fails(Fault::Malformed) => "  processed, answered with something that has a readable refresh token",
        Outcome::Fails(Fault::Unreadable) => "  processed, answered with something that cannot be read",
    }
}

/// What is different at the servers. The numbers of tokens are those of the state after the step.
fn changes(before: &World, after: &World) -> Vec<String> {
    let mut changes = Vec::new();
    for (place, name) in
        ["resource", "rival"].into_iter().enumerate().filter(|(place, _)| before.resources[*place] != after.resources[*place])
    {
        changes.push(after.resources[place].map_or(format!("no {name}"), |resource| {
            let deleted = if resource.deleted_at.is_some() { ", being deleted" } else { "" };
            let says = if before.resources[place].is_some_and(|before| before.says != resource.says) { ", another status" } else { "" };
            let suspended = if resource.is_suspended { ", suspended" } else { "" };
            format!("{name} {} of target-{}, {:?}{deleted}{suspended}{says}", resource.uid, resource.target, resource.held)
        }));
    }
    for (uid, record) in after.ledgers.iter().enumerate().filter(|(uid, record)| before.ledgers[*uid] != **record) {
        changes.push(record.map_or(format!("no ledger {uid}"), |record| format!("ledger {uid} {}", content(&record))));
    }
    for (name, target) in after.targets.iter().enumerate().filter(|(name, target)| before.targets[*name] != **target) {
        changes.push(match target {
            Target::Absent => format!("no target-{name}"),
            Target::Foreign { consent: Consent::NotGiven } => format!("target-{name} foreign"),
            Target::Foreign { consent } => format!("target-{name} foreign, consent {consent:?}"),
            Target::Ours { owner, content, is_immutable, .. } => {
                let owner = owner.map_or("nobody".to_owned(), |uid| uid.to_string());
                let content = if is_token(*content) { format!("A{content}") } else { "something else".to_owned() };
                format!("target-{name} of {owner} with {content}{}", if *is_immutable { ", immutable" } else { "" })
            }
        });
    }
    if before.credentials != after.credentials {
        changes.push(after.credentials.map_or("no credentials".to_owned(), |there| format!("credentials pair {}", there.pair)));
    }
    changes
}

fn content(record: &Record) -> String {
    let mut parts = Vec::new();
    parts.extend(record.live.map(|live| format!("live {}: R{} A{} for {} s", live.revision, live.refresh, live.access, live.expires_at)));
    parts.extend(
        record.retiring.iter().map(|retiring| format!("retiring {}: R{} due in {} s", retiring.revision, retiring.refresh, retiring.due)),
    );
    parts.extend(record.intent.map(|intent| format!("intent {:?} for {} s", intent.call, intent.until)));
    parts.extend(record.listed.iter().enumerate().filter_map(|(name, listed)| match listed {
        Listed::No => None,
        Listed::Yes => Some(format!("lists target-{name}")),
        Listed::Left(at) => Some(format!("left target-{name} {} s ago", -at)),
    }));
    parts.extend((record.place != Belongs::Here).then(|| format!("{:?}", record.place)));
    parts.extend((record.issuer > 0).then(|| "from the other API".to_owned()));
    parts.extend((record.lost > 0).then(|| format!("{} suspects", record.lost)));
    parts.extend(
        [(record.closed, "closed"), (record.claimed, "claimed")].into_iter().filter(|(is, _)| *is).map(|(_, word)| word.to_owned()),
    );
    format!("[{}]", parts.join(", "))
}
