//! The same over the admin port.

use std::time::Duration;

use revoiceit_sandbox::{Body, Call, Fault, Kind, LineState, Rotation, Which, Wrong};
use serde_json::{Value, json};

use crate::caller::{PATIENCE, pair, read, sandbox};

#[tokio::test]
async fn truth_and_calls_are_what_they_are_in_the_same_process() {
    let (sandbox, caller) = sandbox().await;
    let admin = sandbox.admin();
    caller.tokens().await;
    let mark = admin.mark().await.expect("it answers");
    caller.tokens().await;
    let truth = admin.truth().await.expect("it answers");
    assert_eq!(truth.lines, sandbox.truth().lines);
    assert_eq!(truth.clients, sandbox.truth().clients);
    assert_eq!((mark, admin.count(Call::Issue, mark).await.ok()), (1, Some(1)));
    assert_eq!(admin.calls(0).await.expect("it answers"), sandbox.calls(0));
}

#[tokio::test]
async fn every_kind_of_fault_arrives_as_it_was_sent() {
    let (sandbox, _) = sandbox().await;
    let admin = sandbox.admin();
    let kinds = [
        Kind::Delay,
        Kind::Status { code: 503, body: Body::Custom { content_type: "a/b".into(), text: "x".into() }, retry_after: Some("5".into()) },
        Kind::Redirect { code: 302, location: "/".into() },
        Kind::Drop,
        Kind::LostAnswer,
        Kind::Reset,
        Kind::Hang,
        Kind::NotJson,
        Kind::BadToken { which: Which::Both, how: Wrong::LineBreak },
        Kind::HugeBody { bytes: 5 },
        Kind::PartialBody,
        Kind::Drip { pause_ms: 5 },
        Kind::Rotate { old_lives: true },
        Kind::Die,
    ];
    let faults = kinds.map(|kind| Fault::new(kind).on(Call::Refresh).client("a").times(3).delay(Duration::from_millis(7)));
    for (fault, id) in faults.iter().zip(1..) {
        assert_eq!(admin.inject(fault).await.ok(), Some(id));
    }
    let listed = admin.faults().await.expect("it answers");
    assert_eq!(listed, sandbox.faults());
    assert_eq!(listed.into_iter().map(|active| active.fault).collect::<Vec<_>>(), faults);
    assert_eq!((admin.heal(1).await.ok(), admin.heal(1).await.ok(), admin.heal_all().await.ok()), (Some(true), Some(false), Some(13)));
}

#[tokio::test]
async fn faults_can_be_written_by_hand_and_slips_are_refused() {
    let (sandbox, caller) = sandbox().await;
    let inject = async |fault: Value| {
        let url = format!("{}/faults", sandbox.addresses().admin_url());
        caller.http().post(url).json(&fault).send().await.expect("it answers").status().as_u16()
    };
    for fault in [
        json!({ "kind": "lostAnswer" }),
        json!({ "kind": { "status": { "code": 503 } }, "call": "issue", "client": "a", "times": 2, "delayMs": 5, "processed": true }),
        json!({ "kind": { "hugeBody": {} } }),
        json!({ "kind": { "redirect": { "location": "/" } } }),
        json!({ "kind": { "badToken": { "which": "access", "how": "empty" } } }),
        json!({ "kind": { "rotate": {} } }),
    ] {
        assert_eq!(inject(fault.clone()).await, 200, "{fault}");
    }
    for fault in [
        json!({}),
        json!({ "kind": "lost" }),
        json!({ "kind": "lostAnswer", "time": 2 }),
        json!({ "kind": { "status": { "code": 503, "text": "x" } } }),
        json!({ "kind": { "status": { "code": 99 } } }),
    ] {
        assert!((400..500).contains(&inject(fault.clone()).await), "{fault}");
    }
    assert_eq!(sandbox.faults().len(), 6);
}

#[tokio::test]
async fn clients_lines_and_tokens_are_changed() {
    let (sandbox, caller) = sandbox().await;
    let admin = sandbox.admin();
    let odd = "b/ü ?"; // has to be escaped in a path
    admin.add_client(odd, "s").await.expect("it answers");
    let issue = async || read(caller.post("/auth/token", &pair(odd, "s")).await).await.0;
    assert_eq!(issue().await, 200);
    admin.enable_client(odd, false).await.expect("it answers");
    assert_eq!(issue().await, 400);
    admin.enable_client(odd, true).await.expect("it answers");
    assert_eq!(issue().await, 200);
    assert_eq!(admin.kill_client(odd).await.ok(), Some(2));

    let (first, second) = (caller.tokens().await, caller.tokens().await);
    assert_eq!((admin.kill_line(3).await.ok(), admin.kill_line(3).await.ok()), (Some(true), Some(false)));
    assert_eq!((admin.kill_token(&first.refresh).await.ok(), admin.kill_token(&second.refresh).await.ok()), (Some(false), Some(true)));
    assert_eq!((admin.remove_client(odd).await.ok(), admin.remove_client(odd).await.ok()), (Some(true), Some(false)));
    assert!(sandbox.truth().lines.iter().all(|line| line.state() == LineState::Dead));
}

#[tokio::test]
async fn switches_are_changed_one_by_one() {
    let (sandbox, caller) = sandbox().await;
    let admin = sandbox.admin();
    admin.switch(|switches| switches.rotation = Rotation::OldLives).await.expect("it answers");
    let patch = async |body: Value| {
        let url = format!("{}/switches", sandbox.addresses().admin_url());
        caller.http().patch(url).json(&body).send().await.expect("it answers").status().as_u16()
    };
    assert_eq!(patch(json!({ "lifetimeMs": 5000 })).await, 200);
    assert_eq!((patch(json!({ "lifetime": 1 })).await, patch(json!({ "rejectionStatus": 500 })).await), (400, 400));
    let switches = sandbox.switches();
    assert_eq!((switches.rotation, switches.lifetime, switches.rejection_status), (Rotation::OldLives, Duration::from_secs(5), 400));
    assert_eq!(admin.switches().await.ok(), Some(switches));
}

#[tokio::test]
async fn one_can_wait_for_what_becomes_true() {
    let (sandbox, caller) = sandbox().await;
    let admin = sandbox.admin();
    let waiting = tokio::spawn(async move {
        let line = admin.wait_for(PATIENCE, |truth| truth.line(1).map(|line| line.number)).await;
        (line, admin.wait_for_calls(PATIENCE, 0, |calls| calls.first().map(|call| call.call)).await)
    });
    caller.tokens().await;
    assert_eq!(waiting.await.ok(), Some((Some(1), Some(Call::Issue))));
    assert_eq!(sandbox.admin().wait_for(Duration::ZERO, |truth| truth.line(2).map(drop)).await, None);
    assert_eq!(sandbox.wait_for(Duration::from_millis(50), |world| world.truth().line(2).map(drop)).await, None);
}
