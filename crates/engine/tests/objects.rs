//! Objects in, next command or status out: the path of a Pad through `observe`, `decide` and `status` without any
//! service. A row without a call ends in a status; the other rows end in the command that would call a service.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // This is how a test fails, in its helpers too.

use api::condition::{self, types};
use api::names::{CreateIntent, Reference, Series};
use api::pad::PadStatus;
use api::reason::Reason;
use api::{LeverConnection, Pad, PadConfiguration};
use engine::command::{Command, Outcome, WriteBackState};
use engine::decide::decide;
use engine::hints::{Hint, PendingHints};
use engine::observe::{self, RelatedObjects};
use engine::state::{ConnectionState, PadState, RuleState, TtlState};
use engine::status::status;
use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::Arc;

/// The objects of one case; each row changes some fields of the usual ones.
struct Objects {
    pad: Value,
    configuration: Option<Value>,
    connection: Option<Value>,
    others: Vec<Value>,
    hints: Vec<Hint>,
}

fn ready(generation: i64) -> Value {
    let condition = json!({
        "type": "Ready", "status": "True", "reason": "Ready", "message": "", "observedGeneration": generation,
        "lastTransitionTime": "2026-03-01T10:00:00Z",
    });
    json!([condition])
}

fn not_ready(reason: &str) -> Value {
    let mut conditions = ready(1);
    conditions[0]["status"] = json!("False");
    conditions[0]["reason"] = json!(reason);
    conditions
}

fn pad(number: u32) -> Value {
    json!({
        "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad",
        "metadata": {
            "name": format!("phone-0123456789-{number}"), "namespace": "hiring", "uid": format!("pad-{number}"),
            "generation": 1, "creationTimestamp": format!("2026-03-01T12:0{number}:00Z"),
            "annotations": {}, "finalizers": [],
        },
        "spec": {
            "configurationRef": {"name": "phone"}, "connectionRef": {"name": "acme"}, "opportunityID": "op-1",
            "trigger": {"source": "Webhook", "at": "2026-03-01T12:00:00Z"},
        },
    })
}

/// Returns a Pad with a stored pad.
fn created(mut pad: Value, id: &str) -> Value {
    let reference = Reference::new(Series::new("hiring", "phone", "op-1"), 1_772_366_400_000_i64);
    let attempt = CreateIntent::new(reference, "2026-03-01T12:00:02Z".parse().unwrap()).to_string();
    pad["metadata"]["annotations"] =
        json!({"padoperator.dev/attempt": attempt, "padoperator.dev/pad-id": id});
    pad
}

/// Returns a Pad with this status.
fn with_status(mut pad: Value, phase: &str, reason: &str, mut fields: Value) -> Value {
    let mut conditions = ready(1);
    conditions[0]["reason"] = json!(reason);
    let fixed = json!({
        "observedGeneration": 1, "phase": phase, "reason": reason, "phaseSince": "2026-03-01T12:00:10Z",
        "observedConfigurationGeneration": 1, "observedConfigurationUID": "phone-uid", "conditions": conditions,
    });
    fields.as_object_mut().unwrap().extend(fixed.as_object().unwrap().clone());
    pad["status"] = fields;
    pad
}

/// Returns an open Pad. The default deletion policy, Retain, needs no finalizer.
fn open(number: u32) -> Value {
    with_status(
        created(pad(number), "PADA"),
        "Open",
        "Open",
        json!({"padID": "PADA", "createdAt": "2026-03-01T12:00:02Z", "linkedAt": "2026-03-01T12:00:05Z"}),
    )
}

/// Returns a Pad that was skipped for this reason more than a day ago.
fn expired(reason: &str, change: impl FnOnce(&mut Value)) -> Objects {
    let mut pad = with_status(pad(1), "Skipped", reason, json!({}));
    pad["status"]["phaseSince"] = json!("2026-02-28T12:00:00Z");
    change(&mut pad);
    Objects::new(pad)
}

