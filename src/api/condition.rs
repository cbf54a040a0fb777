//! Conditions in the form that kubectl, kstatus, Flux and Argo CD understand, and the one rule for their times.
//!
//! kube has no helper for conditions. This module is the only place that decides when a transition time moves.

use super::schema::UNKNOWN_TIME;
use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One aspect of a resource's state, in the shape of Kubernetes' `metav1.Condition`.
#[derive(KubeSchema, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What the condition is about, such as Ready.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub type_: String,
    /// True, False or Unknown.
    pub status: Status,
    /// One word for programs: why the status is what it is.
    #[schemars(length(min = 1, max = 64))]
    pub reason: String,
    /// A sentence for people: what is, and what to do if anything is to be done.
    #[schemars(length(max = 4096))]
    pub message: String,
    /// The metadata.generation that this condition was decided for.
    pub observed_generation: i64,
    /// When the status last changed.
    #[serde(deserialize_with = "super::schema::lenient_transition")]
    #[schemars(schema_with = "super::schema::timestamp")]
    pub last_transition_time: Timestamp,
}

/// The three values of a condition.
#[derive(JsonSchema, Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Status {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It is not known yet.
    Unknown,
}

impl From<bool> for Status {
    fn from(value: bool) -> Self {
        if value { Status::True } else { Status::False }
    }
}

/// The types of condition in use. See the contract for which kind has which.
pub mod types {
    /// The summary that everybody looks at first.
    pub const READY: &str = "Ready";
    /// kstatus: not ready, and goes on alone.
    pub const RECONCILING: &str = "Reconciling";
    /// kstatus: not ready, and a person must act.
    pub const STALLED: &str = "Stalled";
    /// Nothing is sent on behalf of this object because a person asked for that.
    pub const SUSPENDED: &str = "Suspended";
    /// Connection: Lever answers.
    pub const LEVER_CONNECTED: &str = "LeverConnected";
    /// Connection: the Interview API answers.
    pub const INTERVIEW_CONNECTED: &str = "InterviewConnected";
    /// Connection: a correctly signed webhook has arrived.
    pub const WEBHOOK_VERIFIED: &str = "WebhookVerified";
    /// Connection: there is quota left for new pads.
    pub const QUOTA_AVAILABLE: &str = "QuotaAvailable";
    /// Connection: no other installation of the operator serves the same candidates.
    pub const EXCLUSIVE: &str = "Exclusive";
    /// Configuration: the stage is known in Lever.
    pub const STAGE_FOUND: &str = "StageFound";
    /// Configuration: the question can be used for this type of pad.
    pub const QUESTION_USABLE: &str = "QuestionUsable";
    /// Pad: it exists at CoderPad.
    pub const PAD_CREATED: &str = "PadCreated";
    /// Pad: its link is on the candidate in Lever.
    pub const LINK_ADDED: &str = "LinkAdded";
    /// Pad: its record is on the candidate in Lever.
    pub const RECORD_ADDED: &str = "RecordAdded";
    /// Pad: Lever refused a tag of an open pad (contract K4a). Absent otherwise.
    pub const TAG_REFUSED: &str = "TagRefused";
}

/// The conditions of one status, built anew on each pass and stamped against the ones written before.
#[derive(Clone, Debug)]
pub struct Conditions {
    generation: i64,
    now: Timestamp,
    before: Vec<Condition>,
    list: Vec<Condition>,
}

impl Conditions {
    /// Starts from the conditions as last written. `generation` is that of the object they are decided for.
    pub fn new(before: &[Condition], generation: i64, now: Timestamp) -> Self {
        Self { generation, now, before: before.to_vec(), list: Vec::new() }
    }

    /// Sets a condition. Its transition time stays unless its status changes; messages are cut to the schema's bound.
    pub fn set(
        &mut self,
        type_: &str,
        status: impl Into<Status>,
        reason: &str,
        message: impl AsRef<str>,
    ) -> &mut Self {
        let status = status.into();
        let since = find(&self.before, type_)
            .filter(|condition| condition.status == status)
            .filter(|condition| condition.last_transition_time != UNKNOWN_TIME)
            .map_or(self.now, |condition| condition.last_transition_time);
        let condition = Condition {
            type_: type_.into(),
            status,
            reason: reason.into(),
            message: crate::sanitize::cut(message.as_ref(), 4000),
            observed_generation: self.generation,
            last_transition_time: whole_seconds(since),
        };
        match self.list.iter_mut().find(|existing| existing.type_ == type_) {
            Some(existing) => *existing = condition,
            None => self.list.push(condition),
        }
        self
    }

    /// Keeps a condition as it was written before, if it was.
    pub fn keep(&mut self, type_: &str) -> &mut Self {
        if let Some(condition) = find(&self.before, type_).cloned() {
            let Condition { status, reason, message, .. } = condition;
            self.set(type_, status, &reason, message);
        }
        self
    }

    /// Sets Ready, and beside Ready=False exactly one of Reconciling and Stalled, as kstatus wants it.
    pub fn ready(&mut self, readiness: Readiness, reason: &str, message: impl AsRef<str>) -> &mut Self {
        let message = message.as_ref();
        self.set(types::READY, readiness == Readiness::Ready, reason, message);
        match readiness {
            Readiness::Ready => {}
            Readiness::Reconciling => {
                self.set(types::RECONCILING, true, reason, message);
            }
            Readiness::Stalled => {
                self.set(types::STALLED, true, reason, message);
            }
        }
        self
    }

    /// The finished list.
    pub fn finish(self) -> Vec<Condition> {
        self.list
    }
}

/// The three states that kstatus distinguishes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Readiness {
    /// All is as asked for.
    Ready,
    /// Not yet, and it goes on alone.
    Reconciling,
    /// Not, and a person must act.
    Stalled,
}

/// The condition of a type, if it is there.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of a type is there and True.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == Status::True)
}

/// Kubernetes keeps condition times in whole seconds.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_transition_time_moves_only_on_a_transition() {
        let mut first = Conditions::new(&[], 1, at(100));
        first.ready(Readiness::Reconciling, "Waiting", "waits");
        let first = first.finish();

        let mut second = Conditions::new(&first, 2, at(200));
        second.ready(Readiness::Reconciling, "Other", "waits for something else");
        let second = second.finish();
        let ready = find(&second, types::READY).unwrap();
        assert_eq!(
            (ready.last_transition_time, ready.reason.as_str(), ready.observed_generation),
            (at(100), "Other", 2)
        );

        let mut third = Conditions::new(&second, 2, at(300));
        third.ready(Readiness::Ready, "Open", "open");
        let third = third.finish();
        assert_eq!(find(&third, types::READY).unwrap().last_transition_time, at(300));
    }

    #[test]
    fn beside_not_ready_stands_exactly_one_of_reconciling_and_stalled() {
        for (readiness, expected) in [
            (Readiness::Ready, vec![types::READY]),
            (Readiness::Reconciling, vec![types::READY, types::RECONCILING]),
            (Readiness::Stalled, vec![types::READY, types::STALLED]),
        ] {
            let mut conditions = Conditions::new(&[], 1, at(1));
            conditions.ready(readiness, "Reason", "message");
            let types: Vec<_> = conditions.finish().into_iter().map(|condition| condition.type_).collect();
            assert_eq!(types, expected);
        }
    }
}
