//! What is seen, with the questions that more than one step asks of it.

use std::cell::OnceCell;

use jiff::Timestamp;

use super::{
    observed::{Claim, Ledger, Observed, Quarrel, Refused, Resource, Target},
    record::{Intent, Live, Record, Retiring},
    render,
    schedule::{self, Line},
    words::Name,
};
use crate::api::{RevoiceitCredential, RevoiceitCredentialSpec};

/// One `Observed` at one time.
pub(super) struct View<'a> {
    pub(super) seen: &'a Observed,
    pub(super) now: Timestamp,
    pub(super) record: Option<&'a Record>,
    is_delivered: OnceCell<bool>,
}

impl<'a> View<'a> {
    pub(super) fn new(seen: &'a Observed, now: Timestamp) -> Self {
        Self { seen, now, record: seen.record(), is_delivered: OnceCell::new() }
    }

    pub(super) fn wanted(&self) -> Option<&'a RevoiceitCredential> {
        match &self.seen.resource {
            Resource::Wanted(resource) => Some(resource),
            _ => None,
        }
    }

    pub(super) fn spec(&self) -> Option<&'a RevoiceitCredentialSpec> {
        self.wanted().map(|resource| &resource.spec)
    }

    pub(super) fn live(&self) -> Option<&'a Live> {
        self.record?.live.as_ref()
    }

    /// There is a live line, and its access token has not expired.
    pub(super) fn has_valid_token(&self) -> bool {
        self.live().is_some_and(|live| live.expires_at > self.now)
    }

    /// The times of the live line.
    pub(super) fn line(&self) -> Option<Line> {
        Some(schedule::line(self.live()?, self.spec()?.refresh.before_expiry(), &self.seen.id.uid))
    }

    /// The name of the target in the spec.
    pub(super) fn target_name(&self) -> Option<Name> {
        self.spec().map(|spec| Name::new(&spec.target.name))
    }

    /// The Secret under that name, if it was read.
    pub(super) fn target(&self) -> Option<&'a Target> {
        self.seen.targets.get(&self.target_name()?)
    }

    /// The target is as the spec and the live line want it.
    pub(super) fn is_delivered(&self) -> bool {
        *self.is_delivered.get_or_init(|| match (self.wanted(), self.live(), self.target()) {
            (Some(resource), Some(live), Some(target)) => render::desired(resource, &self.seen.id, live).is_in(target),
            _ => false,
        })
    }

    /// Pods read a valid token, as specified.
    pub(super) fn is_ready(&self) -> bool {
        self.has_valid_token() && self.is_delivered()
    }

    /// The resource is being deleted, or is to be treated as if it were.
    pub(super) fn is_leaving(&self) -> bool {
        match &self.seen.resource {
            Resource::Leaving(_) => true,
            Resource::Wanted(_) | Resource::Unreadable(_) => self.seen.policy.draining.is_some(),
            Resource::NotFound { .. } | Resource::Replaced | Resource::Released => false,
        }
    }

    /// No token is wanted any more: leaving, or gone for certain.
    pub(super) fn is_ending(&self) -> bool {
        match &self.seen.resource {
            Resource::Wanted(_) | Resource::Leaving(_) | Resource::Unreadable(_) => self.is_leaving(),
            // A closed record saw a deletionTimestamp, which cannot be undone, or a drain. Where that was broken off the resource is still
            // wanted, and is then found: only the record of one that is not found is ended by this.
            Resource::NotFound { proven } => *proven || self.record.is_some_and(|record| record.closed),
            Resource::Replaced | Resource::Released => true,
        }
    }

    /// Finalizer and claim are there, and are ours.
    pub(super) fn is_claimed(&self) -> bool {
        self.seen.claim() == Claim::Ours
    }

    /// The pass's own intent, while it has not been sent.
    pub(super) fn my_unsent_intent(&self) -> Option<&'a Intent> {
        self.seen.my_intent().filter(|_| !self.seen.spent.intent_sent)
    }

    /// An intent of another pass: its answer may still come.
    pub(super) fn foreign_intent(&self) -> Option<&'a Intent> {
        self.record?.intent.as_ref().filter(|intent| intent.stamp != self.seen.me)
    }

    /// The refresh tokens on their way out whose revocation has not just failed.
    pub(super) fn revocable(&self) -> impl Iterator<Item = &'a Retiring> {
        let retiring = self.record.map(|record| record.retiring.as_slice()).unwrap_or_default();
        retiring.iter().filter(|retiring| !schedule::is_revocation_paused(&self.seen.policy, retiring, self.now))
    }

    /// The API server refused such a write in this pass.
    pub(super) fn is_refused(&self, what: Refused) -> bool {
        self.seen.refused.contains_key(&what)
    }

    /// Somebody else keeps writing the target, and it is left alone for now.
    pub(super) fn quarrel(&self) -> Option<&'a Quarrel> {
        self.seen.quarrel.as_ref().filter(|quarrel| quarrel.until > self.now)
    }

    /// The ledger can be saved.
    pub(super) fn can_save(&self) -> bool {
        matches!(self.seen.ledger, Ledger::Here { .. }) && !self.is_refused(Refused::Ledger)
    }
}
