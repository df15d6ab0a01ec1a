//! The main job: a token appears, is refreshed before it expires, and nothing but data, spec and the rotation annotation makes another one.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt, api::DeleteParams};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Call, UnixMillis};
use serde_json::json;
use tokio::{task::JoinHandle, time::interval};
use tokio_util::sync::CancellationToken;

use crate::world::{World, conditions, ready_reason, short_lived};

/// How often pods look.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// More than the operator keeps in memory: each pass reads it.
#[tokio::test]
async fn a_large_resource_is_served_like_any_other() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    let mark = world.cluster.audit_mark().await?;
    let text = "x".repeat(4096);
    let template = json!({ "accessToken": "{{ accessToken }}", "a": text, "b": text });
    world.speech(json!({ "target": { "template": template } })).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    assert_eq!(world.writes_since(mark).await?.len(), 5);
    assert_eq!(world.value("token", "b").await?, text);

    let token = world.token("token").await?;
    world.patch("speech", &json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: text.repeat(20) } } })).await?;
    let token = world.another_token("token", &token).await?;
    world.at_rest().await?;
    assert_eq!(world.token("token").await?, token);
    world.secrets().delete("token", &DeleteParams::default()).await?;
    eventually("the target to be back", GENEROUS, async || world.token("token").await).await?;
    assert_eq!((world.token("token").await?, world.calls()), (token, (2, 0, 0)));

    world.kubectl(&["delete", "rvc/speech", "--timeout=60s"]).await?;
    world.gone("speech", "token").await?;
    assert_eq!(world.sandbox.truth().live().count(), 0);
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_resource_gets_a_token_with_five_writes() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.at_rest().await?;
    let mark = world.cluster.audit_mark().await?;

    world
        .speech(json!({ "target": {
            "labels": { "team": "a" },
            "template": { "accessToken": "{{ accessToken }}", "authorization": "Bearer {{ accessToken }}", "expiresAt": "{{ expiresAt }}" },
        } }))
        .await?;
    world.ready("speech").await?;
    world.at_rest().await?;

    let token = world.token("token").await?;
    ensure!(world.sandbox.truth().owner_of(&token) == Some(&format!("client-of-{}", world.tenant)), "the token is somebody else's");
    assert_eq!(world.value("token", "authorization").await?, format!("Bearer {token}"));
    let resource = world.get("speech").await?;
    let status = resource.status.clone().unwrap_or_default();
    assert_eq!(world.value("token", "expiresAt").await?, status.expires_at.expect("it is set").0.to_string());
    assert_eq!((ready_reason(&resource), conditions(&resource)), (Some("TokenReady"), vec!["Ready=True".to_owned()]));
    assert_eq!(resource.finalizers(), [names::FINALIZER]);
    let secret = world.secrets().get("token").await?;
    assert_eq!((secret.labels()["team"].as_str(), secret.type_.as_deref()), ("a", Some("Opaque")));

    let written = world.writes_since(mark).await?;
    let ledger = format!("secrets {}/{}", world.system, world.ledgers().await?[0]);
    let resource = format!("{}/speech", world.tenant);
    assert_eq!(
        written,
        [
            format!("create {ledger} 201"),
            format!("patch revoiceitcredentials {resource} 200"),
            format!("update {ledger} 200"),
            format!("create secrets {}/token 201", world.tenant),
            format!("patch revoiceitcredentials/status {resource} 200"),
        ]
    );
    assert_eq!(world.sandbox.count(Call::Issue, 0), 1);
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn kubectl_get_shows_what_a_person_wants_to_know() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;

    let status = world.get("speech").await?.status.unwrap_or_default();
    let expires = status.expires_at.context("no expiry")?.0.to_string();
    let shown = columns(&world.kubectl(&["get", "rvc", "speech"]).await?);
    assert_eq!(shown[0], ["NAME", "READY", "REASON", "SECRET", "EXPIRES", "AGE"]);
    assert_eq!(shown[1][..5], ["speech", "True", "TokenReady", "token", &expires]);
    let wide = columns(&world.kubectl(&["get", "rvc", "speech", "-o", "wide"]).await?);
    assert_eq!(wide[0], ["NAME", "READY", "REASON", "SECRET", "EXPIRES", "MESSAGE", "AGE"]);
    assert_eq!(wide[1][5], format!("The Secret \"token\" is up to date. Pods read a token that is valid until {expires}."));
    assert_eq!(world.kubectl(&["get", "revoiceit", "-o", "name"]).await?, "revoiceitcredential.revoiceit.com/speech\n");
    world.no_secret_is_told(&[&operator]).await
}

/// The lines of a table of kubectl's, which has at least three spaces between columns.
fn columns(table: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect();
    table.lines().map(cells).collect()
}

