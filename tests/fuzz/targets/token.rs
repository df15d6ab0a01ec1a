//! The times in an access token: the input is the token, and also the claims of one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revoiceit_operator::revoiceit::fuzzing;

fuzz_target!(|input: &[u8]| {
    if let Ok(token) = str::from_utf8(input) {
        fuzzing::token(token);
    }
    fuzzing::claims(input);
});
