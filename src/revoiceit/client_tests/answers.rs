//! What is sent, and what is made of each answer that is HTTP.

use super::*;

#[tokio::test]
async fn each_call_is_one_post_of_json() {
    let server = RawServer::start([
        Then::Send(http("200 OK", "", GRANT)),
        Then::Send(http("200 OK", "", r#"{"accessToken":"access-2"}"#)),
        Then::Send(http("200 OK", "", r#"{"message":"Token revoked successfully"}"#)),
    ])
    .await;
    let client = client(&server);

    assert_eq!(client.issue(&pair()).await, granted());
    let refreshed = Refreshed { access: AccessToken::new("access-2"), rotated: None, lifetime: None };
    assert_eq!(client.refresh(&refresh_token()).await, Ok(refreshed));
    assert_eq!(client.revoke(&refresh_token()).await, Ok(Revoked::Confirmed));

    let requests = server.requests();
    for (request, (path, body)) in requests.iter().zip([
        ("/auth/token", r#"{"clientId":"client-1","clientSecret":"hush-hush"}"#),
        ("/auth/refresh", r#"{"refreshToken":"refresh-0"}"#),
        ("/auth/revoke", r#"{"refreshToken":"refresh-0"}"#),
    ]) {
        let (head, sent) = request.split_once("\r\n\r\n").expect("a head and a body");
        assert_eq!(sent, body);
        let mut lines: Vec<_> = head.lines().map(str::to_owned).collect();
        lines[1..].sort();
        let want = [
            format!("POST {path} HTTP/1.1"),
            "accept: application/json".into(),
            format!("content-length: {}", body.len()),
            "content-type: application/json".into(),
            format!("host: {}", server.addr),
            format!("user-agent: revoiceit-operator/{}", env!("CARGO_PKG_VERSION")),
        ];
        assert_eq!(lines, want);
    }
    assert_eq!((requests.len(), server.connections()), (3, 1), "one connection serves all");
}

#[tokio::test]
async fn each_row_of_the_table_for_an_issue() {
    let object = r#"{"message":"x"}"#;
    let seconds = "Retry-After: 7\r\n";
    let long = format!("{{\"message\":\"{}\"}}", "x".repeat(64 << 10));
    let endless =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}", format!("1000\r\n{}\r\n", "{".repeat(4096)).repeat(64));
    let unavailable = |seconds: Option<u64>| Failure::Unavailable { retry_after: seconds.map(Duration::from_secs) };
    let nothing = Failure::Malformed { refresh: None };
    let kept = Failure::Malformed { refresh: Some(RefreshToken::new("refresh-1")) };

    for (answer, failure) in [
        (http("400 Bad Request", "", object), Failure::Rejected),
        (http("400 Bad Request", seconds, "<html>"), unavailable(Some(7))),
        (http("401 Unauthorized", "", ""), Failure::Rejected),
        (http("403 Forbidden", "", object), unavailable(None)),
        (http("404 Not Found", "", object), unavailable(None)),
        (http("429 Too Many Requests", seconds, object), unavailable(Some(7))),
        (http("500 Internal Server Error", "", object), unavailable(None)),
        (http("502 Bad Gateway", seconds, object), Failure::Lost),
        (http("503 Service Unavailable", "Retry-After: soon\r\n", object), unavailable(None)),
        (http("504 Gateway Timeout", "", object), Failure::Lost),
        (http("200 OK", "", "<html>"), nothing.clone()),
        (http("200 OK", "", r#"{"accessToken":"a b","refreshToken":"refresh-1"}"#), kept),
        (http("200 OK", "", &long), nothing.clone()),
        (endless, nothing.clone()),
        ("HTTP/1.1 204 No Content\r\n\r\n".into(), nothing),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".into(), unavailable(None)),
    ] {
        let server = RawServer::start([Then::SendAndClose(answer.clone())]).await;
        assert_eq!(client(&server).issue(&pair()).await, Err(failure), "{answer:.60}");
        assert_eq!(server.requests().len(), 1, "{answer:.60}");
    }
}

#[tokio::test]
async fn a_date_in_retry_after_counts_from_the_servers_own_clock() {
    let headers = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:50:07 GMT\r\n";
    let server = RawServer::start([Then::Send(http("503 Service Unavailable", headers, ""))]).await;
    let failure = Failure::Unavailable { retry_after: Some(Duration::from_secs(30)) };
    assert_eq!(client(&server).issue(&pair()).await, Err(failure));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = RawServer::start([Then::Send(http("200 OK", "", GRANT))]).await;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let location = format!("Location: http://{}/auth/token\r\n", elsewhere.addr);
        let server = RawServer::start([Then::Send(http(status, &location, ""))]).await;
        assert_eq!(client(&server).issue(&pair()).await, Err(Failure::Unavailable { retry_after: None }), "{status}");
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_revocation_is_done_when_revoiceit_says_so() {
    let object = r#"{"message":"x"}"#;
    for (answer, result) in [
        (http("200 OK", "", object), Ok(Revoked::Confirmed)),
        (http("400 Bad Request", "", object), Ok(Revoked::Unknown)),
        (http("400 Bad Request", "", "no"), Err(Failure::Rejected)),
        (http("404 Not Found", "", object), Err(Failure::Rejected)),
        (http("403 Forbidden", "", object), Err(Failure::Unavailable { retry_after: None })),
        (http("401 Unauthorized", "", object), Err(Failure::Rejected)),
        (http("200 OK", "", "done"), Err(Failure::Malformed { refresh: None })),
        (http("502 Bad Gateway", "", object), Err(Failure::Lost)),
    ] {
        let server = RawServer::start([Then::Send(answer.clone())]).await;
        assert_eq!(client(&server).revoke(&refresh_token()).await, result, "{answer}");
    }
}

#[tokio::test]
async fn each_call_is_reported_once() {
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let server = RawServer::start([
        Then::Send(http("200 OK", date, GRANT)),
        Then::Send(http("400 Bad Request", "Date: yesterday\r\n", "{}")),
        Then::Send(http("200 OK", date, "{}")),
        Then::Send(http("400 Bad Request", date, "{}")),
        Then::SendAndClose(String::new()),
    ])
    .await;
    let reports = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&reports);
    let client = client(&server).on_call(move |report| sink.lock().expect("not poisoned").push(report.clone()));

    let began = crate::runtime::clock::now();
    client.issue(&pair()).await.expect("granted");
    client.refresh(&refresh_token()).await.expect_err("rejected");
    client.revoke(&refresh_token()).await.expect("revoked");
    client.revoke(&refresh_token()).await.expect("unknown");
    client.issue(&pair()).await.expect_err("lost");

    let reports = reports.lock().expect("not poisoned");
    let told: Vec<_> = reports.iter().map(|report| (report.call.as_str(), report.outcome, report.status, report.server_date)).collect();
    let dated = Some(Timestamp::constant(784_111_777, 0));
    let want = [
        ("issue", "granted", Some(200), dated),
        ("refresh", "rejected", Some(400), None),
        ("revoke", "revoked", Some(200), dated),
        ("revoke", "unknown", Some(400), dated),
        ("issue", "lost", None, None),
    ];
    assert_eq!(told, want);
    for report in reports.iter() {
        assert!(report.answered_at >= began && report.answered_at <= crate::runtime::clock::now() && !report.elapsed.is_zero());
    }
}
