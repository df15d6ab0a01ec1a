//! What the pages of the documentation tell one to apply, and to type.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use revoiceit_harness::{
    cluster,
    pages::{self, Block},
    shell::{Program, Shell},
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Call, Fault, Line, LineState, UnixMillis};
use serde_json::{Value, json};

use crate::{
    deletion::{impatient, revoked, with_token},
    scope::{rights_in, speech_in},
    shared::{installed, namespace},
    startup::says,
    world::{Operator, World, merge},
};

/// The source tree.
pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Kinds of others, which no API server of these tests serves.
const FOREIGN: [&str; 4] = ["kustomize.config.k8s.io/", "argoproj.io/", "source.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/"];

/// The objects in a manifest. YAML of other kinds, as the values of a chart, has none.
fn objects(manifest: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifest)?;
    Ok(documents.into_iter().filter(|document| document.get("kind").is_some()).collect())
}

#[tokio::test]
async fn every_manifest_of_every_page_is_accepted() -> Result<()> {
    let cluster = installed().await?;
    let own = namespace(cluster).await?;
    cluster.kubectl(["wait", "--for=create", "serviceaccount/default", "-n", &own, "--timeout=60s"]).await?;
    let (mut credentials, mut others, mut made) = (0, 0, BTreeSet::new());
    for page in pages::all(Path::new(ROOT))? {
        for (block, manifest) in page.blocks.iter().flat_map(|block| block.manifests().into_iter().map(move |manifest| (block, manifest))) {
            let place = format!("{}, the block of line {}", page.path.display(), block.line);
            let objects = objects(&manifest).with_context(|| place.clone())?;
            let is_foreign = |object: &Value| {
                FOREIGN.iter().any(|group| object["apiVersion"].as_str().is_some_and(|version| version.starts_with(group)))
            };
            if objects.is_empty() || objects.iter().any(is_foreign) {
                continue;
            }
            let named: BTreeSet<&str> = objects.iter().filter_map(|object| object["metadata"]["namespace"].as_str()).collect();
            for name in named.iter().filter(|name| made.insert((**name).to_owned())) {
                // Other tests may want it too.
                let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
                cluster.kubectl_stdin(["apply", "-f", "-"], &namespace.to_string()).await?;
            }
            let mut apply = vec!["apply", "--dry-run=server", "--warnings-as-errors", "-f", "-"];
            if named.is_empty() {
                apply.extend(["-n", &own]);
            }
            cluster.kubectl_stdin(apply, &manifest).await.with_context(|| place.clone())?;
            let of_ours = objects.iter().filter(|object| object["kind"] == "RevoiceitCredential").count();
            (credentials, others) = (credentials + of_ours, others + objects.len() - of_ours);
        }
    }
    ensure!(credentials >= 3 && others >= 5, "only {credentials} resources and {others} other objects were found");
    Ok(())
}

/// The blocks of commands below a heading of a page.
pub(crate) fn commands(page: &str, section: &str) -> Result<Vec<String>> {
    let page = pages::read(Path::new(ROOT), Path::new(page))?;
    let is_meant = |block: &&Block| block.section == section && block.language == "sh";
    let found: Vec<String> = page.blocks.iter().filter(is_meant).map(|block| block.text.clone()).collect();
    ensure!(!found.is_empty(), "{} has no commands below #{section}", page.path.display());
    Ok(found)
}

/// A shell in which kubectl is the cluster's own, and is in the tenant's namespace unless a command names another.
fn shell(world: &World) -> Result<Shell> {
    let kubectl = format!("'{}' kubectl --namespace {}", cluster::binary()?.display(), world.tenant);
    Shell::new(Path::new(ROOT), &world.scratch, &[("kubectl", Program::Command(kubectl))], Some(world.cluster.admin_kubeconfig()))
}

