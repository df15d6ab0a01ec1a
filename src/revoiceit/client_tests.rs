//! [`HttpAuth`] over real sockets, against a server that does odd things to the letter.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::{
    raw_server::{RawServer, Then, http},
    *,
};

mod answers;
mod logs;
mod process;
mod sandbox;
mod tls;
mod transport;

const GRANT: &str = r#"{"accessToken":"access-1","refreshToken":"refresh-1"}"#;

fn pair() -> ClientCredentials {
    ClientCredentials { client_id: ClientId::new("client-1"), client_secret: ClientSecret::new("hush-hush") }
}

fn refresh_token() -> RefreshToken {
    RefreshToken::new("refresh-0")
}

fn granted() -> Result<Issued, Failure> {
    Ok(Issued { access: AccessToken::new("access-1"), refresh: RefreshToken::new("refresh-1"), lifetime: None })
}

/// Options for a server at this address, with nothing taken from the environment of the tests.
fn options(api_url: impl Into<String>) -> Options {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Options { allow_insecure: true, env_proxies: false, ..Options::new(api_url) }
}

fn client(server: &RawServer) -> HttpAuth {
    HttpAuth::new(options(server.url())).expect("good options")
}

/// One that gives up soon, for servers that hang. Half of it is for connecting, on a machine that may be busy.
fn impatient_client(api_url: impl Into<String>) -> HttpAuth {
    HttpAuth::new(Options { timeout: Duration::from_secs(3), ..options(api_url) }).expect("good options")
}

/// A file that goes with its test.
struct TempFile(PathBuf);

impl TempFile {
    fn new(content: &str) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let file = Self(std::env::temp_dir().join(format!("revoiceit-test-{}-{number}.pem", std::process::id())));
        file.write(content);
        file
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// Exchanges the file whole, as a mounted ConfigMap is.
    fn write(&self, content: &str) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, content).expect("written");
        std::fs::rename(&new, &self.0).expect("renamed");
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
