//! Many tenants that give everything the same name: each gets its own.

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::{RevoiceitCredential, names};
use revoiceit_sandbox::{Call, LineState};
use serde_json::{Value, json};

use crate::world::{CANARY, World};

const TENANTS: usize = 50;

#[tokio::test]
async fn the_same_names_in_fifty_namespaces_hold_each_the_tokens_of_their_own_client() -> Result<()> {
    let world = World::of_tenants(TENANTS, |_| {}).await?;
    let policy = world.policy(&json!({ "minGrace": 1000 }))?;
    let operator = world.operator(&["--concurrency", "64", "--lease-duration", "1m", "--policy-for-tests", &policy]).await?;
    let mut items = Vec::new();
    for namespace in &world.tenants {
        let (id, secret) = (client_of(namespace), format!("{CANARY}-of-{namespace}"));
        world.sandbox.add_client(&id, &secret);
        items.extend(of_tenant(namespace, &id, &secret));
    }
    world.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items })).await?;
    each_holds_its_own(&world, 1).await?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (TENANTS, 0, 0));

    // All at once, while the first tokens are there to be mixed up with.
    let rotate = Patch::Merge(json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: "now" } } }));
    try_join_all(world.tenants.iter().map(|namespace| {
        let (resources, rotate): (Api<RevoiceitCredential>, _) = (Api::namespaced(world.client.clone(), namespace), &rotate);
        async move { resources.patch("speech", &PatchParams::default(), rotate).await }
    }))
    .await?;
    each_holds_its_own(&world, 2).await?;
    eventually("the first line of each to be revoked", GENEROUS, async || {
        let live = world.sandbox.truth().live().count();
        ensure!(live == TENANTS, "{live} lines live");
        anyhow::Ok(())
    })
    .await?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (2 * TENANTS, 0, TENANTS));
    let truth = world.sandbox.truth();
    for namespace in &world.tenants {
        let states: Vec<LineState> = truth.lines_of(&client_of(namespace)).map(revoiceit_sandbox::Line::state).collect();
        assert_eq!(states, [LineState::Revoked, LineState::Live], "{namespace}");
    }
    assert!(world.sandbox.calls(0).iter().all(|call| call.call != Call::Issue || call.delivered));
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

fn client_of(namespace: &str) -> String {
    format!("client-of-{namespace}")
}

fn of_tenant(namespace: &str, id: &str, secret: &str) -> [Value; 2] {
    let pair = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "client", "namespace": namespace },
        "stringData": { "clientId": id, "clientSecret": secret },
    });
    let resource = json!({
        "apiVersion": "revoiceit.com/v1", "kind": names::KIND, "metadata": { "name": "speech", "namespace": namespace },
        "spec": { "credentialsSecretRef": { "name": "client" }, "target": { "name": "token" }, "revocation": { "grace": "0s" } },
    });
    [pair, resource]
}

/// Waits until each target holds the token of its client's line of this number, and of no other client's.
async fn each_holds_its_own(world: &World, lines: usize) -> Result<()> {
    for namespace in &world.tenants {
        let (secrets, client): (Api<Secret>, _) = (Api::namespaced(world.client.clone(), namespace), client_of(namespace));
        eventually(&format!("the token of line {lines} in {namespace}"), GENEROUS, async || {
            let data = secrets.get("token").await?.data.unwrap_or_default();
            let token = String::from_utf8(data.get("accessToken").context("no token in it")?.0.clone())?;
            let truth = world.sandbox.truth();
            let (line, _) = truth.access(&token).context("nobody's token")?;
            ensure!(line.client == client, "a token of {}", line.client);
            let of_client: Vec<u64> = truth.lines_of(&client).map(|line| line.number).collect();
            ensure!(of_client.len() == lines && of_client.last() == Some(&line.number), "line {} of {of_client:?}", line.number);
            anyhow::Ok(())
        })
        .await?;
    }
    Ok(())
}
