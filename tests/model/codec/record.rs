//! The ledger's content, both ways.

use revoiceit_operator::planner::{self as real, Digest, TargetId, Version};

use super::{Codec, access_token, at, name_of, number, refresh_token, request, target_name, time, version};
use crate::{
    sight::Owner,
    world::{Belongs, Failed, Intent, IntentCall, Listed, Live, NAMES, Record, Retiring, Stamp},
};

/// The stamp of the pass that is asked for.
pub(super) const ME: &str = "me";
const OTHER: &str = "other";

impl Codec {
    pub(super) fn real_record(&self, record: &Record) -> real::Record {
        let mut to = real::Record::new(&self.place, (*self.id).clone(), self.template.revocation.deadline());
        let Record { claimed, closed, rotates, ledger_lost, lost, disputed, handled_request, next_revision, .. } = *record;
        (to.claimed, to.closed, to.rotates) = (claimed, closed, rotates);
        to.suspects = real::Suspects { lost: lost.into(), ledger_lost, disputed: disputed.into() };
        to.handled_request = request(handled_request);
        to.next_revision = next_revision.into();
        to.next_issue = at(record.next_issue);
        to.live = record.live.as_ref().map(|live| self.real_live(live));
        to.retiring = record.retiring.iter().map(real_retiring).collect();
        to.intent = record.intent.map(|intent| real::Intent {
            call: match intent.call {
                IntentCall::Issue => real::IntentCall::Issue,
                IntentCall::Refresh(revision) => real::IntentCall::Refresh { revision: revision.into() },
            },
            cause: intent.cause,
            source: self.pair_digest(intent.pair),
            stamp: real::Stamp::new(if intent.stamp == Stamp::Mine { ME } else { OTHER }),
            until: at(intent.until),
        });
        to.failed_issue = record.failed_issue.map(|failed| self.real_failed(failed));
        to.failed_refresh = record.failed_refresh.map(|failed| self.real_failed(failed));
        to.targets = (0_u8..)
            .zip(record.listed)
            .filter_map(|(name, listed)| {
                let left_at = match listed {
                    Listed::No => return None,
                    Listed::Yes => None,
                    Listed::Left(time) => Some(at(time)),
                };
                Some(TargetId { name: target_name(name), left_at })
            })
            .collect();
        to
    }

    /// What the production code makes of a ledger with such a record.
    pub(super) fn parsed(&self, record: &Record) -> Result<real::Record, real::Unusable> {
        let mut ledger = self.real_record(record);
        if record.issuer != 0 {
            ledger.issuer = "https://elsewhere.test".into();
        }
        if record.place == Belongs::OtherHome {
            ledger.home = "elsewhere".into();
        }
        let json = ledger.to_json();
        let kept = if record.place == Belongs::Corrupt { json.len() / 2 } else { json.len() };
        real::Record::parse(&json[..kept], &self.place, &self.id)
    }

    pub(crate) fn small_record(&self, record: &real::Record) -> Record {
        let mut listed = [Listed::No; NAMES];
        for target in &record.targets {
            listed[usize::from(name_of(target.name.as_str()))] = target.left_at.map_or(Listed::Yes, |at| Listed::Left(time(at)));
        }
        let count = |count: u32| u8::try_from(count).expect("few suspects");
        Record {
            issuer: 0,
            place: Belongs::Here,
            claimed: record.claimed,
            closed: record.closed,
            rotates: record.rotates,
            ledger_lost: record.suspects.ledger_lost,
            lost: count(record.suspects.lost),
            disputed: count(record.suspects.disputed),
            handled_request: record.handled_request.as_deref().map_or(0, number),
            next_revision: revision(record.next_revision),
            next_issue: time(record.next_issue),
            live: record.live.as_ref().map(|live| self.small_live(live)),
            retiring: record.retiring.iter().map(small_retiring).collect(),
            intent: record.intent.as_ref().map(|intent| Intent {
                call: match intent.call {
                    real::IntentCall::Issue => IntentCall::Issue,
                    real::IntentCall::Refresh { revision: of } => IntentCall::Refresh(revision(of)),
                },
                cause: intent.cause,
                pair: self.pair_of(&intent.source),
                stamp: if intent.stamp.as_str() == ME { Stamp::Mine } else { Stamp::Other },
                until: time(intent.until),
            }),
            failed_issue: record.failed_issue.as_ref().map(|failed| self.small_failed(failed)),
            failed_refresh: record.failed_refresh.as_ref().map(|failed| self.small_failed(failed)),
            listed,
        }
    }

    pub(super) fn real_live(&self, live: &Live) -> real::Live {
        real::Live {
            revision: live.revision.into(),
            refresh: refresh_token(live.refresh),
            access: access_token(live.access),
            sent_at: at(live.expires_at - self.lifetime()),
            expires_at: at(live.expires_at),
            source: self.pair_digest(live.pair),
            source_version: live.version.map(version),
            rejected: live.rejected,
            unanswered: live.unanswered,
        }
    }

    fn small_live(&self, live: &real::Live) -> Live {
        assert_eq!(time(live.sent_at), time(live.expires_at) - self.lifetime(), "all tokens of the model live equally long");
        Live {
            revision: revision(live.revision),
            refresh: number(live.refresh.expose()),
            access: number(live.access.expose()),
            expires_at: time(live.expires_at),
            pair: self.pair_of(&live.source),
            version: live.source_version.as_ref().map(small_version),
            rejected: live.rejected,
            unanswered: live.unanswered,
        }
    }

    fn real_failed(&self, failed: Failed) -> real::Failed {
        let source: Digest = self.pair_digest(failed.pair);
        // Since when and how often is for people.
        real::Failed { class: failed.class, since: at(failed.at), at: at(failed.at), count: 1, not_before: at(failed.not_before), source }
    }

    fn small_failed(&self, failed: &real::Failed) -> Failed {
        Failed { class: failed.class, at: time(failed.at), not_before: time(failed.not_before), pair: self.pair_of(&failed.source) }
    }
}

fn real_retiring(retiring: &Retiring) -> real::Retiring {
    real::Retiring {
        revision: retiring.revision.into(),
        refresh: refresh_token(retiring.refresh),
        due: at(retiring.due),
        tries: retiring.tries.into(),
        not_before: retiring.not_before.map(at),
        worked_at: retiring.worked_at.map(at),
        unanswered: retiring.unanswered,
        // No revocation is refused in the model: it works at the end, and until then it fails.
        refused: false,
    }
}

fn small_retiring(retiring: &real::Retiring) -> Retiring {
    Retiring {
        revision: revision(retiring.revision),
        refresh: number(retiring.refresh.expose()),
        due: time(retiring.due),
        tries: u8::try_from(retiring.tries).expect("few tries"),
        not_before: retiring.not_before.map(time),
        worked_at: retiring.worked_at.map(time),
        unanswered: retiring.unanswered,
    }
}

pub(super) fn revision(revision: u64) -> u8 {
    u8::try_from(revision).expect("few revisions")
}

pub(super) fn small_version(version: &Version) -> u8 {
    number(version.as_str())
}

pub(super) fn real_owner(owner: Owner) -> real::Owner {
    match owner {
        Owner::Me => real::Owner::Me,
        Owner::OtherUid => real::Owner::OtherUid,
        Owner::None => real::Owner::None,
    }
}

pub(super) fn small_owner(owner: real::Owner) -> Owner {
    match owner {
        real::Owner::Me => Owner::Me,
        real::Owner::OtherUid => Owner::OtherUid,
        real::Owner::None => Owner::None,
    }
}
