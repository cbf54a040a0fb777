//! Two operators share a cluster by namespaces: each serves its own, and a namespace can be moved between them.

use std::time::Duration;

use simulators::{Fault, Moment};

use crate::cluster::objects;
use crate::environment::{Options, World};
use crate::process::Operator;
use crate::wait::{eventually, soon};

/// Namespace of the other shard. Each test has its own, so that no two share a Lease.
fn elsewhere(world: &World) -> String {
    format!("{}-other", world.namespace)
}

/// Returns another operator for the namespace of an environment, with a Lease elsewhere: another shard.
async fn other_shard(world: &World, namespaces: &[&str]) -> Operator {
    let user = format!("pad-operator-{}-other-shard", world.namespace);
    let mut operator = Operator::new(&world.cluster, &user, &["system:masters"]).await;
    // The same public URL, as behind one Ingress: different ones would be overwritten alternately.
    let public_url = format!("--public-url=http://127.0.0.1:{}", world.operators[0].webhooks);
    let flags = ["--interview-create-timeout=2s", "--interview-list-lag=1s", &public_url];
    let mut arguments = world.arguments(&flags, operator.webhooks);
    arguments.retain(|flag| !flag.starts_with("--namespace=") && !flag.starts_with("--lease-namespace="));
    arguments.push(format!("--lease-namespace={}", elsewhere(world)));
    arguments.extend(namespaces.iter().map(|namespace| format!("--namespace={namespace}")));
    operator.set_arguments(arguments);
    operator.start().await;
    operator
}

/// Returns the holder of the Lease in a namespace, by process ID.
async fn leader(world: &World, namespace: &str) -> Option<u32> {
    let lease = objects(&world.client, namespace, "leases").get_opt("pad-operator").await.unwrap()?;
    let lease = serde_json::to_value(lease).unwrap();
    lease["spec"]["holderIdentity"].as_str()?.split('_').nth(1)?.parse().ok()
}

async fn start(name: &'static str) -> World {
    let world = World::start(Options::new(name)).await;
    world.cluster.make_namespace(&elsewhere(&world)).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn namespace_can_be_moved_to_another_shard() {
    let mut world = start("shards").await;
    // Each has its own leader and serves only its own namespace.
    let elsewhere = elsewhere(&world);
    let mut other = other_shard(&world, &[&elsewhere]).await;
    eventually("both lead", async || {
        let leaders = [leader(&world, world.namespace).await, leader(&world, &elsewhere).await];
        if leaders == [world.operators[0].id(), other.id()] { Ok(()) } else { Err(format!("{leaders:?}")) }
    })
    .await;
    let before = world.candidate();
    world.enter(&before).await;
    let made = world.wait_for_one_pad(&before).await;
    let first = world.user(0);
    assert_eq!(world.writers(&["pads/status"]).await, std::slice::from_ref(&first));
    world.send_to(&other);
    let forged = world.lever.deliver_raw("{}".to_owned()).await;
    assert_eq!(forged.status, Some(404), "to the other shard this namespace does not exist: {forged:?}");

    // The namespace is moved while pads are being created: one shard stops, the other takes the namespace over.
    world.send_to(&world.operators[0]);
    world
        .interview
        .faults()
        .add(Fault::on("POST", "^/api/pads/?$").delay_answer(Duration::from_millis(700)).times(12));
    let under_way: Vec<_> = (0..12).map(|_| world.candidate()).collect();
    for candidate in &under_way {
        world.enter(candidate).await;
    }
    world.operators[0].terminate().await;
    other.terminate().await;
    let mut other = other_shard(&world, &[&elsewhere, world.namespace]).await;
    world.send_to(&other);
    let after = world.candidate();
    world.enter(&after).await;
    for candidate in under_way.iter().chain([&after]) {
        world.wait_for_one_pad(candidate).await;
        assert_eq!(world.pads_made_for(candidate).len(), 1);
    }
    assert_eq!(world.writers(&["pads/status"]).await.len(), 2);
    // The other shard now serves the Pads that were Open before.
    world.end_interview(&before, &made.id).await;
    world.sync().await;
    world.wait_for_pad(&before, "Ended/Ended").await;
    assert_eq!(world.creates(), 14);

    other.terminate().await;
    world.operators[0].start().await;
    world.finish().await;
}

/// A mistake: both shards name the same namespace, so two leaders work on the same Pads at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn overlapping_shards_create_one_pad_and_one_link() {
    let world = start("shards-overlap").await;
    let mut other = other_shard(&world, &[world.namespace]).await;
    let both = [world.operators[0].id(), other.id()];
    // One is held between the creation of its pad and the status write, so that the other meets it in between.
    let candidates: Vec<_> = (0..20).map(|_| world.candidate()).collect();
    let held = world.interview.faults().add(Fault::on("POST", "^/api/pads/?$").pause(Moment::AfterEffect));
    world
        .interview
        .faults()
        .add(Fault::on("POST", "^/api/pads/?$").delay_answer(Duration::from_millis(300)).until_removed());
    for (number, candidate) in candidates.iter().enumerate() {
        if number % 2 == 0 {
            world.send_to(&world.operators[0])
        } else {
            world.send_to(&other)
        }
        world.enter(candidate).await;
    }
    soon("a pad is created", held.reached()).await;
    held.release();
    for candidate in &candidates {
        world.wait_for_pad(candidate, "Open/Open").await;
        world.wait_for_one_pad(candidate).await;
        assert_eq!(world.lever.links(candidate).len(), 1);
        let made = world.pads_made_for(candidate);
        assert_eq!(made.iter().filter(|pad| !pad.deleted).count(), 1, "{made:#?}");
    }
    let leaders = [leader(&world, world.namespace).await, leader(&world, &elsewhere(&world)).await];
    assert_eq!(leaders, both, "both were leaders all the time");
    other.terminate().await;
    world.finish().await;
}
