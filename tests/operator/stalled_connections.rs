//! Connections to the API server that stop forwarding without being closed.

use std::time::{Duration, Instant};

use crate::environment::{CONFIGURATION, Options, TestEnv};
use crate::status::phase;
use crate::wait::eventually_within;

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_stop_forwarding_are_replaced_within_30_seconds() {
    let env = TestEnv::start(Options::new("stalled")).await;
    let before = env.candidate();
    env.enter(&before).await;
    env.wait_for_one_pad(&before).await;

    env.operators[0].proxy.freeze();
    let (started, candidate) = (Instant::now(), env.candidate());
    env.create_pad_by_hand("while-stalled", CONFIGURATION, &candidate).await;
    eventually_within(Duration::from_secs(30), "the Pad is open", async || {
        let pad = env.get("pads", "while-stalled").await;
        if phase(&pad) == "Open/Open" { Ok(()) } else { Err(format!("{pad:#}")) }
    })
    .await;
    println!("availability: connections stalled: the next Pad is Open after {:?}", started.elapsed());
    let log = env.operators[0].logged();
    assert!(log.contains("open connections to the API server stopped forwarding"), "{log}");
    let (_, metrics) = env.operators[0].get("/metrics").await.unwrap();
    assert!(metrics.contains("\npad_operator_api_server_reconnects_total 1\n"), "{metrics}");
    assert_eq!(env.operators[0].get("/readyz").await.unwrap().0, 200);
    env.wait_for_one_pad(&candidate).await;
    env.finish().await;
}
