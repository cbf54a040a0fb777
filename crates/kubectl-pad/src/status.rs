//! The output of `kubectl pad status`: all objects, problems that need action, and problems that the operator resolves
//! automatically.

use crate::cluster::Snapshot;
use api::condition::{Condition, Status, find, is_true, types};
use api::connection::Quota;
use api::pad::Phase;
use api::reason::{ConditionReason as _, ConnectionReason};
use api::{HasConditions, LeverConnection, Pad, PadConfiguration};
use comfy_table::{Table, presets};
use jiff::Timestamp;
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Maximum number of names that are listed per problem.
const MAX_NAMES_PER_PROBLEM: usize = 3;
/// Maximum number of open pads in the table.
const MAX_OPEN_PADS_LISTED: usize = 15;

/// Returns the output for the snapshot. The ages are relative to `now`.
pub fn text(snapshot: &Snapshot, now: Timestamp) -> String {
    let nothing =
        snapshot.connections.is_empty() && snapshot.configurations.is_empty() && snapshot.pads.is_empty();
    if nothing && snapshot.undecodable.is_empty() {
        return match &snapshot.namespace {
            Some(namespace) => format!(
                "Namespace {namespace} contains no LeverConnection, PadConfiguration or Pad. To start, create a \
                 LeverConnection.\nTo show all namespaces: kubectl pad status --all-namespaces\n"
            ),
            None => "The cluster contains no LeverConnection, PadConfiguration or Pad. To start, create a LeverConnection.\n".into(),
        };
    }
    let mut out = String::new();
    let mut unassigned: Vec<&PadConfiguration> = snapshot.configurations.iter().collect();
    for connection in &snapshot.connections {
        let _ = writeln!(
            out,
            "LeverConnection {}: {}",
            snapshot.name(connection),
            connection_summary(connection)
        );
        let (own, others) = unassigned.into_iter().partition(|rule| {
            rule.namespace() == connection.namespace()
                && rule.spec.connection_ref.name == connection.name_any()
        });
        unassigned = others;
        let own: Vec<&PadConfiguration> = own;
        write_configurations(&mut out, snapshot, &own);
        if own.is_empty() {
            let _ = writeln!(out, "  no PadConfiguration: no pads are created");
        }
    }
    if !unassigned.is_empty() {
        let _ = writeln!(out, "LeverConnection not found:");
        write_configurations(&mut out, snapshot, &unassigned);
    }
    if !snapshot.undecodable.is_empty() {
        let _ =
            writeln!(out, "\nSkipped because they cannot be decoded; fix the field or delete the object:");
        for fault in &snapshot.undecodable {
            let _ = writeln!(out, "  {fault}");
        }
    }
    let problems = problems(snapshot);
    write_problems(&mut out, "Action needed", &problems, now, |problem| problem.needs_user_action);
    write_problems(&mut out, "Continues automatically", &problems, now, |problem| !problem.needs_user_action);
    write_open_pads(&mut out, snapshot, now);
    if problems.is_empty() && snapshot.undecodable.is_empty() {
        let _ = writeln!(out, "\nNo action needed.");
    }
    out
}

impl Snapshot {
    /// Returns the name of the object, with its namespace if the output covers all namespaces.
    fn name(&self, object: &impl ResourceExt) -> String {
        match (&self.namespace, object.namespace()) {
            (None, Some(namespace)) => format!("{namespace}/{}", object.name_any()),
            _ => object.name_any(),
        }
    }
}

fn connection_summary(connection: &LeverConnection) -> String {
    let mut parts = vec![readiness(connection)];
    let Some(status) = &connection.status else { return parts.concat() };
    parts.extend(status.organization.as_ref().map(|name| format!("organization {name}")));
    if let Some(webhook) = find(&status.conditions, types::WEBHOOK_VERIFIED) {
        parts.push(match webhook.status {
            Status::True => "webhook verified".into(),
            _ => format!("webhook: {}", webhook.reason),
        });
    }
    parts.extend(status.quota.as_ref().map(quota_summary));
    parts.join("; ")
}

