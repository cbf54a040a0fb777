//! State of objects as tools see it: kstatus itself, Flux's expressions and Argo CD's script of examples/gitops.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use simulators::{Fault, FaultAction, NewCandidate};
use testkit::output;
use tokio::process::Command;

use crate::cluster::source;
use crate::environment::{CONFIGURATION, CONNECTION, Options, TestEnv};
use crate::gitops::gitops;
use crate::status::brief;

/// Returns the results of kstatus, Argo CD and Flux, by `Kind/name`.
async fn seen(env: &TestEnv, objects: &[Value]) -> BTreeMap<String, String> {
    let flux = gitops("flux/kustomizations.yaml");
    let checks = flux.iter().find_map(|one| one["spec"]["healthCheckExprs"].as_array()).unwrap();
    let customizations = gitops("argocd/argocd-cm.yaml")[0]["data"]["resource.customizations"].clone();
    let customizations: Value = serde_yaml_ng::from_str(customizations.as_str().unwrap()).unwrap();
    let folder = env.cluster.plane.folder();
    let (script, expressions) = (folder.join("health.lua"), folder.join("flux.json"));
    std::fs::write(&script, customizations["padoperator.dev/*"]["health.lua"].as_str().unwrap()).unwrap();
    std::fs::write(&expressions, json!(checks).to_string()).unwrap();

    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let mut tool = Command::new(source(".tools/bin/kstatus"));
    tool.args(["-lua".as_ref(), script.as_os_str(), "-flux".as_ref(), expressions.as_os_str()]);
    let lines = output(&mut tool, &list.to_string()).await.expect("run `make kstatus`");
    lines
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, printed)| (name.into(), printed.into()))
        .collect()
}

const CURRENT: &str = "Current Healthy Current";
const IN_PROGRESS: &str = "InProgress Progressing InProgress";
const FAILED: &str = "Failed Degraded Failed";

#[tokio::test(flavor = "multi_thread")]
async fn tools_report_every_state_correctly() {
    let mut options = Options::new("kstatus");
    options.configurations.push(("held", json!({"tag": "held"})));
    let env = TestEnv::start(options).await;
    let mut expected = Vec::new();

    // Connections: Ready, one that a person must fix, and one whose service is unavailable.
    expected.push(("LeverConnection/acme", "True/Connected", CURRENT));
    let mut spec = env.connection_spec();
    spec["lever"]["apiKeySecretRef"]["name"] = json!("nowhere");
    env.apply("leverconnections", "broken", spec).await;
    expected.push(("LeverConnection/broken", "False/SecretNotFound", FAILED));
    env.lever.faults().add(Fault::on("GET", "/stages$").status(503).until_removed());
    env.apply("leverconnections", "away", env.connection_spec()).await;
    expected.push(("LeverConnection/away", "False/LeverUnavailable", IN_PROGRESS));

    // Configurations: in use, invalid, waiting, suspended.
    expected.push(("PadConfiguration/phone-screen", "True/InUse", CURRENT));
    env.configure("wrong", json!({"stage": "Nowhere"})).await;
    expected.push(("PadConfiguration/wrong", "False/StageNotFound", FAILED));
    env.apply("padconfigurations", "waits", json!({"connectionRef": {"name": "away"}})).await;
    expected.push(("PadConfiguration/waits", "False/ConnectionNotReady", IN_PROGRESS));
    env.patch("padconfigurations", "held", json!({"spec": {"suspend": true}})).await;
    env.wait_for("padconfigurations", "held", "Suspended", "True/Suspended").await;
    expected.push(("PadConfiguration/held", "True/InUse", "Current Suspended Current"));

    // Pads in every phase.
    let candidates: Vec<String> = (0..7).map(|_| env.candidate()).collect();
    let archived = env.add_candidate(NewCandidate { archived: true, ..NewCandidate::default() });
    let refuse = FaultAction::Status { code: 400, body: None };
    let create = Fault::on("POST", "^/api/pads/?$").containing(&candidates[3]).action(refuse);
    env.interview.faults().add(create);
    for (name, configuration, candidate, ready, tools) in [
        ("open", CONFIGURATION, &candidates[0], "True/Open", CURRENT),
        ("started", CONFIGURATION, &candidates[1], "True/Started", CURRENT),
        ("ended", CONFIGURATION, &candidates[2], "True/Ended", CURRENT),
        ("skipped", CONFIGURATION, &archived, "True/CandidateArchived", CURRENT),
        ("failed", CONFIGURATION, &candidates[3], "False/InvalidRequest", FAILED),
        ("waits", "wrong", &candidates[4], "False/ConfigurationNotReady", IN_PROGRESS),
        ("held", "held", &candidates[5], "False/Suspended", "InProgress Suspended InProgress"),
        ("lost", "nowhere", &candidates[6], "False/ConfigurationNotFound", FAILED),
    ] {
        env.create_pad_by_hand(name, configuration, candidate).await;
        if ["started", "ended"].contains(&name) {
            let made = env.wait_for_one_pad(candidate).await;
            env.interview.start_interview(&made.id, &["Ada"]);
            if name == "ended" {
                env.interview.end_interview(&made.id);
            }
        }
        expected.push((Box::leak(format!("Pad/{name}").into_boxed_str()), ready, tools));
    }
    for name in ["started", "ended"] {
        env.reconcile("pads", name).await;
    }

    let plural = |kind: &str| format!("{}s", kind.to_lowercase());
    let mut objects = Vec::new();
    for (name, ready, _) in &expected {
        let (kind, name) = name.split_once('/').unwrap();
        let object = env.wait_for(&plural(kind), name, "Ready", ready).await;
        assert_eq!(object["status"]["observedGeneration"], object["metadata"]["generation"]);
        objects.push(object);
    }
    let tools = seen(&env, &objects).await;
    for (name, ready, printed) in &expected {
        assert_eq!(tools[*name], *printed, "{name} {ready}");
    }

    // Stale conditions, or only the schema's default, do not count as Ready.
    let mut stale: Vec<Value> =
        objects.iter().filter(|object| brief(object, "Ready").starts_with("True")).cloned().collect();
    for object in &mut stale {
        let generation = object["metadata"]["generation"].as_i64().unwrap();
        object["metadata"]["generation"] = json!(generation + 1);
    }
    let mut new = objects[0].clone();
    (new["metadata"]["name"], new["status"]) = (json!("new"), json!({"observedGeneration": -1}));
    stale.push(new);
    for (name, printed) in seen(&env, &stale).await {
        assert_eq!(printed, IN_PROGRESS, "{name}");
    }

    // The same on request of a person.
    for ready in
        [format!("leverconnection/{CONNECTION}"), format!("padcfg/{CONFIGURATION}"), "pad/open".into()]
    {
        env.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", &ready]).await.unwrap();
    }
    for stalled in ["leverconnection/broken", "padcfg/wrong", "pad/failed"] {
        env.kubectl(&["wait", "--for=condition=Stalled", "--timeout=60s", stalled]).await.unwrap();
    }
    env.finish().await;
}