fn with_finalizer(mut pad: Value) -> Value {
    pad["metadata"]["finalizers"] = json!(["padoperator.dev/pad"]);
    pad
}

fn deleted(mut pad: Value) -> Value {
    pad["metadata"]["deletionTimestamp"] = json!("2026-03-01T13:00:00Z");
    pad
}

impl Objects {
    fn new(pad: Value) -> Self {
        let configuration = json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "PadConfiguration",
            "metadata": {"name": "phone", "namespace": "hiring", "uid": "phone-uid", "generation": 1},
            "spec": {"connectionRef": {"name": "acme"}, "stage": "Phone Screen", "ownerEmail": "ada@example.com"},
            "status": {
                "observedGeneration": 1, "effectiveSince": "2026-03-01T09:00:00Z", "conditions": ready(1),
                "stage": {"id": "stage-phone", "name": "Phone Screen", "named": "Phone Screen"},
            },
        });
        let connection = json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "LeverConnection",
            "metadata": {
                "name": "acme", "namespace": "hiring", "uid": "acme-uid", "generation": 1,
                "annotations": {"padoperator.dev/installation": "0123456789abcdef"},
            },
            "spec": {
                "lever": {"apiKeySecretRef": {"name": "keys", "key": "lever"}},
                "interview": {"apiKeySecretRef": {"name": "keys", "key": "interview"}},
            },
            "status": {"observedGeneration": 1, "conditions": ready(1)},
        });
        Self {
            pad,
            configuration: Some(configuration),
            connection: Some(connection),
            others: vec![],
            hints: vec![],
        }
    }

    fn configuration(mut self, path: &str, value: Value) -> Self {
        set(self.configuration.as_mut().unwrap(), path, value);
        self
    }

    fn connection(mut self, path: &str, value: Value) -> Self {
        set(self.connection.as_mut().unwrap(), path, value);
        self
    }

    fn beside(mut self, other: Value) -> Self {
        self.others.push(other);
        self
    }

    fn hint(mut self, hint: Hint) -> Self {
        self.hints.push(hint);
        self
    }

    fn build(self) -> Built {
        let pad: Pad = serde_json::from_value(self.pad).unwrap();
        let configuration: Option<Arc<PadConfiguration>> =
            self.configuration.map(|one| Arc::new(serde_json::from_value(one).unwrap()));
        let connection: Option<Arc<LeverConnection>> =
            self.connection.map(|one| Arc::new(serde_json::from_value(one).unwrap()));
        let others: Vec<Arc<Pad>> =
            self.others.into_iter().map(|one| Arc::new(serde_json::from_value(one).unwrap())).collect();
        let connection_name = observe::connection_name(&pad, configuration.as_deref()).map(ToOwned::to_owned);
        let around = RelatedObjects {
            configuration: configuration.clone(),
            connection,
            connection_name,
            former: None,
        };
        let state = observe::observe(&pad, &around, &others, &PendingHints::from_hints(self.hints), now());
        Built { pad, configuration, state }
    }

    /// Returns the rule, and the command or the phase and reason of the status.
    fn result(self) -> (&'static str, String) {
        let built = self.build();
        let decision = decide(&built.state);
        let Command::Done { outcome, .. } = &decision.command else {
            return (decision.rule, decision.command.name().to_owned());
        };
        let Some(after) = built.status(outcome) else {
            return (decision.rule, "no status".into());
        };
        let unchanged = built.pad.status.as_ref() == Some(&after);
        let ready = condition::find(&after.conditions, types::READY).unwrap();
        let phase = after.phase.map(|phase| format!("{phase:?}")).unwrap_or_default();
        (decision.rule, format!("{phase}/{}{}", ready.reason, if unchanged { ", unchanged" } else { "" }))
    }
}

/// A Pad, its configuration, and the state that is observed from them.
struct Built {
    pad: Pad,
    configuration: Option<Arc<PadConfiguration>>,
    state: PadState,
}

