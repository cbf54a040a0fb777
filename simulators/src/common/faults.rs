//! Fault injection: which requests meet a fault, what happens to them, and how often.
//!
//! A request is processed independently of its connection. As with a real service, it takes effect even if its
//! client has disconnected. A paused request that is released late therefore models a late arrival.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use super::lock;
use super::wire::{Incoming, decode_pairs};

/// Point in a request's processing at which an [`FaultAction::Pause`] holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PausePoint {
    /// The request has arrived and has no effect yet.
    BeforeEffect,
    /// The effect is applied and the response is not sent yet.
    AfterEffect,
}

/// Effect of a fault on a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FaultAction {
    /// No effect. The response has this status, with this body or the service's usual error body.
    Status {
        /// The HTTP status.
        code: u16,
        /// The JSON body.
        #[serde(default)]
        body: Option<Value>,
    },
    /// No effect. The response has this status and an HTML page, like that of a firewall or a proxy.
    Page {
        /// The HTTP status.
        code: u16,
    },
    /// No effect. The response has this status and no body, like that of a load balancer.
    Empty {
        /// The HTTP status.
        code: u16,
    },
    /// No effect. The response is a redirect.
    Redirect {
        /// The HTTP status, such as 301 or 307.
        code: u16,
        /// The `Location` header.
        location: String,
    },
    /// No effect. The response is 429 with a `Retry-After` header.
    Throttle {
        /// Value of the `Retry-After` header.
        retry_after_seconds: u64,
    },
    /// No effect. The connection is closed without a response.
    Reset,
    /// No effect and no response, ever.
    Hang,
    /// Waits, then continues as usual.
    Delay {
        /// Length of the delay.
        milliseconds: u64,
    },
    /// Holds the request until it is released.
    Pause {
        /// Point at which the request is held.
        at: PausePoint,
    },
    /// The effect is applied and the response is delayed.
    DelayAnswer {
        /// Length of the delay.
        milliseconds: u64,
    },
    /// The effect is applied and the connection is closed without a response.
    LoseAnswer,
    /// The effect is applied and no response is ever sent.
    HangAfterEffect,
    /// The effect is applied and the response has this status.
    StatusAfterEffect {
        /// The HTTP status.
        code: u16,
        /// The JSON body.
        #[serde(default)]
        body: Option<Value>,
    },
    /// The effect is applied and values are added to the JSON of the response, each at a JSON pointer. In a list, a
    /// number inserts before that item and `-` appends. In an object, a member is set. Values whose parent does not
    /// exist are left out.
    Edit {
        /// Pointers and values, such as `/pads/0` and a row.
        adds: Vec<(String, Value)>,
    },
    /// The effect is applied and the response has the usual status, but its body is not JSON.
    GarbageAfterEffect,
    /// The effect is applied and the connection is closed in the middle of the body.
    TruncateAfterEffect,
    /// The effect is applied and the body has this length.
    HugeAfterEffect {
        /// The length in bytes.
        bytes: usize,
    },
}

/// Fault to inject, such as `Fault::on("POST", "/addLinks$").lose_answer()`. By default it applies to one request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// HTTP method; `None` matches every method.
    #[serde(default)]
    pub method: Option<String>,
    /// Regular expression that must match somewhere in the path, such as `^/api/pads/?$`.
    pub path: String,
    /// Text that the decoded query or the decoded body must contain.
    #[serde(default)]
    pub containing: Option<String>,
    /// Number of matching requests to let through first.
    #[serde(default)]
    pub skip: u32,
    /// Number of requests that meet the fault; `None` = until it is removed.
    #[serde(default = "once")]
    pub times: Option<u32>,
    /// Effect on the request.
    pub action: FaultAction,
}

#[expect(clippy::unnecessary_wraps, reason = "serde requires this signature")]
fn once() -> Option<u32> {
    Some(1)
}

