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

/// So many ledgers are listed at a time: the whole list would be the largest thing that the process ever holds.
const PAGE: u32 = 500;

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
    let mut page = ListParams::default().fields(&format!("type={}", names::LEDGER_TYPE)).limit(PAGE);
    // Those that are not listed any more are gone. What a pass says meanwhile of others stands.
    let mut not_listed = cx.facts.all_unattended();
    let mut number = 0;
    let mut found = Unattended { gone: Vec::new(), nameless: Vec::new() };
    loop {
        let listed = ledgers.list(&page).await.map_err(|error| Error::ListLedgers(error.into()))?;
        for ledger in &listed.items {
            let name = ledger.name_any();
            let Some(uid) = name.strip_prefix(names::LEDGER_PREFIX) else { continue };
            number += 1;
            not_listed.remove(uid);
            if cx.watched.has(uid) {
                cx.facts.unattended(uid, false);
                continue;
            }
            match id_of(cx, ledger, &name, uid).await? {
                Some(id) => found.gone.push(Arc::new(id)),
                None => {
                    cx.facts.unattended(uid, true);
                    tracing::warn!(ledger = name, "nothing tells which resource a ledger is for: its annotation and its record are broken");
                    found.nameless.push(name);
                }
            }
        }
        page.continue_token = listed.metadata.continue_.filter(|token| !token.is_empty());
        if page.continue_token.is_none() {
            break;
        }
    }
    for uid in not_listed {
        cx.facts.unattended(&uid, false);
    }
    tracing::info!(ledgers = number, without_resource = found.gone.len() + found.nameless.len(), "ledgers swept");
    Ok(found)
}

/// Which resource a ledger is for: its annotation says it, and if somebody removed that, its record does too.
async fn id_of<A: Auth>(
    cx: &Context<A>,
    ledger: &Tolerant<PartialObjectMeta<Secret>>,
    name: &str,
    uid: &str,
) -> Result<Option<ResourceId>, Error> {
    match ledger.annotations().get(names::RESOURCE_ANNOTATION).and_then(|of| of.split_once('/')) {
        Some((namespace, name)) => Ok(Some(ResourceId { namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.to_owned() })),
        None => Ok(read_id(cx, name).await?.filter(|id| id.uid == uid)),
    }
}

async fn read_id<A: Auth>(cx: &Context<A>, ledger: &str) -> Result<Option<ResourceId>, Error> {
    let read = look::get(&cx.secrets(&cx.place.operator_namespace), ledger).await.map_err(Error::ReadLedger)?;
    Ok(read.and_then(|secret| Record::resource(&secret.0.ok()?.data?.get(names::LEDGER_KEY)?.0)))
}
