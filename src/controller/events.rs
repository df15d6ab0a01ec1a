//! Telling people. Best effort: an event that cannot be published is logged and changes nothing.

use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::{
    api::names,
    planner::{About, Notice, Observed, Place},
};

/// The API server's limit for the note of an event, in bytes.
const MAX_NOTE: usize = 1024;

/// So many events one recorder publishes. It keeps each for six minutes, to count one that comes again, drops them only when it publishes another,
/// and goes through all of them for each. One that comes again to the next recorder is an event of its own.
const OF_ONE_RECORDER: u32 = 256;

/// Publishes notices.
pub struct Events {
    client: Client,
    reporter: Reporter,
    /// And how many events it has published.
    recorder: Mutex<(Recorder, u32)>,
    operator_namespace: String,
}

impl Events {
    /// One for a process; `instance` is the pod's name.
    pub fn new(client: Client, instance: String, place: &Place) -> Self {
        let reporter = Reporter { controller: names::OPERATOR.to_owned(), instance: Some(instance) };
        let recorder = Mutex::new((Recorder::new(client.clone(), reporter.clone()), 0));
        Self { client, reporter, recorder, operator_namespace: place.operator_namespace.clone() }
    }

    fn recorder(&self) -> Recorder {
        let (recorder, published) = &mut *self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        if *published == OF_ONE_RECORDER {
            (*recorder, *published) = (Recorder::new(self.client.clone(), self.reporter.clone()), 0);
        }
        *published += 1;
        recorder.clone()
    }

    pub(super) async fn publish(&self, notice: &Notice, seen: &Observed) {
        let regarding = match notice.about {
            About::Resource => ObjectReference {
                api_version: Some(format!("{}/v1", names::GROUP)),
                kind: Some(names::KIND.to_owned()),
                namespace: Some(seen.id.namespace.clone()),
                name: Some(seen.id.name.clone()),
                uid: Some(seen.id.uid.clone()),
                ..ObjectReference::default()
            },
            About::Ledger => ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Secret".to_owned()),
                namespace: Some(self.operator_namespace.clone()),
                name: Some(names::ledger_name(&seen.id.uid)),
                ..ObjectReference::default()
            },
        };
        let mut note = notice.note.clone();
        note.truncate((0..=MAX_NOTE.min(note.len())).rev().find(|at| note.is_char_boundary(*at)).unwrap_or(0));
        let event = Event {
            type_: if notice.is_warning { EventType::Warning } else { EventType::Normal },
            reason: notice.news.as_str().to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if notice.is_warning {
            tracing::warn!(reason = notice.news.as_str(), "event");
        } else {
            tracing::info!(reason = notice.news.as_str(), "event");
        }
        if let Err(error) = self.recorder().publish(&event, &regarding).await {
            tracing::warn!(reason = notice.news.as_str(), error = %super::error::ApiTrouble::from(error), "an event could not be published");
        }
    }
}
