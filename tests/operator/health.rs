//! Contents of `/livez` and `/readyz`, and replicas that are replaced under load.

use std::cell::Cell;
use std::time::Duration;

use simulators::DeliveryOutcome;

use crate::availability::leads;
use crate::cluster::Cluster;
use crate::effects::links_added;
use crate::environment::{CONNECTION, Options, STAGE, TestEnv};
use crate::process::Operator;
use crate::tcp_proxy::TcpProxy;
use crate::wait::{eventually, must_finish};

/// Returns status and lines of a page.
async fn page(operator: &Operator, path: &str) -> (u16, Vec<String>) {
    let (status, text) = operator.get(path).await.unwrap();
    (status, text.lines().map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_api_server_makes_the_replica_unready_without_a_restart() {
    let mut options = Options::new("health-parts");
    options.replicas = 2;
    let env = TestEnv::start(options).await;
    let leader = leads(&env).await.unwrap();
    let (leader, follower) = (&env.operators[leader], &env.operators[1 - leader]);
    let parts = |parts: &[&str]| parts.iter().map(|part| format!("ok {part}")).collect::<Vec<_>>();
    let of_leader = [
        "LeverConnections in health-parts",
        "PadConfigurations in health-parts",
        "Pads in health-parts",
        "lease",
        "sync in health-parts",
        "webhooks",
    ];
    assert_eq!(page(leader, "/livez").await, (200, parts(&of_leader)));
    assert_eq!(page(follower, "/livez").await, (200, parts(&["lease", "webhooks"])));
    let ready = (200, parts(&["API server", "resources", "process"]));
    for operator in [leader, follower] {
        assert_eq!(page(operator, "/readyz").await, ready);
    }

    follower.proxy.cut();
    let lines = eventually("it is not ready anymore", async || match page(follower, "/readyz").await {
        (503, lines) => Ok(lines),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert!(lines[0].starts_with("failed API server: no good answer for 1"), "{lines:?}");
    assert!(lines[0].contains("check the network"), "{lines:?}");
    assert_eq!(lines[1..], parts(&["resources", "process"]));
    // Far longer than a component may be inactive.
    tokio::time::sleep(Duration::from_secs(35)).await;
    assert_eq!(page(follower, "/livez").await, (200, parts(&["lease", "webhooks"])));
    assert_eq!(page(leader, "/readyz").await, ready, "the other replica is ready");
    follower.proxy.restore();
    eventually("it is ready again", async || match page(follower, "/readyz").await {
        (200, _) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_names_missing_list_permissions() {
    let cluster = Cluster::shared().await;
    let mut operator = Operator::new(&cluster, "nobody-who-may-list", &[]).await;
    operator.set_arguments(vec![
        "--namespace=a".into(),
        "--namespace=b".into(),
        "--leader-election=false".into(),
    ]);
    operator.spawn();
    let lines = eventually("it says why", async || match operator.get("/readyz").await {
        Ok((503, text)) => Ok(text),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert!(lines.contains("failed resources: not listed yet: LeverConnections in a, "), "{lines}");
    assert!(lines.contains("Pads in b. If this stays, check the operator's Role"), "{lines}");
    assert_eq!(operator.get("/livez").await.unwrap().0, 200, "a restart would not help");
    operator.terminate().await;
}

/// Rolling updates while candidates are moved all the time.
#[tokio::test(flavor = "multi_thread")]
async fn replacing_replicas_under_load_loses_nothing() {
    let mut options = Options::new("rolling");
    options.replicas = 2;
    options.lever.retry_delays = [1, 2, 4, 8, 16].map(Duration::from_secs).to_vec();
    let mut env = TestEnv::start(options).await;
    let ports = env.operators.iter().map(|operator| operator.webhooks).collect();
    let service = TcpProxy::to_any("http", ports).await;
    for webhook in env.lever.webhooks() {
        env.lever.remove_webhook(webhook["id"].as_str().unwrap());
    }
    let url = service.url().replace("http://", "");
    let url = format!("{url}/webhooks/lever/{}/{CONNECTION}", env.namespace);
    env.lever.set_webhook(&url, &env.signing_token);

    let mut operators = std::mem::take(&mut env.operators);
    let (moved, mut updates) = (Cell::new(0), 0);
    let rolling = async {
        // However fast the machine is, many candidates are moved in the meantime.
        while updates < 3 || moved.get() <= 20 {
            for operator in &mut operators {
                operator.terminate().await;
                operator.start().await;
            }
            updates += 1;
        }
    };
    let (mut candidates, mut deliveries) = (Vec::new(), Vec::new());
    let load = async {
        loop {
            let candidate = env.candidate();
            deliveries.extend(env.lever.move_to_stage(&candidate, STAGE).await.deliveries);
            candidates.push(candidate);
            moved.set(candidates.len());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = rolling => {}
        () = load => {}
    }
    env.operators = operators;
    let mut again = 0;
    for number in &deliveries {
        let delivery = must_finish("it is delivered", env.lever.wait_for_delivery(*number)).await;
        assert_eq!(delivery.outcome, DeliveryOutcome::Received, "{delivery:#?}");
        again += usize::from(delivery.attempts.len() > 1);
    }
    for candidate in &candidates {
        env.wait_for_one_pad(candidate).await;
        assert_eq!(links_added(&env, candidate).len(), 1);
    }
    assert_eq!(env.interview.pads().len(), candidates.len(), "no pad is orphaned");
    println!(
        "availability: {} candidates moved while 2 replicas were replaced {updates} times; {again} duplicate deliveries; one pad each",
        candidates.len()
    );
    assert!(candidates.len() > 20);
    env.finish().await;
}
