//! The watches: one task for each kind and namespace, so that none that fails keeps another from being heard.

use std::{future::ready, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::{
    error::ApiTrouble,
    index::{Scope, Watched},
    tolerant::Tolerant,
};
use crate::{api::RevoiceitCredential, runtime::admin::Check};

/// Secrets that can be neither credentials nor targets, and those that nobody but the operator has: left out by the server.
const SECRETS: &str = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token,type!=revoiceit.com/ledger";

/// That a watch has seen all there is, for once at least.
#[derive(Clone, Debug)]
pub struct Synced {
    check: Check,
    token: CancellationToken,
}

impl Synced {
    /// Not yet; `check` is what readiness says.
    pub fn new(check: Check) -> Self {
        Self { check, token: CancellationToken::new() }
    }

    /// Cancelled when it is.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    fn reached(&self) {
        self.check.set(true);
        self.token.cancel();
    }
}

/// Follows the resources of a namespace, or of all, for ever.
pub async fn resources(client: Client, scope: Scope, watched: Arc<Watched>, synced: Synced) {
    let api: Api<Tolerant<RevoiceitCredential>> = scoped(client, &scope);
    follow(api, watcher::Config::default(), "RevoiceitCredentials", synced, |event| watched.on_resource(&scope, event)).await;
}

/// Follows the Secrets of a namespace, or of all, for ever: names and versions only.
pub async fn secrets(client: Client, scope: Scope, watched: Arc<Watched>, synced: Synced) {
    let api: Api<Tolerant<PartialObjectMeta<Secret>>> = scoped(client, &scope);
    let config = watcher::Config::default().fields(SECRETS);
    follow(api, config, "Secrets", synced, |event| watched.on_secret(&scope, event_of(event))).await;
}

fn scoped<K>(client: Client, scope: &Scope) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match &scope.namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

fn event_of(event: Event<Tolerant<PartialObjectMeta<Secret>>>) -> Event<(String, String, String)> {
    let key = |secret: Tolerant<PartialObjectMeta<Secret>>| {
        (secret.namespace().unwrap_or_default(), secret.name_any(), secret.resource_version().unwrap_or_default())
    };
    match event {
        Event::Init => Event::Init,
        Event::InitApply(secret) => Event::InitApply(key(secret)),
        Event::InitDone => Event::InitDone,
        Event::Apply(secret) => Event::Apply(key(secret)),
        Event::Delete(secret) => Event::Delete(key(secret)),
    }
}

async fn follow<K>(api: Api<K>, config: watcher::Config, kind: &'static str, synced: Synced, mut on: impl FnMut(Event<K>))
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let mut events = std::pin::pin!(backed_off(watcher(api, config)));
    let mut is_listing = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                // The stream has its Init taken out: the first object, or the end, of a listing begins it.
                if !is_listing && matches!(event, Event::InitApply(_) | Event::InitDone) {
                    is_listing = true;
                    on(Event::Init);
                }
                if matches!(event, Event::InitDone) {
                    is_listing = false;
                    on(event);
                    synced.reached();
                    tracing::info!(kind, "watch is in sync");
                } else {
                    on(event);
                }
            }
            Err(error) => {
                // A listing that broke off is begun anew.
                is_listing = false;
                tracing::warn!(kind, error = trouble(error), "watch failed, tried again");
            }
        }
    }
}

/// kube yields an `Ok(Init)` before each LIST, which would reset the backoff of a LIST that keeps failing. And a watch that has expired is
/// listed anew by itself: that is no failure to back off from.
fn backed_off<K>(events: impl Stream<Item = watcher::Result<Event<K>>> + Send) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Send,
{
    let backoff = backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times();
    events
        .filter(|event| ready(!matches!(event, Ok(Event::Init))))
        .filter(|event| ready(!matches!(event, Err(watcher::Error::WatchError(status)) if status.code == 410)))
        .backoff(watcher::ExponentialBackoff::from(backoff))
}

fn trouble(error: watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            ApiTrouble::from(error).to_string()
        }
        watcher::Error::WatchError(status) => format!("HTTP {}", status.code),
        watcher::Error::NoResourceVersion => "the server's list has no resourceVersion".to_owned(),
    }
}
