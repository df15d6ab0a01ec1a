//! Where Revoiceit is and how it is reached, checked before anything is sent.

use std::{path::PathBuf, time::Duration};

use reqwest::Url;

use super::ca_file::CaFileError;

/// The longest [`Options::timeout`]. A call and the save of its answer have to end within the minute that a shutdown
/// waits for them.
const MAX_TIMEOUT: Duration = Duration::from_secs(30);

/// How Revoiceit is reached. No `Debug`, as a wrong `api_url` may hold a password.
#[derive(Clone)]
pub struct Options {
    /// The origin of the API, such as `https://api.revoiceit.com`; a slash at its end is tolerated.
    pub api_url: String,
    /// PEM file with CA certificates that are trusted beside those of the operating system.
    pub ca_file: Option<PathBuf>,
    /// How often a call looks whether `ca_file` has changed, at most.
    pub ca_file_interval: Duration,
    /// Allows an `http://` URL.
    pub allow_insecure: bool,
    /// For a whole call, from resolving the name to the last byte of the answer. Half of it is for connecting, TLS
    /// included, so that a server that cannot be reached is told from one that does not answer.
    pub timeout: Duration,
    /// Whether `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` of the environment are heeded.
    pub env_proxies: bool,
}

impl Options {
    /// The defaults for the API at this URL.
    pub fn new(api_url: impl Into<String>) -> Self {
        Self {
            api_url: api_url.into(),
            ca_file: None,
            ca_file_interval: Duration::from_secs(10),
            allow_insecure: false,
            timeout: Duration::from_secs(10),
            env_proxies: true,
        }
    }

    /// The API's URL, if it and the other options are as they must be.
    pub(super) fn checked_url(&self) -> Result<Url, OptionsError> {
        let url = Url::parse(&self.api_url).map_err(|error| OptionsError::NotAUrl { reason: error.to_string() })?;
        match url.scheme() {
            "https" => {}
            "http" if self.allow_insecure => {}
            "http" => return Err(OptionsError::Insecure),
            _ => return Err(OptionsError::Scheme),
        }
        let extra = if !url.username().is_empty() || url.password().is_some() {
            Some("user name and password")
        } else if url.query().is_some() {
            Some("query")
        } else if url.fragment().is_some() {
            Some("fragment")
        } else if url.path() != "/" {
            Some("path")
        } else {
            None
        };
        if let Some(part) = extra {
            return Err(OptionsError::NotAnOrigin { part });
        }
        if self.timeout.is_zero() || self.timeout > MAX_TIMEOUT {
            return Err(OptionsError::Timeout);
        }
        Ok(url)
    }
}

/// What is wrong with [`Options`], and what to do. Never repeats the URL.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The URL cannot be parsed.
    #[error("--api-url is not a URL ({reason}): write it like https://api.revoiceit.com")]
    NotAUrl {
        /// What the parser says.
        reason: String,
    },
    /// Neither https nor http.
    #[error("--api-url must begin with https://")]
    Scheme,
    /// http without consent.
    #[error(
        "--api-url begins with http://, so credentials would be sent unencrypted: use https://, or add --allow-insecure-api for a sandbox"
    )]
    Insecure,
    /// More than scheme, host and port.
    #[error("--api-url has a {part}: leave it out, as in https://api.revoiceit.com")]
    NotAnOrigin {
        /// The part that is too much.
        part: &'static str,
    },
    /// No time, or too much of it.
    #[error("--api-timeout must be more than zero and at most 30s")]
    Timeout,
    /// The CA file is of no use.
    #[error("--api-ca-file cannot be used")]
    CaFile(#[from] CaFileError),
    /// No HTTP client can be made. In practice: there is no certificate to trust.
    #[error("no HTTP client can be set up: if the image has no CA certificates, name a file with them by --api-ca-file")]
    Client(#[source] reqwest::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Options)) -> String {
        let mut options = Options::new("https://api.revoiceit.com");
        change(&mut options);
        match options.checked_url() {
            Ok(url) => url.origin().ascii_serialization(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_origin_is_taken_in_its_canonical_form() {
        for (url, origin) in [
            ("https://api.revoiceit.com", "https://api.revoiceit.com"),
            ("https://api.revoiceit.com/", "https://api.revoiceit.com"),
            ("HTTPS://API.Revoiceit.COM:443/", "https://api.revoiceit.com"),
            ("https://api.revoiceit.com:8443", "https://api.revoiceit.com:8443"),
            ("https://[0:0::1]:8443", "https://[::1]:8443"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
        ] {
            assert_eq!(check(|options| options.api_url = url.into()), origin);
        }
    }

    #[test]
    fn anything_else_is_refused_with_a_way_out() {
        let no_url = "--api-url is not a URL (relative URL without a base): write it like https://api.revoiceit.com";
        let extra = |part| format!("--api-url has a {part}: leave it out, as in https://api.revoiceit.com");
        for (url, error) in [
            ("api.revoiceit.com", no_url),
            ("", no_url),
            ("https://", "--api-url is not a URL (empty host): write it like https://api.revoiceit.com"),
            ("ftp://api.revoiceit.com", "--api-url must begin with https://"),
            ("api.revoiceit.com:443", "--api-url must begin with https://"),
            ("https://api.revoiceit.com/auth", &extra("path")),
            ("https://api.revoiceit.com?", &extra("query")),
            ("https://api.revoiceit.com/#", &extra("fragment")),
            ("https://user@api.revoiceit.com/auth", &extra("user name and password")),
            ("https://:secret@api.revoiceit.com", &extra("user name and password")),
        ] {
            assert_eq!(check(|options| options.api_url = url.into()), error, "{url}");
        }
    }

    #[test]
    fn http_needs_consent() {
        let insecure = "--api-url begins with http://, so credentials would be sent unencrypted: use https://, or add --allow-insecure-api for a sandbox";
        assert_eq!(check(|options| options.api_url = "http://sandbox:8080".into()), insecure);
        let allowed = check(|options| {
            options.api_url = "http://sandbox:80".into();
            options.allow_insecure = true;
        });
        assert_eq!(allowed, "http://sandbox");
    }

    #[test]
    fn a_call_takes_time_and_not_too_much() {
        for (timeout, is_good) in [(0, false), (1, true), (30_000, true), (30_001, false)] {
            let said = check(|options| options.timeout = Duration::from_millis(timeout));
            assert_eq!(said == "https://api.revoiceit.com", is_good, "{timeout} ms: {said}");
        }
    }
}
