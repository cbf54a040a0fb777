//! The overview as text: what there is, what needs a person, and what goes on alone.

use crate::cluster::Seen;
use comfy_table::{Table, presets};
use jiff::Timestamp;
use kube::ResourceExt;
use pad_operator::api::condition::{Condition, Status, find, is_true, types};
use pad_operator::api::connection::Quota;
use pad_operator::api::pad::Phase;
use pad_operator::api::{HasConditions, LeverConnection, Pad, PadConfiguration};
use std::collections::BTreeMap;
use std::fmt::Write;

/// How many Pads of one trouble are named.
const NAMED: usize = 3;
/// How many open interviews are listed.
const LISTED: usize = 15;

/// The overview, as of now.
pub fn text(seen: &Seen, now: Timestamp) -> String {
    let nothing = seen.connections.is_empty() && seen.configurations.is_empty() && seen.pads.is_empty();
    if nothing && seen.undecodable.is_empty() {
        return match &seen.namespace {
            Some(namespace) => format!(
                "Nothing in namespace {namespace}: no LeverConnection, no PadConfiguration, no Pad.\n\
                 `kubectl pad status --all-namespaces` looks everywhere; a LeverConnection is where to begin.\n"
            ),
            None => "Nothing in this cluster yet: a LeverConnection is where to begin.\n".into(),
        };
    }
    let mut out = String::new();
    let mut orphans: Vec<&PadConfiguration> = seen.configurations.iter().collect();
    for connection in &seen.connections {
        let _ = writeln!(out, "LeverConnection {}: {}", seen.name(connection), of_connection(connection));
        let (mine, others) = orphans.into_iter().partition(|rule| {
            rule.namespace() == connection.namespace()
                && rule.spec.connection_ref.name == connection.name_any()
        });
        orphans = others;
        let mine: Vec<&PadConfiguration> = mine;
        configurations(&mut out, seen, &mine);
        if mine.is_empty() {
            let _ = writeln!(out, "  no PadConfiguration: nobody gets a pad");
        }
    }
    if !orphans.is_empty() {
        let _ = writeln!(out, "No LeverConnection for:");
        configurations(&mut out, seen, &orphans);
    }
    if !seen.undecodable.is_empty() {
        let _ = writeln!(out, "\nDo not decode and are skipped; fix the field or delete the object:");
        for fault in &seen.undecodable {
            let _ = writeln!(out, "  {fault}");
        }
    }
    let troubles = troubles(seen);
    list(&mut out, "Needs a person", &troubles, now, |trouble| trouble.needs_person);
    list(&mut out, "Goes on by itself", &troubles, now, |trouble| !trouble.needs_person);
    open_pads(&mut out, seen, now);
    if troubles.is_empty() && seen.undecodable.is_empty() {
        let _ = writeln!(out, "\nNothing to do.");
    }
    out
}

impl Seen {
    /// What an object is called here.
    fn name(&self, object: &impl ResourceExt) -> String {
        match (&self.namespace, object.namespace()) {
            (None, Some(namespace)) => format!("{namespace}/{}", object.name_any()),
            _ => object.name_any(),
        }
    }
}

fn of_connection(connection: &LeverConnection) -> String {
    let mut parts = vec![state(connection)];
    let Some(status) = &connection.status else { return parts.concat() };
    parts.extend(status.organization.as_ref().map(|name| format!("organization {name}")));
    if let Some(webhook) = find(&status.conditions, types::WEBHOOK_VERIFIED) {
        parts.push(match webhook.status {
            Status::True => "webhook verified".into(),
            _ => format!("webhook: {}", webhook.reason),
        });
    }
    parts.extend(status.quota.as_ref().map(of_quota));
    parts.join("; ")
}

fn of_quota(quota: &Quota) -> String {
    match (quota.remaining, quota.limit) {
        (Some(remaining), Some(limit)) => format!("{remaining} of {limit} pads left"),
        (Some(remaining), None) => format!("{remaining} pads left"),
        (None, _) => "pads without limit".into(),
    }
}

fn configurations(out: &mut String, seen: &Seen, rules: &[&PadConfiguration]) {
    for rule in rules {
        let spec = &rule.spec;
        let _ = writeln!(
            out,
            "  PadConfiguration {}: {}; {:?} + tag {:?} -> {:?}; {}",
            seen.name(*rule),
            state(*rule),
            spec.stage,
            spec.tag,
            spec.type_,
            counts(seen, rule)
        );
    }
}

