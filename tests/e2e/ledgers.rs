//! Ledgers that are not what they should be: lost, another cluster's, another API's, another operator's, unreadable, out of scope. Each is said,
//! no call is made, and when it is as it was, all goes on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{TryStreamExt, stream};
use k8s_openapi::{
    ByteString,
    api::{core::v1::Secret, events::v1::Event},
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use revoiceit_harness::{
    proxy::{Fault, Proxy},
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Line, LineState, Switches, UnixMillis};
use serde_json::{Value, json};

use crate::{
    deletion::{impatient, revoked, with_token},
    seen::message,
    world::{World, conditions, merge, short_lived},
};

fn ledgers(world: &World) -> Api<Secret> {
    Api::namespaced(world.client.clone(), &world.system)
}

/// The ledger of a resource.
async fn ledger(world: &World, name: &str) -> Result<Secret> {
    Ok(ledgers(world).get(&names::ledger_name(&world.get(name).await?.uid().context("no UID")?)).await?)
}

/// An edit of the resource that asks for nothing, so that it is looked at.
async fn touch(world: &World, name: &str) -> Result<()> {
    world.patch(name, &json!({ "metadata": { "labels": { "touched": "yes" } } })).await.map(drop)
}

#[tokio::test]
async fn a_ledger_deleted_by_hand_is_counted_told_and_begun_anew() -> Result<()> {
    let world = World::new().await?;
    let operator = with_token(&world, json!({})).await?;
    let token = world.token("token").await?;
    ledgers(&world).delete(&ledger(&world, "speech").await?.name_any(), &Default::default()).await?;
    touch(&world, "speech").await?;
    world.another_token("token", &token).await?;
    world.is_told("speech", "Warning LedgerLost").await?;
    world.at_rest().await?;
    assert_eq!((world.suspected_lost("speech").await?, world.calls()), (1, (2, 0, 0)));
    operator.shows("revoiceit_suspected_lost 1").await?;

    world.kubectl(&["delete", "rvc", "speech", "--timeout=60s"]).await?;
    world.gone("speech", "token").await?;
    let told = last_words(&world).await?;
    ensure!(told.contains("may have been lost while it lived: 1, a ledger with an unknown number among them"), "{told}");
    assert_eq!(world.calls(), (2, 0, 1));
    operator.shows("revoiceit_suspected_lost 0").await?;
    world.no_secret_is_told(&[&operator]).await
}

/// Another replica's write that was sent before the ledger was lost comes between the two reads of a look that misses it.
#[tokio::test]
async fn a_target_that_is_written_while_its_lost_ledger_is_missed_is_in_the_new_one() -> Result<()> {
    let world = World::new().await?;
    let proxy = Proxy::start(world.cluster).await?;
    world.credentials("client").await?;
    let operator = world.operator_through(&proxy.url(), &["--policy-for-tests", &world.policy(&impatient())?]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    let (mut late, token) = (world.secrets().get("token").await?, world.token("token").await?);
    (late.metadata.uid, late.metadata.resource_version, late.metadata.managed_fields) = (None, None, None);

    // The first is of a look that knows only the old name, the second of one that has found neither that nor the new one.
    let secrets = format!("/api/v1/namespaces/{}/secrets?", world.tenant);
    let is_list =
        move |_: &str, path: &str, _: &[u8]| path.starts_with(&secrets) && !path.contains("watch=") && !path.contains("fieldSelector");
    let lists = [0, 1].map(|_| proxy.inject(Fault::hold().method("GET").which(is_list.clone()).times(1)));
    let is_held = async |list| {
        eventually("the targets to be listed", GENEROUS, async || {
            ensure!(proxy.held(list) == 1, "they are not");
            anyhow::Ok(())
        })
        .await
    };
    ledgers(&world).delete(&ledger(&world, "speech").await?.name_any(), &Default::default()).await?;
    world.secrets().delete("token", &Default::default()).await?;
    is_held(lists[0]).await?;
    world.patch("speech", &json!({ "spec": { "target": { "name": "new" } } })).await?;
    proxy.lift(lists[0]);
    is_held(lists[1]).await?;
    world.secrets().create(&PostParams::default(), &late).await?;
    proxy.lift(lists[1]);

    world.another_token("new", &token).await?;
    world.at_rest().await?;
    ensure!(world.secrets().get_opt("token").await?.is_none(), "it is there, and nobody knows of it");
    assert_eq!((world.suspected_lost("speech").await?, world.calls()), (1, (2, 0, 0)));
    world.no_secret_is_told(&[&operator]).await
}

/// What was said in the operator's namespace before a ledger with losses went.
async fn last_words(world: &World) -> Result<String> {
    let events: Api<Event> = Api::namespaced(world.client.clone(), &world.system);
    eventually("the last words", GENEROUS, async || {
        let told = events.list(&ListParams::default()).await?.items;
        let told = told.into_iter().find(|event| event.reason.as_deref() == Some("SuspectedLost")).context("nothing told")?;
        told.note.context("no note")
    })
    .await
}

/// What is left of the namespace is what a backup tool brings back, which leaves no ledger out.
#[tokio::test]
async fn after_the_operators_namespace_was_deleted_losses_are_counted_and_a_restored_ledger_is_left_alone() -> Result<()> {
    let world = World::new().await?;
    let flags = ["--policy-for-tests", &world.policy(&impatient())?];
    let first = world.operator(&flags).await?;
    for name in ["lost", "leaving", "restored"] {
        world.own(name, json!({ "revocation": { "deadline": "1s" } })).await?;
    }
    for name in ["lost", "leaving", "restored"] {
        world.ready(name).await?;
    }
    let (mut copy, token) = (ledger(&world, "restored").await?, world.own_token("lost").await?);
    copy.metadata.managed_fields = None;
    (copy.metadata.uid, copy.metadata.resource_version) = (None, None);
    first.stop().await?;
    world.cluster.kubectl(["delete", "namespace", &world.system, "--timeout=60s"]).await?;
    world.kubectl(&["delete", "rvc", "leaving", "--wait=false"]).await?;
    world.install().await?;
    ledgers(&world).create(&PostParams::default(), &copy).await?;
    assert_eq!(world.get("leaving").await?.finalizers(), [names::FINALIZER]);

    let second = world.operator(&flags).await?;
    world.kubectl(&["wait", "--for=delete", "rvc/leaving", "--timeout=60s"]).await?;
    let told = last_words(&world).await?;
    ensure!(told.contains(&format!("RevoiceitCredential {}/leaving is gone", world.tenant)), "{told}");
    world.another_token("lost-token", &token).await?;
    world.is_told("lost", "Warning LedgerLost").await?;
    world.ready("lost").await?;
    assert_eq!(world.suspected_lost("lost").await?, 1);
    let restored = world.reason("restored", "LedgerUnusable").await?;
    ensure!(message(&restored).contains("belongs to another cluster or to an earlier installation"), "{}", message(&restored));
    assert_eq!((conditions(&restored), world.calls()), (vec!["Ready=False".to_owned(), "Stalled=True".to_owned()], (4, 0, 0)));

    // Deleted, it goes at its deadline, and its tokens stay with whoever they belong to.
    world.kubectl(&["delete", "rvc", "restored", "--timeout=60s"]).await?;
    second.shows("revoiceit_ledgers_unattended 1").await?;
    let (truth, of) = (world.sandbox.truth(), world.client_of("restored"));
    let states: Vec<LineState> = truth.lines_of(&of).map(Line::state).collect();
    assert_eq!((states, world.calls(), world.ledgers().await?.len()), (vec![LineState::Live], (4, 0, 0), 2));
    world.no_secret_is_told(&[&second]).await
}

#[tokio::test]
async fn another_api_url_is_said_and_set_back_all_goes_on_without_a_call() -> Result<()> {
    let world = World::new().await?;
    let first = with_token(&world, json!({})).await?;
    let (token, calls) = (world.token("token").await?, world.sandbox.mark());
    first.stop().await?;
    // The same machine by another name: another origin.
    let other = world.sandbox.api_url().replace("127.0.0.1", "localhost");
    ensure!(other != world.sandbox.api_url(), "no other name for {other}");
    let policy = world.policy(&impatient())?;
    let second = world.operator(&["--api-url", &other, "--policy-for-tests", &policy]).await?;
    let resource = world.reason("speech", "IssuerChanged").await?;
    assert_eq!(conditions(&resource), ["Ready=False", "Stalled=True"]);
    ensure!(message(&resource).contains("--api-url. Set it back"), "{}", message(&resource));
    world.is_told("speech", "Warning IssuerChanged").await?;
    for (request, before_expiry) in [(json!("one"), "20m"), (json!(null), "15m")] {
        let asked = json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: request } } });
        world.patch("speech", &asked).await?;
        world.patch("speech", &json!({ "spec": { "refresh": { "beforeExpiry": before_expiry } } })).await?;
        world.reason("speech", "IssuerChanged").await?;
    }
    second.stop().await?;

    let third = world.operator(&["--policy-for-tests", &policy]).await?;
    world.reason("speech", "TokenReady").await?;
    assert_eq!((world.sandbox.mark(), world.token("token").await?), (calls, token));
    world.no_secret_is_told(&[&third]).await
}

