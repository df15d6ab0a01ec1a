//! The planner's part of a pass: `plan` and `fold` in turn, with a world in which every act succeeds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use revoiceit_operator::{
    api::{RevoiceitCredential, names},
    planner::{
        Act, Answer, Came, Digest, Ledger, Look, Name, Observed, Owner, Place, Plan, Policy, Resource, ResourceId, Rest, Sight, Source,
        Stamp, Target, Version, desired, fold, plan, revised,
    },
    revoiceit::{AccessToken, ClientCredentials, ClientId, ClientSecret, Issued, RefreshToken, Refreshed},
};
use serde_json::json;

/// One resource and all that belongs to it.
#[derive(Clone, Debug)]
pub struct Life {
    id: Arc<ResourceId>,
    place: Arc<Place>,
    policy: Arc<Policy>,
    now: Timestamp,
    resource: RevoiceitCredential,
    ledger: Ledger,
    target: Target,
    writes: u32,
}

/// As tokens are long.
const TOKEN: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

impl Default for Life {
    /// A resource that is new.
    fn default() -> Self {
        let id = ResourceId { namespace: "team-a".into(), name: "speech".into(), uid: "5f3a1189-80aa-4c3e-9d53-0b8a0e6b1d2f".into() };
        let resource = json!({
            "apiVersion": "revoiceit.com/v1", "kind": names::KIND,
            "metadata": { "name": id.name, "namespace": id.namespace, "uid": id.uid, "resourceVersion": "1", "generation": 1,
                "creationTimestamp": "2026-11-24T10:00:00Z" },
            "spec": { "credentialsSecretRef": { "name": "client" }, "target": { "name": "token" } },
        });
        let place = Place {
            operator_namespace: "revoiceit-system".into(),
            home: "0a6ab0ab-75d2-4f6b-8f0c-d9b53a2c1f75".into(),
            issuer: "https://api.revoiceit.com".into(),
            namespaces: BTreeSet::new(),
        };
        Self {
            id: Arc::new(id),
            place: Arc::new(place),
            policy: Arc::new(Policy::default()),
            now: "2026-11-24T10:00:00Z".parse().expect("a time"),
            resource: serde_json::from_value(resource).expect("a resource"),
            ledger: Ledger::Absent,
            target: Target::Absent,
            writes: 1,
        }
    }
}

impl Life {
    /// So much later.
    #[must_use]
    pub fn later(self, by: Duration) -> Self {
        Self { now: self.now + by, ..self }
    }

    /// One that was served.
    pub fn served() -> Self {
        let mut life = Self::default();
        life.pass();
        life
    }

    /// One pass, from its look to its rest.
    pub fn pass(&mut self) -> Rest {
        let mut seen = self.begun();
        loop {
            let act = match plan(&seen, self.now) {
                Plan::Rest(rest) => return rest,
                Plan::Act(act) => act,
            };
            let came = self.perform(&act, &seen);
            seen = fold(seen, came);
        }
    }

    fn begun(&self) -> Observed {
        Observed::begin(self.id.clone(), Stamp::new("0123456789abcdef"), self.policy.clone(), self.place.clone())
    }

    fn perform(&mut self, act: &Act, seen: &Observed) -> Came {
        self.writes += 1;
        let version = self.writes.to_string();
        match act {
            Act::Look => Came::Saw(Sight::Look(Box::new(self.look()))),
            Act::TryTarget(name) => Came::Tried(name.clone()),
            Act::SaveLedger(change) => {
                let record = Arc::new(revised(seen, change));
                self.ledger = Ledger::Here { record, version: Version::new(version), uid: "ledger-uid".into() };
                Came::Saw(Sight::Ledger(self.ledger.clone()))
            }
            Act::Claim => {
                let meta = &mut self.resource.metadata;
                meta.finalizers = Some(vec![names::FINALIZER.into()]);
                let claim = format!("{}/{}", self.place.operator_namespace, self.id.uid);
                meta.annotations.get_or_insert_default().insert(names::CLAIM_ANNOTATION.into(), claim);
                meta.resource_version = Some(version);
                Came::Saw(Sight::Resource(Resource::Wanted(Arc::new(self.resource.clone()))))
            }
            Act::WriteTarget(name) => {
                let live = seen.record().and_then(|record| record.live.as_ref()).expect("a line");
                let desired = desired(&self.resource, &self.id, live);
                let there = ObjectMeta { name: Some(name.as_str().into()), resource_version: Some(version), ..ObjectMeta::default() };
                let meta = Arc::new(desired.metadata(&there));
                self.target = Target::Ours { owner: Owner::Me, data: Digest::of_data(&desired.data), immutable: false, meta };
                Came::Saw(Sight::Target(name.clone(), self.target.clone()))
            }
            Act::Issue { .. } => {
                let issued = Issued { access: AccessToken::new(TOKEN), refresh: RefreshToken::new(TOKEN), lifetime: None };
                Came::Answered { sent_at: self.now, answer: Answer::Issue(Ok(issued)) }
            }
            Act::Refresh { .. } => {
                let live = seen.record().and_then(|record| record.live.as_ref()).expect("a line");
                let refreshed = Refreshed { access: AccessToken::new(format!("{TOKEN}2")), rotated: None, lifetime: None };
                Came::Answered { sent_at: self.now, answer: Answer::Refresh(live.id(), Ok(refreshed)) }
            }
            act => unreachable!("{act:?} in a life in which nothing goes wrong"),
        }
    }

    fn look(&self) -> Look {
        let pair = ClientCredentials { client_id: ClientId::new("client"), client_secret: ClientSecret::new(TOKEN) };
        Look {
            began_at: Some(self.now),
            resource: Resource::Wanted(Arc::new(self.resource.clone())),
            ledger: self.ledger.clone(),
            source: Source::Found { pair, version: Version::new("1") },
            targets: BTreeMap::from([(Name::new(&self.resource.spec.target.name), self.target.clone())]),
            quarrel: None,
        }
    }

    /// What its ledger holds.
    pub fn record(&self) -> &revoiceit_operator::planner::Record {
        match &self.ledger {
            Ledger::Here { record, .. } => record,
            Ledger::Absent | Ledger::Unusable(_) => panic!("it has no ledger"),
        }
    }

    /// Reads a record as one of this resource.
    pub fn parse(&self, json: &[u8]) -> revoiceit_operator::planner::Record {
        revoiceit_operator::planner::Record::parse(json, &self.place, &self.id).expect("a record of this resource")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise it would not be a refresh that is measured.
    #[test]
    fn a_pass_issues_a_later_one_refreshes_and_one_in_between_does_nothing() {
        let mut life = Life::served();
        let first = life.record().clone();
        assert!(first.live.is_some() && matches!(life.target, Target::Ours { .. }));
        life = life.later(Duration::from_secs(60));
        let writes = life.writes;
        life.pass();
        assert_eq!(life.writes, writes + 1, "the look, and nothing else");
        life = life.later(Duration::from_secs(50 * 60));
        life.pass();
        assert_eq!(life.record().next_revision, first.next_revision + 1);
    }
}
