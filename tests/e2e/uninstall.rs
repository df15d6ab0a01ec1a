//! An uninstall of the Helm chart that fails, and what one does then.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use revoiceit_harness::{
    cluster,
    shell::{Program, Shell},
    tools,
};
use revoiceit_operator::api::names;

use crate::{
    helm::{CHART, Helm},
    pages::{ROOT, commands},
    release::{JOB, install, job_uid, new_job, over, replicas, scale_down, without_rights},
    scope::another,
};

/// What the chart's README says of an uninstall whose Job has failed.
#[tokio::test]
async fn an_uninstall_that_failed_is_called_off_or_run_again() -> Result<()> {
    let world = without_rights().await?;
    let helm = Helm::new(world.cluster)?;
    let flags = ["--set", &format!("fullnameOverride={},scope.namespaces={{{}}}", names::OPERATOR, world.tenant)];
    install(&helm, &world, &flags).await?;
    let keep = ["upgrade", "tokens", CHART, "--namespace", &world.system, "--reset-then-reuse-values"];
    helm.run(keep.iter().chain(&["--set", "replicas=3"])).await?;

    let uninstall = ["uninstall", "tokens", "--namespace", &world.system];
    let fails = async || {
        let (uninstalled, failed) = tokio::join!(helm.run(uninstall), async {
            new_job(&world, "").await?;
            scale_down(&world).await?;
            over(&world, JOB, false).await
        });
        failed?;
        let error = uninstalled.err().context("it was uninstalled")?.to_string();
        ensure!(error.contains("Job Failed"), "{error}");
        anyhow::Ok(())
    };
    fails().await?;
    let refusal = helm.run(keep).await.err().context("it was upgraded")?.to_string();
    ensure!(refusal.contains("has no deployed releases"), "{refusal}");
    let [_, back] = &commands("deploy/helm/README.md", "uninstall")?[..] else { bail!("the page has other steps than this test") };
    let kubectl = Program::Command(format!("'{}' kubectl", cluster::binary()?.display()));
    let program = Program::Link(tokio::task::spawn_blocking(tools::helm).await??);
    let programs = [("kubectl", kubectl), ("helm", program)];
    let shell = Shell::new(Path::new(ROOT), &world.scratch, &programs, Some(world.cluster.admin_kubeconfig()))?;
    let back = back.replace("REVISION", "2").replace("revoiceit-system", &world.system).replace(" revoiceit-operator ", " tokens ");
    let said = shell.run(&back).await?;
    ensure!(said.contains("\n2 ") && !said.contains("\n3 "), "another revision is the last one: {said}");
    assert_eq!(replicas(&world).await?, "3");
    helm.run(keep).await?;

    fails().await?;
    let failed = job_uid(&world).await?;
    tokio::try_join!(helm.run(uninstall), async {
        new_job(&world, &failed).await?;
        over(&world, JOB, true).await
    })?;
    let refusal = helm.run(["history", "tokens", "--namespace", &world.system]).await.err().context("it is there")?.to_string();
    ensure!(refusal.contains("not found"), "{refusal}");
    Ok(())
}

/// The Job of an uninstall has a role in each of them.
#[tokio::test]
async fn a_namespace_that_is_gone_is_taken_off_the_list_before_an_uninstall_or_made_again() -> Result<()> {
    let world = without_rights().await?;
    let helm = Helm::new(world.cluster)?;
    let second = another(&world, "second").await?;
    let served = |list: &str| format!("fullnameOverride={},scope.namespaces={{{list}}}", names::OPERATOR);
    let (both, one) = (served(&format!("{},{second}", world.tenant)), served(&world.tenant));
    let uninstall = async || helm.run(["uninstall", "tokens", "--namespace", &world.system]).await;
    let uninstalls = async || {
        tokio::try_join!(uninstall(), async {
            new_job(&world, "").await?;
            over(&world, JOB, true).await
        })
    };

    install(&helm, &world, &["--set", &both]).await?;
    world.cluster.kubectl(["delete", "namespace", &second, "--timeout=60s"]).await?;
    let error = uninstall().await.err().context("it was uninstalled")?.to_string();
    ensure!(error.contains(&format!("namespaces \"{second}\" not found")), "{error}");
    world.cluster.kubectl(["create", "namespace", &second]).await?;
    uninstalls().await?;

    install(&helm, &world, &["--set", &both]).await?;
    world.cluster.kubectl(["delete", "namespace", &second, "--timeout=60s"]).await?;
    let upgrade = ["upgrade", "tokens", CHART, "--namespace", &world.system, "--reset-then-reuse-values", "--set", &one];
    helm.run(upgrade).await?;
    uninstalls().await?;
    Ok(())
}
