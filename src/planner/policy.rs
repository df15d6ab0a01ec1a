//! How long things take, and how many there may be. Every duration of the protocol is a field here, so that tests can shorten it.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

/// Durations are given in the policy file of the tests as whole milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Policy {
    /// Lifetime of an access token, unless the token itself says less. From the vendor's document.
    #[serde(with = "millis")]
    pub token_lifetime: Duration,
    /// The least that a lifetime is taken for.
    #[serde(with = "millis")]
    pub min_lifetime: Duration,
    /// Age at which a look is taken anew. Below the time that the API server gives a request, 60 s, together with which it must stay below `linger`.
    #[serde(with = "millis")]
    pub look_age: Duration,
    /// How long a name is kept in the record after it was left: a `POST` under it may come late.
    #[serde(with = "millis")]
    pub linger: Duration,
    /// How long an intent may be sent after it was written. At least `linger`, at most `min_grace`.
    #[serde(with = "millis")]
    pub intent: Duration,
    /// The least that a superseded refresh token lives after its successor was delivered.
    #[serde(with = "millis")]
    pub min_grace: Duration,
    /// Between two attempts, at least.
    #[serde(with = "millis")]
    pub retry_min: Duration,
    /// Between two attempts, at most.
    #[serde(with = "millis")]
    pub retry_max: Duration,
    /// Between two attempts with a pair that was rejected, while there is no valid token.
    #[serde(with = "millis")]
    pub rejected_retry: Duration,
    /// Between two revocations of a token that nobody waits for, at most.
    #[serde(with = "millis")]
    pub revoke_retry_max: Duration,
    /// A refresh token whose revocation is refused stays at least for so long after it was due. Then it makes room, where there is none left.
    #[serde(with = "millis")]
    pub refused_stay: Duration,
    /// The issue budget: one in this time, once the burst is used up.
    #[serde(with = "millis")]
    pub budget_interval: Duration,
    /// The issue budget: this many at once.
    pub budget_burst: u32,
    /// Between two NotFounds that prove a resource gone.
    #[serde(with = "millis")]
    pub absence: Duration,
    /// Between two times at which ledgers without a resource are looked for.
    #[serde(with = "millis")]
    pub sweep: Duration,
    /// From this many refresh tokens on their way out on, no call is begun that might add one.
    pub retiring_cap: usize,
    /// Acts in one pass; saving what is in hand is not counted against it.
    pub max_acts: u32,
    /// Every resource is treated as if it were being deleted, with the deadline at this time.
    #[serde(skip)]
    pub draining: Option<Timestamp>,
}

impl Default for Policy {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            token_lifetime: 60 * MINUTE,
            min_lifetime: Duration::from_secs(30),
            look_age: MINUTE,
            linger: 2 * MINUTE,
            intent: 2 * MINUTE,
            min_grace: 2 * MINUTE,
            retry_min: Duration::from_secs(5),
            retry_max: 5 * MINUTE,
            rejected_retry: 15 * MINUTE,
            revoke_retry_max: 60 * MINUTE,
            refused_stay: 60 * MINUTE,
            budget_interval: 15 * MINUTE,
            budget_burst: 5,
            absence: 5 * MINUTE,
            sweep: 10 * MINUTE,
            retiring_cap: 8,
            max_acts: 24,
            draining: None,
        }
    }
}

impl Policy {
    /// The same for taking the operator away, within `timeout` from now.
    ///
    /// There is no later: what failed is tried again soon, also what failed long ago and was to be tried in an hour. Nor is there time for the
    /// usual proof of absence. It keeps pods from losing a token that they read, and here every token goes.
    #[must_use]
    pub fn draining(self, now: Timestamp, timeout: Duration) -> Self {
        const SOON: Duration = Duration::from_secs(20);
        Self {
            draining: Some(super::schedule::after(now, timeout)),
            absence: self.absence.min(timeout / 2),
            retry_min: self.retry_min.min(SOON),
            retry_max: self.retry_max.min(SOON),
            revoke_retry_max: self.revoke_retry_max.min(SOON),
            ..self
        }
    }
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
