//! A Revoiceit that takes requests and does not answer keeps nobody from the work that is with Kubernetes alone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Call, Fault, LineState, Switches, TokenForm};
use serde_json::json;

use crate::world::{World, conditions, ready_reason};

#[tokio::test]
async fn a_target_is_restored_while_every_call_hangs() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&["--concurrency", "1", "--api-timeout", "30s"]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    world.at_rest().await?;

    world.sandbox.inject(Fault::hang().on(Call::Issue))?;
    let mark = world.sandbox.mark();
    world.resource("hanging", "client", "hanging-token", json!({})).await?;
    eventually("a call that hangs", GENEROUS, async || {
        ensure!(world.sandbox.count(Call::Issue, mark) > 0, "none yet");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    world.kubectl(&["delete", "secret", "token"]).await?;
    world.kubectl(&["wait", "--for=create", "secret/token", "--timeout=60s"]).await?;
    let calls = world.sandbox.calls(mark);
    ensure!(calls.len() == 1 && calls[0].finished_at.is_none(), "it hangs no more: {calls:?}");
    world.sandbox.heal_all();
    world.ready("hanging").await?;
    world.no_secret_is_told(&[&operator]).await
}

/// Four places: two of them for issues, one for revocations. And a call that hangs does so for longer than these tests take.
const FEW_PLACES: [&str; 4] = ["--api-in-flight", "4", "--api-timeout", "30s"];

/// Resources that all want the same call.
const CROWD: [&str; 4] = ["one", "two", "three", "four"];

/// Tokens that are due for their refresh after five seconds at most.
fn short_lived(switches: &mut Switches) {
    (switches.token_form, switches.lifetime) = (TokenForm::Jwt, Duration::from_secs(15));
}

/// Tokens from now on are of no interest for an hour.
fn long_lived(world: &World) -> Result<()> {
    world.sandbox.switch(|switches| switches.lifetime = Duration::from_secs(3600))
}

/// The clients whose call hangs, when there are so many.
async fn hanging(world: &World, call: Call, count: usize) -> Result<Vec<String>> {
    eventually(&format!("{count} calls that hang"), GENEROUS, async || {
        let hanging = hanging_now(world, call);
        ensure!(hanging.len() == count, "{hanging:?}");
        anyhow::Ok(hanging)
    })
    .await
}

fn hanging_now(world: &World, call: Call) -> Vec<String> {
    let calls = world.sandbox.calls(0);
    calls.into_iter().filter(|it| it.call == call && it.fault.is_some() && it.finished_at.is_none()).filter_map(|it| it.client).collect()
}

#[tokio::test]
async fn while_every_issue_hangs_tokens_are_refreshed_revoked_and_restored() -> Result<()> {
    let world = World::with(short_lived).await?;
    let policy = world.policy(&json!({ "minLifetime": 1000 }))?;
    let operator = world.operator(&[&FEW_PLACES[..], &["--policy-for-tests", &policy]].concat()).await?;
    world.own("old", json!({})).await?;
    world.reason("old", "TokenReady").await?;
    let old = world.own_token("old").await?;
    long_lived(&world)?;
    for name in CROWD {
        world.own(name, json!({})).await?;
    }
    for name in CROWD {
        world.reason(name, "TokenReady").await?;
    }

    world.sandbox.inject(Fault::hang().on(Call::Issue))?;
    for name in CROWD {
        world.patch(name, &json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: "now" } } })).await?;
    }
    let hangs = hanging(&world, Call::Issue, 2).await?;
    let (stuck, waiting): (Vec<&str>, Vec<&str>) = CROWD.into_iter().partition(|name| hangs.contains(&world.client_of(name)));

    world.another_token("old-token", &old).await?;
    let target = format!("{}-token", waiting[0]);
    let token = world.token(&target).await?;
    let uid = world.secrets().get(&target).await?.uid();
    world.kubectl(&["delete", "secret", &target]).await?;
    eventually("the target of one that waits for its call to be restored", GENEROUS, async || {
        ensure!(world.secrets().get(&target).await?.uid() != uid && world.token(&target).await? == token, "it is another one");
        anyhow::Ok(())
    })
    .await?;
    world.kubectl(&["delete", "rvc", waiting[1], "--timeout=60s"]).await?;
    world.kubectl(&["delete", "rvc", stuck[0], "--wait=false"]).await?;
    assert_eq!(hanging_now(&world, Call::Issue), hangs, "a call that was to hang has ended");

    world.sandbox.heal_all();
    world.kubectl(&["wait", "--for=delete", &format!("rvc/{}", stuck[0]), "--timeout=60s"]).await?;
    for name in [stuck[1], waiting[0]] {
        world.reason(name, "TokenReady").await?;
    }
    eventually("one line of each that is left, and its old one for its grace", GENEROUS, async || {
        let truth = world.sandbox.truth();
        let of = |name: &str| truth.lines_of(&world.client_of(name)).filter(|line| line.state() == LineState::Live).count();
        let live = [stuck[0], waiting[1], stuck[1], waiting[0]].map(of);
        ensure!(live == [0, 0, 2, 2], "{live:?}");
        anyhow::Ok(())
    })
    .await?;
    world.at_rest().await?;
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn while_every_refresh_hangs_tokens_are_issued_and_revoked_and_who_waits_for_one_too_long_says_so() -> Result<()> {
    let world = World::with(short_lived).await?;
    let policy = world.policy(&json!({ "minLifetime": 1000 }))?;
    let operator = world.operator(&[&FEW_PLACES[..], &["--policy-for-tests", &policy]].concat()).await?;
    world.sandbox.inject(Fault::hang().on(Call::Refresh))?;
    for name in CROWD {
        world.own(name, json!({})).await?;
    }
    for name in CROWD {
        world.reason(name, "TokenReady").await?;
    }
    long_lived(&world)?;
    let hangs = hanging(&world, Call::Refresh, 2).await?;

    world.own("new", json!({})).await?;
    world.reason("new", "TokenReady").await?;
    world.kubectl(&["delete", "rvc", "new", "--timeout=60s"]).await?;
    let truth = world.sandbox.truth();
    assert_eq!(truth.lines_of(&world.client_of("new")).map(revoiceit_sandbox::Line::state).collect::<Vec<_>>(), [LineState::Revoked]);

    let waits = CROWD.into_iter().find(|name| !hangs.contains(&world.client_of(name))).context("all hang")?;
    eventually("the status of one that waits for its call to say that its token has expired", GENEROUS, async || {
        let resource = world.get(waits).await?;
        let said = (conditions(&resource), ready_reason(&resource).map(str::to_owned));
        ensure!(said == (vec!["Ready=False".to_owned(), "Reconciling=True".to_owned()], Some("Issuing".to_owned())), "{said:?}");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!(hanging_now(&world, Call::Refresh), hangs, "a call that was to hang has ended");

    world.sandbox.heal_all();
    for name in CROWD {
        world.reason(name, "TokenReady").await?;
        assert_eq!(world.suspected_lost(name).await?, 0, "{name}");
    }
    world.at_rest().await?;
    assert_eq!(world.sandbox.count(Call::Issue, 0), CROWD.len() + 1);
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn while_every_revocation_hangs_tokens_are_issued_and_refreshed_and_no_deletion_waits_longer_than_its_deadline() -> Result<()> {
    let world = World::with(short_lived).await?;
    let policy = world.policy(&json!({ "minLifetime": 1000 }))?;
    let operator = world.operator(&[&FEW_PLACES[..], &["--policy-for-tests", &policy]].concat()).await?;
    world.own("old", json!({})).await?;
    world.reason("old", "TokenReady").await?;
    let old = world.own_token("old").await?;
    long_lived(&world)?;
    for name in CROWD {
        world.own(name, json!({ "revocation": { "deadline": "3s" } })).await?;
    }
    for name in CROWD {
        world.reason(name, "TokenReady").await?;
    }

    world.sandbox.inject(Fault::hang().on(Call::Revoke))?;
    for name in CROWD {
        world.kubectl(&["delete", "rvc", name, "--wait=false"]).await?;
    }
    let hangs = hanging(&world, Call::Revoke, 1).await?;
    world.own("new", json!({})).await?;
    world.reason("new", "TokenReady").await?;
    world.another_token("old-token", &old).await?;
    for name in CROWD.into_iter().filter(|name| !hangs.contains(&world.client_of(name))) {
        world.kubectl(&["wait", "--for=delete", &format!("rvc/{name}"), "--timeout=60s"]).await?;
    }
    assert_eq!(hanging_now(&world, Call::Revoke), hangs, "a call that was to hang has ended");
    assert_eq!(world.ledgers().await?.len(), 2 + CROWD.len(), "what is not revoked is in its ledger");

    world.sandbox.heal_all();
    eventually("all that was deleted to be revoked", GENEROUS, async || {
        let ledgers = world.ledgers().await?.len();
        ensure!(ledgers == 2, "{ledgers} ledgers");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!(world.sandbox.truth().live().count(), 2);
    assert_eq!(world.sandbox.count(Call::Revoke, 0), CROWD.len());
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}
