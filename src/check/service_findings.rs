//! Findings about one request, in the same words for both services.

use super::calls::Answer;
use super::network::url_setting;
use super::report::{Finding, Level, Topic};
use http_client::{ErrorKind, Service, ServiceError};

/// Endpoint whose permission is checked by one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Endpoint<'a> {
    /// Operation, such as `GET /stages`.
    pub operation: &'a str,
    /// Level if the key lacks the permission.
    pub need: Level,
    /// Missing permission, and the key that has it, in whole sentences.
    pub permission: &'a str,
    /// Place of the key.
    pub place: &'a str,
}

impl Endpoint<'_> {
    /// Returns the finding about an answer. `describe` describes a success.
    pub(super) fn finding(&self, answer: &Answer, describe: impl FnOnce() -> String) -> Finding {
        match &answer.result {
            Ok(_) => Finding::ok(self.operation, describe()),
            Err(error) => self.refused(error),
        }
    }

    /// Returns the finding about an error.
    pub(super) fn refused(&self, error: &ServiceError) -> Finding {
        let (what, detail) = (self.operation, outcome(error));
        match error.class {
            ErrorKind::Unauthorized => {
                Finding::failure(what, detail, self.other_key(error.service), Topic::Keys)
            }
            ErrorKind::Forbidden if self.need == Level::Ok => {
                Finding::ok(what, "the key lacks this permission, which these settings do not need")
            }
            ErrorKind::Forbidden => Finding {
                level: self.need,
                ..Finding::failure(
                    what,
                    detail,
                    format!("{} Put it into {}.", self.permission, self.place),
                    Topic::Permissions,
                )
            },
            ErrorKind::Throttled => {
                let next = "Wait for a minute, then check again. Other programs may use the same key.";
                Finding::warning(what, detail, next, Topic::Network)
            }
            ErrorKind::NotFound | ErrorKind::Invalid => {
                let next = format!(
                    "Check {}: this address does not answer as {} does.",
                    url_setting(error.service),
                    error.service
                );
                Finding::failure(what, detail, next, Topic::Network)
            }
            ErrorKind::Unavailable | ErrorKind::OutcomeUnknown => {
                let next = format!(
                    "Check {}, and the proxies and firewalls on the way. If the service itself is down, check again later.",
                    url_setting(error.service)
                );
                Finding::failure(what, detail, next, Topic::Network)
            }
        }
    }

    fn other_key(&self, service: Service) -> String {
        match service {
            Service::Lever => format!(
                "Put a valid key into {}. Create one in Lever: Settings > Integrations and API > API Credentials, with all \
                 read and write permissions. A key of Lever's sandbox works only at https://api.sandbox.lever.co/v1.",
                self.place
            ),
            Service::Interview => format!(
                "Put a valid key into {}. An organization owner finds it in CoderPad: My Settings > API key.",
                self.place
            ),
        }
    }
}

/// Returns the error without its service and operation, which the line of the finding already names.
pub(super) fn outcome(error: &ServiceError) -> String {
    let text = error.to_string();
    let rest = text.strip_prefix(&format!("{}: {} ", error.service, error.operation)).unwrap_or(&text);
    rest.strip_prefix("failed: ").unwrap_or(rest).to_owned()
}

/// Returns whether more requests to the same service are pointless.
pub(super) fn is_final(error: &ServiceError) -> bool {
    match error.class {
        ErrorKind::Unauthorized => true,
        ErrorKind::Unavailable => true,
        ErrorKind::Invalid | ErrorKind::NotFound => true,
        ErrorKind::Forbidden | ErrorKind::Throttled | ErrorKind::OutcomeUnknown => false,
    }
}

/// Returns "1 row" or "2 rows".
pub(super) fn plural(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}