#[tokio::test]
async fn the_steps_to_another_client_secret_leave_no_gap() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let mut policy = impatient();
    merge(&mut policy, json!({ "minGrace": 1000 }));
    let operator = world.operator(&["--policy-for-tests", &world.policy(&policy)?]).await?;
    world.speech(json!({ "revocation": { "grace": "0s" } })).await?;
    world.ready("speech").await?;
    let [patch, waits] = &commands("docs/operations.md", "another-client-secret-without-a-gap")?[..] else {
        bail!("the page has other steps than this test")
    };
    let [first_wait, second_wait] = waits.lines().collect::<Vec<_>>()[..] else { bail!("the page has other waits than two") };
    world.sandbox.add_client("NEW-ID", "NEW-SECRET");
    let (shell, old) = (shell(&world)?, world.token("token").await?);

    // However short the grace is, the old line lives until the first wait is over.
    let away = world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;
    shell.run(&patch.replace("revoiceit-client", "client")).await?;
    shell.run(first_wait).await?;
    let (new, truth) = (world.token("token").await?, world.sandbox.truth());
    ensure!(truth.owner_of(&new) == Some("NEW-ID"), "the first wait was over before the new token was written");
    ensure!(truth.is_valid(&old, UnixMillis::now()), "who has the old token is refused");
    world.sandbox.heal(away);
    shell.run(second_wait).await?;
    let states: Vec<LineState> = world.sandbox.truth().lines.iter().map(Line::state).collect();
    assert_eq!(states, [LineState::Revoked, LineState::Live]);
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn ledgers_are_deleted_in_a_clone_as_the_page_says() -> Result<()> {
    let world = World::new().await?;
    let first = with_token(&world, json!({})).await?;
    first.stop().await?;
    let [delete] = &commands("docs/operations.md", "a-cluster-was-cloned")?[..] else { bail!("the page has other steps than this test") };
    shell(&world)?.run(&delete.replace("revoiceit-system", &world.system)).await?;
    assert_eq!(world.ledgers().await?, [""; 0]);

    let token = world.token("token").await?;
    let second = world.operator(&[]).await?;
    world.another_token("token", &token).await?;
    world.at_rest().await?;
    // The original's line is not touched.
    let states: Vec<LineState> = world.sandbox.truth().lines.iter().map(Line::state).collect();
    assert_eq!((states, world.suspected_lost("speech").await?), (vec![LineState::Live, LineState::Live], 1));
    world.no_secret_is_told(&[&second]).await
}

/// A namespace on the operator's list, with a token in it, is about to be deleted.
#[tokio::test]
async fn a_namespace_that_is_served_by_roles_goes_as_the_page_says() -> Result<()> {
    let world = World::of_tenants(2, |_| {}).await?;
    let (first, second) = (&world.tenants[0], &world.tenants[1]);
    rights_in(&world, &[first, second]).await?;
    world.without_any_rights();
    let operator = world.operator(&["--policy-for-tests", &world.policy(&impatient())?]).await?;
    for namespace in [first, second] {
        speech_in(&world, namespace).await?;
        world.cluster.kubectl(["-n", namespace, "wait", "--for=condition=Ready", "--timeout=60s", "rvc/speech"]).await?;
    }
    let [delete, lend] = &commands("docs/operations.md", "a-namespace-that-is-served-by-roles-goes")?[..] else {
        bail!("the page has other steps than this test")
    };
    let (shell, namespaces): (_, Api<Namespace>) = (shell(&world)?, Api::all(world.client.clone()));

    // In the order that the page gives, nothing hangs.
    shell.run(&delete.replace("team-a", first)).await?;
    world.cluster.kubectl(["delete", "namespace", first, "--timeout=60s"]).await?;
    assert_eq!((world.ledgers().await?.len(), world.sandbox.truth().live().count()), (1, 1));

    // In which order a namespace loses its content is not said anywhere: here the rights go first.
    let mark = world.cluster.audit_mark().await?;
    world.cluster.kubectl(["delete", "rolebinding", names::OPERATOR, "-n", second]).await?;
    let account = format!("--as=system:serviceaccount:{}:{}", world.system, names::OPERATOR);
    eventually("the rights to be gone", GENEROUS, async || {
        let answer = world.cluster.kubectl(["auth", "can-i", "list", "secrets", "-n", second, &account]).await;
        ensure!(answer.is_err(), "the operator may list Secrets");
        anyhow::Ok(())
    })
    .await?;
    world.cluster.kubectl(["delete", "namespace", second, "--wait=false"]).await?;
    eventually("the namespace to hang, and the operator to be denied", GENEROUS, async || {
        let status = namespaces.get(second).await?.status.and_then(|status| status.conditions).unwrap_or_default();
        ensure!(status.iter().any(|is| is.type_ == "NamespaceFinalizersRemaining" && is.status == "True"), "{status:?}");
        let asked = world.asked_since(mark).await?;
        ensure!(asked.iter().any(|event| event.namespace == *second && event.code == Some(403)), "nothing was denied");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!((world.ledgers().await?.len(), world.sandbox.truth().live().count()), (1, 1));
    shell.run(&lend.replace("team-a", second).replace("revoiceit-system", &world.system)).await?;
    world.gone("speech", "token").await?;
    revoked(&world, 2).await?;
    operator.stop().await?;

    // Both are on its list still.
    let kubeconfig = world.cluster.kubeconfig_for_service_account(&world.system, names::OPERATOR, &world.cluster.server()).await?;
    let next = Operator::listening(world.spawn(&kubeconfig, &[])?).await?;
    says(&next, &format!("RevoiceitCredentials of namespace {second} (is the CRD installed, and may the operator list and watch them?"))
        .await?;
    world.no_secret_is_told(&[&next]).await
}