fn quota_summary(quota: &Quota) -> String {
    match (quota.remaining, quota.limit) {
        (Some(remaining), Some(limit)) => format!("{remaining} of {limit} pads left"),
        (Some(remaining), None) => format!("{remaining} pads left"),
        (None, _) => "unlimited pads".into(),
    }
}

fn write_configurations(out: &mut String, snapshot: &Snapshot, rules: &[&PadConfiguration]) {
    for rule in rules {
        let spec = &rule.spec;
        let _ = writeln!(
            out,
            "  PadConfiguration {}: {}; {:?} + tag {:?} -> {:?}; {}",
            snapshot.name(*rule),
            readiness(*rule),
            spec.stage,
            spec.tag,
            spec.type_,
            counts(snapshot, rule)
        );
    }
}

/// Returns the number of Pads in each phase.
fn counts(snapshot: &Snapshot, rule: &PadConfiguration) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for pad in snapshot.pads.iter().filter(|pad| {
        pad.namespace() == rule.namespace() && pad.spec.configuration_ref.name == rule.name_any()
    }) {
        let phase = pad.phase().map_or_else(|| "pending".into(), |phase| format!("{phase:?}").to_lowercase());
        *counts.entry(phase).or_default() += 1;
    }
    match counts.is_empty() {
        true => "no pads".into(),
        false => counts.iter().map(|(phase, n)| format!("{n} {phase}")).collect::<Vec<_>>().join(", "),
    }
}

/// Returns `Ready`, or the reason why the object is not ready; and whether it is suspended.
fn readiness(object: &impl HasConditions) -> String {
    let conditions = object.conditions();
    let ready = match find(conditions, types::READY) {
        Some(ready) if ready.status == Status::True => "Ready".to_owned(),
        Some(ready) => format!("not Ready, {}", ready.reason),
        None => "not reconciled yet".to_owned(),
    };
    match is_true(conditions, types::SUSPENDED) {
        true => format!("{ready}, suspended"),
        false => ready,
    }
}

/// A problem of one object, or of several Pads with the same reason.
struct StatusProblem {
    /// Affected objects.
    names: Vec<String>,
    kind: &'static str,
    reason: String,
    message: String,
    since: Option<Timestamp>,
    needs_user_action: bool,
    /// Command to run after the problem is fixed.
    next_command: Option<String>,
}

impl StatusProblem {
    fn from_condition(
        kind: &'static str,
        name: String,
        condition: &Condition,
        needs_user_action: bool,
    ) -> Self {
        Self {
            names: vec![name],
            kind,
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            since: Some(condition.last_transition_time),
            needs_user_action,
            next_command: None,
        }
    }
}

fn problems(snapshot: &Snapshot) -> Vec<StatusProblem> {
    let mut all = Vec::new();
    for connection in &snapshot.connections {
        let name = || snapshot.name(connection);
        all.extend(readiness_problem("LeverConnection", name(), connection));
        let condition = |type_| find(connection.conditions(), type_);
        if let Some(webhook) =
            condition(types::WEBHOOK_VERIFIED).filter(|webhook| webhook.status == Status::False)
        {
            all.push(StatusProblem::from_condition("LeverConnection", name(), webhook, true));
        }
        if let Some(quota) = condition(types::QUOTA_AVAILABLE)
            .filter(|quota| quota.status == Status::False || quota.reason == "QuotaLow")
        {
            all.push(StatusProblem::from_condition("LeverConnection", name(), quota, true));
        }
    }
    for connection in &snapshot.connections {
        let conflict = find(connection.conditions(), types::EXCLUSIVE)
            .filter(|exclusive| exclusive.status == Status::False);
        all.extend(conflict.map(|exclusive| {
            StatusProblem::from_condition("LeverConnection", snapshot.name(connection), exclusive, true)
        }));
        let surprise = find(connection.conditions(), types::SERVICES_AS_EXPECTED)
            .filter(|as_expected| as_expected.status == Status::False);
        all.extend(surprise.map(|surprise| {
            let reason = ConnectionReason::parse(&surprise.reason);
            let needs_user_action = reason.is_none_or(|reason| reason.needs_user_action());
            let name = snapshot.name(connection);
            StatusProblem::from_condition("LeverConnection", name, surprise, needs_user_action)
        }));
    }
    for rule in &snapshot.configurations {
        all.extend(readiness_problem("PadConfiguration", snapshot.name(rule), rule));
        let duplicate = find(rule.conditions(), types::READY).filter(|ready| ready.reason == "Duplicate");
        all.extend(duplicate.map(|ready| {
            StatusProblem::from_condition("PadConfiguration", snapshot.name(rule), ready, true)
        }));
    }
    all.extend(pad_problems(snapshot));
    all
}

