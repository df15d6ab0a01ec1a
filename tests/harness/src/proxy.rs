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

mod fault;

use std::{
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context as Waker, Poll},
};

use anyhow::{Context, Result, anyhow};
use http::{Method, Request, Response, Uri, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc, watch},
    task::{AbortHandle, JoinSet},
};

pub use self::fault::Fault;
use self::fault::{Injected, Kind};
use crate::{cluster::Cluster, servers};

/// A fault that was injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultId(usize);

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
    /// Paths that begin with the first go to the second.
    routes: Mutex<Vec<(String, String)>>,
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
        servers::beside(Self::to(cluster.server(), client.build().context("making the proxy's client")?)).await
    }

    async fn to(upstream: String, client: reqwest::Client) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listening")?;
        let address = listener.local_addr().context("listening")?;
        let shared =
            Arc::new(Shared { upstream, routes: Mutex::default(), client, faults: watch::Sender::new(Vec::new()), cut: Notify::new() });
        let task = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Ok(Self { address, shared, task })
    }

    /// Stands before another server as well: what is asked for under this path goes there.
    pub fn route(&self, path: &str, upstream: impl Into<String>) {
        lock(&self.shared.routes).push((path.to_owned(), upstream.into()));
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
            faults.push(Injected::new(fault));
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

    /// How many requests or answers wait in a fault. A detained request is among them until the server has done what it asks for.
    pub fn held(&self, id: FaultId) -> usize {
        self.shared.faults.borrow()[id.0].held
    }

    /// Method and path of each request that fitted a fault, in order, those before the first that was struck as well.
    pub fn fitted(&self, id: FaultId) -> Vec<String> {
        self.shared.faults.borrow()[id.0].fitted.clone()
    }

    /// Ends all connections that are open, watches among them.
    pub fn cut(&self) {
        self.shared.cut.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        // Whole, before anybody is told that it came: its sender may be killed by then.
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts, body.collect().await?.to_bytes());
        let reply = match self.strike(&method, &uri, request.body()) {
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
            Some((id, Kind::Hold)) => {
                self.hold(id).await;
                self.forward(request).await?
            }
            Some((id, Kind::Detain)) => {
                let late = self.clone();
                let goes_on = async move {
                    let _held = late.held(id);
                    late.lifted(id).await;
                    late.forward(request).await
                };
                tokio::spawn(goes_on).await??
            }
            Some((id, Kind::HoldReply)) => {
                let reply = self.forward(request).await?;
                self.hold(id).await;
                reply
            }
            Some((_, Kind::Silence)) | None => self.forward(request).await?,
        };
        Ok(self.passed_on(reply, method, uri))
    }

    fn passed_on(self: Arc<Self>, mut reply: reqwest::Response, method: Method, uri: Uri) -> Response<Streamed> {
        let (status, headers) = (reply.status(), std::mem::take(reply.headers_mut()));
        let mut answer = Response::new(self.streamed(reply, method, uri));
        (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
        // The length of the body is known from its end.
        answer.headers_mut().remove(header::TRANSFER_ENCODING);
        answer
    }

    async fn forward(&self, request: Request<Bytes>) -> Result<reqwest::Response> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let route = lock(&self.routes).iter().find(|(prefix, _)| path.starts_with(prefix)).map(|(_, upstream)| upstream.clone());
        parts.uri = format!("{}{path}", route.as_ref().unwrap_or(&self.upstream)).parse()?;
        parts.headers.remove(header::HOST);
        let request = Request::from_parts(parts, reqwest::Body::from(body));
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
                while let Some((id, Kind::Silence)) = self.strike_if(&method, &uri, &[], |kind| matches!(kind, Kind::Silence)) {
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

    fn strike(&self, method: &Method, uri: &Uri, body: &[u8]) -> Option<(usize, Kind)> {
        self.strike_if(method, uri, body, |kind| !matches!(kind, Kind::Silence))
    }

    fn strike_if(&self, method: &Method, uri: &Uri, body: &[u8], is_meant: impl Fn(&Kind) -> bool) -> Option<(usize, Kind)> {
        let mut struck = None;
        // Nobody waits for a count.
        self.faults.send_if_modified(|faults| {
            let mut meant = faults.iter_mut().enumerate().filter(|(_, injected)| is_meant(&injected.fault.kind));
            let found = meant.find_map(|(id, injected)| injected.strikes(method, uri, body).then_some((id, injected)));
            struck = found.map(|(id, injected)| (id, injected.fault.kind.clone()));
            false
        });
        struck
    }

    async fn hold(self: &Arc<Self>, id: usize) {
        let _held = self.held(id);
        self.lifted(id).await;
    }

    fn held(self: &Arc<Self>, id: usize) -> Held {
        self.faults.send_modify(|faults| faults[id].held += 1);
        Held { shared: Arc::clone(self), id }
    }

    async fn lifted(&self, id: usize) {
        // The sender is in `self`, so it is not closed.
        let _ = self.faults.subscribe().wait_for(|faults| faults[id].is_lifted).await;
    }
}

/// Something waits in a fault for as long as this lives.
struct Held {
    shared: Arc<Shared>,
    id: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.faults.send_modify(|faults| faults[self.id].held -= 1);
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
mod tests;
