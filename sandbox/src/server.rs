//! Sockets: HTTP/1.1 connections that can be ended without an answer, and that all end when the server is stopped.

use std::{future::poll_fn, net::Shutdown, pin::Pin, sync::Arc, time::Duration};

use axum::{body::Body, http};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::reply::Cut;

/// What answers a request, or ends its connection.
pub(crate) type Handler = Arc<dyn Fn(http::Request<Incoming>) -> Answering + Send + Sync>;
type Answering = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Cut>> + Send>>;

/// A listener that stops listening when it is dropped. Closing alone does not do that while a process that is just being started still
/// has a copy of it, between its fork and its exec.
struct Listening(TcpListener);

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = SockRef::from(&self.0).shutdown(Shutdown::Both);
    }
}

/// Serves until it is dropped; then the port is closed and every connection with it.
pub(crate) async fn serve(listener: TcpListener, handler: Handler) {
    let listener = Listening(listener);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.0.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, Arc::clone(&handler)))),
                Err(error) => {
                    // Of one connection that is gone already, or of too many open files, which passes.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, handler: Handler) {
    let _ = stream.set_nodelay(true);
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(move |request| handler(request)));
    let ended = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let mut stream = connection.into_parts().io.into_inner();
    if let Err(error) = ended
        && let Some(cut) = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Cut>())
    {
        if cut.reset {
            let _ = stream.set_zero_linger();
            return;
        }
        let _ = stream.write_all(&cut.first).await;
    }
    let _ = stream.shutdown().await;
}
