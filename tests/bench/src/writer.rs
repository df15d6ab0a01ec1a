//! The bare writer: just the writes that the work needs, and the call, with nothing read and nothing decided.
//!
//! What it takes is what the API server takes. It keeps none of the operator's promises: a crash loses tokens, a second copy of it mints twice, and
//! its writes are conditional on nothing.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result};
use kube::Client;
use revoiceit_harness::cluster::client_for;
use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

use crate::{
    crowd::{CONCURRENCY, client_id, target},
    site::{SYSTEM, TENANT},
};

/// What it prints when it waits for the signal to begin.
pub(crate) const PREPARED: &str = "prepared";

/// How it is called.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As whom it writes.
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Where Revoiceit is.
    #[arg(long)]
    api_url: String,
}

/// One resource that is there.
struct Resource {
    name: String,
    number: usize,
    uid: String,
}

struct Writer {
    client: Client,
    revoiceit: reqwest::Client,
    api_url: String,
    resources: Vec<Resource>,
    next: AtomicUsize,
}

/// Finds the resources, waits for SIGUSR1, and writes.
pub(crate) async fn run(args: &Args) -> Result<()> {
    revoiceit_harness::install_crypto_provider();
    let mut begin = signal(SignalKind::user_defined1())?;
    let client = client_for(&args.kubeconfig).await?;
    let resources = list(&client).await?;
    let revoiceit = reqwest::Client::builder().no_proxy().build()?;
    let writer = Arc::new(Writer { client, revoiceit, api_url: args.api_url.clone(), resources, next: AtomicUsize::new(0) });
    println!("{PREPARED}");
    begin.recv().await;
    let mut tasks = JoinSet::new();
    for _ in 0..CONCURRENCY {
        let writer = writer.clone();
        tasks.spawn(async move {
            while let Some(resource) = writer.resources.get(writer.next.fetch_add(1, Ordering::Relaxed)) {
                writer.write(resource).await.with_context(|| resource.name.clone())?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

async fn list(client: &Client) -> Result<Vec<Resource>> {
    let uri = format!("/apis/revoiceit.com/v1/namespaces/{TENANT}/revoiceitcredentials");
    let list: Value = serde_json::from_str(&client.request_text(http::Request::get(uri).body(Vec::new())?).await?)?;
    let read = |item: &Value| {
        let name = item["metadata"]["name"].as_str()?.to_owned();
        let number = name.rsplit_once('-')?.1.parse().ok()?;
        Some(Resource { number, uid: item["metadata"]["uid"].as_str()?.to_owned(), name })
    };
    list["items"].as_array().context("no items")?.iter().map(|item| read(item).context("a resource without name or uid")).collect()
}

impl Writer {
    async fn write(&self, resource: &Resource) -> Result<()> {
        let Resource { name, number, uid } = resource;
        let (ledgers, secrets) = (format!("/api/v1/namespaces/{SYSTEM}/secrets"), format!("/api/v1/namespaces/{TENANT}/secrets"));
        let itself = format!("/apis/revoiceit.com/v1/namespaces/{TENANT}/revoiceitcredentials/{name}");
        self.send("POST", &ledgers, ledger(resource, &Value::Null)).await?;
        self.send("PATCH", &itself, claim(uid)).await?;
        let tokens = self.issue(*number).await?;
        self.send("PUT", &format!("{ledgers}/rvc-{uid}"), ledger(resource, &tokens)).await?;
        self.send("POST", &secrets, delivered(resource, &tokens)).await?;
        self.send("PATCH", &format!("{itself}/status"), status()).await
    }

    async fn send(&self, method: &str, uri: &str, body: Value) -> Result<()> {
        let form = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let uri = format!("{uri}?fieldManager=bare-writer");
        let request = http::Request::builder().method(method).uri(&uri).header(http::header::CONTENT_TYPE, form);
        self.client.request_text(request.body(body.to_string().into())?).await.with_context(|| format!("{method} {uri}"))?;
        Ok(())
    }

    async fn issue(&self, number: usize) -> Result<Value> {
        let pair = json!({ "clientId": client_id(number), "clientSecret": format!("secret-of-client-{number}") });
        let request = self.revoiceit.post(format!("{}/auth/token", self.api_url)).header("content-type", "application/json");
        let answer = request.body(pair.to_string()).send().await?.error_for_status()?;
        Ok(serde_json::from_str(&answer.text().await?)?)
    }
}

/// A Secret as large as the operator's ledgers.
fn ledger(Resource { name, number, uid }: &Resource, tokens: &Value) -> Value {
    let now = "2026-01-01T00:00:00.123456789Z";
    let digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let record = json!({
        "format": 1, "home": uid, "issuer": "http://127.0.0.1:8080", "resource": { "namespace": TENANT, "name": name, "uid": uid },
        "claimed": true, "closed": false, "retiring": [], "suspects": { "lost": 0, "ledgerLost": false, "disputed": 0 },
        "live": { "revision": 1, "refresh": tokens["refreshToken"], "access": tokens["accessToken"], "sentAt": now, "expiresAt": now,
            "source": digest, "sourceVersion": "1234" },
        "intent": { "call": "issue", "cause": "first", "source": digest, "stamp": digest, "until": now },
        "failedIssue": null, "failedRefresh": null, "targets": [{ "name": target(*number), "leftAt": null }],
        "nextRevision": 2, "nextIssue": now, "rotates": false, "handledRequest": null, "deadlineSeconds": 300,
    });
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "revoiceit.com/ledger",
        "metadata": {
            "name": format!("rvc-{uid}"), "annotations": { "revoiceit.com/resource": format!("{TENANT}/{name}") },
            "labels": { "app.kubernetes.io/managed-by": "revoiceit-operator", "velero.io/exclude-from-backup": "true" },
        },
        "stringData": { "record": record.to_string() },
    })
}

fn claim(uid: &str) -> Value {
    json!({ "metadata": { "finalizers": ["revoiceit.com/revoke"], "annotations": { "revoiceit.com/ledger": format!("{SYSTEM}/{uid}") } } })
}

fn delivered(Resource { name, number, uid }: &Resource, tokens: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": target(*number), "labels": { "app.kubernetes.io/managed-by": "revoiceit-operator" },
            "annotations": { "revoiceit.com/resource": name },
            "ownerReferences": [{ "apiVersion": "revoiceit.com/v1", "kind": "RevoiceitCredential", "name": name, "uid": uid }],
        },
        "stringData": { "accessToken": tokens["accessToken"] },
    })
}

fn status() -> Value {
    let now = "2026-01-01T00:00:00Z";
    json!({ "status": {
        "observedGeneration": 1, "revision": 1, "issuedAt": now, "refreshAt": now, "expiresAt": now, "pendingRevocations": 0, "suspectedLost": 0,
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "TokenReady", "observedGeneration": 1, "lastTransitionTime": now,
            "message": "The Secret holds a valid access token and it is refreshed before it expires.",
        }],
    } })
}
