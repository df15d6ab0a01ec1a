//! Two operators that both believe that they lead: the first stood still in the middle of its work for longer than its lease, or was cut off, or
//! there is no lease. What is out is repeated at most; no token is lost, and no target goes back in time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt, api::ListParams};
use revoiceit_harness::{
    proxy::{Fault as Between, Proxy},
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Call, Fault, Truth};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    leaders::leads,
    world::{CANARY, Operator, World, merge},
};

/// Reads all targets again and again, and keeps what it saw of each, in order.
struct Witness {
    seen: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    task: JoinHandle<()>,
}

impl Witness {
    fn of(secrets: Api<Secret>) -> Self {
        let seen: Arc<Mutex<BTreeMap<String, Vec<String>>>> = Arc::default();
        let into = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                // As it is now, and in one step.
                for secret in secrets.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
                    let is_target = secret.annotations().contains_key(names::RESOURCE_ANNOTATION);
                    let name = secret.name_any();
                    let token = secret.data.and_then(|mut data| data.remove("accessToken")).filter(|_| is_target);
                    if let Some(token) = token {
                        let token = String::from_utf8_lossy(&token.0).into_owned();
                        let mut seen = into.lock().unwrap_or_else(PoisonError::into_inner);
                        let values = seen.entry(name).or_default();
                        if values.last() != Some(&token) {
                            values.push(token);
                        }
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { seen, task }
    }

    /// In each target, each token was issued after the one before it.
    fn saw_nothing_go_back(self, truth: &Truth) -> Result<()> {
        self.task.abort();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(!seen.is_empty(), "nothing was seen");
        for (target, tokens) in &*seen {
            let order = tokens.iter().map(|text| {
                let (line, token) = truth.access(text).context("a token that Revoiceit does not know")?;
                Ok((line.number, line.access.iter().position(|other| other == token)))
            });
            let order = order.collect::<Result<Vec<_>>>()?;
            ensure!(order.is_sorted(), "{target} held {order:?}, by line and number");
        }
        Ok(())
    }
}

/// A leader behind a proxy, and one that stands by.
async fn pair(world: &World) -> Result<(Proxy, Operator, Operator)> {
    let policy = world.policy(&json!({ "intent": 3000, "minGrace": 500, "retryMin": 200, "retryMax": 1000, "revokeRetryMax": 500 }))?;
    let proxy = Proxy::start(world.cluster).await?;
    let first = world.operator_through(&proxy.url(), &["--policy-for-tests", &policy]).await?;
    leads(&first).await?;
    let second = world.operator(&["--policy-for-tests", &policy]).await?;
    Ok((proxy, first, second))
}

/// Lets it stand still until another leads, and that one has done the work.
async fn taken_over(world: &World, first: &Operator, second: &Operator, name: &str, issues: usize) -> Result<()> {
    first.process.freeze().await?;
    leads(second).await?;
    eventually("the other to have done it", GENEROUS, async || {
        ensure!(world.sandbox.count(Call::Issue, 0) == issues, "{} issues", world.sandbox.count(Call::Issue, 0));
        let record = world.record(name).await?;
        let token = world.own_token(name).await?;
        ensure!(record["intent"].is_null() && record["live"]["access"] == json!(token), "not yet");
        anyhow::Ok(())
    })
    .await
}

/// It notices that it does not lead any more, finishes what it had in hand, and ends.
async fn ends(first: &Operator) -> Result<()> {
    first.process.thaw()?;
    first.process.wait(GENEROUS).await.map(drop)
}

async fn rotate(world: &World, name: &str, value: &str) -> Result<()> {
    world.patch(name, &json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: value } } })).await.map(drop)
}

/// Waits until all but one line, the one in the target, are revoked.
async fn one_line_is_left(world: &World, name: &str) -> Result<()> {
    // Nobody watches ledgers: what a leader of the past left in one is seen when something is due.
    world.patch(name, &json!({ "metadata": { "labels": { "touched": "yes" } } })).await?;
    eventually("one line to be left", GENEROUS, async || {
        let (truth, token) = (world.sandbox.truth(), world.own_token(name).await?);
        let live: Vec<u64> = truth.live().map(|line| line.number).collect();
        let (line, _) = truth.access(&token).context("the target's token")?;
        ensure!(live == [line.number], "{live:?} live, {} is in the target", line.number);
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn a_leader_that_stands_still_while_an_issue_is_out_costs_one_token_which_is_counted() -> Result<()> {
    let world = World::new().await?;
    let (_proxy, first, second) = pair(&world).await?;
    let witness = Witness::of(world.secrets());
    let fault = world.sandbox.inject(Fault::hang().processed(true).on(Call::Issue).once())?;
    world.own("speech", json!({ "revocation": { "grace": "0s" } })).await?;
    world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Issue, 0) == 1).then_some(())).await.context("no issue came")?;
    taken_over(&world, &first, &second, "speech", 2).await?;
    world.sandbox.heal(fault);
    ends(&first).await?;
    world.reason("speech", "TokenReady").await?;
    assert_eq!((world.suspected_lost("speech").await?, world.sandbox.count(Call::Issue, 0)), (1, 2));
    // The answer was there, or it was taken for lost: then it is the one that was counted.
    let record = world.record("speech").await?.to_string();
    let truth = world.sandbox.truth();
    let missing = truth.live_refresh_tokens().filter(|token| !record.contains(&token.token)).count();
    ensure!(missing <= 1, "{missing} tokens are in no ledger");
    witness.saw_nothing_go_back(&truth)?;
    world.no_secret_is_told(&[&second]).await
}