#[tokio::test]
async fn a_record_that_cannot_be_used_is_said_and_left_alone_until_it_is_as_it_was() -> Result<()> {
    type Damage = fn(&mut Vec<u8>);
    fn edited(json: &mut Vec<u8>, edit: Value) {
        let mut record: Value = serde_json::from_slice(json).unwrap_or_default();
        merge(&mut record, edit);
        *json = record.to_string().into_bytes();
    }
    let cases: [(&str, Damage, &str); 6] = [
        ("later", |json| edited(json, json!({ "format": 2 })), "was written by a later version of the operator. Run that version"),
        ("truncated", |json| json.truncate(json.len() / 2), "cannot be read. Restore it, or delete it"),
        ("without-a-key", |json| edited(json, json!({ "retiring": null })), "cannot be read. Restore it, or delete it"),
        ("empty", Vec::clear, "cannot be read. Restore it, or delete it"),
        ("another-resources", |json| edited(json, json!({ "resource": { "name": "another" } })), "belongs to another resource"),
        ("another-clusters", |json| edited(json, json!({ "home": "another" })), "belongs to another cluster"),
    ];
    let world = World::new().await?;
    let policy = world.policy(&impatient())?;
    let first = world.operator(&["--policy-for-tests", &policy]).await?;
    for (name, ..) in &cases {
        world.own(name, json!({})).await?;
    }
    for (name, ..) in &cases {
        world.ready(name).await?;
    }
    world.at_rest().await?;
    first.stop().await?;
    let calls = world.sandbox.mark();
    let mut before = Vec::new();
    for (name, damage, _) in &cases {
        let ledger = ledger(&world, name).await?;
        let good = ledger.data.clone().unwrap_or_default().remove(names::LEDGER_KEY).context("no record")?.0;
        let mut bad = good.clone();
        damage(&mut bad);
        put(&world, &ledger.name_any(), bad.clone()).await?;
        before.push((ledger.name_any(), good, bad, world.own_token(name).await?));
    }

    let mark = world.cluster.audit_mark().await?;
    let second = world.operator(&["--policy-for-tests", &policy]).await?;
    for (name, _, words) in &cases {
        let resource = world.reason(name, "LedgerUnusable").await?;
        assert_eq!(conditions(&resource), ["Ready=False", "Stalled=True"], "{name}");
        ensure!(message(&resource).contains(words), "{name}: {}", message(&resource));
    }
    let written = world.writes_since(mark).await?;
    ensure!(written.iter().all(|write| write.starts_with("patch revoiceitcredentials/status ")), "{written:?}");
    assert_eq!((world.sandbox.mark(), written.len()), (calls, cases.len()));

    for ((name, ..), (ledger, good, bad, token)) in cases.iter().zip(before) {
        let there = ledgers(&world).get(&ledger).await?.data.unwrap_or_default().remove(names::LEDGER_KEY).context("no record")?;
        ensure!(there.0 == bad, "{name}: the ledger was touched");
        put(&world, &ledger, good).await?;
        world.reason(name, "TokenReady").await?;
        ensure!(world.own_token(name).await? == token, "{name}: another token");
    }
    assert_eq!(world.sandbox.mark(), calls);
    world.no_secret_is_told(&[&second]).await
}

