//! The operator's Deployment and its pods, and what follows from them for the other checks.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Container, Pod},
};
use kube::ResourceExt;

use super::finding::Check;
use crate::{api::names, cli::plugin::trouble::Trouble};

const NAMESPACE_FLAG: &str = "--namespace";
const NAMESPACE_ENV: &str = "REVOICEIT_NAMESPACE";
/// The default of `--listen`.
const PORT: i32 = 8080;

/// How the operator is installed, as far as it can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Installed {
    pub(super) service_account: String,
    /// The namespaces that it serves; empty: all.
    pub(super) scope: Vec<String>,
    /// Name and port of the pods that can be asked.
    pub(super) pods: Vec<(String, i32)>,
}

/// What the Deployment says, and what is usual where it says nothing.
pub(super) fn installed(deployments: &[Deployment], pods: &[Pod]) -> Installed {
    let spec = deployments.first().and_then(|deployment| deployment.spec.as_ref()?.template.spec.as_ref());
    let account = spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_else(|| names::OPERATOR.to_owned());
    let scope = spec.map(|spec| spec.containers.iter().flat_map(scope).collect()).unwrap_or_default();
    let running = |pod: &&Pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"));
    let pods = pods.iter().filter(running).map(|pod| (pod.name_any(), port(pod))).collect();
    Installed { service_account: account, scope, pods }
}

fn scope(container: &Container) -> Vec<String> {
    let env = container.env.iter().flatten().find(|env| env.name == NAMESPACE_ENV).and_then(|env| env.value.clone());
    let args: Vec<&str> = container.args.iter().flatten().map(String::as_str).collect();
    let after = args.windows(2).filter(|pair| pair[0] == NAMESPACE_FLAG).map(|pair| pair[1]);
    let joined = args.iter().filter_map(|arg| arg.strip_prefix(NAMESPACE_FLAG)?.strip_prefix('='));
    let flags = after.chain(joined).collect::<Vec<_>>().join(",");
    // As for the operator itself: a flag wins over its variable.
    let list = if flags.is_empty() { env.unwrap_or_default() } else { flags };
    list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn port(pod: &Pod) -> i32 {
    let ports = pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|container| container.ports.iter().flatten());
    ports.into_iter().find(|port| port.name.as_deref() == Some("http")).map_or(PORT, |port| port.container_port)
}

/// Whether it runs.
pub(super) fn check(namespace: &str, deployments: Result<&[Deployment], &Trouble>, pods: Result<&[Pod], &Trouble>) -> Check {
    let mut check = Check::new("operator", "");
    match deployments {
        Err(trouble) => check.skip(trouble),
        Ok([]) => check.problem(
            format!("In the namespace {namespace} there is no Deployment with the label app.kubernetes.io/name={}.", names::OPERATOR),
            "Install the operator, or say where it is: --operator-namespace NAMESPACE",
        ),
        Ok(all) => {
            let mut running = Vec::new();
            for deployment in all {
                let (wanted, ready) = replicas(deployment);
                let name = format!("Deployment {namespace}/{}", deployment.name_any());
                if wanted == 0 {
                    check.problem(
                        format!("{name} is scaled to 0: no operator works."),
                        format!("kubectl scale -n {namespace} --replicas=2 deployment/{}", deployment.name_any()),
                    );
                } else if ready < wanted {
                    let advice = format!("kubectl describe pods -n {namespace} -l app.kubernetes.io/name={}", names::OPERATOR);
                    let what = format!("{name}: {ready} of {wanted} pods are ready.");
                    if ready == 0 { check.problem(what, advice) } else { check.warning(what, advice) }
                }
                running.push(format!("{name}: {ready} of {wanted} pods are ready"));
            }
            check.seen = running.join("; ");
        }
    }
    match pods {
        Err(trouble) => check.skip(trouble),
        Ok(pods) => {
            for pod in pods {
                if let Some(why) = waits_for(pod) {
                    check.problem(
                        format!("Pod {namespace}/{} does not start: {why}.", pod.name_any()),
                        format!("kubectl describe pod -n {namespace} {}", pod.name_any()),
                    );
                }
            }
        }
    }
    check
}

