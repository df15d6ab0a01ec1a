//! An hour in which everything is broken, killed and edited again and again, on a cluster of its own. To be run by hand:
//!
//! ```text
//! SOAK_MINUTES=60 cargo test --test e2e soak:: -- --ignored --nocapture
//! ```

mod forgotten;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
};
use revoiceit_harness::{
    cluster::{Cluster, Component, Options},
    process::Signal,
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::{RevoiceitCredential, names};
use revoiceit_sandbox::{Call, Fault, Line, RefreshState, Rotation, TokenForm, Truth, UnixMillis};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    shared::{INSTALL, install},
    world::{CANARY, Operator, World, ready_reason},
};

const RESOURCES: usize = 200;
const LIFETIME: Duration = Duration::from_secs(180);
/// No trouble lasts longer: a quarter of the lifetime is what a token has left when its refresh is due.
const TROUBLE: u64 = 20;
const CALM: Duration = Duration::from_secs(30);
/// An intent stands for so long, if the operator that was to fold its answer has ended.
const INTENT: Duration = Duration::from_secs(120);
/// What was answered is in the ledger within this time, or its operator has ended and that was noticed, also when the API server is away.
const IN_HAND: Duration = Duration::from_secs(TROUBLE + 40);

struct Soak {
    world: World,
    cluster: &'static Cluster,
    operators: [Option<Operator>; 2],
    /// What each pod has mounted: the token that it saw last.
    mounted: BTreeMap<String, String>,
    /// The last intent that was seen in the ledger of each target.
    intents: BTreeMap<String, Intent>,
    /// The other clients that resources were given, and whose they are.
    others: BTreeMap<String, String>,
    /// When an operator was killed, frozen, or found to have ended. What it had in hand by then may be lost.
    ends: Vec<UnixMillis>,
    /// Whether each refresh brings another refresh token.
    rotates: bool,
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    /// Looks of a pod at its token, one each two seconds.
    looks: usize,
    /// Looks that found a token which was not valid any more.
    invalid: usize,
    /// Looks that found such a one, and its successor had to wait: for the answer to a call whose operator had ended, [`INTENT`] long. That is most
    /// of [`LIFETIME`], and of an hour's lifetime a small part.
    waited: usize,
    troubles: BTreeMap<&'static str, usize>,
    edits: BTreeMap<&'static str, usize>,
    operators: usize,
    /// Resident memory of an operator, at most, in KiB.
    memory: u64,
    /// What each resource said of lost tokens, in the end or when it was deleted.
    suspected: BTreeMap<String, i32>,
}

#[tokio::test]
#[ignore = "an hour"]
async fn an_hour_of_trouble_loses_no_token() -> Result<()> {
    let minutes = std::env::var("SOAK_MINUTES").map_or(Ok(60), |minutes| minutes.parse())?;
    // What is leaked is killed by its guard when the program ends.
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start(Options::default()).await?));
    install(cluster, INSTALL).await?;
    let world = World::on(cluster, |switches| (switches.token_form, switches.lifetime) = (TokenForm::Jwt, LIFETIME)).await?;
    for number in 0..RESOURCES {
        world.own(&name(number), json!({})).await?;
    }
    let mut soak = Soak {
        world,
        cluster,
        operators: [None, None],
        mounted: BTreeMap::new(),
        intents: BTreeMap::new(),
        others: BTreeMap::new(),
        ends: Vec::new(),
        rotates: false,
        seen: Seen::default(),
    };
    soak.start().await?;
    soak.all_ready().await?;
    let whole = Duration::from_secs(60 * minutes);
    let mut until = Instant::now() + whole;
    for round in 0.. {
        if Instant::now() > until {
            break;
        }
        if !soak.rotates && until - Instant::now() < whole / 2 {
            // Calm is not what is asked for.
            let calm = Instant::now();
            soak.rotate().await?;
            until += calm.elapsed();
        }
        soak.edit(round).await?;
        soak.trouble(round).await?;
        soak.pass(CALM).await?;
    }
    soak.end().await
}

fn name(number: usize) -> String {
    format!("speech-{number}")
}

