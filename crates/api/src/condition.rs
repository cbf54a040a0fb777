//! Conditions in the form that kubectl, kstatus, Flux and Argo CD understand.
//!
//! kube has no helper for conditions. This module is the only place that decides when a transition time changes.

use super::reason::ConditionReason;
use super::schema::UNKNOWN_TIME;
use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One aspect of a resource's state, in the shape of Kubernetes' `metav1.Condition`.
#[derive(KubeSchema, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type of the condition, such as Ready.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub type_: String,
    /// True, False or Unknown.
    pub status: Status,
    /// Machine-readable reason for the status: one word in CamelCase.
    #[schemars(length(min = 1, max = 64))]
    pub reason: String,
    /// Human-readable explanation, with the next step if one is needed.
    #[schemars(length(max = 4096))]
    pub message: String,
    /// The metadata.generation of the object that this condition was computed from.
    pub observed_generation: i64,
    /// Time at which the status last changed.
    #[serde(deserialize_with = "super::schema::lenient_transition")]
    #[schemars(schema_with = "super::schema::timestamp")]
    pub last_transition_time: Timestamp,
}

/// Status of a condition.
#[derive(JsonSchema, Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Status {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// Not known yet.
    Unknown,
}

impl From<bool> for Status {
    fn from(value: bool) -> Self {
        if value { Status::True } else { Status::False }
    }
}

/// Condition types in use. The contract lists the types of each kind.
pub mod types {
    /// Summary of the other conditions.
    pub const READY: &str = "Ready";
    /// kstatus: not ready yet, and progressing without user action.
    pub const RECONCILING: &str = "Reconciling";
    /// kstatus: not ready, and user action is required.
    pub const STALLED: &str = "Stalled";
    /// A user has suspended this object, so the operator sends no requests on its behalf.
    pub const SUSPENDED: &str = "Suspended";
    /// Connection: Lever is reachable and accepts the API key.
    pub const LEVER_CONNECTED: &str = "LeverConnected";
    /// Connection: the Interview API is reachable and accepts the API key.
    pub const INTERVIEW_CONNECTED: &str = "InterviewConnected";
    /// Connection: a correctly signed webhook has arrived.
    pub const WEBHOOK_VERIFIED: &str = "WebhookVerified";
    /// Connection: the CoderPad plan has quota left for new pads.
    pub const QUOTA_AVAILABLE: &str = "QuotaAvailable";
    /// Connection: no other installation of the operator creates pads for the same candidates.
    pub const EXCLUSIVE: &str = "Exclusive";
    /// Connection: the answers of both services are as their documentation describes them. Not part of Ready.
    pub const SERVICES_AS_EXPECTED: &str = "ServicesAsExpected";
    /// Configuration: the stage exists in Lever.
    pub const STAGE_FOUND: &str = "StageFound";
    /// Configuration: the question can be used for this type of pad.
    pub const QUESTION_USABLE: &str = "QuestionUsable";
    /// Pad: the pad exists in CoderPad.
    pub const PAD_CREATED: &str = "PadCreated";
    /// Pad: the candidate in Lever has the link.
    pub const LINK_ADDED: &str = "LinkAdded";
    /// Pad: the note and the tags are written to the candidate in Lever.
    pub const RECORD_ADDED: &str = "RecordAdded";
    /// Pad: Lever rejected a tag of an open pad (contract K4a). Absent otherwise.
    pub const TAG_REFUSED: &str = "TagRefused";
}

/// Builder for the conditions of one status. Transition times carry over from the previous conditions.
#[derive(Clone, Debug)]
pub struct Conditions {
    generation: i64,
    now: Timestamp,
    before: Vec<Condition>,
    list: Vec<Condition>,
}

impl Conditions {
    /// Returns an empty builder. `before` are the conditions as last written, `generation` is that of the object.
    pub fn new(before: &[Condition], generation: i64, now: Timestamp) -> Self {
        Self { generation, now, before: before.to_vec(), list: Vec::new() }
    }

    /// Sets a condition. The transition time changes only with the status; messages are cut to the limit of the schema.
    pub fn set(
        &mut self,
        type_: &str,
        status: impl Into<Status>,
        reason: impl ConditionReason,
        message: impl AsRef<str>,
    ) -> &mut Self {
        self.insert(type_, status.into(), reason.as_ref(), message.as_ref())
    }

