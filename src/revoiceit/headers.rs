//! The two headers of an answer that the operator reads: `Date` and `Retry-After`.

use std::time::Duration;

use k8s_openapi::jiff::{Timestamp, fmt::rfc2822::DateTimeParser};

/// The longest pause that is believed. Callers cap it further; this keeps an absurd one from overflowing their sums.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Longer than any date or sensible number of seconds; what is longer is not looked at.
const MAX_LENGTH: usize = 64;

/// Reads an HTTP-date such as `Sun, 06 Nov 1994 08:49:37 GMT`. The two obsolete forms of RFC 9110 are not read: no
/// server in use writes them.
pub(super) fn date(value: &[u8]) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text(value)?).ok()
}

/// Reads `Retry-After`, which is a number of seconds or an HTTP-date, as the time from the answer on; a date that has
/// passed is no time at all.
///
/// `answered_at` is when the answer was made by the clock of who made it, that is its `Date`: the difference is then right
/// even when that clock is not. Without one it is our own time.
pub(super) fn retry_after(value: &[u8], answered_at: Timestamp) -> Option<Duration> {
    let text = text(value)?;
    let pause = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits for a u64 is as absurd as the largest.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        Duration::try_from(date(value)?.duration_since(answered_at)).unwrap_or(Duration::ZERO)
    };
    Some(pause.min(MAX_RETRY_AFTER))
}

fn text(value: &[u8]) -> Option<&str> {
    let text = str::from_utf8(value).ok()?.trim_ascii();
    (1..=MAX_LENGTH).contains(&text.len()).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::constant(784_111_777, 0); // Sun, 06 Nov 1994 08:49:37 GMT

    fn read(value: &str) -> Option<Duration> {
        retry_after(value.as_bytes(), NOW)
    }

    #[test]
    fn a_date_is_read() {
        assert_eq!(date(b"Sun, 06 Nov 1994 08:49:37 GMT"), Some(NOW));
        for value in ["", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Mon, 06 Nov 1994 08:49:37 GMT", "now"] {
            assert_eq!(date(value.as_bytes()), None, "{value}");
        }
        assert_eq!(date(b"Sun, 06 Nov 1994 08:49:37 \xff"), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (value, seconds) in
            [("0", 0), ("30", 30), (" 030 ", 30), ("Sun, 06 Nov 1994 08:51:37 GMT", 120), ("Sun, 06 Nov 1994 08:49:36 GMT", 0)]
        {
            assert_eq!(read(value), Some(Duration::from_secs(seconds)), "{value}");
        }
    }

    #[test]
    fn absurd_pauses_are_cut_to_an_hour() {
        for value in ["3601", "18446744073709551615", "99999999999999999999999999999999", "Wed, 30 Dec 9998 23:00:00 GMT"] {
            assert_eq!(read(value), Some(MAX_RETRY_AFTER), "{value}");
        }
    }

    #[test]
    fn anything_else_is_no_pause() {
        for value in ["", " ", "-1", "+1", "1.5", "1 s", "soon", "Sun, 06 Nov 1994", "٣", &"9".repeat(65)] {
            assert_eq!(read(value), None, "{value}");
        }
        assert_eq!(retry_after(b"\xff", NOW), None);
    }

    proptest! {
        #[test]
        fn no_header_is_a_panic(value: Vec<u8>, text: String, seconds in -377705023201_i64..=253402207200) {
            let now = Timestamp::from_second(seconds).expect("in the range of the type");
            for value in [value.as_slice(), text.as_bytes()] {
                date(value);
                retry_after(value, now);
            }
        }

        #[test]
        fn no_date_is_a_panic(value in "[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{1,5} [0-9]{2}:[0-9]{2}:[0-9]{2} (GMT|[+-][0-9]{4})") {
            if let Some(pause) = retry_after(value.as_bytes(), NOW) {
                prop_assert!(pause <= MAX_RETRY_AFTER);
            }
        }
    }
}