/// Puts this into a ledger.
async fn put(world: &World, ledger: &str, record: Vec<u8>) -> Result<()> {
    let patch = json!({ "data": { names::LEDGER_KEY: ByteString(record) } });
    ledgers(world).patch(ledger, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Access tokens that live for six seconds.
fn six_seconds(switches: &mut Switches) {
    short_lived(switches);
    switches.lifetime = Duration::from_secs(6);
}

/// With which they are refreshed after two.
fn hurried() -> Value {
    let mut policy = impatient();
    merge(&mut policy, json!({ "minLifetime": 1000 }));
    policy
}

/// As after a restore of etcd, which brings back everything as it was.
#[tokio::test]
async fn a_ledger_from_before_a_rotation_gets_a_new_line_and_what_was_issued_since_is_counted_nowhere() -> Result<()> {
    let world = World::with(six_seconds).await?;
    let mut policy = hurried();
    merge(&mut policy, json!({ "minGrace": 200 }));
    let flags = ["--policy-for-tests", &world.policy(&policy)?];
    world.credentials("client").await?;
    let first = world.operator(&flags).await?;
    world.speech(json!({ "revocation": { "grace": "0s" } })).await?;
    world.ready("speech").await?;
    let ledger = ledger(&world, "speech").await?;
    let snapshot = ledger.data.clone().unwrap_or_default().remove(names::LEDGER_KEY).context("no record")?.0;
    let states = || world.sandbox.truth().lines.iter().map(Line::state).collect::<Vec<LineState>>();

    world.patch("speech", &json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: "one" } } })).await?;
    eventually("the first line to be revoked", GENEROUS, async || {
        ensure!(states() == [LineState::Revoked, LineState::Live], "{:?}", states());
        anyhow::Ok(())
    })
    .await?;
    first.stop().await?;
    world.patch("speech", &json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: null } } })).await?;
    put(&world, &ledger.name_any(), snapshot).await?;

    let second = world.operator(&flags).await?;
    eventually("the token of a third line", GENEROUS, async || {
        let (token, truth) = (world.token("token").await?, world.sandbox.truth());
        let line = truth.access(&token).map(|(line, _)| line.number);
        ensure!(line == Some(3), "it is of line {line:?}");
        anyhow::Ok(())
    })
    .await?;
    world.reason("speech", "TokenReady").await?;
    assert_eq!((states(), world.suspected_lost("speech").await?), (vec![LineState::Revoked, LineState::Live, LineState::Live], 0));
    world.no_secret_is_told(&[&second]).await
}