/// Scattered, and the same in each run.
fn scattered(round: usize, salt: usize, below: usize) -> usize {
    (round * 7919 + salt * 104_729 + 31) * 48_271 % 2_147_483_647 % below
}

impl Soak {
    /// As a Deployment does: who has ended is started again.
    async fn start(&mut self) -> Result<()> {
        for place in &mut self.operators {
            if place.as_ref().is_some_and(|operator| operator.process.is_running()) {
                continue;
            }
            let kubeconfig =
                self.cluster.kubeconfig_for_service_account(&self.world.system, names::OPERATOR, &self.cluster.server()).await?;
            let process = self.world.spawn(&kubeconfig, &["--leader-elect=true", "--log-level=info"])?;
            if place.replace(Operator::listening(process).await?).is_some() {
                self.ends.push(UnixMillis::now());
            }
            self.seen.operators += 1;
        }
        Ok(())
    }

    /// From now on each refresh brings another refresh token. A resource's first one is not written down before it is asked for: so all is well
    /// until every resource has had it, and no new one comes after that.
    async fn rotate(&mut self) -> Result<()> {
        println!("refresh tokens rotate from now on");
        self.rotates = true;
        self.world.sandbox.switch(|switches| switches.rotation = Rotation::OldDies)?;
        self.pass(LIFETIME).await?;
        self.all_ready().await
    }

