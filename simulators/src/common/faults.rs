//! Faults on order: which requests meet one, what happens to them, and how often.
//!
//! A request is handled apart from its connection: one whose client has gone still takes effect, as
//! with a real service. So a paused request that is released late is a late arrival.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use super::lock;
use super::wire::{Incoming, decode_pairs};

/// The point of a request's life at which a [`Action::Pause`] holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// The request has arrived; nothing is applied yet.
    BeforeEffect,
    /// The effect is applied; the answer is not sent yet.
    AfterEffect,
}

/// What happens to a request that meets a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Action {
    /// Nothing is applied; this status is answered, with this body or the service's usual error.
    Status {
        /// The HTTP status.
        code: u16,
        /// The JSON body.
        #[serde(default)]
        body: Option<Value>,
    },
    /// Nothing is applied; this status is answered with an HTML page, as a firewall or a proxy does.
    Page {
        /// The HTTP status.
        code: u16,
    },
    /// Nothing is applied; this status is answered with no body, as a balancer does.
    Empty {
        /// The HTTP status.
        code: u16,
    },
    /// Nothing is applied; a redirect is answered.
    Redirect {
        /// The HTTP status, such as 301 or 307.
        code: u16,
        /// The `Location` header.
        location: String,
    },
    /// Nothing is applied; 429 is answered, and when to come back.
    Throttle {
        /// The `Retry-After` header.
        retry_after_seconds: u64,
    },
    /// Nothing is applied; the connection is closed without an answer.
    Reset,
    /// Nothing is applied and nothing is answered, for ever.
    Hang,
    /// Waits, then goes on as usual.
    Delay {
        /// For how long.
        milliseconds: u64,
    },
    /// Holds the request until it is released.
    Pause {
        /// Where it is held.
        at: Moment,
    },
    /// The effect is applied, then the answer is late.
    DelayAnswer {
        /// For how long.
        milliseconds: u64,
    },
    /// The effect is applied, then the connection is closed without an answer.
    LoseAnswer,
    /// The effect is applied, then nothing is answered, for ever.
    HangAfterEffect,
    /// The effect is applied, then this status is answered.
    StatusAfterEffect {
        /// The HTTP status.
        code: u16,
        /// The JSON body.
        #[serde(default)]
        body: Option<Value>,
    },
    /// The effect is applied; values are added to the JSON of the answer, each at a JSON pointer. In a list, a number
    /// inserts before that item and `-` appends; in an object, a member is set. What has no place is left out.
    Edit {
        /// Pointers and values, such as `/pads/0` and a row.
        adds: Vec<(String, Value)>,
    },
    /// The effect is applied; the status is right, the body is not JSON.
    GarbageAfterEffect,
    /// The effect is applied; the connection is closed in the middle of the body.
    TruncateAfterEffect,
    /// The effect is applied; the body is as many bytes long.
    HugeAfterEffect {
        /// The length in bytes.
        bytes: usize,
    },
}

/// A fault to order: `Fault::on("POST", "/addLinks$").lose_answer()`. Unless told otherwise it
/// happens once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// The HTTP method, or none for every method.
    #[serde(default)]
    pub method: Option<String>,
    /// A regular expression that the path must match somewhere, such as `^/api/pads/?$`.
    pub path: String,
    /// Text that the decoded query or the decoded body must contain.
    #[serde(default)]
    pub containing: Option<String>,
    /// So many matching requests pass first.
    #[serde(default)]
    pub skip: u32,
    /// So many requests meet it; none = until it is removed.
    #[serde(default = "once")]
    pub times: Option<u32>,
    /// What happens.
    pub action: Action,
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that serde asks for")]
fn once() -> Option<u32> {
    Some(1)
}