/// Returns the problem that the conditions Ready and Stalled report; None: the object is ready.
fn readiness_problem(kind: &'static str, name: String, object: &impl HasConditions) -> Option<StatusProblem> {
    let Some(ready) = find(object.conditions(), types::READY) else {
        return Some(StatusProblem {
            names: vec![name],
            kind,
            reason: "NotLookedAt".into(),
            message: "The operator has not reconciled it yet. If this persists, check that the operator is running and watches this namespace.".into(),
            since: None,
            needs_user_action: false,
            next_command: None,
        });
    };
    let needs_user_action = is_true(object.conditions(), types::STALLED);
    (ready.status != Status::True)
        .then(|| StatusProblem::from_condition(kind, name, ready, needs_user_action))
}

/// Returns the problems of all Pads, oldest first, with one problem for all Pads with the same reason.
fn pad_problems(snapshot: &Snapshot) -> Vec<StatusProblem> {
    let mut ungrouped: Vec<StatusProblem> =
        snapshot.pads.iter().filter_map(|pad| pad_problem(snapshot, pad)).collect();
    ungrouped.sort_by_key(|problem| problem.since);
    let mut grouped: Vec<StatusProblem> = Vec::new();
    for problem in ungrouped {
        let same = |other: &&mut StatusProblem| {
            other.reason == problem.reason && other.needs_user_action == problem.needs_user_action
        };
        match grouped.iter_mut().find(same) {
            Some(group) => group.names.extend(problem.names),
            None => grouped.push(problem),
        }
    }
    grouped
}

fn pad_problem(snapshot: &Snapshot, pad: &Pad) -> Option<StatusProblem> {
    let mut problem = readiness_problem("Pad", snapshot.name(pad), pad)?;
    if pad.phase() == Some(Phase::Failed) {
        let namespace = pad.namespace().unwrap_or_default();
        problem.next_command = Some(format!("kubectl pad retry {} --namespace {namespace}", pad.name_any()));
    }
    Some(problem)
}

fn write_problems(
    out: &mut String,
    title: &str,
    all: &[StatusProblem],
    now: Timestamp,
    filter: impl Fn(&StatusProblem) -> bool,
) {
    let chosen: Vec<&StatusProblem> = all.iter().filter(|problem| filter(problem)).collect();
    if chosen.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}:");
    for problem in chosen {
        let named = problem.names.iter().take(MAX_NAMES_PER_PROBLEM).cloned().collect::<Vec<_>>().join(", ");
        let more = match problem.names.len().saturating_sub(MAX_NAMES_PER_PROBLEM) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let since = problem.since.map(|since| format!(", for {}", age(since, now))).unwrap_or_default();
        let _ = writeln!(out, "  {} {named}{more}: {}{since}", problem.kind, problem.reason);
        let _ = writeln!(out, "    {}", problem.message.replace('\n', "\n    "));
        if let Some(command) = &problem.next_command {
            let _ = writeln!(out, "    After the fix: {command}");
        }
    }
}

