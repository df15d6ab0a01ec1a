//! Carrying out one act. Each sends at most one request, and each write is conditional on what was read.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Resource as _, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::json;

use super::{
    classify::{self, Refusal},
    context::Context,
    error::{ApiTrouble, Error},
    look,
    tolerant::Tolerant,
};
use crate::{
    api::names,
    planner::{self, Act, Answer, Came, Change, Desired, Ledger, Name, Observed, Refused, Resource, Sight, Source, Target, Version, Which},
    revoiceit::{Auth, Failure, RefreshToken},
};

/// What came of the act. A write whose answer was lost, or that another was faster than, is [`Came::Changed`]: only a look can tell what there
/// is now, and what is in hand is judged by what the look finds in the record.
pub(super) async fn perform<A: Auth>(cx: &Context<A>, act: &Act, seen: &Observed) -> Result<Came, Error> {
    match act {
        Act::Look => Ok(Came::Saw(Sight::Look(Box::new(look::look(cx, seen).await?)))),
        Act::TryTarget(name) => try_target(cx, seen, name).await,
        Act::WriteTarget(name) => write_target(cx, seen, name).await,
        Act::DeleteTarget(name) => delete_target(cx, seen, name).await,
        Act::SaveLedger(change) => save_ledger(cx, seen, change).await,
        Act::DeleteLedger => delete_ledger(cx, seen).await,
        Act::Claim => claim(cx, seen).await,
        Act::Release => release(cx, seen).await,
        Act::Issue { until } => {
            let Source::Found { pair, .. } = &seen.source else { return Ok(Came::Changed) };
            let sent_at = cx.now();
            let outcome = if is_over(Some(*until), sent_at) { Err(Failure::NotSent) } else { cx.auth.issue(pair).await };
            pause_on_request(cx, outcome.as_ref().err());
            Ok(Came::Answered { sent_at, answer: Answer::Issue(outcome) })
        }
        Act::Refresh { until, .. } => {
            let Some(live) = seen.record().and_then(|record| record.live.as_ref()) else { return Ok(Came::Changed) };
            let sent_at = cx.now();
            let outcome = if is_over(*until, sent_at) { Err(Failure::NotSent) } else { cx.auth.refresh(&live.refresh).await };
            pause_on_request(cx, outcome.as_ref().err());
            Ok(Came::Answered { sent_at, answer: Answer::Refresh(live.id(), outcome) })
        }
        Act::Revoke(which) => {
            let Some(token) = token(seen, *which) else { return Ok(Came::Changed) };
            let sent_at = cx.now();
            let outcome = cx.auth.revoke(token).await;
            pause_on_request(cx, outcome.as_ref().err());
            Ok(Came::Answered { sent_at, answer: Answer::Revoke(*which, outcome) })
        }
        Act::Tell(notice) => {
            cx.events.publish(notice, seen).await;
            Ok(Came::Told)
        }
    }
}

/// Another may have counted what such an intent was written for as lost, and try again.
fn is_over(until: Option<Timestamp>, sent_at: Timestamp) -> bool {
    until.is_some_and(|until| until <= sent_at)
}

fn token(seen: &Observed, which: Which) -> Option<&RefreshToken> {
    match which {
        Which::InHand => seen.hand.refresh_token(),
        Which::Revision(revision) => {
            let record = seen.record()?;
            let live = record.live.as_ref().filter(|live| live.revision == revision).map(|live| &live.refresh);
            live.or_else(|| record.retiring.iter().find(|retiring| retiring.revision == revision).map(|retiring| &retiring.refresh))
        }
    }
}

/// Retry-After is a wish about all calls.
fn pause_on_request<A: Auth>(cx: &Context<A>, failure: Option<&Failure>) {
    if let Some(Failure::Unavailable { retry_after: Some(pause) }) = failure {
        cx.gate.pause(*pause);
    }
}

fn params(dry_run: bool) -> PostParams {
    PostParams { dry_run, field_manager: Some(names::OPERATOR.to_owned()) }
}

/// What a write that was not taken came to; trouble ends the pass.
fn refused(error: kube::Error, what: Refused, creates: bool, trouble: fn(ApiTrouble) -> Error) -> Result<Came, Error> {
    match classify::refusal(&error, creates) {
        Refusal::Changed => Ok(Came::Changed),
        Refusal::Denied(denied) => {
            tracing::warn!(what = ?what, denied = ?denied, error = %ApiTrouble::from(error), "the API server refuses a write");
            Ok(Came::Denied(what, denied))
        }
        Refusal::Trouble => Err(trouble(error.into())),
    }
}

