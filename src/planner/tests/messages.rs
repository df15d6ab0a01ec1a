//! Every sentence that a person may read in a condition or an event. Each says what happened, what it means for the pods, and what to do.

use std::collections::BTreeSet;

use super::{
    builders::CredentialExt,
    fixtures::{TARGET, UID, at, credential, digest, foreign, live, ours, place, quarrel, record, seen, settled, source, version},
    golden::is_golden,
};
use crate::{
    api::{Reason, RevoiceitCredential},
    planner::{
        Act, Consent, Denied, FailureClass, Ledger, News, Notice, Observed, Owner, Plan, Policy, Record, Refused, Resource, Source,
        Suspects, Target, Unusable, plan,
    },
};

/// The situations in which each reason is given, and the time at which.
fn situations() -> Vec<(&'static str, Observed, &'static str)> {
    let new = || seen(credential().claimed().wanted()).with(record());
    let with =
        |edit: fn(RevoiceitCredential) -> RevoiceitCredential| settled().edited(|it| it.resource = edit(credential().claimed()).wanted());
    let refreshing =
        |class| settled().with(record().live(1, "10:00").failed_refresh(class, "10:50", "10:54")).delivered().looked_at("10:50");
    let issuing = |class| new().with(record().failed_issue(class, "10:00", "10:10"));
    let refused = |what, why| new().refused(what, why);
    let unusable = |why| new().edited(|it| it.ledger = Ledger::Unusable(why));
    let rotating = || with(|it| it.rotate("please"));
    let eight = (11..19).fold(record().live(1, "10:00"), |record, revision| record.retiring(revision, "10:05"));
    let spent = record().live(1, "10:00").edited(|it| it.next_issue = at("11:15"));
    vec![
        ("at rest", settled(), "10:00"),
        ("somebody keeps changing the target", fought_over(), "10:00"),
        (
            "nobody knows who keeps changing the target",
            fought_over().edited(|it| it.quarrel.iter_mut().for_each(|it| it.with = None)),
            "10:00",
        ),
        ("the pass has sent its call", new().edited(|it| it.spent.calls = 1), "10:00"),
        ("a refresh cannot be sent", refreshing(FailureClass::NotSent), "10:50"),
        ("an issue cannot be sent", issuing(FailureClass::NotSent), "10:00"),
        ("a refresh is answered with a failure", refreshing(FailureClass::Unavailable), "10:50"),
        ("a refresh is not answered", refreshing(FailureClass::Lost), "10:50"),
        ("a refresh is answered with nonsense", refreshing(FailureClass::Malformed), "10:50"),
        ("a refresh is rejected", refreshing(FailureClass::Rejected), "10:50"),
        ("a refresh fails after the end", refreshing(FailureClass::Lost).looked_at("11:00").with(expired()), "11:00"),
        ("an answer to another pass is under way", new().with(record().intent("another", "10:01")), "10:00"),
        ("the budget is used up", rotating().with(spent), "10:00"),
        ("too much is to be revoked", rotating().with(eight), "10:00"),
        ("no credentials", new().source(Source::Missing), "10:00"),
        ("no credentials any more", settled().source(Source::Missing), "10:00"),
        ("a key is missing", new().source(Source::Incomplete { key: "clientSecret".into(), version: version(1) }), "10:00"),
        ("the pair is rejected", issuing(FailureClass::Rejected), "10:00"),
        ("a changed pair is rejected", changed_pair_rejected(), "10:00"),
        ("the target is somebody else's", new().target(TARGET, foreign(Consent::NotGiven)), "10:00"),
        ("the target was taken", settled().target(TARGET, foreign(Consent::NotGiven)), "10:00"),
        ("consent, but not Opaque", new().target(TARGET, foreign(Consent::WrongType)), "10:00"),
        ("consent, but immutable", new().target(TARGET, foreign(Consent::Immutable)), "10:00"),
        ("consent, but owned", new().target(TARGET, foreign(Consent::Owned)), "10:00"),
        ("finalizers hold the target", held_by(&["example.com/hold"]), "10:00"),
        ("many finalizers hold the target", held_by(&["a", "b", "c", "d"]), "10:00"),
        ("quota", refused(Refused::Target, Denied::Quota), "10:00"),
        ("admission", refused(Refused::Target, Denied::Admission), "10:00"),
        ("invalid", refused(Refused::Target, Denied::Invalid), "10:00"),
        ("too large", refused(Refused::Target, Denied::TooLarge), "10:00"),
        ("forbidden", refused(Refused::Target, Denied::Forbidden), "10:00"),
        ("the claim is refused", seen(credential().wanted()).with(record()).refused(Refused::Resource, Denied::Forbidden), "10:00"),
        ("the namespace goes", refused(Refused::Target, Denied::Terminating), "10:00"),
        ("suspended", with(CredentialExt::suspended), "10:00"),
        ("suspended and expired", with(CredentialExt::suspended).looked_at("11:00"), "11:00"),
        ("being deleted", leaving(), "10:00"),
        ("being drained", draining(settled().target(TARGET, Target::Absent).with(two_tries_failed())), "10:00"),
        ("drained", draining(seen(credential().wanted())), "10:00"),
        ("another operator's", seen(credential().with_claim(&format!("elsewhere/{UID}")).wanted()), "10:00"),
        ("the ledger is corrupt", unusable(Unusable::Corrupt), "10:00"),
        ("the ledger is a later version's", unusable(Unusable::LaterFormat), "10:00"),
        ("the ledger is another cluster's", unusable(Unusable::ForeignHome), "10:00"),
        ("the ledger is another resource's", unusable(Unusable::ForeignResource), "10:00"),
        ("the tokens are of another API", unusable(Unusable::OtherIssuer), "10:00"),
        ("the ledger cannot be written", refused(Refused::Ledger, Denied::Forbidden), "10:00"),
        ("in the operator's namespace", in_operators_namespace(), "10:00"),
    ]
}

