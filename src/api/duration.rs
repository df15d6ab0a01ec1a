//! Durations as users write them, in the resource and on the command line: `15m`, `90s`, `1h30m`.
//!
//! This is Go's notation without fractions and signs. The resource keeps them as the text that the user wrote, so that
//! what is read back is what was applied.

use std::time::Duration;

/// Longest text that is read, in bytes. The resource's schema has the same limit.
pub const MAX_LENGTH: usize = 20;
/// Most digits in front of one unit. The resource's rule has the same limit.
///
/// With [`MAX_LENGTH`] it keeps the sum far from any overflow: at most 2 × 999,999 h and a rest, some 228 years.
const MAX_DIGITS: usize = 6;

/// The text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a duration such as \"15m\", \"90s\" or \"1h30m\" (units h, m, s and ms, whole numbers of at most {MAX_DIGITS} digits)")]
pub struct NotADuration;

/// Reads a duration: whole numbers, each with a unit `h`, `m`, `s` or `ms`, added up.
///
/// Never panics. Whatever passes the resource's own rule is read, and means what the API server took it for.
pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    if text.is_empty() || text.len() > MAX_LENGTH {
        return Err(NotADuration);
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
        let (unit, after) = after.split_at(after.bytes().take_while(u8::is_ascii_lowercase).count());
        if number.len() > MAX_DIGITS {
            return Err(NotADuration);
        }
        let number: u64 = number.parse().map_err(|_| NotADuration)?;
        sum += match unit {
            "h" => Duration::from_secs(number * 3600),
            "m" => Duration::from_secs(number * 60),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return Err(NotADuration),
        };
        rest = after;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_users_write_is_read() {
        for (text, seconds) in [("15m", 900), ("90s", 90), ("1h30m", 5400), ("0s", 0), ("168h", 604_800), ("1m1h", 3660), ("1m1m", 120)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("1s500ms"), Ok(Duration::from_millis(1500)));
    }

    #[test]
    fn anything_else_is_refused() {
        let long = "1s".repeat(MAX_LENGTH);
        for text in
            ["", "15", "m", "1d", "1 m", " 1m", "1m ", "1h-5m", "-5m", "+5m", "1.5h", "1H", "1m5", "PT15M", "1µs", "１m", "9999999h", &long]
        {
            assert_eq!(parse(text), Err(NotADuration), "{text:?}");
        }
    }

    #[test]
    fn the_largest_does_not_overflow() {
        assert_eq!(parse("999999h999999h9999h"), Ok(Duration::from_secs((2 * 999_999 + 9_999) * 3600)));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn nothing_like_a_duration_makes_it_panic(text in "([-+0-9hms.µ]|ms){0,24}") {
            let _ = parse(&text);
        }

        /// The pattern is that of the resource's rule.
        #[test]
        fn what_the_rule_admits_is_read(text in "([0-9]{1,6}(h|m|s)){1,8}") {
            prop_assume!(text.len() <= MAX_LENGTH);
            prop_assert!(parse(&text).is_ok());
        }
    }
}
