//! Temporary failure of one of the three systems that the operator uses.

use std::time::Duration;

use serde_json::json;
use simulators::{Fault, PausePoint};

use crate::cluster::Cluster;
use crate::effects::links_added;
use crate::environment::{CONFIGURATION, CONNECTION, Options, STAGE, TestEnv};
use crate::wait::{eventually, eventually_within, must_finish};

#[tokio::test(flavor = "multi_thread")]
async fn unavailable_service_is_reported_and_pads_wait() {
    let env = TestEnv::start(Options::new("services-away").polling("1s")).await;
    env.interview.stop().await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "False/InterviewUnavailable").await;
    env.wait_for_pad(&candidate, "Pending/ConnectionNotReady").await;
    env.interview.resume().await.unwrap();
    env.wait_for_one_pad(&candidate).await;

    env.lever.stop().await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "False/LeverUnavailable").await;
    env.lever.resume().await.unwrap();
    env.wait_for_one_pad(&candidate).await;
    assert_eq!(env.creates(), 2);
    env.finish().await;
}

/// Failure of the cluster.
#[derive(Clone, Copy)]
enum Failure {
    /// Nothing reaches the API server.
    CutOff,
    /// The API server is killed and restarted.
    ApiServer,
    /// etcd is killed and restarted.
    Etcd,
}

impl Failure {
    async fn begins(self, env: &TestEnv) {
        match self {
            Self::CutOff => env.operators[0].proxy.cut(),
            Self::ApiServer => env.cluster.plane.stop_api_server().await.unwrap(),
            Self::Etcd => env.cluster.plane.stop_etcd().await.unwrap(),
        }
    }

    async fn end(self, env: &TestEnv) {
        match self {
            Self::CutOff => env.operators[0].proxy.restore(),
            Self::ApiServer => env.cluster.plane.start_api_server().await.unwrap(),
            Self::Etcd => env.cluster.plane.start_etcd().await.unwrap(),
        }
    }
}

/// The cluster fails at the worst time: pads have been created and nothing of it is stored. Webhooks are rejected in
/// the meantime and retried.
async fn check_cluster_failure(name: &'static str, cluster: Cluster, failure: Failure) {
    let mut options = Options::new(name);
    options.flags.push("--leader-election=false");
    options.lever.retry_delays = [1, 2, 4, 8, 16].map(Duration::from_secs).to_vec();
    let env = TestEnv::start_in(cluster, options).await;
    let candidates = || [(); 3].map(|()| env.candidate());
    let [before_id, before_link, before_status, during] = [(); 4].map(|()| candidates());
    let pause = |path: &str, moment| Fault::on("POST", path).pause(moment);
    let made = |candidate: &String| pause("^/api/pads/?$", PausePoint::AfterEffect).containing(candidate);
    let linked = |moment| move |candidate: &String| pause(&format!("/{candidate}/addLinks$"), moment);
    let mut held = Vec::new();
    held.extend(before_id.each_ref().map(|one| env.interview.faults().add(made(one))));
    let order = |fault| env.lever.faults().add(fault);
    held.extend(before_link.each_ref().map(linked(PausePoint::BeforeEffect)).map(order));
    held.extend(before_status.each_ref().map(linked(PausePoint::AfterEffect)).map(order));
    for candidate in [&before_link, &before_status, &before_id].into_iter().flatten() {
        env.lever.move_to_stage(candidate, STAGE).await;
    }
    for fault in &held {
        must_finish("the request is held", fault.reached()).await;
    }

    failure.begins(&env).await;
    held.iter().for_each(simulators::FaultHandle::release);
    let mut deliveries = Vec::new();
    for candidate in &during {
        deliveries.extend(env.lever.move_to_stage(candidate, STAGE).await.deliveries);
    }
    for number in &deliveries {
        let refused = eventually("the webhook is rejected", async || {
            let delivery = env.lever.deliveries().swap_remove(*number);
            delivery.attempts.first().map(|attempt| attempt.status).ok_or("not yet".to_owned())
        });
        assert_eq!(refused.await, Some(503));
    }
    failure.end(&env).await;

    env.wait_until_delivered(deliveries).await;
    for candidate in [&before_id, &before_link, &before_status, &during].into_iter().flatten() {
        env.wait_for_one_pad(candidate).await;
        assert_eq!(env.created_pads_of(candidate).len(), 1);
        assert_eq!(links_added(&env, candidate).len(), 1);
    }
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pads_survive_a_cut_connection_to_the_api_server() {
    check_cluster_failure("api-server-away", Cluster::shared().await, Failure::CutOff).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pads_survive_a_killed_api_server() {
    let cluster = Cluster::with_crds().await;
    check_cluster_failure("api-server-dies", cluster, Failure::ApiServer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pads_survive_a_killed_etcd() {
    let cluster = Cluster::with_crds().await;
    check_cluster_failure("etcd-dies", cluster, Failure::Etcd).await;
}

/// A leader that cannot renew its Lease exits, because another one may already be working.
#[tokio::test(flavor = "multi_thread")]
async fn disconnected_leader_exits() {
    let mut env = TestEnv::start(Options::new("cut-off")).await;
    let proxy = env.operators[0].proxy.clone();
    proxy.cut();
    let operator = env.operator();
    eventually_within(Duration::from_secs(25), "it ends", async || {
        if operator.is_alive() { Err("it is alive".into()) } else { Ok(()) }
    })
    .await;
    assert_ne!(operator.ended().await, Some(0), "the exit code reports a failure");
    proxy.restore();
    operator.start().await;

    let candidate = env.candidate();
    let spec = json!({"configurationRef": {"name": CONFIGURATION}, "opportunityID": candidate});
    env.apply("pads", "by-hand", spec).await;
    env.wait_for_one_pad(&candidate).await;
    env.finish().await;
}