fn write_open_pads(out: &mut String, snapshot: &Snapshot, now: Timestamp) {
    let mut open: Vec<&Pad> = snapshot
        .pads
        .iter()
        .filter(|pad| matches!(pad.phase(), Some(Phase::Open | Phase::Started)))
        .collect();
    if open.is_empty() {
        return;
    }
    open.sort_by_key(|pad| std::cmp::Reverse(pad.metadata.creation_timestamp.as_ref().map(|time| time.0)));
    let rows = open.iter().take(MAX_OPEN_PADS_LISTED).map(|pad| {
        let status = pad.status.clone().unwrap_or_default();
        let phase = status.phase.map(|phase| format!("{phase:?}")).unwrap_or_default();
        let since = status.started_at.or(status.linked_at).map(|since| age(since, now)).unwrap_or_default();
        [
            snapshot.name(*pad),
            status.candidate.unwrap_or_default(),
            phase,
            since,
            status.url.unwrap_or_default(),
        ]
    });
    let _ = write!(out, "\n{}", table(["PAD", "CANDIDATE", "PHASE", "FOR", "LINK"], rows));
    if let Some(more) = open.len().checked_sub(MAX_OPEN_PADS_LISTED).filter(|more| *more > 0) {
        let scope = match &snapshot.namespace {
            Some(namespace) => format!("--namespace {namespace}"),
            None => "--all-namespaces".into(),
        };
        let _ = writeln!(out, "and {more} more: kubectl get pads {scope}");
    }
}

