//! Reading what a pass decides from.
//!
//! The order of the reads is part of the protocol: *targets, then ledger, then resource and credentials*, each after the reply to the one before.
//! What is compared with the ledger and can be overwritten comes before it: a write is conditional on what was read, so a target that was read
//! after an old ledger would be overwritten with an old token. What the ledger is measured against comes after it: old credentials beside a new
//! ledger would look like changed ones.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{ListParams, PartialObjectMeta},
};

use super::{
    classify,
    context::Context,
    error::{ApiTrouble, Error},
    index::Seen,
    tolerant::Tolerant,
};
use crate::{
    api::{RevoiceitCredential, names},
    planner::{self, Claim, Ledger, Look, Name, Observed, Resource, Source, Target, Version},
    revoiceit::Auth,
};

/// The first of a pass: enough to queue for a permit or to rest on, not to act on.
pub(super) struct Glance {
    pub(super) look: Look,
    /// Of a resource that is certainly new, and without a GET: nobody has claimed it or said anything of it, so there is hardly a ledger, and hardly
    /// a target. Not to rest on.
    pub(super) is_guessed: bool,
}

/// The resource from the cache, ledger and targets by GET. `None` where the cache does not have it as a resource that is wanted, or
/// does not keep it.
pub(super) async fn glance<A: Auth>(cx: &Context<A>, seen: &Observed) -> Result<Option<Glance>, Error> {
    let Some(cached) = cx.watched.resource(&seen.id.uid) else { return Ok(None) };
    let sighted = Observed { resource: classify::resource(cached.into(), &seen.id.uid), ..seen.clone() };
    let Resource::Wanted(wanted) = &sighted.resource else { return Ok(None) };
    let (name, source) = (Name::new(&wanted.spec.target.name), indexed(cx, seen, wanted));
    let is_guessed = wanted.status.is_none() && sighted.claim() == Claim::None;
    let mut targets = BTreeMap::new();
    let (ledger, quarrel) = if is_guessed {
        targets.insert(name, Target::Absent);
        (Ledger::Absent, None)
    } else {
        read_target(cx, seen, name, &mut targets).await?;
        let ledger = read_ledger(cx, seen).await?;
        for name in listed(&ledger) {
            read_target(cx, seen, name, &mut targets).await?;
        }
        (ledger, cx.repairs.quarrel(&seen.id.uid, &seen.policy))
    };
    Ok(Some(Glance { look: Look { began_at: None, resource: sighted.resource, ledger, source, targets, quarrel }, is_guessed }))
}

/// The credentials, as far as the index of the watch knows them.
fn indexed<A: Auth>(cx: &Context<A>, seen: &Observed, wanted: &RevoiceitCredential) -> Source {
    match cx.watched.secret(&seen.id.namespace, &wanted.spec.credentials_secret_ref.name) {
        Seen::At(version) => Source::Unread { version: Version::new(&*version) },
        Seen::Absent => Source::Missing,
        // No version is empty: a look has to tell.
        Seen::Unknown => Source::Unread { version: Version::new("") },
    }
}

/// Everything, in order. The names of the targets come from the cache and from every earlier sight of this pass; when ledger or resource name
/// one that was not read, or one was written since it was, all is read again.
pub(super) async fn look<A: Auth>(cx: &Context<A>, seen: &Observed) -> Result<Look, Error> {
    let mut wanted_names: BTreeSet<Name> = seen.targets.keys().cloned().collect();
    wanted_names.extend(cx.watched.target(&seen.id.uid));
    let finalizer_seen = seen.finalizer_seen || seen.claim() == Claim::Ours;
    loop {
        let began_at = cx.now();
        let mut targets = BTreeMap::new();
        for name in wanted_names.clone() {
            read_target(cx, seen, name, &mut targets).await?;
        }
        let ledger = read_ledger(cx, seen).await?;
        let is_lost = finalizer_seen && matches!(ledger, Ledger::Absent);
        let found = if is_lost { find_targets(cx, seen).await? } else { BTreeSet::new() };
        // What a LIST has found and was not there when it was read was written in between: no new ledger would have its name.
        let is_late = found.iter().any(|name| matches!(targets.get(name), Some(Target::Absent)));
        let mut named = listed(&ledger);
        named.extend(found);
        let resource = read_resource(cx, seen, &ledger).await?;
        if let Resource::Wanted(wanted) = &resource {
            named.insert(Name::new(&wanted.spec.target.name));
        }
        if is_late || !named.is_subset(&wanted_names) {
            wanted_names.extend(named);
            continue;
        }
        let sighted = Observed { resource, ledger, ..seen.clone() };
        let source = read_source(cx, &sighted).await?;
        let quarrel = cx.repairs.quarrel(&seen.id.uid, &seen.policy);
        return Ok(Look { began_at: Some(began_at), resource: sighted.resource, ledger: sighted.ledger, source, targets, quarrel });
    }
}

fn listed(ledger: &Ledger) -> BTreeSet<Name> {
    match ledger {
        Ledger::Here { record, .. } => record.targets.iter().map(|target| target.name.clone()).collect(),
        Ledger::Absent | Ledger::Unusable(_) => BTreeSet::new(),
    }
}

async fn read_target<A: Auth>(cx: &Context<A>, seen: &Observed, name: Name, targets: &mut BTreeMap<Name, Target>) -> Result<(), Error> {
    if targets.contains_key(&name) {
        return Ok(());
    }
    let read = get(&cx.secrets(&seen.id.namespace), name.as_str()).await.map_err(Error::ReadTarget)?;
    let writer = read.as_ref().and_then(|secret| secret.last_writer()).filter(|writer| *writer != names::OPERATOR).map(str::to_owned);
    let target = read.map_or(Target::Absent, |secret| classify::target(secret, &seen.id));
    if let (Target::Ours { .. }, Some(writer)) = (&target, writer) {
        cx.repairs.written_by(&seen.id.uid, &writer, cx.now());
    }
    targets.insert(name, target);
    Ok(())
}

