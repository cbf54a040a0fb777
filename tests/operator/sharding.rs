//! Two operators share a cluster by namespaces: each serves its own, and a namespace can be moved between them.

use std::time::Duration;

use simulators::{Fault, PausePoint};

use crate::cluster::objects;
use crate::environment::{Options, TestEnv};
use crate::process::Operator;
use crate::wait::{eventually, must_finish};

/// Namespace of the other shard. Each test has its own, so that no two share a Lease.
fn elsewhere(env: &TestEnv) -> String {
    format!("{}-other", env.namespace)
}

/// Returns another operator for the namespace of an environment, with a Lease elsewhere: another shard.
async fn other_shard(env: &TestEnv, namespaces: &[&str]) -> Operator {
    let user = format!("pad-operator-{}-other-shard", env.namespace);
    let mut operator = Operator::new(&env.cluster, &user, &["system:masters"]).await;
    // The same public URL, as behind one Ingress: different ones would be overwritten alternately.
    let public_url = format!("--public-url=http://127.0.0.1:{}", env.operators[0].webhooks);
    let flags = ["--interview-create-timeout=2s", "--interview-list-lag=1s", &public_url];
    let mut arguments = env.arguments(&flags, operator.webhooks);
    arguments.retain(|flag| !flag.starts_with("--namespace=") && !flag.starts_with("--lease-namespace="));
    arguments.push(format!("--lease-namespace={}", elsewhere(env)));
    arguments.extend(namespaces.iter().map(|namespace| format!("--namespace={namespace}")));
    operator.set_arguments(arguments);
    operator.start().await;
    operator
}

/// Returns the holder of the Lease in a namespace, by process ID.
async fn leader(env: &TestEnv, namespace: &str) -> Option<u32> {
    let lease = objects(&env.client, namespace, "leases").get_opt("pad-operator").await.unwrap()?;
    let lease = serde_json::to_value(lease).unwrap();
    lease["spec"]["holderIdentity"].as_str()?.split('_').nth(1)?.parse().ok()
}

async fn start(name: &'static str) -> TestEnv {
    let env = TestEnv::start(Options::new(name)).await;
    env.cluster.create_namespace(&elsewhere(&env)).await;
    env
}

#[tokio::test(flavor = "multi_thread")]
async fn namespace_can_be_moved_to_another_shard() {
    let mut env = start("shards").await;
    // Each has its own leader and serves only its own namespace.
    let elsewhere = elsewhere(&env);
    let mut other = other_shard(&env, &[&elsewhere]).await;
    eventually("both lead", async || {
        let leaders = [leader(&env, env.namespace).await, leader(&env, &elsewhere).await];
        if leaders == [env.operators[0].id(), other.id()] { Ok(()) } else { Err(format!("{leaders:?}")) }
    })
    .await;
    let before = env.candidate();
    env.enter(&before).await;
    let made = env.wait_for_one_pad(&before).await;
    let first = env.user(0);
    assert_eq!(env.writers(&["pads/status"]).await, std::slice::from_ref(&first));
    env.send_to(&other);
    let forged = env.lever.deliver_raw("{}".to_owned()).await;
    assert_eq!(forged.status, Some(404), "to the other shard this namespace does not exist: {forged:?}");

    // The namespace is moved while pads are being created: one shard stops, the other takes the namespace over.
    env.send_to(&env.operators[0]);
    env.interview
        .faults()
        .add(Fault::on("POST", "^/api/pads/?$").delay_answer(Duration::from_millis(700)).times(12));
    let under_way: Vec<_> = (0..12).map(|_| env.candidate()).collect();
    for candidate in &under_way {
        env.enter(candidate).await;
    }
    env.operators[0].terminate().await;
    other.terminate().await;
    let mut other = other_shard(&env, &[&elsewhere, env.namespace]).await;
    env.send_to(&other);
    let after = env.candidate();
    env.enter(&after).await;
    for candidate in under_way.iter().chain([&after]) {
        env.wait_for_one_pad(candidate).await;
        assert_eq!(env.created_pads_of(candidate).len(), 1);
    }
    assert_eq!(env.writers(&["pads/status"]).await.len(), 2);
    // The other shard now serves the Pads that were Open before.
    env.end_interview(&before, &made.id).await;
    env.sync().await;
    env.wait_for_pad(&before, "Ended/Ended").await;
    assert_eq!(env.creates(), 14);

    other.terminate().await;
    env.operators[0].start().await;
    env.finish().await;
}

/// A mistake: both shards name the same namespace, so two leaders work on the same Pads at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn overlapping_shards_create_one_pad_and_one_link() {
    let env = start("shards-overlap").await;
    let mut other = other_shard(&env, &[env.namespace]).await;
    let both = [env.operators[0].id(), other.id()];
    // One is held between the creation of its pad and the status write, so that the other meets it in between.
    let candidates: Vec<_> = (0..20).map(|_| env.candidate()).collect();
    let held = env.interview.faults().add(Fault::on("POST", "^/api/pads/?$").pause(PausePoint::AfterEffect));
    env.interview
        .faults()
        .add(Fault::on("POST", "^/api/pads/?$").delay_answer(Duration::from_millis(300)).until_removed());
    for (number, candidate) in candidates.iter().enumerate() {
        if number % 2 == 0 {
            env.send_to(&env.operators[0])
        } else {
            env.send_to(&other)
        }
        env.enter(candidate).await;
    }
    must_finish("a pad is created", held.reached()).await;
    held.release();
    for candidate in &candidates {
        env.wait_for_pad(candidate, "Open/Open").await;
        env.wait_for_one_pad(candidate).await;
        assert_eq!(env.lever.links(candidate).len(), 1);
        let made = env.created_pads_of(candidate);
        assert_eq!(made.iter().filter(|pad| !pad.deleted).count(), 1, "{made:#?}");
    }
    let leaders = [leader(&env, env.namespace).await, leader(&env, &elsewhere(&env)).await];
    assert_eq!(leaders, both, "both were leaders all the time");
    other.terminate().await;
    env.finish().await;
}
