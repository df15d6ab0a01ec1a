//! `kubectl revoiceit doctor`: reads, in one go, all that tells how an installation is, and judges it. It writes nothing.

mod answers;
mod clocks;
mod crd;
mod finding;
mod install;
mod ledgers;
mod resources;
mod rights;

use anyhow::bail;
use serde_json::json;

use self::{
    answers::{Answer, Answers},
    finding::{Check, report},
    install::Installed,
    ledgers::Listed,
};
use super::{
    Outcome,
    access::{Access, Read},
    flags::{DoctorArgs, Format},
    paint::{Paint, say},
    status::print,
    trouble::Trouble,
};
use crate::runtime::{clock, describe::describe};

pub(super) async fn run(access: &Access, args: &DoctorArgs) -> anyhow::Result<Outcome> {
    let DoctorArgs { operator_namespace, output } = args;
    let checks = examine(access, operator_namespace).await?;
    match output {
        Format::Text => say(&report(&checks, Paint::for_stdout()))?,
        Format::Json | Format::Yaml => print(*output, &json!({ "checks": checks }))?,
    }
    Ok(Outcome::of(checks.iter().all(|check| check.findings.is_empty())))
}

/// All checks, in the order in which one is the reason of the next.
async fn examine(access: &Access, namespace: &str) -> anyhow::Result<Vec<Check>> {
    let server = match access.server_time().await {
        Ok(time) => time,
        Err(kube::Error::Api(status)) if status.code == 401 => return Err(Trouble::Unknown.into()),
        Err(kube::Error::Api(_)) => None,
        Err(error) => bail!("the API server cannot be reached: {}", describe(&error)),
    };
    let own = clock::now();
    let crd = access.crd().await;
    let (deployments, pods) = (access.deployments(namespace).await, access.pods(namespace).await);
    let none = (Vec::new(), Vec::new());
    let installed = install::installed(deployments.as_ref().unwrap_or(&none.0), pods.as_ref().unwrap_or(&none.1));
    let lease = access.lease(namespace).await;
    let mut checks = vec![
        crd::check(crd.as_ref()),
        install::check(namespace, deployments.as_deref(), pods.as_deref()),
        rights::check(access, namespace, &installed.service_account, &installed.scope).await,
    ];
    checks.extend(ask_pods(access, namespace, &installed, pods.as_ref().err()).await);
    checks.push(clocks::leader(namespace, lease.as_ref(), server.unwrap_or(own)));
    checks.push(clocks::clock(server, own));
    if !crd.as_ref().is_err_and(Trouble::is_not_found) {
        checks.extend(of_resources(access, namespace, &installed.scope).await);
    }
    Ok(checks)
}

async fn ask_pods(access: &Access, namespace: &str, installed: &Installed, trouble: Option<&Trouble>) -> [Check; 2] {
    let (mut ready, mut metrics): (Answers, Answers) = (Vec::new(), Vec::new());
    for (pod, port) in &installed.pods {
        ready.push((pod.clone(), Answer::from(access.ask_pod(namespace, pod, *port, "readyz").await)));
        metrics.push((pod.clone(), Answer::from(access.ask_pod(namespace, pod, *port, "metrics").await)));
    }
    let mut checks = [answers::readiness(namespace, &ready), answers::metrics(namespace, &metrics)];
    if let Some(trouble) = trouble {
        for check in &mut checks {
            check.not_checked = vec![trouble.to_string()];
        }
    }
    checks
}

async fn of_resources(access: &Access, namespace: &str, scope: &[String]) -> Vec<Check> {
    let before = access.ledgers(namespace).await;
    let (of, listed) = list(access).await;
    let (resources, limits) = match listed {
        Ok((resources, limits)) => (resources, limits),
        Err(trouble) => {
            let mut check = Check::new("resources", "");
            if trouble == Trouble::NoCrd {
                check.problem(trouble.to_string(), "Install the CRD.");
            } else {
                check.skip(&trouble);
            }
            return vec![check];
        }
    };
    let after = access.ledgers(namespace).await;
    let secrets = access.secrets(of.as_deref()).await;
    let now = clock::now();
    let mut status = resources::status(&resources, now);
    if let Some(limits) = limits {
        status.skip_as(limits);
    }
    let listed = Listed { before: before.as_deref(), resources: &resources, namespace: of.as_deref(), after: after.as_deref() };
    vec![
        status,
        resources::credentials(&resources, secrets.as_deref()),
        resources::claims(&resources, namespace, scope, now),
        ledgers::check(namespace, &listed),
    ]
}

/// Resources, and why they are not all.
type Found = (Vec<Read>, Option<String>);

/// Those of the namespace that was given; else all; else, who may not list these, those of the context's namespace.
async fn list(access: &Access) -> (Option<String>, Result<Found, Trouble>) {
    if !access.is_namespace_given {
        match access.resources(None, None).await {
            Err(trouble) if trouble.is_forbidden() => {
                let own = access.resources(Some(&access.namespace), None).await;
                let limits = format!("other namespaces than {}: {trouble}", access.namespace);
                return (Some(access.namespace.clone()), own.map(|own| (own, Some(limits))));
            }
            all => return (None, all.map(|all| (all, None))),
        }
    }
    (Some(access.namespace.clone()), access.resources(Some(&access.namespace), None).await.map(|own| (own, None)))
}
