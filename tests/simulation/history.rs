//! One history: resources, users, weather and crashes, drawn from a seed.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::{SignedDuration, Timestamp};
use revoiceit_operator::api::names;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    clock,
    link::{self, Weather},
    objects::Key,
    replica::Replica,
    revoiceit::{self, Revoiceit},
    server::Server,
    witness::{client_of, record, value},
};

const NAMESPACE: &str = "team-a";
const MINUTE: Duration = Duration::from_secs(60);

/// What is drawn from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) resources: usize,
    pub(crate) hours: u32,
    /// Users edit.
    pub(crate) edits: bool,
    /// Not only Revoiceit: processes die, connections break, clocks are wrong, machines sleep, lines of tokens end.
    pub(crate) faults: bool,
    /// How often something goes wrong with Revoiceit, a link, a clock or a process: times a day, of each.
    pub(crate) storms: u32,
    /// How long it does, in minutes, at least and less than.
    pub(crate) last: (i64, i64),
    /// Refreshes bring another refresh token.
    pub(crate) rotates: bool,
    /// Both replicas take themselves for the leader, always.
    pub(crate) both_lead: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Looks of a pod at its token, one a minute and resource.
    pub(crate) looks: u64,
    /// Looks that found one that had expired.
    pub(crate) expired: u64,
    /// Looks that found none.
    pub(crate) absent: u64,
    /// Of both, those with no reason in what had happened shortly before.
    pub(crate) without_reason: u64,
    pub(crate) issues: u64,
    pub(crate) suspects: u64,
    pub(crate) writes: u64,
    pub(crate) digest: u64,
    pub(crate) violations: Vec<String>,
}

/// A resource as its user wants it.
struct Wanted {
    name: String,
    target: String,
    renames: u32,
    exists: bool,
    /// It is to be created again as soon as its name is free.
    comes_back: bool,
    suspended: bool,
    secret: u32,
    /// How often a new line is to be expected at most.
    causes: u32,
    edited_at: Timestamp,
}

struct History {
    kind: Kind,
    server: Server,
    revoiceit: Revoiceit,
    wanted: Vec<Wanted>,
    replicas: Vec<Option<Replica>>,
    /// Until when something is wrong with Revoiceit, with each replica's link, with the clock.
    revoiceit_until: Timestamp,
    link_until: [Timestamp; 2],
    down_until: [Timestamp; 2],
    clock_until: Timestamp,
    /// When something was wrong for the last time.
    trouble_at: Timestamp,
    report: Report,
}

/// Runs a history from its first to its last day, and holds it against what must be.
pub(crate) fn run(kind: Kind, seed: u64) -> Report {
    // What one history leaves in its thread is none of the next one's business.
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        fastrand::seed(seed);
        runtime.block_on(async {
            clock::begin();
            History::new(kind).run().await
        })
    });
    thread.join().unwrap_or_else(|_| panic!("seed {seed} of {kind:?} panicked"))
}

impl History {
    fn new(kind: Kind) -> Self {
        let (server, revoiceit) = (Server::new(), Revoiceit::default());
        server.lock().witness.revoiceit = revoiceit.clone();
        revoiceit.lock().rotates = kind.rotates;
        let now = clock::truth();
        let wanted = (0..kind.resources).map(|number| Wanted {
            name: format!("speech-{number}"),
            target: format!("token-{number}"),
            renames: 0,
            exists: false,
            comes_back: false,
            suspended: false,
            secret: 0,
            causes: 0,
            edited_at: now,
        });
        Self {
            kind,
            wanted: wanted.collect(),
            server,
            revoiceit,
            replicas: vec![None, None],
            revoiceit_until: now,
            link_until: [now; 2],
            down_until: [now; 2],
            clock_until: now,
            trouble_at: now,
            report: Report::default(),
        }
    }

    async fn run(mut self) -> Report {
        for number in 0..self.wanted.len() {
            self.write_credentials(number);
            self.create(number);
        }
        self.start_replicas();
        for _ in 0..self.kind.hours * 60 {
            sleep(MINUTE).await;
            self.weather();
            self.bring_back();
            self.edit();
            self.start_replicas();
            self.look();
        }
        self.heal();
        self.settle(4 * 60).await;
        self.check_rest().await;
        self.delete_all();
        self.settle(2 * 60).await;
        self.check_end();
        let inner = self.server.lock();
        let issues = self.revoiceit.lock().issues.values().map(|issues| u64::from(*issues)).sum();
        let suspects = inner.witness.suspects.values().sum();
        let witness = &inner.witness;
        let violations = witness.violations.clone();
        Report { issues, suspects, writes: witness.writes, digest: witness.digest, violations, ..self.report }
    }

