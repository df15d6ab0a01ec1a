//! The chart's NetworkPolicy against what the pods do. Nothing on this node enforces one: that a cluster's network does is not seen here.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyPort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{Api, ResourceExt, api::ListParams};
use revoiceit_harness::{node::Ports, wait::GENEROUS, wait::eventually};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Call, Fault};
use serde_json::json;

use super::site::{Site, container};

/// Where a pod's name server listens, whoever set the cluster up: the second one is OpenShift's.
const DNS: [u16; 2] = [53, 5353];

#[tokio::test]
async fn the_network_policy_is_for_the_operators_pods_and_names_the_ports_that_they_use() -> Result<()> {
    let values = ["networkPolicy.enabled=true", "networkPolicy.apiServer.ports={443}"];
    let Some(site) = Site::new(|_| {}, &values).await? else { return Ok(()) };
    let policies: Api<NetworkPolicy> = Api::namespaced(site.world.client.clone(), &site.world.system);
    let spec = policies.get(names::OPERATOR).await?.spec.context("a policy without a spec")?;

    let selector = spec.pod_selector.context("it is for all pods")?;
    ensure!(selector.match_labels.is_none(), "the test does not know this");
    let terms = selector.match_expressions.unwrap_or_default();
    let terms = terms
        .into_iter()
        .map(|term| format!("{} {} ({})", term.key, term.operator.to_lowercase(), term.values.unwrap_or_default().join(",")));
    let selector = terms.collect::<Vec<_>>().join(",");
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(site.world.client.clone(), &site.world.system);
    let selected: BTreeSet<String> = pods.list(&ListParams::default().labels(&selector)).await?.iter().map(ResourceExt::name_any).collect();
    let operators: BTreeSet<String> = site.ready_pods(2).await?.iter().map(ResourceExt::name_any).collect();
    assert_eq!(selected, operators, "selected by {selector}");

    // A call that takes a while is seen under way.
    site.world.sandbox.inject(Fault::slow(Duration::from_secs(3)).on(Call::Issue).once())?;
    site.world.patch("speech", &json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: "now" } } })).await?;
    let revoiceit = site.world.sandbox.addresses().api.port();
    let mut used = Ports::default();
    eventually("connections to the API server and to Revoiceit", GENEROUS, async || {
        for pod in &operators {
            let ports = site.node.ports(&container(&site, pod).await?.0)?;
            used.listening.extend(ports.listening);
            used.remote.extend(ports.remote);
        }
        ensure!(used.remote.is_superset(&BTreeSet::from([443, revoiceit])), "{used:?}");
        anyhow::Ok(())
    })
    .await?;
    used.remote.extend(DNS);
    let (ingress, egress) = (spec.ingress.unwrap_or_default(), spec.egress.unwrap_or_default());
    assert_eq!(numbers(ingress.into_iter().flat_map(|rule| rule.ports.unwrap_or_default()))?, used.listening);
    assert_eq!(numbers(egress.into_iter().flat_map(|rule| rule.ports.unwrap_or_default()))?, used.remote);
    site.end().await
}

fn numbers(ports: impl Iterator<Item = NetworkPolicyPort>) -> Result<BTreeSet<u16>> {
    ports
        .map(|port| match port.port {
            Some(IntOrString::Int(number)) if port.end_port.is_none() => Ok(u16::try_from(number)?),
            port => anyhow::bail!("the test does not know the port {port:?}"),
        })
        .collect()
}