#[tokio::test]
async fn a_leader_that_stands_still_while_it_saves_a_token_finds_it_another_place() -> Result<()> {
    let world = World::new().await?;
    let (proxy, first, second) = pair(&world).await?;
    let witness = Witness::of(world.secrets());
    let save = proxy.inject(Between::detain().method("PUT").path("/secrets/rvc-").times(1));
    world.own("speech", json!({ "revocation": { "grace": "0s" } })).await?;
    held(&proxy, save).await?;
    taken_over(&world, &first, &second, "speech", 2).await?;
    proxy.lift(save);
    ends(&first).await?;
    one_line_is_left(&world, "speech").await?;
    // It was taken for lost, and what was counted once stays counted.
    assert_eq!((world.suspected_lost("speech").await?, world.sandbox.count(Call::Issue, 0)), (1, 2));
    witness.saw_nothing_go_back(&world.sandbox.truth())?;
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&second]).await
}

#[tokio::test]
async fn a_leader_that_stands_still_while_it_writes_a_target_brings_no_old_token_back() -> Result<()> {
    let world = World::new().await?;
    let (proxy, first, second) = pair(&world).await?;
    world.own("speech", json!({ "revocation": { "grace": "0s" } })).await?;
    world.reason("speech", "TokenReady").await?;
    world.at_rest().await?;
    let witness = Witness::of(world.secrets());
    // Not the dry run.
    let write = proxy.inject(Between::detain().method("PUT").path("/secrets/speech-token?&fieldManager").times(1));
    rotate(&world, "speech", "one").await?;
    held(&proxy, write).await?;
    taken_over(&world, &first, &second, "speech", 2).await?;
    let token = world.own_token("speech").await?;
    rotate(&world, "speech", "two").await?;
    world.another_token("speech-token", &token).await?;
    proxy.lift(write);
    ends(&first).await?;
    one_line_is_left(&world, "speech").await?;
    assert_eq!((world.suspected_lost("speech").await?, world.sandbox.count(Call::Issue, 0)), (0, 3));
    witness.saw_nothing_go_back(&world.sandbox.truth())?;
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&second]).await
}

async fn held(proxy: &Proxy, id: revoiceit_harness::proxy::FaultId) -> Result<()> {
    eventually("the request to be held", GENEROUS, async || {
        ensure!(proxy.held(id) == 1, "not yet");
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn a_leader_that_is_cut_off_with_an_answer_in_hand_saves_it_when_it_is_back() -> Result<()> {
    let world = World::new().await?;
    let (proxy, first, second) = pair(&world).await?;
    let witness = Witness::of(world.secrets());
    let fault = world.sandbox.inject(Fault::hang().processed(true).on(Call::Issue).once())?;
    world.own("speech", json!({ "revocation": { "grace": "0s" } })).await?;
    world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Issue, 0) == 1).then_some(())).await.context("no issue came")?;
    let cut = proxy.inject(Between::reset());
    proxy.cut();
    world.sandbox.heal(fault);
    leads(&second).await?;
    // Its intent runs out meanwhile.
    world.reason("speech", "TokenReady").await?;
    assert_eq!((world.suspected_lost("speech").await?, world.sandbox.count(Call::Issue, 0)), (1, 2));
    proxy.lift(cut);
    first.process.wait(GENEROUS).await?;
    one_line_is_left(&world, "speech").await?;
    assert_eq!((world.suspected_lost("speech").await?, world.sandbox.count(Call::Issue, 0)), (1, 2));
    witness.saw_nothing_go_back(&world.sandbox.truth())?;
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&second]).await
}

#[tokio::test]
async fn of_two_that_both_lead_through_rotations_and_edits_of_credentials_no_target_goes_back() -> Result<()> {
    const RESOURCES: usize = 8;
    let world = World::new().await?;
    let mut policy = crate::deletion::impatient();
    merge(&mut policy, json!({ "minGrace": 500 }));
    let policy = world.policy(&policy)?;
    let flags = ["--leader-elect=false", "--policy-for-tests", &policy];
    let (first, second) = (world.operator(&flags).await?, world.operator(&flags).await?);
    let witness = Witness::of(world.secrets());
    let all: Vec<String> = (0..RESOURCES).map(|number| format!("r{number}")).collect();
    for name in &all {
        world.own(name, json!({ "revocation": { "grace": "0s" } })).await?;
    }
    for round in 1..=4_usize {
        settled(&world, &all, round).await?;
        if round == 4 {
            break;
        }
        for name in &all {
            if round % 2 == 1 {
                rotate(&world, name, &round.to_string()).await?;
            } else {
                let (id, secret) = (format!("{}-{round}", world.client_of(name)), format!("{CANARY}-{name}-{round}"));
                world.sandbox.add_client(&id, &secret);
                let pair: Value = json!({ "stringData": { "clientId": id, "clientSecret": secret } });
                world.patch_secret(name, &pair).await?;
            }
        }
    }
    world.at_rest().await?;
    for name in &all {
        assert_eq!(world.suspected_lost(name).await?, 0, "{name}");
    }
    assert_eq!(world.sandbox.count(Call::Issue, 0), 4 * RESOURCES);
    witness.saw_nothing_go_back(&world.sandbox.truth())?;
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&first, &second]).await
}

/// Waits until each has had so many lines, of which only the last lives.
async fn settled(world: &World, all: &[String], lines: usize) -> Result<()> {
    eventually("one line of each to be left", GENEROUS, async || {
        let truth = world.sandbox.truth();
        let (begun, live) = (truth.lines.len(), truth.live().count());
        ensure!((begun, live) == (lines * all.len(), all.len()), "{live} of {begun} lines live");
        anyhow::Ok(())
    })
    .await
}
