//! Objects that the API server itself rejects, and the instruction in each error: everything that can be wrong in one
//! object.
//!
//! Each manifest of the tables is a valid one with one change, so that nothing else can be the cause.

use serde_json::{Value, json};
use testkit::resources::merge;

use crate::cluster::Cluster;

const NAMESPACE: &str = "refusals";

/// Returns a valid spec of a kind, without optional fields.
fn valid_spec(kind: &str) -> Value {
    match kind {
        "LeverConnection" => json!({
            "lever": {"apiKeySecretRef": {"name": "acme", "key": "lever-api-key"}},
            "interview": {"apiKeySecretRef": {"name": "acme", "key": "interview-api-key"}},
        }),
        "PadConfiguration" => json!({"connectionRef": {"name": "acme"}}),
        "Pad" => json!({"configurationRef": {"name": "phone-screen"}, "opportunityID": "6408dc54-0f8e"}),
        other => panic!("{other} is not known here"),
    }
}

fn manifest(kind: &str, name: &str, change: &Value) -> Value {
    let mut spec = valid_spec(kind);
    merge(&mut spec, change);
    json!({"apiVersion": "padoperator.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
}

/// Returns valid specs of each kind, with all fields that a user may set.
fn accepted() -> Vec<(&'static str, Value)> {
    vec![
        ("LeverConnection", json!({})),
        (
            "LeverConnection",
            json!({
                "suspend": true,
                "lever": {"url": "https://api.sandbox.lever.co/v1", "performAs": "8d49b010-cc6a_4f2d"},
                "interview": {"url": "http://127.0.0.1:9002/api", "overage": "Allow", "maxPadsPerHour": 0},
                "webhook": {"mode": "Managed", "signingTokenSecretRef": {"name": "lever-webhook", "key": "token"}},
                "sync": {"interval": "1h30m"},
            }),
        ),
        // The same Secret and the same key name elsewhere are no mistake.
        ("LeverConnection", json!({"webhook": {"signingTokenSecretRef": {"name": "acme", "key": "token"}}})),
        (
            "LeverConnection",
            json!({"interview": {"apiKeySecretRef": {"name": "other", "key": "lever-api-key"}},
                "webhook": {"signingTokenSecretRef": null}, "sync": {"interval": "0s"}}),
        ),
        ("PadConfiguration", json!({})),
        (
            "PadConfiguration",
            json!({
                "stage": "5a1b-stage_id", "tag": "Coder Pad ", "type": "TakeHome", "questionID": 1,
                "title": "{configuration}: {candidate} ({stage})", "waitingRoom": false,
                "ownerEmail": "lead+pads@example.com", "existing": "Create", "repeat": "Always",
                "onArchive": "End", "deletionPolicy": "Unlink",
                "writeBack": {"note": "None", "tags": {"ready": "Coderpad", "ended": "done", "failed": "error"}},
                "ttlSecondsAfterEnded": 0, "ttlSecondsAfterSkipped": 0,
            }),
        ),
        ("PadConfiguration", json!({"language": "c++", "ownerEmail": null, "questionID": null})),
        ("PadConfiguration", json!({"repeat": "Never", "writeBack": {"tags": {"ended": "done"}}})),
        ("Pad", json!({})),
        ("Pad", json!({"trigger": {"at": null}})),
        (
            "Pad",
            json!({
                "connectionRef": {"name": "acme"}, "state": "Ended", "deletionPolicy": "Delete",
                "trigger": {"source": "Sync", "at": "2026-05-04T12:00:00.123Z"},
            }),
        ),
    ]
}

/// Invalid new objects, and the expected error.
fn refused() -> Vec<(&'static str, Value, &'static str)> {
    let long = |length: usize| "a".repeat(length);
    let lever_key = json!({"name": "acme", "key": "lever-api-key"});
    let interview_key = json!({"name": "acme", "key": "interview-api-key"});
    let connection = [
        (
            json!({"lever": {"url": "api.lever.co/v1"}}),
            "an absolute URL with a host, such as https://api.lever.co",
        ),
        (json!({"lever": {"url": "https:///v1"}}), "an absolute URL with a host"),
        (json!({"lever": {"url": "ftp://api.lever.co/v1"}}), "such as https://api.lever.co/v1"),
        (json!({"lever": {"url": ""}}), "Omit it for the default"),
        (json!({"lever": {"url": format!("https://{}", long(512))}}), "may not be more than 512 bytes"),
        (json!({"lever": {"performAs": "Ada Lovelace"}}), "the ID of a Lever user"),
        (json!({"lever": {"performAs": "ada@example.com"}}), "the ID of a Lever user"),
        (json!({"lever": {"performAs": long(65)}}), "may not be more than 64 bytes"),
        (json!({"lever": {"apiKeySecretRef": {"name": ""}}}), "the name of a Secret in the same namespace"),
        (
            json!({"lever": {"apiKeySecretRef": {"name": "hiring/acme"}}}),
            "the name of a Secret in the same namespace",
        ),
        (json!({"lever": {"apiKeySecretRef": {"key": "lever api key"}}}), "a key of the Secret's data"),
        (json!({"lever": {"apiKeySecretRef": {"key": null}}}), "lever.apiKeySecretRef.key: Required value"),
        (json!({"lever": {"apiKeySecretRef": null}}), "lever.apiKeySecretRef: Required value"),
        (json!({"lever": null}), "spec.lever: Required value"),
        (json!({"interview": {"url": "coderpad"}}), "such as https://app.coderpad.io/api"),
        (json!({"interview": {"apiKeySecretRef": lever_key}}), "Store each under its own key"),
        (json!({"interview": {"apiKeySecretRef": {"name": "Acme"}}}), "lower-case letters"),
        (json!({"interview": {"overage": "deny"}}), "supported values: \"Deny\", \"Allow\""),
        (json!({"interview": {"maxPadsPerHour": -1}}), "should be greater than or equal to 0"),
        (json!({"interview": {"maxPadsPerHour": 100_001}}), "should be less than or equal to 100000"),
        (json!({"webhook": {"mode": "Automatic"}}), "supported values: \"Manual\", \"Managed\""),
        (json!({"webhook": {"mode": "Managed"}}), "requires spec.webhook.signingTokenSecretRef"),
        (json!({"webhook": {"signingTokenSecretRef": lever_key}}), "is a different secret"),
        (json!({"webhook": {"signingTokenSecretRef": interview_key}}), "under its own key"),
        (json!({"sync": {"interval": "5"}}), "such as 90s, 5m or 1h30m"),
        (json!({"sync": {"interval": ""}}), "such as 90s, 5m or 1h30m"),
        (json!({"sync": {"interval": "-5m"}}), "such as 90s, 5m or 1h30m"),
        (json!({"sync": {"interval": "1d"}}), "such as 90s, 5m or 1h30m"),
        (json!({"sync": {"interval": "1.5h"}}), "such as 90s, 5m or 1h30m"),
        (json!({"sync": {"interval": "500ms"}}), "such as 90s, 5m or 1h30m"),
        (json!({"suspend": "yes"}), "must be of type boolean"),
    ];
    let configuration = [
        (json!({"type": "TakeHome"}), "requires spec.questionID"),
        (json!({"type": "TakeHome", "questionID": null}), "requires spec.questionID"),
        (json!({"type": "takehome"}), "supported values: \"Live\", \"TakeHome\""),
        (json!({"language": "python3", "questionID": 1003}), "mutually exclusive"),
        (
            json!({"language": "python3", "questionID": 1003, "type": "TakeHome"}),
            "allowed only with type: Live",
        ),
        (json!({"language": ""}), "such as python3"),
        (json!({"language": "Python 3"}), "such as python3"),
        (json!({"questionID": 0}), "should be greater than or equal to 1"),
        (json!({"questionID": "1003"}), "must be of type integer"),
        (json!({"stage": " "}), "must not be blank"),
        (json!({"stage": ""}), "Set it to a stage in Lever"),
        (json!({"stage": "Phone Screen\n"}), "or contain a line break"),
        (json!({"stage": long(129)}), "may not be more than 128 bytes"),
        (json!({"tag": "  "}), "must not be blank"),
        (json!({"tag": "coderpad\n"}), "or contain a line break"),
        (json!({"tag": long(129)}), "may not be more than 128 bytes"),
        (json!({"title": "{name}"}), "the placeholders {candidate}, {stage} and {configuration}"),
        (json!({"title": "{configura{candidate}tion}"}), "other braces are not allowed"),
        (json!({"title": "{candidate"}), "other braces are not allowed"),
        (json!({"title": " "}), "must not be blank. Omit it"),
        (json!({"title": long(201)}), "may not be more than 200 bytes"),
        (json!({"ownerEmail": "lead"}), "such as lead@example.com"),
        (json!({"ownerEmail": "Lead <lead@example.com>"}), "only the e-mail address"),
        (json!({"existing": "Make"}), "supported values: \"Skip\", \"Create\""),
        (json!({"repeat": "Sometimes"}), "supported values: \"AfterEnd\", \"Never\", \"Always\""),
        (json!({"onArchive": "Delete"}), "supported values: \"Keep\", \"End\""),
        (json!({"deletionPolicy": "Orphan"}), "supported values: \"Retain\", \"Unlink\", \"Delete\""),
        (
            json!({"writeBack": {"note": "Full"}}),
            "supported values: \"None\", \"Summary\", \"SummaryWithCode\"",
        ),
        (json!({"writeBack": {"tags": {"ready": "coderpad"}}}), "ready must differ from spec.tag"),
        (json!({"writeBack": {"tags": {"ended": "coderpad"}}}), "ended must differ from spec.tag"),
        (json!({"writeBack": {"tags": {"failed": "coderpad"}}}), "failed must differ from spec.tag"),
        (json!({"writeBack": {"tags": {"ready": "same", "ended": "same"}}}), "must differ from each other"),
        (json!({"writeBack": {"tags": {"ended": "same", "failed": "same"}}}), "must differ from each other"),
        (json!({"writeBack": {"tags": {"ready": "same", "failed": "same"}}}), "must differ from each other"),
        (json!({"writeBack": {"tags": {"ready": " "}}}), "Omit the field to set no tag"),
        (json!({"writeBack": {"tags": {"failed": "a\nb"}}}), "or contain a line break"),
        (json!({"repeat": "Never", "ttlSecondsAfterEnded": 60}), "Remove it, or set repeat: AfterEnd"),
        (json!({"ttlSecondsAfterEnded": -1}), "should be greater than or equal to 0"),
        (json!({"ttlSecondsAfterSkipped": -1}), "should be greater than or equal to 0"),
        (json!({"connectionRef": {"name": ""}}), "a resource name without a namespace"),
        (json!({"connectionRef": {"name": "hiring/acme"}}), "without a namespace"),
        (json!({"connectionRef": {"name": long(51)}}), "may not be more than 50 bytes"),
        (json!({"connectionRef": null}), "spec.connectionRef: Required value"),
    ];
    let pad = [
        (json!({"opportunityID": "not/an/id"}), "the last part of the URL"),
        (
            json!({"opportunityID": "https://hire.lever.co/candidates/6408dc54"}),
            "only the last part of the URL",
        ),
        (json!({"opportunityID": ""}), "the last part of the URL"),
        (json!({"opportunityID": long(65)}), "may not be more than 64 bytes"),
        (json!({"opportunityID": null}), "spec.opportunityID: Required value"),
        (json!({"configurationRef": null}), "spec.configurationRef: Required value"),
        (json!({"configurationRef": {"name": "Phone Screen"}}), "a resource name without a namespace"),
        (json!({"connectionRef": {"name": "other/acme"}}), "without a namespace"),
        (json!({"state": "Closed"}), "supported values: \"Open\", \"Ended\""),
        (json!({"deletionPolicy": "Keep"}), "supported values: \"Retain\", \"Unlink\", \"Delete\""),
        (json!({"trigger": {"source": "Me"}}), "supported values: \"Webhook\", \"Sync\", \"Manual\""),
        (json!({"trigger": {"at": "today"}}), "should match"),
        // With a format in the schema, API servers accept these values, which cannot be decoded.
        (json!({"trigger": {"at": "2024-01-01T00:00:00Ztx"}}), "should match"),
        (json!({"trigger": {"at": "2024-01-01T00:00:00+99:99"}}), "should match"),
        (json!({"trigger": {"at": ["2024-01-01T00:00:00Z"]}}), "must be of type string: \"array\""),
    ];
    let of = |kind: &'static str| move |(change, fragment)| (kind, change, fragment);
    let rows = connection.into_iter().map(of("LeverConnection"));
    let rows = rows.chain(configuration.into_iter().map(of("PadConfiguration")));
    rows.chain(pad.into_iter().map(of("Pad"))).collect()
}

/// Forbidden changes: the object before, the change, and the expected error.
fn refused_changes() -> Vec<(&'static str, Value, Value, &'static str)> {
    vec![
        (
            "PadConfiguration",
            json!({}),
            json!({"connectionRef": {"name": "other"}}),
            "Create a new PadConfiguration for the other connection",
        ),
        (
            "Pad",
            json!({}),
            json!({"configurationRef": {"name": "other"}}),
            "immutable. Create a new Pad instead",
        ),
        ("Pad", json!({}), json!({"opportunityID": "other"}), "Create a new Pad for the other candidate"),
        ("Pad", json!({}), json!({"connectionRef": {"name": "acme"}}), "spec.connectionRef is immutable"),
        (
            "Pad",
            json!({"connectionRef": {"name": "acme"}}),
            json!({"connectionRef": {"name": "other"}}),
            "spec.connectionRef is immutable. Create a new Pad instead",
        ),
        ("Pad", json!({}), json!({"trigger": {"source": "Sync"}}), "spec.trigger is immutable"),
        (
            "Pad",
            json!({"state": "Ended"}),
            json!({"state": "Open"}),
            "cannot return to Open, because an ended interview cannot be reopened. Create a new Pad instead",
        ),
    ]
}

/// Applies several objects with one `kubectl apply`.
async fn apply(cluster: &Cluster, manifests: Vec<Value>) -> Result<String, String> {
    let documents: Vec<_> = manifests.iter().map(Value::to_string).collect();
    cluster.kubectl(&["apply", "--filename", "-"], Some(&documents.join("\n---\n"))).await
}

/// Returns kubectl's output by object: each error begins with a line that names the object.
fn output_for<'a>(refusals: &'a str, name: &str) -> &'a str {
    let quoted = format!("\"{name}\" is invalid");
    let Some(at) = refusals.find(&quoted) else { return "" };
    let rest = &refusals[at + quoted.len()..];
    &rest[..rest.find("\" is invalid").unwrap_or(rest.len())]
}

