//! What a drain tells a person: what it found, what it did, what it left. Names and numbers, no values.

use std::fmt::Write as _;

use crate::{
    api::names,
    controller::{Counts, Held},
    planner::{Remains, ResourceId},
};

/// What a drain would take away.
pub(super) fn preview(held: &[Held], operator_namespace: &str) -> String {
    let known = || held.iter().filter_map(|held| held.remains.as_ref().ok()).filter(|remains| !remains.is_nothing());
    let tokens = known().map(|remains| remains.tokens).sum();
    let targets = known().map(|remains| remains.targets.len()).sum();
    let finalizers = known().filter(|remains| remains.has_finalizer).count();
    let mut text = lines(held, operator_namespace);
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
pub(super) fn summary(counts: Counts, left: &[Held], operator_namespace: &str) -> String {
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
    if left.is_empty() {
        text.push_str("Nothing is left.\n");
        return text;
    }
    text.push_str("Left:\n");
    text.push_str(&lines(left, operator_namespace));
    let _ = writeln!(
        text,
        "Refresh tokens that are left stay in their ledgers, and live until they are revoked. Keep the namespace {operator_namespace}, and drain \
         again when Revoiceit can be reached. An operator that is installed again revokes them too.",
    );
    text
}

fn lines(held: &[Held], operator_namespace: &str) -> String {
    let mut text = String::new();
    for Held { id, remains } in held {
        let what = match remains {
            Ok(remains) => what(id, remains, operator_namespace),
            Err(error) => error.told(),
        };
        let _ = writeln!(text, "  {}/{}: {what}", id.namespace, id.name);
    }
    text
}

fn what(id: &ResourceId, remains: &Remains, operator_namespace: &str) -> String {
    let ledger = format!("the ledger {operator_namespace}/{}", names::ledger_name(&id.uid));
    let mut words = Vec::new();
    if remains.is_unusable {
        words.push(format!("{ledger}, which cannot be used and is left alone"));
    } else if remains.has_ledger {
        words.push(format!("{} in {ledger}", several(remains.tokens, "refresh token")));
    }
    if remains.is_waiting {
        words.push("a call that may still be answered".to_owned());
    }
    words.extend(remains.targets.iter().map(|name| format!("the Secret {name}")));
    if remains.has_finalizer {
        words.push("the finalizer".to_owned());
    }
    let gone = if remains.is_gone { " (the resource is gone)" } else { "" };
    format!("{}{gone}", words.join(", "))
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

    #[test]
    fn what_would_go_is_named_and_counted() {
        let held = [
            held("a", Remains { has_finalizer: true, targets: vec![Name::new("a-token")], ..ledger(2) }),
            held("b", Remains { is_gone: true, is_waiting: true, ..ledger(1) }),
            held("c", Remains { is_gone: true, is_unusable: true, ..ledger(0) }),
        ];
        assert_eq!(
            preview(&held, "system"),
            "  team-a/a: 2 refresh tokens in the ledger system/rvc-uid-of-a, the Secret a-token, the finalizer\n  \
             team-a/b: 1 refresh token in the ledger system/rvc-uid-of-b, a call that may still be answered (the resource is gone)\n  \
             team-a/c: the ledger system/rvc-uid-of-c, which cannot be used and is left alone (the resource is gone)\n\
             A drain would revoke 3 refresh tokens, delete 1 target Secret and release 1 resource. Nothing was changed.\n"
        );
        assert_eq!(
            preview(&[], "system"),
            "A drain would revoke 0 refresh tokens, delete 0 target Secrets and release 0 resources. Nothing was changed.\n"
        );
    }

    #[test]
    fn what_is_left_is_named_with_what_to_do() {
        let counts = Counts { revoked: 12, failed: 0, deleted: 7, released: 7 };
        let done = "Revoked 12 refresh tokens, deleted 7 target Secrets, released 7 resources.";
        assert_eq!(summary(counts, &[], "system"), format!("{done}\nNothing is left.\n"));
        let text = summary(Counts { failed: 3, ..counts }, &[held("a", ledger(1))], "system");
        assert_eq!(
            text.lines().take(3).collect::<Vec<_>>(),
            [&format!("{done} Revocations that failed: 3."), "Left:", "  team-a/a: 1 refresh token in the ledger system/rvc-uid-of-a"]
        );
    }
}
