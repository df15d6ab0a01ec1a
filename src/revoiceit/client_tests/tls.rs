//! Certificates, the CA file, proxies, and an image that has neither roots nor environment.

use super::{
    process::{is_own, run_in_own},
    *,
};
use crate::revoiceit::CaFileError;

const CA: &str = include_str!("../testdata/ca.pem");
const OTHER_CA: &str = include_str!("../testdata/other-ca.pem");

fn grant() -> [Then; 1] {
    [Then::Send(http("200 OK", "", GRANT))]
}

/// Options that trust this file and look at it with every call.
fn trusting(ca_file: &TempFile, host: &str, server: &RawServer) -> Options {
    Options {
        ca_file: Some(ca_file.path().into()),
        ca_file_interval: Duration::ZERO,
        allow_insecure: false,
        ..options(format!("https://{host}:{}", server.addr.port()))
    }
}

#[tokio::test]
async fn a_ca_of_the_file_is_trusted() {
    let server = RawServer::start_tls(grant()).await;
    let ca = TempFile::new(CA);
    let client = HttpAuth::new(trusting(&ca, "localhost", &server)).expect("good options");
    assert_eq!(client.origin(), format!("https://localhost:{}", server.addr.port()));
    for _ in 0..20 {
        assert_eq!(client.issue(&pair()).await, granted());
    }
    assert_eq!(server.connections(), 1, "a CA file that did not change is no reason for a new client");
}

/// As many at a time as the gate lets through by default.
#[tokio::test]
async fn a_thousand_calls_with_a_private_ca_need_no_more_connections_than_run_beside_each_other() {
    const AT_ONCE: usize = 16;
    let server = RawServer::start_tls(grant()).await;
    let ca = TempFile::new(CA);
    let client = Arc::new(HttpAuth::new(trusting(&ca, "localhost", &server)).expect("good options"));
    let calls = (0..AT_ONCE).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            for _ in 0..1000 / AT_ONCE {
                assert_eq!(client.issue(&pair()).await, granted());
            }
        })
    });
    for calls in futures::future::join_all(calls).await {
        calls.expect("every call is answered");
    }
    assert_eq!(server.requests().len(), 1000 / AT_ONCE * AT_ONCE);
    assert!(server.connections() <= 2 * AT_ONCE, "{} connections", server.connections());
}

#[tokio::test]
async fn an_unknown_ca_a_wrong_host_and_a_server_without_tls_get_nothing() {
    let tls = RawServer::start_tls(grant()).await;
    let plain = RawServer::start(grant()).await;
    for (ca, host, server) in [(OTHER_CA, "localhost", &tls), (CA, "127.0.0.1", &tls), (CA, "localhost", &plain)] {
        let ca = TempFile::new(ca);
        // The server without TLS waits for the end of what it takes for a request.
        let options = Options { timeout: Duration::from_secs(1), ..trusting(&ca, host, server) };
        let client = HttpAuth::new(options).expect("good options");
        assert_eq!(client.issue(&pair()).await, Err(Failure::NotSent), "{host}");
        assert_eq!(server.requests(), Vec::<String>::new(), "{host}");
    }
}

#[tokio::test]
async fn a_request_over_tls_without_an_answer_is_lost_and_not_repeated() {
    for step in [Then::SendAndClose(String::new()), Then::Reset] {
        let server = RawServer::start_tls([step.clone()]).await;
        let ca = TempFile::new(CA);
        let client = HttpAuth::new(trusting(&ca, "localhost", &server)).expect("good options");
        assert_eq!(client.issue(&pair()).await, Err(Failure::Lost), "{step:?}");
        assert_eq!(server.requests().len(), 1, "{step:?}");
    }
}

#[tokio::test]
async fn a_new_ca_is_used_and_a_broken_one_is_told() {
    let server = RawServer::start_tls(grant()).await;
    let ca = TempFile::new(OTHER_CA);
    let client = HttpAuth::new(trusting(&ca, "localhost", &server)).expect("good options");
    assert_eq!(client.issue(&pair()).await, Err(Failure::NotSent));

    ca.write(&format!("{OTHER_CA}{CA}"));
    assert_eq!(client.issue(&pair()).await, granted());
    assert_eq!(client.ca_problem(), None);

    ca.write("");
    assert_eq!(client.issue(&pair()).await, granted());
    let empty = format!(
        "--api-ca-file cannot be used: {} holds no certificate: it needs at least one block that begins with -----BEGIN CERTIFICATE-----",
        ca.path().display()
    );
    assert_eq!(client.ca_problem(), Some(empty));

    std::fs::remove_file(ca.path()).expect("removed");
    assert_eq!(client.issue(&pair()).await, granted());
    assert!(client.ca_problem().is_some_and(|problem| problem.contains("cannot be read")));

    ca.write(CA);
    assert_eq!(client.issue(&pair()).await, granted());
    assert_eq!(client.ca_problem(), None);

    ca.write(OTHER_CA);
    assert_eq!(client.issue(&pair()).await, Err(Failure::NotSent), "a CA that was taken out is not trusted on old connections");
}

