//! What a pass has seen, both ways; what came of an act, and what is planned.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time as MetaTime};
use revoiceit_operator::{
    api::{RevoiceitCredential, names},
    planner as real,
    revoiceit::{Issued, Refreshed, Revoked},
};

use super::{
    Codec, ELSEWHERE, OPERATOR_NAMESPACE, OTHER_UID, UID, access_token, at, credentials,
    hand::{real_failure, real_line},
    has_finalizer, is_current, name_of, now, number, object_version,
    record::{self, real_owner, small_owner, small_version},
    refresh_token, request, resource_object, target_name, time, version,
};
use crate::{
    sight::{Came, LedgerSight, Owner, REFUSED, Reading, ResourceSight, Seen, Sighted, SourceSight, Spent, TargetSight, Which},
    world::{Belongs, Credentials, Held, Intent, IntentCall, NAMES, Record, Resource, Stamp, Time},
};

impl Codec {
    pub(crate) fn observed(&self, seen: &Seen) -> real::Observed {
        let me = real::Stamp::new(record::ME);
        let mut observed = real::Observed::begin(Arc::clone(&self.id), me, self.policy(seen.drain_until), Arc::clone(&self.place));
        observed.sighted = match seen.sighted {
            Sighted::No => real::Sighted::No,
            Sighted::Glance => real::Sighted::Glance,
            Sighted::Look(began_at) => real::Sighted::Look(at(began_at)),
        };
        observed.resource = self.real_resource(&seen.resource);
        observed.ledger = self.real_ledger(seen.ledger.as_ref());
        observed.source = real_source(seen.source);
        observed.targets = self.real_targets(&seen.targets);
        observed.hand = self.real_hand(&seen.hand);
        observed.refused = REFUSED.into_iter().filter(|kind| seen.is_refused(*kind)).map(|kind| (kind, real::Denied::Forbidden)).collect();
        observed.finalizer_seen = seen.finalizer_seen;
        let Spent { acts, calls, refreshed, answered_since_look, intent_sent, tried, hand_kept, hand_doomed, told } = seen.spent;
        let (calls, tried) = (calls.into(), tried.map(target_name));
        observed.spent =
            real::Spent { acts: acts.into(), calls, refreshed, answered_since_look, intent_sent, tried, hand_kept, hand_doomed, told };
        observed
    }

    pub(crate) fn seen(&self, observed: &real::Observed) -> Seen {
        let real::Spent { acts, calls, refreshed, answered_since_look, intent_sent, ref tried, hand_kept, hand_doomed, told } =
            observed.spent;
        let calls = u8::try_from(calls.min(2)).expect("two at most");
        Seen {
            sighted: match observed.sighted {
                real::Sighted::No => Sighted::No,
                real::Sighted::Glance => Sighted::Glance,
                real::Sighted::Look(began_at) => Sighted::Look(time(began_at)),
            },
            resource: small_resource(&observed.resource),
            ledger: self.small_ledger(&observed.ledger),
            source: Self::small_source(&observed.source),
            targets: std::array::from_fn(|name| self.small_target(observed.targets.get(&target_name(name as u8)))),
            hand: self.small_hand(&observed.hand),
            refused: REFUSED.map(|kind| observed.refused.contains_key(&kind)),
            finalizer_seen: observed.finalizer_seen,
            spent: Spent {
                acts: if self.policy.max_acts == u32::MAX { 0 } else { u8::try_from(acts).expect("few acts") },
                calls,
                refreshed,
                answered_since_look,
                intent_sent,
                tried: tried.as_ref().map(|name| name_of(name.as_str())),
                hand_kept,
                hand_doomed,
                told,
            },
            drain_until: observed.policy.draining.map(time),
        }
    }

