//! What is changed: new tokens, suspended and resumed resources.

use anyhow::{Result, ensure};
use kube::ResourceExt;
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Call, Fault};
use serde_json::json;

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
            "error: you may not patch revoiceitcredentials \"speech\" in namespace \"{}\": that needs the role \"edit\" there. Whoever runs the \
             cluster or the namespace grants it\n",
            world.tenant
        );
        assert_eq!((said.code, said.out.as_str(), said.err), (Some(1), "", expected));
    }
    let resource = world.get("speech").await?;
    ensure!(!resource.spec.suspend && !resource.annotations().contains_key(names::ROTATE_ANNOTATION), "it was changed");
    world.no_secret_is_told(&[]).await
}