    fn start_replicas(&mut self) {
        let now = clock::truth();
        for (number, replica) in self.replicas.iter_mut().enumerate() {
            if replica.as_ref().is_none_or(Replica::is_over) && now >= self.down_until[number] {
                *replica = Some(Replica::start(&self.server, &self.revoiceit, number, !self.kind.both_lead));
            }
        }
    }

    async fn settle(&mut self, minutes: u32) {
        for _ in 0..minutes {
            sleep(MINUTE).await;
            self.start_replicas();
            self.bring_back();
        }
    }
}

/// What goes wrong.
impl History {
    fn weather(&mut self) {
        let now = clock::truth();
        let storms = self.kind.storms;
        let strikes = || fastrand::u32(..24 * 60) < storms;
        let (at_least, below) = self.kind.last;
        let a_while = || SignedDuration::from_secs(fastrand::i64(at_least * 60..below * 60));
        if now >= self.revoiceit_until {
            self.revoiceit.lock().weather = revoiceit::Weather::Fair;
            if strikes() {
                let all = [revoiceit::Weather::Foul, revoiceit::Weather::Overloaded, revoiceit::Weather::Away];
                self.revoiceit.lock().weather = all[fastrand::usize(..all.len())];
                self.revoiceit_until = now + a_while();
            }
        }
        for replica in 0..2 {
            if now >= self.link_until[replica] {
                link::set_weather(replica, Weather::Fair);
                if self.kind.faults && strikes() {
                    let weather = if fastrand::bool() { Weather::Foul } else { Weather::Cut };
                    link::set_weather(replica, weather);
                    self.server.cut(replica);
                    self.link_until[replica] = now + a_while();
                }
            }
        }
        if now >= self.clock_until {
            clock::set_wrong(SignedDuration::ZERO);
        }
        if self.kind.faults {
            if strikes() {
                clock::set_wrong(SignedDuration::from_secs(fastrand::i64(-300..300)));
                self.clock_until = now + a_while();
            }
            if strikes() {
                clock::sleep_machine(a_while().unsigned_abs());
                self.trouble_at = clock::truth();
            }
            if strikes() {
                self.revoiceit.lock().end_a_line();
            }
            // Often one of them, now and then both.
            let (one, all) = (fastrand::usize(..2), fastrand::u8(..4) == 0);
            if strikes() {
                for (number, replica) in self.replicas.iter_mut().enumerate().filter(|(number, _)| all || *number == one) {
                    // SIGKILL, or SIGTERM with its last saves. What is down stays down for a while.
                    if let Some(replica) = replica.take()
                        && fastrand::bool()
                    {
                        replica.terminate();
                        tokio::spawn(replica.ended());
                    }
                    self.down_until[number] = now + a_while();
                }
            }
        }
        let is_troubled = now < self.revoiceit_until || self.link_until.iter().any(|until| now < *until) || now < self.clock_until;
        if is_troubled || self.replicas.iter().any(Option::is_none) {
            self.trouble_at = clock::truth();
        }
    }

    fn heal(&mut self) {
        self.revoiceit.lock().weather = revoiceit::Weather::Fair;
        (0..2).for_each(|replica| link::set_weather(replica, Weather::Fair));
        self.down_until = [clock::truth(); 2];
        clock::set_wrong(SignedDuration::ZERO);
        for number in 0..self.wanted.len() {
            self.write_credentials(number);
            self.wanted[number].comes_back = !self.wanted[number].exists;
            if self.wanted[number].suspended {
                self.suspend(number, false);
            }
        }
    }
}

