//! The harness against itself: what it promises about a cluster, tried on real ones.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use revoiceit_harness::cluster::{AuditEvent, Cluster, Component, HARNESS, Options, client_for};
use revoiceit_harness::process::Process;
use revoiceit_harness::scratch::Scratch;
use revoiceit_harness::wait::{GENEROUS, eventually};
use serde_json::{from_value, json};
use tokio::net::{TcpListener, TcpStream};

const COMPONENTS: [Component; 3] = [Component::Etcd, Component::ApiServer, Component::Controllers];

#[tokio::test]
async fn requests_are_counted_exactly() -> Result<()> {
    let cluster = Cluster::start(Options::default()).await?;
    cluster.kubectl(["create", "namespace", "team-a"]).await?;
    let secrets: Api<Secret> = Api::namespaced(cluster.client().await?, "team-a");
    let mark = cluster.audit_mark().await?;

    let secret: Secret = from_value(json!({"metadata": {"name": "speech"}, "stringData": {"key": "hidden"}}))?;
    secrets.create(&PostParams { dry_run: true, ..PostParams::default() }, &secret).await?;
    secrets.create(&PostParams::default(), &secret).await?;
    secrets.create(&PostParams::default(), &secret).await.expect_err("it exists");
    secrets.patch("speech", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}))).await?;
    // Many at once, counted as soon as their answers are here.
    for round in 0..50 {
        try_join_all((0..20).map(|_| secrets.get("speech"))).await?;
        let gets = cluster.audit_since(mark).await?.iter().filter(|event| event.verb == "get" && event.code == Some(200)).count();
        assert_eq!(gets, (round + 1) * 20);
    }
    secrets.delete("speech", &DeleteParams::default()).await?;
    cluster.kubectl_stdin(["apply", "-n", "team-a", "-f", "-"], "{apiVersion: v1, kind: Secret, metadata: {name: other}}").await?;

    let events = cluster.audit_since(mark).await?;
    let mine = |event: &&AuditEvent| event.user_agent == HARNESS && event.verb != "get";
    let said: Vec<String> = events.iter().filter(mine).map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "create secrets team-a/speech (dry run) 201",
            "create secrets team-a/speech 201",
            "create secrets team-a/speech 409",
            "patch secrets team-a/speech 200",
            "delete secrets team-a/speech 200",
        ]
    );
    let kubectls: Vec<&AuditEvent> = events.iter().filter(|event| event.user_agent.starts_with("kubectl/") && event.is_write()).collect();
    let [apply] = kubectls.as_slice() else { panic!("one write by kubectl, not {kubectls:?}") };
    assert_eq!((apply.user.as_str(), apply.resource.as_str(), apply.name.as_str(), apply.code), ("admin", "secrets", "other", Some(201)));
    assert!(!std::fs::read_to_string(cluster.audit_log())?.contains("hidden"), "the audit log holds a Secret's content");
    Ok(())
}

#[tokio::test]
async fn components_can_be_frozen_killed_and_restarted() -> Result<()> {
    let cluster = Cluster::start(Options::default()).await?;
    let namespaces: Api<Namespace> = Api::all(cluster.client().await?);
    let named = |name: &str| from_value::<Namespace>(json!({"metadata": {"name": name}}));
    let create = PostParams::default();
    namespaces.create(&create, &named("before")?).await?;
    let mark = cluster.audit_mark().await?;

    // Frozen, etcd leaves a write hanging; thawed, it does it.
    cluster.freeze(Component::Etcd).await?;
    let frozen = named("frozen")?;
    let mut write = std::pin::pin!(namespaces.create(&create, &frozen));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut write).await;
    assert!(early.is_err(), "a frozen etcd took a write: {early:?}");
    cluster.thaw(Component::Etcd)?;
    write.await?;

    // Killed, it comes back with its data.
    cluster.restart(Component::Etcd).await?;
    cluster.ready().await?;
    assert_eq!(namespaces.get("frozen").await?.name_any(), "frozen");

    // So does the API server, on the same port and with the same certificate: the same client goes on. A request that it
    // never answered is in the log without an answer.
    cluster.freeze(Component::Etcd).await?;
    let lost = named("lost")?;
    let mut write = std::pin::pin!(namespaces.create(&create, &lost));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut write).await;
    assert!(early.is_err(), "a frozen etcd took a write: {early:?}");
    cluster.kill(Component::ApiServer)?;
    write.await.expect_err("the server was killed before it answered");
    namespaces.get("before").await.expect_err("nobody is there");
    cluster.thaw(Component::Etcd)?;
    cluster.restart(Component::ApiServer).await?;
    assert_eq!(namespaces.get("before").await?.name_any(), "before");
    let events = cluster.audit_since(mark).await?;
    let codes: Vec<_> = events.iter().filter(|event| event.user_agent == HARNESS && event.is_write()).map(|event| event.code).collect();
    assert_eq!(codes, [Some(201), None]);

    // Without controllers a namespace does not go.
    cluster.kill(Component::Controllers)?;
    namespaces.delete("before", &DeleteParams::default()).await?;
    cluster.restart(Component::Controllers).await?;
    eventually("the namespace to be gone", GENEROUS, async || match namespaces.get_opt("before").await {
        Ok(None) => Ok(()),
        Ok(Some(namespace)) => Err(format!("{:?}", namespace.status)),
        Err(error) => Err(error.to_string()),
    })
    .await
}

