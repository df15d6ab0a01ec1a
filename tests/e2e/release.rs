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
    operator::Operator,
    shared::{self, INSTALL},
    world::World,
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
    let patch =
        ["patch", "deployment", name, "-n", &world.system, "--subresource=scale", "--type=merge", "-p", r#"{"spec":{"replicas":0}}"#];
    world.cluster.kubectl(patch.iter().chain(&["--field-manager=revoiceit-operator"])).await?;
    helm.run(upgrade).await?;
    assert_eq!(replicas(&world).await?, "5");
    operator.get("/readyz").await?;

    world.speech(json!({})).await?;
    world.ready("speech").await?;
    let uninstall = ["uninstall", "tokens", "--namespace", &world.system];
    tokio::try_join!(helm.run(uninstall), job(&world, &operator))?;
    assert_eq!((world.calls(), world.ledgers().await?.len()), ((2, 0, 2), 0));
    world.get("speech").await?;
    world.no_secret_is_told(&[]).await?;
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

/// In place of nodes and of the controllers of Jobs and Deployments, which this cluster has not: runs what the Job says, with its account.
async fn job(world: &World, operator: &Operator) -> Result<()> {
    let name = format!("{}-drain", names::OPERATOR);
    let in_home = ["-n", &world.system];
    world.cluster.kubectl(["wait", "--for=create", "job", &name, "--timeout=60s"].iter().chain(&in_home)).await?;
    // The API server takes a moment to go by new roles.
    let account = format!("--as=system:serviceaccount:{}:{name}", world.system);
    let may = ["auth", "can-i", "patch", "deployments/revoiceit-operator", "--subresource=scale", &account];
    eventually("the drain to have its rights", GENEROUS, async || world.cluster.kubectl(may.iter().chain(&in_home)).await).await?;

    let args = ["get", "job", &name, "-o", "jsonpath={.spec.template.spec.containers[0].args}"];
    let args: Vec<String> = serde_json::from_str(&world.cluster.kubectl(args.iter().chain(&in_home)).await?)?;
    let (verb, flags) = args.split_first().context("the Job has no arguments")?;
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let kubeconfig = world.cluster.kubeconfig_for_service_account(&world.system, &name, &world.cluster.server()).await?;
    let drain = world.spawn_verb(verb, &kubeconfig, &flags)?;
    eventually("the operator to be scaled down", GENEROUS, async || {
        let replicas = replicas(world).await?;
        ensure!(replicas == "0", "{replicas}{}", drain.tail());
        anyhow::Ok(())
    })
    .await?;
    operator.stop().await?;
    let status = drain.wait(GENEROUS).await?;
    ensure!(status.success() && drain.stdout()?.ends_with("Nothing is left.\n"), "{status}: {}", drain.tail());
    completed(world, &name).await
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
    for name in [names::OPERATOR, "revoiceit-operator-drain"] {
        world.cluster.kubectl(["delete", "serviceaccount,role,rolebinding", name, "-n", &world.system]).await?;
        world.cluster.kubectl(["delete", "clusterrole,clusterrolebinding", &format!("{name}-{}", world.system)]).await?;
    }
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
