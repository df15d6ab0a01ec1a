//! A release of the Helm chart: an operator at work under what it installed, and what becomes of it.

use anyhow::{Context, Result, ensure};
use revoiceit_harness::{
    cluster::Cluster,
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::names;
use serde_json::json;

use crate::{
    helm::{CHART, Helm},
    shared::{self, INSTALL},
    world::{Operator, World},
};

#[tokio::test]
async fn an_operator_works_under_a_release_for_all_namespaces() -> Result<()> {
    let world = without_rights().await?;
    let helm = Helm::new(world.cluster)?;
    // Its cluster roles are among those of other tests.
    let name = format!("tokens-{}", world.system);
    let flags = ["--set", &format!("fullnameOverride={name},serviceAccount.name={}", names::OPERATOR)];
    install(&helm, &world, &flags).await?;
    works(&world).await?;
    // No Job runs where there are no nodes.
    helm.run(["uninstall", "tokens", "--namespace", &world.system, "--no-hooks"]).await?;
    assert_eq!(world.cluster.kubectl(["get", "clusterrole,clusterrolebinding", &name, "--ignore-not-found", "-o", "name"]).await?, "");
    Ok(())
}

#[tokio::test]
async fn a_release_for_one_namespace_is_upgraded_and_drained_before_it_goes() -> Result<()> {
    let world = without_rights().await?;
    let helm = Helm::new(world.cluster)?;
    let name = names::OPERATOR;
    let flags = ["--set", &format!("fullnameOverride={name},scope.namespaces={{{}}}", world.tenant)];
    install(&helm, &world, &flags).await?;
    let operator = works(&world).await?;

    let upgrade = ["upgrade", "tokens", CHART, "--namespace", &world.system, "--reuse-values"];
    helm.run(upgrade.iter().chain(&["--set", "replicas=5"])).await?;
    assert_eq!(replicas(&world).await?, "5");
    // A drain that was broken off has scaled it down.
    scaled_down(&world, &[]).await?;
    helm.run(upgrade).await?;
    assert_eq!(replicas(&world).await?, "5");
    operator.get("/readyz").await?;

    let drain = format!("{name}-drain");
    let uninstall = ["uninstall", "tokens", "--namespace", &world.system];
    let job = async {
        world.cluster.kubectl(["wait", "--for=create", "job", &drain, "-n", &world.system, "--timeout=60s"]).await?;
        let account = format!("--as=system:serviceaccount:{}:{drain}", world.system);
        // The API server takes a moment to go by new roles.
        eventually("the drain to have its rights", GENEROUS, async || scaled_down(&world, &[&account]).await).await?;
        assert_eq!(replicas(&world).await?, "0");
        completed(&world, &drain).await
    };
    tokio::try_join!(helm.run(uninstall), job)?;
    for namespace in [&world.system, &world.tenant] {
        let kinds = "deployment,job,service,serviceaccount,role,rolebinding,poddisruptionbudget";
        let left = world.cluster.kubectl(["get", kinds, "-n", namespace, "-l", "app.kubernetes.io/instance=tokens", "-o", "name"]).await?;
        assert_eq!(left, "", "{namespace}");
    }
    Ok(())
}

async fn replicas(world: &World) -> Result<String> {
    world.cluster.kubectl(["get", "deployment", names::OPERATOR, "-n", &world.system, "-o", "jsonpath={.spec.replicas}"]).await
}

/// As the drain does it.
async fn scaled_down(world: &World, flags: &[&str]) -> Result<()> {
    let patch = r#"{"spec":{"replicas":0}}"#;
    let args = ["patch", "deployment", names::OPERATOR, "-n", &world.system, "--subresource=scale", "--type=merge", "-p", patch];
    world.cluster.kubectl(args.iter().chain(&["--field-manager=revoiceit-operator"]).chain(flags)).await.map(drop)
}

/// What the controller of Jobs says when a Job's pod has ended well; there is none in this cluster, and no node.
async fn completed(world: &World, job: &str) -> Result<()> {
    const WHEN: &str = "2026-11-24T12:00:00Z";
    let condition = |name: &str| json!({ "type": name, "status": "True", "reason": "CompletionsReached", "lastTransitionTime": WHEN });
    let status = json!({ "status": {
        "startTime": WHEN, "completionTime": WHEN, "succeeded": 1, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {},
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
    } });
    let args = ["patch", "job", job, "-n", &world.system, "--subresource=status", "--type=merge", "-p", &status.to_string()];
    world.cluster.kubectl(args).await.map(drop)
}

/// For a cluster of its own: an installation by other means is taken over as it runs, and the CRD stays until it is said otherwise.
pub(crate) async fn takes_over_and_keeps_the_crd(cluster: &Cluster) -> Result<()> {
    shared::install(cluster, INSTALL).await?;
    let helm = Helm::new(cluster)?;
    // One that is about to go is no more the same.
    let uid = async |object: &str| {
        let path = "jsonpath={.metadata.uid}{.metadata.deletionTimestamp}";
        let get = ["get", object, "-n", "revoiceit-system", "--ignore-not-found", "-o", path];
        cluster.kubectl(get).await
    };
    let (crd, deployment) = ("crd/revoiceitcredentials.revoiceit.com", "deployment/revoiceit-operator");
    let (same_crd, same_deployment) = (uid(crd).await?, uid(deployment).await?);
    let in_home = ["revoiceit-operator", "--namespace", "revoiceit-system"];
    let chart = [in_home[0], CHART, in_home[1], in_home[2]];
    let install = ["install"].iter().chain(&chart);
    let uninstall = ["uninstall", "--no-hooks"].iter().chain(&in_home);
    let refusal = helm.run(install.clone()).await.err().context("what somebody else installed was taken over without being asked")?;
    ensure!(refusal.to_string().contains("invalid ownership metadata"), "{refusal}");
    helm.run(install.clone().chain(&["--take-ownership", "--force-conflicts"])).await?;
    assert_eq!((uid(crd).await?, uid(deployment).await?), (same_crd.clone(), same_deployment));

    helm.run(uninstall.clone()).await?;
    assert_eq!((uid(crd).await?, uid(deployment).await?), (same_crd.clone(), String::new()));
    helm.run(install).await?;
    assert_eq!(uid(crd).await?, same_crd);
    helm.run(["upgrade"].iter().chain(&chart).chain(&["--set", "crds.keep=false"])).await?;
    helm.run(uninstall).await?;
    cluster.kubectl(["wait", "--for=delete", crd, "--timeout=60s"]).await?;
    Ok(())
}

/// The roles come from the chart in place of those that every test has.
async fn without_rights() -> Result<World> {
    let world = World::new().await?;
    let own = ["delete", "serviceaccount,role,rolebinding", names::OPERATOR, "-n", &world.system];
    world.cluster.kubectl(own).await?;
    let name = format!("{}-{}", names::OPERATOR, world.system);
    world.cluster.kubectl(["delete", "clusterrole,clusterrolebinding", &name]).await?;
    Ok(world)
}

/// The CRD, and the roles for people, are there for all tests.
async fn install(helm: &Helm, world: &World, flags: &[&str]) -> Result<()> {
    let shared = ["--set", "crds.install=false,rbac.userRoles=false"];
    // No pod becomes ready where there are no nodes, so nothing is waited for.
    let args = ["install", "tokens", CHART, "--namespace", &world.system];
    helm.run(args.iter().chain(&shared).chain(flags)).await.map(drop)
}

/// A token comes and goes, under the rights of the release alone.
async fn works(world: &World) -> Result<Operator> {
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    assert_eq!(world.calls(), (1, 0, 0));
    world.kubectl(&["delete", "rvc", "speech", "--timeout=60s"]).await?;
    world.gone("speech", "token").await?;
    assert_eq!(world.calls(), (1, 0, 1));
    world.no_secret_is_told(&[&operator]).await?;
    Ok(operator)
}
