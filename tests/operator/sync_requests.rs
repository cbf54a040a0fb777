//! A request by annotation is echoed, and lastSyncAt written, only after the requested scans are complete (contract
//! S2b, S4).

use jiff::Timestamp;
use serde_json::{Value, json};
use simulators::Fault;

use crate::environment::{CONFIGURATION, CONNECTION, Options, STAGE, World};
use crate::wait::eventually;

const EVENT: &str = "candidateStageChange";

impl World {
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
    async fn moves_unnoticed(&self) -> String {
        self.lever.switch_event(EVENT, false);
        let candidate = self.candidate();
        self.lever.move_to_stage(&candidate, STAGE).await;
        candidate
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_is_retried_after_a_failed_probe_and_echoed_after_the_scans() {
    let world = World::start(Options::new("request-probe")).await;
    world.sync().await;
    assert!(world.last_sync_at().await.is_string());
    let candidate = world.moves_unnoticed().await;
    let fault = world.lever.faults().add(Fault::on("GET", "^/v1/stages$").status(503).times(2));
    world.request("leverconnections", CONNECTION).await;
    let asked_at = Timestamp::now();
    eventually("both probes have failed", async || {
        let is_echoed = world.is_echoed("leverconnections", CONNECTION).await;
        let synced_at: Timestamp = world.last_sync_at().await.as_str().unwrap().parse().unwrap();
        assert!(fault.hits() == 2 || (!is_echoed && synced_at < asked_at), "{synced_at}");
        if fault.hits() == 2 { Ok(()) } else { Err(fault.hits().to_string()) }
    })
    .await;
    world.wait_until_echoed("leverconnections", CONNECTION).await;
    world.wait_for_one_pad(&candidate).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_list_of_one_rule_keeps_its_request_open_and_blocks_no_other_rule() {
    let mut options = Options::new("request-rule");
    options.configurations = vec![
        // Also the first in the order of the scans.
        ("bad", json!({"tag": "a-tag-that-fails"})),
        (CONFIGURATION, json!({})),
    ];
    let world = World::start(options).await;
    let candidate = world.moves_unnoticed().await;
    let fault =
        Fault::on("GET", "^/v1/opportunities$").containing("a-tag-that-fails").status(500).until_removed();
    let fault = world.lever.faults().add(fault);
    for (plural, name) in
        [("leverconnections", CONNECTION), ("padconfigurations", "bad"), ("padconfigurations", CONFIGURATION)]
    {
        world.request(plural, name).await;
    }
    world.wait_for_one_pad(&candidate).await;
    world.wait_until_echoed("padconfigurations", CONFIGURATION).await;
    eventually("the failing list was retried", async || {
        if fault.hits() >= 2 { Ok(()) } else { Err(fault.hits().to_string()) }
    })
    .await;
    assert!(fault.hits() < 10, "it is not called without backoff: {}", fault.hits());
    assert!(!world.is_echoed("leverconnections", CONNECTION).await);
    assert!(!world.is_echoed("padconfigurations", "bad").await);
    fault.remove();
    world.wait_until_echoed("leverconnections", CONNECTION).await;
    world.wait_until_echoed("padconfigurations", "bad").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_until_a_suspended_connection_is_resumed() {
    let world = World::start(Options::new("request-suspended")).await;
    let suspend = |suspend: bool| json!({"spec": {"suspend": suspend}});
    world.patch("leverconnections", CONNECTION, suspend(true)).await;
    world.wait_for("leverconnections", CONNECTION, "Suspended", "True/Suspended").await;
    let candidate = world.moves_unnoticed().await;
    let requests = [("leverconnections", CONNECTION), ("padconfigurations", CONFIGURATION)];
    for (plural, name) in requests {
        world.request(plural, name).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    for (plural, name) in requests {
        assert!(!world.is_echoed(plural, name).await, "{plural}");
    }
    world.patch("leverconnections", CONNECTION, suspend(false)).await;
    for (plural, name) in requests {
        world.wait_until_echoed(plural, name).await;
    }
    world.wait_for_one_pad(&candidate).await;
    world.finish().await;
}
