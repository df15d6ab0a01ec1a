//! An HTTP proxy between a client and the API server, with which a test sees every request and makes it fail as it likes.
//!
//! ```no_run
//! # async fn example(cluster: revoiceit_harness::cluster::Cluster) -> anyhow::Result<()> {
//! use revoiceit_harness::proxy::{Fault, Proxy};
//!
//! let proxy = Proxy::start(&cluster).await?;
//! let kubeconfig = cluster.admin_kubeconfig_through(&proxy.url())?;
//!
//! let lost = proxy.inject(Fault::lost_reply().method("PUT").path("/secrets/").times(1));
//! let page = proxy.inject(Fault::answer(404, "<html>not here</html>").header("content-type", "text/html"));
//! assert_eq!(proxy.struck(lost), 0);
//! proxy.lift(page);
//! # Ok(())
//! # }
//! ```

use std::{
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context as Waker, Poll},
};

use anyhow::{Context, Result, anyhow};
use http::{Method, Request, Response, StatusCode, Uri, header};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc, watch},
    task::{AbortHandle, JoinSet},
};

use crate::cluster::Cluster;

/// What goes wrong, with which requests. The first that fits a request strikes it, in the order in which they were injected; those that none
/// fits pass.
#[derive(Clone, Debug)]
pub struct Fault {
    kind: Kind,
    method: Option<Method>,
    paths: Vec<String>,
    times: Option<usize>,
}

#[derive(Clone, Debug)]
enum Kind {
    Answer { code: StatusCode, headers: Vec<(&'static str, String)>, body: String },
    Reset,
    LostReply,
    Hold,
    Silence,
}

/// Building.
impl Fault {
    /// The proxy answers with this body; the server hears nothing.
    pub fn answer(code: u16, body: impl Into<String>) -> Self {
        let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(Kind::Answer { code, headers: Vec::new(), body: body.into() })
    }

    /// The proxy answers as the API server would, with a `Status` of this reason.
    pub fn status(code: u16, reason: &str) -> Self {
        let status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": "injected",
        });
        Self::answer(code, status.to_string()).header("content-type", "application/json")
    }

    /// The connection ends without an answer; the server hears nothing.
    pub fn reset() -> Self {
        Self::new(Kind::Reset)
    }

    /// The server does what was asked, and the connection ends without its answer.
    pub fn lost_reply() -> Self {
        Self::new(Kind::LostReply)
    }

    /// The request waits in the proxy until the fault is lifted, and then goes on, unless its sender has given up.
    pub fn hold() -> Self {
        Self::new(Kind::Hold)
    }

    /// What the server sends waits in the proxy until the fault is lifted, also on connections that are open already: watches fall silent.
    pub fn silence() -> Self {
        Self::new(Kind::Silence)
    }

    fn new(kind: Kind) -> Self {
        Self { kind, method: None, paths: Vec::new(), times: None }
    }

    /// With this header in the answer.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Kind::Answer { headers, .. } = &mut self.kind {
            headers.push((name, value.into()));
        }
        self
    }

    /// Only requests with this method.
    #[must_use]
    pub fn method(self, method: &str) -> Self {
        Self { method: method.parse().ok(), ..self }
    }

    /// Only requests with this in path and query. Given again, all of them have to be.
    #[must_use]
    pub fn path(mut self, part: impl Into<String>) -> Self {
        self.paths.push(part.into());
        self
    }

    /// Only the first so many of those requests.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times: Some(times), ..self }
    }

    fn fits(&self, method: &Method, uri: &Uri) -> bool {
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        self.method.as_ref().is_none_or(|own| own == method) && self.paths.iter().all(|part| path.contains(part))
    }
}

/// A fault that was injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultId(usize);

#[derive(Debug)]
struct Injected {
    fault: Fault,
    struck: usize,
    is_lifted: bool,
}

impl Injected {
    fn strikes(&self, method: &Method, uri: &Uri) -> bool {
        !self.is_lifted && self.fault.times.is_none_or(|times| self.struck < times) && self.fault.fits(method, uri)
    }
}

/// A running proxy. It ends, with all its connections, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    client: reqwest::Client,
    faults: watch::Sender<Vec<Injected>>,
    cut: Notify,
}