    /// Pods look at their tokens for so long.
    async fn pass(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_secs(2)).await;
            // While the API server is away nobody is started, and pods keep what they have.
            let _ = tokio::time::timeout(Duration::from_secs(10), self.start()).await;
            let targets = ListParams::default().labels(&format!("{}={}", names::MANAGED_BY_LABEL, names::OPERATOR));
            if let Ok(Ok(list)) = tokio::time::timeout(Duration::from_secs(5), self.world.secrets().list(&targets)).await {
                self.mounted = list.items.into_iter().filter_map(mounted).collect();
            }
            if let Ok(Ok(records)) = tokio::time::timeout(Duration::from_secs(5), self.world.records()).await {
                self.intents.extend(records.iter().flat_map(intents));
            }
            self.look(&self.world.sandbox.truth());
            for operator in self.operators.iter().flatten() {
                self.seen.memory = self.seen.memory.max(resident(operator).unwrap_or_default());
            }
        }
        Ok(())
    }

    fn look(&mut self, truth: &Truth) {
        let access = truth.lines.iter().flat_map(|line| &line.access);
        let valid: std::collections::HashSet<&str> =
            access.filter(|token| token.is_valid(truth.at)).map(|token| token.token.as_str()).collect();
        for (name, token) in &self.mounted {
            self.seen.looks += 1;
            if valid.contains(token.as_str()) {
                continue;
            }
            let waits = self.intents.get(name).is_some_and(|intent| self.is_waited_for(intent, truth.at));
            *(if waits { &mut self.seen.waited } else { &mut self.seen.invalid }) += 1;
            println!("{name} holds a token that is not valid{}", if waits { ", while it waits for an answer" } else { "" });
        }
    }

    /// Whether an operator ended while this intent was out, so that nothing could be sent before it ran out, and that was just now.
    fn is_waited_for(&self, intent: &Intent, now: UnixMillis) -> bool {
        let was_cut_off = |end: &UnixMillis| *end <= intent.seen_at && *end <= intent.until && intent.until.since(*end) <= INTENT;
        self.ends.iter().any(was_cut_off) && now.since(intent.until) <= IN_HAND
    }

    /// Something goes wrong for some seconds, and is well again.
    async fn trouble(&mut self, round: usize) -> Result<()> {
        let lasts = Duration::from_secs(1 + scattered(round, 1, usize::try_from(TROUBLE)?) as u64);
        let (which, operator) = (scattered(round, 2, 14), scattered(round, 3, 2));
        let sandbox = &self.world.sandbox;
        let faults = |fault: Fault| sandbox.inject(fault).map(drop);
        let word = match which {
            0 => self.on_operator(operator, Signal::KILL, "operator killed")?,
            1 => self.on_operator(operator, Signal::TERM, "operator told to end")?,
            2 => self.on_operator(operator, Signal::STOP, "operator frozen")?,
            3 => {
                self.on_operator(0, Signal::KILL, "")?;
                self.on_operator(1, Signal::KILL, "both operators killed")?
            }
            4 | 5 => {
                let component = if which == 4 { Component::ApiServer } else { Component::Etcd };
                self.cluster.freeze(component).await?;
                self.pass(lasts).await?;
                self.cluster.thaw(component)?;
                if which == 4 { "API server frozen" } else { "etcd frozen" }
            }
            6 | 7 => {
                let component = if which == 6 { Component::ApiServer } else { Component::Etcd };
                self.cluster.kill(component)?;
                self.cluster.restart(component).await?;
                self.cluster.ready().await?;
                if which == 6 { "API server killed" } else { "etcd killed" }
            }
            8 => faults(Fault::status(503)).map(|()| "Revoiceit: 503")?,
            9 => faults(Fault::retry_after(429, "3")).map(|()| "Revoiceit: 429")?,
            10 => faults(Fault::hang()).map(|()| "Revoiceit: hangs")?,
            11 => faults(Fault::lost_answer().times(10)).map(|()| "Revoiceit: ten answers lost")?,
            12 => faults(Fault::dropped().times(20)).map(|()| "Revoiceit: twenty calls dropped")?,
            _ => {
                // Wherever it is in its work: a call is out, and its process dies.
                faults(Fault::slow(Duration::from_millis(500)).times(30))?;
                let mark = self.world.sandbox.mark();
                let _ = self.world.sandbox.wait_for(LIFETIME, |sandbox| (!sandbox.calls(mark).is_empty()).then_some(())).await;
                self.on_operator(0, Signal::KILL, "")?;
                self.on_operator(1, Signal::KILL, "both operators killed in a call")?
            }
        };
        *self.seen.troubles.entry(word).or_default() += 1;
        println!("{round}: {word}");
        self.pass(lasts).await?;
        self.world.sandbox.heal_all();
        for operator in self.operators.iter().flatten() {
            operator.signal(Signal::CONT)?;
        }
        Ok(())
    }

    fn on_operator(&mut self, number: usize, signal: Signal, word: &'static str) -> Result<&'static str> {
        self.ends.push(UnixMillis::now());
        let operator = self.operators[number].as_ref().filter(|operator| operator.process.is_running());
        operator.map_or(Ok(()), |operator| operator.signal(signal)).map(|()| word)
    }

    /// Users do something to some resources, while all is well.
    async fn edit(&mut self, round: usize) -> Result<()> {
        for nth in 0..5 {
            let name = name(scattered(round, 10 + nth, RESOURCES));
            let world = &self.world;
            let Some(resource) = world.resources().get_opt(&name).await? else { continue };
            let word = match scattered(round, 20 + nth, 5) {
                0 => {
                    let rotate = json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: round.to_string() } } });
                    world.patch(&name, &rotate).await.map(|_| "rotated")?
                }
                1 => {
                    let renamed = json!({ "spec": { "target": { "name": format!("{name}-token-{round}") } } });
                    world.patch(&name, &renamed).await.map(|_| "renamed")?
                }
                2 => {
                    let (id, secret) = (format!("{name}-{round}"), format!("{CANARY}-{name}-{round}"));
                    world.sandbox.add_client(&id, &secret);
                    self.others.insert(id.clone(), name.clone());
                    let pair = json!({ "stringData": { "clientId": id, "clientSecret": secret } });
                    world.patch_secret(&name, &pair).await.map(|_| "given other credentials")?
                }
                3 => {
                    let deleted = world.secrets().delete(&resource.spec.target.name, &DeleteParams::default()).await;
                    deleted.map_or("target gone already", |_| "target deleted")
                }
                // Its last word about lost tokens goes with it: so nothing is under way, and it is gone before there is trouble again.
                4 if ready_reason(&resource) == Some("TokenReady") && world.record(&name).await?["intent"].is_null() => {
                    self.seen.suspects(&resource);
                    world.resources().delete(&name, &DeleteParams::default()).await?;
                    eventually("the deleted one to be gone", 10 * GENEROUS, async || {
                        ensure!(world.resources().get_opt(&name).await?.is_none(), "it is there");
                        anyhow::Ok(())
                    })
                    .await?;
                    if self.rotates {
                        "deleted"
                    } else {
                        world.own(&format!("{name}-{round}"), json!({})).await?;
                        "deleted, and another one created"
                    }
                }
                _ => continue,
            };
            *self.seen.edits.entry(word).or_default() += 1;
        }
        Ok(())
    }

    async fn all_ready(&self) -> Result<()> {
        eventually("every resource to be ready", 10 * GENEROUS, async || {
            let resources = self.world.resources().list(&ListParams::default()).await?.items;
            let others: Vec<_> = resources.iter().filter(|it| ready_reason(it) != Some("TokenReady")).map(ResourceExt::name_any).collect();
            ensure!(others.is_empty(), "{others:?} are not");
            anyhow::Ok(())
        })
        .await
    }

    /// All is well again: nothing was forgotten, and nothing stays.
    async fn end(mut self) -> Result<()> {
        self.pass(2 * LIFETIME).await?;
        self.all_ready().await?;
        let calls = self.world.calls();
        for resource in self.world.resources().list(&ListParams::default()).await?.items {
            self.seen.suspects(&resource);
        }
        println!("{calls:?} issues, refreshes and revocations; {:#?}", self.seen);
        // Refreshes go on, and what one has just brought is not in the ledgers that were read a moment before; what is lost stays lost.
        eventually("each token that lives to be in a ledger or suspected", GENEROUS, async || {
            self.nothing_is_forgotten(&self.world.kept().await?)
        })
        .await?;
        self.world.resources().delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        eventually("nothing to be left", 10 * GENEROUS, async || {
            ensure!(self.world.resources().list(&ListParams::default()).await?.items.is_empty(), "resources are there");
            ensure!(self.world.ledgers().await?.is_empty(), "ledgers are there");
            anyhow::Ok(())
        })
        .await?;
        self.nothing_is_forgotten("")?;
        ensure!(self.seen.invalid == 0, "{} looks of {} found a token that was not valid", self.seen.invalid, self.seen.looks);
        ensure!(self.seen.waited * 100 < self.seen.looks, "{} looks of {} had to wait", self.seen.waited, self.seen.looks);
        let is_rotated = |line: &Line| line.refresh.iter().any(|token| token.state == RefreshState::RotatedOut);
        let rotated = self.world.sandbox.truth().lines.iter().filter(|line| is_rotated(line)).count();
        ensure!(rotated > RESOURCES / 2, "only {rotated} lines have rotated");
        ensure!(self.seen.troubles.len() > 3 && self.world.sandbox.count(Call::Refresh, 0) > RESOURCES, "too little has happened");
        let running: Vec<&Operator> = self.operators.iter().flatten().filter(|operator| operator.process.is_running()).collect();
        self.world.no_secret_is_told(&running).await
    }
}

