//! What is changed: new tokens, suspended and resumed resources.

use anyhow::{Result, ensure};
use kube::ResourceExt;
use revoiceit_harness::{
    proxy::{self, Proxy},
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Call, Fault};
use serde_json::json;

use super::Said;
use crate::world::World;

#[tokio::test]
async fn a_rotation_that_is_waited_for_brings_one_new_token() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    let before = world.token("token").await?;
    let edit = world.person("edit").await?;

    let said = world.plugin(&edit, &["rotate", "speech", "--wait"]).await?;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    let name = format!("{}/speech", world.tenant);
    assert_eq!(said.out, format!("{name}: rotation requested\n{name}: new token delivered, revision 2\n"));
    ensure!(world.token("token").await? != before, "the same token");
    world.at_rest().await?;
    assert_eq!(world.calls(), (2, 0, 0));
    let resource = world.get("speech").await?;
    let manager = resource.managed_fields().iter().find(|fields| fields.manager.as_deref() == Some("kubectl-revoiceit"));
    ensure!(
        manager.is_some_and(|fields| serde_json::to_string(&fields.fields_v1).is_ok_and(|text| text.contains(names::ROTATE_ANNOTATION))),
        "whose?"
    );

    // The annotation is all that there is to it: by hand it does the same.
    let by_hand = format!("{}=now", names::ROTATE_ANNOTATION);
    world.cluster.kubectl_as(&edit, ["annotate", "rvc/speech", "--overwrite", &by_hand], "").await?;
    eventually("the third line", GENEROUS, async || {
        ensure!(world.calls().0 == 3, "{:?}", world.calls());
        anyhow::Ok(())
    })
    .await?;
    world.at_rest().await?;
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_selector_rotates_those_with_the_label_and_no_others() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&[]).await?;
    world.crowd(3).await?;
    world.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "rvc", "--all"]).await?;
    world.kubectl(&["label", "rvc", "speech-0", "speech-2", "team=a"]).await?;
    let edit = world.person("edit").await?;
    let said = world.plugin(&edit, &["rotate", "-l", "team=a", "--wait"]).await?;
    assert_eq!(said.code, Some(0), "{said:?}");
    world.at_rest().await?;
    let truth = world.sandbox.truth();
    let lines: Vec<usize> = (0..3).map(|number| truth.lines_of(&format!("client-{number}-of-{}", world.tenant)).count()).collect();
    assert_eq!(lines, [2, 1, 2]);

    let said = world.plugin(&edit, &["rotate", "-l", "team=b"]).await?;
    let none = format!("error: no RevoiceitCredentials in namespace \"{}\" with the labels team=b\n", world.tenant);
    assert_eq!((said.code, said.err), (Some(1), none));
    let said = world.plugin(&edit, &["rotate"]).await?;
    assert_eq!(said.code, Some(2), "{said:?}");
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn what_cannot_be_done_with_one_resource_is_done_with_the_others() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&[]).await?;
    world.crowd(3).await?;
    world.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "rvc", "--all"]).await?;
    let proxy = Proxy::start(world.cluster).await?;
    let edit = world.person_through("edit", &proxy.url()).await?;
    proxy.inject(proxy::Fault::status(500, "InternalError").method("PATCH").path("/revoiceitcredentials/speech-1"));
    let name = |number: usize| format!("{}/speech-{number}", world.tenant);
    let not_done = |said: &Said| {
        let told: Vec<&str> = said.err.lines().collect();
        told.len() == 2
            && told[0].starts_with(&format!("{}: not done: the API server could not be asked: ", name(1)))
            && told[1] == "error: 1 of 3 not done"
    };

    let said = world.plugin(&edit, &["rotate", "speech-0", "speech-1", "speech-2", "--wait"]).await?;
    assert!(said.code == Some(1) && not_done(&said), "{said:?}");
    for number in [0, 2] {
        let (asked, delivered) =
            (format!("{}: rotation requested", name(number)), format!("{}: new token delivered, revision 2", name(number)));
        assert!(said.has(&asked) && said.has(&delivered), "{said:?}");
    }
    assert!(!said.out.contains("speech-1"), "{said:?}");

    let said = world.plugin(&edit, &["suspend", "speech-0", "speech-1", "speech-2"]).await?;
    assert!(said.code == Some(1) && not_done(&said), "{said:?}");
    for number in 0..3 {
        ensure!(world.get(&format!("speech-{number}")).await?.spec.suspend == (number != 1), "speech-{number}");
    }
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_rotation_is_waited_for_while_the_api_server_is_away_for_a_moment() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    let proxy = Proxy::start(world.cluster).await?;
    let edit = world.person_through("edit", &proxy.url()).await?;
    // The first one says which resource is meant.
    let looks = |fault: proxy::Fault| fault.method("GET").path("/revoiceitcredentials/speech").after(1);
    let away = [
        proxy.inject(looks(proxy::Fault::status(503, "ServiceUnavailable")).times(1)),
        proxy.inject(looks(proxy::Fault::reset()).times(1)),
    ];
    let said = world.plugin(&edit, &["rotate", "speech", "--wait"]).await?;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.has(&format!("{}/speech: new token delivered, revision 2", world.tenant)), "{said:?}");
    for id in away {
        assert_eq!(proxy.struck(id), 1);
        proxy.lift(id);
    }

    // Not for longer than was said.
    proxy.inject(looks(proxy::Fault::status(503, "ServiceUnavailable")));
    let said = world.plugin(&edit, &["rotate", "speech", "--wait", "--timeout", "2s"]).await?;
    assert_eq!((said.code, said.out), (Some(1), format!("{}/speech: rotation requested\n", world.tenant)));
    assert!(said.err.starts_with("error: the API server could not be asked: "), "{}", said.err);
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn of_many_those_with_the_label_are_listed_and_one_that_has_lost_it_is_not_taken_for_deleted() -> Result<()> {
    const MANY: usize = 21;
    let world = World::new().await?;
    let operator = world.operator(&[]).await?;
    world.crowd(MANY).await?;
    world.kubectl(&["wait", "--for=condition=Ready", "--timeout=120s", "rvc", "--all"]).await?;
    world.kubectl(&["label", "rvc", "--all", "team=a"]).await?;
    let proxy = Proxy::start(world.cluster).await?;
    let edit = world.person_through("edit", &proxy.url()).await?;
    let lists = |with_labels: bool| {
        move |method: &str, path: &str, _: &[u8]| {
            method == "GET" && path.contains("/revoiceitcredentials?") && path.contains("labelSelector=") == with_labels
        }
    };
    // As if the label had been taken from all of them after they were asked for.
    let none = json!({ "apiVersion": "revoiceit.com/v1", "kind": "RevoiceitCredentialList", "metadata": {}, "items": [] });
    let labelled = proxy.inject(proxy::Fault::answer(200, none.to_string()).which(lists(true)).after(1));
    let others = proxy.inject(proxy::Fault::reset().which(lists(false)));
    let said = world.plugin(&edit, &["rotate", "-l", "team=a", "--wait"]).await?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.out.lines().filter(|line| line.ends_with(": new token delivered, revision 2")).count(), MANY, "{said:?}");
    assert!(proxy.struck(labelled) > 0 && proxy.fitted(others).is_empty(), "{:?}", proxy.fitted(others));
    world.at_rest().await?;
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_token_that_does_not_come_is_told_with_the_reason() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&[]).await?;
    for name in ["away", "rejected"] {
        world.own(name, json!({})).await?;
        world.ready(name).await?;
    }
    let edit = world.person("edit").await?;
    world.sandbox.inject(Fault::status(500).on(Call::Issue).client(world.client_of("away")))?;
    let said = world.plugin(&edit, &["rotate", "away", "--wait", "--timeout", "3s"]).await?;
    assert_eq!(said.code, Some(3), "{said:?}");
    let reason =
        format!("{}/away: no new token within the time: RevoiceitUnavailable: Revoiceit answers that it cannot serve now;", world.tenant);
    let told = said.out.lines().find(|line| line.starts_with(&reason));
    assert!(told.is_some_and(|line| line.contains(" The next attempt is due at ")), "{said:?}");

    // What a person has to put right is not waited for.
    world.sandbox.inject(Fault::answer(400, revoiceit_sandbox::Body::Json).on(Call::Issue).client(world.client_of("rejected")))?;
    let said = world.plugin(&edit, &["rotate", "rejected", "--wait", "--timeout", "10m"]).await?;
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.out.contains(&format!("{}/rejected: no new token: CredentialsRejected: ", world.tenant)), "{said:?}");
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn what_is_suspended_gets_no_token_until_it_is_resumed() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    let edit = world.person("edit").await?;
    let name = format!("{}/speech", world.tenant);

    let said = world.plugin(&edit, &["suspend", "speech"]).await?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.out.starts_with(&format!("{name}: suspended; pods have a valid token for 59m")) || said.out.contains("for 1h"),
        "{said:?}"
    );
    world.reason("speech", "Suspended").await?;
    let said = world.plugin(&edit, &["suspend", "speech"]).await?;
    assert!(said.out.starts_with(&format!("{name}: suspended already")), "{said:?}");

    let said = world.plugin(&edit, &["rotate", "speech", "--wait"]).await?;
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.has(&format!("{name}: no new token: it is suspended: kubectl revoiceit resume it first")), "{said:?}");
    assert_eq!(world.calls(), (1, 0, 0));

    let said = world.plugin(&edit, &["resume", "speech"]).await?;
    assert_eq!((said.code, said.out), (Some(0), format!("{name}: resumed\n")));
    eventually("the rotation that was asked for", GENEROUS, async || {
        ensure!(world.calls() == (2, 0, 0), "{:?}", world.calls());
        anyhow::Ok(())
    })
    .await?;
    let said = world.plugin(&edit, &["resume", "speech"]).await?;
    assert_eq!(said.out, format!("{name}: not suspended\n"));
    world.at_rest().await?;
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn whoever_may_only_view_is_told_which_role_it_takes() -> Result<()> {
    let world = World::new().await?;
    world.speech(json!({})).await?;
    let view = world.person("view").await?;
    for verb in ["rotate", "suspend"] {
        let said = world.plugin(&view, &[verb, "speech"]).await?;
        let expected = format!(
            "{tenant}/speech: not done: you may not patch revoiceitcredentials \"speech\" in namespace \"{tenant}\": that needs the role \"edit\" \
             there. Whoever runs the cluster or the namespace grants it\nerror: 1 of 1 not done\n",
            tenant = world.tenant
        );
        assert_eq!((said.code, said.out.as_str(), said.err), (Some(1), "", expected));
    }
    let resource = world.get("speech").await?;
    ensure!(!resource.spec.suspend && !resource.annotations().contains_key(names::ROTATE_ANNOTATION), "it was changed");
    world.no_secret_is_told(&[]).await
}
