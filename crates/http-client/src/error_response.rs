//! Classification of answers that are not a success. Only this module derives an [`ErrorKind`] from a status and a
//! body.
//!
//! Proxies, firewalls, captive portals and load balancers also answer with 401, 403 or 404. Their answers prove nothing
//! about the key or the object, so only the service's own error envelope counts (contract C3, C3a).

use super::{ErrorKind, Service, SurpriseKind};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, SERVER};
use serde_json::Value;
use url::Url;

/// Maximum length of a header value in a message, in characters.
const MAX_HEADER_CHARS: usize = 60;
/// Maximum length of a service's error code in a message, in characters.
const MAX_CODE_CHARS: usize = 60;

/// The service's own error envelope.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    /// Message of the service; may be empty.
    message: String,
    /// Code of the service, if it has one.
    code: Option<String>,
}

impl Envelope {
    /// Returns the service's own error envelope; None if the body is something else.
    ///
    /// Lever sends `{"code", "message"}` (reference: lever-api.md, 2. Errors), CoderPad `{"status": "ERROR", "message"}`,
    /// maybe with a `code` (reference: interview-api.md, 1. Envelope). An API gateway may send JSON that contains only a
    /// `message`: it does not count.
    pub(super) fn parse(service: Service, body: &[u8]) -> Option<Self> {
        let Ok(Value::Object(answer)) = serde_json::from_slice(body) else { return None };
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        let is_own = match service {
            Service::Lever => text("code").is_some() && text("message").is_some(),
            Service::Interview => text("status").is_some_and(|status| status.eq_ignore_ascii_case("ERROR")),
        };
        let code = text("code")
            .map(str::to_owned)
            .or_else(|| answer.get("code")?.as_i64().map(|code| code.to_string()));
        is_own.then(|| Self {
            message: text("message").unwrap_or_default().trim().to_owned(),
            code: code.map(|code| code.trim().chars().take(MAX_CODE_CHARS).collect()),
        })
    }

    /// Returns the description of the error: the service's message, and its code unless that repeats the status.
    fn description(&self, status: StatusCode) -> String {
        let reason = status.canonical_reason().unwrap_or("no message");
        let message = if self.message.is_empty() { reason } else { &self.message };
        let repeats =
            |code: &String| code.is_empty() || code == status.as_str() || core(code) == core(reason);
        match self.code.as_ref().filter(|code| !repeats(code)) {
            // First, so that a long message does not cut it off.
            Some(code) => format!("{code}: {message}"),
            None => message.to_owned(),
        }
    }
}

/// Returns the letters of an error code or a reason phrase that carry its meaning: `notfound` for `ResourceNotFound`.
fn core(text: &str) -> String {
    let letters = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    letters.trim_start_matches("resource").trim_end_matches("error").to_owned()
}

/// Returns the class of an answer that is not a success. `unclear` is the class of a call without a usable answer;
/// `is_own` means that the body is the service's error envelope.
pub(super) fn class(status: StatusCode, is_own: bool, unclear: ErrorKind) -> ErrorKind {
    match status.as_u16() {
        // From the service or from a proxy: the request had no effect, and backing off is right.
        429 => ErrorKind::Throttled,
        // A proxy's 408 does not show whether the service received the request.
        408 => unclear,
        // contract C3a
        _ if !is_own => unclear,
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        404 | 410 => ErrorKind::NotFound,
        400..=499 => ErrorKind::Invalid,
        _ => unclear,
    }
}

/// Reports whether an answer that is not a success certainly did not come from the service. A service's own servers also
/// answer 429 and 5xx without its envelope.
pub(super) fn is_foreign(status: StatusCode, is_own: bool) -> bool {
    !is_own && status.is_client_error() && ![408, 429].contains(&status.as_u16())
}

/// Returns the surprise of a successful answer that cannot be read. `error` is the decoder's error; None if the service's
/// JSON has another content than documented.
pub(super) fn unreadable(error: Option<&serde_json::Error>) -> SurpriseKind {
    match error {
        Some(error) if !error.is_data() => SurpriseKind::ForeignAnswer,
        _ => SurpriseKind::AnswerUnreadable,
    }
}

/// Returns the place of a surprise that concerns an answer as a whole.
pub(super) fn place(status: u16) -> String {
    format!("status {status}")
}

