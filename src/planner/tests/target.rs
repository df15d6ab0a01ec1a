//! The Secret that pods mount: whose it is, what is in it, and what stands in the way of writing it.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{
    builders::CredentialExt,
    fixtures::{TARGET, credential, foreign, name, ours, quarrel, record},
    story::Story,
};
use crate::{
    api::names,
    planner::{Consent, Owner, Target},
};

fn delivered() -> Story {
    Story::of(credential().claimed()).with(record().live(1, "10:00"))
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
    story.quarrel = quarrel("10:00:20");
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

fn labels(story: &Story) -> Vec<(&str, &str)> {
    let Target::Ours { meta, .. } = &story.secrets[&name(TARGET)] else { panic!("ours") };
    meta.labels.iter().flatten().map(|(key, value)| (&**key, &**value)).collect()
}

fn change(story: &mut Story, edit: impl FnOnce(&mut ObjectMeta)) {
    let Some(Target::Ours { meta, .. }) = story.secrets.get_mut(&name(TARGET)) else { panic!("ours") };
    edit(Arc::make_mut(meta));
}
