//! Many resources at once: what is urgent goes first, and each cause brings one token, however many passes run beside each other.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, future::try_join_all};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::ListParams,
    runtime::{WatchStreamExt, watcher},
};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Call, Fault, TokenForm};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::world::{Operator, World, ready_reason};

#[tokio::test]
async fn no_token_expires_because_many_resources_are_new() -> Result<()> {
    overtaken(Crowd { old: 20, new: 120, lifetime: Duration::from_secs(30), calls_a_second: "8" }).await
}

#[tokio::test]
#[ignore = "takes some minutes: the same in the numbers that the design names, to be run by hand"]
async fn no_token_expires_because_a_thousand_resources_are_new() -> Result<()> {
    overtaken(Crowd { old: 100, new: 1000, lifetime: Duration::from_secs(90), calls_a_second: "12" }).await
}

struct Crowd {
    /// Resources whose tokens live for `lifetime` and are about to expire.
    old: usize,
    /// Resources that are applied all at once then.
    new: usize,
    lifetime: Duration,
    /// So few that they wait for each other.
    calls_a_second: &'static str,
}

/// Whatever waits: every token is replaced before it ends, and most of those that are new come afterwards.
async fn overtaken(Crowd { old, new, lifetime, calls_a_second }: Crowd) -> Result<()> {
    let world = World::with(|switches| (switches.token_form, switches.lifetime) = (TokenForm::Jwt, lifetime)).await?;
    // A lease that is not lost because the machine is busy.
    let operator = world.operator(&["--api-qps", calls_a_second, "--api-burst", "4", "--lease-duration", "1m"]).await?;
    world.crowd(old).await?;
    served(&world, &operator, old).await?;
    world.sandbox.switch(|switches| switches.lifetime = Duration::from_secs(3600))?;
    let others = (0..new).map(|number| {
        json!({
            "apiVersion": "revoiceit.com/v1", "kind": names::KIND, "metadata": { "name": format!("new-{number}"), "namespace": world.tenant },
            "spec": { "credentialsSecretRef": { "name": "client-0" }, "target": { "name": format!("new-token-{number}") } },
        })
    });
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": others.collect::<Vec<Value>>() });
    world.cluster.kubectl_stdin(["create", "-f", "-"], &list.to_string()).await?;

    served(&world, &operator, old + new).await?;
    let (calls, truth) = (world.sandbox.calls(0), world.sandbox.truth());
    let mut late = Vec::new();
    for refresh in calls.iter().filter(|call| call.call == Call::Refresh) {
        let (line, number) = refresh.made.map(|made| (made.line, made.access)).context("a refresh that brought nothing")?;
        let before = &truth.line(line).context("no such line")?.access[number - 2];
        let answered = refresh.finished_at.context("a refresh without an answer")?;
        late.extend((answered >= before.expires_at).then_some(line));
    }
    let refreshes: Vec<usize> = calls.iter().enumerate().filter(|(_, call)| call.call == Call::Refresh).map(|(at, _)| at).collect();
    let last = refreshes.last().context("no refresh")?;
    let after = calls[*last..].iter().filter(|call| call.call == Call::Issue).count();
    let refreshed = truth.lines.iter().filter(|line| line.access.len() > 1).count();
    assert_eq!((refreshed, late), (old, Vec::new()));
    ensure!(after >= new / 4, "only {after} of {new} new ones came after the last refresh: what was due first did not go first");

    for number in 0..old {
        let token = world.token(&format!("token-{number}")).await?;
        assert_eq!(truth.owner_of(&token), Some(format!("client-{number}-of-{}", world.tenant).as_str()));
        ensure!(truth.is_valid(&token, truth.at), "token-{number} holds one that has expired");
    }
    world.no_secret_is_told(&[&operator]).await
}

/// Waits until so many tokens were issued. There is no use in waiting for an operator that has ended.
async fn served(world: &World, operator: &Operator, all: usize) -> Result<()> {
    eventually(&format!("{all} issues"), 5 * GENEROUS, async || {
        if !operator.process.is_running() {
            return Ok(Err(anyhow::anyhow!("it ended{}", operator.process.tail())));
        }
        let issues = world.sandbox.count(Call::Issue, 0);
        ensure!(issues >= all, "{issues} of {all} issues, the last failures: {:?}", failures(world).await?);
        anyhow::Ok(Ok(()))
    })
    .await?
}

/// What the status of each resource says that is not as it should be.
async fn failures(world: &World) -> Result<BTreeSet<String>> {
    let resources = world.resources().list(&ListParams::default()).await?.items;
    Ok(resources.iter().map(|it| ready_reason(it).unwrap_or("no status").to_owned()).filter(|reason| reason != "TokenReady").collect())
}

