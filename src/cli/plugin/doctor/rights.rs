//! The rights of the operator's service account, asked of the API server one by one.

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReviewSpec};

use super::finding::Check;
use crate::cli::plugin::{access::Access, trouble::Trouble};

/// So many questions at a time.
const AT_A_TIME: usize = 8;

/// Group, resource and verbs.
type Rule = (&'static str, &'static str, &'static [&'static str]);

/// In the namespaces that it serves, as `deploy/kustomize/rbac.yaml` grants them.
const SERVED: &[Rule] = &[
    ("revoiceit.com", "revoiceitcredentials", &["get", "list", "watch", "patch"]),
    ("revoiceit.com", "revoiceitcredentials/status", &["patch"]),
    ("", "secrets", &["get", "list", "watch", "create", "update", "delete"]),
    ("events.k8s.io", "events", &["create", "patch"]),
];

/// In its own namespace.
const OWN: &[Rule] = &[
    ("", "secrets", &["get", "list", "create", "update", "delete"]),
    ("coordination.k8s.io", "leases", &["get", "create", "update"]),
    ("", "namespaces", &["get"]),
    ("events.k8s.io", "events", &["create", "patch"]),
];

/// One question: whether somebody may do this here. `None` is everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    namespace: Option<String>,
    group: &'static str,
    resource: &'static str,
    verb: &'static str,
}

pub(super) async fn check(access: &Access, namespace: &str, account: &str, scope: &[String]) -> Check {
    let mut check = Check::new("rights", format!("the service account {namespace}/{account} may do what the operator does"));
    match missing(access, namespace, account, scope).await {
        Ok(missing) => tell(&mut check, namespace, account, &missing),
        Err(trouble) => check.skip(&trouble),
    }
    check
}

async fn missing(access: &Access, namespace: &str, account: &str, scope: &[String]) -> Result<Vec<Question>, Trouble> {
    let asked = stream::iter(questions(namespace, scope)).map(async |question| {
        let is_allowed = access.may(review(&question, namespace, account)).await?;
        Ok((!is_allowed).then_some(question))
    });
    let answers: Vec<Option<Question>> = asked.buffered(AT_A_TIME).try_collect().await?;
    Ok(answers.into_iter().flatten().collect())
}

fn questions(namespace: &str, scope: &[String]) -> Vec<Question> {
    let of = |namespace: Option<&str>, rules: &[Rule]| -> Vec<Question> {
        let each = |&(group, resource, verbs): &Rule| {
            let namespace = namespace.map(str::to_owned);
            verbs.iter().map(move |&verb| Question { namespace: namespace.clone(), group, resource, verb })
        };
        rules.iter().flat_map(each).collect()
    };
    let mut all = of(Some(namespace), OWN);
    if scope.is_empty() {
        all.extend(of(None, SERVED));
    }
    for served in scope {
        all.extend(of(Some(served), SERVED));
    }
    all
}

fn review(question: &Question, namespace: &str, account: &str) -> SubjectAccessReviewSpec {
    let Question { namespace: of, group, resource, verb } = question;
    let (resource, subresource) = resource.split_once('/').map_or((*resource, None), |(resource, sub)| (resource, Some(sub)));
    SubjectAccessReviewSpec {
        user: Some(format!("system:serviceaccount:{namespace}:{account}")),
        groups: Some(vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ]),
        resource_attributes: Some(ResourceAttributes {
            namespace: of.clone(),
            group: Some((*group).to_owned()),
            resource: Some(resource.to_owned()),
            subresource: subresource.map(str::to_owned),
            verb: Some((*verb).to_owned()),
            ..ResourceAttributes::default()
        }),
        ..SubjectAccessReviewSpec::default()
    }
}

/// One finding for each place.
fn tell(check: &mut Check, namespace: &str, account: &str, missing: &[Question]) {
    let mut rest = missing;
    while let Some(first) = rest.first() {
        let (here, others) = rest.split_at(rest.iter().take_while(|question| question.namespace == first.namespace).count());
        let what = here.iter().map(|question| format!("{} {}", question.verb, question.resource)).collect::<Vec<_>>().join(", ");
        let place = first.namespace.as_ref().map_or_else(|| "in all namespaces".to_owned(), |name| format!("in the namespace {name}"));
        check.problem(
            format!("The service account {namespace}/{account} may not, {place}: {what}."),
            "Apply the roles again, as you installed the operator: kubectl apply --server-side -f deploy/install.yaml, or helm upgrade. \
             An operator for some namespaces has to say so: REVOICEIT_NAMESPACE in its Deployment.",
        );
        rest = others;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// `group/resource verb` of each.
    fn words(rules: &[Rule]) -> BTreeSet<String> {
        rules.iter().flat_map(|(group, resource, verbs)| verbs.iter().map(move |verb| format!("{group}/{resource} {verb}"))).collect()
    }

    fn granted(kind: &str) -> BTreeSet<String> {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kustomize/rbac.yaml")).expect("it is there");
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).expect("it is YAML");
        let role = objects.into_iter().find(|object| object["kind"] == kind).expect("it has one");
        let list = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let mut words = BTreeSet::new();
        for rule in role["rules"].as_array().into_iter().flatten() {
            for group in list(&rule["apiGroups"]) {
                for resource in list(&rule["resources"]) {
                    words.extend(list(&rule["verbs"]).into_iter().map(|verb| format!("{group}/{resource} {verb}")));
                }
            }
        }
        words
    }

    #[test]
    fn what_is_asked_for_is_what_the_manifests_grant() {
        assert_eq!(words(SERVED), granted("ClusterRole"));
        assert_eq!(words(OWN), granted("Role"));
    }

    #[test]
    fn the_question_is_about_each_namespace_that_is_served() {
        let places = |scope: &[&str]| {
            let scope: Vec<String> = scope.iter().map(|&name| name.to_owned()).collect();
            questions("system", &scope).into_iter().map(|question| question.namespace).collect::<BTreeSet<_>>()
        };
        assert_eq!(places(&[]), BTreeSet::from([None, Some("system".into())]));
        assert_eq!(places(&["a", "b"]), BTreeSet::from([Some("a".into()), Some("b".into()), Some("system".into())]));
        let status = Question { namespace: None, group: "revoiceit.com", resource: "revoiceitcredentials/status", verb: "patch" };
        let asked = review(&status, "system", "op").resource_attributes.expect("it has them");
        assert_eq!((asked.resource.as_deref(), asked.subresource.as_deref()), (Some("revoiceitcredentials"), Some("status")));
    }

    #[test]
    fn what_is_missing_is_told_place_by_place() {
        let question =
            |namespace: Option<&str>, verb| Question { namespace: namespace.map(str::to_owned), group: "", resource: "secrets", verb };
        let mut check = Check::new("rights", "");
        tell(&mut check, "system", "op", &[question(Some("system"), "get"), question(None, "list"), question(None, "watch")]);
        let told: Vec<_> = check.findings.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(
            told,
            [
                "The service account system/op may not, in the namespace system: get secrets.",
                "The service account system/op may not, in all namespaces: list secrets, watch secrets.",
            ]
        );
    }
}
