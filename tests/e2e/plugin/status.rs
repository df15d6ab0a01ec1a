//! What is shown of a resource, and to whom.

use std::{
    fs::File,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use revoiceit_harness::{
    cluster::binary,
    proxy::{Fault, Proxy},
    wait::{GENEROUS, eventually},
};
use serde_json::{Value, json};

use crate::{scope::speech_in, world::World};

#[tokio::test]
async fn whoever_may_view_sees_the_chain_of_a_healthy_resource_and_whoever_may_edit_its_secrets_too() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;

    let said = world.plugin(&world.person("view").await?, &["status", "speech"]).await?;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.has(&format!("✓ {}/speech  Ready, TokenReady", world.tenant)), "{said:?}");
    assert!(said.has("  ? credentials  Secret client (you may not read Secrets)"), "{said:?}");
    assert!(said.has("  ? target       Secret token (you may not read Secrets)"), "{said:?}");
    assert!(said.out.contains("  ✓ token        revision 1, issued ") && said.out.contains("  ✓ next         refresh in "), "{said:?}");
    assert!(!said.out.contains('\u{1b}'), "colours where there is no terminal");

    let edit = world.person("edit").await?;
    for args in [&["status", "speech"][..], &["status"], &["-n", &world.tenant, "status"]] {
        let said = world.plugin(&edit, args).await?;
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.has("  ✓ credentials  Secret client") && said.has("  ✓ target       Secret token"), "{said:?}");
    }
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn programs_get_the_same_as_json_and_as_yaml() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    let edit = world.person("edit").await?;
    for name in [&["speech"][..], &[]] {
        let of = async |format| world.plugin(&edit, &[&["status", "-o", format], name].concat()).await;
        let (json, yaml) = (of("json").await?, of("yaml").await?);
        assert_eq!((json.code, yaml.code), (Some(0), Some(0)));
        let value = json.json()?;
        assert_eq!(value, serde_saphyr::from_str::<Value>(&yaml.out)?);
        let one = if name.is_empty() { &value["items"][0] } else { &value };
        let told = (&one["ready"], &one["reason"], &one["token"]["revision"], &one["target"], &one["next"]["what"]);
        let target = json!({ "secret": "token", "state": "present" });
        assert_eq!(told, (&json!(true), &json!("TokenReady"), &json!(1), &target, &json!("refresh")));
    }
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn one_whose_credentials_are_rejected_ends_with_a_code_of_its_own() -> Result<()> {
    let world = World::new().await?;
    world.pair("client", "nobody", "canary-of-a-client-secret-unknown").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.reason("speech", "CredentialsRejected").await?;
    let edit = world.person("edit").await?;
    let said = world.plugin(&edit, &["status", "speech"]).await?;
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.has(&format!("✗ {}/speech  not ready, CredentialsRejected", world.tenant)), "{said:?}");
    assert!(
        said.has("  ✗ credentials  Secret client: Revoiceit rejects what is in it") && said.has("  … token        none yet"),
        "{said:?}"
    );
    assert!(said.out.contains("Put valid ones there; the change is noticed at once."), "{said:?}");

    // One of two is enough.
    world.credentials("other").await?;
    world.resource("other", "other", "other-token", json!({})).await?;
    world.ready("other").await?;
    assert_eq!(world.plugin(&edit, &["status", "other"]).await?.code, Some(0));
    let both = world.plugin(&edit, &["status"]).await?;
    assert_eq!(both.code, Some(3));
    assert!(both.has("2 resources: 1 ready, 1 not, 1 of which wait for a person."), "{both:?}");
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_target_that_is_missing_or_somebody_elses_is_seen() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    operator.stop().await?;
    let edit = world.person("edit").await?;
    world.kubectl(&["delete", "secret/token"]).await?;
    let said = world.plugin(&edit, &["status", "speech"]).await?;
    assert!(said.code == Some(3) && said.has("  ✗ target       Secret token does not exist"), "{said:?}");
    world.foreign_secret("token").await?;
    let said = world.plugin(&edit, &["status", "speech"]).await?;
    assert!(said.code == Some(3) && said.has("  ✗ target       Secret token is not this resource's"), "{said:?}");
    world.no_secret_is_told(&[]).await
}

