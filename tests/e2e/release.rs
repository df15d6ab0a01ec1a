//! A release of the Helm chart: an operator at work under what it installed, and what becomes of it.

use anyhow::{Context, Result, ensure};
use revoiceit_harness::{
    cluster::Cluster,
    scratch::Scratch,
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::names;
use serde_json::{Value, json};

use crate::{
    helm::{CHART, Helm},
    operator::Operator,
    shared::{self, INSTALL},
    world::{World, merge},
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

    let (in_home, keep) = (["--namespace", world.system.as_str()], ["--reset-then-reuse-values"]);
    let upgrade = async |chart: &str, flags: &[&str]| helm.run(["upgrade", "tokens", chart].iter().chain(&in_home).chain(flags)).await;
    upgrade(CHART, &["--reuse-values", "--set", "replicas=5"]).await?;
    assert_eq!(replicas(&world).await?, "5");
    let later = Scratch::new("later")?;
    let chart = later_chart(&later)?;
    let refusal = upgrade(&chart, &["--reuse-values"]).await.err().context("old defaults were enough for a later chart")?.to_string();
    ensure!(refusal.contains("missing property 'later'"), "{refusal}");
    upgrade(&chart, &keep).await?;
    assert_eq!(replicas(&world).await?, "5");
    // A drain by hand that was broken off has scaled it down.
    scale_down(&world).await?;
    upgrade(CHART, &keep).await?;
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

/// The chart as a later version may be: with one value more, which has to be there, and its default.
fn later_chart(scratch: &Scratch) -> Result<String> {
    let (schema, values) = ("values.schema.json", "values.yaml");
    for entry in std::fs::read_dir(CHART)? {
        let (from, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if name != schema && name != values {
            std::os::unix::fs::symlink(from, scratch.path().join(name))?;
        }
    }
    let mut known: Value = serde_json::from_str(&std::fs::read_to_string(format!("{CHART}/{schema}"))?)?;
    known["properties"]["later"] = json!({ "type": "boolean" });
    known["required"].as_array_mut().context("nothing is required")?.push(json!("later"));
    scratch.write(schema, known.to_string())?;
    scratch.write(values, format!("{}\nlater: true\n", std::fs::read_to_string(format!("{CHART}/{values}"))?))?;
    Ok(scratch.path().display().to_string())
}

/// The Job of an uninstall.
pub(crate) const JOB: &str = "revoiceit-operator-drain";

pub(crate) async fn job_uid(world: &World) -> Result<String> {
    world.cluster.kubectl(["get", "job", JOB, "-n", &world.system, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}"]).await
}

/// Waits until there is another one than this.
pub(crate) async fn new_job(world: &World, than: &str) -> Result<()> {
    eventually("the Job of an uninstall", GENEROUS, async || {
        let uid = job_uid(world).await?;
        ensure!(!uid.is_empty() && uid != than, "{uid:?}");
        anyhow::Ok(())
    })
    .await
}

/// As a drain does it.
pub(crate) async fn scale_down(world: &World) -> Result<()> {
    let (name, none) = (names::OPERATOR, r#"{"spec":{"replicas":0}}"#);
    let patch = ["patch", "deployment", name, "-n", &world.system, "--subresource=scale", "--type=merge", "-p", none];
    world.cluster.kubectl(patch.iter().chain(&["--field-manager=revoiceit-operator"])).await.map(drop)
}

pub(crate) async fn replicas(world: &World) -> Result<String> {
    world.cluster.kubectl(["get", "deployment", names::OPERATOR, "-n", &world.system, "-o", "jsonpath={.spec.replicas}"]).await
}

/// In place of nodes and of the controllers of Jobs and Deployments, which this cluster has not: runs what the Job says, with its account.
async fn job(world: &World, operator: &Operator) -> Result<()> {
    let (name, in_home) = (JOB, ["-n", world.system.as_str()]);
    new_job(world, "").await?;
    // The API server takes a moment to go by new roles.
    let account = format!("--as=system:serviceaccount:{}:{name}", world.system);
    let may = ["auth", "can-i", "patch", "deployments/revoiceit-operator", "--subresource=scale", &account];
    eventually("the drain to have its rights", GENEROUS, async || world.cluster.kubectl(may.iter().chain(&in_home)).await).await?;

    let args = ["get", "job", name, "-o", "jsonpath={.spec.template.spec.containers[0].args}"];
    let args: Vec<String> = serde_json::from_str(&world.cluster.kubectl(args.iter().chain(&in_home)).await?)?;
    let (verb, flags) = args.split_first().context("the Job has no arguments")?;
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let kubeconfig = world.cluster.kubeconfig_for_service_account(&world.system, name, &world.cluster.server()).await?;
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
    over(world, name, true).await
}

/// What the controller of Jobs says when a Job is over; there is none in this cluster, and no node.
pub(crate) async fn over(world: &World, job: &str, has_succeeded: bool) -> Result<()> {
    const WHEN: &str = "2026-11-24T12:00:00Z";
    let condition = |name: &str, reason: &str| json!({ "type": name, "status": "True", "reason": reason, "lastTransitionTime": WHEN });
    let mut status = json!({ "startTime": WHEN, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {} });
    let how = if has_succeeded {
        let reason = "CompletionsReached";
        json!({ "completionTime": WHEN, "succeeded": 1, "conditions": [condition("SuccessCriteriaMet", reason), condition("Complete", reason)] })
    } else {
        let reason = "BackoffLimitExceeded";
        json!({ "failed": 4, "conditions": [condition("FailureTarget", reason), condition("Failed", reason)] })
    };
    merge(&mut status, how);
    let status = json!({ "status": status });
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
pub(crate) async fn without_rights() -> Result<World> {
    let world = World::new().await?;
    for name in [names::OPERATOR, "revoiceit-operator-drain"] {
        world.cluster.kubectl(["delete", "serviceaccount,role,rolebinding", name, "-n", &world.system]).await?;
        world.cluster.kubectl(["delete", "clusterrole,clusterrolebinding", &format!("{name}-{}", world.system)]).await?;
    }
    Ok(world)
}

/// The CRD, and the roles for people, are there for all tests.
pub(crate) async fn install(helm: &Helm, world: &World, flags: &[&str]) -> Result<()> {
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
