//! What the doctor finds where something really is amiss.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt, api::PostParams};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::names;
use serde_json::json;

use super::faked::Installation;
use crate::world::World;

#[tokio::test]
async fn credentials_that_are_missing_or_rejected_are_named() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&[]).await?;
    world.pair("rejected", "nobody", "canary-of-a-client-secret-unknown").await?;
    world.resource("first", "absent", "first-token", json!({})).await?;
    world.resource("second", "rejected", "second-token", json!({})).await?;
    world.reason("first", "CredentialsMissing").await?;
    world.reason("second", "CredentialsRejected").await?;
    let found = Installation::new(&world, &operator).await?.findings().await?;
    assert_eq!(
        found,
        ["credentials: TENANT/first: the credentials Secret absent does not exist.", "credentials: TENANT/second: CredentialsRejected."]
    );
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_resource_that_cannot_be_delivered_is_named() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    world.foreign_secret("token").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.reason("speech", "TargetConflict").await?;
    assert_eq!(Installation::new(&world, &operator).await?.findings().await?, ["resources: TENANT/speech: TargetConflict."]);
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn where_no_operator_works_its_absence_and_what_it_leaves_undone_are_told() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    world.speech(json!({})).await?;
    let it = Installation::without_answers(&world).await?;
    world.cluster.kubectl(["-n", &world.system, "delete", "pod", "--all", "--force", "--grace-period=0"]).await?;
    it.set_status("deployment/revoiceit-operator", &json!({ "replicas": 0, "readyReplicas": 0, "availableReplicas": 0 })).await?;
    eventually("the resource to be long enough alone", GENEROUS, async || {
        let found = it.findings().await?;
        ensure!(
            found
                == [
                    "operator: Deployment SYSTEM/revoiceit-operator: 0 of 2 pods are ready.",
                    "leader: In the namespace SYSTEM no operator has ever led: there is no Lease revoiceit-operator.",
                    "claims: TENANT/speech is unclaimed: no operator has looked at it.",
                ],
            "{found:?}"
        );
        anyhow::Ok(())
    })
    .await?;
    world.cluster.kubectl(["-n", &world.system, "scale", "deployment/revoiceit-operator", "--replicas=0"]).await?;
    let found = it.findings().await?;
    assert_eq!(found[0], "operator: Deployment SYSTEM/revoiceit-operator is scaled to 0: no operator works.");
    world.cluster.kubectl(["-n", &world.system, "delete", "deployment/revoiceit-operator"]).await?;
    let found = it.findings().await?;
    assert_eq!(
        found[0],
        "operator: In the namespace SYSTEM there is no Deployment with the label app.kubernetes.io/name=revoiceit-operator."
    );
    world.no_secret_is_told(&[]).await
}

#[tokio::test]
async fn a_resource_that_an_operator_elsewhere_holds_is_named() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    world.speech(json!({})).await?;
    let claim = format!("elsewhere/{}", world.get("speech").await?.uid().unwrap_or_default());
    world.patch("speech", &json!({ "metadata": { "annotations": { names::CLAIM_ANNOTATION: claim } } })).await?;
    let operator = world.operator(&[]).await?;
    world.reason("speech", "LedgerElsewhere").await?;
    let found = Installation::new(&world, &operator).await?.findings().await?;
    assert_eq!(
        found,
        [
            "claims: An operator in the namespace elsewhere holds 1 of the resources and another operator serves them as well: TENANT/speech."
        ]
    );
    assert_eq!(world.calls(), (0, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_ledger_without_its_resource_and_a_resource_without_its_ledger_are_named() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    let it = Installation::new(&world, &operator).await?;
    operator.stop().await?;
    let lost = world.ledgers().await?.remove(0);
    let ledgers: Api<Secret> = Api::namespaced(world.client.clone(), &world.system);
    ledgers.delete(&lost, &kube::api::DeleteParams::default()).await?;
    let orphan = json!({
        "metadata": { "name": "rvc-gone", "annotations": { names::RESOURCE_ANNOTATION: format!("{}/old", world.tenant) } },
        "type": names::LEDGER_TYPE,
    });
    ledgers.create(&PostParams::default(), &serde_json::from_value(orphan)?).await?;
    let found = it.findings().await?;
    let of_ledgers: Vec<&String> = found.iter().filter(|found| found.starts_with("ledgers: ")).collect();
    assert_eq!(
        of_ledgers,
        [
            &format!("ledgers: TENANT/speech is held, and its ledger SYSTEM/{lost} is gone: its refresh tokens are lost."),
            "ledgers: The ledger SYSTEM/rvc-gone is left of TENANT/old, which is gone: tokens in it are yet to be revoked.",
        ]
    );
    world.no_secret_is_told(&[]).await
}

#[tokio::test]
async fn a_pod_that_does_not_start_is_named_with_the_kubelets_reason() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&[]).await?;
    let it = Installation::new(&world, &operator).await?;
    let waiting = json!({ "phase": "Pending", "containerStatuses": [{
        "name": "operator", "image": "none", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": { "reason": "ImagePullBackOff" } } }] });
    it.set_status("pod/pod-1", &waiting).await?;
    it.set_status("deployment/revoiceit-operator", &json!({ "readyReplicas": 1, "availableReplicas": 1 })).await?;
    assert_eq!(
        it.findings().await?,
        [
            "operator: Deployment SYSTEM/revoiceit-operator: 1 of 2 pods are ready.",
            "operator: Pod SYSTEM/pod-1 does not start: ImagePullBackOff.",
        ]
    );
    world.no_secret_is_told(&[&operator]).await
}
