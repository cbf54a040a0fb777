//! State of a watch: its last failure, and the API server's answer if it refuses the watch.

use kube::runtime::watcher;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Time after which a refusal no longer counts as current. The watch is retried at least every 30 s, plus jitter, and a
/// watch that restarts successfully delivers nothing until an object changes.
const REFUSAL_VALIDITY: Duration = Duration::from_secs(90);
/// Delay before the same failure is logged again.
const WATCH_LOG_INTERVAL: Duration = Duration::from_secs(300);

/// State of one watch.
#[derive(Debug, Default)]
pub struct WatchState {
    state: Mutex<WatchFailures>,
}

#[derive(Debug, Default)]
struct WatchFailures {
    refused: Option<(Instant, String)>,
    logged: Option<(Instant, String)>,
}

impl WatchState {
    /// Records that the list is complete or that an event was received.
    pub fn succeeded(&self) {
        *self.state.lock() = WatchFailures::default();
    }

    /// Records that the list or the watch failed. The watcher retries it with backoff.
    pub fn failed(&self, kind: &str, error: &watcher::Error) {
        let (now, answer) = (Instant::now(), refusal_message(error));
        let text = answer.clone().unwrap_or_else(|| error.to_string());
        let mut state = self.state.lock();
        let repeated =
            state.logged.as_ref().is_some_and(|(at, last)| *last == text && now - *at < WATCH_LOG_INTERVAL);
        if !repeated {
            log(kind, answer.as_deref(), error);
            state.logged = Some((now, text));
        }
        state.refused = answer.map(|answer| (now, answer));
    }

    /// Returns the API server's answer, if it refuses the watch.
    pub fn refusal(&self) -> Option<String> {
        let state = self.state.lock();
        let refused = state.refused.as_ref().filter(|(at, _)| at.elapsed() < REFUSAL_VALIDITY);
        refused.map(|(_, answer)| answer.clone())
    }
}

fn log(kind: &str, refused: Option<&str>, error: &watcher::Error) {
    match refused {
        Some(answer) => tracing::error!(
            kind,
            answer,
            "API server refuses to list or watch; the namespace is not served until it permits it. Check the operator's Role and RoleBinding there"
        ),
        None => tracing::warn!(kind, %error, "watch failed; will retry"),
    }
}

/// Returns the API server's answer, if it is a refusal that only a person can resolve. The answer names the user, the
/// kind and the namespace.
fn refusal_message(error: &watcher::Error) -> Option<String> {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status,
        _ => return None,
    };
    matches!(status.code, 401 | 403 | 404).then(|| api::sanitize::one_line(&status.message, 300))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn answered(code: u16) -> watcher::Error {
        let status = Status { code, message: "leverconnections is\nforbidden".into(), ..Status::default() };
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_counts_until_the_watch_succeeds_or_no_longer_repeats_it() {
        let watching = WatchState::default();
        watching.failed("Pad", &answered(500));
        assert_eq!(watching.refusal(), None, "that is transient");
        watching.failed("Pad", &answered(403));
        assert_eq!(watching.refusal().as_deref(), Some("leverconnections is forbidden"));
        watching.succeeded();
        assert_eq!(watching.refusal(), None);
        watching.failed("Pad", &answered(403));
        tokio::time::advance(REFUSAL_VALIDITY).await;
        assert_eq!(watching.refusal(), None);
    }
}
