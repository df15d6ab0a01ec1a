//! The ledger's JSON: what is read, what is written back, and what is not touched.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    arbitrary::a_record,
    builders::CredentialExt,
    fixtures::{TARGET, UID, at, credential, digest, id, place, record, retiring, seconds, seen},
    golden::is_golden,
};
use crate::planner::{
    Cause, Change, Failed, FailureClass, Intent, IntentCall, Name, Place, Record, ResourceId, Retiring, Stamp, Suspects, TargetId,
    Unusable, revised,
};

fn parse(json: &[u8]) -> Result<Record, Unusable> {
    Record::parse(json, &place(), &id())
}

/// Every field has a value, and every kind of value is there.
fn full() -> Record {
    let failed = |class| Failed { class, since: at("09:00"), at: at("09:58"), count: 3, not_before: at("10:03"), source: digest(2) };
    record().live(7, "10:00").retiring(5, "10:55").closed().left("old-token", "09:59:30").edited(|it| {
        it.retiring.push(Retiring { tries: 2, not_before: Some(at("10:01")), worked_at: Some(at("09:14:00.5")), ..retiring(6, "09:50") });
        it.intent = Some(Intent {
            call: IntentCall::Refresh { revision: 7 },
            cause: Cause::Refresh,
            source: digest(1),
            stamp: Stamp::new("a-stamp"),
            until: at("10:46:01"),
        });
        it.suspects = Suspects { lost: 2, ledger_lost: true, disputed: 1 };
        it.failed_issue = Some(failed(FailureClass::Rejected));
        it.failed_refresh = Some(failed(FailureClass::NotSent));
        it.next_issue = at("10:15");
        it.rotates = true;
        it.handled_request = Some("2026-11-24T09:00:00Z".into());
    })
}

/// What is in clusters has to be read for ever: a change of this file needs another format, and code that reads both.
#[test]
fn the_format_is_what_it_was() {
    let json = serde_json::to_string_pretty(&full()).expect("it is plain data") + "\n";
    is_golden("record-v1.json", &json);
    assert_eq!(parse(json.as_bytes()), Ok(full()));
}

#[test]
fn what_is_not_there_is_not_there() {
    let minimal = json!({
        "format": 1, "home": "home-uid", "issuer": "https://api.revoiceit.com",
        "resource": { "namespace": "team-a", "name": "speech", "uid": UID },
        "claimed": true, "closed": false, "retiring": [], "targets": [], "nextRevision": 1, "nextIssue": "1970-01-01T00:00:00Z",
        "rotates": false, "deadlineSeconds": 300, "suspects": { "lost": 0, "ledgerLost": false, "disputed": 0 },
    });
    assert_eq!(parse(minimal.to_string().as_bytes()), Ok(record()));
    let written: Value = serde_json::from_slice(&record().to_json()).expect("JSON");
    assert_eq!(written["live"], Value::Null);
}

/// An older version after a newer one: what it does not know, it does not lose.
#[test]
fn unknown_fields_are_written_back() {
    let mut json = serde_json::to_value(full()).expect("JSON");
    json["hint"] = json!({ "deep": [1, null, "x"] });
    json["another"] = json!(0.5);
    let read = parse(json.to_string().as_bytes()).expect("it can be read");
    assert_eq!(serde_json::to_value(&read).expect("JSON"), json);
    let seen = seen(credential().claimed().wanted()).with(read);
    let saved = revised(&seen, &Change::Close);
    assert_eq!((&saved.extra["hint"], &saved.extra["another"]), (&json["hint"], &json["another"]));
}

#[test]
fn what_does_not_belong_here_is_not_used() {
    let with = |field: &str, value: Value| {
        let mut json = serde_json::to_value(full()).expect("JSON");
        json[field] = value;
        parse(json.to_string().as_bytes()).map(drop)
    };
    let resource = |namespace: &str, name: &str, uid: &str| json!({ "namespace": namespace, "name": name, "uid": uid });
    assert_eq!(with("format", json!(1)), Ok(()));
    assert_eq!(with("format", json!(2)), Err(Unusable::LaterFormat));
    assert_eq!(with("format", json!(u32::MAX)), Err(Unusable::LaterFormat));
    assert_eq!(with("home", json!("another-home")), Err(Unusable::ForeignHome));
    assert_eq!(with("issuer", json!("https://staging.revoiceit.com")), Err(Unusable::OtherIssuer));
    for another in [resource("team-a", "speech", "another-uid"), resource("team-b", "speech", UID), resource("team-a", "other", UID)] {
        assert_eq!(with("resource", another), Err(Unusable::ForeignResource));
    }
    assert_eq!(with("resource", resource("team-a", "speech", UID)), Ok(()));
}

/// Of two reasons the one that a person can do the least about: another cluster's ledger is not to be told as one of another API.
#[test]
fn another_cluster_comes_before_another_api() {
    let elsewhere = Place { home: "x".into(), issuer: "y".into(), ..place() };
    assert_eq!(Record::parse(&full().to_json(), &elsewhere, &id()).map(drop), Err(Unusable::ForeignHome));
    let later = json!({ "format": 2, "home": "x" });
    assert_eq!(parse(later.to_string().as_bytes()).map(drop), Err(Unusable::LaterFormat), "nothing else of it can be understood");
}

