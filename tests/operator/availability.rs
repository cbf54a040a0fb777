//! The operator is away, or one of its replicas is: nothing is lost, and somebody goes on.

use std::time::Duration;

use simulators::DeliveryOutcome;

use crate::status::phase;
use crate::wait::{eventually, eventually_within, soon};
use crate::world::{CONNECTION, Options, STAGE, World};

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_that_come_while_it_is_down_are_not_lost() {
    let mut options = Options::new("down");
    // Lever tries five times more, waiting longer and longer.
    options.lever.retry_delays = [500, 1_000, 2_000, 4_000, 8_000].map(Duration::from_millis).to_vec();
    let mut world = World::start(options).await;
    world.operator().terminate().await;
    let candidates = [(); 5].map(|()| world.candidate());
    let mut deliveries = Vec::new();
    for candidate in &candidates {
        deliveries.extend(world.lever.move_to_stage(candidate, STAGE).await.deliveries);
    }
    eventually("each has failed once", async || {
        let all = world.lever.deliveries();
        let failed = deliveries.iter().filter(|number| !all[**number].attempts.is_empty()).count();
        if failed == deliveries.len() { Ok(()) } else { Err(format!("{failed}")) }
    })
    .await;

    world.operator().start().await;
    for number in deliveries {
        let delivery = soon("it is delivered", world.lever.wait_for_delivery(number)).await;
        assert_eq!(delivery.outcome, DeliveryOutcome::Received, "{delivery:#?}");
    }
    for candidate in &candidates {
        world.wait_for_one_pad(candidate).await;
    }
    assert_eq!(world.creates(), candidates.len());
    world.finish().await;
}

/// Lever's webhook goes to this replica from now on.
fn send_to(world: &World, replica: usize) {
    for webhook in world.lever.webhooks() {
        world.lever.remove_webhook(webhook["id"].as_str().unwrap());
    }
    let port = world.operators[replica].webhooks;
    let url = format!("127.0.0.1:{port}/webhooks/lever/{}/{CONNECTION}", world.namespace);
    world.lever.set_webhook(&url, &world.signing_token);
}

/// Which replicas have written what only a leader writes, oldest first.
async fn writers(world: &World) -> Vec<String> {
    let requests = world.cluster.requests(world.namespace).await;
    let leads = |resource: &str| ["padconfigurations/status", "pads/status"].contains(&resource);
    let mut users: Vec<_> = requests
        .into_iter()
        .filter(|request| request.is_write() && leads(&request.resource))
        .map(|request| request.user)
        .collect();
    users.dedup();
    users
}

async fn looks_at_the_lease(world: &World, replica: usize) -> usize {
    let (user, requests) = (world.user(replica), world.cluster.requests(world.namespace).await);
    requests.iter().filter(|request| request.user == user && request.resource == "leases").count()
}

async fn becomes_open_within(world: &World, limit: Duration, candidate: &str) {
    eventually_within(limit, "another replica makes the pad", async || {
        let pads = world.pads_of(candidate).await;
        let phases: Vec<_> = pads.iter().map(phase).collect();
        if phases == ["Open/Open"] { Ok(()) } else { Err(format!("{phases:?}")) }
    })
    .await;
    world.wait_for_one_pad(candidate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_answers_webhooks_and_one_leads() {
    let mut options = Options::new("replicas");
    options.replicas = 2;
    let mut world = World::start(options).await;
    for replica in [0, 1] {
        send_to(&world, replica);
        let candidate = world.candidate();
        assert_eq!(world.enter(&candidate).await["outcome"], "Accepted");
        world.wait_for_one_pad(&candidate).await;
    }
    let leaders = writers(&world).await;
    assert_eq!(leaders.len(), 1, "{leaders:?}");
    let first = usize::from(leaders[0] != world.user(0));
    let second = 1 - first;

    // The leader dies. Its Lease has to run out first.
    send_to(&world, second);
    world.operators[first].kill().await;
    let candidate = world.candidate();
    assert_eq!(world.enter(&candidate).await["outcome"], "Accepted", "also without a leader");
    becomes_open_within(&world, Duration::from_secs(25), &candidate).await;
    assert_eq!(writers(&world).await.last(), Some(&world.user(second)));

    // The leader is told to go. It gives the Lease back.
    let before = looks_at_the_lease(&world, first).await;
    world.operators[first].start().await;
    eventually("it has seen that the other one leads", async || {
        let looks = looks_at_the_lease(&world, first).await;
        if looks > before { Ok(()) } else { Err(format!("{looks} looks")) }
    })
    .await;
    send_to(&world, first);
    world.operators[second].terminate().await;
    let candidate = world.candidate();
    assert_eq!(world.enter(&candidate).await["outcome"], "Accepted");
    becomes_open_within(&world, Duration::from_secs(8), &candidate).await;
    assert_eq!(writers(&world).await.last(), Some(&world.user(first)));

    assert_eq!(world.creates(), 4);
    world.operators[second].start().await;
    world.finish().await;
}
