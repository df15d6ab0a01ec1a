//! What tests look at: calls, events, messages, and what the ledgers hold against what Revoiceit knows.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::{RevoiceitCredential, names};
use revoiceit_sandbox::{Call, Delivery};
use serde_json::{Value, json};

use crate::world::{CANARY, World, merge};

/// A resource of its own client, made by the API: for tests with many of them.
impl World {
    /// The id of the client that [`World::own`] or [`World::credentials`] made.
    pub(crate) fn client_of(&self, name: &str) -> String {
        format!("{name}-of-{}", self.tenant)
    }

    /// Client, credentials and resource of this name, with the target `<name>-token`.
    pub(crate) async fn own(&self, name: &str, spec: Value) -> Result<()> {
        let (id, secret) = (self.client_of(name), format!("{CANARY}-{name}"));
        self.sandbox.add_client(&id, &secret);
        let pair = json!({ "metadata": { "name": name }, "stringData": { "clientId": id, "clientSecret": secret } });
        self.secrets().create(&PostParams::default(), &serde_json::from_value(pair)?).await?;
        let mut whole = json!({ "credentialsSecretRef": { "name": name }, "target": { "name": format!("{name}-token") } });
        merge(&mut whole, spec);
        let resource = json!({ "apiVersion": "revoiceit.com/v1", "kind": names::KIND, "metadata": { "name": name }, "spec": whole });
        self.resources().create(&PostParams::default(), &serde_json::from_value(resource)?).await?;
        Ok(())
    }

    /// The token in the target of such a resource.
    pub(crate) async fn own_token(&self, name: &str) -> Result<String> {
        self.token(&format!("{name}-token")).await
    }
}

impl World {
    /// How many issues, refreshes and revocations there were.
    pub(crate) fn calls(&self) -> (usize, usize, usize) {
        (self.sandbox.count(Call::Issue, 0), self.sandbox.count(Call::Refresh, 0), self.sandbox.count(Call::Revoke, 0))
    }

    /// The record in the ledger of a resource.
    pub(crate) async fn record(&self, name: &str) -> Result<Value> {
        let uid = self.get(name).await?.uid().context("it has no UID")?;
        let ledgers: Api<Secret> = Api::namespaced(self.client.clone(), &self.system);
        let ledger = ledgers.get(&names::ledger_name(&uid)).await?;
        Ok(serde_json::from_slice(&ledger.data.unwrap_or_default().get(names::LEDGER_KEY).context("no record in it")?.0)?)
    }

    /// How many refresh tokens a resource's status says may be lost.
    pub(crate) async fn suspected_lost(&self, name: &str) -> Result<i32> {
        Ok(self.get(name).await?.status.and_then(|status| status.suspected_lost).unwrap_or_default())
    }

    /// Waits until the events about a resource are these and no others, as `Type Reason`, in the order of the alphabet.
    pub(crate) async fn told(&self, name: &str, expected: &[&str]) -> Result<()> {
        eventually(&format!("the events about {name} to be {expected:?}"), GENEROUS, async || {
            let told = self.events(name).await?;
            ensure!(told == expected, "they are {told:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// Waits until this is among them.
    pub(crate) async fn is_told(&self, name: &str, expected: &str) -> Result<()> {
        eventually(&format!("the events about {name} to have {expected}"), GENEROUS, async || {
            let told = self.events(name).await?;
            ensure!(told.iter().any(|told| told == expected), "they are {told:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    async fn events(&self, name: &str) -> Result<Vec<String>> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.tenant);
        let about = |event: &Event| event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref()) == Some(name);
        let word = |event: Event| format!("{} {}", event.type_.unwrap_or_default(), event.reason.unwrap_or_default());
        let mut told: Vec<String> = events.list(&ListParams::default()).await?.items.into_iter().filter(about).map(word).collect();
        told.sort();
        Ok(told)
    }

    /// Every refresh token that lives is in a ledger, or covered by what the resources say may be lost; every one that came through is in a
    /// ledger or ended. To be called at rest.
    pub(crate) async fn nothing_is_forgotten(&self) -> Result<()> {
        let (kept, truth) = (self.kept().await?, self.sandbox.truth());
        let missing: Vec<_> = truth.live_refresh_tokens().filter(|token| !kept.contains(token.token.as_str())).collect();
        let mut resources = Vec::new();
        for namespace in &self.tenants {
            let of_tenant: Api<RevoiceitCredential> = Api::namespaced(self.client.clone(), namespace);
            resources.extend(of_tenant.list(&ListParams::default()).await?.items);
        }
        let suspected: i32 = resources.iter().filter_map(|resource| resource.status.as_ref()?.suspected_lost).sum();
        ensure!(missing.len() <= usize::try_from(suspected)?, "{} live tokens are in no ledger, {suspected} suspected", missing.len());
        let came_through = missing.iter().filter(|token| token.delivery == Delivery::Delivered).count();
        ensure!(came_through == 0, "{came_through} tokens were answered and forgotten");
        Ok(())
    }

    /// What is in all ledgers.
    pub(crate) async fn kept(&self) -> Result<String> {
        Ok(self.kept_each().await?.concat())
    }

    /// What each Secret in the operator's namespace holds, as it is.
    async fn kept_each(&self) -> Result<Vec<String>> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.system);
        let values = secrets.list(&ListParams::default()).await?.items.into_iter().flat_map(|secret| secret.data.unwrap_or_default());
        Ok(values.map(|(_, value)| String::from_utf8_lossy(&value.0).into_owned()).collect())
    }

    /// Every record.
    pub(crate) async fn records(&self) -> Result<Vec<Value>> {
        Ok(self.kept_each().await?.iter().filter_map(|value| serde_json::from_str(value).ok()).collect())
    }
}

/// The message of the Ready condition.
pub(crate) fn message(resource: &RevoiceitCredential) -> &str {
    let conditions = resource.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions.iter().find(|condition| condition.type_ == "Ready").map_or("", |condition| condition.message.as_str())
}
