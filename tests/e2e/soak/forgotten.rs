//! What Revoiceit knows of, held against the ledgers and what each resource has said.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use revoiceit_sandbox::{Delivery, RefreshState, RefreshToken, UnixMillis};

use super::{IN_HAND, Soak};

impl Soak {
    /// No more tokens live outside of the ledgers than each resource has said of itself; and none of them had come through, but to an operator
    /// that ended with it in hand.
    pub(super) fn nothing_is_forgotten(&self, kept: &str) -> Result<()> {
        let truth = self.world.sandbox.truth();
        let mut missing: BTreeMap<&str, Vec<&RefreshToken>> = BTreeMap::new();
        for line in &truth.lines {
            let live = line.refresh.iter().filter(|token| token.state == RefreshState::Live);
            let lost = live.filter(|token| !kept.contains(&token.token));
            missing.entry(self.resource_of(&line.client)).or_default().extend(lost);
        }
        for (name, missing) in missing {
            let suspected = self.seen.suspected.get(name).copied().unwrap_or_default();
            ensure!(missing.len() <= usize::try_from(suspected)?, "{name}: {} tokens are lost, {suspected} suspected", missing.len());
            let came_through = missing.iter().filter(|token| token.delivery == Delivery::Delivered);
            let forgotten = came_through.filter(|token| !self.ended_within(token.issued_at, IN_HAND)).count();
            ensure!(forgotten == 0, "{name}: {forgotten} tokens were answered and forgotten");
        }
        Ok(())
    }

    /// Whether an operator ended within this time after that.
    fn ended_within(&self, after: UnixMillis, time: Duration) -> bool {
        self.ends.iter().any(|end| *end >= after && end.since(after) <= time)
    }

    /// The resource that a client is of.
    fn resource_of<'a>(&'a self, client: &'a str) -> &'a str {
        let own = client.strip_suffix(&format!("-of-{}", self.world.tenant)).unwrap_or(client);
        self.others.get(client).map_or(own, String::as_str)
    }
}