/// Pads by phase.
fn counts(seen: &Seen, rule: &PadConfiguration) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for pad in seen.pads.iter().filter(|pad| {
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

/// Ready, or why not; and whether it is suspended.
fn state(object: &impl HasConditions) -> String {
    let conditions = object.conditions();
    let ready = match find(conditions, types::READY) {
        Some(ready) if ready.status == Status::True => "Ready".to_owned(),
        Some(ready) => format!("not Ready, {}", ready.reason),
        None => "not looked at yet".to_owned(),
    };
    match is_true(conditions, types::SUSPENDED) {
        true => format!("{ready}, suspended"),
        false => ready,
    }
}

/// Why something is not as it should be.
struct Trouble {
    /// What it is about: several Pads with the same reason are one trouble.
    names: Vec<String>,
    kind: &'static str,
    reason: String,
    message: String,
    since: Option<Timestamp>,
    needs_person: bool,
    /// What to type once it is mended.
    then: Option<String>,
}

impl Trouble {
    fn of(kind: &'static str, name: String, condition: &Condition, needs_person: bool) -> Self {
        Self {
            names: vec![name],
            kind,
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            since: Some(condition.last_transition_time),
            needs_person,
            then: None,
        }
    }
}

fn troubles(seen: &Seen) -> Vec<Trouble> {
    let mut all = Vec::new();
    for connection in &seen.connections {
        let name = || seen.name(connection);
        all.extend(of_ready("LeverConnection", name(), connection));
        let told = |type_| find(connection.conditions(), type_);
        if let Some(webhook) = told(types::WEBHOOK_VERIFIED).filter(|webhook| webhook.status == Status::False)
        {
            all.push(Trouble::of("LeverConnection", name(), webhook, true));
        }
        if let Some(quota) = told(types::QUOTA_AVAILABLE)
            .filter(|quota| quota.status == Status::False || quota.reason == "QuotaLow")
        {
            all.push(Trouble::of("LeverConnection", name(), quota, true));
        }
    }
    for connection in &seen.connections {
        let shared =
            find(connection.conditions(), types::EXCLUSIVE).filter(|one| one.status == Status::False);
        all.extend(shared.map(|one| Trouble::of("LeverConnection", seen.name(connection), one, true)));
    }
    for rule in &seen.configurations {
        all.extend(of_ready("PadConfiguration", seen.name(rule), rule));
        let twin = find(rule.conditions(), types::READY).filter(|ready| ready.reason == "Duplicate");
        all.extend(twin.map(|ready| Trouble::of("PadConfiguration", seen.name(rule), ready, true)));
    }
    all.extend(of_pads(seen));
    all
}

/// What Ready, Stalled and Reconciling say; None: all is well.
fn of_ready(kind: &'static str, name: String, object: &impl HasConditions) -> Option<Trouble> {
    let Some(ready) = find(object.conditions(), types::READY) else {
        return Some(Trouble {
            names: vec![name],
            kind,
            reason: "NotLookedAt".into(),
            message: "The operator has not looked at it yet. If that lasts, see whether it runs and watches this namespace.".into(),
            since: None,
            needs_person: false,
            then: None,
        });
    };
    let needs_person = is_true(object.conditions(), types::STALLED);
    (ready.status != Status::True).then(|| Trouble::of(kind, name, ready, needs_person))
}

/// The Pads, those with the same reason together, the oldest trouble first.
fn of_pads(seen: &Seen) -> Vec<Trouble> {
    let mut each: Vec<Trouble> = seen.pads.iter().filter_map(|pad| of_pad(seen, pad)).collect();
    each.sort_by_key(|trouble| trouble.since);
    let mut grouped: Vec<Trouble> = Vec::new();
    for trouble in each {
        let same = |other: &&mut Trouble| {
            other.reason == trouble.reason && other.needs_person == trouble.needs_person
        };
        match grouped.iter_mut().find(same) {
            Some(group) => group.names.extend(trouble.names),
            None => grouped.push(trouble),
        }
    }
    grouped
}

fn of_pad(seen: &Seen, pad: &Pad) -> Option<Trouble> {
    let mut trouble = of_ready("Pad", seen.name(pad), pad)?;
    if pad.phase() == Some(Phase::Failed) {
        let namespace = pad.namespace().unwrap_or_default();
        trouble.then = Some(format!("kubectl pad retry {} --namespace {namespace}", pad.name_any()));
    }
    Some(trouble)
}

fn list(out: &mut String, title: &str, all: &[Trouble], now: Timestamp, which: impl Fn(&Trouble) -> bool) {
    let chosen: Vec<&Trouble> = all.iter().filter(|trouble| which(trouble)).collect();
    if chosen.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}:");
    for trouble in chosen {
        let named = trouble.names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more = match trouble.names.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let since = trouble.since.map(|since| format!(", for {}", age(since, now))).unwrap_or_default();
        let _ = writeln!(out, "  {} {named}{more}: {}{since}", trouble.kind, trouble.reason);
        let _ = writeln!(out, "    {}", trouble.message.replace('\n', "\n    "));
        if let Some(then) = &trouble.then {
            let _ = writeln!(out, "    Once it is mended: {then}");
        }
    }
}

fn open_pads(out: &mut String, seen: &Seen, now: Timestamp) {
    let mut open: Vec<&Pad> =
        seen.pads.iter().filter(|pad| matches!(pad.phase(), Some(Phase::Open | Phase::Started))).collect();
    if open.is_empty() {
        return;
    }
    open.sort_by_key(|pad| std::cmp::Reverse(pad.metadata.creation_timestamp.as_ref().map(|time| time.0)));
    let rows = open.iter().take(LISTED).map(|pad| {
        let status = pad.status.clone().unwrap_or_default();
        let phase = status.phase.map(|phase| format!("{phase:?}")).unwrap_or_default();
        let since = status.started_at.or(status.linked_at).map(|since| age(since, now)).unwrap_or_default();
        [seen.name(*pad), status.candidate.unwrap_or_default(), phase, since, status.url.unwrap_or_default()]
    });
    let _ = write!(out, "\n{}", table(["PAD", "CANDIDATE", "PHASE", "FOR", "LINK"], rows));
    if let Some(more) = open.len().checked_sub(LISTED).filter(|more| *more > 0) {
        let _ = writeln!(out, "and {more} more: kubectl get pads");
    }
}

/// A table as kubectl prints one.
pub fn table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// How long ago, in one unit, as kubectl says it.
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

    fn seen() -> Seen {
        let waits = [
            condition("Ready", "False", "QuotaExceeded", "No pads left."),
            condition("Reconciling", "True", "QuotaExceeded", ""),
        ];
        let failed = [
            condition("Ready", "False", "InvalidRequest", "Bad language."),
            condition("Stalled", "True", "InvalidRequest", ""),
        ];
        let mut pads: Vec<Pad> = (1..=5).map(|n| pad(&format!("w{n}"), "Pending", &waits)).collect();
        pads.push(pad("f1", "Failed", &failed));
        pads.push(pad("o1", "Open", &[condition("Ready", "True", "Open", "")]));
        let webhook =
            condition("WebhookVerified", "False", "AwaitingVerification", "Paste the URL into Lever.");
        Seen {
            connections: vec![connection(&[condition("Ready", "True", "Connected", ""), webhook])],
            configurations: vec![rule()],
            pads,
            undecodable: Vec::new(),
            namespace: Some("hiring".into()),
        }
    }

    #[test]
    fn it_says_what_there_is_and_what_to_do() {
        let text = text(&seen(), now());
        for line in [
            "LeverConnection acme: Ready; organization Acme; webhook: AwaitingVerification; 87 of 120 pads left\n",
            "  PadConfiguration phone-screen: Ready; \"Phone Screen\" + tag \"coderpad\" -> Live; 1 failed, 1 open, 5 pending\n",
            "Needs a person:\n  LeverConnection acme: AwaitingVerification, for 20m\n    Paste the URL into Lever.\n",
            "  Pad f1: InvalidRequest, for 20m\n    Bad language.\n    Once it is mended: kubectl pad retry f1 --namespace hiring\n",
            "Goes on by itself:\n  Pad w1, w2, w3 and 2 more: QuotaExceeded, for 20m\n    No pads left.\n",
            "PAD  CANDIDATE  PHASE  FOR  LINK\no1   Ada        Open   10m  https://pad\n",
        ] {
            assert!(text.contains(line), "{line}is not in\n{text}");
        }
        assert!(!text.contains("Nothing to do"), "{text}");
    }

    #[test]
    fn objects_that_do_not_decode_are_named() {
        let undecodable = vec!["Pad hiring/odd: status.phase".into()];
        let text = text(&Seen { undecodable, ..Seen::default() }, now());
        assert!(text.contains("delete the object:\n  Pad hiring/odd: status.phase\n"), "{text}");
        assert!(!text.contains("Nothing"), "{text}");
    }

    #[test]
    fn all_well_is_said_in_a_word() {
        let mut seen = seen();
        seen.connections = vec![connection(&[condition("Ready", "True", "Connected", "")])];
        seen.pads.retain(|pad| pad.name_any() == "o1");
        assert!(text(&seen, now()).ends_with("\nNothing to do.\n"));
    }

    #[test]
    fn accounts_and_rules_that_are_served_twice_need_a_person() {
        let mut seen = seen();
        let exclusive = condition("Exclusive", "False", "AccountShared", "Another installation serves it.");
        seen.connections = vec![connection(&[condition("Ready", "True", "Connected", ""), exclusive])];
        let status = json!({"conditions": [condition("Ready", "True", "Duplicate", "Also served by twin.")]});
        let spec = json!({"connectionRef": {"name": "acme"}});
        seen.configurations = vec![object("PadConfiguration", "phone-screen", spec, status)];
        let text = text(&seen, now());
        for line in [
            "LeverConnection acme: AccountShared, for 20m\n    Another installation serves it.\n",
            "PadConfiguration phone-screen: Duplicate, for 20m\n    Also served by twin.\n",
        ] {
            assert!(text.contains(line), "{line}is not in\n{text}");
        }
    }

    #[test]
    fn what_nobody_has_looked_at_is_told() {
        let mut seen = seen();
        seen.connections[0].status = None;
        seen.namespace = None;
        let text = text(&seen, now());
        assert!(text.contains("LeverConnection hiring/acme: not looked at yet\n"), "{text}");
        assert!(
            text.contains("hiring/acme: NotLookedAt\n    The operator has not looked at it yet."),
            "{text}"
        );
    }

    #[test]
    fn where_there_is_nothing_it_says_where_to_begin() {
        let nothing = Seen { namespace: Some("hiring".into()), ..Seen::default() };
        assert!(text(&nothing, now()).starts_with("Nothing in namespace hiring"));
    }
}