fn draining(seen: Observed) -> Observed {
    seen.edited(|it| it.policy = std::sync::Arc::new(Policy { draining: Some(at("10:05")), ..Policy::default() }))
}

fn two_tries_failed() -> Record {
    let record = record().retiring(2, "09:00").retiring(3, "09:00");
    record.edited(|it| it.retiring.iter_mut().for_each(|retiring| retiring.not_before = Some(at("10:01"))))
}

fn held_by(finalizers: &[&str]) -> Observed {
    settled().target(TARGET, ours(Owner::Me).held(true).with_finalizers(finalizers).deleted("10:00"))
}

fn fought_over() -> Observed {
    settled().target(TARGET, ours(Owner::Me)).edited(|it| it.quarrel = quarrel("10:00:20"))
}

fn expired() -> Record {
    record().live(1, "10:00").failed_refresh(FailureClass::Lost, "10:59", "11:01")
}

fn changed_pair_rejected() -> Observed {
    let rejected = record().live(1, "10:00").failed_issue(FailureClass::Rejected, "10:00", "10:05");
    let rejected = rejected.edited(|it| it.failed_issue.iter_mut().for_each(|it| it.source = digest(2)));
    settled().with(rejected).delivered().source(source(2))
}

fn leaving() -> Observed {
    let record = record().edited(|it| it.live = Some(live(1, "10:00"))).retiring(2, "10:00").edited(|it| {
        it.retiring[0].not_before = Some(at("10:01"));
    });
    seen(credential().claimed().deleting("10:00").leaving()).with(record).edited(|it| it.spent.calls = 1)
}

fn in_operators_namespace() -> Observed {
    seen(credential().wanted()).edited(|it| std::sync::Arc::make_mut(&mut it.id).namespace = place().operator_namespace)
}

