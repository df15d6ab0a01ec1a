//! What Revoiceit answers: the first byte picks the status, the rest is the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revoiceit_operator::revoiceit::fuzzing;

fuzz_target!(|input: &[u8]| {
    let Some((kind, body)) = input.split_first() else { return };
    let status = [200, 201, 400, 401, 429, 500, 502, 503][usize::from(kind % 8)];
    fuzzing::answer(status, body);
});