    fn insert(&mut self, type_: &str, status: Status, reason: &str, message: &str) -> &mut Self {
        let since = find(&self.before, type_)
            .filter(|condition| condition.status == status)
            .filter(|condition| condition.last_transition_time != UNKNOWN_TIME)
            .map_or(self.now, |condition| condition.last_transition_time);
        let condition = Condition {
            type_: type_.into(),
            status,
            reason: reason.into(),
            message: crate::sanitize::cut(message, 4000),
            observed_generation: self.generation,
            last_transition_time: whole_seconds(since),
        };
        match self.list.iter_mut().find(|existing| existing.type_ == type_) {
            Some(existing) => *existing = condition,
            None => self.list.push(condition),
        }
        self
    }

    /// Carries a condition over from the previous conditions, if they contain it.
    pub fn keep(&mut self, type_: &str) -> &mut Self {
        if let Some(condition) = find(&self.before, type_).cloned() {
            let Condition { status, reason, message, .. } = condition;
            self.insert(type_, status, &reason, &message);
        }
        self
    }

    /// Sets Ready and, with Ready=False, exactly one of Reconciling and Stalled, as kstatus expects.
    pub fn ready(
        &mut self,
        readiness: Readiness,
        reason: impl ConditionReason,
        message: impl AsRef<str>,
    ) -> &mut Self {
        let (reason, message) = (reason.as_ref(), message.as_ref());
        self.insert(types::READY, (readiness == Readiness::Ready).into(), reason, message);
        match readiness {
            Readiness::Ready => {}
            Readiness::Reconciling => {
                self.insert(types::RECONCILING, Status::True, reason, message);
            }
            Readiness::Stalled => {
                self.insert(types::STALLED, Status::True, reason, message);
            }
        }
        self
    }

    /// Sets Ready=False. The reason decides whether the object is Stalled or Reconciling.
    pub fn not_ready(&mut self, reason: impl ConditionReason, message: impl AsRef<str>) -> &mut Self {
        let readiness = if reason.needs_user_action() { Readiness::Stalled } else { Readiness::Reconciling };
        self.ready(readiness, reason, message)
    }

    /// Returns the conditions.
    pub fn finish(self) -> Vec<Condition> {
        self.list
    }
}

/// State of an object in the terms of kstatus.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Readiness {
    /// The observed state matches the spec.
    Ready,
    /// Not ready yet, and progressing without user action.
    Reconciling,
    /// Not ready, and user action is required.
    Stalled,
}

/// Returns the condition of a type, if present.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Reports whether the condition of a type is present and True.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == Status::True)
}

/// Truncates a time to whole seconds: `metav1.Time` has no fractions.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn transition_time_changes_only_with_the_status() {
        let mut first = Conditions::new(&[], 1, at(100));
        first.ready(Readiness::Reconciling, Reason::QuotaExceeded, "pending");
        let first = first.finish();

        let mut second = Conditions::new(&first, 2, at(200));
        second.ready(Readiness::Reconciling, Reason::LimitReached, "waiting for something else");
        let second = second.finish();
        let ready = find(&second, types::READY).unwrap();
        assert_eq!(
            (ready.last_transition_time, ready.reason.as_str(), ready.observed_generation),
            (at(100), "LimitReached", 2)
        );

        let mut third = Conditions::new(&second, 2, at(300));
        third.ready(Readiness::Ready, Reason::Open, "open");
        let third = third.finish();
        assert_eq!(find(&third, types::READY).unwrap().last_transition_time, at(300));
    }

    #[test]
    fn not_ready_comes_with_exactly_one_of_reconciling_and_stalled() {
        for (readiness, expected) in [
            (Readiness::Ready, vec![types::READY]),
            (Readiness::Reconciling, vec![types::READY, types::RECONCILING]),
            (Readiness::Stalled, vec![types::READY, types::STALLED]),
        ] {
            let mut conditions = Conditions::new(&[], 1, at(1));
            conditions.ready(readiness, Reason::Open, "message");
            let types: Vec<_> = conditions.finish().into_iter().map(|condition| condition.type_).collect();
            assert_eq!(types, expected);
        }
    }
}
