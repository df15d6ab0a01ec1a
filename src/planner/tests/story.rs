//! Passes over a small world that holds one resource: two servers that answer as scripted, and a list of what was asked of them.
//!
//! It does what the shell does: a glance, a look before the first act, a permit before each call. Writes are conditional, so that a test that
//! edits something behind a pass's back sees a conflict. Time stands still during a pass.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    builders::CredentialExt,
    fixtures::{access, at, clock, id, ledger, name, place, refresh, source, written},
    words::in_words,
};
use crate::{
    api::RevoiceitCredential,
    planner::{
        Act, Came, Denied, Ledger, Name, Notice, Observed, Place, Plan, Policy, Quarrel, Record, Refused, Resource, Rest, Sight, Sighted,
        Source, Stamp, Target, Until, Version, fold, plan,
    },
    revoiceit::{Failure, RefreshToken},
};

type Edit = Box<dyn FnOnce(&mut Story)>;

pub(super) struct Story {
    pub(super) now: Timestamp,
    /// `None` once it is gone.
    pub(super) credential: Option<RevoiceitCredential>,
    /// What is under the resource's name when the resource is not: the resource, if it is there, comes first.
    pub(super) absent: Resource,
    pub(super) ledger: Ledger,
    pub(super) secrets: BTreeMap<Name, Target>,
    pub(super) source: Source,
    pub(super) policy: Policy,
    pub(super) place: Place,
    pub(super) quarrel: Option<Quarrel>,
    /// What Revoiceit answers next; when there is nothing, all goes well.
    pub(super) failures: VecDeque<Failure>,
    /// Refreshes bring another refresh token.
    pub(super) rotates: bool,
    /// Revocations are refused, as by a Revoiceit that rejects them without JSON.
    pub(super) refuses_to_revoke: bool,
    pub(super) denied: Vec<(Refused, Denied)>,
    /// The next pass dies after so many acts.
    pub(super) dies_after: Option<usize>,
    /// The refresh tokens that Revoiceit has handed out, whether or not they arrived, and has not revoked.
    pub(super) alive: Vec<RefreshToken>,
    pub(super) told: Vec<Notice>,
    pub(super) last: Option<Observed>,
    /// When the last pass wants to be followed by another.
    pub(super) due: Option<Timestamp>,
    /// The last pass has a token in hand that no record has, and goes on after a pause.
    held: Option<Observed>,
    meanwhile: Vec<(&'static str, Edit)>,
    lost_replies: Vec<&'static str>,
    versions: u64,
    passes: u64,
    tokens: u64,
}

impl Story {
    /// The resource as it is, at 10:00, with nothing else in the world but the credentials.
    pub(super) fn of(credential: RevoiceitCredential) -> Self {
        Self {
            now: at("10:00"),
            credential: Some(credential),
            absent: Resource::NotFound { proven: false },
            ledger: Ledger::Absent,
            secrets: BTreeMap::new(),
            source: source(1),
            policy: Policy::default(),
            place: place(),
            quarrel: None,
            failures: VecDeque::new(),
            rotates: false,
            refuses_to_revoke: false,
            denied: Vec::new(),
            dies_after: None,
            alive: Vec::new(),
            told: Vec::new(),
            last: None,
            due: None,
            held: None,
            meanwhile: Vec::new(),
            lost_replies: Vec::new(),
            versions: 100,
            passes: 0,
            tokens: 10,
        }
    }

    /// With this ledger, and the live line of it, if there is one, in the target.
    pub(super) fn with(mut self, record: Record) -> Self {
        if let (Some(credential), Some(live)) = (&self.credential, &record.live) {
            self.secrets.insert(name(&credential.spec.target.name), written(credential, live));
        }
        self.ledger = ledger(record);
        self
    }

    pub(super) fn at(&mut self, clock: &str) -> &mut Self {
        self.now = at(clock);
        self
    }

    /// Somebody edits the resource. The generation follows the spec only, as with the API server.
    pub(super) fn edit(&mut self, edit: impl FnOnce(RevoiceitCredential) -> RevoiceitCredential) {
        let before = self.credential.take().expect("a resource");
        let spec = before.spec.clone();
        let mut after = edit(before);
        if after.spec != spec {
            after.metadata.generation = after.metadata.generation.map(|generation| generation + 1);
        }
        after.metadata.resource_version = Some(self.version());
        self.credential = Some(after);
    }

    pub(super) fn delete(&mut self, clock: &'static str) {
        self.edit(|it| it.deleting(clock));
    }

    /// Once, before the first act that begins with these words.
    pub(super) fn before(&mut self, act: &'static str, edit: impl FnOnce(&mut Self) + 'static) {
        self.meanwhile.push((act, Box::new(edit)));
    }

    /// The first act that begins with these words is carried out, and its reply is lost.
    pub(super) fn lose_reply_of(&mut self, act: &'static str) {
        self.lost_replies.push(act);
    }

    /// No more trouble from here on.
    pub(super) fn calm_down(&mut self) {
        self.failures.clear();
        self.denied.clear();
        self.refuses_to_revoke = false;
        self.meanwhile.clear();
        self.lost_replies.clear();
        self.dies_after = None;
    }

    pub(super) fn fails(&mut self, failures: impl IntoIterator<Item = Failure>) {
        self.failures.extend(failures);
    }

