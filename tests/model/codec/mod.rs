//! Between the model's small types and the production types: `Observed` is built for each question to `plan` and `fold`, and what they answer is
//! read back. Nothing is taken over that was not read back from what they returned.

mod hand;
mod record;
mod seen;

use std::{cell::RefCell, collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use revoiceit_operator::{
    api::{RevoiceitCredential, RevoiceitCredentialSpec, names},
    planner::{self as real, Digest, Name, Place, Policy, ResourceId, Version},
    revoiceit::{AccessToken, ClientCredentials, ClientId, ClientSecret, RefreshToken},
};

use crate::{
    hash::Map,
    sight::Owner,
    world::{BAD_PAIR, EDITED, Resource, Time},
};

/// The namespace of the operator in the model.
const OPERATOR_NAMESPACE: &str = "operator";
/// The namespace of another operator.
const ELSEWHERE: &str = "elsewhere";
/// The UID of the resource that a pass is for. Another's is never looked at, only compared with.
const UID: &str = "this";
const OTHER_UID: &str = "other";
const CURRENT: &str = "current";
const OUTDATED: &str = "outdated";

/// What all questions have in common.
pub(crate) struct Codec {
    pub(crate) policy: Arc<Policy>,
    place: Arc<Place>,
    id: Arc<ResourceId>,
    template: RevoiceitCredentialSpec,
    pairs: Vec<(Digest, u8)>,
    contents: Vec<(Digest, u8)>,
    /// What was built before: a state has few resources and few kinds of target.
    resources: RefCell<Map<(Resource, bool), real::Resource>>,
    target_metas: RefCell<Map<(Owner, bool), Arc<ObjectMeta>>>,
    policies: RefCell<Map<Option<Time>, Arc<Policy>>>,
}

impl Codec {
    pub(crate) fn new(policy: Policy) -> Self {
        let spec = serde_json::json!({
            "credentialsSecretRef": {"name": "client"},
            "target": {"name": target_name(0).as_str()},
            // The least that counts, so that the times of one line do not lie far apart.
            "revocation": {"grace": "2m"},
        });
        Self {
            policy: Arc::new(policy),
            place: Arc::new(Place {
                operator_namespace: OPERATOR_NAMESPACE.into(),
                home: "home".into(),
                issuer: "https://revoiceit.test".into(),
                namespaces: Default::default(),
            }),
            id: Arc::new(ResourceId { namespace: "tenant".into(), name: "speech".into(), uid: UID.into() }),
            template: serde_json::from_value(spec).expect("a spec"),
            pairs: (0..=BAD_PAIR).map(|pair| (Digest::of_pair(&credentials(pair)), pair)).collect(),
            contents: (0..16).chain([EDITED]).map(|content| (digest_of(content), content)).collect(),
            resources: RefCell::default(),
            target_metas: RefCell::default(),
            policies: RefCell::default(),
        }
    }

    /// The policy, or the same while everything is drained until this time.
    fn policy(&self, drain_until: Option<Time>) -> Arc<Policy> {
        let mut policies = self.policies.borrow_mut();
        let policy = || Arc::new(Policy { draining: drain_until.map(at), ..(*self.policy).clone() });
        Arc::clone(policies.entry(drain_until).or_insert_with(policy))
    }

    /// How long an access token lives.
    pub(crate) fn lifetime(&self) -> Time {
        seconds(self.policy.token_lifetime)
    }

    pub(crate) fn deadline(&self) -> Time {
        seconds(self.template.revocation.deadline())
    }

    /// When a line is refreshed, and from when on an answered failure leads to a new one.
    pub(crate) fn line(&self, live: &crate::world::Live) -> [Time; 2] {
        let line = real::line(&self.real_live(live), self.template.refresh.before_expiry(), UID);
        [time(line.refresh_at), time(line.close_at)]
    }

    /// What a write of the target would put into it.
    pub(crate) fn content(&self, observed: &real::Observed, live: &real::Live) -> Option<u8> {
        let real::Resource::Wanted(resource) = &observed.resource else { return None };
        Some(self.content_of(&Digest::of_data(&real::desired(resource, &observed.id, live).data)))
    }

    fn pair_of(&self, digest: &Digest) -> u8 {
        self.pairs.iter().find(|(of, _)| of == digest).map(|(_, pair)| *pair).expect("a pair of the model")
    }

    fn content_of(&self, digest: &Digest) -> u8 {
        self.contents.iter().find(|(of, _)| of == digest).map(|(_, content)| *content).expect("a content of the model")
    }

    fn content_digest(&self, content: u8) -> Digest {
        self.contents.iter().find(|(_, of)| *of == content).map(|(digest, _)| digest.clone()).expect("a content of the model")
    }

    fn pair_digest(&self, pair: u8) -> Digest {
        self.pairs[usize::from(pair)].0.clone()
    }
}

pub(crate) fn seconds(duration: Duration) -> Time {
    Time::try_from(duration.as_secs()).expect("a duration of the model's policy")
}

/// The moment at which all questions are asked.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a time")
}

fn at(time: Time) -> Timestamp {
    now() + SignedDuration::from_secs(i64::from(time))
}

/// Whole seconds, rounded up: of what is due, the first whole second at which it is.
pub(crate) fn time(at: Timestamp) -> Time {
    let nanos = at.duration_since(now()).as_nanos();
    let seconds = nanos.div_euclid(1_000_000_000) + i128::from(nanos.rem_euclid(1_000_000_000) > 0);
    seconds.clamp(i128::from(Time::MIN), i128::from(Time::MAX)) as Time
}

fn target_name(name: u8) -> Name {
    Name::new(format!("target-{name}"))
}

pub(crate) fn name_of(name: &str) -> u8 {
    number(name)
}

/// The number at the end of the names that the model gives.
fn number(text: &str) -> u8 {
    let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().unwrap_or_else(|_| panic!("{text:?} is no name of the model"))
}

fn refresh_token(token: u8) -> RefreshToken {
    RefreshToken::new(format!("refresh-{token}"))
}

fn access_token(token: u8) -> AccessToken {
    AccessToken::new(format!("access-{token}"))
}

fn credentials(pair: u8) -> ClientCredentials {
    ClientCredentials { client_id: ClientId::new("id"), client_secret: ClientSecret::new(format!("pair-{pair}")) }
}

pub(crate) fn version(version: u8) -> Version {
    Version::new(format!("version-{version}"))
}

fn request(value: u8) -> Option<String> {
    (value > 0).then(|| value.to_string())
}

/// Digest of the data of a target with this content: the default template.
fn digest_of(content: u8) -> Digest {
    let value = if content == EDITED { "edited".to_owned() } else { access_token(content).expose().to_owned() };
    Digest::of_data(&BTreeMap::from([("accessToken".to_owned(), ByteString(value.into_bytes()))]))
}

fn object_version(is_current: bool) -> Option<String> {
    Some(if is_current { CURRENT } else { OUTDATED }.to_owned())
}

fn is_current(meta: &ObjectMeta) -> bool {
    meta.resource_version.as_deref() == Some(CURRENT)
}

fn has_finalizer(meta: &ObjectMeta) -> bool {
    meta.finalizers.iter().flatten().any(|finalizer| finalizer == names::FINALIZER)
}

fn resource_object(spec: RevoiceitCredentialSpec, meta: ObjectMeta) -> RevoiceitCredential {
    RevoiceitCredential { metadata: meta, spec, status: None }
}
