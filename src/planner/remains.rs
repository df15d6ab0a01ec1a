//! What the operator holds of a resource: what is to be taken away when the operator is.

use super::{
    observed::{Claim, Ledger, Observed},
    record::Unusable,
    words::Name,
};

/// What is left of one resource's tokens, and of the operator's traces. Nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// It has a ledger of this operator.
    pub has_ledger: bool,
    /// The ledger is left alone, for this reason.
    pub unusable: Option<Unusable>,
    /// All of it is left alone: the resource's namespace is not served.
    pub is_out_of_scope: bool,
    /// Refresh tokens in the ledger.
    pub tokens: usize,
    /// A call may still be answered, and bring one more.
    pub is_waiting: bool,
    /// The resource is there, with the operator's finalizer.
    pub has_finalizer: bool,
    /// The resource is not there any more.
    pub is_gone: bool,
    /// The Secrets that go with it.
    pub targets: Vec<Name>,
}

impl Remains {
    /// Nothing is left.
    pub fn is_nothing(&self) -> bool {
        !self.has_finalizer && !self.has_ledger
    }

    /// Nothing is left that this operator may take away.
    pub fn is_done(&self) -> bool {
        self.is_out_of_scope || (!self.has_finalizer && (!self.has_ledger || self.unusable.is_some()))
    }
}

/// What is left, as far as it was seen.
pub fn remains(seen: &Observed) -> Remains {
    let claim = seen.claim();
    let record = seen.record();
    let listed = record.map(|record| record.targets.as_slice()).unwrap_or_default();
    Remains {
        has_ledger: !matches!(seen.ledger, Ledger::Absent),
        unusable: match seen.ledger {
            Ledger::Unusable(why) => Some(why),
            Ledger::Absent | Ledger::Here { .. } => None,
        },
        is_out_of_scope: seen.is_out_of_scope(),
        tokens: record.map_or(0, |record| record.retiring.len() + usize::from(record.live.is_some())),
        is_waiting: record.is_some_and(|record| record.intent.is_some()),
        has_finalizer: matches!(claim, Claim::Ours | Claim::Copied),
        is_gone: seen.meta().is_none(),
        targets: listed
            .iter()
            .map(|listed| &listed.name)
            .filter(|name| seen.targets.get(*name).is_some_and(|target| seen.goes_with_resource(target)))
            .cloned()
            .collect(),
    }
}
