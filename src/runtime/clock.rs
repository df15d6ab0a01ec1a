//! The wall clock. This is the one place where it is read: whoever decides takes the time as an argument.

use k8s_openapi::jiff::Timestamp;

/// The time by the machine's wall clock.
///
/// It may be wrong, and may jump in either direction from one call to the next. It goes on while the machine sleeps,
/// which is why due times are kept by it.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
