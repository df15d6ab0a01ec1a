//! What the tests are made of. All of it happens on one day, and times are written as `10:00` or `10:00:30`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};

use super::builders::CredentialExt;
use crate::{
    api::{RevoiceitCredential, RevoiceitCredentialSpec, names},
    planner::{
        Cause, Consent, Digest, Failed, FailureClass, Intent, IntentCall, Ledger, LineId, Live, Name, Observed, Owner, Place, Policy,
        Quarrel, Record, Resource, ResourceId, Retiring, Sighted, Source, Stamp, Target, Version, desired,
    },
    revoiceit::{AccessToken, ClientCredentials, ClientId, ClientSecret, Failure, Issued, RefreshToken, Refreshed},
};

/// Its spread makes a refresh one minute early: a token of 10:00 is refreshed at 10:44:00, and some milliseconds.
pub(super) const UID: &str = "5f3a-118980";
/// The name of the target in the spec of [`credential`].
pub(super) const TARGET: &str = "speech-token";

pub(super) fn at(clock: &str) -> Timestamp {
    let seconds = if clock.len() == 5 { ":00" } else { "" };
    format!("2026-11-24T{clock}{seconds}Z").parse().expect("a time of day")
}

/// The time of day, in whole seconds.
pub(super) fn clock(time: Timestamp) -> String {
    time.to_string().get(11..19).expect("a time of day").to_owned()
}

pub(super) const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

pub(super) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn place() -> Place {
    Place {
        operator_namespace: "revoiceit-system".into(),
        home: "home-uid".into(),
        issuer: "https://api.revoiceit.com".into(),
        namespaces: BTreeSet::new(),
    }
}

pub(super) fn id() -> ResourceId {
    ResourceId { namespace: "team-a".into(), name: "speech".into(), uid: UID.into() }
}

pub(super) fn name(name: &str) -> Name {
    Name::new(name)
}

pub(super) fn pair(number: u64) -> ClientCredentials {
    ClientCredentials { client_id: ClientId::new("canary-id"), client_secret: ClientSecret::new(format!("canary-secret-{number}")) }
}

pub(super) fn digest(number: u64) -> Digest {
    Digest::of_pair(&pair(number))
}

pub(super) fn access(number: u64) -> AccessToken {
    AccessToken::new(format!("canary-access-{number}"))
}

pub(super) fn refresh(number: u64) -> RefreshToken {
    RefreshToken::new(format!("canary-refresh-{number}"))
}

pub(super) fn issued(number: u64) -> Issued {
    Issued { access: access(number), refresh: refresh(number), lifetime: None }
}

pub(super) fn refreshed(number: u64) -> Refreshed {
    Refreshed { access: access(number), rotated: None, lifetime: None }
}

pub(super) fn rotated(number: u64) -> Refreshed {
    Refreshed { rotated: Some(refresh(number)), ..refreshed(number) }
}

pub(super) fn unavailable() -> Failure {
    Failure::Unavailable { retry_after: None }
}

/// The pair with this number, in a Secret of the version with this number.
pub(super) fn source(number: u64) -> Source {
    Source::Found { pair: pair(number), version: version(number) }
}

pub(super) fn version(number: u64) -> Version {
    Version::new(format!("credentials-{number}"))
}

/// A resource that somebody has just created at 10:00.
pub(super) fn credential() -> RevoiceitCredential {
    let spec = serde_json::json!({ "credentialsSecretRef": { "name": "revoiceit-client" }, "target": { "name": TARGET } });
    let spec: RevoiceitCredentialSpec = serde_json::from_value(spec).expect("a spec");
    let metadata = ObjectMeta {
        namespace: Some(id().namespace),
        name: Some(id().name),
        uid: Some(UID.into()),
        generation: Some(1),
        resource_version: Some("1".into()),
        creation_timestamp: Some(Time(at("10:00"))),
        ..ObjectMeta::default()
    };
    RevoiceitCredential { metadata, spec, status: None }
}

/// What the ledger of [`credential`] holds once it was claimed and before it has a token.
pub(super) fn record() -> Record {
    Record { claimed: true, ..Record::new(&place(), id(), minutes(5)) }
}

