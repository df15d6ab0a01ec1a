//! [`HttpAuth`]: the auth API over HTTP.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use reqwest::{
    Response,
    header::{ACCEPT, CONTENT_TYPE, DATE, HeaderName, HeaderValue, RETRY_AFTER},
};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{
    Auth, CallKind, CallReport, ClientCredentials, Failure, Issued, Options, OptionsError, RefreshToken, Refreshed, Revoked, headers,
    once::Once,
    outcome::{self, Body, Reply},
    report::Success,
    transport::{Transport, chain},
    wire,
};
use crate::runtime::clock;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

type OnCall = Box<dyn Fn(&CallReport) + Send + Sync>;

/// The auth API over HTTP. One for the process; calls run beside each other.
///
/// - A call sends its request at most once. It follows no redirect and repeats nothing.
/// - It ends within [`Options::timeout`], whatever the server does, and reads 64 KiB of an answer at most.
/// - It writes one line of log, inside the span of its caller, and never a token or a body.
/// - A call whose future is dropped is given up, and nobody learns what came of it. Whoever may be cancelled has to run it
///   in a task of its own.
pub struct HttpAuth {
    transport: Transport,
    on_call: OnCall,
}

impl HttpAuth {
    /// Checks the options and sets up the client. Sends nothing.
    ///
    /// # Panics
    ///
    /// If the process has no default TLS provider (`rustls::crypto::CryptoProvider::install_default`).
    pub fn new(options: Options) -> Result<Self, OptionsError> {
        Ok(Self { transport: Transport::new(options)?, on_call: Box::new(|_| {}) })
    }

    /// Has `on_call` called at the end of each call, before its caller gets the answer. It must neither block nor panic:
    /// the answer would be lost with it.
    #[must_use]
    pub fn on_call(mut self, on_call: impl Fn(&CallReport) + Send + Sync + 'static) -> Self {
        self.on_call = Box::new(on_call);
        self
    }

    /// The API's origin in its canonical form, `https://host` or `https://host:port`: the issuer that ledgers name.
    pub fn origin(&self) -> String {
        self.transport.url().origin().ascii_serialization()
    }

    /// Why the CA file cannot be used as it is now; the certificates that were read before are then in use still. It is
    /// looked at with the next call that is due to do so.
    pub fn ca_problem(&self) -> Option<String> {
        self.transport.ca_problem()
    }

    async fn call<T: Success>(
        &self,
        call: CallKind,
        body: Zeroizing<Vec<u8>>,
        judge: impl FnOnce(Reply<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let exchange = self.exchange(call, body).await;
        let elapsed = began.elapsed();

        let result = judge(exchange.reply());
        let outcome = result.as_ref().map_or_else(Failure::as_str, Success::as_str);
        let Exchange { status, server_date, answered_at, error, .. } = exchange;
        let (call_name, elapsed_ms) = (call.as_str(), elapsed.as_millis() as u64);
        match result {
            Ok(_) => tracing::info!(call = call_name, outcome, status, elapsed_ms, "Revoiceit call"),
            Err(_) => tracing::warn!(call = call_name, outcome, status, elapsed_ms, error, "Revoiceit call failed"),
        }
        (self.on_call)(&CallReport { call, outcome, status, elapsed, server_date, answered_at });
        result
    }

    async fn exchange(&self, call: CallKind, body: Zeroizing<Vec<u8>>) -> Exchange {
        let mut url = self.transport.url().clone();
        url.set_path(call.path());
        let (body, witness) = Once::new(body);
        let request = self.transport.client().post(url).header(CONTENT_TYPE, JSON).header(ACCEPT, JSON).body(reqwest::Body::wrap(body));

        match request.send().await {
            Ok(response) => Exchange::read(response).await,
            Err(error) => Exchange::given_up(error, witness.may_have_left()),
        }
    }
}

impl Auth for HttpAuth {
    async fn issue(&self, pair: &ClientCredentials) -> Result<Issued, Failure> {
        self.call(CallKind::Issue, wire::issue_body(pair), outcome::issued).await
    }

    async fn refresh(&self, token: &RefreshToken) -> Result<Refreshed, Failure> {
        self.call(CallKind::Refresh, wire::refresh_token_body(token), |reply| outcome::refreshed(reply, token)).await
    }

    async fn revoke(&self, token: &RefreshToken) -> Result<Revoked, Failure> {
        self.call(CallKind::Revoke, wire::refresh_token_body(token), outcome::revoked).await
    }
}

/// A request and what came back.
struct Exchange {
    may_have_left: bool,
    status: Option<u16>,
    retry_after: Option<Duration>,
    server_date: Option<Timestamp>,
    answered_at: Timestamp,
    body: Received,
    /// What went wrong on the way, for the log.
    error: Option<String>,
}

enum Received {
    Whole(Zeroizing<Vec<u8>>),
    TooLong,
    Unread,
}

impl Exchange {
    /// No status came back.
    fn given_up(error: reqwest::Error, may_have_left: bool) -> Self {
        Self {
            may_have_left,
            status: None,
            retry_after: None,
            server_date: None,
            answered_at: clock::now(),
            body: Received::Unread,
            error: Some(chain(&error.without_url())),
        }
    }

    async fn read(response: Response) -> Self {
        let answered_at = clock::now();
        let header = |name: HeaderName| response.headers().get(name).map(HeaderValue::as_bytes);
        let status = response.status().as_u16();
        let server_date = header(DATE).and_then(headers::date);
        let retry_after = header(RETRY_AFTER).and_then(|value| headers::retry_after(value, server_date.unwrap_or(answered_at)));

        let (body, error) = if outcome::needs_body(status) { read_body(response).await } else { (Received::Unread, None) };
        Self { may_have_left: true, status: Some(status), retry_after, server_date, answered_at, body, error }
    }

    fn reply(&self) -> Reply<'_> {
        let body = match &self.body {
            Received::Whole(bytes) => Body::Whole(bytes),
            Received::TooLong => Body::TooLong,
            Received::Unread => Body::Unread,
        };
        match self.status {
            Some(status) => Reply::Answer { status, retry_after: self.retry_after, body },
            None if self.may_have_left => Reply::NoAnswer,
            None => Reply::NotSent,
        }
    }
}

/// Reads the body into a buffer that is as large as it may become from the start, so that no copies are left behind.
async fn read_body(mut response: Response) -> (Received, Option<String>) {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    let mut body = Zeroizing::new(Vec::with_capacity(announced.unwrap_or(wire::MAX_ANSWER).min(wire::MAX_ANSWER)));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > wire::MAX_ANSWER => return (Received::TooLong, None),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return (Received::Whole(body), None),
            Err(error) => return (Received::Unread, Some(chain(&error.without_url()))),
        }
    }
}
