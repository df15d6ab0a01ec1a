//! Ledgers whose resource is gone: found by listing them, since nothing else tells of what happened while no operator ran.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{ListParams, PartialObjectMeta},
};

use super::{context::Context, error::Error, tolerant::Tolerant};
use crate::{api::names, planner::ResourceId, revoiceit::Auth};

/// Puts every ledger without a resource into the queue. Metadata only: no token is read.
pub(super) async fn sweep<A: Auth>(cx: &Context<A>) -> Result<(), Error> {
    let ledgers: Api<Tolerant<PartialObjectMeta<Secret>>> = Api::namespaced(cx.client.clone(), &cx.place.operator_namespace);
    let only = ListParams::default().fields(&format!("type={}", names::LEDGER_TYPE));
    let listed = ledgers.list(&only).await.map_err(|error| Error::ListLedgers(error.into()))?;
    let mut unattended = 0;
    for ledger in &listed.items {
        let name = ledger.name_any();
        let Some(uid) = name.strip_prefix(names::LEDGER_PREFIX) else { continue };
        if cx.watched.resource(uid).is_some() {
            continue;
        }
        unattended += 1;
        match ledger.annotations().get(names::RESOURCE_ANNOTATION).and_then(|of| of.split_once('/')) {
            Some((namespace, name)) => {
                let id = ResourceId { namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.to_owned() };
                cx.watched.wake_gone(Arc::new(id));
            }
            None => tracing::warn!(ledger = name, "a ledger does not say which resource it is for: its annotation was removed"),
        }
    }
    cx.facts.ledgers_unattended(unattended);
    tracing::info!(ledgers = listed.items.len(), unattended, "ledgers swept");
    Ok(())
}
