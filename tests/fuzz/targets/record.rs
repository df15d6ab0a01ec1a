//! The ledger's record: whatever stands there is read or refused, and what was read is written and read as the same.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use revoiceit_operator::planner::{Place, Record};

fuzz_target!(|json: &[u8]| {
    let Some(id) = Record::resource(json) else { return };
    // As in `planner/tests/golden/record-v1.json`, which is what the fuzzer begins with.
    let place = Place {
        operator_namespace: "revoiceit-system".to_owned(),
        home: "home-uid".to_owned(),
        issuer: "https://api.revoiceit.com".to_owned(),
        namespaces: BTreeSet::new(),
    };
    if let Ok(record) = Record::parse(json, &place, &id) {
        assert_eq!(Record::parse(&record.to_json(), &place, &id), Ok(record));
    }
});
