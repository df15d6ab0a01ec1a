//! Values of flags: each function reads one kind, and its error says what is wanted.

use std::{net::SocketAddr, time::Duration};

use reqwest::Url;

use crate::api::duration;

/// A duration from `min` to `max`, which are durations themselves.
pub(super) fn duration(text: &str, min: &str, max: &str) -> Result<Duration, String> {
    let read = |text| duration::parse(text).map_err(|error| error.to_string());
    let value = read(text)?;
    if value < read(min)? || value > read(max)? {
        return Err(format!("must be from {min} to {max}"));
    }
    Ok(value)
}

/// A duration from `min` to `max` in whole seconds.
pub(super) fn seconds(text: &str, min: &str, max: &str) -> Result<Duration, String> {
    let value = duration(text, min, max)?;
    if value.subsec_nanos() != 0 {
        return Err("must be in whole seconds".into());
    }
    Ok(value)
}

/// Where an API is: scheme, host and port. Where tokens belong is told by no more than that, so a path is refused.
pub(super) fn origin(text: &str) -> Result<Url, String> {
    const WANTED: &str = "must be a URL such as https://api.revoiceit.com";
    let url = Url::parse(text).map_err(|error| format!("{WANTED}: {error}"))?;
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return Err(WANTED.into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{WANTED}, without user and password: client credentials come from Secrets"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{WANTED}, without path, query and fragment: /auth/token and the like are added to it"));
    }
    Ok(url)
}

/// An address to listen on.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an IP address and a port, such as 0.0.0.0:8080 or [::]:8080".into())
}

/// The name of a namespace.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    let is_inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if text.is_empty() || text.len() > 63 || !text.bytes().all(is_inner) || text.starts_with('-') || text.ends_with('-') {
        return Err(
            "must be the name of a namespace: at most 63 lower case letters, digits and '-', beginning and ending with a letter or digit"
                .into(),
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for text in ["https://api.revoiceit.com", "https://api.revoiceit.com/", "http://127.0.0.1:8080", "https://[::1]:8443"] {
            assert!(origin(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "api.revoiceit.com",
            "ftp://x",
            "https://",
            "https://a:b@c",
            "https://a@c",
            "https://c/v1",
            "https://c?x",
            "https://c#x",
            "file:///etc",
        ] {
            assert!(origin(text).is_err_and(|error| error.starts_with("must be a URL such as https://api.revoiceit.com")), "{text}");
        }
    }

    #[test]
    fn a_duration_outside_of_its_limits_is_refused() {
        let read = |text| duration(text, "30s", "1h");
        assert_eq!(read("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(read("29s"), Err("must be from 30s to 1h".into()));
        assert_eq!(read("61m"), Err("must be from 30s to 1h".into()));
        assert_eq!(read("-1s"), Err(duration::NotADuration.to_string()));
    }

    #[test]
    fn whole_seconds_are_whole() {
        let read = |text| seconds(text, "1s", "1h");
        assert_eq!(read("2000ms"), Ok(Duration::from_secs(2)));
        assert_eq!(read("1500ms"), Err("must be in whole seconds".into()));
    }

    #[test]
    fn a_namespace_is_a_label() {
        assert_eq!(namespace("team-a"), Ok("team-a".into()));
        for text in ["", "Team", "team_a", "a.b", "-a", "a-", &"a".repeat(64)] {
            assert!(namespace(text).is_err(), "{text}");
        }
    }
}
