//! The Secret that pods mount: whose it is, what is in it, and what stands in the way of writing it.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{
    builders::CredentialExt,
    fixtures::{TARGET, at, credential, foreign, name, ours, record, settled, source, written},
    story::Story,
};
use crate::{
    api::names,
    planner::{Act, Consent, Denied, Name, Owner, Plan, Refused, Target, TargetId, plan},
};

fn delivered() -> Story {
    Story::of(credential().claimed()).with(record().live(1, "10:00"))
}

fn is_in(story: &Story, target: &str) -> bool {
    story.secrets.contains_key(&name(target))
}

fn listed(story: &Story) -> Vec<(&str, bool)> {
    story.record().targets.iter().map(|target| (target.name.as_str(), target.left_at.is_some())).collect()
}

#[test]
fn nothing_is_minted_for_a_target_of_somebody_elses() {
    let mut story = Story::of(credential());
    story.secrets.insert(name(TARGET), foreign(Consent::NotGiven));
    assert_eq!(story.pass(), ["Look", "Rest Stalled: TargetConflict until woken"]);
    story.secrets.clear();
    let acts = story.pass();
    assert_eq!(
        acts[1..],
        [
            "TryTarget speech-token",
            "Save Intend First",
            "Claim",
            "Issue",
            "Save Fold",
            "WriteTarget speech-token",
            "Rest Ready: TokenReady until 10:44:00"
        ]
    );
}

#[test]
fn a_target_that_somebody_took_is_left_to_him_and_costs_no_call() {
    let mut story = delivered();
    story.secrets.insert(name(TARGET), foreign(Consent::NotGiven));
    assert_eq!(story.pass(), ["Rest Stalled: TargetConflict until 10:44:00"]);
    assert_eq!(story.at("10:50").pass(), ["Rest Stalled: TargetConflict until 10:52:30"]);
    story.secrets.clear();
    assert_eq!(
        story.pass(),
        [
            "Look",
            "WriteTarget speech-token",
            "Look",
            "Refresh 1",
            "Save Fold",
            "WriteTarget speech-token",
            "Rest Ready: TokenReady until 11:34:00"
        ]
    );
}

#[test]
fn only_a_free_consent_is_one() {
    for (consent, is_taken) in [
        (Consent::NotGiven, false),
        (Consent::WrongType, false),
        (Consent::Immutable, false),
        (Consent::Owned, false),
        (Consent::Given, true),
    ] {
        let mut story = Story::of(credential());
        story.secrets.insert(name(TARGET), foreign(consent));
        let acts = story.pass();
        assert_eq!(acts.contains(&"Issue".to_owned()), is_taken, "{consent:?}: {acts:?}");
        assert_eq!(acts.contains(&"WriteTarget speech-token".to_owned()), is_taken, "{consent:?}: {acts:?}");
    }
}

#[test]
fn what_is_taken_over_with_consent_is_listed_first_and_loses_the_annotation() {
    let mut story = delivered();
    story.edit(|it| it.target("adopted"));
    let annotations = BTreeMap::from([(names::ADOPT_ANNOTATION.to_owned(), "speech".to_owned()), ("a".to_owned(), "b".to_owned())]);
    let meta = ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() };
    story.secrets.insert(name("adopted"), Target::Foreign { meta: Arc::new(meta), consent: Consent::Given });
    let acts = story.pass();
    assert_eq!(acts[..4], ["Look", "Save List adopted", "WriteTarget adopted", "DeleteTarget speech-token"]);
    let Target::Ours { meta, .. } = &story.secrets[&name("adopted")] else { panic!("it is ours now") };
    let annotations = meta.annotations.as_ref().expect("annotations");
    assert_eq!((annotations.get("a").map(String::as_str), annotations.get(names::ADOPT_ANNOTATION)), (Some("b"), None));
}

#[test]
fn edited_by_hand_it_is_restored_without_a_call() {
    for owner in [Owner::Me, Owner::None, Owner::OtherUid] {
        let mut story = delivered();
        story.secrets.insert(name(TARGET), ours(owner));
        assert_eq!(story.pass(), ["Look", "WriteTarget speech-token", "Rest Ready: TokenReady until 10:44:00"], "{owner:?}");
        assert_eq!(story.pass(), ["Rest Ready: TokenReady until 10:44:00"]);
    }
}

