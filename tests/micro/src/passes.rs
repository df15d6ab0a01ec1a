//! The whole controller: watches, queue, gate, passes.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::runtime::watcher::InitialListStrategy;
use revoiceit_operator::{
    api::names,
    controller::{self, Absences, Context, Events, Facts, Gate, Limits, Repairs, Scope, Synced, Taken, Watched},
    planner::{Place, Policy},
    revoiceit::{AccessToken, Auth, ClientCredentials, Failure, Issued, RefreshToken, Refreshed, Revoked},
    runtime::{
        admin::{Liveness, Readiness},
        clock,
        leader::Leadership,
        metrics::Metrics,
    },
};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::server::Server;

/// A Revoiceit that always has a token.
struct Granting;

impl Auth for Granting {
    async fn issue(&self, _: &ClientCredentials) -> Result<Issued, Failure> {
        Ok(Issued { access: AccessToken::new("a".repeat(64)), refresh: RefreshToken::new("r".repeat(64)), lifetime: None })
    }

    async fn refresh(&self, _: &RefreshToken) -> Result<Refreshed, Failure> {
        Ok(Refreshed { access: AccessToken::new("b".repeat(64)), rotated: None, lifetime: None })
    }

    async fn revoke(&self, _: &RefreshToken) -> Result<Revoked, Failure> {
        Ok(Revoked::Confirmed)
    }
}

/// So many new resources, until each has its token and says so.
pub async fn new_resources(count: usize) -> Server {
    let server = Server::default();
    for number in 0..count {
        let secrets = "/api/v1/namespaces/team-a/secrets";
        let pair = json!({ "clientId": "Y2xpZW50", "clientSecret": "c2VjcmV0" });
        let meta = |name: String| json!({ "name": name, "namespace": "team-a", "uid": format!("uid-of-{name}"), "resourceVersion": "1" });
        let client =
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": meta(format!("client-{number}")), "type": "Opaque", "data": pair });
        server.put(format!("{secrets}/client-{number}"), client);
        let resource = json!({
            "apiVersion": "revoiceit.com/v1", "kind": names::KIND, "metadata": meta(format!("speech-{number}")),
            "spec": { "credentialsSecretRef": { "name": format!("client-{number}") }, "target": { "name": format!("token-{number}") } },
        });
        server.put(format!("/apis/revoiceit.com/v1/namespaces/team-a/revoiceitcredentials/speech-{number}"), resource);
    }
    let running = run(&server);
    let served = server.has(|served| served.statuses >= count).await;
    assert_eq!((served.gets, served.writes), (4 * count, 5 * count), "reads and writes of {count} new resources");
    drop(running);
    server
}

/// Another process finds them all at rest.
pub async fn looked_at_again(server: &Server, count: usize) {
    let before = server.has(|_| true).await;
    let running = run(server);
    let after = server.has(|served| served.gets >= before.gets + 2 * count).await;
    assert_eq!((after.gets - before.gets, after.writes), (2 * count, before.writes), "reads and writes of {count} resources at rest");
    drop(running);
}

/// Dropping it ends it.
fn run(server: &Server) -> JoinSet<()> {
    let client = server.client();
    let (readiness, liveness, metrics) = (Readiness::default(), Liveness::default(), Arc::new(Metrics::new()));
    let (watched, wakes) = Watched::new();
    let watched = Arc::new(watched);
    let (resources, secrets) = (Synced::new(readiness.register("resources")), Synced::new(readiness.register("Secrets")));
    let all = CancellationToken::new();
    let (first, second, both) = (resources.token(), secrets.token(), all.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        first.cancelled().await;
        second.cancelled().await;
        both.cancel();
    });
    let scope = |of_secrets| Scope { of_secrets, namespace: None };
    let first = resources.token();
    tasks.spawn(controller::resources(client.clone(), scope(false), watched.clone(), resources, InitialListStrategy::StreamingList));
    let (its_client, its_watched) = (client.clone(), watched.clone());
    tasks.spawn(async move {
        first.cancelled().await;
        controller::secrets(its_client, scope(true), its_watched, secrets).await;
    });
    let place = Arc::new(Place {
        operator_namespace: "revoiceit-system".to_owned(),
        home: "home".to_owned(),
        issuer: "https://api.revoiceit.com".to_owned(),
        namespaces: BTreeSet::new(),
    });
    let cx = Arc::new(Context {
        client: client.clone(),
        auth: Granting,
        clock: clock::now as fn() -> Timestamp,
        policy: Arc::new(Policy::default()),
        gate: Gate::new(Limits { qps: 10_000, burst: 10_000, in_flight: 16 }),
        watched,
        absences: Absences::default(),
        repairs: Repairs::default(),
        facts: Arc::new(Facts::default()),
        taken: Taken::default(),
        events: Events::new(client, "pod".to_owned(), &place),
        place,
        metrics,
    });
    let pulse = liveness.register("queue", Duration::from_secs(30));
    tasks.spawn(async move {
        controller::serve(cx, wakes, Leadership::always(), all, 1, pulse, CancellationToken::new()).await;
    });
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn new_ones_take_four_reads_and_five_writes_and_what_is_at_rest_two_reads() {
        let server = new_resources(3).await;
        looked_at_again(&server, 3).await;
    }
}