impl Built {
    fn status(&self, outcome: &Outcome) -> Option<PadStatus> {
        status(&self.pad, &self.state, outcome, self.configuration.as_deref(), now())
    }
}

fn now() -> Timestamp {
    "2026-03-01T14:00:00Z".parse().unwrap()
}

fn set(object: &mut Value, path: &str, value: Value) {
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent =
        parents.split('/').filter(|part| !part.is_empty()).fold(object, |object, part| &mut object[part]);
    parent[name] = value;
}

fn absent(mut objects: Objects, kind: &str) -> Objects {
    match kind {
        "configuration" => objects.configuration = None,
        _ => objects.connection = None,
    }
    objects
}

#[test]
fn objects_lead_to_a_command_or_a_status() {
    let new = || Objects::new(pad(1));
    let full = json!({"unlimited": false, "used": 10, "remaining": 0, "limit": 10});
    let mut ended_by_a_person = pad(1);
    ended_by_a_person["spec"]["state"] = json!("Ended");
    let mut attempted = created(pad(1), "PADA");
    attempted["metadata"]["annotations"].as_object_mut().unwrap().remove("padoperator.dev/pad-id");
    let rows = [
        ("a new Pad", new(), ("not eligible", "read opportunity")),
        (
            "no configuration",
            absent(new(), "configuration"),
            ("configuration not usable", "Pending/ConfigurationNotFound"),
        ),
        (
            "no connection",
            absent(new(), "connection"),
            ("connection not usable", "Pending/ConnectionNotReady"),
        ),
        (
            "a suspended connection",
            new().connection("spec/suspend", json!(true)),
            ("connection not usable", "Pending/Suspended"),
        ),
        (
            "a suspended configuration",
            new().configuration("spec/suspend", json!(true)),
            ("connection not usable", "Pending/Suspended"),
        ),
        (
            "a changed connection",
            new().connection("metadata/generation", json!(2)),
            ("connection not usable", "Pending/ConnectionNotReady"),
        ),
        (
            "a rejected key",
            new().connection("status/conditions", not_ready("LeverUnauthorized")),
            ("connection not usable", "Pending/LeverUnauthorized"),
        ),
        (
            "no installation ID",
            new().connection("metadata/annotations", json!({})),
            ("connection not usable", "Pending/ConnectionNotReady"),
        ),
        (
            "an unknown stage",
            new().configuration("status/conditions", not_ready("StageNotFound")),
            ("configuration not usable", "Pending/ConfigurationNotReady"),
        ),
        (
            "a configuration that was not checked",
            new().configuration("metadata/generation", json!(2)),
            ("configuration not usable", "Pending/ConfigurationNotReady"),
        ),
        ("no quota", new().connection("status/quota", full.clone()), ("not eligible", "read opportunity")),
        (
            "no quota for a Pad that waits for it",
            Objects::new(with_status(pad(1), "Pending", "QuotaExceeded", json!({})))
                .connection("status/quota", full),
            ("limit, before the candidate is read", "Pending/QuotaExceeded"),
        ),
        ("cancelled at once", Objects::new(ended_by_a_person), ("cancelled", "read opportunity")),
        (
            "skipped",
            Objects::new(with_status(pad(1), "Skipped", "TagMissing", json!({}))),
            ("settled", "Skipped/TagMissing, unchanged"),
        ),
        (
            "skipped, and sync found a change",
            Objects::new(with_status(pad(1), "Skipped", "TagMissing", json!({}))).hint(Hint::Judge),
            ("not eligible", "read opportunity"),
        ),
        (
            "another Pad is being deleted",
            new().beside(deleted(with_finalizer(open(2)))),
            ("sibling is being deleted", "Pending/CreateOutcomeUnknown"),
        ),
        ("open", Objects::new(open(1)), ("after the link", "Open/Open, unchanged")),
        (
            "open, and sync found a change",
            Objects::new(open(1)).hint(Hint::Record),
            ("after the link", "read pad"),
        ),
        (
            "open, without the finalizer of its policy",
            Objects::new({
                let mut pad = open(1);
                pad["spec"]["deletionPolicy"] = json!("Unlink");
                pad
            }),
            ("after the link", "set finalizer"),
        ),
        (
            "open, the candidate was erased",
            Objects::new(open(1)).hint(Hint::Erased),
            ("erased candidate", "read opportunity"),
        ),
        (
            "open, the connection is suspended",
            Objects::new(open(1)).connection("spec/suspend", json!(true)),
            ("after the link", "Open/Open, unchanged"),
        ),
        (
            "created, its link is not known",
            Objects::new(with_finalizer(created(pad(1), "PADA"))),
            ("link", "read pad"),
        ),
        (
            "created, without a finalizer",
            Objects::new(created(pad(1), "PADA")),
            ("finalizer before the link", "set finalizer"),
        ),
        (
            "an attempt that was never sent",
            Objects::new(with_finalizer(attempted)),
            ("unknown outcome", "forget attempt"),
        ),
        (
            "deleted before it had a pad",
            Objects::new(deleted(with_finalizer(pad(1)))),
            ("deletion", "set finalizer"),
        ),
        (
            "deleted while open",
            Objects::new(deleted(with_finalizer(open(1)))),
            ("deletion", "store served entries"),
        ),
        (
            "skipped a day ago, and sync does not find the candidate any more",
            expired("TagMissing", |_| {}).hint(Hint::Expired),
            ("TTL", "delete Pad"),
        ),
        (
            "skipped a day ago, and sync has not found out yet",
            expired("TagMissing", |_| {}),
            ("settled", "Skipped/TagMissing, unchanged"),
        ),
        (
            "skipped a day ago, with a finalizer",
            expired("TagMissing", |pad| pad["metadata"]["finalizers"] = json!(["padoperator.dev/pad"]))
                .hint(Hint::Expired),
            ("TTL", "set finalizer"),
        ),
        (
            "skipped a day ago, and a person requested a reconcile",
            expired("TagMissing", |pad| {
                pad["metadata"]["annotations"] = json!({"padoperator.dev/reconcile-requested-at": "now"});
            })
            .hint(Hint::Expired),
            ("not eligible", "read opportunity"),
        ),
        (
            "skipped just now",
            Objects::new(with_status(pad(1), "Skipped", "TagMissing", json!({}))).hint(Hint::Expired),
            ("settled", "Skipped/TagMissing, unchanged"),
        ),
    ];
    for (case, objects, (rule, result)) in rows {
        assert_eq!(objects.result(), (rule, result.to_owned()), "{case}");
    }
}

