//! `Date` and `Retry-After`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revoiceit_operator::revoiceit::fuzzing;

fuzz_target!(|value: &[u8]| fuzzing::headers(value));
