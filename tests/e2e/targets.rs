//! The target: edited, deleted, renamed, and somebody else's.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{ResourceExt, api::PostParams};
use revoiceit_harness::{
    cluster::AuditMark,
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::names;
use serde_json::{Value, json};

use crate::{
    seen::message,
    world::{Operator, World, conditions},
};

/// A target that can neither be written nor taken away.
fn held() -> Value {
    json!({ "immutable": true, "metadata": { "finalizers": ["example.com/hold"] } })
}

/// A resource with a token, at rest.
async fn ready(spec: Value) -> Result<(World, Operator, String)> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let policy = world.policy(&json!({ "linger": 1000 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    world.speech(spec).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    let token = world.token("token").await?;
    Ok((world, operator, token))
}

/// Waits until the target holds this token, and nothing is under way any more.
async fn holds(world: &World, target: &str, token: &str) -> Result<Secret> {
    eventually("the token to be in the target", GENEROUS, async || {
        let there = world.token(target).await?;
        ensure!(there == token, "another one is");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    world.at_rest().await?;
    Ok(world.secrets().get(target).await?)
}

#[tokio::test]
async fn what_is_ours_in_an_edited_target_is_restored_and_what_is_others_is_kept() -> Result<()> {
    let (world, operator, token) =
        ready(json!({ "target": { "labels": { "team": "a" }, "annotations": { "example.com/note": "ours" } } })).await?;
    let before = world.secrets().get("token").await?;

    world
        .patch_secret(
            "token",
            &json!({
                "metadata": {
                    "labels": { "team": "b", "app.kubernetes.io/managed-by": null, "theirs": "kept" },
                    "annotations": { "example.com/note": null, "revoiceit.com/applied-keys": null, "example.com/theirs": "kept" },
                    "ownerReferences": null,
                },
                "data": { "accessToken": "bm9uc2Vuc2U=", "another": "a2V5" },
            }),
        )
        .await?;
    let after = holds(&world, "token", &token).await?;

    assert_eq!((&after.data, after.owner_references()), (&before.data, before.owner_references()));
    let mut labels = before.labels().clone();
    labels.insert("theirs".to_owned(), "kept".to_owned());
    assert_eq!(after.labels(), &labels);
    let mut annotations = before.annotations().clone();
    annotations.insert("example.com/theirs".to_owned(), "kept".to_owned());
    assert_eq!(after.annotations(), &annotations);
    assert_eq!(world.calls(), (1, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn labels_and_annotations_of_ours_go_when_they_leave_the_spec() -> Result<()> {
    let both = json!({ "labels": { "team": "a", "tier": "x" }, "annotations": { "example.com/team": "a", "example.com/tier": "x" } });
    let (world, operator, token) = ready(json!({ "target": both })).await?;
    world.kubectl(&["label", "secret", "token", "theirs=kept"]).await?;
    world.kubectl(&["annotate", "secret", "token", "example.com/theirs=kept"]).await?;
    let fewer = json!({ "labels": { "team": null, "tier": "y" }, "annotations": { "example.com/team": null, "example.com/tier": "y" } });
    world.patch("speech", &json!({ "spec": { "target": fewer } })).await?;
    eventually("the label to be taken out", GENEROUS, async || {
        let target = world.secrets().get("token").await?;
        let labels: Vec<(&str, &str)> = target.labels().iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        ensure!(
            labels == [("app.kubernetes.io/managed-by", "revoiceit-operator"), ("theirs", "kept"), ("tier", "y")],
            "they are {labels:?}"
        );
        let annotations: Vec<(&str, &str)> =
            target.annotations().iter().filter_map(|(key, value)| Some((key.strip_prefix("example.com/")?, value.as_str()))).collect();
        ensure!(annotations == [("theirs", "kept"), ("tier", "y")], "they are {annotations:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    holds(&world, "token", &token).await?;
    assert_eq!(world.calls(), (1, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_deleted_target_comes_back_with_one_write_and_no_call() -> Result<()> {
    let (world, operator, token) = ready(json!({})).await?;
    let mark = world.cluster.audit_mark().await?;
    world.kubectl(&["delete", "secret", "token"]).await?;
    holds(&world, "token", &token).await?;
    let written: Vec<String> = world.written_since(mark).await?.iter().map(ToString::to_string).collect();
    assert_eq!(written, [format!("create secrets {}/token 201", world.tenant)]);
    assert_eq!(world.calls(), (1, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_target_that_was_made_immutable_is_made_anew() -> Result<()> {
    let (world, operator, token) = ready(json!({})).await?;
    let before = world.secrets().get("token").await?;
    world.patch_secret("token", &json!({ "immutable": true, "data": { "accessToken": "bm9uc2Vuc2U=" } })).await?;
    let after = holds(&world, "token", &token).await?;
    ensure!(after.uid() != before.uid() && after.immutable.is_none(), "it is the same Secret");
    assert_eq!(world.calls(), (1, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}

/// It can neither be written nor is it gone: whoever tries again at once does so for ever.
#[tokio::test]
async fn a_target_that_its_finalizers_hold_is_told_and_made_anew_when_it_is_gone() -> Result<()> {
    let (world, operator, token) = ready(json!({})).await?;
    let rotate = async |request: &str| {
        world.patch("speech", &json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: request } } })).await.map(drop)
    };
    world.patch_secret("token", &held()).await?;
    world.at_rest().await?;
    let mark = world.cluster.audit_mark().await?;
    rotate("one").await?;
    let told = world.reason("speech", "TargetHeld").await?;
    assert_eq!(conditions(&told), ["Ready=False", "Stalled=True"]);
    ensure!(message(&told).contains("finalizers hold it: example.com/hold."), "{}", message(&told));

    // Another token could not be delivered either.
    rotate("two").await?;
    world.at_rest().await?;
    assert_eq!((world.token("token").await?, world.calls()), (token.clone(), (2, 0, 0)));
    assert_eq!(tries(&world, mark).await?, [format!("delete secrets {}/token 200", world.tenant)]);

    world.patch_secret("token", &json!({ "metadata": { "finalizers": null } })).await?;
    world.another_token("token", &token).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    let status = world.get("speech").await?.status.context("no status")?;
    assert_eq!((status.last_handled_rotate_request.as_deref(), world.calls()), (Some("two"), (3, 0, 0)));
    world.told("speech", &["Normal TokenReady", "Warning TargetHeld"]).await?;
    world.no_secret_is_told(&[&operator]).await
}

/// What is left of it goes without the operator.
#[tokio::test]
async fn a_resource_and_a_name_are_left_although_finalizers_hold_the_target() -> Result<()> {
    let (world, operator, token) = ready(json!({})).await?;
    world.patch_secret("token", &held()).await?;
    world.at_rest().await?;
    let mark = world.cluster.audit_mark().await?;
    world.patch("speech", &json!({ "spec": { "target": { "name": "other" } } })).await?;
    holds(&world, "other", &token).await?;
    let listed = async || anyhow::Ok(world.record("speech").await?["targets"].to_string());
    eventually("the old name to be forgotten", GENEROUS, async || {
        let listed = listed().await?;
        ensure!(!listed.contains("token"), "{listed}");
        anyhow::Ok(())
    })
    .await?;

    world.patch_secret("other", &held()).await?;
    world.kubectl(&["delete", "rvc", "speech", "--timeout=60s"]).await?;
    eventually("the ledger to go", GENEROUS, async || {
        let ledgers = world.ledgers().await?;
        ensure!(ledgers.is_empty(), "there is {ledgers:?}");
        anyhow::Ok(())
    })
    .await?;
    world.at_rest().await?;
    let deleted = |name: &str| format!("delete secrets {}/{name} 200", world.tenant);
    let tries = tries(&world, mark).await?;
    assert_eq!(tries.iter().filter(|tried| tried.starts_with("delete")).collect::<Vec<_>>(), [&deleted("token"), &deleted("other")]);
    for name in ["token", "other"] {
        let left = world.secrets().get(name).await?;
        ensure!(left.metadata.deletion_timestamp.is_some(), "{name} is not being deleted");
        world.patch_secret(name, &json!({ "metadata": { "finalizers": null } })).await?;
    }
    assert_eq!(world.calls(), (1, 0, 1));
    world.no_secret_is_told(&[&operator]).await
}

/// What the operators have written of targets since the mark.
async fn tries(world: &World, mark: AuditMark) -> Result<Vec<String>> {
    let written = world.written_since(mark).await?;
    Ok(written.iter().filter(|event| event.resource == "secrets" && event.namespace == world.tenant).map(ToString::to_string).collect())
}

#[tokio::test]
async fn a_target_without_its_annotation_is_nobodys_until_its_owner_consents() -> Result<()> {
    let (world, operator, token) = ready(json!({})).await?;
    world
        .patch_secret("token", &json!({ "metadata": { "annotations": { "revoiceit.com/resource": null }, "ownerReferences": null } }))
        .await?;
    let conflict = world.reason("speech", "TargetConflict").await?;
    assert_eq!(conditions(&conflict), ["Ready=False", "Stalled=True"]);
    world.kubectl(&["annotate", "secret", "token", "revoiceit.com/adopt-by=speech"]).await?;
    world.ready("speech").await?;
    let adopted = holds(&world, "token", &token).await?;
    ensure!(!adopted.annotations().contains_key("revoiceit.com/adopt-by"), "the consent is still there");
    assert_eq!(world.calls(), (1, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_foreign_target_is_left_alone_and_its_name_taken_as_soon_as_it_is_free() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.foreign_secret("token").await?;
    let before = world.secrets().get("token").await?;
    let mark = world.cluster.audit_mark().await?;
    world.speech(json!({})).await?;

    let conflict = world.reason("speech", "TargetConflict").await?;
    assert_eq!(conditions(&conflict), ["Ready=False", "Stalled=True"]);
    assert_eq!(
        message(&conflict),
        format!(
            "The Secret \"token\" exists and is not this resource's: it is left alone and no token is obtained. Delete it, choose another \
             spec.target.name, or consent to its being replaced: \"kubectl annotate secret token -n {} revoiceit.com/adopt-by=speech\". \
             There is no token yet.",
            world.tenant
        )
    );
    world.at_rest().await?;
    assert_eq!(world.secrets().get("token").await?, before);
    assert_eq!(world.calls(), (0, 0, 0));
    let written: Vec<String> = world.written_since(mark).await?.iter().map(ToString::to_string).collect();
    assert_eq!(written, [format!("patch revoiceitcredentials/status {}/speech 200", world.tenant)]);

    // Nothing is due: only the event can tell that the name is free.
    world.kubectl(&["delete", "secret", "token"]).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (1, 0, 0));
    world.told("speech", &["Normal TokenReady", "Warning TargetConflict"]).await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn consent_replaces_a_foreign_target_unless_something_stands_against_it() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&[]).await?;
    let owner = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": config_map(&world).await? }]);
    let cases = [
        ("free", json!({}), None),
        ("typed", json!({ "type": "example.com/typed" }), Some("its type is not Opaque")),
        ("fixed", json!({ "immutable": true }), Some("it is immutable")),
        ("owned", json!({ "metadata": { "ownerReferences": owner } }), Some("another object owns it")),
    ];
    for (name, more, _) in &cases {
        world.credentials(name).await?;
        let mut secret = json!({ "metadata": { "name": format!("{name}-token"), "annotations": { "revoiceit.com/adopt-by": name } }, "data": { "theirs": "eA==" } });
        if let (Some(into), Some(owners)) = (secret["metadata"].as_object_mut(), more["metadata"].get("ownerReferences")) {
            into.insert("ownerReferences".to_owned(), owners.clone());
        }
        for key in ["type", "immutable"] {
            secret[key] = more[key].clone();
        }
        world.secrets().create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
        world.resource(name, name, &format!("{name}-token"), json!({})).await?;
    }
    for (name, _, obstacle) in &cases {
        let target = format!("{name}-token");
        let Some(obstacle) = obstacle else {
            world.ready(name).await?;
            let adopted = world.secrets().get(&target).await?;
            let keys: Vec<String> = adopted.data.unwrap_or_default().into_keys().collect();
            assert_eq!(keys, ["accessToken"]);
            continue;
        };
        let conflict = world.reason(name, "TargetConflict").await?;
        ensure!(message(&conflict).contains(obstacle), "{}", message(&conflict));
        assert_eq!(world.value(&target, "theirs").await?, "x");
    }
    world.at_rest().await?;
    assert_eq!(world.calls(), (1, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}

/// UID of an object that the garbage collector finds.
async fn config_map(world: &World) -> Result<String> {
    world.kubectl(&["create", "configmap", "owner"]).await?;
    world.kubectl(&["get", "configmap", "owner", "-o", "jsonpath={.metadata.uid}"]).await
}

#[tokio::test]
async fn of_two_resources_with_one_target_the_first_keeps_it_and_the_other_follows() -> Result<()> {
    let (world, operator, token) = ready(json!({})).await?;
    world.credentials("other").await?;
    world.resource("second", "other", "token", json!({})).await?;
    world.reason("second", "TargetConflict").await?;
    world.at_rest().await?;
    assert_eq!((world.token("token").await?, world.calls()), (token, (1, 0, 0)));

    world.kubectl(&["delete", "rvc", "speech"]).await?;
    world.ready("second").await?;
    world.at_rest().await?;
    let (token, truth) = (world.token("token").await?, world.sandbox.truth());
    assert_eq!(truth.owner_of(&token), Some(format!("other-of-{}", world.tenant).as_str()));
    assert_eq!(world.calls(), (2, 0, 1));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_renamed_target_is_supplied_before_the_old_one_goes() -> Result<()> {
    let (world, operator, token) = ready(json!({})).await?;
    let mark = world.cluster.audit_mark().await?;
    world.patch("speech", &json!({ "spec": { "target": { "name": "renamed" } } })).await?;
    eventually("the old name to be forgotten", GENEROUS, async || {
        let targets = world.record("speech").await?["targets"].clone();
        ensure!(targets.as_array().is_some_and(|targets| targets.len() == 1), "{targets}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    holds(&world, "renamed", &token).await?;
    ensure!(world.secrets().get_opt("token").await?.is_none(), "the old one is still there");

    let secrets =
        world.written_since(mark).await?.into_iter().filter(|event| event.resource == "secrets" && event.namespace == world.tenant);
    let words: Vec<String> = secrets.map(|event| event.to_string()).collect();
    assert_eq!(words, [format!("create secrets {}/renamed 201", world.tenant), format!("delete secrets {}/token 200", world.tenant)]);
    assert_eq!(world.calls(), (1, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_target_renamed_to_a_foreign_name_is_kept_until_that_is_free() -> Result<()> {
    let (world, operator, token) = ready(json!({})).await?;
    world.foreign_secret("theirs").await?;
    world.patch("speech", &json!({ "spec": { "target": { "name": "theirs" } } })).await?;
    world.reason("speech", "TargetConflict").await?;
    world.at_rest().await?;
    assert_eq!((world.token("token").await?, world.value("theirs", "theirs").await?), (token.clone(), "theirs".to_owned()));

    world.kubectl(&["delete", "secret", "theirs"]).await?;
    holds(&world, "theirs", &token).await?;
    let old = world.secrets().get_opt("token").await?;
    ensure!(old.is_none(), "the old one is still there");
    assert_eq!(world.calls(), (1, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn who_keeps_editing_the_target_is_answered_with_growing_pauses_and_named() -> Result<()> {
    let (world, operator, token) = ready(json!({})).await?;
    let mark = world.cluster.audit_mark().await?;
    for edit in 1..=5 {
        world.patch_secret("token", &json!({ "data": { "accessToken": "bm9uc2Vuc2U=" } })).await?;
        holds(&world, "token", &token).await.with_context(|| format!("edit {edit}"))?;
    }
    let repairs: Vec<_> = world.written_since(mark).await?.into_iter().filter(|event| event.name == "token").collect();
    assert_eq!(repairs.len(), 5);
    ensure!(repairs[4].time.duration_since(repairs[3].time).as_secs() >= 5, "the fifth repair came at once");

    // The sixth is ten seconds away: time to read the status.
    let edit = json!({ "data": { "accessToken": "bm9uc2Vuc2U=" } }).to_string();
    world.kubectl(&["patch", "secret", "token", "--field-manager=an_agent", "--type=merge", "-p", &edit]).await?;
    let fought = world.reason("speech", "Issuing").await?;
    assert_eq!(conditions(&fought), ["Ready=False", "Reconciling=True"]);
    ensure!(message(&fought).contains("changed again and again by the field manager \"an_agent\""), "{}", message(&fought));
    holds(&world, "token", &token).await?;
    assert_eq!(world.calls(), (1, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}
