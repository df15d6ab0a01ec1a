//! The custom resource definition: there, served, and that of this program.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use super::finding::Check;
use crate::{api::RevoiceitCredential, cli::crd::tidied, cli::plugin::trouble::Trouble};

const APPLY: &str = "revoiceit-operator crd | kubectl apply --server-side -f -";

pub(super) fn check(found: Result<&CustomResourceDefinition, &Trouble>) -> Check {
    let mut check = Check::new("crd", format!("{} is installed, as this program has it", RevoiceitCredential::crd_name()));
    let crd = match found {
        Ok(crd) => crd,
        Err(trouble) if trouble.is_not_found() => {
            check.problem("The CRD is not installed.", format!("Apply it: {APPLY}"));
            return check;
        }
        Err(trouble) => {
            check.skip(trouble);
            return check;
        }
    };
    if crd.metadata.deletion_timestamp.is_some() {
        check.problem(
            "The CRD is being deleted, and all RevoiceitCredentials with it.",
            "It cannot be stopped. Leave the operator running until it is gone, then install both again.",
        );
    } else if !is_established(crd) {
        check.problem("The CRD is not served.", "Look at its conditions: kubectl describe crd revoiceitcredentials.revoiceit.com");
    } else if served(&tidied(crd)) != served(&tidied(&RevoiceitCredential::crd())) {
        check.warning(
            format!("The CRD is not that of version {}, which this program is of.", env!("CARGO_PKG_VERSION")),
            format!("If the operator is of this version too, apply its CRD: {APPLY}. If not, use the plugin of the operator's version."),
        );
    }
    check
}

fn is_established(crd: &CustomResourceDefinition) -> bool {
    let conditions = crd.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
}

/// What users and the operator rely on.
fn served(crd: &Value) -> Vec<[&Value; 4]> {
    let versions = crd["spec"]["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    versions.iter().map(|version| [&version["name"], &version["served"], &version["schema"], &version["selectableFields"]]).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn installed() -> CustomResourceDefinition {
        let mut crd = serde_json::to_value(RevoiceitCredential::crd()).expect("plain data");
        crd["status"] = json!({
            "conditions": [{ "type": "Established", "status": "True", "reason": "", "message": "", "lastTransitionTime": null }],
            "acceptedNames": { "kind": "RevoiceitCredential", "plural": "revoiceitcredentials" }, "storedVersions": ["v1"],
        });
        serde_json::from_value(crd).expect("a CRD")
    }

    fn findings(found: Result<&CustomResourceDefinition, &Trouble>) -> Vec<String> {
        check(found).findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn what_is_wrong_with_it_is_told() {
        assert_eq!(findings(Ok(&installed())), [""; 0]);
        assert_eq!(findings(Err(&Trouble::NotFound(String::new()))), ["The CRD is not installed."]);
        let mut not_served = installed();
        not_served.status = None;
        assert_eq!(findings(Ok(&not_served)), ["The CRD is not served."]);
        let mut goes = installed();
        goes.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(findings(Ok(&goes)), ["The CRD is being deleted, and all RevoiceitCredentials with it."]);
        let mut other = installed();
        other.spec.versions[0].selectable_fields = None;
        assert_eq!(findings(Ok(&other)).len(), 1);
    }

    #[test]
    fn without_the_right_it_is_not_checked() {
        let check = check(Err(&Trouble::Forbidden { what: "get x".into(), role: None }));
        assert_eq!((check.findings.len(), check.not_checked), (0, vec!["you may not get x".to_owned()]));
    }
}