/// The Secret that the spec wants, on top of what is there.
fn target_secret(seen: &Observed, name: &Name, target: &Target, desired: Desired) -> Secret {
    let there = match target {
        Target::Ours { meta, .. } | Target::Foreign { meta, .. } => (**meta).clone(),
        Target::Absent => {
            ObjectMeta { name: Some(name.as_str().to_owned()), namespace: Some(seen.id.namespace.clone()), ..ObjectMeta::default() }
        }
    };
    let metadata = desired.metadata(&there);
    Secret { metadata, type_: Some("Opaque".to_owned()), data: Some(desired.data), ..Secret::default() }
}

async fn try_target<A: Auth>(cx: &Context<A>, seen: &Observed, name: &Name) -> Result<Came, Error> {
    let (Resource::Wanted(resource), Some(target)) = (&seen.resource, seen.targets.get(name)) else { return Ok(Came::Changed) };
    if matches!(target, Target::Ours { immutable: true, .. }) {
        // It is going to be deleted and created anew, which cannot be tried dry while it is there.
        return Ok(Came::Tried(name.clone()));
    }
    let secret = target_secret(seen, name, target, planner::dry(resource, &seen.id));
    match put(cx, seen, name, target, secret, true).await {
        Ok(_) => Ok(Came::Tried(name.clone())),
        Err(error) => refused(error, Refused::Target, matches!(target, Target::Absent), Error::WriteTarget),
    }
}

async fn write_target<A: Auth>(cx: &Context<A>, seen: &Observed, name: &Name) -> Result<Came, Error> {
    let live = seen.record().and_then(|record| record.live.as_ref());
    let (Resource::Wanted(resource), Some(live), Some(target)) = (&seen.resource, live, seen.targets.get(name)) else {
        return Ok(Came::Changed);
    };
    let secret = target_secret(seen, name, target, planner::desired(resource, &seen.id, live));
    match put(cx, seen, name, target, secret, false).await {
        Ok(written) => {
            let is_new_token = seen.spent.calls > 0;
            // Who deletes it again and again is answered as who edits it.
            if !is_new_token
                && !matches!(target, Target::Foreign { .. })
                && let Some(writer) = cx.repairs.repaired(&seen.id.uid, cx.now())
            {
                tracing::warn!(secret = %name, writer, "somebody else wrote the target last: it is made again what it should be");
            }
            tracing::info!(secret = %name, revision = live.revision, expires_at = %live.expires_at, new_token = is_new_token, "target written");
            Ok(Came::Saw(Sight::Target(name.clone(), classify::target(written, &seen.id))))
        }
        Err(error) => refused(error, Refused::Target, matches!(target, Target::Absent), Error::WriteTarget),
    }
}

/// `POST` where there is none, `PUT` of what was read otherwise.
async fn put<A: Auth>(
    cx: &Context<A>,
    seen: &Observed,
    name: &Name,
    target: &Target,
    secret: Secret,
    dry_run: bool,
) -> Result<Tolerant<Secret>, kube::Error> {
    let secrets = cx.secrets(&seen.id.namespace);
    let secret = Tolerant::from(secret);
    let written = match target {
        Target::Absent => secrets.create(&params(dry_run), &secret).await?,
        Target::Ours { .. } | Target::Foreign { .. } => secrets.replace(name.as_str(), &params(dry_run), &secret).await?,
    };
    if !dry_run && let Some(version) = written.resource_version() {
        cx.watched.wrote_secret(&seen.id.namespace, name.as_str(), &version);
    }
    Ok(written)
}

async fn delete_target<A: Auth>(cx: &Context<A>, seen: &Observed, name: &Name) -> Result<Came, Error> {
    let Some(Target::Ours { meta, .. }) = seen.targets.get(name) else { return Ok(Came::Changed) };
    match cx.secrets(&seen.id.namespace).delete(name.as_str(), &only(meta.uid.as_deref(), meta.resource_version.as_deref())).await {
        Ok(answer) => {
            // What finalizers hold comes back as it is now, and goes when they let it.
            let held = answer.left().filter(|left| left.meta().deletion_timestamp.is_some());
            match &held {
                Some(_) => tracing::warn!(secret = %name, "target deleted, and finalizers hold it"),
                None => tracing::info!(secret = %name, "target deleted"),
            }
            let target = held.map_or(Target::Absent, |held| classify::target(held, &seen.id));
            Ok(Came::Saw(Sight::Target(name.clone(), target)))
        }
        Err(error) => refused(error, Refused::Target, false, Error::WriteTarget),
    }
}

fn only(uid: Option<&str>, version: Option<&str>) -> DeleteParams {
    let preconditions = Preconditions { uid: uid.map(str::to_owned), resource_version: version.map(str::to_owned) };
    DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }
}

