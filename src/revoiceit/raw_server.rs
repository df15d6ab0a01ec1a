//! A server that does to the letter what a test says, for what no HTTP server would do.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// What is done with a request once it was read whole.
#[derive(Clone, Debug)]
pub(super) enum Then {
    /// These bytes are sent and the connection stays.
    Send(String),
    /// These bytes are sent and the connection is closed.
    SendAndClose(String),
    /// These bytes are sent and nothing more.
    SendAndHang(String),
    /// The connection is reset.
    Reset,
}

/// The bytes of an answer with this status line, these headers (each with its line end) and this body.
pub(super) fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// A running server; it ends with the runtime of its test.
pub(super) struct RawServer {
    pub(super) addr: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

impl RawServer {
    /// A server that does the steps one after the other, and the last of them for ever.
    pub(super) async fn start(steps: impl Into<Vec<Then>>) -> Self {
        Self::listen(steps.into(), None).await
    }

    /// The same behind TLS, with the certificate for `localhost` of the first test CA.
    pub(super) async fn start_tls(steps: impl Into<Vec<Then>>) -> Self {
        let certificate = CertificateDer::from_pem_slice(include_bytes!("testdata/localhost.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("testdata/localhost.key")).expect("a key");
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).expect("a pair");
        Self::listen(steps.into(), Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn listen(steps: Vec<Then>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let (steps, seen, tls) = (steps.clone(), Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &steps, &seen).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &steps, &seen).await;
                            }
                        }
                    }
                });
            }
        });
        Self { addr, seen }
    }

    /// Its URL without TLS.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// All requests that were read, each with head and body.
    pub(super) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().expect("not poisoned").clone()
    }

    /// How many connections were accepted.
    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }
}

/// What a step needs of a stream beside reading and writing.
trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// Has the stream end in a reset instead of an orderly close.
    fn reset_on_drop(&self);
}

impl Stream for TcpStream {
    fn reset_on_drop(&self) {
        self.set_zero_linger().expect("an open socket");
    }
}

impl Stream for tokio_rustls::server::TlsStream<TcpStream> {
    fn reset_on_drop(&self) {
        self.get_ref().0.reset_on_drop();
    }
}

async fn serve(mut stream: impl Stream, steps: &[Then], seen: &Seen) {
    while let Some(request) = read_request(&mut stream).await {
        let number = {
            let mut requests = seen.requests.lock().expect("not poisoned");
            requests.push(request);
            requests.len() - 1
        };
        let step = steps.get(number).or(steps.last()).expect("at least one step");
        match step {
            Then::Send(bytes) => stream.write_all(bytes.as_bytes()).await.expect("written"),
            Then::SendAndClose(bytes) => {
                // Whoever stops reading early is part of a test.
                let _ = stream.write_all(bytes.as_bytes()).await;
                let _ = stream.shutdown().await;
                return;
            }
            Then::SendAndHang(bytes) => {
                stream.write_all(bytes.as_bytes()).await.expect("written");
                std::future::pending::<()>().await;
            }
            Then::Reset => return stream.reset_on_drop(),
        }
    }
}

/// One request with its body. `None`: the connection ended before it was whole.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase().split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text.into_owned());
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
