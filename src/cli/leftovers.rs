//! What a drain tells a person: what it found, what it did, what it left. Names and numbers, no values.

use std::fmt::Write as _;

use crate::{
    api::names,
    controller::{Counts, Held, Holdings},
    planner::{Remains, ResourceId, Unusable},
};

/// What a drain would take away.
pub(super) fn preview(holdings: &Holdings, operator_namespace: &str) -> String {
    let known = || holdings.of.iter().filter_map(|held| held.remains.as_ref().ok()).filter(|remains| !remains.is_done());
    let tokens = known().map(|remains| remains.tokens).sum();
    let targets = known().map(|remains| remains.targets.len()).sum();
    let finalizers = known().filter(|remains| remains.has_finalizer).count();
    let mut text = lines(holdings, operator_namespace);
    let _ = writeln!(
        text,
        "A drain would revoke {}, delete {} and release {}. Nothing was changed.",
        several(tokens, "refresh token"),
        several(targets, "target Secret"),
        several(finalizers, "resource"),
    );
    text
}

/// What a drain has done, and what it has left.
pub(super) fn summary(counts: Counts, left: &Holdings, operator_namespace: &str) -> String {
    let mut text = format!(
        "Revoked {}, deleted {}, released {}.",
        several(counts.revoked, "refresh token"),
        several(counts.deleted, "target Secret"),
        several(counts.released, "resource"),
    );
    if counts.failed > 0 {
        let _ = write!(text, " Revocations that failed: {}.", counts.failed);
    }
    text.push('\n');
    let lines = lines(left, operator_namespace);
    if lines.is_empty() {
        text.push_str("Nothing is left.\n");
        return text;
    }
    text.push_str("Left:\n");
    text.push_str(&lines);
    let _ = writeln!(
        text,
        "Refresh tokens that are left stay in their ledgers, and live until they are revoked. Keep the namespace {operator_namespace}, and drain \
         again when the trouble is over that the warnings tell of: Revoiceit cannot be reached, say, or the API server refuses a write. An \
         operator that is installed again revokes them too. What is left alone needs what its line says.",
    );
    text
}

/// Why nothing of this may be drained, if the ledgers are of another Revoiceit: each resource would be released, and no token revoked. Where some
/// are of this one, these are drained.
pub(super) fn complaint(holdings: &Holdings, issuer: &str) -> Option<String> {
    let ledgers = || holdings.of.iter().filter_map(|held| held.remains.as_ref().ok()).filter(|remains| remains.has_ledger);
    let others = ledgers().filter(|remains| remains.unusable == Some(Unusable::OtherIssuer) && !remains.is_out_of_scope).count();
    (others > 0 && ledgers().all(|remains| remains.unusable.is_some())).then(|| {
        format!(
            "the ledgers are of another Revoiceit API than {issuer} ({others} of them), which alone can revoke their tokens: set --api-url as the \
             operator has it. Nothing was changed"
        )
    })
}

fn lines(holdings: &Holdings, operator_namespace: &str) -> String {
    let mut text = String::new();
    for Held { id, remains } in &holdings.of {
        let what = match remains {
            Ok(remains) => what(id, remains, operator_namespace),
            Err(error) => error.told(),
        };
        let _ = writeln!(text, "  {}/{}: {what}", id.namespace, id.name);
    }
    for name in &holdings.nameless {
        let _ =
            writeln!(text, "  the ledger {operator_namespace}/{name}, which is left alone: it is damaged, and nothing tells whose it is");
    }
    text
}

fn what(id: &ResourceId, remains: &Remains, operator_namespace: &str) -> String {
    let ledger = format!("the ledger {operator_namespace}/{}", names::ledger_name(&id.uid));
    let mut words = Vec::new();
    if remains.has_ledger && remains.unusable.is_none() {
        words.push(format!("{} in {ledger}", several(remains.tokens, "refresh token")));
    }
    if remains.is_waiting {
        words.push("a call that may still be answered".to_owned());
    }
    words.extend(remains.targets.iter().map(|name| format!("the Secret {name}")));
    if remains.has_finalizer {
        words.push("the finalizer".to_owned());
    }
    if let Some(why) = remains.unusable {
        words.push(format!("{ledger}, which cannot be used and is left alone: {}", reason(why)));
    }
    let gone = if remains.is_gone { " (the resource is gone)" } else { "" };
    let scope = if remains.is_out_of_scope { "; left alone, since --namespace does not name its namespace" } else { "" };
    format!("{}{gone}{scope}", words.join(", "))
}