/// Of [`live`] with this revision.
pub(super) fn line_id(revision: u64) -> LineId {
    LineId { revision, refresh: refresh(revision) }
}

/// A live line with this revision, whose access token was asked for at this time.
pub(super) fn live(revision: u64, sent_at: &str) -> Live {
    let sent_at = at(sent_at);
    Live {
        revision,
        refresh: refresh(revision),
        access: access(revision),
        sent_at,
        expires_at: sent_at + minutes(60),
        source: digest(1),
        source_version: Some(version(1)),
        rejected: false,
        unanswered: false,
    }
}

/// A refresh token on its way out, due at this time.
pub(super) fn retiring(revision: u64, due: &str) -> Retiring {
    Retiring {
        revision,
        refresh: refresh(revision),
        due: at(due),
        tries: 0,
        not_before: None,
        worked_at: None,
        unanswered: false,
        refused: false,
    }
}

/// The first attempt since the last success, with the pair 1.
pub(super) fn failed(class: FailureClass, sent_at: &str, not_before: &str) -> Failed {
    Failed { class, since: at(sent_at), at: at(sent_at), count: 1, not_before: at(not_before), source: digest(1) }
}

pub(super) fn intent(stamp: &str, until: &str) -> Intent {
    Intent { call: IntentCall::Issue, cause: Cause::First, source: digest(1), stamp: Stamp::new(stamp), until: at(until) }
}

/// The stamp of the pass that [`seen`] is of.
pub(super) fn me() -> Stamp {
    Stamp::new("me")
}

/// What a pass has looked at, at 10:00: this resource, no ledger, no target, the pair 1.
pub(super) fn seen(resource: Resource) -> Observed {
    Observed {
        sighted: Sighted::Look(at("10:00")),
        resource,
        source: source(1),
        targets: [(name(TARGET), Target::Absent)].into(),
        ..Observed::begin(Arc::new(id()), me(), Arc::new(Policy::default()), Arc::new(place()))
    }
}

/// What is at rest: claimed, with the token of 10:00 in its target.
pub(super) fn settled() -> Observed {
    seen(credential().claimed().wanted()).with(record().live(1, "10:00")).delivered()
}

pub(super) fn ledger(record: Record) -> Ledger {
    Ledger::Here { record: Arc::new(record), version: Version::new("ledger-1"), uid: "ledger-uid".into() }
}

/// The target as it is after a write.
pub(super) fn written(resource: &RevoiceitCredential, live: &Live) -> Target {
    let desired = desired(resource, &id(), live);
    let there = ObjectMeta { uid: Some("target-uid".into()), resource_version: Some("1".into()), ..ObjectMeta::default() };
    Target::Ours { owner: Owner::Me, data: Digest::of_data(&desired.data), immutable: false, meta: Arc::new(desired.metadata(&there)) }
}

/// A Secret of ours with something in it that the ledger never gave it.
pub(super) fn ours(owner: Owner) -> Target {
    let data = BTreeMap::from([("accessToken".to_owned(), ByteString(b"by hand".to_vec()))]);
    let owner_uid = match owner {
        Owner::Me => Some(UID),
        Owner::OtherUid => Some("another-uid"),
        Owner::None => None,
    };
    let reference = |uid: &str| OwnerReference {
        api_version: "revoiceit.com/v1".into(),
        kind: names::KIND.into(),
        name: id().name,
        uid: uid.into(),
        ..OwnerReference::default()
    };
    let meta = ObjectMeta {
        uid: Some("target-uid".into()),
        resource_version: Some("1".into()),
        owner_references: owner_uid.map(|uid| vec![reference(uid)]),
        ..ObjectMeta::default()
    };
    Target::Ours { owner, data: Digest::of_data(&data), immutable: false, meta: Arc::new(meta) }
}

/// Somebody else has written the target again, and it is left alone until this time.
pub(super) fn quarrel(until: &str) -> Option<Quarrel> {
    Some(Quarrel { until: at(until), with: Some("argocd-controller".into()) })
}

pub(super) fn foreign(consent: Consent) -> Target {
    let meta = ObjectMeta { uid: Some("foreign-uid".into()), resource_version: Some("1".into()), ..ObjectMeta::default() };
    Target::Foreign { meta: Arc::new(meta), consent }
}