async fn save_ledger<A: Auth>(cx: &Context<A>, seen: &Observed, change: &Change) -> Result<Came, Error> {
    let record = planner::revised(seen, change);
    let name = names::ledger_name(&seen.id.uid);
    let (version, uid) = match &seen.ledger {
        Ledger::Absent => (None, None),
        Ledger::Here { version, uid, .. } => (Some(version.as_str().to_owned()), Some(uid.clone())),
        Ledger::Unusable(_) => return Ok(Came::Changed),
    };
    let creates = version.is_none();
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(cx.place.operator_namespace.clone()),
            uid,
            resource_version: version,
            labels: Some(BTreeMap::from([
                (names::MANAGED_BY_LABEL.to_owned(), names::OPERATOR.to_owned()),
                ("velero.io/exclude-from-backup".to_owned(), "true".to_owned()),
            ])),
            annotations: Some(BTreeMap::from([(names::RESOURCE_ANNOTATION.to_owned(), format!("{}/{}", seen.id.namespace, seen.id.name))])),
            ..ObjectMeta::default()
        },
        type_: Some(names::LEDGER_TYPE.to_owned()),
        data: Some(BTreeMap::from([(names::LEDGER_KEY.to_owned(), ByteString(record.to_json()))])),
        ..Secret::default()
    };
    let secrets = cx.secrets(&cx.place.operator_namespace);
    let secret = Tolerant::from(secret);
    let saved = if creates { secrets.create(&params(false), &secret).await } else { secrets.replace(&name, &params(false), &secret).await };
    match saved {
        Ok(saved) => {
            let (Some(version), Some(uid)) = (saved.resource_version(), saved.uid()) else { return Ok(Came::Changed) };
            tracing::info!(change = change.word(), "ledger saved");
            let ledger = Ledger::Here { record: Arc::new(record), version: Version::new(version), uid };
            Ok(Came::Saw(Sight::Ledger(ledger)))
        }
        Err(error) => refused(error, Refused::Ledger, creates, Error::SaveLedger),
    }
}

async fn delete_ledger<A: Auth>(cx: &Context<A>, seen: &Observed) -> Result<Came, Error> {
    let Ledger::Here { version, uid, .. } = &seen.ledger else { return Ok(Came::Changed) };
    let name = names::ledger_name(&seen.id.uid);
    match cx.secrets(&cx.place.operator_namespace).delete(&name, &only(Some(uid), Some(version.as_str()))).await {
        Ok(_) => {
            tracing::info!("ledger deleted");
            Ok(Came::Saw(Sight::Ledger(Ledger::Absent)))
        }
        Err(error) => refused(error, Refused::Ledger, false, Error::SaveLedger),
    }
}

/// Finalizer and claim, in one patch and never together with the status.
async fn claim<A: Auth>(cx: &Context<A>, seen: &Observed) -> Result<Came, Error> {
    let Some(meta) = seen.meta() else { return Ok(Came::Changed) };
    let mut finalizers = meta.finalizers.clone().unwrap_or_default();
    if !finalizers.iter().any(|finalizer| finalizer == names::FINALIZER) {
        finalizers.push(names::FINALIZER.to_owned());
    }
    let claim = format!("{}/{}", cx.place.operator_namespace, seen.id.uid);
    patch_resource(cx, seen, meta, &finalizers, &json!(claim)).await
}

async fn release<A: Auth>(cx: &Context<A>, seen: &Observed) -> Result<Came, Error> {
    let Some(meta) = seen.meta() else { return Ok(Came::Changed) };
    let others: Vec<String> = meta.finalizers.iter().flatten().filter(|finalizer| *finalizer != names::FINALIZER).cloned().collect();
    let came = patch_resource(cx, seen, meta, &others, &json!(null)).await?;
    let is_released = meta.deletion_timestamp.is_some() && matches!(came, Came::Saw(_));
    Ok(if is_released { Came::Saw(Sight::Resource(Resource::Released)) } else { came })
}

async fn patch_resource<A: Auth>(
    cx: &Context<A>,
    seen: &Observed,
    meta: &ObjectMeta,
    finalizers: &[String],
    claim: &serde_json::Value,
) -> Result<Came, Error> {
    let patch = json!({ "metadata": {
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "finalizers": finalizers,
        "annotations": { names::CLAIM_ANNOTATION: claim },
    } });
    let params = PatchParams { field_manager: Some(names::OPERATOR.to_owned()), ..PatchParams::default() };
    match cx.resources(&seen.id.namespace).patch(&seen.id.name, &params, &Patch::Merge(&patch)).await {
        Ok(patched) => {
            cx.watched.wrote_resource(meta.resource_version.as_deref(), &patched);
            tracing::info!(claimed = !claim.is_null(), "finalizer and claim patched");
            Ok(Came::Saw(Sight::Resource(classify::resource(patched, &seen.id.uid))))
        }
        Err(error) if classify::came_too_late(&error) => Ok(Came::Changed),
        Err(error) => refused(error, Refused::Resource, false, Error::PatchResource),
    }
}
