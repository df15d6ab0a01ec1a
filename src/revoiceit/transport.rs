//! The one HTTP client, and how it is set up.
//!
//! # What reqwest and hyper do
//!
//! Read in reqwest 0.13.5, hyper 1.12.0, hyper-util 0.1.21 and rustls-platform-verifier 0.7.1, and held by the tests:
//!
//! - *Roots.* `rustls-no-provider` verifies with the platform verifier, which on Linux loads the certificate files of the
//!   operating system (`SSL_CERT_FILE` and `SSL_CERT_DIR` included) each time a client is built, and adds those that
//!   `tls_certs_merge` names. It fails only when it has none of either: an image without CA files needs the CA file.
//! - *Retries.* reqwest repeats a request only as its retry policy says, here never. hyper-util sends a request on another
//!   connection when the pooled one turns out to be closed before the request was taken up, and only then.
//! - *Timeouts.* The connect timeout covers name, TCP, proxy and TLS. The whole timeout looks the same whether or not
//!   anything was sent, which is why [`Once`](super::once::Once) keeps watch.

use std::{
    error::Error,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::{Certificate, Client, Url, redirect, retry};
use tokio::time::Instant;

use super::{
    ca_file::CaFile,
    options::{Options, OptionsError},
};

/// How long a connection may rest before it is closed. Below 5 s, the shortest time after which common servers close one
/// (Node.js): a request that meets a connection just being closed counts as lost, and a new handshake costs less.
const POOL_IDLE: Duration = Duration::from_secs(3);

/// How many connections may rest, as many as calls are in flight by default.
const POOL_SIZE: usize = 16;

/// The longest text of an error in a log line. What a peer sends can be quoted in it.
const MAX_ERROR_CHARS: usize = 500;

/// The one client, exchanged only when the content of the CA file has changed.
pub(super) struct Transport {
    url: Url,
    options: Options,
    state: Mutex<State>,
}

struct State {
    client: Client,
    ca_file: Option<CaFile>,
    checked_at: Instant,
    problem: Option<String>,
}

impl Transport {
    /// Sets up the client. Panics if no TLS provider is installed for the process.
    pub(super) fn new(options: Options) -> Result<Self, OptionsError> {
        let url = options.checked_url()?;
        let mut ca_file = options.ca_file.clone().map(CaFile::new);
        let client = match &mut ca_file {
            None => build(&url, &options, Vec::new()).map_err(OptionsError::Client)?,
            Some(file) => renewed(file, &url, &options)?.expect("a file that was never used is new"),
        };
        let state = Mutex::new(State { client, ca_file, checked_at: Instant::now(), problem: None });
        Ok(Self { url, options, state })
    }

    /// The API's URL, without a path.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The client for a call. Looks for a new CA file first, when it is time; one that cannot be used leaves things as
    /// they are and is told.
    ///
    /// The look is a few system calls on a mounted file, once every ten seconds, and so not worth a thread of its own; a
    /// change costs some milliseconds.
    pub(super) fn client(&self) -> Client {
        let mut state = self.state();
        if state.checked_at.elapsed() >= self.options.ca_file_interval {
            state.checked_at = Instant::now();
            self.look_for_new_ca(&mut state);
        }
        state.client.clone()
    }

    /// Why the CA file cannot be used as it is now, while the certificates read before are in use still.
    pub(super) fn ca_problem(&self) -> Option<String> {
        self.state().problem.clone()
    }

    fn look_for_new_ca(&self, state: &mut State) {
        let Some(file) = &mut state.ca_file else { return };
        let problem = match renewed(file, &self.url, &self.options) {
            Ok(None) => None,
            Ok(Some(client)) => {
                state.client = client;
                tracing::info!(file = %file.path().display(), "the API's CA file has changed and is in use");
                None
            }
            Err(error) => Some(chain(&error)),
        };
        if problem != state.problem {
            match &problem {
                Some(problem) => tracing::warn!(problem, "the API's CA file cannot be used; the certificates read before stay in use"),
                None => tracing::info!(file = %file.path().display(), "the API's CA file can be used again"),
            }
            state.problem = problem;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is in it is right after each statement, so a panic elsewhere has not broken it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client with the file's certificates, if they are not the ones in use.
fn renewed(file: &mut CaFile, url: &Url, options: &Options) -> Result<Option<Client>, OptionsError> {
    let Some((content, certificates)) = file.read_if_new()? else { return Ok(None) };
    // With certificates at hand, nothing but one of them can be what building a client fails for.
    let client = build(url, options, certificates).map_err(|source| file.damaged(source))?;
    file.use_content(content);
    Ok(Some(client))
}

fn build(url: &Url, options: &Options, certificates: Vec<Certificate>) -> reqwest::Result<Client> {
    let is_https = url.scheme() == "https";
    let mut builder = Client::builder()
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .timeout(options.timeout)
        .connect_timeout(options.timeout / 2)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .https_only(is_https)
        .http1_only()
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_SIZE);
    if !options.env_proxies {
        builder = builder.no_proxy();
    }
    // For http:// no roots are needed, and looking for some would make an image without them a failure.
    if is_https { builder.tls_certs_merge(certificates) } else { builder.tls_certs_only(certificates) }.build()
}

/// An error and its sources in one line, of bounded length.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line = format!("{line}: {error}");
        source = error.source();
    }
    line.chars().take(MAX_ERROR_CHARS).collect()
}