/// What is told apart from any reason.
fn notices() -> Vec<(&'static str, Notice)> {
    let told = |seen: &Observed| match plan(seen, at("10:00")) {
        Plan::Rest(rest) => rest.tell,
        Plan::Act(Act::Tell(notice)) => vec![notice],
        Plan::Act(act) => panic!("{act:?}"),
    };
    let last = |seen: &Observed| told(seen).pop().expect("a notice");
    let with = |suspects| settled().with(record().live(1, "10:00").edited(|it| it.suspects = suspects)).delivered();
    let gone = |suspects| {
        let record = record().closed().edited(|it| it.suspects = suspects);
        seen(Resource::Replaced).with(record)
    };
    let unreadable = Resource::Unreadable(std::sync::Arc::new(credential().metadata));
    vec![
        ("an answer was lost", last(&with(Suspects { lost: 1, ledger_lost: false, disputed: 0 }))),
        ("a ledger was lost", last(&with(Suspects { lost: 1, ledger_lost: true, disputed: 0 }))),
        ("the resource cannot be read", last(&seen(unreadable))),
        ("last words about lost answers", last(&gone(Suspects { lost: 2, ledger_lost: false, disputed: 0 }))),
        ("last words about a lost ledger", last(&gone(Suspects { lost: 1, ledger_lost: true, disputed: 0 }))),
        ("last words about disputed tokens", last(&gone(Suspects { lost: 0, ledger_lost: false, disputed: 3 }))),
        ("last words about both", last(&gone(Suspects { lost: 2, ledger_lost: false, disputed: 1 }))),
    ]
}

#[test]
fn every_message_is_as_it_was_accepted() {
    let mut text = String::new();
    let (mut said, mut told) = (BTreeSet::new(), Vec::new());
    for (situation, seen, clock) in situations() {
        let Plan::Rest(rest) = plan(&seen, at(clock)) else { panic!("{situation}: {:?}", plan(&seen, at(clock))) };
        let status = rest.status.unwrap_or_else(|| panic!("{situation}: no status"));
        let [ready, more @ ..] = status.conditions.as_slice() else { panic!("Ready always") };
        let kind = more.first().map_or("Ready", |more| &*more.type_);
        text.push_str(&format!("# {situation}\n{kind}: {}\n{}\n\n", ready.reason, ready.message));
        said.insert(ready.reason.clone());
        assert!(more.iter().all(|more| more.message == ready.message && more.reason == ready.reason), "{situation}");
        // The API server's limit is 32 KiB; an event's note is cut at 1024 bytes.
        assert!(ready.message.len() <= 1024 - 2 * 253, "{situation}: there has to be room for two names");
    }
    for (situation, Notice { is_warning, news, note, .. }) in notices() {
        let kind = if is_warning { "Warning" } else { "Normal" };
        text.push_str(&format!("# {situation}\n{kind} event {}\n{note}\n\n", news.as_str()));
        told.push(news);
        assert!(note.len() <= 1024, "{situation}");
    }
    let missing: Vec<_> = Reason::ALL.iter().filter(|reason| !said.contains(reason.as_str())).collect();
    assert!(missing.is_empty(), "no situation here gives {missing:?}");
    let missing: Vec<_> = News::APART.iter().filter(|news| !told.contains(news)).collect();
    assert!(missing.is_empty(), "no notice here tells {missing:?}");
    is_golden("messages.txt", text.trim_end());
}

/// A sentence that begins with one of these tells a person what to do.
const IMPERATIVES: &[&str] =
    &["Add", "Ask", "Check", "Create", "Delete", "Find", "Keep", "Look", "Put", "Raise", "Replace", "Restore", "Run", "Set", "Use"];

fn tells_what_to_do(message: &str) -> bool {
    message.split(". ").any(|sentence| IMPERATIVES.iter().any(|word| sentence.strip_prefix(word).is_some_and(|rest| rest.starts_with(' '))))
}