#[tokio::test]
async fn a_token_is_refreshed_three_times_and_no_reader_ever_sees_an_expired_one() -> Result<()> {
    let world = World::with(|switches| switches.lifetime = Duration::from_secs(30)).await?;
    world.credentials("client").await?;
    let operator = world.operator(&["--token-lifetime", "30s"]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    let reader = Reader::of(world.secrets(), "token");
    let enough = 4 * Duration::from_secs(30);
    let refreshed = world.sandbox.wait_for(enough, |sandbox| (sandbox.count(Call::Refresh, 0) >= 3).then_some(())).await;
    ensure!(refreshed.is_some(), "not refreshed three times within the life of four tokens");
    eventually("the reader to see four tokens", GENEROUS, async || {
        let seen: BTreeSet<String> = reader.reads().into_iter().map(|(token, _)| token).collect();
        if seen.len() >= 4 { Ok(()) } else { Err(format!("{} tokens", seen.len())) }
    })
    .await?;

    let reads = reader.stop().await?;
    let truth = world.sandbox.truth();
    for (token, at) in &reads {
        ensure!(
            truth.is_valid(token, *at),
            "an expired token was read at {at:?}: {:?}",
            truth.access(token).map(|(_, token)| token.expires_at)
        );
    }
    assert_eq!((world.sandbox.count(Call::Issue, 0), world.sandbox.count(Call::Revoke, 0)), (1, 0));
    world.no_secret_is_told(&[&operator]).await
}

/// What was read, and when it was in the reader's hands: the strictest time to judge it by.
type Read = (String, UnixMillis);

/// Somebody who reads a target again and again, as pods do.
struct Reader {
    reads: Arc<Mutex<Vec<Read>>>,
    task: JoinHandle<Result<()>>,
    stop: CancellationToken,
}

impl Reader {
    fn of(secrets: Api<Secret>, target: &'static str) -> Self {
        let (reads, stop) = (Arc::default(), CancellationToken::new());
        let (into, stopped) = (Arc::clone(&reads), stop.clone());
        let task = tokio::spawn(async move {
            let mut ticks = interval(LOOK_EVERY);
            while stopped.run_until_cancelled(ticks.tick()).await.is_some() {
                let secret = secrets.get(target).await?;
                let value = secret.data.and_then(|mut data| data.remove("accessToken")).context("a target without a token")?;
                lock(&into).push((String::from_utf8(value.0)?, UnixMillis::now()));
            }
            Ok(())
        });
        Self { reads, task, stop }
    }

    /// What was read so far.
    fn reads(&self) -> Vec<Read> {
        lock(&self.reads).clone()
    }

    /// All that was read; an error if a read failed.
    async fn stop(self) -> Result<Vec<Read>> {
        self.stop.cancel();
        self.task.await??;
        Ok(std::mem::take(&mut lock(&self.reads)))
    }
}

fn lock(reads: &Mutex<Vec<Read>>) -> MutexGuard<'_, Vec<Read>> {
    reads.lock().unwrap_or_else(PoisonError::into_inner)
}

#[tokio::test]
async fn edits_of_metadata_cause_no_call_and_no_write() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    let (mark, calls) = (world.cluster.audit_mark().await?, world.sandbox.mark());

    for number in 0..20 {
        let kind = if number % 2 == 0 { "labels" } else { "annotations" };
        let edit = json!({ "metadata": { kind: { format!("example.com/{number}"): "theirs" } } });
        match number % 3 {
            0 => world.patch("speech", &edit).await.map(drop)?,
            1 => world.patch_secret("client", &edit).await.map(drop)?,
            _ => world.patch_secret("token", &edit).await.map(drop)?,
        }
    }
    world.at_rest().await?;

    let asked = world.asked_since(mark).await?;
    ensure!(asked.iter().any(|event| event.verb == "get"), "no edit was even looked at");
    assert_eq!(world.sandbox.mark(), calls);
    assert_eq!(world.writes_since(mark).await?, [""; 0]);
    let token = world.token("token").await?;
    let rotate = json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: "now" } } });
    world.patch("speech", &rotate).await?;
    world.another_token("token", &token).await?;
    let target = world.secrets().get("token").await?;
    let theirs = target.labels().iter().chain(target.annotations()).filter(|(_, value)| *value == "theirs").map(|(key, _)| key.as_str());
    assert_eq!(
        theirs.collect::<Vec<_>>(),
        ["example.com/14", "example.com/2", "example.com/8", "example.com/11", "example.com/17", "example.com/5"]
    );
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_suspended_resource_keeps_its_token_until_it_expires_and_says_so() -> Result<()> {
    let world = World::with(short_lived).await?;
    world.credentials("client").await?;
    let policy = world.policy(&json!({ "minLifetime": 1000 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;

    world.speech(json!({ "suspend": true })).await?;
    let resource = world.reason("speech", "Suspended").await?;
    assert_eq!(conditions(&resource), ["Ready=False", "Stalled=True"]);
    assert_eq!(world.sandbox.mark(), 0);

    world.patch("speech", &json!({ "spec": { "suspend": false } })).await?;
    world.ready("speech").await?;
    world.patch("speech", &json!({ "spec": { "suspend": true } })).await?;
    let resource = world.reason("speech", "Suspended").await?;
    assert_eq!(conditions(&resource), ["Ready=True"]);
    let (token, calls) = (world.token("token").await?, world.sandbox.mark());
    eventually("the resource to say that its token has expired", GENEROUS, async || {
        let resource = world.reason("speech", "Suspended").await?;
        ensure!(conditions(&resource) == ["Ready=False", "Stalled=True"], "{:?}", conditions(&resource));
        anyhow::Ok(())
    })
    .await?;
    assert_eq!((world.token("token").await?, world.sandbox.mark()), (token.clone(), calls));

    world.patch("speech", &json!({ "spec": { "suspend": false } })).await?;
    world.another_token("token", &token).await?;
    world.ready("speech").await?;
    assert_eq!(world.sandbox.count(Call::Issue, 0), 1);

    world.patch("speech", &json!({ "spec": { "suspend": true } })).await?;
    world.kubectl(&["delete", "rvc", "speech", "--timeout=60s"]).await?;
    world.gone("speech", "token").await?;
    assert_eq!(world.sandbox.truth().live().count(), 0);
    world.no_secret_is_told(&[&operator]).await
}