async fn read_ledger<A: Auth>(cx: &Context<A>, seen: &Observed) -> Result<Ledger, Error> {
    let name = names::ledger_name(&seen.id.uid);
    let read = get(&cx.secrets(&cx.place.operator_namespace), &name).await.map_err(Error::ReadLedger)?;
    Ok(read.map_or(Ledger::Absent, |secret| classify::ledger(secret, &cx.place, &seen.id)))
}

/// A Secret, or that there is none. A 404 without the API server's word on this very object is trouble.
pub(super) async fn get(secrets: &Api<Tolerant<Secret>>, name: &str) -> Result<Option<Tolerant<Secret>>, ApiTrouble> {
    match secrets.get(name).await {
        Ok(secret) => Ok(Some(secret)),
        Err(kube::Error::Api(status)) if classify::says_not_found(&status, name) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The targets of a lost ledger, by their annotation. The one LIST that a pass ever makes.
async fn find_targets<A: Auth>(cx: &Context<A>, seen: &Observed) -> Result<BTreeSet<Name>, Error> {
    let secrets: Api<Tolerant<PartialObjectMeta<Secret>>> = Api::namespaced(cx.client.clone(), &seen.id.namespace);
    let found = secrets.list(&ListParams::default()).await.map_err(|error| Error::ListTargets(error.into()))?;
    let is_ours =
        |secret: &Tolerant<PartialObjectMeta<Secret>>| secret.annotations().get(names::RESOURCE_ANNOTATION) == Some(&seen.id.name);
    Ok(found.items.iter().filter(|secret| is_ours(secret)).map(|secret| Name::new(secret.name_any())).collect())
}

async fn read_resource<A: Auth>(cx: &Context<A>, seen: &Observed, ledger: &Ledger) -> Result<Resource, Error> {
    let (uid, name) = (&seen.id.uid, &seen.id.name);
    let resources = cx.resources(&seen.id.namespace);
    let is_old_news = match resources.get(name).await {
        Ok(found) => return Ok(found_resource(cx, classify::resource(found, uid), uid)),
        // As long as the watch has it, it may be the watch that is late, or the GET that is wrong: the time counts from when both agree.
        Err(kube::Error::Api(status)) if classify::says_not_found(&status, name) && cx.watched.has(uid) => {
            return Ok(found_resource(cx, Resource::NotFound { proven: false }, uid));
        }
        Err(kube::Error::Api(status)) if classify::says_not_found(&status, name) => cx.absences.not_found(uid, cx.now(), &cx.policy),
        // Whether another has its name by now, such a page does not tell: what that one's pods may read is left alone.
        Err(kube::Error::Api(status)) if status.code == 404 && has_seen_its_end(cx, seen, ledger) => return Ok(Resource::Replaced),
        Err(kube::Error::Api(status)) if status.code == 404 => return Err(Error::NotServed),
        Err(error) => return Err(Error::ReadResource(error.into())),
    };
    if !is_old_news {
        return Ok(Resource::NotFound { proven: false });
    }
    let only = ListParams::default().fields(&format!("metadata.name={name}"));
    let listed = resources.list(&only).await.map_err(|error| Error::ProveAbsence(error.into()))?;
    if let Some(found) = listed.items.into_iter().next() {
        return Ok(found_resource(cx, classify::resource(found, uid), uid));
    }
    match resources.get(name).await {
        Ok(found) => Ok(found_resource(cx, classify::resource(found, uid), uid)),
        Err(kube::Error::Api(status)) if classify::says_not_found(&status, name) => Ok(Resource::NotFound { proven: true }),
        Err(error) => Err(Error::ReadResource(error.into())),
    }
}

/// A closed record outlives the CRD, too: what is left in it is revoked although nothing can be asked about its resource any more. Only a drain
/// that was broken off closes the record of a resource that is wanted, and that one the watch has.
fn has_seen_its_end<A: Auth>(cx: &Context<A>, seen: &Observed, ledger: &Ledger) -> bool {
    let is_closed = matches!(ledger, Ledger::Here { record, .. } if record.closed);
    is_closed && !cx.watched.has_wanted(&seen.id.uid) && cx.place.serves(&seen.id.namespace)
}

fn found_resource<A: Auth>(cx: &Context<A>, resource: Resource, uid: &str) -> Resource {
    cx.absences.found(uid);
    resource
}

async fn read_source<A: Auth>(cx: &Context<A>, seen: &Observed) -> Result<Source, Error> {
    let Resource::Wanted(wanted) = &seen.resource else { return Ok(Source::Missing) };
    if seen.policy.draining.is_some() {
        // Nothing is obtained, so no pair is read.
        return Ok(Source::Missing);
    }
    let reference = &wanted.spec.credentials_secret_ref;
    if let Seen::At(version) = cx.watched.secret(&seen.id.namespace, &reference.name) {
        let version = Version::new(&*version);
        if !planner::reads_credentials(seen, Some(&version)) {
            return Ok(Source::Unread { version });
        }
    }
    let read = get(&cx.secrets(&seen.id.namespace), &reference.name).await.map_err(Error::ReadCredentials)?;
    let version = read.as_ref().and_then(ResourceExt::resource_version);
    cx.watched.read_secret(&seen.id.namespace, &reference.name, version.map_or(Seen::Absent, |version| Seen::At(version.into())));
    Ok(read.map_or(Source::Missing, |secret| classify::source(secret, &reference.client_id_key, &reference.client_secret_key)))
}
