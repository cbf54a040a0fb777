//! The way to a service: DNS, proxy, TLS, latency and the difference of the clocks.

use super::report::{Finding, Level, Topic};
use super::service_findings::outcome;
use http_client::{AnswerHead, Service, ServiceError};
use hyper_util::client::proxy::matcher::Matcher;
use jiff::{SignedDuration, Timestamp};
use url::Url;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

/// Difference of the clocks that is reported. The header `Date` has a resolution of one second.
const CLOCK_WARNING: SignedDuration = SignedDuration::from_secs(30);
/// Difference of the clocks that is close to the 5 minutes beyond which webhooks are rejected (contract W4).
const CLOCK_FAILURE: SignedDuration = SignedDuration::from_mins(4);

/// Facts about the way to one service.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// Base address of the service.
    pub base: Url,
    /// Host and port of the proxy that the environment sets for this address.
    pub proxy: Option<String>,
    /// Number of addresses of the host, or the error of the resolver.
    pub addresses: Result<usize, String>,
}

impl Route {
    /// Looks up the host and the proxy.
    pub(super) async fn look_up(base: &Url) -> Self {
        let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let looked_up = tokio::net::lookup_host((host, base.port_or_known_default().unwrap_or(443))).await;
        let proxy = base.as_str().parse().ok().and_then(|uri| Matcher::from_system().intercept(&uri));
        let authority = |uri: &axum::http::Uri| {
            let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}{port}", uri.host().unwrap_or_default())
        };
        Self {
            base: base.clone(),
            proxy: proxy.map(|proxy| authority(proxy.uri())),
            addresses: looked_up.map(Iterator::count).map_err(|error| error.to_string()),
        }
    }
}

/// Returns the findings about the way to a service. `first` is the head of the first answer, or the error without one.
pub(super) fn findings(
    service: Service,
    route: &Route,
    first: Result<&AnswerHead, &ServiceError>,
) -> Vec<Finding> {
    let host = route.base.host_str().unwrap_or_default();
    let mut found = vec![dns(service, host, route)];
    found.push(match &route.proxy {
        Some(proxy) => Finding::ok(format!("proxy for {host}"), proxy.clone()),
        None => Finding::ok(format!("proxy for {host}"), "none"),
    });
    match first {
        Ok(head) => {
            found.push(tls(host, &route.base, head));
            found.push(Finding::ok(
                format!("latency of {host}"),
                format!("{} ms for the first answer", head.elapsed.as_millis()),
            ));
            found.push(clock(host, head));
        }
        // One problem, one finding.
        Err(_) if found.iter().any(|finding| finding.level == Level::Failure) => {}
        Err(error) => found.push(Finding::failure(
            format!("connection to {host}"),
            outcome(error),
            next_without_connection(service, host, route, error),
            Topic::Network,
        )),
    }
    found
}

/// Returns the next step after a connection failed.
fn next_without_connection(service: Service, host: &str, route: &Route, error: &ServiceError) -> String {
    if error.message.starts_with("no TLS connection") {
        return format!(
            "If a proxy decrypts the connection, permit {host} without decryption, or set SSL_CERT_FILE to a file with the \
             certificate authority of the proxy."
        );
    }
    match &route.proxy {
        Some(proxy) => format!(
            "Check that the proxy {proxy} works and permits {host}, with the user and password in HTTPS_PROXY if it needs \
             them, or exclude the host with NO_PROXY."
        ),
        None => format!(
            "Allow connections to {host} in firewalls and NetworkPolicies, set HTTPS_PROXY if a proxy is required, or correct \
             {}.",
            url_setting(service)
        ),
    }
}

/// Returns the flag and the field that contain the address of a service.
pub(super) fn url_setting(service: Service) -> &'static str {
    match service {
        Service::Lever => "--lever-url (spec.lever.url)",
        Service::Interview => "--interview-url (spec.interview.url)",
    }
}

fn dns(service: Service, host: &str, route: &Route) -> Finding {
    let what = format!("DNS of {host}");
    match (&route.addresses, &route.proxy) {
        (Ok(1), _) => Finding::ok(what, "1 address"),
        (Ok(count), _) => Finding::ok(what, format!("{count} addresses")),
        // The proxy resolves the name.
        (Err(_), Some(_)) => Finding::ok(what, "not resolved here; the proxy does it"),
        (Err(error), None) => Finding::failure(
            what,
            error.clone(),
            format!(
                "Correct the host in {}, or check the DNS server with: nslookup {host}",
                url_setting(service)
            ),
            Topic::Network,
        ),
    }
}

fn tls(host: &str, base: &Url, head: &AnswerHead) -> Finding {
    let what = format!("TLS of {host}");
    if base.scheme() == "http" {
        let is_local = base.host().is_some_and(|host| match host {
            url::Host::Domain(name) => name == "localhost",
            url::Host::Ipv4(address) => address.is_loopback(),
            url::Host::Ipv6(address) => address.is_loopback(),
        });
        return if is_local {
            Finding::ok(what, "none; the address is on this machine")
        } else {
            let next = "Use an https address: the key is sent unencrypted.";
            Finding::failure(what, "none", next, Topic::Network)
        };
    }
    let certificate =
        head.certificate.as_deref().and_then(|der| Some(X509Certificate::from_der(der).ok()?.1));
    let detail = match certificate {
        Some(certificate) => format!(
            "certificate issued by {}, valid until {}",
            issuer(certificate.issuer()),
            Timestamp::from_second(certificate.validity().not_after.timestamp())
                .map_or_else(|_| "an unknown time".to_owned(), |at| at.strftime("%Y-%m-%d").to_string()),
        ),
        None => "accepted; the certificate cannot be shown".to_owned(),
    };
    Finding::ok(what, detail)
}

fn issuer(name: &X509Name<'_>) -> String {
    let organization = name.iter_organization().find_map(|part| part.as_str().ok());
    let common_name = name.iter_common_name().find_map(|part| part.as_str().ok());
    match (organization, common_name) {
        (Some(organization), Some(name)) => format!("{organization} ({name})"),
        (Some(only), None) | (None, Some(only)) => only.to_owned(),
        (None, None) => "nobody".to_owned(),
    }
}

fn clock(host: &str, head: &AnswerHead) -> Finding {
    const NEXT: &str = "Synchronize the clock of this machine (in a cluster: of the node): timedatectl \
                        status, or chronyc tracking. Webhooks that are over 5 minutes ahead are rejected.";
    let what = format!("clock against {host}");
    let Some(date) = head.date else {
        return Finding::ok(what, "not compared; the answer has no Date header");
    };
    // The header contains whole seconds.
    let difference = head.received_at.duration_since(date);
    let seconds = difference.as_secs();
    let detail = match seconds {
        -1..=1 => "the same".to_owned(),
        2.. => format!("this machine is {seconds} s ahead"),
        _ => format!("this machine is {} s behind", -seconds),
    };
    if difference.abs() > CLOCK_FAILURE {
        Finding::failure(what, detail, NEXT, Topic::Clock)
    } else if difference.abs() > CLOCK_WARNING {
        Finding::warning(what, detail, NEXT, Topic::Clock)
    } else {
        Finding::ok(what, detail)
    }
}
