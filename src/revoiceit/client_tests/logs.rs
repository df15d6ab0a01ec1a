//! What a call writes to the log, and what it does not.

use super::{
    process::{is_own, run_in_own},
    *,
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_holds_a_secret() {
    run_in_own("logs::with_everything_logged", &[]).await;
}

/// With every event of every crate, not only our own lines.
#[tokio::test]
#[ignore = "run by no_log_holds_a_secret"]
async fn with_everything_logged() {
    if !is_own() {
        return;
    }
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(move || writer.clone()).init();

    let server = RawServer::start_tls([
        Then::Send(http("200 OK", "", GRANT)),
        Then::Send(http("200 OK", "", r#"{"accessToken":"a b","refreshToken":"refresh-1"}"#)),
        Then::Send(http("400 Bad Request", "", r#"{"message":"no refresh-0 here"}"#)),
        Then::SendAndClose("refresh-1 is no HTTP\r\n\r\n".into()),
    ])
    .await;
    let ca = TempFile::new(include_str!("../testdata/ca.pem"));
    let url = format!("https://localhost:{}", server.addr.port());
    let client = HttpAuth::new(Options { ca_file: Some(ca.path().into()), ..options(url) }).expect("good options");
    client.issue(&pair()).await.expect("granted");
    client.issue(&pair()).await.expect_err("malformed");
    client.refresh(&refresh_token()).await.expect_err("rejected");
    client.refresh(&refresh_token()).await.expect_err("lost");

    let log = String::from_utf8(log.0.lock().expect("not poisoned").clone()).expect("text");
    for secret in ["client-1", "hush-hush", "access-1", "refresh-0", "refresh-1", "a b"] {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
    assert!(log.contains("TRACE hyper_util") && log.contains("reqwest"), "others are heard:\n{log}");

    let ours: Vec<_> = log.lines().filter(|line| line.contains("Revoiceit call")).collect();
    let [granted, malformed, rejected, lost] = ours[..] else { panic!("not one line a call:\n{log}") };
    assert!(granted.contains(r#" INFO "#) && granted.contains(r#"call="issue" outcome="granted" status=200 elapsed_ms="#), "{granted}");
    assert!(malformed.contains(r#" WARN "#) && malformed.contains(r#"call="issue" outcome="malformed" status=200"#), "{malformed}");
    assert!(rejected.contains(r#" WARN "#) && rejected.contains(r#"call="refresh" outcome="rejected" status=400"#), "{rejected}");
    assert!(lost.contains(r#"call="refresh" outcome="lost" elapsed_ms="#) && lost.contains("error="), "{lost}");
    assert!(!lost.contains("localhost"), "{lost}");
}
