//! A world whose operator is killed at each request of a pass in turn, and replaced by another.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use revoiceit_harness::{
    proxy::{Fault, FaultId, Proxy},
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::{api::names, runtime::clock};
use revoiceit_sandbox::{CallRecord, Effect, RefreshState, Switches, UnixMillis};
use serde_json::{Value, json};

use crate::world::{Operator, World, ready_reason};

/// A kind of pass: what leads to it, and how all is when it is over.
pub(crate) trait Kind {
    /// A resource of this name, at rest.
    async fn prepare(&self, stage: &Stage, name: &str) -> Result<()>;
    /// What the pass is due to.
    async fn cause(&self, stage: &Stage, name: &str) -> Result<()>;
    /// An error as long as not all is as it is in the end.
    async fn is_done(&self, stage: &Stage, name: &str) -> Result<()>;
    /// Issues and refreshes in the life of such a resource when nobody is killed.
    const CALLS: (usize, usize);
    /// The methods whose requests are counted.
    const COUNTED: fn(&str) -> bool = |_| true;
}

/// Kills an operator at each request of a pass of this kind, each time with another resource. Returns what the pass writes and calls, in order.
pub(crate) async fn kill_at_each_request<K: Kind>(kind: K, switch: fn(&mut Switches)) -> Result<Vec<&'static str>> {
    // Much of it is waiting, so there are two of them.
    let every_other = async |first| {
        let stage = Stage::new(switch).await?;
        let acts = stage.kill_at_every_other(&kind, first).await?;
        stage.end().await.map(|()| acts)
    };
    let ((mut acts, end), (others, other_end)) = tokio::try_join!(every_other(0), every_other(1))?;
    acts.extend(others);
    // Where one of them found no more requests, the other found none that does anything.
    let end = end.min(other_end);
    ensure!(end > 1 && acts.keys().all(|number| *number < end), "there was no request {end}, and {acts:?}");
    Ok(acts.into_values().collect())
}

/// What was seen may be what the operator is about to be told, and may answer with a look or two.
const SETTLED: Duration = Duration::from_millis(300);

/// When the operator is killed. To everybody else, after a write is before the request that follows it; only of a call it is seen whether its
/// answer went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// Before the request arrives. It arrives when another operator has done the work.
    Before,
    /// When the request was served, before its answer arrives.
    After,
}

/// What a killed operator had begun, and nobody knows the end of.
#[derive(Clone, Copy, Debug, Default)]
struct Left {
    /// An intent stood: what it was for counts as lost, and another line is asked for.
    intent: bool,
    /// A refresh without one, since it brings no refresh token: repeating it loses nothing.
    refresh: bool,
}

/// One world, and the one operator in it.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) proxy: Proxy,
    kubeconfig: PathBuf,
    policy: String,
    operator: Mutex<Option<Operator>>,
}

impl Stage {
    pub(crate) async fn new(switch: impl FnOnce(&mut Switches)) -> Result<Self> {
        let world = World::with(switch).await?;
        let proxy = Proxy::start(world.cluster).await?;
        // Requests and calls in one place: each has a number, whoever it goes to.
        proxy.route("/auth/", world.sandbox.api_url());
        let kubeconfig = world.cluster.kubeconfig_for_service_account(&world.system, names::OPERATOR, &proxy.url()).await?;
        let policy = world.policy(&json!({
            "intent": 1500, "linger": 500, "minGrace": 300, "retryMin": 200, "retryMax": 400, "revokeRetryMax": 500,
            "absence": 300, "minLifetime": 1000,
        }))?;
        let stage = Self { world, proxy, kubeconfig, policy, operator: Mutex::default() };
        stage.start().await?;
        Ok(stage)
    }