fn reason(why: Unusable) -> &'static str {
    match why {
        Unusable::Corrupt => "it is damaged",
        Unusable::LaterFormat => "a later version of the operator wrote it",
        Unusable::ForeignHome => "it is of another cluster, or of an operator's namespace that is no more",
        Unusable::ForeignResource => "it is of another resource",
        Unusable::OtherIssuer => "its tokens are of another --api-url",
    }
}

fn several(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::planner::Name;

    fn held(name: &str, remains: Remains) -> Held {
        let id = ResourceId { namespace: "team-a".into(), name: name.into(), uid: format!("uid-of-{name}") };
        Held { id: Arc::new(id), remains: Ok(remains) }
    }

    fn ledger(tokens: usize) -> Remains {
        Remains { has_ledger: true, tokens, ..Remains::default() }
    }

    fn all(of: impl IntoIterator<Item = Held>) -> Holdings {
        Holdings { of: of.into_iter().collect(), nameless: Vec::new() }
    }

    fn unusable(why: Unusable) -> Remains {
        Remains { unusable: Some(why), ..ledger(0) }
    }

    #[test]
    fn what_would_go_is_named_and_counted() {
        let held = all([
            held("a", Remains { has_finalizer: true, targets: vec![Name::new("a-token")], ..ledger(2) }),
            held("b", Remains { is_gone: true, is_waiting: true, ..ledger(1) }),
            held("c", Remains { is_gone: true, ..unusable(Unusable::ForeignHome) }),
            held("d", Remains { is_out_of_scope: true, has_finalizer: true, targets: vec![Name::new("d-token")], ..ledger(1) }),
        ]);
        assert_eq!(
            preview(&held, "system"),
            "  team-a/a: 2 refresh tokens in the ledger system/rvc-uid-of-a, the Secret a-token, the finalizer\n  \
             team-a/b: 1 refresh token in the ledger system/rvc-uid-of-b, a call that may still be answered (the resource is gone)\n  \
             team-a/c: the ledger system/rvc-uid-of-c, which cannot be used and is left alone: it is of another cluster, or of an operator's \
             namespace that is no more (the resource is gone)\n  \
             team-a/d: 1 refresh token in the ledger system/rvc-uid-of-d, the Secret d-token, the finalizer; left alone, since --namespace \
             does not name its namespace\n\
             A drain would revoke 3 refresh tokens, delete 1 target Secret and release 1 resource. Nothing was changed.\n"
        );
        assert_eq!(
            preview(&all([]), "system"),
            "A drain would revoke 0 refresh tokens, delete 0 target Secrets and release 0 resources. Nothing was changed.\n"
        );
    }

    #[test]
    fn what_is_left_is_named_with_what_to_do() {
        let counts = Counts { revoked: 12, failed: 0, deleted: 7, released: 7 };
        let done = "Revoked 12 refresh tokens, deleted 7 target Secrets, released 7 resources.";
        assert_eq!(summary(counts, &all([]), "system"), format!("{done}\nNothing is left.\n"));
        let left = Holdings { nameless: vec!["rvc-x".to_owned()], ..all([held("a", ledger(1))]) };
        let text = summary(Counts { failed: 3, ..counts }, &left, "system");
        assert_eq!(
            text.lines().take(4).collect::<Vec<_>>(),
            [
                &format!("{done} Revocations that failed: 3."),
                "Left:",
                "  team-a/a: 1 refresh token in the ledger system/rvc-uid-of-a",
                "  the ledger system/rvc-x, which is left alone: it is damaged, and nothing tells whose it is",
            ]
        );
    }

    #[test]
    fn nothing_is_drained_at_another_revoiceit_than_that_of_the_ledgers() {
        let complains = |of: Vec<Held>| complaint(&all(of), "https://other").is_some();
        let (mine, other) = (|| held("a", ledger(1)), || held("b", unusable(Unusable::OtherIssuer)));
        let (damaged, none) =
            (|| held("c", unusable(Unusable::Corrupt)), || held("d", Remains { has_finalizer: true, ..Remains::default() }));
        assert!(complains(vec![other()]) && complains(vec![other(), damaged(), none()]));
        assert!(!complains(vec![]) && !complains(vec![mine(), none()]) && !complains(vec![damaged()]));
        assert!(!complains(vec![mine(), other()]), "after a move from one to the other, each is drained in its turn");
    }
}
