//! Ledgers whose resource is gone: found by listing them, since nothing else tells of what happened while no operator ran.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{ListParams, PartialObjectMeta},
};

use super::{context::Context, error::Error, look, tolerant::Tolerant};
use crate::{
    api::names,
    planner::{Record, ResourceId},
    revoiceit::Auth,
};

/// Puts every ledger without a resource into the queue.
pub(super) async fn sweep<A: Auth>(cx: &Context<A>) -> Result<(), Error> {
    for id in unattended(cx).await?.gone {
        cx.watched.wake_gone(id);
    }
    Ok(())
}

/// Ledgers without a resource.
pub(super) struct Unattended {
    /// What they are for.
    pub(super) gone: Vec<Arc<ResourceId>>,
    /// The names of those of which nothing tells that.
    pub(super) nameless: Vec<String>,
}

/// What ledgers without a resource are for. Metadata only: no token is read, but of a ledger that has lost its annotation.
pub(super) async fn unattended<A: Auth>(cx: &Context<A>) -> Result<Unattended, Error> {
    let ledgers: Api<Tolerant<PartialObjectMeta<Secret>>> = Api::namespaced(cx.client.clone(), &cx.place.operator_namespace);
    let only = ListParams::default().fields(&format!("type={}", names::LEDGER_TYPE));
    let listed = ledgers.list(&only).await.map_err(|error| Error::ListLedgers(error.into()))?;
    let names: Vec<String> = listed.items.iter().map(ResourceExt::name_any).collect();
    cx.facts.ledgers(&names.iter().filter_map(|name| name.strip_prefix(names::LEDGER_PREFIX)).collect());
    let mut found = Unattended { gone: Vec::new(), nameless: Vec::new() };
    for (ledger, name) in listed.items.iter().zip(&names) {
        let Some(uid) = name.strip_prefix(names::LEDGER_PREFIX) else { continue };
        if cx.watched.has(uid) {
            cx.facts.unattended(uid, false);
            continue;
        }
        let named = ledger.annotations().get(names::RESOURCE_ANNOTATION).and_then(|of| of.split_once('/'));
        let id = match named {
            Some((namespace, name)) => Some(ResourceId { namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.to_owned() }),
            // Somebody removed the annotation. The record says it too.
            None => read_id(cx, name).await?.filter(|id| id.uid == uid),
        };
        match id {
            Some(id) => found.gone.push(Arc::new(id)),
            None => {
                found.nameless.push(name.clone());
                cx.facts.unattended(uid, true);
                tracing::warn!(ledger = name, "nothing tells which resource a ledger is for: its annotation and its record are broken");
            }
        }
    }
    tracing::info!(ledgers = names.len(), without_resource = found.gone.len() + found.nameless.len(), "ledgers swept");
    Ok(found)
}

async fn read_id<A: Auth>(cx: &Context<A>, ledger: &str) -> Result<Option<ResourceId>, Error> {
    let read = look::get(&cx.secrets(&cx.place.operator_namespace), ledger).await.map_err(Error::ReadLedger)?;
    Ok(read.and_then(|secret| Record::resource(&secret.0.ok()?.data?.get(names::LEDGER_KEY)?.0)))
}
