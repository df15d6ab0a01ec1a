//! A client of the admin API, for tests that run the sandbox as a process of its own.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context;
use reqwest::{Client, Method, Url};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    admin::{CallList, ClientBody, Count, Injected, TokenBody},
    calls::{Call, CallRecord},
    fault::Fault,
    faults::ActiveFault,
    switches::Switches,
    truth::Truth,
};

/// How often [`Admin::wait_for`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The same as [`World`](crate::World)'s methods, over HTTP. Errors are those of the connection, or what the sandbox refused, in words.
#[derive(Clone, Debug)]
pub struct Admin {
    root: Url,
    http: Client,
}

impl Admin {
    /// A client of the admin API at this address. Sends nothing yet.
    ///
    /// # Panics
    /// The HTTP client cannot be built: there is no TLS provider, although one is installed here.
    pub fn new(address: SocketAddr) -> Self {
        // reqwest wants a provider even where all is plain HTTP; who has installed one already, keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().expect("a TLS provider is installed");
        Self { root: Url::parse(&format!("http://{address}/")).expect("an address is a host"), http }
    }

    /// All tokens and clients, now.
    pub async fn truth(&self) -> anyhow::Result<Truth> {
        self.get(&["truth"]).await
    }

    /// The number of the last call: a mark for [`calls`](Self::calls) and [`count`](Self::count).
    pub async fn mark(&self) -> anyhow::Result<u64> {
        Ok(self.call_list(u64::MAX).await?.last)
    }

    /// The calls after `mark`; 0 for all.
    pub async fn calls(&self, mark: u64) -> anyhow::Result<Vec<CallRecord>> {
        Ok(self.call_list(mark).await?.calls)
    }

    /// How many of this call there were after `mark`, whatever became of them.
    pub async fn count(&self, call: Call, mark: u64) -> anyhow::Result<usize> {
        Ok(self.calls(mark).await?.iter().filter(|record| record.call == call).count())
    }

    /// Puts a fault into force. Returns what it is healed by.
    pub async fn inject(&self, fault: &Fault) -> anyhow::Result<u64> {
        Ok(self.send::<_, Injected>(Method::POST, &["faults"], Some(fault)).await?.id)
    }

    /// The faults in force, in their order.
    pub async fn faults(&self) -> anyhow::Result<Vec<ActiveFault>> {
        self.get(&["faults"]).await
    }

    /// Ends a fault; calls that hang on it go on. `false`: it was not in force.
    pub async fn heal(&self, id: u64) -> anyhow::Result<bool> {
        Ok(self.command(Method::DELETE, &["faults", &id.to_string()]).await? > 0)
    }

    /// Ends all faults, and says how many there were.
    pub async fn heal_all(&self) -> anyhow::Result<usize> {
        self.command(Method::DELETE, &["faults"]).await
    }

    /// Adds a client, enabled, or gives it another secret.
    pub async fn add_client(&self, id: &str, secret: &str) -> anyhow::Result<()> {
        let body = ClientBody { secret: secret.to_owned() };
        self.send::<_, Count>(Method::PUT, &["clients", id], Some(&body)).await.map(drop)
    }

    /// Disables a client, or enables it again.
    pub async fn enable_client(&self, id: &str, enabled: bool) -> anyhow::Result<()> {
        self.command(Method::POST, &["clients", id, if enabled { "enable" } else { "disable" }]).await.map(drop)
    }

    /// Deletes a client; its lines die. `false`: there was none.
    pub async fn remove_client(&self, id: &str) -> anyhow::Result<bool> {
        Ok(self.command(Method::DELETE, &["clients", id]).await? > 0)
    }

    /// Lets all lines of a client die, and says how many were live.
    pub async fn kill_client(&self, id: &str) -> anyhow::Result<usize> {
        self.command(Method::POST, &["clients", id, "kill"]).await
    }

    /// Lets a line die. `false`: it was not live.
    pub async fn kill_line(&self, number: u64) -> anyhow::Result<bool> {
        Ok(self.command(Method::POST, &["lines", &number.to_string(), "kill"]).await? > 0)
    }

    /// Lets one refresh token die. `false`: it was not live.
    pub async fn kill_token(&self, refresh: &str) -> anyhow::Result<bool> {
        let body = TokenBody { refresh_token: refresh.to_owned() };
        Ok(self.send::<_, Count>(Method::POST, &["tokens", "kill"], Some(&body)).await?.count > 0)
    }

    /// How it behaves where the document is silent.
    pub async fn switches(&self) -> anyhow::Result<Switches> {
        self.get(&["switches"]).await
    }

    /// Changes how it behaves, from the next call on. Two of these at once may undo each other.
    pub async fn switch(&self, change: impl FnOnce(&mut Switches)) -> anyhow::Result<()> {
        let mut switches = self.switches().await?;
        change(&mut switches);
        self.send::<_, Switches>(Method::PATCH, &["switches"], Some(&switches)).await.map(drop)
    }

    /// Waits until this holds of the truth, looking every 20 ms; a sandbox that cannot be reached does not end the waiting.
    /// `None`: it did not within `at_most`.
    pub async fn wait_for<T>(&self, at_most: Duration, look: impl Fn(&Truth) -> Option<T>) -> Option<T> {
        wait(at_most, || async { look(&self.truth().await.ok()?) }).await
    }

    /// The same of the calls after `mark`.
    pub async fn wait_for_calls<T>(&self, at_most: Duration, mark: u64, look: impl Fn(&[CallRecord]) -> Option<T>) -> Option<T> {
        wait(at_most, || async { look(&self.calls(mark).await.ok()?) }).await
    }

    async fn call_list(&self, since: u64) -> anyhow::Result<CallList> {
        let mut url = self.url(&["calls"]);
        url.set_query(Some(&format!("since={since}")));
        self.ask(Method::GET, url, None::<&()>).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> anyhow::Result<T> {
        self.send(Method::GET, path, None::<&()>).await
    }

    async fn command(&self, method: Method, path: &[&str]) -> anyhow::Result<usize> {
        Ok(self.send::<(), Count>(method, path, None).await?.count)
    }

    async fn send<B: Serialize + Sync, T: DeserializeOwned>(&self, method: Method, path: &[&str], body: Option<&B>) -> anyhow::Result<T> {
        self.ask(method, self.url(path), body).await
    }

    async fn ask<B: Serialize + Sync, T: DeserializeOwned>(&self, method: Method, url: Url, body: Option<&B>) -> anyhow::Result<T> {
        let asked = format!("{method} {}", url.path());
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| asked.clone())?;
        let status = answer.status();
        let body = answer.bytes().await.with_context(|| asked.clone())?;
        anyhow::ensure!(status.is_success(), "{asked}: {status}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).with_context(|| asked)
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.root.clone();
        url.path_segments_mut().expect("an http URL has a path").clear().extend(path);
        url
    }
}

async fn wait<T, F: Future<Output = Option<T>>>(at_most: Duration, look: impl Fn() -> F) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return Some(seen);
        }
        if begun.elapsed() >= at_most {
            return None;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
