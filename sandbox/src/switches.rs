//! What the vendor's document leaves open: each point a switch, with the value that we assume as its default.
//!
//! `docs/assumptions.md` says what stands behind each of them.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::time::millis;

/// How this Revoiceit behaves where its document is silent. The default is what the operator's design assumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Switches {
    /// How long an access token is valid. The document says one hour.
    #[serde(rename = "lifetimeMs", with = "millis")]
    pub lifetime: Duration,
    /// What an access token looks like.
    pub token_form: TokenForm,
    /// Accepts every well-formed pair, unless its client was disabled or has another secret. For demos and benchmarks.
    pub any_client: bool,
    /// Whether revoking a refresh token ends the access tokens of its line.
    pub revoke_ends_access: bool,
    /// Whether revoking one refresh token of a line ends the others too; seen only where refreshes rotate.
    pub revoke_ends_line: bool,
    /// What becomes of a client's earlier lines when it asks for another one.
    pub second_issue: SecondIssue,
    /// The status of every rejection. The document says 400.
    pub rejection_status: u16,
    /// The body of every rejection.
    pub rejection_body: RejectionBody,
    /// Answers the revocation of a token that is unknown, or has ended, with 200 instead of a rejection.
    pub revoke_accepts_unknown: bool,
    /// Whether a refresh hands out a new refresh token.
    pub rotation: Rotation,
    /// After how many refreshes a refresh token dies; never, if not given.
    pub refresh_uses: Option<u32>,
    /// How far the server's clock is off: added to `Date`, and to `iat` and `exp` of a JWT. Never to the ground truth.
    pub clock_offset_ms: i64,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(3600),
            token_form: TokenForm::Opaque,
            any_client: false,
            revoke_ends_access: false,
            revoke_ends_line: false,
            second_issue: SecondIssue::Independent,
            rejection_status: 400,
            rejection_body: RejectionBody::Json,
            revoke_accepts_unknown: false,
            rotation: Rotation::None,
            refresh_uses: None,
            clock_offset_ms: 0,
        }
    }
}

impl Switches {
    /// Whether these can be served.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.rejection_status {
            400..=499 => Ok(()),
            other => Err(format!("rejectionStatus is {other}; a rejection is 400 to 499")),
        }
    }
}

/// What an access token looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum TokenForm {
    /// Random letters and digits.
    Opaque,
    /// A JWT with `iat` and `exp`, and a signature that nobody can verify.
    Jwt,
}

/// What becomes of a client's earlier lines when it asks for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum SecondIssue {
    /// They go on.
    Independent,
    /// The last one goes on: its refresh token is given once more, with another access token.
    SameRefresh,
    /// Their refresh tokens die.
    EndsRefresh,
    /// Their refresh tokens die, and their access tokens end at once.
    EndsAll,
}

/// The body of a rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum RejectionBody {
    /// A JSON object with a `message`.
    Json,
    /// JSON, but a string and not an object.
    JsonString,
    /// Plain text.
    Text,
    /// Nothing.
    Empty,
}

/// Whether a refresh hands out a new refresh token, and what becomes of the one that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum Rotation {
    /// No new refresh token.
    None,
    /// A new one; the old one is dead at once.
    OldDies,
    /// A new one; the old one stays alive beside it until it is revoked.
    OldLives,
}