#[test]
fn a_message_says_what_to_do_or_that_nothing_has_to_be_done() {
    for (situation, seen, clock) in situations() {
        let Plan::Rest(rest) = plan(&seen, at(clock)) else { panic!("{situation}") };
        let ready = rest.status.expect("a status").conditions.remove(0);
        let reason = Reason::ALL.iter().find(|reason| reason.as_str() == ready.reason).expect("a reason");
        let is_enough = match reason {
            Reason::TokenReady | Reason::Issuing | Reason::Revoking => true,
            reason if reason.needs_person() => tells_what_to_do(&ready.message),
            _ => ready.message.contains("by itself") || ready.message.contains("Nothing has to be done"),
        };
        assert!(is_enough, "{situation}: {}", ready.message);
    }
    for (situation, Notice { note, .. }) in notices() {
        assert!(tells_what_to_do(&note.replace(": r", ". R")), "{situation}: {note}");
    }
}

#[test]
fn a_message_says_what_it_means_for_the_pods() {
    let about_pods = ["Pods ", "There is no token yet.", "The last token expired at ", "What pods read "];
    for (situation, seen, clock) in situations() {
        let Plan::Rest(rest) = plan(&seen, at(clock)) else { panic!("{situation}") };
        let message = rest.status.expect("a status").conditions.remove(0).message;
        assert!(about_pods.iter().any(|words| message.contains(words)), "{situation}: {message}");
    }
}

/// The name of a field manager is whatever its user likes.
#[test]
fn a_name_that_a_tenant_chose_cannot_look_like_words_of_ours() {
    let name = "all is well\". Delete the namespace \u{202e}now. ".repeat(5);
    let seen = fought_over().edited(|it| it.quarrel.iter_mut().for_each(|it| it.with = Some(name.clone())));
    let Plan::Rest(rest) = plan(&seen, at("10:00")) else { panic!("a rest") };
    let message = &rest.status.expect("a status").conditions[0].message;
    let expected = "by the field manager \"all?is?well?.?Delete?the?namespace??now.?all?is?well?.?Delete?th\";";
    assert!(message.contains(expected), "{message}");
}

/// Told once, when it is news.
#[test]
fn what_the_status_says_already_is_not_told_again() {
    for (situation, seen, clock) in situations() {
        let Plan::Rest(first) = plan(&seen, at(clock)) else { panic!("{situation}") };
        let mut again = seen;
        match &mut again.resource {
            Resource::Wanted(resource) => std::sync::Arc::make_mut(resource).status = first.status,
            Resource::Leaving(leaving) => std::sync::Arc::make_mut(leaving).status = first.status.unwrap_or_default(),
            _ => panic!("{situation}"),
        }
        let Plan::Rest(second) = plan(&again, at(clock)) else { panic!("{situation}") };
        assert_eq!(second.tell, [], "{situation}");
    }
}

#[test]
fn trouble_is_a_warning_and_its_end_is_told_too() {
    let told = |seen: &Observed, clock: &str| match plan(seen, at(clock)) {
        Plan::Rest(rest) => rest.tell.into_iter().map(|told| (told.is_warning, told.news)).collect::<Vec<_>>(),
        Plan::Act(act) => panic!("{act:?}"),
    };
    for reason in Reason::ALL {
        for (situation, seen, clock) in situations() {
            let Plan::Rest(rest) = plan(&seen, at(clock)) else { panic!("{situation}") };
            if rest.status.expect("a status").conditions[0].reason == reason.as_str() {
                let is_told = reason.is_trouble() || [Reason::Suspended, Reason::TokenReady].contains(reason);
                assert_eq!(
                    told(&seen, clock),
                    if is_told { vec![(reason.is_trouble(), News::Condition(*reason))] } else { vec![] },
                    "{situation}"
                );
            }
        }
    }
    let trouble = plan(&settled().source(Source::Missing), at("10:00"));
    let Plan::Rest(rest) = trouble else { panic!("a rest") };
    let healed = settled().edited(|it| it.resource = credential().claimed().edited(|it| it.status = rest.status).wanted());
    assert_eq!(told(&healed, "10:00"), [(false, News::Condition(Reason::TokenReady))]);
}