#[tokio::test]
async fn the_ca_file_is_not_looked_at_before_its_time() {
    let server = RawServer::start_tls(grant()).await;
    let ca = TempFile::new(CA);
    let options = Options { ca_file_interval: Duration::from_secs(60), ..trusting(&ca, "localhost", &server) };
    let client = HttpAuth::new(options).expect("good options");
    ca.write(OTHER_CA);
    assert_eq!(client.issue(&pair()).await, granted());
}

#[test]
fn a_ca_file_that_is_of_no_use_is_refused_at_the_start() {
    let refused = |content: &str| {
        let file = TempFile::new(content);
        let options = Options { ca_file: Some(file.path().into()), ..options("https://localhost") };
        match HttpAuth::new(options) {
            Err(OptionsError::CaFile(error)) => error,
            Err(error) => panic!("{error:?}"),
            Ok(_) => panic!("{content:.60} was accepted"),
        }
    };
    assert!(matches!(refused(""), CaFileError::NoCertificate { .. }));
    assert!(matches!(refused("not PEM"), CaFileError::NoCertificate { .. }));
    assert!(matches!(refused(include_str!("../testdata/localhost.key")), CaFileError::NoCertificate { .. }));
    assert!(matches!(refused("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"), CaFileError::Damaged { .. }));
    assert!(matches!(refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), CaFileError::Damaged { .. }));
    assert!(matches!(refused(&CA[..300]), CaFileError::Damaged { .. }));
    assert!(matches!(refused(&"x".repeat((1 << 20) + 1)), CaFileError::TooLarge { .. }));

    let options = Options { ca_file: Some("/nowhere/ca.pem".into()), ..options("https://localhost") };
    let Err(OptionsError::CaFile(CaFileError::Unreadable { path, source })) = HttpAuth::new(options) else {
        panic!("a file that is not there was accepted");
    };
    assert_eq!((path.to_str(), source.kind()), (Some("/nowhere/ca.pem"), std::io::ErrorKind::NotFound));
}

#[tokio::test]
async fn an_image_without_ca_certificates_needs_the_ca_file() {
    let nowhere = "/nowhere".to_owned();
    run_in_own("tls::in_an_image_without_ca_certificates", &[("SSL_CERT_FILE", nowhere.clone()), ("SSL_CERT_DIR", nowhere)]).await;
}

#[tokio::test]
#[ignore = "run by an_image_without_ca_certificates_needs_the_ca_file"]
async fn in_an_image_without_ca_certificates() {
    if !is_own() {
        return;
    }
    let tls = RawServer::start_tls(grant()).await;
    let ca = TempFile::new(CA);
    let client = HttpAuth::new(trusting(&ca, "localhost", &tls)).expect("good options");
    assert_eq!(client.issue(&pair()).await, granted());

    let plain = RawServer::start(grant()).await;
    assert_eq!(super::client(&plain).issue(&pair()).await, granted());

    let Err(error @ OptionsError::Client(_)) = HttpAuth::new(options("https://localhost")) else { panic!("there is nothing to trust") };
    assert_eq!(
        error.to_string(),
        "no HTTP client can be set up: if the image has no CA certificates, name a file with them by --api-ca-file"
    );
}

#[tokio::test]
async fn proxies_of_the_environment_are_used() {
    // A proxy that refuses to connect for https, and is asked for the whole URL for http.
    let refuses = RawServer::start([Then::SendAndClose(http("403 Forbidden", "", ""))]).await;
    let forwards = RawServer::start([Then::Send(http("200 OK", "", GRANT))]).await;
    let environment = [
        ("HTTPS_PROXY", format!("http://user:password@{}", refuses.addr)),
        ("HTTP_PROXY", format!("http://{}", forwards.addr)),
        ("NO_PROXY", "127.0.0.1".to_owned()),
    ];
    run_in_own("tls::with_proxies", &environment).await;

    let [connect] = &refuses.requests()[..] else { panic!("{:?}", refuses.requests()) };
    assert!(connect.starts_with("CONNECT revoiceit.invalid:443 HTTP/1.1\r\n") && !connect.contains("hush-hush"), "{connect}");
    let [post] = &forwards.requests()[..] else { panic!("{:?}", forwards.requests()) };
    assert!(post.starts_with("POST http://revoiceit.invalid/auth/token HTTP/1.1\r\n"), "{post}");
}

#[tokio::test]
#[ignore = "run by proxies_of_the_environment_are_used"]
async fn with_proxies() {
    if !is_own() {
        return;
    }
    let through_proxies = |url: String| HttpAuth::new(Options { env_proxies: true, ..options(url) }).expect("good options");
    assert_eq!(through_proxies("https://revoiceit.invalid".into()).issue(&pair()).await, Err(Failure::NotSent));
    assert_eq!(through_proxies("http://revoiceit.invalid".into()).issue(&pair()).await, granted());

    let direct = RawServer::start(grant()).await;
    assert_eq!(through_proxies(format!("http://{}", direct.addr)).issue(&pair()).await, granted());
}