    /// What a pass had before a look, as far as `fold` asks for it: the rest was forgotten when the look was begun.
    pub(crate) fn before_look(&self, seen: &Seen, reading: &Reading) -> real::Observed {
        let intent = Intent { call: IntentCall::Issue, cause: real::Cause::First, pair: 0, stamp: Stamp::Mine, until: 0 };
        let record = Record { intent: Some(intent), ..Record::default() };
        self.observed(&Seen {
            sighted: Sighted::No,
            resource: ResourceSight::NotFound { proven: false },
            ledger: reading.had_intent.then_some(LedgerSight { record, is_current: false }),
            source: SourceSight::Missing,
            targets: [TargetSight::Unread; NAMES],
            ..*seen
        })
    }

    /// What a look, or a glance, has brought.
    pub(crate) fn look(&self, seen: &Seen, began_at: Option<Time>) -> real::Look {
        real::Look {
            began_at: began_at.map(at),
            resource: self.real_resource(&seen.resource),
            ledger: self.real_ledger(seen.ledger.as_ref()),
            source: real_source(seen.source),
            targets: self.real_targets(&seen.targets),
            quarrel: None,
        }
    }

    pub(crate) fn came(&self, came: &Came) -> real::Came {
        let answered = |answer| real::Came::Answered { sent_at: now(), answer };
        match *came {
            Came::Look(_) | Came::Glance | Came::Waited => unreachable!("these take more than what came"),
            Came::Ledger(record) => {
                let ledger = record.map(|record| LedgerSight { record, is_current: true });
                real::Came::Saw(real::Sight::Ledger(self.real_ledger(ledger.as_ref())))
            }
            Came::Resource(sight) => real::Came::Saw(real::Sight::Resource(self.real_resource(&sight))),
            Came::Target(name, sight) => {
                real::Came::Saw(real::Sight::Target(target_name(name), self.real_target(sight).expect("a target that was seen")))
            }
            Came::Tried(name) => real::Came::Tried(target_name(name)),
            Came::Told => real::Came::Told,
            Came::Changed => real::Came::Changed,
            Came::Paused => real::Came::Paused,
            Came::Denied(refused) => real::Came::Denied(refused, real::Denied::Forbidden),
            Came::Issued(answer) => answered(real::Answer::Issue(
                answer
                    .map(|(access, refresh)| Issued { access: access_token(access), refresh: refresh_token(refresh), lifetime: None })
                    .map_err(real_failure),
            )),
            Came::Refreshed { of, answer } => answered(real::Answer::Refresh(
                real_line(of),
                answer
                    .map(|(access, rotated)| Refreshed {
                        access: access_token(access),
                        rotated: rotated.map(refresh_token),
                        lifetime: None,
                    })
                    .map_err(real_failure),
            )),
            Came::Revoked { which, answer } => {
                let which = match which {
                    Which::Revision(revision) => real::Which::Revision(revision.into()),
                    Which::InHand => real::Which::InHand,
                };
                let answer = answer.map(|was_known| if was_known { Revoked::Confirmed } else { Revoked::Unknown });
                answered(real::Answer::Revoke(which, answer.map_err(real_failure)))
            }
        }
    }

    fn real_resource(&self, sight: &ResourceSight) -> real::Resource {
        let (resource, is_current) = match sight {
            ResourceSight::Here { resource, is_current } => (resource, *is_current),
            ResourceSight::NotFound { proven } => return real::Resource::NotFound { proven: *proven },
            ResourceSight::Replaced => return real::Resource::Replaced,
            ResourceSight::Released => return real::Resource::Released,
        };
        self.resources.borrow_mut().entry((*resource, is_current)).or_insert_with(|| self.existing(resource, is_current)).clone()
    }

    fn existing(&self, resource: &Resource, is_current: bool) -> real::Resource {
        let meta = self.resource_meta(resource, is_current);
        if resource.deleted_at.is_some() {
            let deadline = Some(self.template.revocation.deadline());
            return real::Resource::Leaving(Arc::new(real::Leaving { meta, deadline, status: Default::default() }));
        }
        real::Resource::Wanted(Arc::new(self.wanted(resource, meta)))
    }