macro_rules! simple_actions {
    ($($(#[$doc:meta])* $name:ident => $action:expr;)*) => {
        $($(#[$doc])* #[must_use] pub fn $name(self) -> Self { self.action($action) })*
    };
}

impl Fault {
    /// A fault for a method (`*` for every one) and a regular expression on the path; a reset until
    /// another action is chosen.
    #[must_use]
    pub fn on(method: &str, path: &str) -> Self {
        Self {
            method: (method != "*").then(|| method.to_owned()),
            path: path.to_owned(),
            containing: None,
            skip: 0,
            times: once(),
            action: Action::Reset,
        }
    }

    /// Chooses what happens.
    #[must_use]
    pub fn action(mut self, action: Action) -> Self {
        self.action = action;
        self
    }

    /// Only requests whose decoded query or body contains this text.
    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        self.containing = Some(text.to_owned());
        self
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn skip(mut self, requests: u32) -> Self {
        self.skip = requests;
        self
    }

    /// Happens so many times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Happens until it is removed.
    #[must_use]
    pub fn until_removed(mut self) -> Self {
        self.times = None;
        self
    }

    /// See [`Action::Status`].
    #[must_use]
    pub fn status(self, code: u16) -> Self {
        self.action(Action::Status { code, body: None })
    }

    /// See [`Action::Page`].
    #[must_use]
    pub fn page(self, code: u16) -> Self {
        self.action(Action::Page { code })
    }

    /// See [`Action::Empty`].
    #[must_use]
    pub fn empty(self, code: u16) -> Self {
        self.action(Action::Empty { code })
    }

    /// See [`Action::StatusAfterEffect`].
    #[must_use]
    pub fn status_after_effect(self, code: u16) -> Self {
        self.action(Action::StatusAfterEffect { code, body: None })
    }

    /// See [`Action::Redirect`].
    #[must_use]
    pub fn redirect(self, code: u16, location: &str) -> Self {
        self.action(Action::Redirect { code, location: location.to_owned() })
    }

    /// See [`Action::Throttle`].
    #[must_use]
    pub fn throttle(self, retry_after_seconds: u64) -> Self {
        self.action(Action::Throttle { retry_after_seconds })
    }

    /// See [`Action::Delay`].
    #[must_use]
    pub fn delay(self, time: Duration) -> Self {
        self.action(Action::Delay { milliseconds: millis(time) })
    }

    /// See [`Action::DelayAnswer`].
    #[must_use]
    pub fn delay_answer(self, time: Duration) -> Self {
        self.action(Action::DelayAnswer { milliseconds: millis(time) })
    }

    /// See [`Action::Pause`].
    #[must_use]
    pub fn pause(self, at: Moment) -> Self {
        self.action(Action::Pause { at })
    }

    /// See [`Action::Edit`].
    #[must_use]
    pub fn edit(self, adds: &[(&str, Value)]) -> Self {
        let adds = adds.iter().map(|(pointer, value)| ((*pointer).to_owned(), value.clone())).collect();
        self.action(Action::Edit { adds })
    }

    simple_actions! {
        /// See [`Action::Reset`].
        reset => Action::Reset;
        /// See [`Action::Hang`].
        hang => Action::Hang;
        /// See [`Action::HangAfterEffect`].
        hang_after_effect => Action::HangAfterEffect;
        /// See [`Action::LoseAnswer`].
        lose_answer => Action::LoseAnswer;
        /// See [`Action::GarbageAfterEffect`].
        garbage_after_effect => Action::GarbageAfterEffect;
        /// See [`Action::TruncateAfterEffect`].
        truncate_after_effect => Action::TruncateAfterEffect;
        /// See [`Action::HugeAfterEffect`], with 64 MiB.
        huge_after_effect => Action::HugeAfterEffect { bytes: 64 << 20 };
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
pub(crate) struct Entry {
    id: u64,
    fault: Fault,
    path: Regex,
    left: Mutex<(u32, Option<u32>)>,
    hits: watch::Sender<u32>,
    gate: watch::Sender<Gate>,
}

impl Entry {
    pub(crate) fn action(&self) -> &Action {
        &self.fault.action
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn hit(&self) {
        self.hits.send_modify(|hits| *hits += 1);
    }

    pub(crate) async fn held(&self) -> Gate {
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

    fn takes(&self) -> bool {
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

/// The faults of one simulated service, in order. A request meets every delay and pause that matches
/// it, up to and including the first other fault.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    entries: Arc<Mutex<(u64, Vec<Arc<Entry>>)>>,
}

impl Faults {
    /// Orders a fault.
    ///
    /// # Panics
    /// If the path is not a regular expression.
    #[expect(clippy::panic, reason = "a wrong pattern is a mistake in the test that orders it")]
    pub fn add(&self, fault: Fault) -> FaultHandle {
        self.try_add(fault).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn try_add(&self, fault: Fault) -> Result<FaultHandle, regex::Error> {
        let path = Regex::new(&fault.path)?;
        let mut entries = lock(&self.entries);
        entries.0 += 1;
        let entry = Arc::new(Entry {
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

    /// Removes all faults and releases what they hold.
    pub fn clear(&self) {
        let entries = std::mem::take(&mut lock(&self.entries).1);
        entries.iter().for_each(|entry| {
            entry.gate.send_replace(Gate::Open);
        });
    }

    /// The faults that were ordered and not removed.
    #[must_use]
    pub fn list(&self) -> Vec<FaultHandle> {
        let handle = |entry: &Arc<Entry>| FaultHandle { entry: Arc::clone(entry), faults: self.clone() };
        lock(&self.entries).1.iter().map(handle).collect()
    }

    pub(crate) fn take(&self, request: &Incoming) -> Vec<Arc<Entry>> {
        let mut taken = Vec::new();
        for entry in &lock(&self.entries).1 {
            if entry.matches(request) && entry.takes() {
                taken.push(Arc::clone(entry));
                if !matches!(
                    entry.action(),
                    Action::Delay { .. } | Action::Pause { .. } | Action::DelayAnswer { .. }
                ) {
                    break;
                }
            }
        }
        taken
    }
}

/// One ordered fault.
#[derive(Clone, Debug)]
pub struct FaultHandle {
    entry: Arc<Entry>,
    faults: Faults,
}

impl FaultHandle {
    /// Its number, as the control API names it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.entry.id
    }

    /// What was ordered.
    #[must_use]
    pub fn fault(&self) -> &Fault {
        &self.entry.fault
    }

    /// How many requests have met it.
    #[must_use]
    pub fn hits(&self) -> u32 {
        *self.entry.hits.borrow()
    }

    /// Waits until a request has met it: for a pause, until one is held at its moment.
    pub async fn reached(&self) {
        self.reached_times(1).await;
    }

    /// Waits until so many requests have met it.
    pub async fn reached_times(&self, times: u32) {
        // The sender lives in the entry that this handle holds, so the wait cannot fail.
        let _ = self.entry.hits.subscribe().wait_for(|hits| *hits >= times).await;
    }

    /// Lets held requests go on, and later ones pass.
    pub fn release(&self) {
        self.entry.gate.send_replace(Gate::Open);
    }

    /// Closes the connections of held requests. Before the effect, it is not applied.
    pub fn discard(&self) {
        self.entry.gate.send_replace(Gate::Discard);
    }

    /// Removes the fault; requests that it holds go on.
    pub fn remove(&self) {
        lock(&self.faults.entries).1.retain(|entry| entry.id != self.entry.id);
        self.release();
    }
}