/// Returns a Pad with a request to reconcile.
fn requested(mut pad: Value, by: &str) -> Value {
    pad["metadata"]["annotations"]["padoperator.dev/reconcile-requested-at"] = json!(by);
    pad
}

/// Request of a webhook that was delivered at 2026-03-01T12:00:00Z.
const DELIVERY: &str = "1772366400000-abcdefgh";

fn connection_kind(state: &PadState) -> String {
    match &state.connection {
        ConnectionState::Missing { name } => format!("missing {name}"),
        ConnectionState::Suspended { .. } => "suspended".into(),
        ConnectionState::NotReady { reason, .. } => format!("not ready: {reason}"),
        ConnectionState::Ready { pads_left, per_hour, .. } => {
            format!("ready: {pads_left:?} left, {per_hour:?} an hour")
        }
    }
}

#[rstest]
#[case::default(Objects::new(pad(1)), "ready: None left, Some(100) an hour")]
#[case::unlimited(
    Objects::new(pad(1)).connection("spec/interview/maxPadsPerHour", json!(0)),
    "ready: None left, None an hour"
)]
#[case::quota(
    Objects::new(pad(1))
        .connection("status/quota", json!({"unlimited": false, "used": 7, "remaining": 3, "limit": 10})),
    "ready: Some(3) left, Some(100) an hour"
)]
#[case::unlimited_quota(
    Objects::new(pad(1)).connection("status/quota", json!({"unlimited": true, "used": 7})),
    "ready: None left, Some(100) an hour"
)]
#[case::overage_is_allowed(
    Objects::new(pad(1))
        .connection("status/quota", json!({"unlimited": false, "used": 10, "remaining": 0, "limit": 10}))
        .connection("spec/interview/overage", json!("Allow")),
    "ready: None left, Some(100) an hour"
)]
#[case::missing(absent(Objects::new(pad(1)), "connection"), "missing acme")]
#[case::suspended(Objects::new(pad(1)).connection("spec/suspend", json!(true)), "suspended")]
#[case::changed(Objects::new(pad(1)).connection("metadata/generation", json!(2)), "not ready: Connecting")]
#[case::refused(
    Objects::new(pad(1)).connection("status/conditions", not_ready("LeverUnauthorized")),
    "not ready: LeverUnauthorized"
)]
fn the_connection_is_observed(#[case] objects: Objects, #[case] expected: &str) {
    assert_eq!(connection_kind(&objects.build().state), expected);
}

