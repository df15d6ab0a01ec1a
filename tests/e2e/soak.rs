//! An hour in which everything is broken, killed and edited again and again, on a cluster of its own. To be run by hand:
//!
//! ```text
//! SOAK_MINUTES=60 cargo test --test e2e soak:: -- --ignored --nocapture
//! ```

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
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Call, Fault, TokenForm, Truth};
use serde_json::json;
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

struct Soak {
    world: World,
    cluster: &'static Cluster,
    operators: [Option<Operator>; 2],
    /// What each pod has mounted: the token that it saw last.
    mounted: BTreeMap<String, String>,
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    /// Looks of a pod at its token, one each two seconds.
    looks: usize,
    /// Looks that found a token which was not valid any more.
    invalid: usize,
    troubles: BTreeMap<&'static str, usize>,
    edits: BTreeMap<&'static str, usize>,
    operators: usize,
    /// Resident memory of an operator, at most, in KiB.
    memory: u64,
    /// What resources that were deleted said of lost tokens.
    suspected: i32,
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
    let mut soak = Soak { world, cluster, operators: [None, None], mounted: BTreeMap::new(), seen: Seen::default() };
    soak.start().await?;
    soak.all_ready().await?;
    let began = Instant::now();
    for round in 0.. {
        if began.elapsed() > Duration::from_secs(60 * minutes) {
            break;
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
            *place = Some(Operator::listening(process).await?);
            self.seen.operators += 1;
        }
        Ok(())
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
            if !valid.contains(token.as_str()) {
                self.seen.invalid += 1;
                println!("{name} holds a token that is not valid");
            }
        }
    }

    /// Something goes wrong for some seconds, and is well again.
    async fn trouble(&mut self, round: usize) -> Result<()> {
        let lasts = Duration::from_secs(1 + scattered(round, 1, usize::try_from(TROUBLE)?) as u64);
        let (which, operator) = (scattered(round, 2, 14), scattered(round, 3, 2));
        let faults = |fault: Fault| self.world.sandbox.inject(fault).map(drop);
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

    fn on_operator(&self, number: usize, signal: Signal, word: &'static str) -> Result<&'static str> {
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
                    let pair = json!({ "stringData": { "clientId": id, "clientSecret": secret } });
                    world.patch_secret(&name, &pair).await.map(|_| "given other credentials")?
                }
                3 => {
                    let deleted = world.secrets().delete(&resource.spec.target.name, &DeleteParams::default()).await;
                    deleted.map_or("target gone already", |_| "target deleted")
                }
                // Its last word about lost tokens goes with it; nothing is under way in one that is Ready.
                4 if ready_reason(&resource) == Some("TokenReady") => {
                    self.seen.suspected += resource.status.as_ref().and_then(|status| status.suspected_lost).unwrap_or_default();
                    world.resources().delete(&name, &DeleteParams::default()).await?;
                    world.own(&format!("{name}-{round}"), json!({})).await?;
                    "deleted, and another one created"
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
        println!("{calls:?} issues, refreshes and revocations; {:#?}", self.seen);
        let resources = self.world.resources().list(&ListParams::default()).await?.items;
        self.seen.suspected += resources.iter().filter_map(|resource| resource.status.as_ref()?.suspected_lost).sum::<i32>();
        self.world.resources().delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        eventually("nothing to be left", 10 * GENEROUS, async || {
            ensure!(self.world.resources().list(&ListParams::default()).await?.items.is_empty(), "resources are there");
            ensure!(self.world.ledgers().await?.is_empty(), "ledgers are there");
            anyhow::Ok(())
        })
        .await?;
        let live = self.world.sandbox.truth().live_refresh_tokens().count();
        println!("{live} refresh tokens live, {} were said to be lost perhaps", self.seen.suspected);
        ensure!(live <= usize::try_from(self.seen.suspected)?, "tokens were forgotten");
        ensure!(self.seen.invalid == 0, "{} looks of {} found a token that was not valid", self.seen.invalid, self.seen.looks);
        ensure!(self.seen.troubles.len() > 3 && self.world.sandbox.count(Call::Refresh, 0) > RESOURCES, "too little has happened");
        let running: Vec<&Operator> = self.operators.iter().flatten().filter(|operator| operator.process.is_running()).collect();
        self.world.no_secret_is_told(&running).await
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
