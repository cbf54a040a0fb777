//! No private data leaks, not even at the most verbose log level.

use k8s_openapi::ByteString;
use serde_json::{Value, json};
use simulators::{Fault, NewCandidate};

use crate::cluster::Cluster;
use crate::collector::Collector;
use crate::environment::{CONFIGURATION, CONNECTION, Options, TAG, TestEnv};

/// The most verbose filter: more specific directives take precedence over others.
const EVERYTHING: &str = "trace,kube=trace,kube_client=trace,kube_client::client=trace,kube_client::client::builder=trace,\
    kube_runtime::watcher=trace,hyper=trace,hyper_util::client::legacy=trace,reqwest::connect=trace,rustls::client=trace,\
    tower::buffer=trace,[{namespace}]=trace";
const PARTICIPANT: &str = "Perpetua Quillfeather";
const CODE: &str = "def solve_c0ffee(): pass";
const EMAIL: &str = "ottoline@vanterpool.example";

#[tokio::test(flavor = "multi_thread")]
async fn trace_logs_of_a_whole_scenario_contain_no_private_data() {
    let spec = json!({"writeBack": {"note": "SummaryWithCode"}});
    let cluster = Cluster::shared().await;
    let collector = Collector::start(&cluster).await;
    let mut options = Options::new("trace").configuration(spec);
    options.flags.push(collector.flag());
    options.levels = Some(EVERYTHING);
    let keys = [options.lever.api_key.clone(), options.interview.api_key.clone()];
    let emails: Vec<_> = options.interview.users.iter().map(|user| user.email.clone()).collect();
    let mut env = TestEnv::start_in(cluster, options).await;
    env.told_too.push(collector.received.clone());
    // Also in the encoded forms of requests and Secrets.
    let signing_token = env.signing_token.clone();
    for text in keys.iter().flat_map(|key| [key.clone(), format!("{key}:")]).chain([signing_token]) {
        let Value::String(encoded) = json!(ByteString(text.into_bytes())) else {
            panic!("the value is UTF-8")
        };
        env.declare_private(encoded.trim_end_matches('='));
    }
    for private in emails.iter().map(String::as_str).chain([PARTICIPANT, CODE, EMAIL]) {
        env.declare_private(private);
    }

    let candidate = env.add_candidate(NewCandidate {
        tags: vec![TAG.into()],
        emails: vec![EMAIL.into()],
        ..NewCandidate::default()
    });
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    env.interview.start_interview(&made.id, &[PARTICIPANT]);
    env.interview.type_code(&made.id, "main.py", CODE);
    env.end_interview(&candidate, &made.id).await;
    env.sync().await;
    let untagged = env.add_candidate(NewCandidate::default());
    env.enter(&untagged).await;
    env.wait_for_pad(&untagged, "Skipped/TagMissing").await;

    // Failures produce the most log output.
    let forged = json!({"event": "candidateStageChange", "triggeredAt": 1, "token": "t0ken-5e1f", "signature": "51 6n",
        "data": {"opportunityId": candidate, "toStageId": "s"}});
    for private in ["t0ken-5e1f", "51 6n"] {
        env.declare_private(private);
    }
    assert_eq!(env.lever.deliver_raw(forged.to_string()).await.status, Some(401));
    env.lever.faults().add(Fault::on("GET", "^/v1/opportunities/").garbage_after_effect());
    env.interview.faults().add(Fault::on("POST", "^/api/pads/?$").status(500));
    let unlucky = env.candidate();
    env.enter(&unlucky).await;
    env.wait_for_one_pad(&unlucky).await;
    env.set_secret("lever-api-key", "lever-0bad-mistyped").await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "False/LeverUnauthorized").await;
    env.set_secret("lever-api-key", &keys[0]).await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    env.patch("padconfigurations", CONFIGURATION, json!({"spec": {"stage": "Nowhere"}})).await;
    env.wait_for("padconfigurations", CONFIGURATION, "Ready", "False/StageNotFound").await;
    let name = env.pads_of(&candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    env.kubectl(&["delete", "pad", &name, "--timeout=60s"]).await.unwrap();

    let logged = env.operator().logged();
    assert!(logged.contains(r#""level":"DEBUG""#), "the operator logs at every level:\n{logged}");
    println!("secrecy: {} lines at trace, {} spans", logged.lines().count(), collector.spans().len());
    env.finish().await;
}