fn refused_take_homes(pad: Value) -> Objects {
    Objects::new(pad).configuration("status/conditions", not_ready("TakeHomeRefused"))
}

#[rstest]
#[case::ready(Objects::new(pad(1)), "ready")]
#[case::missing(absent(Objects::new(pad(1)), "configuration"), "not found")]
#[case::of_another_connection(
    Objects::new(pad(1)).configuration("spec/connectionRef", json!({"name": "other"})),
    "not found"
)]
#[case::suspended(Objects::new(pad(1)).configuration("spec/suspend", json!(true)), "suspended")]
#[case::changed(Objects::new(pad(1)).configuration("metadata/generation", json!(2)), "not ready: NotLookedAtYet")]
#[case::without_stage(
    Objects::new(pad(1)).configuration("status/conditions", not_ready("StageNotFound")),
    "not ready: StageNotFound"
)]
#[case::take_homes_refused(refused_take_homes(pad(1)), "not ready: TakeHomeRefused")]
#[case::take_homes_refused_and_retried(
    refused_take_homes(requested(pad(1), "2026-03-01T13:00:00Z")),
    "ready"
)]
#[case::take_homes_refused_and_a_webhook(
    refused_take_homes(requested(pad(1), DELIVERY)),
    "not ready: TakeHomeRefused"
)]
fn the_configuration_is_observed(#[case] objects: Objects, #[case] expected: &str) {
    let found = match objects.build().state.configuration {
        RuleState::NotFound { .. } => "not found".into(),
        RuleState::Suspended => "suspended".into(),
        RuleState::NotReady { reason, .. } => format!("not ready: {reason}"),
        RuleState::Ready(_) => "ready".to_owned(),
    };
    assert_eq!(found, expected);
}

/// Returns the names of the flags that are set.
fn flags(state: &PadState) -> String {
    let pad = &state.pad;
    let flags = [
        ("requested", pad.requested),
        ("by a person", pad.asked_by_person),
        ("webhook", state.event.is_some()),
        ("linked", pad.linked),
        ("recorded", pad.recorded),
        ("waits for room", pad.waits_for_room),
        ("deleting", pad.deleting),
        ("finalizer", pad.finalizer),
        ("attempt", pad.attempt.is_some()),
        ("pad", pad.pad_id.is_some()),
        ("pad was deleted", pad.pad_was_deleted),
        ("configuration changed", pad.configuration_changed),
        ("sibling is deleted", pad.sibling_terminating),
        ("take-home", state.wants_take_home),
        ("judge", state.judge),
        ("read", state.read_requested),
        ("archived", state.archived),
        ("erased", state.erased),
        ("other installations", state.ownership.look),
        ("expired", state.ttl == TtlState::Expired),
    ];
    flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect::<Vec<_>>().join(", ")
}