/// Returns a description of an answer that is not a success. `own` is the service's error envelope, if it is one;
/// `length` the number of bytes of the body, if it was read.
pub(super) fn description(
    service: Service,
    status: StatusCode,
    headers: &HeaderMap,
    own: Option<&Envelope>,
    length: Option<usize>,
) -> String {
    if let Some(own) = own {
        return own.description(status);
    }
    let reason = status.canonical_reason().unwrap_or("no message");
    let form = form(headers, length);
    // A service's own servers also answer 429 and 5xx without an envelope.
    if !status.is_client_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return format!("{reason} ({form})");
    }
    format!(
        "{reason}. The answer is not from {service}'s API ({form}): a proxy or firewall on the way may have sent it, or \
         the address is wrong"
    )
}

/// Returns the content type, the length and the server of an answer, without any of its content. The length is rounded,
/// because pages of proxies contain times and IDs: the message in a status must not change with each of them.
pub(super) fn form(headers: &HeaderMap, length: Option<usize>) -> String {
    let kind = header(headers, &CONTENT_TYPE).unwrap_or_else(|| "no content type".to_owned());
    let length = match length {
        None => "of unknown length".to_owned(),
        Some(0) => "empty".to_owned(),
        Some(length) => format!("at most {} KiB", length.div_ceil(1024)),
    };
    let server = header(headers, &SERVER).map(|server| format!(", server {server}")).unwrap_or_default();
    format!("{kind}, {length}{server}")
}

/// Returns why a successful answer cannot be read, from its form alone: its content may be a candidate's data.
pub(super) fn describe_unreadable(service: Service, is_json: bool, form: &str) -> String {
    if is_json {
        return format!("the answer is not what the documentation says ({form})");
    }
    format!(
        "the answer is not JSON ({form}), so not from {service}'s API: a proxy or firewall on the way may have sent it, or \
         the address is wrong"
    )
}

/// Returns a description of a redirect with the host of its target, but without path and query, which may contain a
/// secret.
pub(super) fn redirect(called: &Url, headers: &HeaderMap) -> Option<String> {
    let location = headers.get(LOCATION)?;
    let target = location.to_str().ok().and_then(|location| called.join(location).ok());
    let to = match target.as_ref().and_then(|target| Some((target.host_str()?, target.port()))) {
        Some((host, Some(port))) => format!(" to {host}:{port}"),
        Some((host, None)) => format!(" to {host}"),
        None => String::new(),
    };
    Some(format!("a redirect{to}, which is not followed: check the address"))
}