/// What a ledger said when it was read.
struct Intent {
    until: UnixMillis,
    seen_at: UnixMillis,
}

/// The intent in a record, for each target that is listed there.
fn intents(record: &Value) -> Vec<(String, Intent)> {
    let until = record["intent"]["until"].as_str().and_then(|until| until.parse::<jiff::Timestamp>().ok());
    let Some(until) = until.and_then(|until| u64::try_from(until.as_millisecond()).ok()) else { return Vec::new() };
    let targets = record["targets"].as_array().into_iter().flatten();
    let names = targets.filter_map(|target| target["name"].as_str());
    names.map(|name| (name.to_owned(), Intent { until: UnixMillis(until), seen_at: UnixMillis::now() })).collect()
}

impl Seen {
    fn suspects(&mut self, resource: &RevoiceitCredential) {
        let suspected = resource.status.as_ref().and_then(|status| status.suspected_lost).unwrap_or_default();
        if suspected > 0 {
            self.suspected.insert(resource.name_any(), suspected);
        }
    }
}

/// The name of a target, and the token in it.
fn mounted(target: Secret) -> Option<(String, String)> {
    let name = target.name_any();
    let token = target.data?.remove("accessToken")?;
    Some((name, String::from_utf8(token.0).ok()?))
}

fn resident(operator: &Operator) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", operator.process.id())).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
}