#[tokio::test]
async fn of_two_operators_in_different_namespaces_the_second_does_nothing_and_says_so_when_the_first_is_gone() -> Result<()> {
    let world = World::with(six_seconds).await?;
    let flags = ["--policy-for-tests", &world.policy(&hurried())?];
    let first = world.operator(&flags).await?;
    world.credentials("client").await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    let other = World::new().await?;
    let mark = world.cluster.audit_mark().await?;
    let url = world.sandbox.api_url();
    let second = other.operator(&["--namespace", &world.tenant, "--api-url", &url, flags[0], flags[1]]).await?;
    let token = world.token("token").await?;
    world.another_token("token", &token).await?;
    assert_eq!(world.reason("speech", "TokenReady").await?.finalizers().len(), 1);
    first.stop().await?;

    let calls = world.sandbox.mark();
    let resource = world.reason("speech", "LedgerElsewhere").await?;
    ensure!(message(&resource).contains("An operator in another namespace holds this resource"), "{}", message(&resource));
    assert_eq!(conditions(&resource), ["Ready=False", "Stalled=True"]);
    world.kubectl(&["delete", "rvc", "speech", "--wait=false"]).await?;
    world.reason("speech", "LedgerElsewhere").await?;
    let written = other.writes_since(mark).await?;
    ensure!(written.iter().all(|write| write.starts_with("patch revoiceitcredentials/status ")), "{written:?}");
    assert_eq!((world.sandbox.mark(), other.ledgers().await?.len()), (calls, 0));

    let third = world.operator(&flags).await?;
    world.gone("speech", "token").await?;
    revoked(&world, 1).await?;
    other.no_secret_is_told(&[&second]).await?;
    world.no_secret_is_told(&[&third]).await
}

