//! Objects in, next command or status out: the path of a Pad through `observe`, `decide` and `status` without any
//! service. A row without a call ends in a status; the other rows end in the command that would call a service.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // This is how a test fails, in its helpers too.

use api::condition::{self, types};
use api::names::{CreateIntent, Reference, Series};
use api::{LeverConnection, Pad, PadConfiguration};
use engine::command::Command;
use engine::decide::decide;
use engine::hints::{Hint, PendingHints};
use engine::observe::{self, RelatedObjects};
use engine::status::status;
use jiff::Timestamp;
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

    /// Returns the rule, and the command or the phase and reason of the status.
    fn result(self) -> (&'static str, String) {
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
        let now: Timestamp = "2026-03-01T14:00:00Z".parse().unwrap();
        let state = observe::observe(&pad, &around, &others, &PendingHints::from_hints(self.hints), now);
        let decision = decide(&state);
        let Command::Done { outcome, .. } = &decision.command else {
            return (decision.rule, decision.command.name().to_owned());
        };
        let Some(after) = status(&pad, &state, outcome, configuration.as_deref(), now) else {
            return (decision.rule, "no status".into());
        };
        let unchanged = pad.status.as_ref() == Some(&after);
        let ready = condition::find(&after.conditions, types::READY).unwrap();
        let phase = after.phase.map(|phase| format!("{phase:?}")).unwrap_or_default();
        (decision.rule, format!("{phase}/{}{}", ready.reason, if unchanged { ", unchanged" } else { "" }))
    }
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
