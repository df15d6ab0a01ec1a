//! Points of time and durations, as the admin API writes them: whole milliseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point of time, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The wall clock. Only the sockets' side reads it; the core is given the time.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// The whole seconds since 1970, as a JWT has them.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// This point moved by `millis`, which may be negative. Stops at 1970.
    #[must_use]
    pub fn offset(self, millis: i64) -> Self {
        Self(self.0.saturating_add_signed(millis))
    }

    /// How long ago `earlier` was; zero if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for UnixMillis {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis_of(duration)))
    }
}

impl From<SystemTime> for UnixMillis {
    fn from(time: SystemTime) -> Self {
        Self(millis_of(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }
}

impl From<UnixMillis> for SystemTime {
    fn from(time: UnixMillis) -> Self {
        UNIX_EPOCH + Duration::from_millis(time.0)
    }
}

fn millis_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A duration as a number of milliseconds, for fields that are named `…Ms`.
pub(crate) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(super::millis_of(*duration))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// Reads a duration as Go writes it: `1h`, `90s`, `1h30m`, `250ms`. For flags.
///
/// # Errors
/// Anything else, in words for the person who typed it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| format!("{text:?} is not a duration such as 1h30m, 90s or 250ms"))?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let part = match &rest[..unit] {
            "h" => number.checked_mul(3600).map(Duration::from_secs),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "s" => Some(Duration::from_secs(number)),
            "ms" => Some(Duration::from_millis(number)),
            other => return Err(format!("{other:?} is not a unit; use h, m, s or ms")),
        };
        sum = part.and_then(|part| sum.checked_add(part)).ok_or_else(|| format!("{text:?} is too long"))?;
        rest = &rest[unit..];
    }
    if text.is_empty() { Err("a duration is needed, such as 1h".into()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        for wrong in ["", "5", "1d", "h", "-1s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(parse_duration(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn a_clock_may_be_moved_both_ways_and_stops_at_1970() {
        assert_eq!(UnixMillis(5_000).offset(-2_000), UnixMillis(3_000));
        assert_eq!(UnixMillis(5_000).offset(2_000), UnixMillis(7_000));
        assert_eq!(UnixMillis(5_000).offset(-9_000), UnixMillis(0));
    }
}