    pub(super) fn deny(&mut self, what: Refused, why: Denied) {
        self.denied.push((what, why));
    }

    pub(super) fn record(&self) -> &Record {
        self.ledger_here().expect("a ledger")
    }

    pub(super) fn ledger_here(&self) -> Option<&Record> {
        match &self.ledger {
            Ledger::Here { record, .. } => Some(record),
            Ledger::Absent | Ledger::Unusable(_) => None,
        }
    }

    /// Somebody else, another replica for one, saves the ledger.
    pub(super) fn save(&mut self, edit: impl FnOnce(Record) -> Record) {
        let record = edit(self.record().clone());
        self.put(&record);
    }

    pub(super) fn put(&mut self, record: &Record) {
        let json = record.to_json();
        let record = Record::parse(&json, &place(), &id()).expect("what is written can be read");
        self.ledger = Ledger::Here { record: Arc::new(record), version: Version::new(self.version()), uid: "ledger-uid".into() };
    }

    pub(super) fn version(&mut self) -> String {
        self.versions += 1;
        self.versions.to_string()
    }

    pub(super) fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }

    /// One pass, or what goes on of the last one: what it did, in words.
    pub(super) fn pass(&mut self) -> Vec<String> {
        if let Some(held) = self.held.take() {
            return self.go_on(fold(held, Came::Paused));
        }
        self.passes += 1;
        let stamp = Stamp::new(format!("pass-{}", self.passes));
        let mut seen = Observed::begin(Arc::new(id()), stamp, Arc::new(self.policy.clone()), Arc::new(self.place.clone()));
        // No watch has what is out of scope.
        let is_watched = self.place.serves(&id().namespace);
        if is_watched && self.credential.as_ref().is_some_and(|it| it.metadata.deletion_timestamp.is_none()) {
            let glance = self.look(None, &seen);
            seen = fold(seen, Came::Saw(Sight::Look(Box::new(glance))));
        }
        self.go_on(seen)
    }

    /// The next pass at the time that the last one gave.
    pub(super) fn pass_on(&mut self) -> Vec<String> {
        self.now = self.due.expect("the last pass gave a time");
        self.pass()
    }

    /// The same, or the first one at once.
    pub(super) fn pass_on_or_now(&mut self) -> Vec<String> {
        self.now = self.due.unwrap_or(self.now);
        self.pass()
    }

    /// The rest of a pass that has seen this.
    pub(super) fn go_on(&mut self, mut seen: Observed) -> Vec<String> {
        let mut permit = None;
        let mut acts = Vec::new();
        loop {
            assert!(acts.len() < 200, "a pass without end: {acts:#?}");
            if self.dies_after == Some(acts.len()) {
                self.dies_after = None;
                return acts;
            }
            let planned = plan(&seen, self.now);
            assert_keeps_secrets(&planned, &seen);
            let act = match planned {
                Plan::Rest(rest) => {
                    acts.push(self.rest(&rest));
                    self.held = seen.hand.refresh_token().map(|_| seen.clone());
                    self.last = Some(seen);
                    return acts;
                }
                Plan::Act(act) => act,
            };
            let act = match act.leads_to() {
                Some(lane) if permit != Some(lane) => {
                    permit = Some(lane);
                    seen = seen.without_sights();
                    Act::Look
                }
                _ if seen.sighted == Sighted::Glance => Act::Look,
                _ => act,
            };
            let words = in_words(&act);
            if let Some(place) = self.meanwhile.iter().position(|(before, _)| words.starts_with(before)) {
                let (_, edit) = self.meanwhile.remove(place);
                edit(self);
            }
            let mut came = self.perform(&act, &seen);
            if let Some(place) = self.lost_replies.iter().position(|lost| words.starts_with(lost)) {
                self.lost_replies.remove(place);
                came = Came::Changed;
            }
            acts.push(words);
            if act.is_call() {
                permit = None;
            }
            seen = fold(seen, came);
        }
    }

    fn rest(&mut self, rest: &Rest) -> String {
        self.told.extend(rest.tell.iter().cloned());
        self.due = match rest.until {
            Until::At(time) => Some(time),
            Until::Woken | Until::Forgotten => None,
        };
        let until = match rest.until {
            Until::At(time) => {
                let due = format!("until {}", clock(time));
                if time == self.now { "until now".to_owned() } else { due }
            }
            Until::Woken => "until woken".into(),
            Until::Forgotten => "for ever".into(),
        };
        let Some(status) = &rest.status else { return format!("Rest {until}") };
        let ready = status.conditions.first().expect("Ready always");
        let kind = status.conditions.iter().map(|it| (&*it.type_, &*it.status)).filter(|it| *it != ("Ready", "False")).map(|it| it.0);
        let words = format!("Rest {}: {} {until}", kind.collect::<Vec<_>>().join("+"), ready.reason);
        if let Some(credential) = &mut self.credential {
            credential.status = Some(status.clone());
        }
        words
    }
}

/// Whatever is printed of a pass tells none of the secrets that it works with; all of them begin with the same word.
fn assert_keeps_secrets(plan: &Plan, seen: &Observed) {
    let printed = format!("{plan:?} {seen:?}");
    assert!(!printed.contains("canary"), "{printed}");
    debug_assert!(access(1).expose().contains("canary") && refresh(1).expose().contains("canary"));
}