fn replicas(deployment: &Deployment) -> (i32, i32) {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    (wanted, deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0))
}

/// The kubelet's or the scheduler's word.
fn waits_for(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    let waiting = containers.filter_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.clone());
    let is_trouble = |reason: &String| !matches!(reason.as_str(), "ContainerCreating" | "PodInitializing");
    let unscheduled = || {
        let conditions = status.conditions.iter().flatten();
        conditions.into_iter().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?.reason.clone()
    };
    waiting.into_iter().find(is_trouble).or_else(unscheduled)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn deployment(container: &Value, replicas: i32, ready: i32) -> Deployment {
        serde_json::from_value(json!({
            "metadata": { "name": "revoiceit-operator" },
            "spec": {
                "replicas": replicas, "selector": {},
                "template": { "spec": { "serviceAccountName": "op", "containers": [container] } },
            },
            "status": { "readyReplicas": ready },
        }))
        .expect("a Deployment")
    }

    fn pod(name: &str, status: &Value) -> Pod {
        let port = json!({ "name": "http", "containerPort": 9090 });
        serde_json::from_value(json!({
            "metadata": { "name": name }, "spec": { "containers": [{ "name": "operator", "ports": [port] }] }, "status": status,
        }))
        .expect("a Pod")
    }

    fn told(deployments: &[Deployment], pods: &[Pod]) -> Vec<String> {
        check("system", Ok(deployments), Ok(pods)).findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn the_namespaces_that_are_served_are_those_of_flags_or_of_the_variable() {
        let of = |container: Value| installed(&[deployment(&container, 1, 1)], &[]).scope;
        assert_eq!(of(json!({ "name": "operator", "args": ["run"] })), [""; 0]);
        assert_eq!(of(json!({ "name": "operator", "args": ["run", "--namespace", "a", "--namespace=b,c"] })), ["a", "b", "c"]);
        let env = json!([{ "name": NAMESPACE_ENV, "value": "d,e" }]);
        assert_eq!(of(json!({ "name": "operator", "env": env })), ["d", "e"]);
        assert_eq!(of(json!({ "name": "operator", "env": env, "args": ["--namespace=a"] })), ["a"]);
    }

    #[test]
    fn running_pods_can_be_asked_at_their_port() {
        let pods = [pod("a", &json!({ "phase": "Running" })), pod("b", &json!({ "phase": "Pending" }))];
        let container = json!({ "name": "operator" });
        let expected = Installed { service_account: "op".into(), scope: vec![], pods: vec![("a".into(), 9090)] };
        assert_eq!(installed(&[deployment(&container, 1, 1)], &pods), expected);
        assert_eq!(installed(&[], &[]).service_account, "revoiceit-operator");
    }

    #[test]
    fn what_keeps_it_from_running_is_told() {
        let container = json!({ "name": "operator" });
        assert_eq!(told(&[deployment(&container, 2, 2)], &[pod("a", &json!({ "phase": "Running" }))]), [""; 0]);
        assert_eq!(
            told(&[], &[]),
            ["In the namespace system there is no Deployment with the label app.kubernetes.io/name=revoiceit-operator."]
        );
        assert_eq!(told(&[deployment(&container, 0, 0)], &[]), ["Deployment system/revoiceit-operator is scaled to 0: no operator works."]);
        let waiting = json!({ "phase": "Pending", "containerStatuses": [{
            "name": "operator", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": { "waiting": { "reason": "ImagePullBackOff" } } }] });
        assert_eq!(
            told(&[deployment(&container, 2, 1)], &[pod("b", &waiting)]),
            ["Deployment system/revoiceit-operator: 1 of 2 pods are ready.", "Pod system/b does not start: ImagePullBackOff."]
        );
        let unscheduled =
            json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable" }] });
        assert_eq!(told(&[deployment(&container, 1, 1)], &[pod("c", &unscheduled)]), ["Pod system/c does not start: Unschedulable."]);
    }
}