impl Proxy {
    /// In front of a cluster's API server. It speaks plain HTTP; whose request it is stays as it was.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        crate::install_crypto_provider();
        let certificate = reqwest::Certificate::from_pem(&cluster.certificate()?).context("the API server's certificate")?;
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([certificate]).redirect(reqwest::redirect::Policy::none());
        Self::to(cluster.server(), client.build().context("making the proxy's client")?).await
    }

    async fn to(upstream: String, client: reqwest::Client) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listening")?;
        let address = listener.local_addr().context("listening")?;
        let shared = Arc::new(Shared { upstream, client, faults: watch::Sender::new(Vec::new()), cut: Notify::new() });
        let task = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Ok(Self { address, shared, task })
    }

    /// What a kubeconfig is to have as its server.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts a fault behind those that are there.
    pub fn inject(&self, fault: Fault) -> FaultId {
        let mut id = 0;
        self.shared.faults.send_modify(|faults| {
            id = faults.len();
            faults.push(Injected { fault, struck: 0, is_lifted: false });
        });
        FaultId(id)
    }

    /// Ends a fault. What it held goes on.
    pub fn lift(&self, id: FaultId) {
        self.shared.faults.send_modify(|faults| faults[id.0].is_lifted = true);
    }

    /// How many requests a fault has struck.
    pub fn struck(&self, id: FaultId) -> usize {
        self.shared.faults.borrow()[id.0].struck
    }

    /// Ends all connections that are open, watches among them.
    pub fn cut(&self) {
        self.shared.cut.notify_waiters();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Its end is theirs.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => drop(connections.spawn(serve(stream, shared.clone()))),
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Small answers are not kept waiting for more.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(|request| shared.clone().answer(request));
    tokio::select! {
        // An error is a connection that ended, which is what was wanted, or what the client did.
        _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service) => {}
        () = shared.cut.notified() => {}
    }
}

impl Shared {
    /// The answer, or an error, which ends the connection without one.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Streamed>> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        match self.strike(&method, &uri) {
            Some((_, Kind::Answer { code, headers, body })) => {
                let mut answer = Response::builder().status(code);
                for (name, value) in headers {
                    answer = answer.header(name, value);
                }
                return Ok(answer.body(Streamed::whole(body))?);
            }
            Some((_, Kind::Reset)) => return Err(anyhow!("reset")),
            Some((_, Kind::LostReply)) => {
                self.forward(request).await?.bytes().await?;
                return Err(anyhow!("the reply is lost"));
            }
            Some((id, Kind::Hold)) => self.lifted(id).await,
            Some((_, Kind::Silence)) | None => {}
        }
        let mut reply = self.forward(request).await?;
        let (status, headers) = (reply.status(), std::mem::take(reply.headers_mut()));
        let mut answer = Response::new(self.streamed(reply, method, uri));
        (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
        // The length of the body is known from its end.
        answer.headers_mut().remove(header::TRANSFER_ENCODING);
        Ok(answer)
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<reqwest::Response> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = format!("{}{path}", self.upstream).parse()?;
        parts.headers.remove(header::HOST);
        let request = Request::from_parts(parts, reqwest::Body::wrap(body));
        Ok(self.client.execute(request.try_into()?).await?)
    }

    /// The body of the reply as it comes, and as faults let it.
    fn streamed(self: Arc<Self>, mut reply: reqwest::Response, method: Method, uri: Uri) -> Streamed {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let chunk = tokio::select! {
                    chunk = reply.chunk() => chunk,
                    () = sender.closed() => return,
                };
                while let Some((id, Kind::Silence)) = self.strike_if(&method, &uri, |kind| matches!(kind, Kind::Silence)) {
                    self.lifted(id).await;
                }
                let Some(chunk) = chunk.transpose() else { return };
                if sender.send(chunk).await.is_err() {
                    return;
                }
            }
        });
        Streamed(receiver)
    }

    fn strike(&self, method: &Method, uri: &Uri) -> Option<(usize, Kind)> {
        self.strike_if(method, uri, |kind| !matches!(kind, Kind::Silence))
    }

    fn strike_if(&self, method: &Method, uri: &Uri, is_meant: impl Fn(&Kind) -> bool) -> Option<(usize, Kind)> {
        let mut struck = None;
        // Nobody waits for a count.
        self.faults.send_if_modified(|faults| {
            let found = faults.iter_mut().enumerate().find(|(_, it)| is_meant(&it.fault.kind) && it.strikes(method, uri));
            struck = found.map(|(id, injected)| {
                injected.struck += 1;
                (id, injected.fault.kind.clone())
            });
            false
        });
        struck
    }

    async fn lifted(&self, id: usize) {
        // The sender is in `self`, so it is not closed.
        let _ = self.faults.subscribe().wait_for(|faults| faults[id].is_lifted).await;
    }
}

