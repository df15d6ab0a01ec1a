//! The ledgers in the operator's namespace, by their metadata: one for each resource that is held, and no others.

use std::collections::BTreeSet;

use kube::{Resource, ResourceExt};

use super::{finding::Check, resources::claim};
use crate::{
    api::names,
    cli::plugin::{
        access::{Read, SecretMeta},
        paint::plain,
        trouble::Trouble,
    },
};

/// What was listed: ledgers, then resources, then ledgers again, so that what comes or goes meanwhile is not taken for amiss.
pub(super) struct Listed<'a> {
    pub(super) before: Result<&'a [SecretMeta], &'a Trouble>,
    pub(super) resources: &'a [Read],
    /// The namespace whose resources these are; `None`: all.
    pub(super) namespace: Option<&'a str>,
    pub(super) after: Result<&'a [SecretMeta], &'a Trouble>,
}

pub(super) fn check(operator_namespace: &str, listed: &Listed) -> Check {
    let mut check = Check::new("ledgers", "each ledger has its resource, and each resource that is held its ledger");
    let (before, after) = match (listed.before, listed.after) {
        (Ok(before), Ok(after)) => (before, after),
        (Err(trouble), _) | (_, Err(trouble)) => {
            check.skip(trouble);
            return check;
        }
    };
    let names = |ledgers: &[SecretMeta]| ledgers.iter().map(ResourceExt::name_any).collect::<BTreeSet<_>>();
    let (earlier, later) = (names(before), names(after));
    for read in listed.resources.iter().filter(|read| read.meta().deletion_timestamp.is_none()) {
        let Some((holder, uid)) = claim(read) else { continue };
        let ledger = names::ledger_name(uid);
        if holder == operator_namespace && !later.contains(&ledger) && !earlier.contains(&ledger) {
            check.problem(
                format!(
                    "{}/{} is held, and its ledger {operator_namespace}/{ledger} is gone: its refresh tokens are lost.",
                    read.namespace().unwrap_or_default(),
                    read.name_any()
                ),
                "The operator begins anew and counts the loss. A new client pair on the Revoiceit platform ends the lost tokens.",
            );
        }
    }
    let held: BTreeSet<String> = listed.resources.iter().filter_map(ResourceExt::uid).map(|uid| names::ledger_name(&uid)).collect();
    for ledger in before.iter().filter(|ledger| later.contains(&ledger.name_any()) && !held.contains(&ledger.name_any())) {
        orphan(&mut check, operator_namespace, ledger, listed.namespace);
    }
    check
}

fn orphan(check: &mut Check, operator_namespace: &str, ledger: &SecretMeta, namespace: Option<&str>) {
    let name = plain(&ledger.name_any());
    let of = ledger.annotations().get(names::RESOURCE_ANNOTATION).and_then(|of| of.split_once('/'));
    match (of, namespace) {
        // Of other namespaces the resources were not looked at.
        (Some((of, _)), Some(only)) if of != only => {}
        (None, Some(_)) => {}
        (Some((namespace, of)), _) => check.warning(
            format!("The ledger {operator_namespace}/{name} is left of {}/{}, which is gone: tokens in it are yet to be revoked.", plain(namespace), plain(of)),
            "An operator that works revokes them and deletes it. If it stays, look for its name in the operator's log. Do not delete it by hand while tokens matter.",
        ),
        (None, None) => check.problem(
            format!("Nothing tells which resource the ledger {operator_namespace}/{name} is of: its annotation is gone."),
            format!("kubectl annotate secret -n {operator_namespace} {name} {}=NAMESPACE/NAME, if it is known.", names::RESOURCE_ANNOTATION),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::plugin::view::tests::{resource, secret};

    fn held() -> Read {
        resource(json!({ "metadata": { "annotations": { names::CLAIM_ANNOTATION: "system/u" } } }))
    }

    fn told(before: &[SecretMeta], resources: &[Read], namespace: Option<&str>, after: &[SecretMeta]) -> Vec<String> {
        let listed = Listed { before: Ok(before), resources, namespace, after: Ok(after) };
        check("system", &listed).findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_ledger_for_each_and_each_for_a_ledger() {
        let ledger = || vec![secret("rvc-u", Some("team-a/speech"))];
        assert_eq!(told(&ledger(), &[held()], None, &ledger()), [""; 0]);
        assert_eq!(
            told(&[], &[held()], None, &[]),
            ["team-a/speech is held, and its ledger system/rvc-u is gone: its refresh tokens are lost."]
        );
        assert_eq!(
            told(&ledger(), &[], None, &ledger()),
            ["The ledger system/rvc-u is left of team-a/speech, which is gone: tokens in it are yet to be revoked."]
        );
        let nameless = || vec![secret("rvc-u", None)];
        assert_eq!(
            told(&nameless(), &[], None, &nameless()),
            ["Nothing tells which resource the ledger system/rvc-u is of: its annotation is gone."]
        );
    }

    #[test]
    fn what_comes_or_goes_meanwhile_is_not_amiss() {
        let ledger = || vec![secret("rvc-u", Some("team-a/speech"))];
        // A new resource; one that was released; one whose deletion is under way.
        assert_eq!(told(&[], &[held()], None, &ledger()), [""; 0]);
        assert_eq!(told(&ledger(), &[], None, &[]), [""; 0]);
        let goes = resource(
            json!({ "metadata": { "annotations": { names::CLAIM_ANNOTATION: "system/u" }, "deletionTimestamp": "2026-11-24T10:00:00Z" } }),
        );
        assert_eq!(told(&[], &[goes], None, &[]), [""; 0]);
    }

    #[test]
    fn of_namespaces_that_were_not_looked_at_nothing_is_told() {
        let ledger = || vec![secret("rvc-u", Some("team-a/speech"))];
        assert_eq!(told(&ledger(), &[], Some("team-b"), &ledger()), [""; 0]);
        assert_eq!(told(&ledger(), &[], Some("team-a"), &ledger()).len(), 1);
        let forbidden = Trouble::Forbidden { what: "list secrets".into(), role: None };
        let listed = Listed { before: Err(&forbidden), resources: &[], namespace: None, after: Ok(&[]) };
        assert_eq!(check("system", &listed).not_checked, ["you may not list secrets"]);
    }
}
