//! What never left, what was sent without an answer, and that nothing is sent twice.

use futures::future::join_all;

use super::*;

#[tokio::test]
async fn a_name_that_does_not_resolve_is_not_sent() {
    let client = HttpAuth::new(options("http://revoiceit.invalid")).expect("good options");
    assert_eq!(client.issue(&pair()).await, Err(Failure::NotSent));
}

#[tokio::test]
async fn a_refused_connection_is_not_sent() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let client = HttpAuth::new(options(format!("http://127.0.0.1:{port}"))).expect("good options");
    assert_eq!(client.issue(&pair()).await, Err(Failure::NotSent));
    assert_eq!(client.refresh(&refresh_token()).await, Err(Failure::NotSent));
    assert_eq!(client.revoke(&refresh_token()).await, Err(Failure::NotSent));
}

/// The server accepts and says nothing: with TLS the client still connects, and half of the time is for that.
#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_end_is_not_sent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
    let ca = TempFile::new(include_str!("../testdata/ca.pem"));
    let options = Options { timeout: Duration::from_secs(1), ca_file: Some(ca.path().into()), ..options(url) };
    let client = HttpAuth::new(options).expect("good options");
    let began = Instant::now();
    assert_eq!(client.issue(&pair()).await, Err(Failure::NotSent));
    assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
}

/// Each of these read the request whole. It must be one request, whatever reqwest and hyper think of repeating it.
#[tokio::test]
async fn a_request_without_an_answer_is_lost_and_not_repeated() {
    let steps = [
        Then::SendAndClose(String::new()),
        Then::Reset,
        Then::SendAndHang(String::new()),
        Then::SendAndHang("HTTP/1.1 100 Continue\r\n\r\n".into()),
        Then::SendAndClose("HTTP/1.1 200".into()),
        Then::SendAndClose("what is this\r\n\r\n".into()),
        Then::SendAndHang("HTTP/1.1 200 OK\r\nContent-".into()),
        Then::SendAndClose("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n".into()),
    ];
    join_all(steps.map(async |step| {
        let server = RawServer::start([step.clone()]).await;
        assert_eq!(impatient_client(server.url()).issue(&pair()).await, Err(Failure::Lost), "{step:?}");
        assert_eq!((server.requests().len(), server.connections()), (1, 1), "{step:?}");
    }))
    .await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_counts_by_its_status() {
    let half = |status: &str| format!("HTTP/1.1 {status}\r\nRetry-After: 7\r\nContent-Length: 100\r\n\r\n{{\"accessToken\":");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n";
    let unavailable = Failure::Unavailable { retry_after: Some(Duration::from_secs(7)) };
    let rows = [
        (Then::SendAndClose(half("200 OK")), Failure::Lost),
        (Then::SendAndHang(half("200 OK")), Failure::Lost),
        (Then::SendAndClose(chunked.into()), Failure::Lost),
        (Then::SendAndHang(chunked.into()), Failure::Lost),
        (Then::SendAndClose(half("400 Bad Request")), unavailable.clone()),
        (Then::SendAndHang(half("400 Bad Request")), unavailable.clone()),
        (Then::SendAndHang(half("503 Service Unavailable")), unavailable),
        (Then::SendAndHang(half("401 Unauthorized")), Failure::Rejected),
        (Then::SendAndHang(half("502 Bad Gateway")), Failure::Lost),
    ];
    join_all(rows.map(async |(step, failure)| {
        let server = RawServer::start([step.clone()]).await;
        assert_eq!(impatient_client(server.url()).issue(&pair()).await, Err(failure), "{step:?}");
        assert_eq!(server.requests().len(), 1, "{step:?}");
    }))
    .await;
}

/// hyper sees that a pooled connection is closed before it takes up the request, and opens another.
#[tokio::test]
async fn a_connection_closed_at_rest_is_replaced() {
    let grant = http("200 OK", "", GRANT);
    let server = RawServer::start([Then::SendAndClose(grant.clone()), Then::Send(grant)]).await;
    let client = client(&server);
    assert_eq!(client.issue(&pair()).await, granted());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(client.issue(&pair()).await, granted());
    assert_eq!((server.requests().len(), server.connections()), (2, 2));
}

/// The worst moment: the connection has served before, so a client might take it for stale and repeat the request.
#[tokio::test]
async fn a_request_that_was_read_from_a_reused_connection_is_not_repeated() {
    for step in [Then::SendAndClose(String::new()), Then::Reset] {
        let server = RawServer::start([Then::Send(http("200 OK", "", GRANT)), step.clone()]).await;
        let client = client(&server);
        assert_eq!(client.issue(&pair()).await, granted());
        assert_eq!(client.issue(&pair()).await, Err(Failure::Lost), "{step:?}");
        assert_eq!((server.requests().len(), server.connections()), (2, 1), "{step:?}");
    }
}

/// Many requests at the moment in which their pooled connections are closed: each is answered, lost, or not sent, and
/// none arrives twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_race_with_the_close_of_pooled_connections_repeats_nothing() {
    let server = RawServer::start([Then::SendAndClose(http("200 OK", "", GRANT))]).await;
    let client = Arc::new(client(&server));
    let (mut answered, mut lost) = (0, 0);
    for _ in 0..100 {
        match client.issue(&pair()).await {
            Ok(_) => answered += 1,
            Err(Failure::Lost) => lost += 1,
            Err(failure) => panic!("{failure:?}"),
        }
    }
    let seen = server.requests().len();
    assert!(seen >= answered && seen <= answered + lost, "{seen} requests, {answered} answers, {lost} lost");
}

#[tokio::test]
async fn a_connection_rests_three_seconds_at_most() {
    let server = RawServer::start([Then::Send(http("200 OK", "", GRANT))]).await;
    let client = client(&server);
    client.issue(&pair()).await.expect("granted");
    client.issue(&pair()).await.expect("granted");
    assert_eq!(server.connections(), 1);
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    client.issue(&pair()).await.expect("granted");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn calls_run_beside_each_other() {
    let hang = RawServer::start([Then::SendAndHang(String::new()), Then::Send(http("200 OK", "", GRANT))]).await;
    let client = Arc::new(client(&hang));
    let stuck = tokio::spawn({
        let client = Arc::clone(&client);
        async move { client.issue(&pair()).await }
    });
    while hang.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.issue(&pair()).await, granted());
    stuck.abort();
}