#[rstest]
#[case::of_a_webhook(Objects::new(pad(1)), "webhook, configuration changed")]
#[case::manual(
    Objects::new({
        let mut pad = pad(1);
        pad["spec"]["trigger"] = json!({"source": "Manual"});
        pad
    }),
    "configuration changed"
)]
#[case::requested_by_a_person(
    Objects::new(requested(open(1), "2026-03-01T13:00:00Z")),
    "requested, by a person, linked, attempt, pad"
)]
#[case::requested_by_a_webhook(
    Objects::new(requested(open(1), DELIVERY)),
    "requested, webhook, linked, attempt, pad"
)]
#[case::request_was_handled(
    Objects::new({
        let mut pad = requested(open(1), DELIVERY);
        pad["status"]["lastHandledReconcileAt"] = json!(DELIVERY);
        pad
    }),
    "linked, attempt, pad"
)]
#[case::waits_for_quota(
    Objects::new(with_status(pad(1), "Pending", "QuotaExceeded", json!({}))),
    "webhook, waits for room"
)]
#[case::waits_for_the_service(
    Objects::new(with_status(pad(1), "Pending", "LeverUnavailable", json!({}))),
    "webhook"
)]
#[case::created(
    Objects::new(with_finalizer(created(pad(1), "PADA"))),
    "webhook, finalizer, attempt, pad, configuration changed"
)]
#[case::pad_was_deleted(
    Objects::new(with_status(created(pad(1), "PADA"), "Ended", "PadDeleted", json!({}))),
    "recorded, attempt, pad, pad was deleted"
)]
#[case::failed_with_another_configuration(
    Objects::new(with_status(pad(1), "Failed", "InvalidRequest", json!({})))
        .configuration("metadata/uid", json!("another-uid")),
    "configuration changed"
)]
#[case::failed_with_this_configuration(
    Objects::new(with_status(pad(1), "Failed", "InvalidRequest", json!({}))),
    ""
)]
#[case::deleted(Objects::new(deleted(with_finalizer(open(1)))), "linked, deleting, finalizer, attempt, pad")]
#[case::beside_a_deleted_pad(
    Objects::new(open(1)).beside(deleted(with_finalizer(open(2)))),
    "linked, attempt, pad, sibling is deleted"
)]
#[case::beside_a_pad_without_cleanup(Objects::new(open(1)).beside(deleted(open(2))), "linked, attempt, pad")]
#[case::take_home(
    Objects::new(open(1)).configuration("spec/type", json!("TakeHome")),
    "linked, attempt, pad, take-home"
)]
#[case::hints(
    [Hint::Judge, Hint::Record, Hint::Archived, Hint::Erased, Hint::OtherInstallations, Hint::Expired]
        .into_iter()
        .fold(Objects::new(open(1)), Objects::hint),
    "linked, attempt, pad, judge, read, archived, erased, other installations"
)]
#[case::expired(expired("TagMissing", |_| {}).hint(Hint::Expired), "expired")]
fn the_pad_is_observed(#[case] objects: Objects, #[case] expected: &str) {
    assert_eq!(flags(&objects.build().state), expected);
}

/// Returns the phase, the reason, and the conditions with their status and reason, except those that say the same.
fn report(status: &PadStatus) -> String {
    let phase = status.phase.map(|phase| format!("{phase:?}")).unwrap_or_default();
    let conditions = status.conditions.iter().map(|one| {
        let mark = if one.status == condition::Status::True { "+" } else { "-" };
        let reason = if Some(&one.reason) == status.reason.as_ref() { "" } else { one.reason.as_str() };
        format!("{mark}{}{}{reason}", one.type_, if reason.is_empty() { "" } else { ":" })
    });
    let mut conditions: Vec<String> = conditions.collect();
    conditions.sort_unstable_by(|a, b| a[1..].cmp(&b[1..]));
    format!("{phase}/{} {}", status.reason.as_deref().unwrap_or_default(), conditions.join(" "))
}