#[tokio::test]
async fn all_namespaces_are_for_those_who_may_see_them() -> Result<()> {
    let world = World::of_tenants(2, |_| {}).await?;
    for namespace in &world.tenants {
        speech_in(&world, namespace).await?;
    }
    let view = world.person("view").await?;
    let said = world.plugin(&view, &["status", "-A"]).await?;
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    assert!(
        said.err.starts_with("error: you may not list revoiceitcredentials of the whole cluster: that needs the role \"view\" there."),
        "{said:?}"
    );
    let said = world.plugin(&view, &["status", "-n", &world.tenants[1]]).await?;
    assert!(said.err.contains(&format!("you may not list revoiceitcredentials in namespace \"{}\"", world.tenants[1])), "{said:?}");

    let account = format!("{}:view", world.tenant);
    let binding = format!("view-of-{}", world.tenant);
    world.cluster.kubectl(["create", "clusterrolebinding", &binding, "--clusterrole", "view", "--serviceaccount", &account]).await?;
    eventually("the binding to hold", GENEROUS, async || {
        let said = world.plugin(&view, &["status", "-A"]).await?;
        ensure!(
            world.tenants.iter().all(|namespace| said.out.contains(&format!("✗ {namespace}/speech  no operator has looked at it"))),
            "{said:?}"
        );
        // Nobody serves them.
        ensure!(said.code == Some(3), "{said:?}");
        anyhow::Ok(())
    })
    .await?;
    world.no_secret_is_told(&[]).await
}

#[tokio::test]
async fn what_is_not_there_is_told_in_words() -> Result<()> {
    let world = World::new().await?;
    let view = world.person("view").await?;
    let said = world.plugin(&view, &["status", "speech"]).await?;
    let missing = format!("error: RevoiceitCredential \"speech\" in namespace \"{}\" not found\n", world.tenant);
    assert_eq!((said.code, said.err), (Some(1), missing));
    let said = world.plugin(&view, &["status"]).await?;
    assert_eq!((said.code, said.err), (Some(0), format!("no RevoiceitCredentials in namespace \"{}\"\n", world.tenant)));
    let said = world.plugin(&view, &["status", "--context", "nowhere"]).await?;
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("nowhere") && said.err.contains("--context"), "{said:?}");

    // As an API server answers that does not have the CRD.
    let proxy = Proxy::start(world.cluster).await?;
    proxy.inject(Fault::answer(404, "404 page not found\n").path("/revoiceitcredentials"));
    let said = world.plugin(&world.person_through("view", &proxy.url()).await?, &["status"]).await?;
    assert_eq!(said.code, Some(1));
    assert!(said.err.starts_with("error: the API server does not know RevoiceitCredentials: the CRD is not installed."), "{said:?}");
    world.no_secret_is_told(&[]).await
}

#[tokio::test]
async fn what_cannot_be_written_is_an_error_and_a_reader_that_has_gone_is_none() -> Result<()> {
    let world = World::new().await?;
    let view = world.person("view").await?;
    let into = async |output: Stdio, args: &[&str]| -> Result<(Option<i32>, String)> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_revoiceit-operator"));
        command.arg0("kubectl-revoiceit").args(args).env("KUBECONFIG", &view).stdout(output).stderr(Stdio::piped());
        let ended = tokio::task::spawn_blocking(move || command.output()).await??;
        Ok((ended.status.code(), String::from_utf8(ended.stderr)?))
    };
    let full = || File::options().write(true).open("/dev/full");
    for args in [&["completion", "bash"][..], &["man"], &["status", "-o", "json"], &["doctor"]] {
        let (code, told) = into(full()?.into(), args).await?;
        assert_eq!(
            (code, told.as_str()),
            (Some(1), "error: the output cannot be written: No space left on device (os error 28)\n"),
            "{args:?}"
        );
    }
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    assert_eq!(into(writer.into(), &["completion", "bash"]).await?, (Some(0), String::new()));
    world.no_secret_is_told(&[]).await
}

#[tokio::test]
async fn kubectl_finds_it_and_completes_it() -> Result<()> {
    let world = World::new().await?;
    speech_in(&world, &world.tenant).await?;
    let view = world.person("view").await?;
    for name in ["kubectl-revoiceit", "kubectl_complete-revoiceit"] {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_revoiceit-operator"), world.scratch.path().join(name))?;
    }
    let kubectl = async |args: &[&str]| {
        let mut command = Command::new(binary()?);
        command.arg("kubectl").args(args).env("KUBECONFIG", &view).env("PATH", world.scratch.path()).env("HOME", world.scratch.path());
        world.ended(command).await
    };
    let said = kubectl(&["revoiceit", "status", "speech"]).await?;
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.out.contains("no operator has looked at it"), "{said:?}");
    let said = kubectl(&["__complete", "revoiceit", "rotate", "sp"]).await?;
    assert_eq!(said.out.lines().next().context("nothing")?, "speech", "{said:?}");
    let said = kubectl(&["__complete", "revoiceit", "res"]).await?;
    assert!(said.out.starts_with("resume\tGoes on with what was suspended\n"), "{said:?}");
    world.no_secret_is_told(&[]).await
}
