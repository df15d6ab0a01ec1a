//! Targets that the API server does not let through: nothing is obtained that could not be delivered, the status says what to do, and when the
//! cause is gone all goes on by itself.

use anyhow::{Context, Result, ensure};
use kube::{Api, api::PostParams};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::{RevoiceitCredential, names};
use serde_json::{Value, json};

use crate::{
    seen::message,
    world::{World, conditions, ready_reason},
};

const STALLED: [&str; 2] = ["Ready=False", "Stalled=True"];

/// Refused writes are tried again soon.
fn soon() -> Value {
    json!({ "retryMin": 500, "retryMax": 1000, "linger": 1000 })
}

/// Waits until the API server refuses the operator a Secret like this, or lets it through.
async fn is_refused(world: &World, secret: &Value, refused: bool) -> Result<()> {
    let account = format!("--as=system:serviceaccount:{}:{}", world.system, names::OPERATOR);
    let tried = ["create", "-n", &world.tenant, "--dry-run=server", &account, "-f", "-"];
    eventually("the API server to have changed its mind", GENEROUS, async || {
        let said = world.cluster.kubectl_stdin(tried, &secret.to_string()).await;
        ensure!(said.is_err() == refused, "it says {said:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

fn secret(labels: &Value, token: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "generateName": "tried-", "labels": labels }, "stringData": { "accessToken": token } })
}

/// A policy for Secrets of this namespace that have this label.
fn policy(world: &World, name: &str, case: &str, expression: &str) -> [Value; 2] {
    let name = format!("{name}-in-{}", world.tenant);
    let selected = json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": world.tenant } },
        "objectSelector": { "matchLabels": { "case": case } } });
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": { "name": name },
        "spec": {
            "matchConstraints": { "resourceRules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"] }] },
            "validations": [{ "expression": expression, "message": "not here" }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": name },
        "spec": { "policyName": name, "validationActions": ["Deny"], "matchResources": selected },
    });
    [policy, binding]
}

/// A webhook that nobody serves.
fn webhook(world: &World) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": format!("down-in-{}", world.tenant) },
        "webhooks": [{
            "name": "down.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail", "timeoutSeconds": 1,
            "clientConfig": { "url": "https://127.0.0.1:1/" },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"] }],
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": world.tenant } },
            "objectSelector": { "matchLabels": { "case": "webhook" } },
        }],
    })
}