fn waiting(reason: Reason) -> Outcome {
    Outcome::Waiting(reason, "m".into())
}

fn ended(record: WriteBackState) -> Outcome {
    Outcome::Ended(record)
}

/// Columns: Pad before, outcome, phase and conditions after.
#[rstest]
#[case::waits(
    pad(1),
    waiting(Reason::LeverUnavailable),
    "Pending/LeverUnavailable -LinkAdded -PadCreated -Ready +Reconciling"
)]
#[case::waits_for_a_person(
    pad(1),
    waiting(Reason::LeverUnauthorized),
    "Pending/LeverUnauthorized -LinkAdded -PadCreated -Ready +Stalled"
)]
#[case::suspended(
    pad(1),
    waiting(Reason::Suspended),
    "Pending/Suspended -LinkAdded -PadCreated -Ready +Reconciling +Suspended"
)]
#[case::waits_with_a_pad(
    created(pad(1), "PADA"),
    waiting(Reason::LeverUnavailable),
    "Pending/LeverUnavailable -LinkAdded +PadCreated:Created -Ready +Reconciling"
)]
#[case::skipped(
    pad(1),
    Outcome::Skipped(Reason::TagMissing, "m".into()),
    "Skipped/TagMissing -LinkAdded -PadCreated +Ready"
)]
#[case::failed(
    pad(1),
    Outcome::Failed(Reason::InvalidRequest, "m".into()),
    "Failed/InvalidRequest -LinkAdded -PadCreated -Ready +Stalled"
)]
#[case::open(
    created(pad(1), "PADA"),
    Outcome::Open,
    "Open/Open +LinkAdded:Linked +PadCreated:Created +Ready"
)]
#[case::started(open(1), Outcome::Started, "Started/Started +LinkAdded:Linked +PadCreated:Created +Ready")]
#[case::ended_and_written(
    open(1),
    ended(WriteBackState::Written),
    "Ended/Ended +LinkAdded:Linked +PadCreated:Created +Ready +RecordAdded:Written"
)]
#[case::ended_without_record(
    open(1),
    ended(WriteBackState::NotRequested),
    "Ended/Ended +LinkAdded:Linked +PadCreated:Created +Ready +RecordAdded:NotAsked"
)]
#[case::ended_and_pending(
    open(1),
    ended(WriteBackState::Pending(Reason::LeverUnavailable, "m".into())),
    "Ended/Ended +LinkAdded:Linked +PadCreated:Created +Ready -RecordAdded:LeverUnavailable"
)]
#[case::pad_deleted(
    open(1),
    Outcome::PadDeleted,
    "Ended/PadDeleted +LinkAdded:Linked +PadCreated:Created +Ready"
)]
#[case::ended_unlinked(
    created(pad(1), "PADA"),
    Outcome::EndedUnlinked,
    "Ended/Ended -LinkAdded +PadCreated:Created +Ready -RecordAdded:Cancelled"
)]
#[case::owned_elsewhere(
    open(1),
    Outcome::Skipped(Reason::OwnedByAnotherInstallation, "m".into()),
    "Skipped/OwnedByAnotherInstallation -LinkAdded -PadCreated +Ready"
)]
#[case::kept(open(1), Outcome::Keep, "Open/Open +Ready")]
fn an_outcome_is_reported(#[case] pad: Value, #[case] outcome: Outcome, #[case] expected: &str) {
    let after = Objects::new(pad).build().status(&outcome).unwrap();
    assert_eq!(report(&after), expected);
}

#[rstest]
#[case::undecided(Outcome::NoDecision)]
#[case::stale(Outcome::StaleRead)]
fn without_a_decision_no_status_is_written(#[case] outcome: Outcome) {
    assert_eq!(Objects::new(open(1)).build().status(&outcome), None);
}
