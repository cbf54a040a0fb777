//! A request by annotation is echoed, and lastSyncAt written, only after the requested scans are complete (contract
//! S2b, S4).

use jiff::Timestamp;
use serde_json::{Value, json};
use simulators::Fault;

use crate::environment::{CONFIGURATION, CONNECTION, Options, STAGE, TestEnv};
use crate::wait::eventually;

const EVENT: &str = "candidateStageChange";

impl TestEnv {
    async fn is_echoed(&self, plural: &str, name: &str) -> bool {
        let object = self.get(plural, name).await;
        object["metadata"]["annotations"]["padoperator.dev/reconcile-requested-at"]
            == object["status"]["lastHandledReconcileAt"]
    }

    async fn wait_until_echoed(&self, plural: &str, name: &str) {
        eventually("the request is echoed", async || {
            if self.is_echoed(plural, name).await { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
    }

    async fn last_sync_at(&self) -> Value {
        self.get("leverconnections", CONNECTION).await["status"]["lastSyncAt"].clone()
    }

    /// Moves a candidate without a webhook.
    async fn move_without_webhook(&self) -> String {
        self.lever.switch_event(EVENT, false);
        let candidate = self.candidate();
        self.lever.move_to_stage(&candidate, STAGE).await;
        candidate
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_is_retried_after_a_failed_probe_and_echoed_after_the_scans() {
    let env = TestEnv::start(Options::new("request-probe")).await;
    env.sync().await;
    assert!(env.last_sync_at().await.is_string());
    let candidate = env.move_without_webhook().await;
    let fault = env.lever.faults().add(Fault::on("GET", "^/v1/stages$").status(503).times(2));
    env.request("leverconnections", CONNECTION).await;
    let asked_at = Timestamp::now();
    eventually("both probes have failed", async || {
        let is_echoed = env.is_echoed("leverconnections", CONNECTION).await;
        let synced_at: Timestamp = env.last_sync_at().await.as_str().unwrap().parse().unwrap();
        assert!(fault.hits() == 2 || (!is_echoed && synced_at < asked_at), "{synced_at}");
        if fault.hits() == 2 { Ok(()) } else { Err(fault.hits().to_string()) }
    })
    .await;
    env.wait_until_echoed("leverconnections", CONNECTION).await;
    env.wait_for_one_pad(&candidate).await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_list_of_one_rule_keeps_its_request_open_and_blocks_no_other_rule() {
    let mut options = Options::new("request-rule");
    options.configurations = vec![
        // Also the first in the order of the scans.
        ("bad", json!({"tag": "a-tag-that-fails"})),
        (CONFIGURATION, json!({})),
    ];
    let env = TestEnv::start(options).await;
    let candidate = env.move_without_webhook().await;
    let fault =
        Fault::on("GET", "^/v1/opportunities$").containing("a-tag-that-fails").status(500).until_removed();
    let fault = env.lever.faults().add(fault);
    for (plural, name) in
        [("leverconnections", CONNECTION), ("padconfigurations", "bad"), ("padconfigurations", CONFIGURATION)]
    {
        env.request(plural, name).await;
    }
    env.wait_for_one_pad(&candidate).await;
    env.wait_until_echoed("padconfigurations", CONFIGURATION).await;
    eventually("the failing list was retried", async || {
        if fault.hits() >= 2 { Ok(()) } else { Err(fault.hits().to_string()) }
    })
    .await;
    assert!(fault.hits() < 10, "it is not called without backoff: {}", fault.hits());
    assert!(!env.is_echoed("leverconnections", CONNECTION).await);
    assert!(!env.is_echoed("padconfigurations", "bad").await);
    fault.remove();
    env.wait_until_echoed("leverconnections", CONNECTION).await;
    env.wait_until_echoed("padconfigurations", "bad").await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_until_a_suspended_connection_is_resumed() {
    let env = TestEnv::start(Options::new("request-suspended")).await;
    let suspend = |suspend: bool| json!({"spec": {"suspend": suspend}});
    env.patch("leverconnections", CONNECTION, suspend(true)).await;
    env.wait_for("leverconnections", CONNECTION, "Suspended", "True/Suspended").await;
    let candidate = env.move_without_webhook().await;
    let requests = [("leverconnections", CONNECTION), ("padconfigurations", CONFIGURATION)];
    for (plural, name) in requests {
        env.request(plural, name).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    for (plural, name) in requests {
        assert!(!env.is_echoed(plural, name).await, "{plural}");
    }
    env.patch("leverconnections", CONNECTION, suspend(false)).await;
    for (plural, name) in requests {
        env.wait_until_echoed(plural, name).await;
    }
    env.wait_for_one_pad(&candidate).await;
    env.finish().await;
}