    fn wanted(&self, resource: &Resource, meta: ObjectMeta) -> RevoiceitCredential {
        let mut spec = self.template.clone();
        target_name(resource.target).as_str().clone_into(&mut spec.target.name);
        spec.suspend = resource.is_suspended;
        resource_object(spec, meta)
    }

    fn resource_meta(&self, resource: &Resource, is_current: bool) -> ObjectMeta {
        let claim = match resource.held {
            Held::Free => None,
            Held::Claimed => Some(UID),
            Held::Copied => Some(OTHER_UID),
            Held::Elsewhere => Some(UID),
        };
        let namespace = if resource.held == Held::Elsewhere { ELSEWHERE } else { OPERATOR_NAMESPACE };
        let claimed = claim.map(|uid| (names::CLAIM_ANNOTATION.to_owned(), format!("{namespace}/{uid}")));
        let requested = request(resource.request).map(|value| (names::ROTATE_ANNOTATION.to_owned(), value));
        ObjectMeta {
            namespace: Some(self.id.namespace.clone()),
            name: Some(self.id.name.clone()),
            uid: Some(self.id.uid.clone()),
            resource_version: object_version(is_current),
            finalizers: claim.map(|_| vec![names::FINALIZER.to_owned()]),
            annotations: Some(claimed.into_iter().chain(requested).collect()),
            deletion_timestamp: resource.deleted_at.map(|time| MetaTime(at(time))),
            ..ObjectMeta::default()
        }
    }

    fn real_ledger(&self, ledger: Option<&LedgerSight>) -> real::Ledger {
        if let Some(LedgerSight { record, .. }) = ledger.filter(|ledger| ledger.record.is_unusable()) {
            return real::Ledger::Unusable(self.parsed(record).expect_err("a record that does not belong here"));
        }
        ledger.map_or(real::Ledger::Absent, |LedgerSight { record, is_current }| real::Ledger::Here {
            record: Arc::new(self.real_record(record)),
            version: real::Version::new(object_version(*is_current).unwrap_or_default()),
            uid: "ledger".into(),
        })
    }

    fn small_ledger(&self, ledger: &real::Ledger) -> Option<LedgerSight> {
        match ledger {
            real::Ledger::Absent => None,
            real::Ledger::Unusable(why) => {
                let (issuer, place) = match why {
                    real::Unusable::OtherIssuer => (1, Belongs::Here),
                    real::Unusable::ForeignHome => (0, Belongs::OtherHome),
                    real::Unusable::Corrupt => (0, Belongs::Corrupt),
                    why => unreachable!("{why:?}: the model has no such ledger"),
                };
                Some(LedgerSight { record: Record { issuer, place, ..Record::default() }, is_current: true })
            }
            real::Ledger::Here { record, version, .. } => {
                Some(LedgerSight { record: self.small_record(record), is_current: version.as_str() == super::CURRENT })
            }
        }
    }

    fn small_source(source: &real::Source) -> SourceSight {
        match source {
            real::Source::Unread { version } => SourceSight::Unread { version: small_version(version) },
            real::Source::Missing => SourceSight::Missing,
            real::Source::Incomplete { .. } => unreachable!("the model has no such credentials"),
            real::Source::Found { pair, version } => {
                SourceSight::Found(Credentials { pair: number(pair.client_secret.expose()), version: small_version(version) })
            }
        }
    }

    fn real_targets(&self, targets: &[TargetSight; NAMES]) -> BTreeMap<real::Name, real::Target> {
        (0_u8..).zip(targets).filter_map(|(name, sight)| Some((target_name(name), self.real_target(*sight)?))).collect()
    }

