//! A caller of the API, by plain HTTP and by plain TCP.

use std::{io, net::SocketAddr, time::Duration};

use reqwest::{Client, Response, redirect::Policy};
use revoiceit_sandbox::{Addresses, Config, Sandbox};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Longer than anything here takes; only a test that fails waits for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A sandbox with one client, `a` with the secret `s`, and who calls it.
pub(crate) async fn sandbox() -> (Sandbox, Caller) {
    let sandbox = Sandbox::start(Config::default().client("a", "s")).await.expect("it starts");
    let caller = Caller::new(sandbox.addresses());
    (sandbox, caller)
}

/// Follows no redirect, keeps no connection open.
pub(crate) struct Caller {
    api: SocketAddr,
    http: Client,
}

/// The tokens of a 200.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Caller {
    pub(crate) fn new(addresses: Addresses) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().no_proxy().redirect(Policy::none()).pool_max_idle_per_host(0).timeout(PATIENCE).build();
        Self { api: addresses.api, http: http.expect("it builds") }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> reqwest::Result<Response> {
        self.http.post(format!("http://{}{path}", self.api)).json(body).send().await
    }

    /// An issue for the client `a`.
    pub(crate) async fn issue(&self) -> reqwest::Result<Response> {
        self.post("/auth/token", &pair("a", "s")).await
    }

    pub(crate) async fn refresh(&self, token: &str) -> reqwest::Result<Response> {
        self.post("/auth/refresh", &json!({ "refreshToken": token })).await
    }

    pub(crate) async fn revoke(&self, token: &str) -> reqwest::Result<Response> {
        self.post("/auth/revoke", &json!({ "refreshToken": token })).await
    }

    /// The status of `GET /check`.
    pub(crate) async fn check(&self, access: &str) -> u16 {
        let request = self.http.get(format!("http://{}/check", self.api)).bearer_auth(access);
        request.send().await.expect("it answers").status().as_u16()
    }

    /// The tokens of an issue that works.
    pub(crate) async fn tokens(&self) -> Tokens {
        let (status, body) = read(self.issue().await).await;
        assert_eq!(status, 200);
        Tokens { access: text(&body, "accessToken"), refresh: text(&body, "refreshToken") }
    }

    /// Sends an issue as bytes. Dropping what comes back is a caller that hangs up.
    pub(crate) async fn send_issue(&self) -> TcpStream {
        let body = pair("a", "s").to_string();
        let mut stream = TcpStream::connect(self.api).await.expect("it listens");
        let head =
            format!("POST /auth/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await.expect("it reads");
        stream
    }

    /// Sends an issue as bytes, and what came back until the connection ended, and how it ended.
    pub(crate) async fn raw_issue(&self) -> (Vec<u8>, io::Result<()>) {
        let mut stream = self.send_issue().await;
        let mut bytes = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection ends");
        (bytes, ended.map(drop))
    }

    pub(crate) fn http(&self) -> &Client {
        &self.http
    }
}

pub(crate) fn pair(id: &str, secret: &str) -> Value {
    json!({ "clientId": id, "clientSecret": secret })
}

/// The status and the body of an answer; the body is `null` if it is not JSON.
pub(crate) async fn read(answer: reqwest::Result<Response>) -> (u16, Value) {
    let answer = answer.expect("there is an answer");
    let status = answer.status().as_u16();
    let body = answer.bytes().await.expect("the body is whole");
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

pub(crate) fn text(body: &Value, field: &str) -> String {
    body[field].as_str().unwrap_or_else(|| panic!("no {field} in {body}")).to_owned()
}