fn header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    (!value.is_empty()).then(|| value.chars().take(MAX_HEADER_CHARS).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;
    use rstest::rstest;

    #[rstest]
    #[case::lever(Service::Lever, r#"{"code": "Forbidden", "message": " no "}"#, Some("no"))]
    #[case::lever_empty(Service::Lever, r#"{"code": "forbidden", "message": ""}"#, Some("Forbidden"))]
    #[case::lever_suffix(Service::Lever, r#"{"code": "ForbiddenError", "message": "no"}"#, Some("no"))]
    #[case::lever_code(Service::Lever, r#"{"code": "NoGrant", "message": "no"}"#, Some("NoGrant: no"))]
    #[case::interview(Service::Interview, r#"{"status": "ERROR", "message": "no"}"#, Some("no"))]
    #[case::interview_silent(Service::Interview, r#"{"status": "ERROR"}"#, Some("Forbidden"))]
    #[case::interview_code(
        Service::Interview,
        r#"{"status": "ERROR", "message": "no", "code": "pads_hidden"}"#,
        Some("pads_hidden: no")
    )]
    #[case::interview_code_alone(
        Service::Interview,
        r#"{"status": "ERROR", "code": 1403}"#,
        Some("1403: Forbidden")
    )]
    #[case::status_as_code(
        Service::Interview,
        r#"{"status": "ERROR", "message": "no", "code": 403}"#,
        Some("no")
    )]
    #[case::api_gateway(Service::Lever, r#"{"message": "Forbidden"}"#, None)]
    #[case::api_gateway(Service::Interview, r#"{"message": "Forbidden"}"#, None)]
    #[case::of_the_other_service(Service::Lever, r#"{"status": "ERROR", "message": "no"}"#, None)]
    #[case::of_the_other_service(Service::Interview, r#"{"code": "Forbidden", "message": "no"}"#, None)]
    #[case::a_list(Service::Lever, r#"["code", "message"]"#, None)]
    #[case::html(Service::Lever, "<html>403</html>", None)]
    #[case::empty(Service::Interview, "", None)]
    fn only_the_services_own_envelope_is_believed(
        #[case] service: Service,
        #[case] body: &str,
        #[case] message: Option<&str>,
    ) {
        let own = Envelope::parse(service, body.as_bytes());
        let described = own.map(|own| own.description(StatusCode::FORBIDDEN));
        assert_eq!(described.as_deref(), message);
    }

    // contract C3a
    #[rstest]
    #[case(400, ErrorKind::Invalid)]
    #[case(401, ErrorKind::Unauthorized)]
    #[case(403, ErrorKind::Forbidden)]
    #[case(404, ErrorKind::NotFound)]
    #[case(405, ErrorKind::Invalid)]
    #[case(407, ErrorKind::Invalid)]
    #[case(410, ErrorKind::NotFound)]
    #[case(422, ErrorKind::Invalid)]
    #[case(451, ErrorKind::Invalid)]
    fn without_the_envelope_no_4xx_is_certain(#[case] status: u16, #[case] own: ErrorKind) {
        let status = StatusCode::from_u16(status).unwrap();
        for unclear in [ErrorKind::Unavailable, ErrorKind::OutcomeUnknown] {
            assert_eq!(class(status, true, unclear), own);
            assert_eq!(class(status, false, unclear), unclear);
        }
    }

    // contract C3a
    #[rstest]
    #[case(301, false)]
    #[case(401, true)]
    #[case(403, true)]
    #[case(404, true)]
    #[case(408, false)]
    #[case(429, false)]
    #[case(500, false)]
    #[case(503, false)]
    fn answers_of_a_proxy_are_surprises(#[case] status: u16, #[case] foreign: bool) {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(is_foreign(status, false), foreign);
        assert!(!is_foreign(status, true));
    }

    #[test]
    fn a_page_is_foreign_and_other_json_is_unreadable() {
        let error = |body: &str| serde_json::from_str::<Vec<u8>>(body).unwrap_err();
        for page in ["<html>Please log in</html>", "", "[1"] {
            assert_eq!(unreadable(Some(&error(page))), SurpriseKind::ForeignAnswer, "{page}");
        }
        assert_eq!(unreadable(Some(&error("{}"))), SurpriseKind::AnswerUnreadable);
        assert_eq!(unreadable(None), SurpriseKind::AnswerUnreadable);
    }

    #[test]
    fn any_429_is_a_pause() {
        for is_own in [true, false] {
            let class = class(StatusCode::TOO_MANY_REQUESTS, is_own, ErrorKind::OutcomeUnknown);
            assert_eq!(class, ErrorKind::Throttled);
        }
    }

    #[test]
    fn a_redirect_is_described_by_its_host_alone() {
        let called = Url::parse("https://api.lever.co/v1/stages").unwrap();
        let of = |location: &'static str| {
            let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(location))]);
            redirect(&called, &headers).unwrap()
        };
        let said = of("https://user:pw@login.example.com:8443/sso?token=secret#x");
        assert_eq!(said, "a redirect to login.example.com:8443, which is not followed: check the address");
        assert!(of("/v2/stages?key=secret").contains("to api.lever.co,"), "{}", of("/v2/stages?key=secret"));
        assert!(of("data:text/html,x").starts_with("a redirect, which"), "{}", of("data:text/html,x"));
        assert_eq!(redirect(&called, &HeaderMap::new()), None);
    }

    #[test]
    fn an_answer_of_a_proxy_names_the_proxy() {
        let mut headers = HeaderMap::from_iter([(SERVER, HeaderValue::from_static("edge"))]);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        let describe = |status, length| description(Service::Lever, status, &headers, None, length);
        let said = describe(StatusCode::FORBIDDEN, Some(512));
        assert!(
            said.starts_with(
                "Forbidden. The answer is not from Lever's API (text/html, at most 1 KiB, server edge)"
            ),
            "{said}"
        );
        let said = describe(StatusCode::BAD_GATEWAY, None);
        assert_eq!(said, "Bad Gateway (text/html, of unknown length, server edge)");
        assert_eq!(form(&HeaderMap::new(), Some(0)), "no content type, empty");
        let said = describe_unreadable(Service::Interview, false, &form(&headers, Some(1025)));
        assert!(
            said.contains("not JSON (text/html, at most 2 KiB, server edge), so not from CoderPad"),
            "{said}"
        );
    }
}
