//! Reads the status of resources, and checks the invariants of every status that a test sees.

use serde_json::Value;

/// Returns the condition of a type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn text_of<'a>(object: &'a Value, kind: &str, field: &str) -> &'a str {
    condition(object, kind).and_then(|condition| condition[field].as_str()).unwrap_or_default()
}

/// Returns `True`, `False` or `Unknown`; empty if there is no such condition.
pub fn status_of<'a>(object: &'a Value, kind: &str) -> &'a str {
    text_of(object, kind, "status")
}

pub fn reason_of<'a>(object: &'a Value, kind: &str) -> &'a str {
    text_of(object, kind, "reason")
}

pub fn message_of<'a>(object: &'a Value, kind: &str) -> &'a str {
    text_of(object, kind, "message")
}

/// Returns `True/Connected`, for comparisons.
pub fn brief(object: &Value, kind: &str) -> String {
    format!("{}/{}", status_of(object, kind), reason_of(object, kind))
}

/// Returns `Pending/QuotaExceeded`, for comparisons.
pub fn phase(pad: &Value) -> String {
    let text = |field: &str| pad["status"][field].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text("phase"), text("reason"))
}

/// Asserts what kubectl wait, Flux and Argo CD rely on, and that the phase of a Pad agrees with its conditions.
pub fn assert_sound(object: &Value) {
    let status = &object["status"];
    let generation = object["metadata"]["generation"].as_i64().unwrap();
    let observed = status["observedGeneration"].as_i64();
    let observed = observed.unwrap_or_else(|| panic!("observedGeneration is missing:\n{object:#}"));
    if status["conditions"].as_array().is_none_or(Vec::is_empty) {
        // Only the schema's default, and what the receiver stores on a connection.
        assert_eq!(observed, -1, "{object:#}");
        return;
    }
    assert!((1..=generation).contains(&observed), "{object:#}");
    for one in status["conditions"].as_array().unwrap() {
        assert_eq!(one["observedGeneration"], observed, "{one:#} of\n{object:#}");
        assert!(!one["reason"].as_str().unwrap().is_empty(), "{one:#}");
        assert!(!one["message"].as_str().unwrap().is_empty(), "{one:#} of\n{object:#}");
    }
    crate::reasons::assert_documented(object);
    let is_true = |kind: &str| status_of(object, kind) == "True";
    let progress = [is_true("Reconciling"), is_true("Stalled")];
    match status_of(object, "Ready") {
        "True" => assert_eq!(progress, [false, false], "{object:#}"),
        "False" => assert!(progress[0] != progress[1], "exactly one of Reconciling and Stalled:\n{object:#}"),
        other => panic!("Ready is {other:?}:\n{object:#}"),
    }
    if object["kind"] == "Pad" {
        assert_phase(object);
    }
}

/// Phases and conditions as in the contract's table.
fn assert_phase(pad: &Value) {
    const NEEDS_A_PERSON: [&str; 5] = [
        "LeverUnauthorized",
        "LeverForbidden",
        "InterviewUnauthorized",
        "InterviewForbidden",
        "ConfigurationNotFound",
    ];
    let reason = reason_of(pad, "Ready");
    assert_eq!(pad["status"]["reason"], reason, "{pad:#}");
    let progress = match pad["status"]["phase"].as_str().unwrap_or_default() {
        "Pending" if NEEDS_A_PERSON.contains(&reason) => "Stalled",
        "Pending" => "Reconciling",
        "Failed" => "Stalled",
        "Open" | "Started" | "Ended" | "Skipped" => "Ready",
        other => panic!("phase {other:?}:\n{pad:#}"),
    };
    assert_eq!(status_of(pad, progress), "True", "{pad:#}");
}
