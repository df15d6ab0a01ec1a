//! What happens, in the order in which it happens. What is told is checked: where it is not so, the demo fails.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use k8s_openapi::jiff::Timestamp;
use revoiceit_harness::scratch::Scratch;
use revoiceit_harness::wait::{GENEROUS, eventually};
use tokio::time::Instant;

use crate::Stage;
use crate::cast::{Operator, Revoiceit};
use crate::ground::{Ground, NAMESPACE, SYSTEM};
use crate::screen::{Screen, seconds};

/// How many characters of a token are shown.
const SHOWN: usize = 16;
/// What the operator is started with.
const KUBECONFIG: &str = "operator.kubeconfig";

/// The whole play. What it starts it puts on the stage at once, so that it can be taken down wherever the play ends.
pub(crate) async fn play(screen: &Screen, stage: &mut Stage) -> Result<()> {
    set(screen, stage).await?;
    let ground = stage.ground.as_ref().context("no Kubernetes")?;
    let revoiceit = stage.revoiceit.as_ref().context("no Revoiceit")?;
    let play = Play { screen, ground, revoiceit };
    let operator = stage.operator.as_ref().context("no operator")?;
    let first = play.appear(operator).await?;
    play.repair(operator, &first).await?;
    let operator = play.restart(&stage.scratch, &mut stage.operator).await?;
    play.outage(operator).await?;
    play.revoke(operator).await
}

/// Everything that has to be there before the curtain rises.
async fn set(screen: &Screen, stage: &mut Stage) -> Result<()> {
    screen.step("The stage");
    let ground = stage.ground.insert(Ground::find(screen, &stage.scratch).await?);
    screen.say(
        "Revoiceit: a local one, which keeps to the vendor's document and knows what became of each token. \
         At the real one an access token lives for an hour; here for a minute and a half, so that you see a refresh.",
    );
    let revoiceit = stage.revoiceit.insert(Revoiceit::start(screen, &stage.scratch).await?);
    screen.say(
        "The operator: first its resource definition and its roles, from deploy/. Then the program itself, \
         as its service account: it may do what those roles allow, and no more.",
    );
    ground.install(screen).await?;
    stage.scratch.write(KUBECONFIG, ground.operators_kubeconfig().await?)?;
    let began = Instant::now();
    let operator = stage.operator.insert(Operator::start(screen, &stage.scratch, KUBECONFIG, revoiceit)?);
    screen.wait(|| "the operator is starting".to_owned(), operator.leads()).await?;
    screen.good(format_args!("the operator is at work ({})", seconds(began.elapsed())));
    Ok(())
}

/// What all scenes need.
struct Play<'a> {
    screen: &'a Screen,
    ground: &'a Ground,
    revoiceit: &'a Revoiceit,
}

