//! What is in hand: the answers of Revoiceit, and their failures.

use revoiceit_operator::{
    planner as real,
    revoiceit::{Failure as RealFailure, Issued, Refreshed},
};

use super::{
    Codec, access_token, at, now, number,
    record::{revision, small_version},
    refresh_token, request, time, version,
};
use crate::{
    sight::{Called, Failure, Hand, Line},
    world::Credentials,
};

impl Codec {
    pub(super) fn real_hand(&self, hand: &Hand) -> real::Hand {
        match *hand {
            Hand::Nothing => real::Hand::Nothing,
            Hand::Granted { access, refresh, sent_at, pair, request: value } => real::Hand::Granted {
                issued: Issued { access: access_token(access), refresh: refresh_token(refresh), lifetime: None },
                sent_at: at(sent_at),
                source: self.pair_digest(pair.pair),
                source_version: version(pair.version),
                request: request(value),
            },
            Hand::Refreshed { of, access, rotated, sent_at } => real::Hand::Refreshed {
                of: real_line(of),
                refreshed: Refreshed { access: access_token(access), rotated: rotated.map(refresh_token), lifetime: None },
                sent_at: at(sent_at),
            },
            Hand::Failed { call, failure, sent_at } => real::Hand::Failed {
                call: match call {
                    Called::Issue(pair) => real::Called::Issue(self.pair_digest(pair)),
                    Called::Refresh(of) => real::Called::Refresh(real_line(of)),
                },
                failure: real_failure(failure),
                sent_at: at(sent_at),
            },
            Hand::Ended { token, unknown, disputed } => real::Hand::Ended { token: refresh_token(token), unknown, disputed },
            Hand::NotEnded { token, tries } => {
                real::Hand::NotEnded { token: refresh_token(token), tries: tries.into(), retry_after: None, refused: false, sent_at: now() }
            }
        }
    }

    pub(super) fn small_hand(&self, hand: &real::Hand) -> Hand {
        match hand {
            real::Hand::Nothing => Hand::Nothing,
            real::Hand::Granted { issued, sent_at, source, source_version, request } => Hand::Granted {
                access: number(issued.access.expose()),
                refresh: number(issued.refresh.expose()),
                sent_at: time(*sent_at),
                pair: Credentials { pair: self.pair_of(source), version: small_version(source_version) },
                request: request.as_deref().map_or(0, number),
            },
            real::Hand::Refreshed { of, refreshed, sent_at } => Hand::Refreshed {
                of: small_line(of),
                access: number(refreshed.access.expose()),
                rotated: refreshed.rotated.as_ref().map(|token| number(token.expose())),
                sent_at: time(*sent_at),
            },
            real::Hand::Failed { call, failure, sent_at } => Hand::Failed {
                call: match call {
                    real::Called::Issue(source) => Called::Issue(self.pair_of(source)),
                    real::Called::Refresh(of) => Called::Refresh(small_line(of)),
                },
                failure: small_failure(failure),
                sent_at: time(*sent_at),
            },
            real::Hand::Ended { token, unknown, disputed } => {
                Hand::Ended { token: number(token.expose()), unknown: *unknown, disputed: *disputed }
            }
            real::Hand::NotEnded { token, tries, .. } => {
                Hand::NotEnded { token: number(token.expose()), tries: u8::try_from(*tries).expect("few tries") }
            }
        }
    }
}

pub(super) fn real_failure(failure: Failure) -> RealFailure {
    match failure {
        Failure::NotSent => RealFailure::NotSent,
        Failure::Lost => RealFailure::Lost,
        Failure::Unavailable => RealFailure::Unavailable { retry_after: None },
        Failure::Rejected => RealFailure::Rejected,
        Failure::Malformed { refresh } => RealFailure::Malformed { refresh: refresh.map(refresh_token) },
    }
}

pub(super) fn real_line(line: Line) -> real::LineId {
    real::LineId { revision: line.revision.into(), refresh: refresh_token(line.token) }
}

fn small_line(line: &real::LineId) -> Line {
    Line { revision: revision(line.revision), token: number(line.refresh.expose()) }
}

fn small_failure(failure: &RealFailure) -> Failure {
    match failure {
        RealFailure::NotSent => Failure::NotSent,
        RealFailure::Lost => Failure::Lost,
        RealFailure::Unavailable { .. } => Failure::Unavailable,
        RealFailure::Rejected => Failure::Rejected,
        RealFailure::Malformed { refresh } => Failure::Malformed { refresh: refresh.as_ref().map(|token| number(token.expose())) },
    }
}
