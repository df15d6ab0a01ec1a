//! What the doctor sees of an installation, and what it does not.

use anyhow::Result;
use revoiceit_harness::proxy::Fault;
use revoiceit_operator::api::names;
use serde_json::{Value, json};

use super::faked::Installation;
use crate::world::World;

/// An operator that serves one resource.
async fn healthy(world: &World) -> Result<crate::world::Operator> {
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    Ok(operator)
}

#[tokio::test]
async fn in_a_healthy_installation_nothing_is_amiss_and_nothing_is_left_out() -> Result<()> {
    let world = World::new().await?;
    let operator = healthy(&world).await?;
    let mark = world.cluster.audit_mark().await?;
    let said = Installation::new(&world, &operator).await?.doctor().await?;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    assert!(
        said.out.ends_with("\nNothing amiss was found.\n") && said.out.lines().rev().skip(1).all(|line| line.starts_with("✓ ")),
        "{said:?}"
    );
    assert_eq!(said.out.lines().count(), 12, "{said:?}");
    // It looks, and asks about rights.
    let written =
        world.cluster.audit_since(mark).await?.into_iter().filter(|event| event.user_agent.starts_with("kube-rs") && event.is_write());
    let words: Vec<String> = written
        .filter(|event| event.resource != "subjectaccessreviews" && event.user.contains("admin"))
        .map(|event| event.to_string())
        .collect();
    assert_eq!(words, [""; 0]);
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_tenant_is_told_which_checks_could_not_be_made() -> Result<()> {
    let world = World::new().await?;
    let operator = healthy(&world).await?;
    let said = world.plugin(&world.person("edit").await?, &["doctor", "--operator-namespace", &world.system]).await?;
    assert_eq!(said.code, Some(0), "{said:?}");
    let left_out = |check: &str, right: &str| {
        let line = format!("? {check:<11}  not checked: you may not {right}");
        assert!(said.out.lines().any(|said| said.starts_with(&line)), "{line}: {said:?}");
    };
    left_out("crd", "get customresourcedefinitions");
    left_out("operator", &format!("list deployments in namespace \"{}\"", world.system));
    left_out("rights", "create subjectaccessreviews");
    left_out("metrics", "list pods");
    left_out("leader", "get leases");
    left_out("ledgers", "list secrets");
    assert!(said.has("✓ credentials  each resource has its credentials Secret"), "{said:?}");
    assert!(
        said.out.lines().any(|line| line.starts_with(&format!("? resources    not checked: other namespaces than {}: ", world.tenant))),
        "{said:?}"
    );
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_right_that_the_operator_lacks_is_named() -> Result<()> {
    let world = World::new().await?;
    let operator = healthy(&world).await?;
    let it = Installation::new(&world, &operator).await?;
    let role = format!("{}-{}", names::OPERATOR, world.system);
    let rules = json!([{ "op": "replace", "path": "/rules/0/verbs", "value": ["get", "list", "watch"] }]).to_string();
    world.cluster.kubectl(["patch", "clusterrole", &role, "--type=json", "-p", &rules]).await?;
    let lacks = |what: &str| format!("rights: The service account SYSTEM/revoiceit-operator may not, {what}.");
    assert_eq!(it.findings().await?, [lacks("in all namespaces: patch revoiceitcredentials")]);

    // One that serves this namespace alone needs its rights here alone.
    let env = json!({ "spec": { "template": { "spec": { "containers": [
        { "name": "operator", "env": [{ "name": "REVOICEIT_NAMESPACE", "value": world.tenant }] }] } } } });
    world.cluster.kubectl(["-n", &world.system, "patch", "deployment/revoiceit-operator", "-p", &env.to_string()]).await?;
    assert_eq!(it.findings().await?, [lacks("in the namespace TENANT: patch revoiceitcredentials")]);
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn what_the_operator_answers_of_itself_is_told() -> Result<()> {
    let world = World::new().await?;
    let operator = healthy(&world).await?;
    let it = Installation::without_answers(&world).await?;
    it.answers("pod-0", "readyz", 503, "missing: Secrets of all namespaces (may the operator list and watch them?)\n");
    it.answers("pod-1", "readyz", 200, "ok");
    it.answers("pod-0", "metrics", 200, "revoiceit_leader 0\n");
    it.answers("pod-1", "metrics", 200, "revoiceit_leader 0\nrevoiceit_ledgers_unattended 2\nrevoiceit_clock_skew_seconds 90\n");
    assert_eq!(
        it.findings().await?,
        [
            "readiness: Pod SYSTEM/pod-0 is not ready: missing: Secrets of all namespaces (may the operator list and watch them?).",
            "metrics: None of the pods leads: no token is refreshed.",
            "metrics: The operator holds 2 ledgers that it does not work on.",
            "metrics: The clock of pod SYSTEM/pod-1 and that of Revoiceit are 90s apart.",
        ]
    );
    world.no_secret_is_told(&[&operator]).await
}

/// As it is for these pods, which run nowhere, without the proxy's answers.
#[tokio::test]
async fn pods_that_the_api_server_does_not_reach_are_no_finding() -> Result<()> {
    let world = World::new().await?;
    let operator = healthy(&world).await?;
    let said = Installation::without_answers(&world).await?.doctor().await?;
    assert_eq!(said.code, Some(0), "{said:?}");
    for check in ["readiness", "metrics"] {
        let line = format!("? {check:<11}  not checked: the API server does not reach pod {}/pod-0", world.system);
        assert!(said.out.lines().any(|said| said.starts_with(&line)), "{said:?}");
    }
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_crd_that_is_gone_or_another_and_clocks_that_are_wrong_are_told() -> Result<()> {
    const PATH: &str = "/customresourcedefinitions/revoiceitcredentials.revoiceit.com";
    let world = World::new().await?;
    let operator = healthy(&world).await?;
    let it = Installation::new(&world, &operator).await?;
    let crd = world.cluster.kubectl(["get", "crd", "revoiceitcredentials.revoiceit.com", "-o", "json"]).await?;
    let mut crd: Value = serde_json::from_str(&crd)?;
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["later"] = json!({ "type": "string" });
    let other = it.proxy.inject(Fault::answer(200, crd.to_string()).header("content-type", "application/json").path(PATH));
    let yesterday = it.proxy.inject(Fault::answer(200, "{}").header("date", "Mon, 23 Nov 2020 10:00:00 GMT").path("/version"));
    let found = it.findings().await?;
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("crd: The CRD is not that of version "), "{found:?}");
    assert!(found[1].starts_with("leader: The clock of ") && found[1].ends_with(" ahead of the API server's."), "{found:?}");
    assert!(found[2].starts_with("clock: The clocks of this machine and of the API server are "), "{found:?}");
    it.proxy.lift(other);
    it.proxy.lift(yesterday);

    let missing =
        json!({ "kind": "Status", "code": 404, "reason": "NotFound", "details": { "name": "revoiceitcredentials.revoiceit.com" } });
    it.proxy.inject(Fault::answer(404, missing.to_string()).path(PATH));
    assert_eq!(it.findings().await?, ["crd: The CRD is not installed."]);
    world.no_secret_is_told(&[&operator]).await
}