#[test]
fn what_cannot_be_read_is_corrupt() {
    let whole = full().to_json();
    for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
        assert_eq!(parse(&whole[..cut]).map(drop), Err(Unusable::Corrupt), "cut off at {cut}");
    }
    for json in
        ["", "null", "{}", "[]", "{\"format\":\"1\"}", "{\"format\":-1}", "{\"format\":1}", "{\"format\":1.5}", "\u{feff}{\"format\":1}"]
    {
        assert_eq!(parse(json.as_bytes()).map(drop), Err(Unusable::Corrupt), "{json:?}");
    }
    let with = |field: &str, value: Value| {
        let mut json = serde_json::to_value(full()).expect("JSON");
        json[field] = value;
        parse(json.to_string().as_bytes()).map(drop)
    };
    assert_eq!(with("live", json!({ "revision": 7 })), Err(Unusable::Corrupt));
    assert_eq!(with("nextIssue", json!("tomorrow")), Err(Unusable::Corrupt));
    assert_eq!(with("retiring", json!(null)), Err(Unusable::Corrupt), "tokens would be forgotten");
    assert_eq!(with("nextRevision", json!(-1)), Err(Unusable::Corrupt));
}

/// Two refresh tokens of one number: the end of one would be taken for the end of both.
#[test]
fn numbers_that_are_not_unique_are_corrupt() {
    let twice = record().live(7, "10:00").retiring(7, "10:00");
    assert_eq!(parse(&twice.to_json()).map(drop), Err(Unusable::Corrupt));
    let reused = record().live(7, "10:00").edited(|it| it.next_revision = 7);
    assert_eq!(parse(&reused.to_json()).map(drop), Err(Unusable::Corrupt));
}

#[test]
fn whose_ledger_it_is_can_be_read_whatever_else_it_holds() {
    assert_eq!(Record::resource(&full().to_json()), Some(id()));
    let later = json!({ "format": 2, "resource": { "namespace": "team-a", "name": "speech", "uid": UID } });
    assert_eq!(Record::resource(later.to_string().as_bytes()), Some(id()));
    assert_eq!(Record::resource(b"{}"), None);
}

#[test]
fn an_empty_record_is_about_this_resource_and_place() {
    let new = Record::new(&place(), id(), seconds(90));
    assert_eq!((new.format, new.home.as_str(), new.issuer.as_str()), (1, "home-uid", "https://api.revoiceit.com"));
    assert_eq!(new.resource, ResourceId { namespace: "team-a".into(), name: "speech".into(), uid: UID.into() });
    assert_eq!((new.deadline(), new.is_empty(), new.has_no_token(), new.closed, new.claimed), (seconds(90), true, true, false, false));
}

#[test]
fn a_record_is_empty_when_no_token_is_or_may_come_to_be_in_it() {
    assert!(record().listed(TARGET).is_empty());
    assert!(!record().intent("me", "10:02").is_empty() && record().intent("me", "10:02").has_no_token());
    assert!(!record().live(1, "10:00").has_no_token());
    assert!(!record().retiring(1, "10:00").has_no_token());
}

#[test]
fn changes_do_what_they_say() {
    let seen = seen(credential().claimed().wanted()).with(record().live(3, "10:00").retiring(1, "11:00").retiring(2, "10:01"));
    let after = |change| revised(&seen, &change);
    let before = || record().live(3, "10:00").retiring(1, "11:00").retiring(2, "10:01");
    let old = Name::new("old");
    assert_eq!(after(Change::Shorten { due: at("10:05") }), before().edited(|it| it.retiring[0].due = at("10:05")));
    assert_eq!(after(Change::Close), before().closed());
    assert_eq!(after(Change::List(old.clone())), before().listed("old"));
    assert_eq!(after(Change::List(Name::new(TARGET))), before(), "it is listed already");
    assert_eq!(
        after(Change::Unlist { name: Name::new(TARGET), at: at("10:00") }),
        before().edited(|it| it.targets[0].left_at = Some(at("10:00")))
    );
    assert_eq!(after(Change::Forget(Name::new(TARGET))), before().edited(|it| it.targets.clear()));
    assert_eq!(after(Change::Suspect), before(), "there is no intent");
    assert_eq!(after(Change::Withdraw), before());
    let left = seen.clone().with(record().left("old", "09:59"));
    assert_eq!(revised(&left, &Change::List(old.clone())).targets, [TargetId { name: old, left_at: None }]);
}

#[test]
fn every_save_brings_what_is_known_up_to_date() {
    let seen = seen(credential().claimed().deadline("1h").wanted()).with(Record { claimed: false, ..record().live(1, "10:00") });
    let saved = revised(&seen.source(super::fixtures::source(1)), &Change::Close);
    assert!(saved.claimed);
    assert_eq!(saved.deadline(), seconds(3600));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    /// Nearly right is harder than wrong: one byte of a record is another one.
    #[test]
    fn no_damage_makes_the_reader_panic(place in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut json = full().to_json();
        let place = place.index(json.len());
        json[place] = byte;
        let _ = parse(&json);
    }

    #[test]
    fn what_is_written_is_read(record in a_record()) {
        prop_assert_eq!(parse(&record.to_json()), Ok(record));
    }
}
