//! Any object that the API server accepts, and many that it rejects: after each, the operator still runs, settles, and
//! leaves nothing behind when the object is deleted.

use std::time::Duration;

use axum::http::Request;
use kube::api::DeleteParams;
use proptest::prop_oneof;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::cluster::objects;
use crate::environment::{CONFIGURATION, CONNECTION, Options, SECRET, TestEnv};
use crate::status::{assert_sound, condition};
use crate::wait::{eventually, eventually_within};
use testkit::fuzz::{altered, like};

/// Number of cases without PROPTEST_CASES: each costs the API server several writes.
const FEW: u32 = 90;

const KINDS: [&str; 3] = ["leverconnections", "padconfigurations", "pads"];

/// Objects as people write them, with every field.
fn documents(env: &TestEnv) -> [(&'static str, Vec<Value>); 3] {
    let object = |kind: &str, spec: Value| json!({"apiVersion": "padoperator.dev/v1alpha1", "kind": kind, "metadata": {"generateName": "fuzz-"}, "spec": spec});
    let mut whole = env.connection_spec();
    whole["suspend"] = json!(false);
    whole["lever"]["performAs"] = json!("user-1");
    whole["interview"]["overage"] = json!("Allow");
    whole["interview"]["maxPadsPerHour"] = json!(3);
    whole["sync"] = json!({"interval": "1h"});
    let reference = json!({"name": CONNECTION});
    let configurations = [
        json!({"connectionRef": reference, "tag": "fuzz"}),
        json!({"connectionRef": reference, "stage": "Onsite", "tag": "fuzz-2", "type": "TakeHome", "questionID": 1002,
            "repeat": "Always", "existing": "Skip", "suspend": false, "deletionPolicy": "Delete"}),
        json!({"connectionRef": reference, "stage": "Nowhere", "tag": "fuzz-3", "language": "python3",
            "title": "{candidate}", "writeBack": {"note": "SummaryWithCode", "tags": {"ready": "r", "ended": "e", "failed": "f"}}}),
    ];
    let pads = [
        json!({"configurationRef": {"name": CONFIGURATION}, "opportunityID": "nobody"}),
        json!({"configurationRef": {"name": "none"}, "connectionRef": reference, "opportunityID": "nobody", "state": "Ended",
            "deletionPolicy": "Unlink", "trigger": {"source": "Webhook", "at": "2026-01-01T00:00:00Z"}}),
    ];
    let all = |kind: &str, specs: &[Value]| specs.iter().map(|spec| object(kind, spec.clone())).collect();
    [
        ("leverconnections", all("LeverConnection", &[env.connection_spec(), whole])),
        ("padconfigurations", all("PadConfiguration", &configurations)),
        ("pads", all("Pad", &pads)),
    ]
}

/// Sends these bytes as a new object. Returns the name of the object, if it was accepted.
async fn create(env: &TestEnv, plural: &str, body: Vec<u8>) -> Result<String, u16> {
    let path = format!("/apis/padoperator.dev/v1alpha1/namespaces/{}/{plural}", env.namespace);
    let request = Request::post(path).header("content-type", "application/json").body(body).unwrap();
    match env.client.request::<Value>(request).await {
        Ok(made) => Ok(made["metadata"]["name"].as_str().unwrap().to_owned()),
        Err(kube::Error::Api(status)) => Err(status.code),
        Err(other) => panic!("{other}"),
    }
}

async fn settles(env: &TestEnv, plural: &str, name: &str) {
    eventually_within(Duration::from_secs(40), "the operator has written the status", async || {
        let Some(object) = env.find(plural, name).await else { return Err("gone".to_owned()) };
        let is_seen = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        if is_seen && condition(&object, "Ready").is_some() { Ok(()) } else { Err(format!("{object:#}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_object_is_rejected_or_settles_and_leaves_nothing() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(FEW);
    let mut options = Options::new("hostile-specs");
    options.flags.push("--leader-election=false");
    let mut env = TestEnv::start(options).await;
    let mut runner = TestRunner::new(Config::default());
    let kinds = documents(&env).map(|(plural, documents)| {
        let mostly_right =
            altered(documents.clone(), 1).prop_map(|document| document.to_string().into_bytes());
        (plural, prop_oneof![mostly_right, like(documents)])
    });
    let (mut taken, mut refused, memory) = (0, 0, env.operator().memory());
    for case in 0..cases {
        let (plural, documents) = &kinds[usize::try_from(case).unwrap() % kinds.len()];
        let body = documents.new_tree(&mut runner).unwrap().current();
        match create(&env, plural, body.clone()).await {
            Ok(name) => {
                settles(&env, plural, &name).await;
                let api = objects(&env.client, env.namespace, plural);
                api.delete(&name, &DeleteParams::default()).await.unwrap();
                taken += 1;
            }
            Err(code) => {
                let body = String::from_utf8_lossy(&body);
                assert!((400..500).contains(&code), "{code} for {body}");
                refused += 1;
            }
        }
        assert!(env.operator().is_alive());
    }
    eventually("all objects are deleted", async || {
        let mut left = Vec::new();
        for plural in KINDS {
            let found = env.list(plural).await;
            found.iter().for_each(assert_sound);
            left.extend(
                found
                    .into_iter()
                    .map(|one| one["metadata"]["name"].clone())
                    .filter(|name| ![CONNECTION, CONFIGURATION, SECRET].iter().any(|kept| *name == *kept)),
            );
        }
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    let after = env.operator().memory();
    println!(
        "fuzz: {cases} objects: {taken} accepted, {refused} rejected; {memory} KiB before, {after} KiB after"
    );
    assert!(taken >= 10 && refused >= 10, "{taken} accepted, {refused} rejected");
    assert!(after < memory + 32 * 1024, "{memory} KiB before, {after} KiB after");
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
    env.finish().await;
}