    fn real_target(&self, sight: TargetSight) -> Option<real::Target> {
        Some(match sight {
            TargetSight::Unread => return None,
            TargetSight::Absent => real::Target::Absent,
            TargetSight::Foreign { consent, is_current } => {
                let meta = ObjectMeta { resource_version: object_version(is_current), ..ObjectMeta::default() };
                real::Target::Foreign { meta: Arc::new(meta), consent }
            }
            TargetSight::Ours { owner, content, is_immutable, is_current } => real::Target::Ours {
                owner: real_owner(owner),
                data: self.content_digest(content),
                immutable: is_immutable,
                meta: self.target_meta(owner, is_current),
            },
        })
    }

    fn target_meta(&self, owner: Owner, is_current: bool) -> Arc<ObjectMeta> {
        let mut metas = self.target_metas.borrow_mut();
        Arc::clone(metas.entry((owner, is_current)).or_insert_with(|| Arc::new(self.written_meta(owner, is_current))))
    }

    /// As a write of ours leaves it.
    fn written_meta(&self, owner: Owner, is_current: bool) -> ObjectMeta {
        let there = ObjectMeta { resource_version: object_version(is_current), ..ObjectMeta::default() };
        let meta = real::dry(&self.wanted(&Resource::default(), ObjectMeta::default()), &self.id).metadata(&there);
        let owned_by = |uid: &str| {
            let owners = meta.owner_references.clone().unwrap_or_default();
            owners.into_iter().map(|owner| OwnerReference { uid: uid.to_owned(), ..owner }).collect()
        };
        let owner_references = match owner {
            Owner::Me => Some(owned_by(UID)),
            Owner::OtherUid => Some(owned_by(OTHER_UID)),
            Owner::None => None,
        };
        ObjectMeta { owner_references, ..meta }
    }

    fn small_target(&self, target: Option<&real::Target>) -> TargetSight {
        match target {
            None => TargetSight::Unread,
            Some(real::Target::Absent) => TargetSight::Absent,
            Some(real::Target::Foreign { meta, consent }) => TargetSight::Foreign { consent: *consent, is_current: is_current(meta) },
            Some(real::Target::Ours { owner, data, immutable, meta }) => TargetSight::Ours {
                owner: small_owner(*owner),
                content: self.content_of(data),
                is_immutable: *immutable,
                is_current: is_current(meta),
            },
        }
    }
}

fn small_resource(resource: &real::Resource) -> ResourceSight {
    let here = |meta: &ObjectMeta, target: u8, is_suspended: bool| {
        let annotation = |key: &str| meta.annotations.as_ref().and_then(|annotations| annotations.get(key));
        let held = match annotation(names::CLAIM_ANNOTATION).filter(|_| has_finalizer(meta)) {
            None => Held::Free,
            Some(claim) if claim.starts_with(ELSEWHERE) => Held::Elsewhere,
            Some(claim) if claim.ends_with(UID) => Held::Claimed,
            Some(_) => Held::Copied,
        };
        let request = annotation(names::ROTATE_ANNOTATION).map_or(0, |value| number(value));
        let deleted_at = meta.deletion_timestamp.as_ref().map(|at| time(at.0));
        ResourceSight::Here {
            resource: Resource { uid: 0, target, is_suspended, request, held, says: 0, deleted_at },
            is_current: is_current(meta),
        }
    };
    match resource {
        real::Resource::Wanted(wanted) => here(&wanted.metadata, name_of(&wanted.spec.target.name), wanted.spec.suspend),
        real::Resource::Leaving(leaving) => here(&leaving.meta, 0, false),
        real::Resource::Unreadable(_) => unreachable!("the model has no such resource"),
        real::Resource::NotFound { proven } => ResourceSight::NotFound { proven: *proven },
        real::Resource::Replaced => ResourceSight::Replaced,
        real::Resource::Released => ResourceSight::Released,
    }
}

fn real_source(source: SourceSight) -> real::Source {
    match source {
        SourceSight::Unread { version: of } => real::Source::Unread { version: version(of) },
        SourceSight::Missing => real::Source::Missing,
        SourceSight::Found(Credentials { pair, version: of }) => real::Source::Found { pair: credentials(pair), version: version(of) },
    }
}