#[test]
fn deleted_by_hand_it_is_restored_without_a_call() {
    let mut story = delivered();
    story.secrets.clear();
    assert_eq!(story.pass(), ["Look", "WriteTarget speech-token", "Rest Ready: TokenReady until 10:44:00"]);
}

#[test]
fn somebody_who_keeps_changing_it_is_answered_after_a_pause() {
    let mut story = delivered();
    story.secrets.insert(name(TARGET), ours(Owner::Me));
    story.repair_after = Some(at("10:00:20"));
    assert_eq!(story.pass(), ["Rest Reconciling: Issuing until 10:00:20"]);
    story.at("10:00:20");
    assert_eq!(story.pass(), ["Look", "WriteTarget speech-token", "Rest Ready: TokenReady until 10:44:00"]);
}

#[test]
fn an_immutable_one_is_deleted_and_created_anew() {
    let mut story = delivered();
    let Target::Ours { owner, data, meta, .. } = ours(Owner::Me) else { panic!("ours") };
    story.secrets.insert(name(TARGET), Target::Ours { owner, data, meta, immutable: true });
    assert_eq!(story.pass(), ["Look", "DeleteTarget speech-token", "WriteTarget speech-token", "Rest Ready: TokenReady until 10:44:00"]);
}

#[test]
fn an_immutable_one_that_is_as_it_should_be_stays() {
    let mut story = delivered();
    let Target::Ours { owner, data, meta, .. } = story.secrets[&name(TARGET)].clone() else { panic!("ours") };
    story.secrets.insert(name(TARGET), Target::Ours { owner, data, meta, immutable: true });
    assert_eq!(story.pass(), ["Rest Ready: TokenReady until 10:44:00"]);
}

