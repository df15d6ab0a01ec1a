//! Whether the Kubernetes API is reached through a proxy, by the rules that Go's programs follow.
//!
//! kube compares `NO_PROXY` with the *proxy's* address instead of the API server's, and does not let a plain
//! `NO_PROXY=example.com` cover the names below it. What works for kubectl has to work here.

use std::net::IpAddr;

/// The proxy for this host from `HTTPS_PROXY` and `NO_PROXY`, which `env` looks up. Credentials may be part of it.
pub(super) fn proxy_from_env(host: &str, port: u16, env: impl Fn(&str) -> Option<String>) -> Option<String> {
    let either = |upper, lower| env(upper).or_else(|| env(lower)).filter(|value| !value.is_empty());
    let proxy = either("HTTPS_PROXY", "https_proxy")?;
    let no_proxy = either("NO_PROXY", "no_proxy").unwrap_or_default();
    if is_local(host) || no_proxy.split(',').any(|entry| covers(entry.trim(), host, port)) {
        return None;
    }
    Some(if proxy.contains("://") { proxy } else { format!("http://{proxy}") })
}

/// An IPv6 address stands in brackets in a URL.
fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_local(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || address(host).is_some_and(|address| address.is_loopback())
}

/// One entry: `*`, an address, a range, `example.com` (and all below it), `.example.com` or `*.example.com` (only what is
/// below it); each but the range with a port if wanted. What is none of these covers nothing.
fn covers(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let (Some((network, bits)), Some(address)) = (entry.split_once('/'), address(host)) {
        return matches!((network.parse(), bits.parse()), (Ok(network), Ok(bits)) if in_range(address, network, bits));
    }
    let (name, only_port) = match entry.rsplit_once(':') {
        Some((name, only)) if address(entry).is_none() => (name, Some(only)),
        _ => (entry, None),
    };
    if name.is_empty() || only_port.is_some_and(|only| only.parse() != Ok(port)) {
        return false;
    }
    if let Some(address) = address(host) {
        return self::address(name) == Some(address);
    }
    let (host, name) = (host.to_ascii_lowercase(), name.trim_start_matches('*').to_ascii_lowercase());
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(&name),
        None => host == name || host.ends_with(&format!(".{name}")),
    }
}

fn in_range(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) if bits <= 32 => (a.to_bits() ^ n.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0,
        (IpAddr::V6(a), IpAddr::V6(n)) if bits <= 128 => (a.to_bits() ^ n.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_cover_what_they_cover_for_go() {
        let table = [
            ("*", "api.example.com", true),
            ("example.com", "example.com", true),
            ("example.com", "API.Example.com", true),
            ("example.com", "notexample.com", false),
            (".example.com", "api.example.com", true),
            (".example.com", "example.com", false),
            ("*.example.com", "api.example.com", true),
            ("example.com:6443", "api.example.com", true),
            ("example.com:443", "api.example.com", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1:6443", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.11", false),
            ("10.0.0.0/8", "10.9.9.9", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "11.0.0.1", true),
            ("10.0.0.0/8", "fd00::1", false),
            ("fd00::/8", "[fd12::1]", true),
            ("fd12::1", "[fd12::1]", true),
            ("[fd12::1]:6443", "[fd12::1]", true),
            ("fd12::1", "[fd12::11]", false),
            ("10.0.0.0/99", "10.0.0.1", false),
            ("10.0.0.0/8", "api.example.com", false),
            ("", "api.example.com", false),
        ];
        for (entry, host, expected) in table {
            assert_eq!(covers(entry, host, 6443), expected, "{entry:?} and {host}");
        }
    }

    #[test]
    fn the_proxy_of_the_environment() {
        let proxy = |host: &str, vars: &[(&str, &str)]| {
            proxy_from_env(host, 443, |name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        let through = Some("http://proxy:3128".to_owned());
        assert_eq!(proxy("api.example.com", &[]), None);
        assert_eq!(proxy("api.example.com", &[("HTTPS_PROXY", "")]), None);
        assert_eq!(proxy("api.example.com", &[("https_proxy", "proxy:3128")]), through);
        assert_eq!(proxy("api.example.com", &[("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", "a.com, ,b.com,")]), through);
        assert_eq!(proxy("api.example.com", &[("HTTPS_PROXY", "http://proxy:3128"), ("no_proxy", "a.com, example.com")]), None);
        // kube would take this one for "no proxy at all".
        assert_eq!(proxy("api.example.com", &[("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", "proxy")]), through);
        for local in ["localhost", "127.0.0.1", "[::1]"] {
            assert_eq!(proxy(local, &[("HTTPS_PROXY", "http://proxy:3128")]), None, "{local}");
        }
    }
}