/// What users do.
impl History {
    fn edit(&mut self) {
        let now = clock::truth();
        for number in 0..self.wanted.len() {
            // One after the other, so that how often a new line is to be expected can be told.
            let is_settled = now.duration_since(self.wanted[number].edited_at) >= SignedDuration::from_mins(30);
            let wanted = &mut self.wanted[number];
            if !self.kind.edits || !is_settled || wanted.comes_back || fastrand::u32(..24 * 60) >= 6 {
                continue;
            }
            wanted.edited_at = now;
            match fastrand::u8(..10) {
                _ if !wanted.exists => wanted.comes_back = true,
                _ if wanted.suspended => self.suspend(number, false),
                0 => {
                    wanted.secret += 1;
                    wanted.causes += 1;
                    self.write_credentials(number);
                }
                1 => {
                    wanted.renames += 1;
                    wanted.target = format!("token-{number}-{}", wanted.renames);
                    let patch = json!({ "spec": { "target": { "name": wanted.target } } });
                    self.patch(number, &patch);
                }
                2 => self.suspend(number, true),
                3 => {
                    wanted.causes += 1;
                    let patch = json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: now.to_string() } } });
                    self.patch(number, &patch);
                }
                4 => self.delete(number),
                5 => {
                    self.delete(number);
                    self.wanted[number].comes_back = true;
                }
                // By force, and at once there again.
                9 => {
                    self.patch(number, &json!({ "metadata": { "finalizers": null } }));
                    self.delete(number);
                    self.create(number);
                }
                6 => {
                    let key = key("secrets", &wanted.target);
                    let patch =
                        json!({ "data": { "accessToken": BASE64_STANDARD.encode("a-0") }, "metadata": { "labels": { "by": "hand" } } });
                    let _ = self.server.by_user(|objects| objects.patch(&key, &patch, false));
                }
                7 => {
                    let key = key("secrets", &wanted.target);
                    let _ = self.server.by_user(|objects| objects.delete(&key, &Value::Null, now));
                }
                _ => {
                    let patch = json!({ "metadata": { "labels": { "edited": now.as_second().to_string() } } });
                    self.patch(number, &patch);
                }
            }
        }
    }

    fn write_credentials(&mut self, number: usize) {
        let wanted = &self.wanted[number];
        let (client, secret) = (client_of(&wanted.name), format!("secret-{}", wanted.secret));
        self.revoiceit.lock().secrets.insert(client.clone(), secret.clone());
        let data = json!({ "clientId": BASE64_STANDARD.encode(client), "clientSecret": BASE64_STANDARD.encode(secret) });
        let key = key("secrets", &format!("credentials-{number}"));
        let secret = json!({ "metadata": {}, "type": "Opaque", "data": data });
        self.server.by_user(|objects| {
            if objects.patch(&key, &json!({ "data": data }), false).is_err() {
                let _ = objects.create(&key, secret, false, clock::truth());
            }
        });
    }

    /// A deletion that is not yet complete keeps the name: the user tries again.
    fn bring_back(&mut self) {
        for number in 0..self.wanted.len() {
            if self.wanted[number].comes_back {
                self.create(number);
            }
        }
    }

    fn create(&mut self, number: usize) {
        let wanted = &mut self.wanted[number];
        let object = json!({
            "apiVersion": "revoiceit.com/v1", "kind": names::KIND, "metadata": {},
            "spec": {
                "credentialsSecretRef": { "name": format!("credentials-{number}"), "clientIdKey": "clientId", "clientSecretKey": "clientSecret" },
                "target": { "name": wanted.target, "template": { "accessToken": "{{ accessToken }}" } },
                "refresh": { "beforeExpiry": "15m" },
                "revocation": { "deadline": "5m", "grace": "5m" },
                "suspend": false,
            },
        });
        let key = key("revoiceitcredentials", &wanted.name);
        if self.server.by_user(|objects| objects.create(&key, object, false, clock::truth())).is_ok() {
            (wanted.exists, wanted.comes_back, wanted.suspended) = (true, false, false);
            wanted.edited_at = clock::truth();
            wanted.causes += 1;
        }
    }

    fn delete(&mut self, number: usize) {
        let wanted = &mut self.wanted[number];
        let key = key("revoiceitcredentials", &wanted.name);
        let _ = self.server.by_user(|objects| objects.delete(&key, &Value::Null, clock::truth()));
        (wanted.exists, wanted.suspended) = (false, false);
    }

    fn suspend(&mut self, number: usize, suspend: bool) {
        let wanted = &mut self.wanted[number];
        wanted.suspended = suspend;
        wanted.edited_at = clock::truth();
        self.patch(number, &json!({ "spec": { "suspend": suspend } }));
    }

    fn patch(&self, number: usize, patch: &Value) {
        let key = key("revoiceitcredentials", &self.wanted[number].name);
        let _ = self.server.by_user(|objects| objects.patch(&key, patch, false));
    }
}

/// What must be.
impl History {
    /// As a pod does that reads its token.
    fn look(&mut self) {
        let now = clock::truth();
        for wanted in self.wanted.iter().filter(|wanted| wanted.exists && !wanted.suspended) {
            self.report.looks += 1;
            let inner = self.server.lock();
            let token = inner.objects.of.get(&key("secrets", &wanted.target)).and_then(|target| value(target, "accessToken"));
            let revoiceit = self.revoiceit.lock();
            let expires_at = token.as_deref().and_then(|token| revoiceit.access(token)).map(|access| access.expires_at);
            if expires_at.is_some_and(|expires_at| expires_at > now) {
                continue;
            }
            if expires_at.is_some() {
                self.report.expired += 1;
            } else {
                self.report.absent += 1;
            }
            let since = |time: Timestamp| now.duration_since(time);
            let is_excused =
                since(wanted.edited_at) < SignedDuration::from_mins(6) || since(self.trouble_at) < SignedDuration::from_mins(6);
            if !is_excused {
                self.report.without_reason += 1;
            }
        }
    }