#[tokio::test]
async fn a_service_account_has_its_own_rights_by_any_way_to_the_server() -> Result<()> {
    let cluster = Cluster::start(Options::default()).await?;
    cluster.kubectl(["create", "serviceaccount", "operator", "-n", "default"]).await?;
    let other_way = format!("https://{}", forward(cluster.server_address()).await?);
    for server in [cluster.server(), other_way] {
        let kubeconfig = cluster.kubeconfig_for_service_account("default", "operator", &server).await?;
        let client = client_for(&kubeconfig).await?;
        let review = Api::<SelfSubjectReview>::all(client).create(&PostParams::default(), &SelfSubjectReview::default()).await?;
        let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
        assert_eq!(user.as_deref(), Some("system:serviceaccount:default:operator"));

        let error = cluster.kubectl_as(&kubeconfig, ["get", "secrets", "-n", "default"], "").await.expect_err("no rights");
        assert!(error.to_string().contains("Forbidden"), "{error:#}");
        let admin = cluster.admin_kubeconfig_through(&server)?;
        cluster.kubectl_as(&admin, ["get", "secrets", "-n", "default"], "").await?;
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_of_a_cluster_that_is_dropped() -> Result<()> {
    let cluster = Cluster::start(Options::default()).await?;
    let left = Left::of(&cluster)?;
    // Frozen processes must go too.
    cluster.freeze(Component::ApiServer).await?;
    drop(cluster);
    assert_eq!(left.what(), None);
    Ok(())
}

#[test]
fn only_the_logs_are_left_after_a_panic() -> Result<()> {
    let (send, receive) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async move {
            let cluster = Cluster::start(Options::default()).await.expect("a cluster");
            send.send(Left::of(&cluster).expect("its traces")).expect("somebody listens");
            panic!("this panic is part of the test");
        });
    });
    test.join().expect_err("the panic");
    let left = receive.recv()?;
    assert!(left.folder.join("kube-apiserver.err").exists());
    std::fs::remove_dir_all(&left.folder)?;
    assert_eq!(left.what(), None);
    Ok(())
}

/// The process that is killed in [`nothing_is_left_when_the_test_process_is_killed`]: this test program once more.
#[tokio::test]
#[ignore = "runs until it is killed"]
async fn holds_a_cluster_until_killed() -> Result<()> {
    let cluster = Cluster::start(Options::default()).await?;
    cluster.freeze(Component::Etcd).await?;
    println!("{}", cluster.scratch().path().display());
    for component in COMPONENTS {
        println!("{}", cluster.process(component)?.id());
    }
    println!("ready");
    std::future::pending().await
}

#[tokio::test]
async fn nothing_is_left_when_the_test_process_is_killed() -> Result<()> {
    let scratch = Arc::new(Scratch::new("test")?);
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["holds_a_cluster_until_killed", "--exact", "--ignored", "--nocapture"]);
    let other = Process::spawn("other-test", &mut command, &scratch)?;
    let said = eventually("the other test's cluster", GENEROUS, async || {
        let said = other.stdout().map_err(|error| error.to_string())?;
        if said.contains("ready") { Ok(said) } else { Err(said) }
    })
    .await
    .with_context(|| other.tail())?;
    let left = Left::parse(&said)?;
    other.kill();
    eventually("everything to be gone", GENEROUS, async || match left.what() {
        None => Ok(()),
        Some(what) => Err(what),
    })
    .await
}

/// Where a cluster was.
struct Left {
    folder: PathBuf,
    processes: Vec<i32>,
}

impl Left {
    fn of(cluster: &Cluster) -> Result<Self> {
        let processes = COMPONENTS.into_iter().map(|component| Ok(cluster.process(component)?.id())).collect::<Result<_>>()?;
        Ok(Self { folder: cluster.scratch().path().to_owned(), processes })
    }

    /// Reads what `holds_a_cluster_until_killed` prints, among the test runner's own lines.
    fn parse(said: &str) -> Result<Self> {
        let folder = said.lines().find(|line| line.starts_with('/')).context("no folder")?.into();
        let processes: Vec<i32> = said.lines().filter_map(|line| line.parse().ok()).collect();
        anyhow::ensure!(processes.len() == COMPONENTS.len(), "{said}");
        Ok(Self { folder, processes })
    }

    /// What is still there. A dead process that nobody reaps, because the machine's first process does not, has no command
    /// line any more.
    fn what(&self) -> Option<String> {
        let alive = |process: &&i32| std::fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty());
        let process = self.processes.iter().find(alive).map(|process| format!("process {process}"));
        process.or_else(|| self.folder.exists().then(|| self.folder.display().to_string()))
    }
}

/// A proxy that passes on what it gets; returns its address.
async fn forward(to: SocketAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    Ok(address)
}