#[tokio::test]
async fn one_answer_that_asks_to_wait_holds_up_every_call() -> Result<()> {
    let world = World::new().await?;
    let policy = world.policy(&json!({ "retryMin": 100 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    world.own("leaving", json!({})).await?;
    world.reason("leaving", "TokenReady").await?;
    world.at_rest().await?;
    for code in [429, 503] {
        let mark = world.sandbox.mark();
        world.sandbox.inject(Fault::retry_after(code, "4").on(Call::Issue).once())?;
        world.own(&format!("asks-{code}"), json!({})).await?;
        let asked = world.sandbox.wait_for(GENEROUS, |sandbox| sandbox.calls(mark).first()?.finished_at).await;
        let asked = asked.context("nothing was asked for")?;
        world.own(&format!("new-{code}"), json!({})).await?;
        if code == 503 {
            world.kubectl(&["delete", "rvc", "leaving", "--wait=false"]).await?;
        }
        for name in ["asks", "new"] {
            world.reason(&format!("{name}-{code}"), "TokenReady").await?;
        }
        // A millisecond each for the rounding of both times.
        let early = world.sandbox.calls(mark).into_iter().skip(1).find(|call| call.started_at.since(asked) < Duration::from_millis(3998));
        ensure!(early.is_none(), "after a {code}: {early:?}");
    }
    world.kubectl(&["wait", "--for=delete", "rvc/leaving", "--timeout=60s"]).await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn twenty_rotation_requests_in_a_quick_row_bring_one_token_for_each_that_was_handled() -> Result<()> {
    const REQUESTS: usize = 20;
    let world = World::new().await?;
    world.credentials("client").await?;
    // No budget and no backlog: nothing but the intent keeps the two replicas from minting twice.
    let policy = world.policy(&json!({ "budgetInterval": 1, "minGrace": 100, "retiringCap": 64 }))?;
    let flags = ["--leader-elect=false", "--concurrency", "64", "--policy-for-tests", &policy];
    let (first, second) = (world.operator(&flags).await?, world.operator(&flags).await?);
    world.speech(json!({ "revocation": { "grace": "0s" } })).await?;
    world.ready("speech").await?;
    let handled = handled_requests(&world);

    for request in 1..=REQUESTS {
        world.patch("speech", &json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: request.to_string() } } })).await?;
    }
    eventually("the last request to be handled, and one line to be left", GENEROUS, async || {
        let status = world.get("speech").await?.status.unwrap_or_default();
        let live = world.sandbox.truth().live().count();
        let last = status.last_handled_rotate_request;
        ensure!((last.as_deref(), live) == (Some("20"), 1), "{last:?}, {live} lines live");
        anyhow::Ok(())
    })
    .await?;
    world.at_rest().await?;
    let handled = handled.seen().await?;
    ensure!(handled.contains("20") && handled.len() <= REQUESTS, "{handled:?}");
    assert_eq!(world.sandbox.count(Call::Issue, 0), 1 + handled.len(), "handled: {handled:?}");
    assert_eq!(world.suspected_lost("speech").await?, 0);
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&first, &second]).await
}

/// Every request that the ledgers of this test ever named as handled.
struct Handled {
    seen: Arc<Mutex<BTreeSet<String>>>,
    task: tokio::task::JoinHandle<()>,
}

fn handled_requests(world: &World) -> Handled {
    let ledgers: Api<Secret> = Api::namespaced(world.client.clone(), &world.system);
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let names = seen.clone();
    let task = tokio::spawn(async move {
        let only = watcher::Config::default().fields(&format!("type={}", names::LEDGER_TYPE));
        let mut ledgers = std::pin::pin!(watcher(ledgers, only).applied_objects());
        while let Some(Ok(ledger)) = ledgers.next().await {
            let data = ledger.data.unwrap_or_default();
            let record: Value = data.get(names::LEDGER_KEY).and_then(|record| serde_json::from_slice(&record.0).ok()).unwrap_or_default();
            names.lock().await.extend(record["handledRequest"].as_str().map(str::to_owned));
        }
    });
    Handled { seen, task }
}

impl Handled {
    async fn seen(self) -> Result<BTreeSet<String>> {
        ensure!(!self.task.is_finished(), "the watch of the ledgers broke off");
        self.task.abort();
        Ok(self.seen.lock().await.clone())
    }
}

#[tokio::test]
async fn at_concurrency_64_two_replicas_that_both_lead_mint_one_token_for_each_cause() -> Result<()> {
    const RESOURCES: usize = 40;
    let world = World::new().await?;
    let policy = world.policy(&json!({ "minGrace": 1000 }))?;
    let flags = ["--leader-elect=false", "--concurrency", "64", "--policy-for-tests", &policy];
    let (first, second) = (world.operator(&flags).await?, world.operator(&flags).await?);
    let names: Vec<String> = (0..RESOURCES).map(|number| format!("r{number}")).collect();
    try_join_all(names.iter().map(|name| world.own(name, json!({ "revocation": { "grace": "0s" } })))).await?;
    one_each(&world, &names, 1).await?;

    let rotate = json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: "now" } } });
    try_join_all(names.iter().map(|name| world.patch(name, &rotate))).await?;
    one_each(&world, &names, 2).await?;

    // Another pair of each client, as its owner changes it in the vendor's console and then in the Secret.
    try_join_all(names.iter().map(async |name| {
        let (id, secret) = (world.client_of(name), format!("{}-another-{name}", crate::world::CANARY));
        world.sandbox.add_client(&id, &secret);
        world.patch_secret(name, &json!({ "stringData": { "clientSecret": secret } })).await
    }))
    .await?;
    one_each(&world, &names, 3).await?;
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&first, &second]).await
}

/// Waits until each has so many lines, of which the last is the only one that lives and the one whose token its target holds. And no more come.
async fn one_each(world: &World, names: &[String], lines: usize) -> Result<()> {
    eventually(&format!("line {lines} of each"), GENEROUS, async || {
        let truth = world.sandbox.truth();
        let (all, live) = (truth.lines.len(), truth.live().count());
        ensure!((all, live) == (lines * names.len(), names.len()), "{live} of {all} lines live");
        anyhow::Ok(())
    })
    .await?;
    world.at_rest().await?;
    assert_eq!(world.sandbox.count(Call::Issue, 0), lines * names.len());
    let truth = world.sandbox.truth();
    for name in names {
        let token = world.own_token(name).await?;
        let last = truth.lines_of(&world.client_of(name)).last().map(|line| line.number);
        assert_eq!(truth.access(&token).map(|(line, _)| line.number), last, "{name}");
        assert_eq!(world.suspected_lost(name).await?, 0, "{name}");
    }
    Ok(())
}