#[test]
fn labels_and_annotations_that_leave_the_spec_are_removed_and_those_of_others_stay() {
    let mut story = delivered();
    story.edit(|it| {
        it.edited(|it| {
            it.spec.target.labels.insert("team".into(), "a".into());
            it.spec.target.annotations.insert("example.com/x".into(), "y".into());
        })
    });
    assert_eq!(story.pass()[..2], ["Look", "WriteTarget speech-token"]);
    assert_eq!(labels(&story), [(names::MANAGED_BY_LABEL, names::OPERATOR), ("team", "a")]);
    change(&mut story, |meta| {
        meta.labels.get_or_insert_default().insert("theirs".into(), "1".into());
        meta.annotations.get_or_insert_default().insert("theirs".into(), "2".into());
    });
    assert_eq!(story.pass(), ["Rest Ready: TokenReady until 10:44:00"]);
    story.edit(|it| it.edited(|it| (it.spec.target.labels, it.spec.target.annotations) = Default::default()));
    assert_eq!(story.pass()[..2], ["Look", "WriteTarget speech-token"]);
    assert_eq!(labels(&story), [(names::MANAGED_BY_LABEL, names::OPERATOR), ("theirs", "1")]);
    let Target::Ours { meta, .. } = &story.secrets[&name(TARGET)] else { panic!("ours") };
    assert_eq!(
        meta.annotations.clone().unwrap_or_default().into_iter().collect::<Vec<_>>(),
        [(names::APPLIED_ANNOTATION, ""), (names::RESOURCE_ANNOTATION, "speech"), ("theirs", "2")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
}

/// After a restore the owner reference is missing, or it is that of the resource before.
#[test]
fn its_owner_is_this_resource_and_owners_that_are_others_stay() {
    let mut story = delivered();
    let reference = |kind: &str, uid: &str| OwnerReference {
        api_version: "revoiceit.com/v1".into(),
        kind: kind.into(),
        name: "speech".into(),
        uid: uid.into(),
        ..OwnerReference::default()
    };
    let theirs = reference("Pod", "pod-uid");
    let earlier = reference(names::KIND, "earlier-uid");
    change(&mut story, |meta| meta.owner_references = Some(vec![earlier, theirs.clone()]));
    assert_eq!(story.pass()[..2], ["Look", "WriteTarget speech-token"]);
    let Target::Ours { meta, .. } = &story.secrets[&name(TARGET)] else { panic!("ours") };
    assert_eq!(meta.owner_references, Some(vec![theirs, reference(names::KIND, super::fixtures::UID)]));
    assert_eq!(story.pass(), ["Rest Ready: TokenReady until 10:44:00"]);
}

#[test]
fn an_edited_template_is_rendered_without_a_call() {
    let mut story = delivered();
    story.edit(|it| it.edited(|it| drop(it.spec.target.template.insert("header".into(), "Bearer {{ accessToken }}".into()))));
    assert_eq!(story.pass(), ["Look", "WriteTarget speech-token", "Rest Ready: TokenReady until 10:44:00"]);
}

#[test]
fn a_template_that_cannot_be_filled_in_keeps_a_token_from_being_obtained() {
    let mut story = Story::of(credential());
    story
        .edit(|it| it.edited(|it| it.spec.target.template = (0..33).map(|key| (key.to_string(), "{{ accessToken }}".repeat(4))).collect()));
    assert_eq!(story.pass(), ["Look", "Rest Stalled: TargetTooLarge until woken"]);
}

#[test]
fn renamed_the_new_one_is_supplied_before_the_old_one_goes() {
    let mut story = delivered();
    story.edit(|it| it.target("new"));
    assert_eq!(
        story.pass(),
        [
            "Look",
            "Save List new",
            "WriteTarget new",
            "DeleteTarget speech-token",
            "Save Unlist speech-token",
            "Rest Ready: TokenReady until 10:02:00",
        ]
    );
    assert!(is_in(&story, "new") && !is_in(&story, TARGET));
    assert_eq!(story.pass_on(), ["Look", "Save Forget speech-token", "Rest Ready: TokenReady until 10:44:00"]);
    assert_eq!(story.record().targets, [TargetId { name: name("new"), left_at: None }]);
}

#[test]
fn renamed_and_back_the_name_has_not_been_left() {
    let mut story = delivered();
    story.edit(|it| it.target("new"));
    story.pass();
    story.edit(|it| it.target(TARGET));
    assert_eq!(
        story.at("10:01").pass(),
        [
            "Look",
            "Save List speech-token",
            "WriteTarget speech-token",
            "DeleteTarget new",
            "Save Unlist new",
            "Rest Ready: TokenReady until 10:03:00",
        ]
    );
    assert_eq!(listed(&story), [("speech-token", false), ("new", true)]);
}

#[test]
fn renamed_to_a_name_of_somebody_elses_the_old_target_stays() {
    let mut story = delivered();
    story.secrets.insert(name("new"), foreign(Consent::NotGiven));
    story.edit(|it| it.target("new"));
    assert_eq!(story.pass(), ["Rest Stalled: TargetConflict until 10:44:00"]);
    assert!(is_in(&story, TARGET));
}

/// A write under the old name was sent before the rename and arrives after it.
#[test]
fn a_late_write_under_a_name_that_was_left_is_found() {
    let mut story = delivered();
    story.edit(|it| it.target("new"));
    story.pass();
    story.secrets.insert(name(TARGET), ours(Owner::Me));
    assert_eq!(story.at("10:01").pass(), ["Look", "DeleteTarget speech-token", "Rest Ready: TokenReady until 10:02:00"]);
}

/// The Secret was absent in a look of a time at which a late write could still come.
#[test]
fn a_name_is_forgotten_only_by_a_look_that_was_begun_when_no_write_could_come_any_more() {
    let seen =
        settled().with(record().live(1, "09:50").left("old", "09:58:30")).target("old", Target::Absent).delivered().looked_at("10:00");
    let plan_at = |clock| plan(&seen, at(clock));
    assert!(matches!(plan_at("10:00:29"), Plan::Rest(rest) if rest.until == crate::planner::Until::At(at("10:00:30"))));
    assert_eq!(plan_at("10:00:30"), Plan::Act(Act::Look));
    let seen = seen.looked_at("10:00:30");
    assert_eq!(plan(&seen, at("10:00:30")), Plan::Act(Act::SaveLedger(crate::planner::Change::Forget(Name::new("old")))));
}

/// Quota, policy and so on: no token is obtained that could not be delivered, and the try is repeated.
#[test]
fn what_refuses_the_dry_run_is_told_and_nothing_is_minted() {
    for (denied, rest) in [
        (Denied::Terminating, "Reconciling: NamespaceTerminating"),
        (Denied::Quota, "Stalled: QuotaExceeded"),
        (Denied::Admission, "Stalled: AdmissionDenied"),
        (Denied::Invalid, "Stalled: TargetInvalid"),
        (Denied::TooLarge, "Stalled: TargetTooLarge"),
        (Denied::Forbidden, "Stalled: PermissionDenied"),
    ] {
        let mut story = Story::of(credential());
        story.deny(Refused::Target, denied);
        assert_eq!(story.pass(), ["Look".to_owned(), "TryTarget speech-token".into(), format!("Rest {rest} until 10:05:00")]);
        story.denied.clear();
        assert!(story.pass_on().contains(&"WriteTarget speech-token".to_owned()));
    }
}

#[test]
fn a_write_that_is_refused_is_not_tried_twice_in_a_pass_and_the_token_is_kept() {
    let mut story = Story::of(credential());
    story.before("WriteTarget", |it| it.deny(Refused::Target, Denied::Quota));
    let acts = story.pass();
    assert_eq!(acts[5..], ["Save Fold", "WriteTarget speech-token", "Rest Stalled: QuotaExceeded until 10:05:00"]);
    assert_eq!(story.pass_on(), ["Look", "WriteTarget speech-token", "Rest Stalled: QuotaExceeded until 10:10:00"]);
    story.denied.clear();
    assert_eq!(story.pass_on(), ["Look", "WriteTarget speech-token", "Rest Ready: TokenReady until 10:44:00"]);
}

#[test]
fn a_refresh_goes_on_while_its_delivery_is_refused() {
    let mut story = delivered();
    story.deny(Refused::Target, Denied::Admission);
    let acts = story.at("10:50").pass();
    assert_eq!(acts, ["Look", "Refresh 1", "Save Fold", "WriteTarget speech-token", "Rest Stalled: AdmissionDenied until 10:55:00"]);
}

/// The namespace's contents go in any order: the target may be gone before its resource is marked.
#[test]
fn in_a_namespace_that_goes_the_target_is_not_restored_and_nobody_is_told() {
    let mut story = delivered();
    story.pass();
    story.told.clear();
    story.secrets.clear();
    story.deny(Refused::Target, Denied::Terminating);
    assert_eq!(story.pass(), ["Look", "WriteTarget speech-token", "Rest Reconciling: NamespaceTerminating until 10:05:00"]);
    assert_eq!(story.told, []);
}

/// Two kinds of writes are refused: neither is tried again in the pass.
#[test]
fn two_refusals_do_not_make_each_other_forgotten() {
    let mut story = delivered();
    story.edit(|it| it.edited(|it| it.metadata.finalizers = None));
    story.secrets.clear();
    story.deny(Refused::Target, Denied::Quota);
    story.deny(Refused::Resource, Denied::Forbidden);
    assert_eq!(story.pass(), ["Look", "Claim", "WriteTarget speech-token", "Rest Stalled: QuotaExceeded until 10:05:00"]);
}

/// A changed pair and an immutable target: what is going to be deleted and created anew cannot be tried dry.
#[test]
fn an_immutable_target_does_not_keep_a_new_line_from_beginning() {
    let mut story = delivered();
    let Target::Ours { owner, data, meta, .. } = written(story.credential.as_ref().expect("it"), story.record().live.as_ref().expect("it"))
    else {
        panic!("ours")
    };
    story.secrets.insert(name(TARGET), Target::Ours { owner, data, meta, immutable: true });
    story.source = source(2);
    let acts = story.pass();
    assert_eq!(acts[6..8], ["DeleteTarget speech-token", "WriteTarget speech-token"]);
}

fn labels(story: &Story) -> Vec<(&str, &str)> {
    let Target::Ours { meta, .. } = &story.secrets[&name(TARGET)] else { panic!("ours") };
    meta.labels.iter().flatten().map(|(key, value)| (&**key, &**value)).collect()
}

fn change(story: &mut Story, edit: impl FnOnce(&mut ObjectMeta)) {
    let Some(Target::Ours { meta, .. }) = story.secrets.get_mut(&name(TARGET)) else { panic!("ours") };
    edit(Arc::make_mut(meta));
}
