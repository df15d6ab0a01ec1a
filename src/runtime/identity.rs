//! Who this process is: the name of its pod, its name in the election, the namespace that is the operator's own.

use ring::rand::{SecureRandom, SystemRandom};

/// The operator's namespace where nothing says otherwise.
pub const DEFAULT_NAMESPACE: &str = "revoiceit-system";
/// Set by the pod's manifest from `metadata.name`.
const POD_NAME: &str = "POD_NAME";
/// Set by the pod's manifest from `metadata.namespace`.
const POD_NAMESPACE: &str = "POD_NAMESPACE";
const SERVICE_ACCOUNT_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
const KERNEL_HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// The name of the pod, else of the machine: reported with Events.
pub fn pod_name() -> String {
    pod_name_from(|name| std::env::var(name).ok(), |path| std::fs::read_to_string(path).ok())
}

fn pod_name_from(env: impl Fn(&str) -> Option<String>, file: impl Fn(&str) -> Option<String>) -> String {
    let found = text(env(POD_NAME)).or_else(|| text(env("HOSTNAME"))).or_else(|| text(file(KERNEL_HOSTNAME)));
    found.unwrap_or_else(|| "unknown".into())
}

/// A name for the election that no other process has ever had: a container that restarts keeps the name of its pod, and
/// must not take the lease of the one before for its own.
///
/// # Panics
/// The system has no random bits to give.
pub fn lease_identity(pod: &str) -> String {
    let mut bits = [0_u8; 8];
    SystemRandom::new().fill(&mut bits).expect("random bits from the system");
    format!("{pod}_{:016x}", u64::from_be_bytes(bits))
}

/// The operator's own namespace, where the Lease and the ledgers are: what `--operator-namespace` says, else
/// `$POD_NAMESPACE`, else the namespace of the service account, else [`DEFAULT_NAMESPACE`].
pub fn operator_namespace(flag: Option<&str>) -> String {
    operator_namespace_from(flag, |name| std::env::var(name).ok(), |path| std::fs::read_to_string(path).ok())
}

fn operator_namespace_from(flag: Option<&str>, env: impl Fn(&str) -> Option<String>, file: impl Fn(&str) -> Option<String>) -> String {
    let found = text(flag.map(str::to_owned)).or_else(|| text(env(POD_NAMESPACE))).or_else(|| text(file(SERVICE_ACCOUNT_NAMESPACE)));
    found.unwrap_or_else(|| DEFAULT_NAMESPACE.into())
}

/// An empty variable is one that is not set.
fn text(value: Option<String>) -> Option<String> {
    value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(key: &'static str, value: &'static str) -> impl Fn(&str) -> Option<String> {
        move |name| (name == key).then(|| value.to_owned())
    }

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn the_namespace_comes_from_the_most_explicit_source() {
        let pod = is(POD_NAMESPACE, "from-pod");
        let account = is(SERVICE_ACCOUNT_NAMESPACE, "from-account\n");
        assert_eq!(operator_namespace_from(Some("from-flag"), &pod, &account), "from-flag");
        assert_eq!(operator_namespace_from(None, &pod, &account), "from-pod");
        assert_eq!(operator_namespace_from(Some(""), is(POD_NAMESPACE, ""), &account), "from-account");
        assert_eq!(operator_namespace_from(None, none, none), "revoiceit-system");
    }

    #[test]
    fn the_pod_is_named_by_its_manifest_or_its_hostname() {
        assert_eq!(pod_name_from(is(POD_NAME, "operator-0"), is(KERNEL_HOSTNAME, "node")), "operator-0");
        assert_eq!(pod_name_from(none, is(KERNEL_HOSTNAME, "node\n")), "node");
        assert_eq!(pod_name_from(none, none), "unknown");
    }

    #[test]
    fn two_processes_of_one_pod_have_two_identities() {
        let (a, b) = (lease_identity("operator-0"), lease_identity("operator-0"));
        assert_ne!(a, b);
        assert!(a.starts_with("operator-0_") && a.len() == "operator-0_".len() + 16, "{a}");
    }
}