#[tokio::test(flavor = "multi_thread")]
async fn api_server_rejects_invalid_objects_with_an_instruction() {
    let cluster = Cluster::shared().await;
    cluster.create_namespace(NAMESPACE).await;
    let number = |(at, (kind, spec)): (usize, (&str, Value))| manifest(kind, &format!("good-{at}"), &spec);
    apply(&cluster, accepted().into_iter().enumerate().map(number).collect()).await.unwrap();

    let refused = refused();
    let wrong = refused.iter().enumerate();
    let wrong = wrong.map(|(at, (kind, change, _))| manifest(kind, &format!("wrong-{at}"), change));
    let errors = apply(&cluster, wrong.collect()).await.unwrap_err();
    for (at, (kind, change, fragment)) in refused.iter().enumerate() {
        let printed = output_for(&errors, &format!("wrong-{at}"));
        assert!(printed.contains(fragment), "{kind} {change}: instead of {fragment:?}: {printed}");
    }

    let changes = refused_changes();
    let before = changes.iter().enumerate();
    let before: Vec<_> =
        before.map(|(at, (kind, spec, ..))| manifest(kind, &format!("was-{at}"), spec)).collect();
    apply(&cluster, before.clone()).await.unwrap();
    let mut after = before;
    for (manifest, (_, _, change, _)) in after.iter_mut().zip(&changes) {
        merge(&mut manifest["spec"], change);
    }
    let errors = apply(&cluster, after).await.unwrap_err();
    for (at, (kind, _, change, fragment)) in changes.iter().enumerate() {
        let printed = output_for(&errors, &format!("was-{at}"));
        assert!(printed.contains(fragment), "{kind} {change}: instead of {fragment:?}: {printed}");
    }
}

/// kubectl does not name the object in these errors, so they are applied one by one.
#[tokio::test(flavor = "multi_thread")]
async fn misspelled_field_and_too_long_name_are_rejected() {
    let cluster = Cluster::shared().await;
    let long = "a".repeat(51);
    for (kind, name, change, fragment) in [
        ("PadConfiguration", "wrong", json!({"tags": "coderpad"}), "unknown field \"spec.tags\""),
        (
            "LeverConnection",
            "wrong",
            json!({"lever": {"apiKey": "x"}}),
            "unknown field \"spec.lever.apiKey\"",
        ),
        ("Pad", "wrong", json!({"candidate": "Ada"}), "unknown field \"spec.candidate\""),
        (
            "PadConfiguration",
            &long,
            json!({}),
            "metadata.name must not exceed 50 characters, because the names of its Pads",
        ),
        (
            "LeverConnection",
            &long,
            json!({}),
            "metadata.name must not exceed 50 characters, because it is part of",
        ),
    ] {
        let mut manifest = manifest(kind, name, &change);
        manifest["metadata"]["namespace"] = json!("default");
        let errors = apply(&cluster, vec![manifest]).await.unwrap_err();
        assert!(errors.contains(fragment), "{kind} {name} {change}: {errors}");
    }
}
