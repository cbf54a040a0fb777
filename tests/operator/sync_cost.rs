//! An idle operator writes nothing, and the cost of an interval does not depend on the number of Pads.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use jiff::{Timestamp, ToSpan};
use kube::api::PostParams;
use serde_json::{Value, json};
use simulators::NewPad;

use crate::cluster::objects;
use crate::environment::{CONFIGURATION, CONNECTION, Options, TestEnv};
use crate::wait::eventually;

/// Number of calls to both services, by method and path without IDs.
type Cost = BTreeMap<String, usize>;

/// Creates open Pads like this one, with pads in CoderPad, as if one had been created every ten seconds until an hour
/// ago. Their candidates have left the stage.
async fn create_open_pads(env: &TestEnv, like: &Value, numbers: std::ops::Range<usize>) {
    let last = Timestamp::now().checked_sub(1.hour()).unwrap();
    let api = objects(&env.client, env.namespace, "pads");
    let made = stream::iter(numbers).map(|number| {
        let made_at = last.checked_sub((10 * i64::try_from(number).unwrap()).seconds()).unwrap();
        let new = NewPad { made_at: Some(made_at.as_millisecond()), ..NewPad::default() };
        let pad_id = env.interview.add_pad(new);
        let (api, name, like) = (api.clone(), format!("bulk-{number}"), &like["status"]);
        async move {
            let pad = json!({
                "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad",
                "metadata": {"name": name, "annotations": {"padoperator.dev/pad-id": pad_id}},
                "spec": {"configurationRef": {"name": CONFIGURATION}, "connectionRef": {"name": CONNECTION},
                    "opportunityID": format!("moved-on-{number}"), "trigger": {"source": "Webhook"}},
            });
            api.create(&PostParams::default(), &serde_json::from_value(pad).unwrap()).await.unwrap();
            let mut status = like.clone();
            let url = format!("https://app.coderpad.io/{pad_id}");
            for (field, value) in
                [("padID", json!(pad_id)), ("url", json!(url)), ("createdAt", json!(made_at))]
            {
                status[field] = value;
            }
            let patch = kube::api::Patch::Merge(json!({"status": status}));
            api.patch_status(&name, &Default::default(), &patch).await.unwrap();
        }
    });
    made.buffer_unordered(32).collect::<Vec<()>>().await;
}

/// Milliseconds: far more than between the first calls of one probe, and far less than between two probes.
const PROBE_GAP_MS: i64 = 500;

/// Returns the calls of one interval, from the start of one probe to the start of the next.
async fn an_interval(env: &TestEnv) -> Cost {
    let probes = |env: &TestEnv| {
        let calls = env.lever.calls();
        calls.iter().filter(|call| call.path == "/v1/stages").map(|call| call.at).collect::<Vec<_>>()
    };
    env.lever.clear_calls();
    env.interview.clear_calls();
    let (started, ended) = eventually("an interval has passed", async || match probes(env).as_slice() {
        // Both services are called at the same time, in any order.
        [_, started, ended, ..] => Ok((started - PROBE_GAP_MS, ended - PROBE_GAP_MS)),
        fewer => Err(format!("{fewer:?}")),
    })
    .await;
    let mut cost = Cost::new();
    for call in env.lever.calls().into_iter().chain(env.interview.calls()) {
        if (started..ended).contains(&call.at) {
            let path = call.path.split('/').take(4).collect::<Vec<_>>().join("/");
            *cost.entry(format!("{} {path}", call.method)).or_default() += 1;
        }
    }
    cost
}

/// Waits until the first sync of the process is over, which lists pads back to the oldest open Pad.
async fn first_sync(env: &TestEnv) {
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    env.sync().await;
}

async fn writes(env: &TestEnv) -> Vec<Value> {
    let requests = env.cluster.requests(env.namespace).await;
    let is_ours = |user: &str| user.starts_with("pad-operator");
    let writes =
        requests.iter().filter(|one| one.is_write() && is_ours(&one.user) && one.resource != "leases");
    writes.map(|one| json!([one.verb, one.resource, one.name])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_open_pads_cost_the_same_calls_as_twenty() {
    let mut options = Options::new("two-thousand").polling("3s");
    options.flags.push("--leader-election=false");
    let mut env = TestEnv::start(options).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let like = env.wait_for_pad(&candidate, "Open/Open").await;
    env.lever.move_to_stage(&candidate, "Onsite").await;
    let mut costs = Vec::new();
    for numbers in [0..20, 20..2000] {
        env.operator().kill().await;
        create_open_pads(&env, &like, numbers).await;
        env.operator().start().await;
        first_sync(&env).await;
        let before = writes(&env).await;
        costs.push(an_interval(&env).await);
        let written = writes(&env).await.split_off(before.len());
        assert!(written.is_empty(), "{} writes: {:?}", written.len(), written.first());
    }
    assert_eq!(costs[0], costs[1]);
    let calls: usize = costs[0].values().sum();
    assert!(calls <= 10, "{costs:#?}");
    env.finish().await;
}
