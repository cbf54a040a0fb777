//! spec.webhook.mode: None: sync alone finds the candidates (contract C7a).

use serde_json::json;

use crate::environment::{CONFIGURATION, CONNECTION, NO_PUBLIC_URL, Options, STAGE, TestEnv};
use crate::plugin::Kubectl;

#[tokio::test(flavor = "multi_thread")]
async fn without_a_webhook_polling_creates_pads_and_nothing_asks_for_one() {
    let mut options = Options::new("polling-only").polling("2s").without_setup();
    options.connection["webhook"] = json!({"mode": "None", "signingTokenSecretRef": null});
    options.secret = json!({"lever-signing-token": null});
    options.flags.push(NO_PUBLIC_URL);
    let mut env = TestEnv::start(options).await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    env.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/InUse").await;

    let candidate = env.candidate();
    env.lever.move_to_stage(&candidate, STAGE).await;
    env.wait_for_one_pad(&candidate).await;
    assert!(env.lever.deliveries().is_empty());
    assert_eq!(env.pads_of(&candidate).await[0]["spec"]["trigger"]["source"], "Sync");

    let connection = env.get("leverconnections", CONNECTION).await;
    let text = connection["status"].to_string();
    assert!(!text.to_lowercase().contains("webhook"), "{connection:#}");
    let status = Kubectl::new(&env).pad(&["status"]).await.unwrap();
    assert!(!status.to_lowercase().contains("webhook") && status.contains("No action needed."), "{status}");
    let (_, metrics) = env.operator().get("/metrics").await.unwrap();
    assert!(!metrics.contains("pad_operator_webhook_verified{"), "an alert would ask for the webhook");
    assert!(metrics.contains("pad_operator_connection_ready{"));
    env.finish().await;
}
