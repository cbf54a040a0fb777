//! Choice of the proxy to the API server, by the same rules as in kubectl: `proxy-url` of the kubeconfig, else the
//! environment. In a Pod, the operator uses no proxy to the API server.
//!
//! The Kubernetes client library compares NO_PROXY with the proxy's own host and rejects some of its values, so this
//! module makes the choice. The rules are from Go's golang.org/x/net/http/httpproxy.

use anyhow::{Context as _, bail};
use hyper::Uri;
use std::net::IpAddr;

/// Returns the proxy for a cluster, if there is one. `explicit` is `proxy-url` of the kubeconfig; NO_PROXY does not
/// apply to it. `variable` reads an environment variable.
///
/// # Errors
///
/// If the proxy is not a valid address, or if its scheme is not supported.
pub fn choose(
    explicit: Option<&str>,
    cluster: &Uri,
    variable: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Option<Uri>> {
    if let Some(explicit) = explicit.filter(|text| !text.is_empty()) {
        return parse(explicit).context("proxy-url of the kubeconfig").map(Some);
    }
    let either = |name: &str| {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        set(name).or_else(|| set(&name.to_lowercase()))
    };
    let name = if cluster.scheme_str() == Some("http") { "HTTP_PROXY" } else { "HTTPS_PROXY" };
    let Some(proxy) = either(name) else { return Ok(None) };
    let (host, port) = (host_of(cluster), port_of(cluster));
    if is_local(&host) || is_excluded(&either("NO_PROXY").unwrap_or_default(), &host, port) {
        return Ok(None);
    }
    parse(&proxy).with_context(|| format!("the environment variable {name}")).map(Some)
}

fn parse(text: &str) -> anyhow::Result<Uri> {
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    // The text may contain a password, so errors do not quote it.
    let Ok(uri) = with_scheme.parse::<Uri>() else {
        bail!("not a proxy's address, such as http://proxy:3128")
    };
    match uri.scheme_str() {
        Some("http" | "https" | "socks5" | "socks5h") if uri.host().is_some_and(|host| !host.is_empty()) => {
            Ok(uri)
        }
        scheme => bail!(
            "{} is not supported for a proxy: use http, https or socks5, such as http://proxy:3128",
            scheme.unwrap_or("no scheme")
        ),
    }
}

fn host_of(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches([']', '.']).to_lowercase()
}

fn port_of(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 })
}

/// Reports whether the host is this machine. Proxies from the environment do not apply to it.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Reports whether an entry of NO_PROXY matches the host. Skips malformed entries.
fn is_excluded(no_proxy: &str, host: &str, port: u16) -> bool {
    no_proxy.split(',').map(|entry| entry.trim().to_lowercase()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let (Some((network, bits)), Ok(address)) = (entry.split_once('/'), host.parse::<IpAddr>()) {
            return network.parse().is_ok_and(|network| contains(network, bits, address));
        }
        let (name, wanted) = split_port(&entry);
        if name.is_empty() || wanted.is_some_and(|wanted| wanted != port) {
            return false;
        }
        if let Ok(address) = name.parse::<IpAddr>() {
            return host.parse::<IpAddr>() == Ok(address);
        }
        // ".example.com" and "*.example.com" match only the hosts below example.com.
        let below = name.strip_prefix('*').unwrap_or(name);
        if below.starts_with('.') {
            return host.ends_with(below);
        }
        host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
    })
}

/// Splits `host:port`, `[address]:port` and `[address]`.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    if let Some(rest) = entry.strip_prefix('[') {
        let (address, port) = rest.split_once(']').unwrap_or((rest, ""));
        return (address, port.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, port.parse().ok().or(Some(0))),
        _ => (entry, None),
    }
}

fn contains(network: IpAddr, bits: &str, address: IpAddr) -> bool {
    let Ok(bits) = bits.parse::<u32>() else { return false };
    let same = |network: u128, address: u128, width: u32| {
        bits <= width && (bits == 0 || network >> (width - bits) == address >> (width - bits))
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            same(u32::from(network).into(), u32::from(address).into(), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => same(network.into(), address.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(explicit: Option<&str>, cluster: &str, environment: &[(&str, &str)]) -> Option<String> {
        let variable = |name: &str| {
            environment.iter().find(|(one, _)| *one == name).map(|(_, value)| (*value).to_owned())
        };
        choose(explicit, &cluster.parse().unwrap(), variable).unwrap().map(|uri| uri.to_string())
    }

    #[test]
    fn the_kubeconfig_comes_before_the_environment() {
        let environment = [("HTTPS_PROXY", "http://env:3128"), ("NO_PROXY", "*")];
        let explicit = chosen(Some("socks5://jump:1080"), "https://api.example.com", &environment);
        assert_eq!(explicit.as_deref(), Some("socks5://jump:1080/"));
        assert_eq!(chosen(None, "https://api.example.com", &environment), None);
        assert_eq!(chosen(Some(""), "https://api.example.com", &environment), None);
        let lower = [("https_proxy", "proxy:3128")];
        assert_eq!(chosen(None, "https://api", &lower).as_deref(), Some("http://proxy:3128/"));
        assert_eq!(chosen(None, "http://api", &lower), None);
        assert_eq!(chosen(None, "https://127.0.0.1:6443", &lower), None, "this machine");
        assert_eq!(chosen(None, "https://[::1]:6443", &lower), None);
    }

    #[test]
    fn no_proxy_names_hosts_addresses_and_networks() {
        for (no_proxy, cluster, excluded) in [
            ("api.example.com", "https://api.example.com:6443", true),
            ("example.com", "https://api.example.com", true),
            ("ample.com", "https://api.example.com", false),
            (".example.com", "https://api.example.com", true),
            ("*.example.com", "https://api.example.com", true),
            (".example.com", "https://example.com", false),
            ("example.com:443", "https://api.example.com", true),
            ("example.com:8443", "https://api.example.com", false),
            ("localhost, 10.0.0.1 , x", "https://10.0.0.1:6443", true),
            ("10.96.0.0/12", "https://10.96.0.1", true),
            ("10.96.0.0/12", "https://10.112.0.1", false),
            ("10.96.0.0/77, 10.96.0.0/x", "https://10.96.0.1", false),
            ("fd00::/8", "https://[fd00::1]:6443", true),
            ("[fd00::1]:6443", "https://[fd00::1]:6443", true),
            ("fd00::1", "https://[fd00::1]", true),
            (" ,, ", "https://api.example.com", false),
            ("API.Example.com", "https://api.example.com", true),
        ] {
            let environment = [("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", no_proxy)];
            assert_eq!(chosen(None, cluster, &environment).is_none(), excluded, "{no_proxy} {cluster}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_without_its_password() {
        for text in ["ftp://user:secret@proxy", "http://user:secret@", "http://user:se cret@proxy"] {
            let cluster = "https://api".parse().unwrap();
            let error = format!("{:#}", choose(Some(text), &cluster, |_| None).unwrap_err());
            assert!(error.contains("proxy-url of the kubeconfig"), "{error}");
            assert!(!error.contains("cret"), "{error}");
        }
    }
}