    /// Nothing is wrong any more: every resource has its token, and nothing is written but for refreshes.
    async fn check_rest(&mut self) {
        self.check_tokens();
        let now = clock::truth();
        let mut complaints = Vec::new();
        for wanted in &self.wanted {
            let inner = self.server.lock();
            let Some(resource) = inner.objects.of.get(&key("revoiceitcredentials", &wanted.name)) else {
                complaints.push(format!("{} could not be created again", wanted.name));
                continue;
            };
            let token = inner.objects.of.get(&key("secrets", &wanted.target)).and_then(|target| value(target, "accessToken"));
            let expires_at = token.as_deref().and_then(|token| self.revoiceit.lock().access(token).map(|access| access.expires_at));
            if expires_at.is_none_or(|expires_at| expires_at <= now) {
                complaints.push(format!("{} has no valid token: {}", wanted.name, resource["status"]));
            } else if resource["status"]["conditions"][0]["reason"] != "TokenReady" {
                complaints.push(format!("{} is not ready: {}", wanted.name, resource["status"]["conditions"]));
            }
            let ours = |object: &&Value| object["metadata"]["annotations"][names::RESOURCE_ANNOTATION] == wanted.name.as_str();
            let targets = inner.objects.list("secrets", Some(NAMESPACE)).filter(ours).count();
            if targets != 1 {
                complaints.push(format!("{} has {targets} targets", wanted.name));
            }
        }
        self.complain(complaints);
    }

    /// Every token that is live is in a ledger, or counted as lost.
    fn check_tokens(&mut self) {
        let mut complaints = Vec::new();
        {
            let inner = self.server.lock();
            let revoiceit = self.revoiceit.lock();
            let ledgers = inner.objects.list("secrets", Some(crate::replica::SYSTEM)).filter_map(record);
            let known: Vec<String> = ledgers.flat_map(|record| refresh_tokens(&record)).collect();
            for wanted in &self.wanted {
                let client = client_of(&wanted.name);
                let is_forgotten = |(number, token): &(usize, &revoiceit::Refresh)| {
                    token.client == client && token.is_live && !known.contains(&format!("r-{number}"))
                };
                let forgotten = revoiceit.refresh.iter().enumerate().filter(is_forgotten).count() as u64;
                let counted = inner.witness.suspects.get(&client).copied().unwrap_or(0);
                if forgotten > counted {
                    complaints.push(format!("{} has {forgotten} forgotten tokens, and {counted} counted as lost", wanted.name));
                }
                let lost = u64::from(revoiceit.lost.get(&client).copied().unwrap_or(0));
                if !self.kind.faults && counted > lost {
                    complaints.push(format!("{} has {counted} tokens counted as lost, and {lost} that were", wanted.name));
                }
                let issues = revoiceit.issues.get(&client).copied().unwrap_or(0);
                let is_quiet = !self.kind.faults && self.kind.storms == 0;
                if is_quiet && issues != wanted.causes {
                    complaints.push(format!("{} has {issues} lines of tokens for {} causes", wanted.name, wanted.causes));
                }
            }
        }
        self.complain(complaints);
    }

    fn delete_all(&mut self) {
        (0..self.wanted.len()).for_each(|number| self.delete(number));
    }

    /// Nothing is left of what was deleted.
    fn check_end(&mut self) {
        self.check_tokens();
        let left: Vec<String> = {
            let inner = self.server.lock();
            let is_ours = |key: &&Key| key.0 == "revoiceitcredentials" || (key.0 == "secrets" && !key.2.starts_with("credentials-"));
            inner.objects.of.keys().filter(is_ours).map(|key| format!("{}/{} is left", key.0, key.2)).collect()
        };
        self.complain(left);
    }

    fn complain(&self, complaints: Vec<String>) {
        let mut inner = self.server.lock();
        complaints.into_iter().for_each(|complaint| inner.witness.violate(complaint));
    }
}

fn refresh_tokens(record: &Value) -> Vec<String> {
    let retiring = record["retiring"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lines = retiring.iter().chain([&record["live"]]);
    lines.filter_map(|line| line["refresh"].as_str().map(str::to_owned)).collect()
}

fn key(kind: &str, name: &str) -> Key {
    (kind.to_owned(), NAMESPACE.to_owned(), name.to_owned())
}
