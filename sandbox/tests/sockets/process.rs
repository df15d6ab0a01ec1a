//! Stopping, killing and starting again: nothing is forgotten, and the ports stay.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use revoiceit_sandbox::{
    Addresses, Admin, Call, Config, Fault, RefreshState, RejectionBody, Reservation, Rotation, Sandbox, SecondIssue, Switches, TokenForm,
};

use crate::caller::{Caller, PATIENCE, pair, read, sandbox};

/// The binary as a process of its own; killed when dropped.
struct Process {
    child: Child,
    addresses: Addresses,
}

impl Process {
    fn start(listen: [SocketAddr; 2], state: &Path) -> Self {
        Self::run(listen, Command::new(BINARY).args(["--client", "a=s", "--state"]).arg(state))
    }

    fn run(listen: [SocketAddr; 2], command: &mut Command) -> Self {
        command.args(["--listen", &listen[0].to_string(), "--admin-listen", &listen[1].to_string()]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("it says where it listens");
        let addresses = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        Self { child, addresses }
    }

    /// What it logged, after it was killed.
    fn kill(mut self) -> String {
        self.child.kill().expect("it runs");
        self.log()
    }

    fn log(&mut self) -> String {
        let mut log = String::new();
        self.child.stderr.take().expect("it is piped").read_to_string(&mut log).expect("it is text");
        log
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory of a test's own, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("revoiceit-sandbox-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("it can be made");
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("state.json")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const BINARY: &str = env!("CARGO_BIN_EXE_revoiceit-sandbox");
const FREE: [SocketAddr; 2] = [SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0); 2];

#[tokio::test]
async fn a_kill_and_a_start_on_the_same_ports_keep_everything() {
    let directory = Directory::new("kill");
    let [api, admin] = FREE.map(|free| Reservation::of(free).expect("there is a free port"));
    let listen = [&api, &admin].map(|port| port.address().expect("it has one"));
    let process = Process::start(listen, &directory.file());
    let addresses = process.addresses;
    assert_eq!([addresses.api, addresses.admin], listen);
    let (admin, caller) = (Admin::new(addresses.admin), Caller::new(addresses));
    admin.add_client("b", "s").await.expect("it answers");
    let tokens = caller.tokens().await;
    let other = read(caller.post("/auth/token", &pair("b", "s")).await).await.1;
    admin.inject(&Fault::lost_answer().on(Call::Issue).times(2)).await.expect("it can be done");
    assert!(caller.issue().await.is_err());
    read(caller.revoke(&tokens.refresh).await).await;
    admin.switch(|switches| switches.refresh_uses = Some(9)).await.expect("it can be served");
    let before = admin.truth().await.expect("it answers");
    let log = process.kill();
    assert!(caller.issue().await.is_err_and(|error| error.is_connect()), "nobody listens");

    let _process = Process::start(listen, &directory.file());
    let after = admin.truth().await.expect("it answers");
    let states = |truth: &revoiceit_sandbox::Truth| truth.lines.iter().map(|line| (line.client.clone(), line.state())).collect::<Vec<_>>();
    assert_eq!(states(&after), states(&before));
    assert_eq!(after.refresh(&tokens.refresh).map(|(_, token)| token.state), Some(RefreshState::Revoked));
    assert_eq!(after.clients, before.clients);
    assert_eq!(admin.calls(0).await.expect("it answers").len(), 4);
    assert_eq!(admin.switches().await.expect("it answers").refresh_uses, Some(9));
    assert_eq!(admin.faults().await.expect("it answers").first().map(|fault| fault.remaining), Some(Some(1)));
    assert!(caller.issue().await.is_err(), "the fault is still in force");
    let refresh = other["refreshToken"].as_str().expect("it was issued");
    assert_eq!(read(caller.refresh(refresh).await).await.0, 200, "what was issued before the kill works after it");

    assert_eq!(log.lines().count(), 4, "one line for each call:\n{log}");
    for secret in [&tokens.access, &tokens.refresh, refresh] {
        assert!(!log.contains(secret), "a token is in the log");
    }
}

#[tokio::test]
async fn it_ends_at_once_when_it_is_told_to_even_if_calls_hang() {
    let directory = Directory::new("term");
    let mut process = Process::start(FREE, &directory.file());
    let (admin, caller) = (Admin::new(process.addresses.admin), Caller::new(process.addresses));
    admin.inject(&Fault::hang()).await.expect("it can be done");
    let hanging = tokio::spawn(async move { caller.issue().await });
    assert!(admin.wait_for_calls(PATIENCE, 0, |calls| calls.first().map(drop)).await.is_some());
    let told = Command::new("kill").args(["-TERM", &process.child.id().to_string()]).status().expect("there is a kill");
    assert!(told.success());
    let ended = tokio::time::timeout(PATIENCE, async {
        loop {
            match process.child.try_wait().expect("it can be asked") {
                Some(status) => return status,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    assert!(ended.await.expect("it ends").success());
    assert!(hanging.await.expect("it ends").is_err());
}

#[tokio::test]
async fn a_stop_in_the_same_process_is_like_a_death_and_a_restart_keeps_everything() {
    let (mut sandbox, caller) = sandbox().await;
    let tokens = caller.tokens().await;
    sandbox.inject(Fault::slow(Duration::from_secs(3600)).on(Call::Refresh)).expect("it can be done");
    let addresses = sandbox.addresses();
    let waiting = tokio::spawn(async move { Caller::new(addresses).refresh(&tokens.refresh).await });
    assert!(sandbox.wait_for(PATIENCE, |world| (world.mark() == 2).then_some(())).await.is_some());

    sandbox.stop().await;
    assert!(waiting.await.expect("it ends").is_err());
    assert!(caller.issue().await.is_err_and(|error| error.is_connect()), "nobody listens");
    let call = sandbox.calls(1).pop().expect("it is on record");
    assert_eq!((call.effect, call.delivered, call.finished_at.is_some()), (None, false, true));

    sandbox.restart().await.expect("the ports are still free");
    assert_eq!(sandbox.addresses(), addresses);
    assert_eq!(caller.check(&tokens.access).await, 200);
    assert_eq!(sandbox.admin().truth().await.expect("it answers").lines.len(), 1);
    sandbox.restart().await.expect("also without a stop before");
    assert_eq!(caller.check(&tokens.access).await, 200);
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let directory = Directory::new("wrong");
    let start = async |config: Config| format!("{:#}", Sandbox::start(config).await.expect_err("it cannot start"));
    let nowhere = directory.0.join("missing").join("state.json");
    assert!(start(Config { state: Some(nowhere), ..Config::default() }).await.starts_with("writing the state file"));
    std::fs::write(directory.file(), "{}").expect("it can be written");
    assert!(start(Config { state: Some(directory.file()), ..Config::default() }).await.contains("is not a state file of this sandbox"));
    let (sandbox, _) = sandbox().await;
    assert!(start(Config { api: sandbox.addresses().api, ..Config::default() }).await.starts_with("listening on 127.0.0.1:"));
}

#[tokio::test]
async fn an_outage_begins_and_ends_with_what_is_in_the_file_of_faults() {
    let directory = Directory::new("faults");
    let file = directory.0.join("faults.yaml");
    std::fs::write(&file, "- kind: {status: {code: 503}}").expect("it can be written");
    let start = || {
        Process::run(
            FREE,
            Command::new(BINARY).args(["--client", "a=s", "--faults"]).args([&file, Path::new("--state"), &directory.file()]),
        )
    };
    let process = start();
    assert_eq!(read(Caller::new(process.addresses).issue().await).await.0, 503, "from the first call on");
    process.kill();

    let process = start();
    let (admin, caller) = (Admin::new(process.addresses.admin), Caller::new(process.addresses));
    assert_eq!(admin.faults().await.expect("it answers").len(), 1, "it is in the state file too, and there once");
    assert_eq!(read(caller.issue().await).await.0, 503);
    // As a kubelet does it: another file in its place.
    let other = directory.0.join("other.yaml");
    std::fs::write(&other, "[]").expect("it can be written");
    std::fs::rename(&other, &file).expect("it can be moved");
    let ended = tokio::time::timeout(PATIENCE, async { while read(caller.issue().await).await.0 != 200 {} });
    ended.await.expect("the outage ends");
    let log = process.kill();
    assert!(log.contains("the faults of the file are in force"), "{log}");
}

#[tokio::test]
async fn flags_and_variables_set_the_switches() {
    let mut command = Command::new(BINARY);
    command.args(["--lifetime", "1m30s", "--token-form", "jwt", "--rotation", "old-lives", "--second-issue", "ends-all"]);
    command.args(["--rejection-status", "401", "--rejection-body", "json-string", "--refresh-uses", "7", "--clock-offset-ms", "-5"]);
    command.args(["--any-client", "--revoke-ends-line"]);
    command.envs([("REVOICEIT_SANDBOX_REVOKE_ENDS_ACCESS", "true"), ("REVOICEIT_SANDBOX_REVOKE_ACCEPTS_UNKNOWN", "true")]);
    command.env("REVOICEIT_SANDBOX_CLIENTS", "a=s,b=x=y");
    let process = Process::run(FREE, &mut command);
    let admin = Admin::new(process.addresses.admin);
    let expected = Switches {
        lifetime: Duration::from_secs(90),
        token_form: TokenForm::Jwt,
        any_client: true,
        revoke_ends_access: true,
        revoke_ends_line: true,
        second_issue: SecondIssue::EndsAll,
        rejection_status: 401,
        rejection_body: RejectionBody::JsonString,
        revoke_accepts_unknown: true,
        rotation: Rotation::OldLives,
        refresh_uses: Some(7),
        clock_offset_ms: -5,
    };
    assert_eq!(admin.switches().await.ok(), Some(expected));
    let clients = admin.truth().await.expect("it answers").clients;
    let pairs: Vec<_> = clients.iter().map(|client| (client.id.as_str(), client.secret.as_deref())).collect();
    assert_eq!(pairs, [("a", Some("s")), ("b", Some("x=y"))]);
}

#[tokio::test]
async fn the_documents_name_every_flag_and_every_switch() {
    let help = Command::new(BINARY).arg("--help").output().expect("it runs").stdout;
    let help = String::from_utf8(help).expect("it is text");
    let flags = help.split_whitespace().filter(|word| word.starts_with("--"));
    let sandbox = include_str!("../../../docs/sandbox.md");
    for flag in flags.filter(|flag| !["--help", "--version"].contains(flag)) {
        assert!(sandbox.contains(&format!("`{flag}")), "docs/sandbox.md says nothing of {flag}");
    }
    let switches = serde_json::to_value(Switches::default()).expect("they are JSON");
    let assumptions = include_str!("../../../docs/assumptions.md");
    for switch in switches.as_object().expect("they are an object").keys() {
        assert!(assumptions.contains(&format!("`{switch}`")), "docs/assumptions.md says nothing of {switch}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_started_and_stopped_on_any_thread() {
    let task = tokio::spawn(async {
        let mut sandbox = Sandbox::start(Config::default()).await.expect("it starts");
        sandbox.admin().switch(|switches| switches.any_client = true).await.expect("it can be served");
        sandbox.restart().await.expect("its ports were kept");
        let kept = sandbox.switches().any_client;
        sandbox.stop().await;
        kept
    });
    assert!(task.await.expect("it ends"));
}
