//! An operator that ends, in whatever way, and comes back while tokens are valid: nothing is asked of Revoiceit, and nothing is written.

use anyhow::{Result, ensure};
use kube::{ResourceExt, api::ListParams};
use revoiceit_harness::wait::{GENEROUS, eventually};
use serde_json::json;

use crate::world::{Operator, World};

const RESOURCES: usize = 5;

#[tokio::test]
async fn after_sigkill_and_after_sigterm_nothing_is_called_or_written_and_two_objects_a_resource_are_read() -> Result<()> {
    // One that the operator does not keep in memory.
    let large = json!({ "target": { "template": { "accessToken": "{{ accessToken }}", "a": "x".repeat(4096), "b": "x".repeat(4096) } } });
    let world = World::new().await?;
    world.credentials("client").await?;
    let mut operator = world.operator(&[]).await?;
    for number in 0..RESOURCES {
        world.resource(&format!("speech-{number}"), "client", &format!("token-{number}"), json!({})).await?;
    }
    world.patch("speech-0", &json!({ "spec": large })).await?;
    for number in 0..RESOURCES {
        world.ready(&format!("speech-{number}")).await?;
    }
    world.at_rest().await?;
    let (versions, calls) = (versions(&world).await?, world.sandbox.mark());

    for ends_with_sigkill in [true, false] {
        let mark = world.cluster.audit_mark().await?;
        if ends_with_sigkill {
            operator.kill();
        } else {
            operator.stop().await?;
        }
        operator = world.operator(&[]).await?;
        leads(&operator).await?;
        world.at_rest().await?;

        assert_eq!(world.sandbox.mark(), calls, "calls to Revoiceit");
        assert_eq!(world.writes_since(mark).await?, [""; 0]);
        let asked = world.asked_since(mark).await?;
        let read =
            |kind: &str| asked.iter().filter(|event| event.verb == "get" && event.resource == kind).map(ToString::to_string).collect();
        let mut secrets: Vec<String> = read("secrets");
        secrets.sort();
        assert_eq!(secrets, target_and_ledger_of_each(&world).await?);
        let resources: Vec<String> = read("revoiceitcredentials");
        assert_eq!(resources, [format!("get revoiceitcredentials {}/speech-0 200", world.tenant)]);
        assert_eq!(self::versions(&world).await?, versions);
    }
    world.no_secret_is_told(&[&operator]).await
}

/// The GETs of one look at each target and each ledger.
async fn target_and_ledger_of_each(world: &World) -> Result<Vec<String>> {
    let targets = (0..RESOURCES).map(|number| format!("get secrets {}/token-{number} 200", world.tenant));
    let ledgers = world.ledgers().await?.into_iter().map(|ledger| format!("get secrets {}/{ledger} 200", world.system));
    let mut gets: Vec<String> = targets.chain(ledgers).collect();
    assert_eq!(gets.len(), 2 * RESOURCES);
    gets.sort();
    Ok(gets)
}

/// Name and resourceVersion of everything that the operator could have written.
async fn versions(world: &World) -> Result<Vec<String>> {
    fn of(object: &impl ResourceExt) -> String {
        format!("{} {}", object.name_any(), object.resource_version().unwrap_or_default())
    }
    let resources = world.resources().list(&ListParams::default()).await?.items;
    let secrets = world.secrets().list(&ListParams::default()).await?.items;
    Ok(resources.iter().map(of).chain(secrets.iter().map(of)).collect())
}

async fn leads(operator: &Operator) -> Result<()> {
    eventually("the operator to lead", GENEROUS, async || {
        ensure!(operator.leads().await?, "it does not");
        anyhow::Ok(())
    })
    .await
}
