//! Decides what to do. Pure: no async, no clock, no randomness, no I/O, no logging.
//!
//! [`plan`] takes what was seen and the time, and returns one act, or rest. [`fold`] takes what came of the act into what is seen. A pass is the
//! two in turn, and a crash point is simply "between two acts". The rules that both keep, and what breaks without each, are in `ARCHITECTURE.md`.

mod act;
mod change;
mod ending;
mod fold;
mod hand;
mod notice;
mod observed;
mod obstacle;
mod plan;
mod policy;
mod record;
mod remains;
mod render;
mod schedule;
mod status;
#[cfg(test)]
mod tests;
mod view;
mod wanted;
mod words;

pub use self::{
    act::{Act, Answer, Came, Change, Lane, Look, Plan, Rest, Sight, Until, Which},
    change::revised,
    fold::fold,
    hand::{Called, Hand},
    notice::{About, News, Notice},
    observed::{
        Claim, Consent, Denied, Leaving, Ledger, Observed, Owner, Place, Quarrel, Refused, Resource, Sighted, Source, Spent, Target,
    },
    plan::{deadline, next_wake, overdue, plan, reads_credentials},
    policy::Policy,
    record::{FORMAT, Failed, Intent, IntentCall, LineId, Live, Record, ResourceId, Retiring, Suspects, TargetId, Unusable},
    remains::{Remains, remains},
    render::{Desired, MAX_RENDERED, desired, dry},
    schedule::{after, before, left, line, spread},
    status::Status,
    words::{Cause, Digest, FailureClass, Name, Stamp, Version},
};