impl Play<'_> {
    async fn appear(&self, operator: &Operator) -> Result<String> {
        let mark = self.revoiceit.mark().await?;
        self.screen.step("A token appears");
        self.screen.say("A user puts client credentials into a Secret, and names the Secret that pods will mount:");
        self.show("cat tests/harness/demo/speech.yaml").await?;
        self.show(&format!("kubectl apply -n {NAMESPACE} -f tests/harness/demo/speech.yaml")).await?;
        let began = Instant::now();
        self.show(&format!("kubectl wait -n {NAMESPACE} --for=condition=Ready \\\n  --timeout=60s rvc/speech")).await?;
        self.screen.good(format_args!("ready ({})", seconds(began.elapsed())));
        self.show(&format!("kubectl get rvc -n {NAMESPACE}")).await?;

        self.screen.say("The Secret holds an access token and nothing else. Revoiceit accepts it:");
        self.show(&format!("{}\necho \"$token\" | cut -c 1-{SHOWN}\n{}", read_token(), self.check("token"))).await?;
        self.screen.say("The refresh token is where no pod reads it: in the operator's own namespace, in a ledger.");
        self.show(&format!("kubectl get secrets -n {SYSTEM}")).await?;
        self.tell_log(
            "The operator's log. It notes in the ledger that it is about to ask, asks, saves what it got in the \
             ledger, and only then writes the Secret. So no crash can make it forget a token:",
            operator,
        )
        .await?;
        self.expect_calls(mark, &["issue"]).await?;

        let token = self.token().await?;
        self.ground.shell.remember("token", &token);
        Ok(token)
    }

    async fn repair(&self, operator: &Operator, token: &str) -> Result<()> {
        let mark = self.revoiceit.mark().await?;
        self.screen.step("Somebody spoils the Secret");
        self.screen.say("The operator puts back what belongs there. It is in the ledger, so Revoiceit need not be asked.");
        let patch = r#"'{"stringData":{"accessToken":"oops"}}'"#;
        self.show(&format!("kubectl patch secret speech-token -n {NAMESPACE} \\\n  --type merge -p {patch}")).await?;
        self.expect_restored(operator, token).await?;
        self.show(&format!("kubectl delete secret speech-token -n {NAMESPACE}")).await?;
        self.expect_restored(operator, token).await?;
        self.tell_log("The operator's log:", operator).await?;
        self.expect_calls(mark, &[]).await
    }

    /// Returns the new operator, which is on the stage in place of the old one.
    async fn restart<'s>(&self, scratch: &Arc<Scratch>, place: &'s mut Option<Operator>) -> Result<&'s Operator> {
        let mark = self.revoiceit.mark().await?;
        self.screen.step("The operator is killed, and started again");
        self.screen.say("All that it has to know is in the ledger. The new one goes on where the old one was.");
        let killed = place.take().context("no operator")?;
        self.screen.command(&format!("kill -9 {}", killed.process.id()));
        killed.process.kill();
        let began = Instant::now();
        let operator = place.insert(Operator::start(self.screen, scratch, KUBECONFIG, self.revoiceit)?);
        let waiting = || format!("the lease of the killed one has to run out, which takes 5 s ({})", seconds(began.elapsed()));
        self.screen.wait(waiting, operator.leads()).await?;
        self.screen.good(format_args!("the new operator is at work ({})", seconds(began.elapsed())));
        self.show(&format!("kubectl get rvc -n {NAMESPACE}")).await?;
        let calls = self.revoiceit.calls(mark).await?;
        if calls == ["refresh"] {
            self.screen.good("calls to Revoiceit: one refresh, which was due by now. This machine is busy");
            return Ok(operator);
        }
        self.expect_calls(mark, &[]).await?;
        Ok(operator)
    }

    async fn outage(&self, operator: &Operator) -> Result<()> {
        operator.log()?;
        let mark = self.revoiceit.mark().await?;
        self.screen.step("Revoiceit is away when the token is to be refreshed");
        let (due, expires) = (self.time("refreshAt").await?, self.time("expiresAt").await?);
        self.screen.say(&format!(
            "The token in the Secret is valid until {expires}. Its refresh is due long before, at {due}. But now Revoiceit answers 503, \
             whatever it is asked:"
        ));
        let faults = format!("{}/faults", self.revoiceit.admin);
        let outage = r#"'{"kind":{"status":{"code":503}}}'"#;
        self.show(&format!("curl -sSw '\\n' -H 'Content-Type: application/json' \\\n  -d {outage} {faults}")).await?;
        let old = self.token().await?;
        self.ground.shell.remember("token", &old);
        let failed = async || {
            let failure = self.status("failure.reason").await?;
            ensure!(!failure.is_empty(), "no failure");
            Ok::<_, anyhow::Error>(())
        };
        let waiting = || format!("the refresh is due in {}", until(due));
        self.screen.wait(waiting, while_running(operator, "the refresh to fail", failed)).await?;
        self.screen.good("the refresh was tried, and failed. Pods have the token that they had:");
        self.show(&format!("kubectl revoiceit status speech -n {NAMESPACE}")).await?;

        self.screen.say("Revoiceit is back. Nobody has to tell the operator: it tries again, the sooner the nearer the expiry is.");
        self.show(&format!("curl -sSw '\\n' -X DELETE {faults}")).await?;
        let next = self.time("failure.nextRetryAt").await?;
        let refreshed = async || {
            let now = self.token().await?;
            ensure!(now != old, "the same one");
            Ok::<_, anyhow::Error>(())
        };
        let waiting = || format!("the next attempt is in {}", until(next));
        self.screen.wait(waiting, while_running(operator, "another token in the Secret", refreshed)).await?;
        self.screen.good("another token is in the Secret");
        self.screen.say("The old one stays valid until it expires, so a pod that has not read the new one yet goes on:");
        let echo = format!("printf '%.{SHOWN}s\\n' \"$old\" \"$token\"");
        self.show(&format!("old=$token\n{}\n{echo}\n{}\n{}", read_token(), self.check("old"), self.check("token"))).await?;
        self.tell_log("The operator's log:", operator).await?;
        self.ground.shell.remember("token", &self.token().await?);
        let calls = self.revoiceit.calls(mark).await?;
        // On a busy machine more than one may fail, and one may have come before the outage.
        ensure!(calls.len() > 1 && calls.iter().all(|call| call == "refresh"), "Revoiceit was to get refreshes, and got {calls:?}");
        self.screen.good(format_args!("calls to Revoiceit in this scene: {} refreshes", calls.len()));
        Ok(())
    }

    async fn revoke(&self, operator: &Operator) -> Result<()> {
        operator.log()?;
        let mark = self.revoiceit.mark().await?;
        self.screen.step("Deleted means revoked");
        self.expect_refresh_token("live").await?;
        self.show(&format!("kubectl delete rvc speech -n {NAMESPACE}")).await?;
        self.expect_refresh_token("revoked").await?;
        self.expect_calls(mark, &["revoke"]).await?;
        self.tell_log("The operator's log:", operator).await?;
        self.screen.say("Neither the Secret nor the ledger is left:");
        self.ground.shell.show_failing(self.screen, &format!("kubectl get secret speech-token -n {NAMESPACE}")).await?;
        self.show(&format!("kubectl get secrets -n {SYSTEM}")).await?;
        self.screen.say(
            "One thing to know: revoked is the refresh token. No call ends an access token. Whoever has a copy \
             of it can use it until it expires, at the real Revoiceit for up to an hour:",
        );
        self.show(&self.check("token")).await?;
        Ok(())
    }

    /// Shows a command and what it prints.
    async fn show(&self, command: &str) -> Result<String> {
        self.ground.shell.show(self.screen, command).await
    }

    async fn tell_log(&self, text: &str, operator: &Operator) -> Result<()> {
        self.screen.say(text);
        let log = operator.log()?;
        self.screen.output(&log);
        self.screen.read(&log).await;
        Ok(())
    }

    /// The command that asks Revoiceit whether the token in a variable is valid.
    fn check(&self, variable: &str) -> String {
        format!("curl -sSw '\\n' -H \"Authorization: Bearer ${variable}\" \\\n  {}/check", self.revoiceit.api)
    }

    /// A field of the resource's status; empty if there is none.
    async fn status(&self, field: &str) -> Result<String> {
        self.ground.shell.run(&format!("kubectl get rvc speech -n {NAMESPACE} -o jsonpath='{{.status.{field}}}'")).await
    }

    async fn time(&self, field: &str) -> Result<Timestamp> {
        self.status(field).await?.parse().with_context(|| format!("status.{field}"))
    }

    /// The access token in the Secret.
    async fn token(&self) -> Result<String> {
        self.ground.shell.run(&format!("{}\nprintf %s \"$token\"", read_token())).await
    }

    /// Waits until the Secret holds this token again.
    async fn expect_restored(&self, operator: &Operator, expected: &str) -> Result<()> {
        let began = Instant::now();
        let look = async || {
            let now = self.token().await?;
            if now == expected { Ok(()) } else { Err(anyhow!("another one is in it")) }
        };
        let waiting = || "waiting for the token to come back".to_owned();
        self.screen.wait(waiting, while_running(operator, "the token to be back in the Secret", look)).await?;
        self.screen.good(format_args!("the same token is back ({})", seconds(began.elapsed())));
        Ok(())
    }

    /// Tells which calls Revoiceit got since the mark, and fails if they are others than these.
    async fn expect_calls(&self, mark: u64, expected: &[&str]) -> Result<()> {
        let calls = self.revoiceit.calls(mark).await?;
        ensure!(calls == expected, "Revoiceit was to get the calls {expected:?} in this scene, and got {calls:?}");
        let told = if calls.is_empty() { "none".to_owned() } else { format!("1 {}", calls.join(", ")) };
        self.screen.good(format_args!("calls to Revoiceit in this scene: {told}"));
        Ok(())
    }

    /// Tells what Revoiceit knows of refresh tokens. There must be one in all, in this state.
    async fn expect_refresh_token(&self, expected: &str) -> Result<()> {
        let lines = self.revoiceit.lines().await?;
        let [line] = &lines[..] else { bail!("Revoiceit was to issue one refresh token, and issued {}", lines.len()) };
        ensure!(line.state == expected, "the refresh token is {}, it was to be {expected}", line.state);
        let start = line.refresh_token.get(..SHOWN).unwrap_or_default();
        let (state, number) = (expected.to_uppercase(), line.access_tokens);
        self.screen.say(&format!("Revoiceit has issued one refresh token, {start}…, and with it {number} access tokens. It is {state}."));
        Ok(())
    }
}

/// How long it is until then, for people.
fn until(then: Timestamp) -> String {
    format!("{} s", then.duration_since(Timestamp::now()).as_secs().max(0))
}

/// The command that reads the access token into a variable.
fn read_token() -> String {
    format!("token=$(kubectl get secret speech-token -n {NAMESPACE} \\\n  -o jsonpath='{{.data.accessToken}}' | base64 -d)")
}

/// Waits until `look` finds what it looks for, in vain if the operator ends meanwhile.
async fn while_running(operator: &Operator, what: &str, look: impl AsyncFn() -> Result<()>) -> Result<()> {
    let waited = eventually(what, GENEROUS, async || match operator.process.ended() {
        Some(status) => Ok(Err(anyhow!("the operator has ended ({status}), while the demo waited for {what}"))),
        None => look().await.map(Ok),
    });
    waited.await?
}
