//! Whether a rotation that was asked for is done, as the status tells.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    access::Read,
    paint::{plain, time},
    view::{reason, rotation_pending},
};
use crate::{
    api::{Reason, RevoiceitCredential},
    planner::left,
};

/// How long a status that waits for a person is believed to be about what was before the rotation.
const PATIENCE: Duration = Duration::from_secs(10);

/// A rotation that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: Option<String>,
    /// The token that was there before.
    pub(super) revision: Option<i64>,
    pub(super) asked_at: Timestamp,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The new token, of this revision, is in the target.
    Delivered(i64),
    /// Not yet, for this reason.
    UnderWay(String),
    /// It will not be before somebody does something.
    Stuck(String),
}

impl Rotation {
    /// Of a resource as the request left it.
    pub(super) fn of(read: &Read, asked_at: Timestamp) -> Self {
        let status = read.0.as_ref().ok().and_then(|resource| resource.status.as_ref());
        Self {
            namespace: read.namespace().unwrap_or_default(),
            name: read.name_any(),
            uid: read.uid(),
            revision: status.and_then(|status| status.revision),
            asked_at,
        }
    }

    /// From what is seen now; `None`: there is no such resource any more.
    pub(super) fn progress(&self, seen: Option<&Read>, now: Timestamp) -> Progress {
        let Some(read) = seen.filter(|read| read.uid() == self.uid) else { return Progress::Stuck("it was deleted".into()) };
        let Ok(resource) = &read.0 else { return Progress::Stuck("it cannot be read: it is not what the CRD describes".into()) };
        if resource.metadata.deletion_timestamp.is_some() {
            return Progress::Stuck("it is being deleted".into());
        }
        match self.delivered(resource) {
            Some(revision) => Progress::Delivered(revision),
            None if resource.spec.suspend => Progress::Stuck("it is suspended: kubectl revoiceit resume it first".into()),
            None => self.waits_for(resource, now),
        }
    }

    /// Its own request was acted on, or a later one; and what came of it is in the target.
    fn delivered(&self, resource: &RevoiceitCredential) -> Option<i64> {
        let status = resource.status.as_ref()?;
        let is_ready = status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        status.revision.filter(|revision| is_ready && !rotation_pending(resource) && Some(*revision) > self.revision)
    }

    fn waits_for(&self, resource: &RevoiceitCredential, now: Timestamp) -> Progress {
        let condition = resource.status.iter().flat_map(|status| &status.conditions).find(|condition| condition.type_ == "Ready");
        let Some(ready) = condition else { return Progress::UnderWay("no operator has looked at it yet".into()) };
        let told = if ready.reason == Reason::TokenReady.as_str() {
            "the operator has not acted on it yet".to_owned()
        } else {
            format!("{}: {}{}", plain(&ready.reason), plain(&ready.message), next_attempt(resource, now))
        };
        let needs_person = reason(resource).is_some_and(Reason::needs_person);
        if needs_person && left(self.asked_at, now) >= PATIENCE { Progress::Stuck(told) } else { Progress::UnderWay(told) }
    }
}

/// It may be minutes away, and a request does not make it come sooner.
fn next_attempt(resource: &RevoiceitCredential, now: Timestamp) -> String {
    let failure = resource.status.as_ref().and_then(|status| status.failure.as_ref());
    match failure.and_then(|failure| failure.next_retry_at.as_ref()).filter(|at| at.0 > now) {
        Some(at) => format!(" The next attempt is due at {}.", time(at.0)),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::names,
        cli::plugin::view::tests::{at, condition, merge, resource},
    };

    fn progress(merged: Value, after: i64) -> Progress {
        let asked = json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: "now" } } });
        let rotation = Rotation::of(&resource(asked.clone()), at("10:12:00"));
        let mut whole = asked;
        merge(&mut whole, merged);
        rotation.progress(Some(&resource(whole)), Timestamp::from_second(at("10:12:00").as_second() + after).expect("a time"))
    }

    #[test]
    fn it_is_delivered_when_the_request_is_handled_and_a_later_token_is_in_the_target() {
        let handled = |revision: i64, status: &str| {
            json!({ "status": {
                "lastHandledRotateRequest": "now", "revision": revision, "conditions": condition(status, "TokenReady", "") } })
        };
        assert_eq!(progress(handled(5, "True"), 1), Progress::Delivered(5));
        assert!(matches!(progress(handled(5, "False"), 1), Progress::UnderWay(_)));
        assert!(matches!(progress(handled(4, "True"), 1), Progress::UnderWay(_)));
        assert_eq!(progress(json!({}), 1), Progress::UnderWay("the operator has not acted on it yet".into()));
    }

    #[test]
    fn what_waits_for_a_person_is_given_up_after_some_seconds_and_what_does_not_is_not() {
        let of = |reason: &str| json!({ "status": { "conditions": condition("True", reason, "Do this.") } });
        assert_eq!(progress(of("CredentialsRejected"), 9), Progress::UnderWay("CredentialsRejected: Do this.".into()));
        assert_eq!(progress(of("CredentialsRejected"), 10), Progress::Stuck("CredentialsRejected: Do this.".into()));
        assert_eq!(progress(of("RevoiceitUnavailable"), 1000), Progress::UnderWay("RevoiceitUnavailable: Do this.".into()));
    }

    #[test]
    fn nothing_is_waited_for_that_cannot_come() {
        assert!(matches!(progress(json!({ "spec": { "suspend": true } }), 0), Progress::Stuck(_)));
        let goes = json!({ "metadata": { "deletionTimestamp": "2026-11-24T10:11:00Z" } });
        assert_eq!(progress(goes, 0), Progress::Stuck("it is being deleted".into()));
        assert_eq!(progress(json!({ "metadata": { "uid": "another" } }), 0), Progress::Stuck("it was deleted".into()));
        assert_eq!(
            Rotation::of(&resource(json!({})), at("10:12:00")).progress(None, at("10:12:01")),
            Progress::Stuck("it was deleted".into())
        );
    }
}
