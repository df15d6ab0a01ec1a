//! Many resources, and when they are ready.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use revoiceit_sandbox::Sandbox;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::site::TENANT;

/// Requests that are under way at a time, here and in the bare writer.
pub(crate) const CONCURRENCY: usize = 32;

/// The credentials Secrets of these resources.
pub(crate) async fn credentials(client: &Client, numbers: Range<usize>) -> Result<()> {
    create(client, &format!("/api/v1/namespaces/{TENANT}/secrets"), numbers, |number| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": format!("client-{number}") },
            "stringData": { "clientId": client_id(number), "clientSecret": format!("secret-of-client-{number}") },
        })
    })
    .await
}

/// The resources themselves.
pub(crate) async fn resources(client: &Client, numbers: Range<usize>) -> Result<()> {
    create(client, &format!("/apis/revoiceit.com/v1/namespaces/{TENANT}/revoiceitcredentials"), numbers, |number| {
        json!({
            "apiVersion": "revoiceit.com/v1", "kind": "RevoiceitCredential", "metadata": { "name": name(number) },
            "spec": { "credentialsSecretRef": { "name": format!("client-{number}") }, "target": { "name": target(number) } },
        })
    })
    .await
}

/// The name of a resource.
pub(crate) fn name(number: usize) -> String {
    format!("speech-{number}")
}

/// The name of its target.
pub(crate) fn target(number: usize) -> String {
    format!("token-{number}")
}

/// Its client at Revoiceit.
pub(crate) fn client_id(number: usize) -> String {
    format!("client-{number}-at-revoiceit")
}

/// Creates these objects, so many at a time.
pub(crate) async fn create(client: &Client, uri: &str, numbers: Range<usize>, object: impl Fn(usize) -> Value) -> Result<()> {
    let requests = numbers.map(|number| Ok(object(number)));
    stream::iter(requests)
        .try_for_each_concurrent(CONCURRENCY, async |object: Value| {
            let request =
                http::Request::post(uri).header(http::header::CONTENT_TYPE, "application/json").body(object.to_string().into())?;
            client.request_text(request).await.with_context(|| format!("creating {}", object["metadata"]["name"]))?;
            Ok(())
        })
        .await
}

/// Somebody who watches the resources, and counts those that have become ready.
pub(crate) struct Audience {
    ready: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Audience {
    /// Begins to watch.
    pub(crate) fn of(client: Client) -> Self {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("revoiceit.com", "v1", "RevoiceitCredential"));
        let api: Api<DynamicObject> = Api::namespaced_with(client, TENANT, &kind);
        let (tell, ready) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut names = HashSet::new();
            let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
            while let Some(event) = events.next().await {
                if let Ok(Event::Apply(object) | Event::InitApply(object)) = event
                    && is_ready(&object.data)
                {
                    names.insert(object.name_any());
                    tell.send_replace(names.len());
                }
            }
        });
        Self { ready, task }
    }

    /// Waits until so many are.
    pub(crate) async fn sees(&mut self, count: usize, limit: Duration) -> Result<Instant> {
        let waited = timeout(limit, self.ready.wait_for(|ready| *ready >= count)).await.map(|ready| ready.map(|ready| *ready));
        let seen = *self.ready.borrow();
        waited.with_context(|| format!("{seen} of {count} resources are ready after {limit:?}"))?.context("the watch has ended")?;
        Ok(Instant::now())
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_ready(data: &Value) -> bool {
    let conditions = data["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Each target holds the token of its own client, and no more were issued than there are resources.
pub(crate) async fn one_right_token_each(client: &Client, sandbox: &Sandbox, count: usize) -> Result<()> {
    let uri = format!("/api/v1/namespaces/{TENANT}/secrets?fieldSelector=type%3DOpaque");
    let text = client.request_text(http::Request::get(uri).body(Vec::new())?).await?;
    let secrets: Value = serde_json::from_str(&text)?;
    let truth = sandbox.truth();
    ensure!(truth.lines.len() == count, "{} tokens were issued for {count} resources", truth.lines.len());
    let tokens = truth.lines.iter().flat_map(|line| line.access.iter().map(|access| (access.token.as_str(), line.client.as_str())));
    let owners: HashMap<&str, &str> = tokens.collect();
    let mut right = 0;
    for secret in secrets["items"].as_array().context("no list of Secrets")? {
        let Some(number) = secret["metadata"]["name"].as_str().and_then(|name| name.strip_prefix("token-")?.parse().ok()) else { continue };
        let token = decoded(&secret["data"]["accessToken"]).context("a target without a token")?;
        ensure!(owners.get(token.as_str()) == Some(&client_id(number).as_str()), "token-{number} holds a token of somebody else");
        right += 1;
    }
    ensure!(right == count, "{right} targets of {count} resources");
    Ok(())
}

/// The text that base64 stands for, as k8s-openapi reads it.
fn decoded(value: &Value) -> Option<String> {
    let bytes: k8s_openapi::ByteString = serde_json::from_value(value.clone()).ok()?;
    String::from_utf8(bytes.0).ok()
}