    /// Another operator. No lease has to run out before it works.
    pub(crate) async fn start(&self) -> Result<()> {
        let flags = ["--leader-elect=false", "--api-url", &self.proxy.url(), "--policy-for-tests", &self.policy];
        let operator = Operator::listening(self.world.spawn(&self.kubeconfig, &flags)?).await?;
        eventually("the operator to be ready", GENEROUS, async || operator.get("/readyz").await).await?;
        *self.operator.lock().unwrap_or_else(PoisonError::into_inner) = Some(operator);
        Ok(())
    }

    pub(crate) fn kill(&self) {
        // It ends with its handle.
        self.operator.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Every other request of a pass of this kind, with what it writes or calls, and the first number that there was none of.
    async fn kill_at_every_other<K: Kind>(&self, kind: &K, first: usize) -> Result<(BTreeMap<usize, &'static str>, usize)> {
        let (mut acts, mut number) = (BTreeMap::new(), first);
        while let Some(request) = self.kill_at(kind, number, Side::Before).await? {
            acts.extend(act(&request).map(|act| (number, act)));
            if request.contains(" /auth/") {
                let same = self.kill_at(kind, number, Side::After).await?;
                ensure!(same.as_ref() == Some(&request), "request {number} was {request} before, and is {same:?} now");
            }
            number += 2;
        }
        Ok((acts, number))
    }

    /// Nothing was told that should not have been.
    pub(crate) async fn end(self) -> Result<()> {
        let operator = self.operator.lock().unwrap_or_else(PoisonError::into_inner).take().context("no operator runs")?;
        self.world.no_secret_is_told(&[&operator]).await
    }

    /// Returns the request at which it was killed, or nothing if the pass has no more of them.
    async fn kill_at<K: Kind>(&self, kind: &K, number: usize, side: Side) -> Result<Option<String>> {
        let name = format!("{}-{number:02}", if side == Side::Before { "before" } else { "after" });
        let point = async || {
            kind.prepare(self, &name).await?;
            let fault = if side == Side::Before { Fault::detain() } else { Fault::hold_reply() };
            let is_about_it = self.requests_about(&name).await?;
            let which = move |method: &str, path: &str, body: &[u8]| K::COUNTED(method) && is_about_it(method, path, body);
            let stop = self.proxy.inject(fault.which(which).after(number).times(1));
            kind.cause(self, &name).await?;
            if !self.stops(kind, &name, stop).await? {
                self.proxy.lift(stop);
                return anyhow::Ok(None);
            }
            self.kill();
            let request = self.proxy.fitted(stop).into_iter().nth(number).context("the request that it stood at")?;
            let left = self.left(&name, &request).await?;
            if side == Side::After {
                self.proxy.lift(stop);
            }
            self.start().await?;
            self.converges(kind, &name, left).await?;
            if side == Side::Before {
                // The request was under way when its sender died, and comes late.
                self.proxy.lift(stop);
                eventually("the late request to be served", GENEROUS, async || zero(self.proxy.held(stop))).await?;
                self.converges(kind, &name, left).await?;
            }
            Ok(Some(request))
        };
        point().await.with_context(|| format!("killed at request {number} ({side:?})"))
    }

    /// Waits until the operator stands at the request, or the pass has gone by without it.
    async fn stops<K: Kind>(&self, kind: &K, name: &str, stop: FaultId) -> Result<bool> {
        eventually("the pass to come to the request or to its end", GENEROUS, async || {
            if self.proxy.held(stop) == 0 {
                kind.is_done(self, name).await?;
                tokio::time::sleep(SETTLED).await;
            }
            anyhow::Ok(self.proxy.held(stop) > 0)
        })
        .await
    }

    /// What an operator left that was killed at this request.
    async fn left(&self, name: &str, request: &str) -> Result<Left> {
        let record = self.record(name).await?;
        let intent = record.as_ref().is_some_and(|record| !record["intent"].is_null());
        let (kept, truth) = (record.map(|record| record.to_string()).unwrap_or_default(), self.world.sandbox.truth());
        // The first access token of a line is of its issue.
        let newest =
            truth.lines.iter().rfind(|line| self.is_client_of(&line.client, name)).and_then(|line| line.access.iter().skip(1).last());
        let is_unsaved = request.ends_with(" /auth/refresh") || newest.is_some_and(|token| !kept.contains(&token.token));
        Ok(Left { intent, refresh: is_unsaved && !intent })
    }

    /// All is done, once, but for what a killed operator left undone; and no token is lost but one whose intent stood.
    async fn converges<K: Kind>(&self, kind: &K, name: &str, left: Left) -> Result<()> {
        eventually("all to be as it should be", GENEROUS, async || kind.is_done(self, name).await).await?;
        let record = self.record(name).await?;
        let suspects = record.as_ref().map_or(0, |record| record["suspects"]["lost"].as_u64().unwrap_or_default());
        // At the end of a ledger they are told; here a resource never goes with any.
        ensure!(record.is_none() || suspects == u64::from(left.intent), "{suspects} suspects, {left:?}");
        let (kept, truth) = (record.map(|record| record.to_string()).unwrap_or_default(), self.world.sandbox.truth());
        let lines = truth.lines.iter().filter(|line| self.is_client_of(&line.client, name));
        let live = lines.flat_map(|line| &line.refresh).filter(|token| token.state == RefreshState::Live);
        let missing = live.filter(|token| !kept.contains(&token.token)).count();
        ensure!(missing as u64 <= suspects, "{missing} live tokens are in no ledger, {suspects} suspected");
        let (issues, refreshes) = (self.done(name, Effect::Issued), self.done(name, Effect::Refreshed) + self.done(name, Effect::Rotated));
        ensure!(issues <= K::CALLS.0 + usize::from(left.intent), "{issues} issues, {left:?}");
        ensure!(refreshes <= K::CALLS.1 + usize::from(left.refresh), "{refreshes} refreshes, {left:?}");
        Ok(())
    }

    /// How many calls of the clients of this resource did this.
    fn done(&self, name: &str, effect: Effect) -> usize {
        let is_it = |call: &&CallRecord| {
            call.effect == Some(effect) && call.client.as_deref().is_some_and(|client| self.is_client_of(client, name))
        };
        self.world.sandbox.calls(0).iter().filter(is_it).count()
    }

    /// Its first client, or another that took the first one's place.
    fn is_client_of(&self, client: &str, name: &str) -> bool {
        [self.world.client_of(name), self.successor_of(name)].iter().any(|own| own == client)
    }

    pub(crate) fn successor_of(&self, name: &str) -> String {
        self.world.client_of(&format!("{name}-successor"))
    }

    /// Requests about this resource: GETs, writes and calls. Not the lease, events, lists and watches. Of calls only an issue tells whose it is,
    /// and of a resource that is not there yet the ledger is any new one: nothing like it may be done for another one meanwhile.
    async fn requests_about(&self, name: &str) -> Result<impl Fn(&str, &str, &[u8]) -> bool + Send + Sync + use<>> {
        let there = self.world.resources().get_opt(name).await?.and_then(|resource| resource.uid()).map(|uid| names::ledger_name(&uid));
        let own = there.or(self.ledger(name).await?.map(|ledger| ledger.name_any()));
        let others = self.world.ledgers().await?;
        let (name, of) = (name.to_owned(), format!("{}/{name}\"", self.world.tenant));
        Ok(move |method: &str, path: &str, body: &[u8]| {
            let (path, body) = (path.split('?').next().unwrap_or_default(), String::from_utf8_lossy(body));
            let is_ledger =
                |part: &str| part.starts_with("rvc-") && own.as_ref().map_or(!others.iter().any(|it| it == part), |own| own == part);
            let is_own = |part: &str| part.starts_with(&name) || is_ledger(part);
            let tells = || body.contains(&of) || body.contains(&format!("\"{name}-"));
            match path {
                "/auth/token" => tells(),
                _ if path.starts_with("/auth/") => true,
                _ if method == "POST" && path.ends_with("/secrets") => tells(),
                _ => !path.contains("/events") && path.split('/').any(is_own),
            }
        })
    }

    /// How many requests a pass of this kind sends to the API server when nothing goes wrong, with a resource of this name.
    pub(crate) async fn requests<K: Kind>(&self, kind: &K, name: &str) -> Result<usize> {
        kind.prepare(self, name).await?;
        let undisturbed = self.arm::<K>(name, usize::MAX, Fault::reset()).await?;
        kind.cause(self, name).await?;
        self.weathers(kind, name, undisturbed, 0).await?;
        Ok(self.proxy.fitted(undisturbed).len())
    }

    /// A fault meets one request of a pass: all comes to what it should be, nothing is asked of Revoiceit twice, and nothing is taken for lost.
    pub(crate) async fn fault_at<K: Kind>(&self, kind: &K, name: &str, number: usize, fault: Fault) -> Result<()> {
        kind.prepare(self, name).await?;
        let fault = self.arm::<K>(name, number, fault).await?;
        kind.cause(self, name).await?;
        self.weathers(kind, name, fault, 1).await
    }

    /// Before the cause: the request to the API server with this number is to meet a fault.
    pub(crate) async fn arm<K: Kind>(&self, name: &str, number: usize, fault: Fault) -> Result<FaultId> {
        let is_about_it = self.requests_about(name).await?;
        let which = move |method: &str, path: &str, body: &[u8]| {
            K::COUNTED(method) && !path.starts_with("/auth/") && is_about_it(method, path, body)
        };
        Ok(self.proxy.inject(fault.which(which).after(number).times(1)))
    }

    /// After the cause: the fault strikes so many times, and all comes to what it should be.
    pub(crate) async fn weathers<K: Kind>(&self, kind: &K, name: &str, fault: FaultId, times: usize) -> Result<()> {
        // A look that follows upon the end may be what it strikes.
        eventually("the fault to strike, and all to be as it should be", GENEROUS, async || {
            ensure!(self.proxy.struck(fault) == times, "it met none of {:?}", self.proxy.fitted(fault));
            kind.is_done(self, name).await
        })
        .await?;
        tokio::time::sleep(SETTLED).await;
        self.converges(kind, name, Left::default()).await?;
        let refreshes = self.done(name, Effect::Refreshed) + self.done(name, Effect::Rotated);
        ensure!(refreshes == K::CALLS.1, "{refreshes} refreshes");
        self.proxy.lift(fault);
        if self.proxy.held(fault) > 0 {
            eventually("the late request to be served", GENEROUS, async || zero(self.proxy.held(fault))).await?;
            self.converges(kind, name, Left::default()).await?;
        }
        Ok(())
    }

    /// The ledger of a resource that is or was there, if there is one.
    async fn ledger(&self, name: &str) -> Result<Option<Secret>> {
        // By its name, if that is known: in the end there are many, and all are asked for again and again.
        if let Some(uid) = self.world.resources().get_opt(name).await?.and_then(|resource| resource.uid()) {
            return Ok(self.ledgers().get_opt(&names::ledger_name(&uid)).await?);
        }
        let of = format!("{}/{name}", self.world.tenant);
        let ledgers = self.ledgers().list(&ListParams::default().fields(&format!("type={}", names::LEDGER_TYPE))).await?.items;
        Ok(ledgers.into_iter().find(|ledger| ledger.annotations().get(names::RESOURCE_ANNOTATION) == Some(&of)))
    }

    fn ledgers(&self) -> Api<Secret> {
        Api::namespaced(self.world.client.clone(), &self.world.system)
    }

    async fn record(&self, name: &str) -> Result<Option<Value>> {
        let Some(ledger) = self.ledger(name).await? else { return Ok(None) };
        let data = ledger.data.unwrap_or_default();
        Ok(Some(serde_json::from_slice(&data.get(names::LEDGER_KEY).context("no record in the ledger")?.0)?))
    }

    /// Ready, as specified and settled: an error otherwise. Returns the record.
    pub(crate) async fn is_supplied(&self, name: &str) -> Result<Value> {
        let resource = self.world.get(name).await?;
        let status = resource.status.clone().unwrap_or_default();
        ensure!(ready_reason(&resource) == Some("TokenReady"), "it says {:?}", ready_reason(&resource));
        ensure!(status.observed_generation == resource.metadata.generation, "the status is of another generation");
        let record = self.record(name).await?.context("it has no ledger")?;
        let target = &resource.spec.target.name;
        ensure!(record["intent"].is_null() && record["retiring"] == json!([]), "something is under way");
        ensure!(record["targets"] == json!([{ "name": target, "leftAt": null }]), "listed are {}", record["targets"]);
        ensure!(status.revision == record["live"]["revision"].as_i64(), "the status is of another revision");
        ensure!(i64::from(status.suspected_lost.unwrap_or_default()) == record["suspects"]["lost"], "the status counts other losses");
        let token = self.world.token(target).await?;
        ensure!(record["live"]["access"] == json!(token), "the target has another token");
        ensure!(self.world.sandbox.truth().is_valid(&token, UnixMillis::now()), "it is not valid");
        Ok(record)
    }

    /// Makes the token so old, as far as the ledger knows, that its refresh is due, and tells it whether refreshes were seen to rotate.
    pub(crate) async fn age(&self, name: &str, rotates: bool) -> Result<()> {
        const MINUTE: Duration = Duration::from_secs(60);
        let mut record = self.record(name).await?.context("it has no ledger")?;
        let now = clock::now();
        record["rotates"] = json!(rotates);
        record["live"]["sentAt"] = json!(now - 55 * MINUTE);
        record["live"]["expiresAt"] = json!(now + 5 * MINUTE);
        let patch = json!({ "data": { names::LEDGER_KEY: ByteString(record.to_string().into_bytes()) } });
        let ledger = self.ledger(name).await?.context("it is gone")?;
        self.ledgers().patch(&ledger.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// An edit of the resource that asks for nothing, so that it is looked at.
    pub(crate) async fn touch(&self, name: &str) -> Result<()> {
        let edit = json!({ "metadata": { "labels": { "touched": clock::now().as_millisecond().to_string() } } });
        self.world.patch(name, &edit).await.map(drop)
    }

    /// Nothing is left of it, and none of its tokens lives.
    pub(crate) async fn is_gone(&self, name: &str) -> Result<()> {
        ensure!(self.world.resources().get_opt(name).await?.is_none(), "it is there");
        ensure!(self.ledger(name).await?.is_none(), "its ledger is there");
        ensure!(self.world.secrets().get_opt(&format!("{name}-token")).await?.is_none(), "the target is there");
        let truth = self.world.sandbox.truth();
        let live = truth.lines.iter().filter(|line| self.is_client_of(&line.client, name)).flat_map(|line| &line.refresh);
        let left = live.filter(|token| token.state != RefreshState::Revoked).count();
        ensure!(left == 0, "{left} tokens are not revoked");
        Ok(())
    }
}

fn zero(count: usize) -> Result<()> {
    ensure!(count == 0, "{count}");
    Ok(())
}

/// What a request does, unless it only reads.
fn act(request: &str) -> Option<&'static str> {
    let (method, path) = request.split_once(' ')?;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let is_ledger = path.contains("/secrets/rvc-") || path.contains("/namespaces/system-");
    Some(match method {
        "GET" => return None,
        _ if query.contains("dryRun") => "try",
        "POST" if path == "/auth/token" => "issue",
        "POST" if path == "/auth/refresh" => "refresh",
        "POST" if path == "/auth/revoke" => "revoke",
        "PATCH" if path.ends_with("/status") => "status",
        "PATCH" => "resource",
        "DELETE" if is_ledger => "delete ledger",
        "DELETE" => "delete target",
        _ if is_ledger => "ledger",
        _ => "target",
    })
}