/// A body that comes piece by piece.
struct Streamed(mpsc::Receiver<reqwest::Result<Bytes>>);

impl Streamed {
    fn whole(text: String) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        // There is room for one.
        let _ = sender.try_send(Ok(text.into()));
        Self(receiver)
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(mut self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        self.0.poll_recv(waker).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    use super::*;
    use crate::wait::{GENEROUS, eventually};

    fn client() -> reqwest::Client {
        crate::install_crypto_provider();
        reqwest::Client::builder().no_proxy().build().expect("a client")
    }

    /// A proxy in front of a server that is itself one, and answers all.
    async fn chain() -> Result<(Proxy, Proxy, FaultId)> {
        let server = Proxy::to(String::new(), client()).await?;
        let served = server.inject(Fault::answer(201, "made").header("x-served", "yes"));
        Ok((Proxy::to(server.url(), client()).await?, server, served))
    }

    #[tokio::test]
    async fn what_no_fault_fits_passes() -> Result<()> {
        let (proxy, server, served) = chain().await?;
        proxy.inject(Fault::answer(404, "<html>").method("GET").path("/a").path("watch=1"));
        for (path, code) in [("/a?watch=1", 404), ("/a", 201), ("/b?watch=1", 201)] {
            assert_eq!(client().get(format!("{}{path}", proxy.url())).send().await?.status(), code, "{path}");
        }
        let answer = client().post(format!("{}/a?watch=1", proxy.url())).body("posted").send().await?;
        assert_eq!(answer.headers()["x-served"], "yes");
        assert_eq!(answer.text().await?, "made");
        assert_eq!(server.struck(served), 3);
        Ok(())
    }

    #[tokio::test]
    async fn a_lost_reply_was_served_and_a_reset_was_not() -> Result<()> {
        let (proxy, server, served) = chain().await?;
        for (fault, count) in [(Fault::lost_reply(), 1), (Fault::reset(), 1)] {
            let id = proxy.inject(fault.times(1));
            let error = client().get(proxy.url()).send().await.err().context("there was an answer")?;
            assert!(!error.is_connect(), "{error:?}");
            assert_eq!((proxy.struck(id), server.struck(served)), (1, count));
        }
        assert_eq!(client().get(proxy.url()).send().await?.status(), 201);
        Ok(())
    }

    #[tokio::test]
    async fn what_is_held_goes_on_when_the_fault_is_lifted() -> Result<()> {
        let (proxy, server, served) = chain().await?;
        let id = proxy.inject(Fault::hold());
        let request = tokio::spawn(client().get(proxy.url()).send());
        eventually("the request to be held", GENEROUS, async || if proxy.struck(id) == 1 { Ok(()) } else { Err("not yet") }).await?;
        assert_eq!(server.struck(served), 0);
        proxy.lift(id);
        assert_eq!(request.await??.status(), 201);
        Ok(())
    }

    /// Sends a piece every few milliseconds, for ever.
    async fn talker() -> Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
                    while stream.write_all(b"5\r\npiece\r\n").await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                });
            }
        });
        Ok(format!("http://{address}"))
    }

    #[tokio::test]
    async fn an_open_stream_falls_silent_goes_on_and_is_cut() -> Result<()> {
        let proxy = Proxy::to(talker().await?, client()).await?;
        let mut stream = client().get(proxy.url()).send().await?;
        assert_eq!(stream.chunk().await?.as_deref(), Some(&b"piece"[..]));
        let id = proxy.inject(Fault::silence());
        eventually("silence", GENEROUS, async || match timeout(Duration::from_millis(100), stream.chunk()).await {
            Ok(_) => Err("it speaks"),
            Err(_) => Ok(()),
        })
        .await?;
        proxy.lift(id);
        assert!(timeout(GENEROUS, stream.chunk()).await??.is_some());
        proxy.cut();
        let end = timeout(GENEROUS, async { while matches!(stream.chunk().await, Ok(Some(_))) {} }).await;
        assert!(end.is_ok(), "it speaks after the cut");
        Ok(())
    }
}