#[tokio::test]
async fn out_of_scope_a_deletion_is_carried_out_and_nothing_else() -> Result<()> {
    let world = World::with(six_seconds).await?;
    let flags = ["--policy-for-tests", &world.policy(&hurried())?];
    world.credentials("client").await?;
    let first = world.operator(&flags).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    first.stop().await?;
    let elsewhere = format!("{}-other", world.tenant);
    world.cluster.kubectl(["create", "namespace", &elsewhere]).await?;
    let (token, calls, mark) = (world.token("token").await?, world.sandbox.mark(), world.cluster.audit_mark().await?);

    let second = world.operator(&["--namespace", &elsewhere, flags[0], flags[1]]).await?;
    second.shows("revoiceit_ledgers_unattended 1").await?;
    world.patch("speech", &json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: "one" } } })).await?;
    eventually("the token to have expired, after it would have been refreshed", GENEROUS, async || {
        ensure!(!world.sandbox.truth().is_valid(&token, UnixMillis::now()), "it is valid");
        anyhow::Ok(())
    })
    .await?;
    second.shows("revoiceit_ledgers_unattended 1").await?;
    assert_eq!((world.sandbox.mark(), world.token("token").await?), (calls, token));
    assert_eq!(world.writes_since(mark).await?, [""; 0]);

    world.kubectl(&["delete", "rvc", "speech", "--timeout=60s"]).await?;
    world.gone("speech", "token").await?;
    revoked(&world, 1).await?;
    second.shows("revoiceit_ledgers_unattended 0").await?;
    world.no_secret_is_told(&[&second]).await
}

#[tokio::test]
async fn more_ledgers_than_are_listed_at_a_time_are_all_swept() -> Result<()> {
    let world = World::new().await?;
    let (ledgers, number) = (ledgers(&world), 501);
    stream::iter((0..number).map(Ok))
        .try_for_each_concurrent(16, async |number| {
            let damaged = json!({
                "metadata": { "name": names::ledger_name(&format!("nobody-{number}")) },
                "type": names::LEDGER_TYPE, "stringData": { names::LEDGER_KEY: "nothing that could be read" },
            });
            ledgers.create(&PostParams::default(), &serde_json::from_value(damaged)?).await?;
            anyhow::Ok(())
        })
        .await?;
    let operator = world.operator(&[]).await?;
    operator.shows(&format!("revoiceit_ledgers_unattended {number}")).await?;
    assert_eq!(world.ledgers().await?.len(), number);
    Ok(())
}
