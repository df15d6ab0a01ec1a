//! The ground truth: every token that was ever issued, and its state. What tests compare everything else with.

use serde::{Deserialize, Serialize};

use crate::time::UnixMillis;

/// All clients and all tokens at one moment. Tokens are here in the clear; this is for tests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Truth {
    /// When this was looked at.
    pub at: UnixMillis,
    /// The clients that may ask for tokens, by id. Those that come in by `anyClient` are not listed.
    pub clients: Vec<Client>,
    /// Every line that was ever begun, in this order: line `n` is at place `n − 1`.
    pub lines: Vec<Line>,
    /// How often access tokens were checked on `GET /check`.
    pub checks: Checks,
}

/// A client, and the secret that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// The `clientId`.
    pub id: String,
    /// The `clientSecret`; none for a client that was disabled without having been added.
    pub secret: Option<String>,
    /// Whether it gets tokens. A disabled client is rejected on issue and refresh; revoking works.
    pub enabled: bool,
}

/// A line of tokens: what one issue began, and every refresh of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// From 1, in the order of issue. Logs and calls name lines by it.
    pub number: u64,
    /// The `clientId` that it was issued to.
    pub client: String,
    /// When it was issued.
    pub issued_at: UnixMillis,
    /// Its refresh tokens: one, and one more for each rotation. Number `n` is at place `n − 1`.
    pub refresh: Vec<RefreshToken>,
    /// Its access tokens, in the order of issue. Number `n` is at place `n − 1`.
    pub access: Vec<AccessToken>,
}

/// A refresh token, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefreshToken {
    /// The token itself.
    pub token: String,
    /// When it was issued.
    pub issued_at: UnixMillis,
    /// What became of it.
    pub state: RefreshState,
    /// When it stopped being live.
    pub ended_at: Option<UnixMillis>,
    /// How many refreshes were done with it.
    pub uses: u32,
    /// Whether anybody got it.
    pub delivery: Delivery,
}

/// An access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessToken {
    /// The token itself.
    pub token: String,
    /// When it was issued.
    pub issued_at: UnixMillis,
    /// When it stops being valid, if nothing ends it earlier.
    pub expires_at: UnixMillis,
    /// When something ended it earlier.
    pub ended_at: Option<UnixMillis>,
    /// Whether anybody got it.
    pub delivery: Delivery,
}

/// What became of a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RefreshState {
    /// Access tokens can be obtained with it.
    Live,
    /// Revoked by a call.
    Revoked,
    /// Ended by Revoiceit itself.
    Dead,
    /// A rotation put another one in its place.
    RotatedOut,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LineState {
    /// At least one refresh token is live.
    Live,
    /// None is live, and the last one to end was revoked.
    Revoked,
    /// None is live, and the last one to end was ended by Revoiceit itself.
    Dead,
}

/// Whether the answer that carried a token arrived, as far as the server can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Delivery {
    /// The answer is under way, or the sandbox was killed before it knew.
    Pending,
    /// It went out whole, on a connection that was open.
    Delivered,
    /// An answer went out, but not with the token as it is: garbled, missing, or in a body too large to be read.
    Garbled,
    /// No answer went out.
    Lost,
}

/// How often access tokens were checked, and how that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checks {
    /// The token was valid.
    pub accepted: u64,
    /// It was not: unknown, expired or ended.
    pub refused: u64,
}

impl Truth {
    /// Line `number`, if there is one.
    pub fn line(&self, number: u64) -> Option<&Line> {
        self.lines.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// The lines with a live refresh token.
    pub fn live(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.state() == LineState::Live)
    }

    /// All live refresh tokens. In the end, each of them has to be in a ledger, or covered by a suspect.
    pub fn live_refresh_tokens(&self) -> impl Iterator<Item = &RefreshToken> {
        self.lines.iter().flat_map(|line| &line.refresh).filter(|token| token.state == RefreshState::Live)
    }

    /// The lines of one client.
    pub fn lines_of<'a>(&'a self, client: &'a str) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| line.client == client)
    }

    /// The access token with this text, and its line.
    pub fn access(&self, text: &str) -> Option<(&Line, &AccessToken)> {
        self.lines.iter().find_map(|line| Some((line, line.access.iter().find(|token| token.token == text)?)))
    }

    /// The refresh token with this text, and its line.
    pub fn refresh(&self, text: &str) -> Option<(&Line, &RefreshToken)> {
        self.lines.iter().find_map(|line| Some((line, line.refresh.iter().find(|token| token.token == text)?)))
    }

    /// The client that an access token was issued to.
    pub fn owner_of(&self, access: &str) -> Option<&str> {
        self.access(access).map(|(line, _)| line.client.as_str())
    }

    /// Whether this access token exists and is valid at `at`.
    pub fn is_valid(&self, access: &str, at: UnixMillis) -> bool {
        self.access(access).is_some_and(|(_, token)| token.is_valid(at))
    }
}

impl Line {
    /// What became of it.
    pub fn state(&self) -> LineState {
        if self.refresh.iter().any(|token| token.state == RefreshState::Live) {
            return LineState::Live;
        }
        let last = self.refresh.iter().filter(|token| token.state != RefreshState::RotatedOut).max_by_key(|token| token.ended_at);
        if last.is_some_and(|token| token.state == RefreshState::Revoked) { LineState::Revoked } else { LineState::Dead }
    }

    /// Until when the last of its access tokens is valid.
    pub fn expires_at(&self) -> UnixMillis {
        self.access.iter().map(|token| token.ended_at.unwrap_or(token.expires_at)).max().unwrap_or_default()
    }
}

impl AccessToken {
    /// Whether it is valid at `at`.
    pub fn is_valid(&self, at: UnixMillis) -> bool {
        self.issued_at <= at && at < self.expires_at && self.ended_at.is_none_or(|ended_at| at < ended_at)
    }
}
