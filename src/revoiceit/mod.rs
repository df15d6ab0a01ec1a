//! The Revoiceit auth API: what is sent, what may come back, and what each answer means.
//!
//! [`Auth`] is the seam that the controller calls through, [`HttpAuth`] the real thing behind it. What Revoiceit answers is a
//! value, never an error: [`Failure`] has one variant for each thing that the operator must tell apart.
//!
//! A call goes through these files: `wire` writes the request's body, `once` sends it and sees whether it left,
//! `transport` is the client that it goes through, `headers` and `wire` read the answer, `outcome` says what it means, and
//! `report` what is told of it.

mod ca_file;
mod client;
#[cfg(test)]
mod client_tests;
#[cfg(fuzzing)]
pub mod fuzzing;
mod headers;
mod jwt;
mod once;
mod options;
mod outcome;
#[cfg(test)]
mod raw_server;
mod report;
mod tokens;
mod transport;
mod wire;

use std::{future::Future, time::Duration};

pub use self::{
    ca_file::CaFileError,
    client::HttpAuth,
    options::{Options, OptionsError},
    report::{CallKind, CallReport, OUTCOMES},
    tokens::{AccessToken, ClientCredentials, ClientId, ClientSecret, RefreshToken},
};

/// A new line of tokens, from `POST /auth/token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The access token.
    pub access: AccessToken,
    /// The refresh token of the line.
    pub refresh: RefreshToken,
    /// `exp − iat` of the access token, when it is a JWT with both. Read, not verified.
    pub lifetime: Option<Duration>,
}

/// A new access token of the same line, from `POST /auth/refresh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// The access token.
    pub access: AccessToken,
    /// A refresh token that takes the place of the one that was sent, if the answer carried another one.
    pub rotated: Option<RefreshToken>,
    /// `exp − iat` of the access token, when it is a JWT with both. Read, not verified.
    pub lifetime: Option<Duration>,
}

/// How a refresh token came to its end, from `POST /auth/revoke`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// 200 with a JSON object: Revoiceit says that it revoked the token.
    Confirmed,
    /// 400 with a JSON object: unknown to Revoiceit, or already revoked.
    Unknown,
}

/// Why a call brought nothing. What may have happened at Revoiceit decides the variant, not how it was found out; the
/// whole table is in `outcome.rs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request never left: DNS, connection refused, TLS, proxy. Revoiceit did nothing.
    NotSent,
    /// The request was sent, at least in part, and no answer came, or not all of it: timeout, reset, 502, 504, a 200 that
    /// broke off. Revoiceit may have acted on it.
    Lost,
    /// Revoiceit, or something in front of it, answered that it cannot serve now. It did nothing.
    Unavailable {
        /// `Retry-After` of the answer, from the time of the answer; an hour at most.
        retry_after: Option<Duration>,
    },
    /// 400 with a JSON object, or 401: what was sent is not valid. It did nothing.
    Rejected,
    /// 200 with something that cannot be used. Revoiceit acted on it.
    Malformed {
        /// A new refresh token that could be read all the same. It is live and has to be revoked. Never the one that was
        /// sent.
        refresh: Option<RefreshToken>,
    },
}

impl Failure {
    /// Revoiceit acted on it, or may have, and what came of it is in no answer: a refresh token that nobody has may be one of it.
    pub fn may_hide_a_token(&self) -> bool {
        match self {
            Self::Lost | Self::Malformed { refresh: None } => true,
            Self::NotSent | Self::Unavailable { .. } | Self::Rejected | Self::Malformed { refresh: Some(_) } => false,
        }
    }
}

/// The three calls of the auth API. Each sends at most one request, never retries, and ends in bounded time.
pub trait Auth: Send + Sync + 'static {
    /// Begins a new line of tokens.
    fn issue(&self, pair: &ClientCredentials) -> impl Future<Output = Result<Issued, Failure>> + Send;
    /// Obtains a new access token of an existing line.
    fn refresh(&self, token: &RefreshToken) -> impl Future<Output = Result<Refreshed, Failure>> + Send;
    /// Ends a line. `Err` means that it has to be tried again.
    fn revoke(&self, token: &RefreshToken) -> impl Future<Output = Result<Revoked, Failure>> + Send;
}
