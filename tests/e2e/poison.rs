//! What a tenant can do to its own objects so that kube cannot decode them any more: nobody is to notice.

use anyhow::{Context, Result, ensure};
use futures::{TryStreamExt, stream};
use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use revoiceit_harness::{
    cluster::{Cluster, Options},
    install::install,
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::names;
use revoiceit_sandbox::LineState;
use serde_json::json;

use crate::{
    shared::INSTALL,
    world::{CANARY, Operator, World},
};

/// The API server knows this time, kube does not.
const BEYOND: &str = "9999-12-31T23:59:59Z";

#[tokio::test]
async fn objects_that_kube_cannot_decode_stop_nothing() -> Result<()> {
    ensure!(BEYOND.parse::<Timestamp>().is_err(), "kube knows this time by now, and this test shows nothing");
    let world = World::of_tenants(2, |_| {}).await?;
    world.credentials("client").await?;
    world.foreign_secret("stranger").await?;
    poison(&world, &world.tenant, "secret/stranger", "v1").await?;
    ensure!(world.secrets().list(&ListParams::default()).await.is_err(), "the list can be decoded, and this test shows nothing");

    // In the first list.
    let first = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    let neighbour = Neighbour::moves_in(&world).await?;
    world.at_rest().await?;
    let token = delivered(&world).await?;

    // Under a running watch, and whatever the operator reads and writes.
    poison(&world, &world.tenant, "secret/client", "v1").await?;
    poison(&world, &world.tenant, "secret/token", "v1").await?;
    poison(&world, &world.tenant, "rvc/speech", "revoiceit.com/v1").await?;
    rotate(&world, "one").await?;
    let token = another(&world, &token).await?;
    neighbour.gets_another_token(&world, "one").await?;
    world.kubectl(&["delete", "secret/token"]).await?;
    eventually("the target to be restored", GENEROUS, async || {
        let restored = delivered(&world).await?;
        ensure!(restored == token, "another one");
        Ok::<_, anyhow::Error>(())
    })
    .await?;

    // A status that cannot be decoded is written anew, whether it is heard of or found at the start.
    break_status(&world).await?;
    status_is_mended(&world).await?;
    world.at_rest().await?;
    first.stop().await?;
    break_status(&world).await?;

    // After a restart everything is listed.
    let second = world.operator(&[]).await?;
    status_is_mended(&world).await?;
    world.at_rest().await?;
    ensure!(delivered(&world).await? == token, "a restart brings no other token");
    rotate(&world, "two").await?;
    another(&world, &token).await?;
    neighbour.gets_another_token(&world, "two").await?;

    world.kubectl(&["delete", "rvc/speech", "--timeout=60s"]).await?;
    ensure!(world.secrets().get_opt("token").await?.is_none(), "its target is there");
    eventually("its ledger to be gone", GENEROUS, async || {
        let ledgers = world.ledgers().await?;
        ensure!(ledgers == [neighbour.ledger.as_str()], "{ledgers:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let live = world.sandbox.truth().lines_of(&world.client_of("client")).filter(|line| line.state() == LineState::Live).count();
    ensure!(live == 0, "{live} lines are not revoked");
    world.kubectl(&["delete", "secret/stranger", "secret/client"]).await?;
    world.no_secret_is_told(&[&second]).await
}

/// Annotations may have 256 KiB and Secrets 1 MiB, and who may write Secrets may write hundreds of such.
#[tokio::test]
async fn large_objects_of_a_tenant_do_not_take_the_memory_that_all_share() -> Result<()> {
    let log = large_objects(&World::new().await?).await?.process.stderr()?;
    ensure!(!log.contains(IN_PAGES), "the API server does not stream its lists");
    Ok(())
}

#[tokio::test]
async fn nor_do_they_where_the_api_server_lists_in_pages() -> Result<()> {
    let options = Options { api_server_flags: vec!["--feature-gates=WatchList=false".to_owned()], ..Options::default() };
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start(options).await?));
    install(cluster, INSTALL).await?;
    let log = large_objects(&World::on(cluster, |_| {}).await?).await?.process.stderr()?;
    ensure!(log.contains(IN_PAGES), "the API server streams its lists");
    Ok(())
}

const IN_PAGES: &str = "it is asked for pages";

async fn large_objects(world: &World) -> Result<Operator> {
    const SECRETS: usize = 120;
    const RESOURCES: usize = 240;
    let name = |number: usize| format!("large-{number}");
    let secret_name = |number: usize| name(number % SECRETS);
    let (text, value) = ("x".repeat(250_000), "y".repeat(700_000));
    let (secrets, resources) = (world.secrets(), world.resources());
    stream::iter((0..RESOURCES).map(Ok))
        .try_for_each_concurrent(4, async |number| {
            if number < SECRETS {
                let metadata = json!({ "name": name(number), "annotations": { "padding": text } });
                let secret = json!({ "metadata": metadata, "stringData": { "value": value } });
                secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
            }
            // From one of these annotations something is decided.
            let annotation = if number.is_multiple_of(3) { "padding" } else { names::ROTATE_ANNOTATION };
            let metadata = json!({ "name": name(number), "annotations": { annotation: text } });
            let spec = json!({ "credentialsSecretRef": { "name": secret_name(number) }, "target": { "name": secret_name(number + 1) } });
            resources.create(&PostParams::default(), &serde_json::from_value(json!({ "metadata": metadata, "spec": spec }))?).await?;
            anyhow::Ok(())
        })
        .await?;
    let operator = world.operator(&[]).await?;
    // A quarter of a gigabyte is listed before that.
    eventually("the operator to begin", 4 * GENEROUS, async || {
        ensure!(world.get(&name(0)).await?.status.is_some(), "it says nothing");
        anyhow::Ok(())
    })
    .await?;
    for number in 0..RESOURCES {
        world.reason(&name(number), "TargetConflict").await?;
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", operator.process.id()))?;
    let peak: u32 =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok()).context("no peak")?;
    // What deploy/ lets it take is 128 MiB.
    ensure!(peak < 100 << 10, "the operator took {peak} KiB");
    Ok(operator)
}

#[tokio::test]
async fn what_the_operator_keeps_for_itself_may_be_undecodable_too() -> Result<()> {
    let world = World::of_tenants(2, |_| {}).await?;
    world.credentials("client").await?;
    let policy = world.policy(&json!({ "absence": 500, "retryMin": 200, "retryMax": 1000 }))?;
    let flags = ["--policy-for-tests", policy.as_str()];
    let first = world.operator(&flags).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    let ledger = format!("secret/{}", world.ledgers().await?.remove(0));
    let neighbour = Neighbour::moves_in(&world).await?;
    let token = delivered(&world).await?;

    poison(&world, &world.system, &ledger, "v1").await?;
    for namespace in [&world.system, &world.tenant] {
        poison(&world, namespace, &format!("namespace/{namespace}"), "v1").await?;
    }
    poison(&world, &world.system, "lease/revoiceit-operator", "coordination.k8s.io/v1").await?;
    ensure!(
        Api::<Namespace>::all(world.client.clone()).get(&world.system).await.is_err(),
        "the namespace can be decoded, and this test shows nothing"
    );
    rotate(&world, "one").await?;
    let token = another(&world, &token).await?;
    neighbour.gets_another_token(&world, "one").await?;
    ensure!(first.leads().await?, "it lost its lease");

    // The next one reads its namespace and its lease first of all, and sweeps its ledgers.
    first.stop().await?;
    let time = json!({ "spec": { "holderIdentity": "nobody", "renewTime": BEYOND.replace('Z', ".000000Z") } }).to_string();
    world.cluster.kubectl(["-n", &world.system, "patch", "lease/revoiceit-operator", "--type=merge", "-p", &time]).await?;
    world.patch("speech", &json!({ "metadata": { "finalizers": null } })).await?;
    // The collector may be faster with the Secret than kubectl is.
    world.kubectl(&["delete", "--ignore-not-found", "rvc/speech", "secret/token"]).await?;
    let second = world.operator(&flags).await?;
    eventually("the ledger of what is gone to be emptied and deleted", GENEROUS, async || {
        let ledgers = world.ledgers().await?;
        ensure!(ledgers == [neighbour.ledger.as_str()], "{ledgers:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    ensure!(second.leads().await?, "it does not lead");
    let live = world.sandbox.truth().lines_of(&world.client_of("client")).filter(|line| line.state() == LineState::Live).count();
    ensure!(live == 0 && !token.is_empty(), "{live} lines are not revoked");
    neighbour.gets_another_token(&world, "two").await?;
    world.no_secret_is_told(&[&second]).await
}

/// Another tenant, who has poisoned nothing and is to notice nothing: in the second namespace, with a client of its own and the same names.
struct Neighbour {
    namespace: String,
    ledger: String,
}

impl Neighbour {
    async fn moves_in(world: &World) -> Result<Self> {
        let namespace = world.tenants[1].clone();
        let before = world.ledgers().await?;
        world.sandbox.add_client("neighbour", CANARY);
        for object in [
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "client", "namespace": namespace },
                "stringData": { "clientId": "neighbour", "clientSecret": CANARY },
            }),
            json!({
                "apiVersion": "revoiceit.com/v1", "kind": names::KIND, "metadata": { "name": "speech", "namespace": namespace },
                "spec": { "credentialsSecretRef": { "name": "client" }, "target": { "name": "token" } },
            }),
        ] {
            world.apply(&object).await?;
        }
        world.cluster.kubectl(["-n", &namespace, "wait", "--for=condition=Ready", "--timeout=60s", "rvc/speech"]).await?;
        let ledger = world.ledgers().await?.into_iter().find(|ledger| !before.contains(ledger)).context("it has no ledger")?;
        Ok(Self { namespace, ledger })
    }

    async fn gets_another_token(&self, world: &World, request: &str) -> Result<()> {
        let lines = world.sandbox.truth().lines_of("neighbour").count();
        let request = format!("revoiceit.com/rotate-requested-at={request}");
        world.cluster.kubectl(["-n", &self.namespace, "annotate", "--overwrite", "rvc/speech", &request]).await?;
        eventually("the neighbour's target to hold the token of its next line", GENEROUS, async || {
            let secret = Api::<Secret>::namespaced(world.client.clone(), &self.namespace).get("token").await?;
            let token = secret.data.unwrap_or_default().remove("accessToken").context("no token in it")?;
            let truth = world.sandbox.truth();
            let (line, _) = truth.access(std::str::from_utf8(&token.0)?).context("nobody's token")?;
            ensure!(line.client == "neighbour" && truth.lines_of("neighbour").nth(lines) == Some(line), "it holds one of {}", line.client);
            Ok::<_, anyhow::Error>(())
        })
        .await
    }
}

async fn break_status(world: &World) -> Result<()> {
    let status = json!({ "status": { "expiresAt": BEYOND } }).to_string();
    world.kubectl(&["patch", "rvc/speech", "--subresource=status", "--type=merge", "-p", &status]).await.map(drop)
}

async fn status_is_mended(world: &World) -> Result<()> {
    eventually("the status to be mended", GENEROUS, async || {
        let expires = world.kubectl(&["get", "rvc/speech", "-o", "jsonpath={.status.expiresAt}"]).await?;
        ensure!(expires.parse::<Timestamp>().is_ok(), "it says {expires:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// The API server takes the entry as it is when the request has the same field manager.
async fn poison(world: &World, namespace: &str, object: &str, api_version: &str) -> Result<()> {
    let entry = json!({
        "manager": "poisoner", "operation": "Update", "apiVersion": api_version, "time": BEYOND,
        "fieldsType": "FieldsV1", "fieldsV1": { "f:metadata": { "f:labels": {} } },
    });
    let patch = json!({ "metadata": { "managedFields": [entry] } }).to_string();
    world.cluster.kubectl(["-n", namespace, "patch", object, "--type=merge", "--field-manager=poisoner", "-p", &patch]).await?;
    let times = world.cluster.kubectl(["-n", namespace, "get", object, "-o", "jsonpath={.metadata.managedFields[*].time}"]).await?;
    ensure!(times.contains(BEYOND), "the API server did not take the poison: {times}");
    Ok(())
}

async fn rotate(world: &World, request: &str) -> Result<()> {
    world.kubectl(&["annotate", "--overwrite", "rvc/speech", &format!("revoiceit.com/rotate-requested-at={request}")]).await.map(drop)
}

/// The token in the target, still encoded.
async fn delivered(world: &World) -> Result<String> {
    world.kubectl(&["get", "secret/token", "-o", "jsonpath={.data.accessToken}"]).await
}

async fn another(world: &World, than: &str) -> Result<String> {
    eventually("another token in the target", GENEROUS, async || {
        let token = delivered(world).await?;
        ensure!(token != than, "the same one");
        Ok::<_, anyhow::Error>(token)
    })
    .await
}