#[tokio::test]
async fn what_admission_refuses_is_not_obtained_until_it_is_let_through() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&["--policy-for-tests", &world.policy(&soon())?]).await?;
    let mut obstacles = policy(&world, "label", "label", "false").to_vec();
    // What it sees is base64, a third longer; a token is tried with 2 KiB.
    obstacles.extend(policy(&world, "size", "size", "object.data['accessToken'].size() < 2048"));
    obstacles.push(webhook(&world));
    world.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": obstacles })).await?;
    for case in ["label", "size", "webhook"] {
        is_refused(&world, &secret(&json!({ "case": case }), &"x".repeat(2048)), true).await?;
    }
    is_refused(&world, &secret(&json!({ "case": "size" }), "short"), false).await?;

    world.own("free", json!({})).await?;
    for case in ["label", "size", "webhook"] {
        world.own(case, json!({ "target": { "labels": { "case": case } } })).await?;
    }
    world.ready("free").await?;
    for case in ["label", "size", "webhook"] {
        let denied = world.reason(case, "AdmissionDenied").await?;
        assert_eq!(conditions(&denied), STALLED, "{case}");
        ensure!(message(&denied).contains("Ask whoever runs the policy"), "{}", message(&denied));
        world.is_told(case, "Warning AdmissionDenied").await?;
    }
    // One that has a token keeps it, and gets no other.
    let token = world.own_token("free").await?;
    let rotation = json!({ names::ROTATE_ANNOTATION: "now" });
    world
        .patch("free", &json!({ "metadata": { "annotations": rotation }, "spec": { "target": { "labels": { "case": "label" } } } }))
        .await?;
    let denied = world.reason("free", "AdmissionDenied").await?;
    assert_eq!(conditions(&denied), STALLED);
    ensure!(message(&denied).ends_with("Pods do not get the current token."), "{}", message(&denied));
    assert_eq!((world.own_token("free").await?, world.calls()), (token.clone(), (1, 0, 0)));

    for obstacle in &obstacles {
        let kind = obstacle["kind"].as_str().context("a kind")?;
        world.cluster.kubectl(["delete", kind, obstacle["metadata"]["name"].as_str().context("a name")?]).await?;
    }
    for case in ["label", "size", "webhook", "free"] {
        world.reason(case, "TokenReady").await?;
    }
    world.another_token("free-token", &token).await?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (5, 0, 0));
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_quota_that_is_freed_lets_the_target_through() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&["--policy-for-tests", &world.policy(&soon())?]).await?;
    world.credentials("client").await?;
    world.foreign_secret("filler").await?;
    let metadata = json!({ "name": "two-secrets", "namespace": world.tenant });
    let quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": { "hard": { "secrets": "2" } } });
    world.apply(&quota).await?;
    is_refused(&world, &secret(&json!({}), "token"), true).await?;

    world.speech(json!({})).await?;
    let denied = world.reason("speech", "QuotaExceeded").await?;
    assert_eq!(conditions(&denied), STALLED);
    world.is_told("speech", "Warning QuotaExceeded").await?;
    assert_eq!(world.calls(), (0, 0, 0));

    // Nobody is woken by a Secret that no resource names.
    world.kubectl(&["delete", "secret", "filler"]).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (1, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_target_that_is_too_large_is_not_supplied_until_it_is_smaller() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&["--policy-for-tests", &world.policy(&soon())?]).await?;
    // All that the spec allows: 32 keys with four tokens each, for tokens of 2 KiB.
    let largest: Value =
        (0..32).map(|key| (format!("key-{key}"), json!("{{ accessToken }}".repeat(4)))).collect::<serde_json::Map<_, _>>().into();
    world.own("template", json!({ "target": { "template": largest } })).await?;
    // And what others have put there already counts, when a Secret is adopted.
    let theirs = json!({ "metadata": { "name": "adopted-token", "annotations": {
        "revoiceit.com/adopt-by": "adopted", "example.com/theirs": "x".repeat(255 << 10) } } });
    world.secrets().create(&PostParams::default(), &serde_json::from_value(theirs)?).await?;
    let ours: Value = (0..4).map(|key| (format!("example.com/{key}"), json!("x".repeat(4096)))).collect::<serde_json::Map<_, _>>().into();
    world.own("adopted", json!({ "target": { "annotations": ours } })).await?;
    for name in ["template", "adopted"] {
        let denied = world.reason(name, "TargetTooLarge").await?;
        assert_eq!(conditions(&denied), STALLED, "{name}");
        world.is_told(name, "Warning TargetTooLarge").await?;
    }
    assert_eq!(world.calls(), (0, 0, 0));

    world.patch("template", &json!({ "spec": { "target": { "template": { "key-0": "{{ accessToken }}" } } } })).await?;
    world.patch_secret("adopted-token", &json!({ "metadata": { "annotations": { "example.com/theirs": "x" } } })).await?;
    for name in ["template", "adopted"] {
        world.reason(name, "TokenReady").await?;
    }
    world.at_rest().await?;
    assert_eq!(world.calls(), (2, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_permission_that_is_taken_away_stops_writes_and_new_tokens_until_it_is_back() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&["--policy-for-tests", &world.policy(&soon())?]).await?;
    world.own("speech", json!({})).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    let token = world.own_token("speech").await?;
    let role = format!("{}-{}", names::OPERATOR, world.system);
    let mut rights: Value = serde_json::from_str(&world.cluster.kubectl(["get", "clusterrole", &role, "-o", "json"]).await?)?;
    rights["metadata"].as_object_mut().context("a role without metadata")?.retain(|key, _| key == "name");
    let mut less = rights.clone();
    for rule in less["rules"].as_array_mut().into_iter().flatten().filter(|rule| rule["resources"] == json!(["secrets"])) {
        rule["verbs"] = json!(["get", "list", "watch"]);
    }
    world.apply(&less).await?;
    world.without(&["create secrets", "update secrets", "delete secrets"]);
    is_refused(&world, &secret(&json!({}), "token"), true).await?;

    world.patch_secret("speech-token", &json!({ "data": { "accessToken": "bm9uc2Vuc2U=" } })).await?;
    world.patch("speech", &json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: "now" } } })).await?;
    let denied = world.reason("speech", "PermissionDenied").await?;
    assert_eq!(conditions(&denied), STALLED);
    ensure!(message(&denied).contains("Check the operator's roles"), "{}", message(&denied));
    world.is_told("speech", "Warning PermissionDenied").await?;
    // Its old name could not be cleared either.
    world.patch("speech", &json!({ "spec": { "target": { "name": "renamed" } } })).await?;
    world.reason("speech", "PermissionDenied").await?;
    assert_eq!((world.own_token("speech").await?.as_str(), world.calls()), ("nonsense", (1, 0, 0)));

    world.apply(&rights).await?;
    world.reason("speech", "TokenReady").await?;
    eventually("the rotation to be made up for, and the old name to be cleared", GENEROUS, async || {
        ensure!(world.token("renamed").await? != token, "the token of before");
        ensure!(world.secrets().get_opt("speech-token").await?.is_none(), "the old target is there");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (2, 0, 0));
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

/// The namespace's contents go some seconds after its deletion was asked for; until then it looks alive, but nothing can be created in it.
#[tokio::test]
async fn in_a_namespace_that_is_being_deleted_nothing_is_obtained() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&["--policy-for-tests", &world.policy(&soon())?]).await?;
    world.own("speech", json!({ "suspend": true })).await?;
    world.reason("speech", "Suspended").await?;
    world.cluster.kubectl(["delete", "namespace", &world.tenant, "--wait=false"]).await?;
    let resources: Api<RevoiceitCredential> = world.resources();
    let edit = json!({ "spec": { "suspend": false } }).to_string();
    // On a machine that is busy enough it is gone already.
    drop(world.kubectl(&["patch", "rvc", "speech", "--type=merge", "-p", &edit]).await);
    let last_seen = eventually("the resource to say so, or to be gone", GENEROUS, async || {
        let Some(resource) = resources.get_opt("speech").await? else { return Ok(None) };
        ensure!(ready_reason(&resource) == Some("NamespaceTerminating"), "it says {:?}", ready_reason(&resource));
        Ok::<_, anyhow::Error>(Some(resource))
    })
    .await?;
    if let Some(resource) = last_seen {
        assert_eq!(conditions(&resource), ["Ready=False", "Reconciling=True"]);
        ensure!(message(&resource).contains("Nothing has to be done"), "{}", message(&resource));
    }
    world.gone("speech", "speech-token").await?;
    assert_eq!(world.calls(), (0, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}