macro_rules! simple_actions {
    ($($(#[$doc:meta])* $name:ident => $action:expr;)*) => {
        $($(#[$doc])* #[must_use] pub fn $name(self) -> Self { self.action($action) })*
    };
}

impl Fault {
    /// Returns a fault for a method (`*` matches every method) and a regular expression on the path. Its action is a
    /// reset until another one is chosen.
    #[must_use]
    pub fn on(method: &str, path: &str) -> Self {
        Self {
            method: (method != "*").then(|| method.to_owned()),
            path: path.to_owned(),
            containing: None,
            skip: 0,
            times: once(),
            action: FaultAction::Reset,
        }
    }

    /// Sets the action.
    #[must_use]
    pub fn action(mut self, action: FaultAction) -> Self {
        self.action = action;
        self
    }

    /// Restricts the fault to requests whose decoded query or body contains this text.
    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        self.containing = Some(text.to_owned());
        self
    }

    /// Lets this number of matching requests through first.
    #[must_use]
    pub fn skip(mut self, requests: u32) -> Self {
        self.skip = requests;
        self
    }

    /// Sets the number of requests that meet the fault.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Makes the fault apply until it is removed.
    #[must_use]
    pub fn until_removed(mut self) -> Self {
        self.times = None;
        self
    }

    /// See [`FaultAction::Status`].
    #[must_use]
    pub fn status(self, code: u16) -> Self {
        self.action(FaultAction::Status { code, body: None })
    }

    /// See [`FaultAction::Page`].
    #[must_use]
    pub fn page(self, code: u16) -> Self {
        self.action(FaultAction::Page { code })
    }

    /// See [`FaultAction::Empty`].
    #[must_use]
    pub fn empty(self, code: u16) -> Self {
        self.action(FaultAction::Empty { code })
    }

    /// See [`FaultAction::StatusAfterEffect`].
    #[must_use]
    pub fn status_after_effect(self, code: u16) -> Self {
        self.action(FaultAction::StatusAfterEffect { code, body: None })
    }

    /// See [`FaultAction::Redirect`].
    #[must_use]
    pub fn redirect(self, code: u16, location: &str) -> Self {
        self.action(FaultAction::Redirect { code, location: location.to_owned() })
    }

    /// See [`FaultAction::Throttle`].
    #[must_use]
    pub fn throttle(self, retry_after_seconds: u64) -> Self {
        self.action(FaultAction::Throttle { retry_after_seconds })
    }

    /// See [`FaultAction::Delay`].
    #[must_use]
    pub fn delay(self, time: Duration) -> Self {
        self.action(FaultAction::Delay { milliseconds: millis(time) })
    }

    /// See [`FaultAction::DelayAnswer`].
    #[must_use]
    pub fn delay_answer(self, time: Duration) -> Self {
        self.action(FaultAction::DelayAnswer { milliseconds: millis(time) })
    }

    /// See [`FaultAction::Pause`].
    #[must_use]
    pub fn pause(self, at: PausePoint) -> Self {
        self.action(FaultAction::Pause { at })
    }

    /// See [`FaultAction::Edit`].
    #[must_use]
    pub fn edit(self, adds: &[(&str, Value)]) -> Self {
        let adds = adds.iter().map(|(pointer, value)| ((*pointer).to_owned(), value.clone())).collect();
        self.action(FaultAction::Edit { adds })
    }

    simple_actions! {
        /// See [`FaultAction::Reset`].
        reset => FaultAction::Reset;
        /// See [`FaultAction::Hang`].
        hang => FaultAction::Hang;
        /// See [`FaultAction::HangAfterEffect`].
        hang_after_effect => FaultAction::HangAfterEffect;
        /// See [`FaultAction::LoseAnswer`].
        lose_answer => FaultAction::LoseAnswer;
        /// See [`FaultAction::GarbageAfterEffect`].
        garbage_after_effect => FaultAction::GarbageAfterEffect;
        /// See [`FaultAction::TruncateAfterEffect`].
        truncate_after_effect => FaultAction::TruncateAfterEffect;
        /// See [`FaultAction::HugeAfterEffect`], with 64 MiB.
        huge_after_effect => FaultAction::HugeAfterEffect { bytes: 64 << 20 };
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Closed,
    Open,
    Discard,
}

#[derive(Debug)]
pub(crate) struct ActiveFault {
    id: u64,
    fault: Fault,
    path: Regex,
    left: Mutex<(u32, Option<u32>)>,
    hits: watch::Sender<u32>,
    gate: watch::Sender<Gate>,
}

impl ActiveFault {
    pub(crate) fn action(&self) -> &FaultAction {
        &self.fault.action
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn hit(&self) {
        self.hits.send_modify(|hits| *hits += 1);
    }

    pub(crate) async fn wait_released(&self) -> Gate {
        let mut gate = self.gate.subscribe();
        match gate.wait_for(|gate| *gate != Gate::Closed).await {
            Ok(gate) => *gate,
            Err(_) => Gate::Open,
        }
    }

    fn matches(&self, request: &Incoming) -> bool {
        let method =
            self.fault.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case(&request.method));
        method
            && self.path.is_match(&request.path)
            && self.fault.containing.as_ref().is_none_or(|text| contains(request, text))
    }

    fn consume(&self) -> bool {
        let mut left = lock(&self.left);
        if left.0 > 0 {
            left.0 -= 1;
            return false;
        }
        match &mut left.1 {
            None => true,
            Some(0) => false,
            Some(times) => {
                *times -= 1;
                true
            }
        }
    }
}

fn contains(request: &Incoming, text: &str) -> bool {
    let decoded =
        |raw: &str| decode_pairs(raw).is_ok_and(|pairs| pairs.iter().any(|(_, value)| value.contains(text)));
    let body = request.text();
    body.contains(text) || decoded(&body) || decoded(&request.raw_query)
}

/// Faults of one simulated service, in order. A request meets every matching delay and pause, up to and including the
/// first other fault.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    entries: Arc<Mutex<(u64, Vec<Arc<ActiveFault>>)>>,
}

impl Faults {
    /// Injects a fault.
    ///
    /// # Panics
    /// If the path is not a valid regular expression.
    #[expect(clippy::panic, reason = "an invalid pattern is a bug in the test")]
    pub fn add(&self, fault: Fault) -> FaultHandle {
        self.try_add(fault).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn try_add(&self, fault: Fault) -> Result<FaultHandle, regex::Error> {
        let path = Regex::new(&fault.path)?;
        let mut entries = lock(&self.entries);
        entries.0 += 1;
        let entry = Arc::new(ActiveFault {
            id: entries.0,
            path,
            left: Mutex::new((fault.skip, fault.times)),
            fault,
            hits: watch::Sender::new(0),
            gate: watch::Sender::new(Gate::Closed),
        });
        entries.1.push(Arc::clone(&entry));
        Ok(FaultHandle { entry, faults: self.clone() })
    }

    /// Removes all faults and releases the requests that they hold.
    pub fn clear(&self) {
        let entries = std::mem::take(&mut lock(&self.entries).1);
        entries.iter().for_each(|entry| {
            entry.gate.send_replace(Gate::Open);
        });
    }

    /// Returns the faults that were added and not removed.
    #[must_use]
    pub fn list(&self) -> Vec<FaultHandle> {
        let handle =
            |entry: &Arc<ActiveFault>| FaultHandle { entry: Arc::clone(entry), faults: self.clone() };
        lock(&self.entries).1.iter().map(handle).collect()
    }

    pub(crate) fn take(&self, request: &Incoming) -> Vec<Arc<ActiveFault>> {
        let mut taken = Vec::new();
        for entry in &lock(&self.entries).1 {
            if entry.matches(request) && entry.consume() {
                taken.push(Arc::clone(entry));
                if !matches!(
                    entry.action(),
                    FaultAction::Delay { .. } | FaultAction::Pause { .. } | FaultAction::DelayAnswer { .. }
                ) {
                    break;
                }
            }
        }
        taken
    }
}

/// Handle on an injected fault.
#[derive(Clone, Debug)]
pub struct FaultHandle {
    entry: Arc<ActiveFault>,
    faults: Faults,
}

impl FaultHandle {
    /// Returns its number, by which the control API identifies it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.entry.id
    }

    /// Returns the fault.
    #[must_use]
    pub fn fault(&self) -> &Fault {
        &self.entry.fault
    }

    /// Returns the number of requests that have met the fault.
    #[must_use]
    pub fn hits(&self) -> u32 {
        *self.entry.hits.borrow()
    }

    /// Waits until a request has met the fault; for a pause, until it holds one.
    pub async fn reached(&self) {
        self.reached_times(1).await;
    }

    /// Waits until this number of requests have met the fault.
    pub async fn reached_times(&self, times: u32) {
        // The entry of this handle owns the sender, so the wait cannot fail.
        let _ = self.entry.hits.subscribe().wait_for(|hits| *hits >= times).await;
    }

    /// Releases held requests and lets later ones through.
    pub fn release(&self) {
        self.entry.gate.send_replace(Gate::Open);
    }

    /// Closes the connections of held requests. A request held before its effect is not applied.
    pub fn discard(&self) {
        self.entry.gate.send_replace(Gate::Discard);
    }

    /// Removes the fault and releases the requests that it holds.
    pub fn remove(&self) {
        lock(&self.faults.entries).1.retain(|entry| entry.id != self.entry.id);
        self.release();
    }
}