/// Returns a table in the format of kubectl.
pub fn table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Returns the elapsed time in one unit, in the format of kubectl.
fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn now() -> Timestamp {
        "2026-01-02T12:00:00Z".parse().unwrap()
    }

    fn object<K: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: Value, status: Value) -> K {
        serde_json::from_value(json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": "hiring", "creationTimestamp": "2026-01-02T11:00:00Z"},
            "spec": spec, "status": status,
        }))
        .unwrap()
    }

    fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": type_, "status": status, "reason": reason, "message": message,
               "observedGeneration": 1, "lastTransitionTime": "2026-01-02T11:40:00Z"})
    }

    fn connection(conditions: &[Value]) -> LeverConnection {
        let secret = |key: &str| json!({"name": "acme", "key": key});
        let spec =
            json!({"lever": {"apiKeySecretRef": secret("a")}, "interview": {"apiKeySecretRef": secret("b")}});
        let quota = json!({"unlimited": false, "used": 33, "remaining": 87, "limit": 120});
        let status = json!({"organization": "Acme", "quota": quota, "conditions": conditions});
        object("LeverConnection", "acme", spec, status)
    }

    fn rule() -> PadConfiguration {
        let status = json!({"conditions": [condition("Ready", "True", "InUse", "")]});
        object("PadConfiguration", "phone-screen", json!({"connectionRef": {"name": "acme"}}), status)
    }

    fn pad(name: &str, phase: &str, conditions: &[Value]) -> Pad {
        let spec = json!({"configurationRef": {"name": "phone-screen"}, "opportunityID": name});
        let status = json!({"phase": phase, "candidate": "Ada", "url": "https://pad", "linkedAt": "2026-01-02T11:50:00Z",
                            "conditions": conditions});
        object("Pad", name, spec, status)
    }

    fn snapshot() -> Snapshot {
        let waiting = [
            condition("Ready", "False", "QuotaExceeded", "No pads left."),
            condition("Reconciling", "True", "QuotaExceeded", ""),
        ];
        let failed = [
            condition("Ready", "False", "InvalidRequest", "Bad language."),
            condition("Stalled", "True", "InvalidRequest", ""),
        ];
        let mut pads: Vec<Pad> = (1..=5).map(|n| pad(&format!("w{n}"), "Pending", &waiting)).collect();
        pads.push(pad("f1", "Failed", &failed));
        pads.push(pad("o1", "Open", &[condition("Ready", "True", "Open", "")]));
        let webhook =
            condition("WebhookVerified", "False", "AwaitingVerification", "Paste the URL into Lever.");
        Snapshot {
            connections: vec![connection(&[condition("Ready", "True", "Connected", ""), webhook])],
            configurations: vec![rule()],
            pads,
            undecodable: Vec::new(),
            namespace: Some("hiring".into()),
        }
    }

    #[test]
    fn status_lists_objects_problems_and_next_steps() {
        let text = text(&snapshot(), now());
        for line in [
            "LeverConnection acme: Ready; organization Acme; webhook: AwaitingVerification; 87 of 120 pads left\n",
            "  PadConfiguration phone-screen: Ready; \"Phone Screen\" + tag \"coderpad\" -> Live; 1 failed, 1 open, 5 pending\n",
            "Action needed:\n  LeverConnection acme: AwaitingVerification, for 20m\n    Paste the URL into Lever.\n",
            "  Pad f1: InvalidRequest, for 20m\n    Bad language.\n    After the fix: kubectl pad retry f1 --namespace hiring\n",
            "Continues automatically:\n  Pad w1, w2, w3 and 2 more: QuotaExceeded, for 20m\n    No pads left.\n",
            "PAD  CANDIDATE  PHASE  FOR  LINK\no1   Ada        Open   10m  https://pad\n",
        ] {
            assert!(text.contains(line), "{line}is not in\n{text}");
        }
        assert!(!text.contains("No action needed"), "{text}");
    }

    #[test]
    fn undecodable_objects_are_listed() {
        let undecodable = vec!["Pad hiring/odd: status.phase".into()];
        let text = text(&Snapshot { undecodable, ..Snapshot::default() }, now());
        assert!(text.contains("delete the object:\n  Pad hiring/odd: status.phase\n"), "{text}");
        assert!(!text.contains("No action needed"), "{text}");
    }

    #[test]
    fn no_problems_yields_no_action_needed() {
        let mut snapshot = snapshot();
        snapshot.connections = vec![connection(&[condition("Ready", "True", "Connected", "")])];
        snapshot.pads.retain(|pad| pad.name_any() == "o1");
        assert!(text(&snapshot, now()).ends_with("\nNo action needed.\n"));
    }

    #[test]
    fn shared_accounts_and_duplicate_rules_need_user_action() {
        let mut snapshot = snapshot();
        let exclusive = condition("Exclusive", "False", "AccountShared", "Another installation serves it.");
        snapshot.connections = vec![connection(&[condition("Ready", "True", "Connected", ""), exclusive])];
        let status = json!({"conditions": [condition("Ready", "True", "Duplicate", "Also served by twin.")]});
        let spec = json!({"connectionRef": {"name": "acme"}});
        snapshot.configurations = vec![object("PadConfiguration", "phone-screen", spec, status)];
        let text = text(&snapshot, now());
        for line in [
            "LeverConnection acme: AccountShared, for 20m\n    Another installation serves it.\n",
            "PadConfiguration phone-screen: Duplicate, for 20m\n    Also served by twin.\n",
        ] {
            assert!(text.contains(line), "{line}is not in\n{text}");
        }
    }

    #[test]
    fn surprises_are_listed_by_whether_a_person_must_act() {
        for (reason, title) in
            [("UnknownState", "\nAction needed:\n"), ("UnknownEventKind", "\nContinues automatically:\n")]
        {
            let surprise = condition("ServicesAsExpected", "False", reason, "It is unknown.");
            let mut snapshot = snapshot();
            snapshot.connections = vec![connection(&[condition("Ready", "True", "Connected", ""), surprise])];
            snapshot.pads.clear();
            let text = text(&snapshot, now());
            let line = format!("{title}  LeverConnection acme: {reason}, for 20m\n    It is unknown.\n");
            assert!(text.contains(&line), "{line}is not in\n{text}");
        }
    }

    #[test]
    fn objects_without_conditions_are_reported() {
        let mut snapshot = snapshot();
        snapshot.connections[0].status = None;
        snapshot.namespace = None;
        let text = text(&snapshot, now());
        assert!(text.contains("LeverConnection hiring/acme: not reconciled yet\n"), "{text}");
        assert!(
            text.contains("hiring/acme: NotLookedAt\n    The operator has not reconciled it yet."),
            "{text}"
        );
    }

    #[test]
    fn empty_namespace_yields_getting_started_hint() {
        let nothing = Snapshot { namespace: Some("hiring".into()), ..Snapshot::default() };
        assert!(text(&nothing, now()).starts_with("Namespace hiring contains no LeverConnection"));
    }
}
