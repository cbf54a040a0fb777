//! The operator, or one of its replicas, is down: nothing is lost, and another replica takes over.

use std::time::{Duration, Instant};

use simulators::{Fault, PausePoint};

use crate::effects::{self, EFFECTS, Target, links_added};
use crate::environment::{Options, STAGE, TestEnv};
use crate::status::phase;
use crate::wait::{MACHINE, eventually, eventually_within, must_finish};

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_during_downtime_are_not_lost() {
    let mut options = Options::new("down");
    // Lever retries five times, with increasing delays.
    options.lever.retry_delays = [500, 1_000, 2_000, 4_000, 8_000].map(Duration::from_millis).to_vec();
    let mut env = TestEnv::start(options).await;
    env.operator().terminate().await;
    let candidates = [(); 5].map(|()| env.candidate());
    let mut deliveries = Vec::new();
    for candidate in &candidates {
        deliveries.extend(env.lever.move_to_stage(candidate, STAGE).await.deliveries);
    }
    eventually("each has failed once", async || {
        let all = env.lever.deliveries();
        let failed = deliveries.iter().filter(|number| !all[**number].attempts.is_empty()).count();
        if failed == deliveries.len() { Ok(()) } else { Err(format!("{failed}")) }
    })
    .await;

    env.operator().start().await;
    env.wait_until_delivered(deliveries).await;
    for candidate in &candidates {
        env.wait_for_one_pad(candidate).await;
    }
    assert_eq!(env.creates(), candidates.len());
    env.finish().await;
}

/// Resources that only a leader writes.
const LEADER_RESOURCES: &[&str] = &["padconfigurations/status", "pads/status"];

async fn lease_reads(env: &TestEnv, replica: usize) -> usize {
    let (user, requests) = (env.user(replica), env.cluster.requests(env.namespace).await);
    requests.iter().filter(|request| request.user == user && request.resource == "leases").count()
}

async fn becomes_open_within(env: &TestEnv, limit: Duration, candidate: &str) {
    eventually_within(limit, "another replica creates the pad", async || {
        let pads = env.pads_of(candidate).await;
        let phases: Vec<_> = pads.iter().map(phase).collect();
        if phases == ["Open/Open"] { Ok(()) } else { Err(format!("{phases:?}")) }
    })
    .await;
    env.wait_for_one_pad(candidate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_answers_webhooks_and_one_leads() {
    let mut options = Options::new("replicas");
    options.replicas = 2;
    let mut env = TestEnv::start(options).await;
    for replica in [0, 1] {
        env.send_to(&env.operators[replica]);
        let candidate = env.candidate();
        assert_eq!(env.enter(&candidate).await["outcome"], "Accepted");
        env.wait_for_one_pad(&candidate).await;
    }
    let leaders = env.writers(LEADER_RESOURCES).await;
    assert_eq!(leaders.len(), 1, "{leaders:?}");
    let first = usize::from(leaders[0] != env.user(0));
    let second = 1 - first;

    // The leader dies. Its Lease has to expire first.
    env.send_to(&env.operators[second]);
    env.operators[first].kill().await;
    let started = Instant::now();
    let candidate = env.candidate();
    assert_eq!(
        env.enter(&candidate).await["outcome"],
        "Accepted",
        "followers accept webhooks without a leader"
    );
    becomes_open_within(&env, Duration::from_secs(25), &candidate).await;
    println!("availability: leader killed: the next webhook's link is there after {:?}", started.elapsed());
    assert_eq!(env.writers(LEADER_RESOURCES).await.last(), Some(&env.user(second)));

    // The leader is stopped. It releases the Lease.
    let before = lease_reads(&env, first).await;
    env.operators[first].start().await;
    eventually("it has observed the other leader", async || {
        let looks = lease_reads(&env, first).await;
        if looks > before { Ok(()) } else { Err(format!("{looks} looks")) }
    })
    .await;
    env.send_to(&env.operators[first]);
    let started = Instant::now();
    env.operators[second].terminate().await;
    let candidate = env.candidate();
    assert_eq!(env.enter(&candidate).await["outcome"], "Accepted");
    becomes_open_within(&env, Duration::from_secs(8), &candidate).await;
    println!("availability: leader stopped: the next webhook's link exists after {:?}", started.elapsed());
    assert_eq!(env.writers(LEADER_RESOURCES).await.last(), Some(&env.user(first)));

    assert_eq!(env.creates(), 4);
    env.operators[second].start().await;
    env.finish().await;
}

/// Returns the replica that holds the Lease.
pub async fn leads(env: &TestEnv) -> Result<usize, String> {
    let lease = env.get("leases", "pad-operator").await;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    let is_holder = |id: u32| holder.split('_').nth(1) == Some(id.to_string().as_str());
    let leader = env.operators.iter().position(|operator| operator.id().is_some_and(is_holder));
    leader.ok_or_else(|| format!("{lease:#}"))
}

/// A replica that loses the Lease has many requests in flight, and may continue for a while without knowing.
#[tokio::test(flavor = "multi_thread")]
async fn leader_change_during_pad_creation_loses_and_duplicates_nothing() {
    let mut options = Options::new("handover");
    options.replicas = 2;
    options.lever.retry_delays = [1, 2, 4, 8, 16].map(Duration::from_secs).to_vec();
    let mut env = TestEnv::start(options).await;
    let slowly =
        |path: &str| Fault::on("POST", path).delay_answer(Duration::from_millis(900)).until_removed();
    env.interview.faults().add(slowly("^/api/pads/?$"));
    env.lever.faults().add(slowly("/addLinks$"));
    let (mut candidates, mut deliveries) = (Vec::new(), Vec::new());
    let mut leader = leads(&env).await.unwrap();
    for handover in ["cut off", "killed", "stopped"] {
        let next = 1 - leader;
        env.send_to(&env.operators[next]);
        let new = [(); 12].map(|()| env.candidate());
        let before = env.creates();
        for candidate in &new {
            deliveries.extend(env.lever.move_to_stage(candidate, STAGE).await.deliveries);
        }
        candidates.extend(new);
        eventually("many requests are in flight", async || {
            let created = env.creates() - before;
            if created >= 5 { Ok(()) } else { Err(format!("{created} pads created")) }
        })
        .await;
        let operator = &mut env.operators[leader];
        match handover {
            "killed" => operator.kill().await,
            "cut off" => {
                operator.proxy.cut();
                assert_ne!(operator.ended().await, Some(0), "the exit code reports a failure");
                operator.proxy.restore();
            }
            _ => operator.terminate().await,
        }
        eventually("the other replica leads", async || match leads(&env).await? {
            leader if leader == next => Ok(()),
            other => Err(format!("{other} leads")),
        })
        .await;
        env.operators[leader].start().await;
        leader = next;
    }

    env.wait_until_delivered(deliveries).await;
    for candidate in &candidates {
        env.wait_for_one_pad(candidate).await;
        let made = env.created_pads_of(candidate);
        assert_eq!(made.len(), 1, "{made:#?}");
        assert_eq!(links_added(&env, candidate).len(), 1);
    }
    env.finish().await;
}

/// Duration for which Lever accepts nothing from the leader. The leader is frozen for longer: until its Lease has
/// expired and the new leader has waited 19 s for the creation of a pad to time out.
const RETRY_AFTER_SECONDS: u64 = 20;

/// A leader whose machine is frozen does not notice that another one has taken over. When it resumes, its planned
/// requests have already been sent by the other one.
#[tokio::test(flavor = "multi_thread")]
async fn frozen_leader_sends_nothing_after_it_was_replaced() {
    let _alone = MACHINE.lock().await;
    let mut options = effects::env("frozen");
    options.replicas = 2;
    options.flags.retain(|flag| !flag.starts_with("--interview-create-timeout"));
    options.flags.push("--interview-create-timeout=8s");
    let mut env = TestEnv::start(options).await;
    let leader = leads(&env).await.unwrap();
    env.send_to(&env.operators[1 - leader]);
    // Each request has taken effect, but the leader has not received the response: what follows is sent immediately
    // afterwards.
    let mut stopped = Vec::new();
    let written = ["intention", "pad", "pad's id", "status"];
    for effect in EFFECTS.iter().filter(|effect| written.contains(&effect.name)) {
        let subject = effect.prepare(&env, "it is frozen").await;
        let fault = (effect.request)(&subject).pause(PausePoint::AfterEffect);
        let faults = match effect.target {
            Target::ApiServer => env.cluster_faults(leader),
            Target::Lever | Target::CoderPad => effect.faults(&env),
        };
        let held = faults.add(fault);
        effect.provoke(&env, &subject).await;
        stopped.push((effect, subject, held));
    }
    for (effect, _, held) in &stopped {
        must_finish(effect.name, held.reached()).await;
    }
    let put_off = env.candidate();
    let too_fast = Fault::on("GET", &format!("/opportunities/{put_off}$")).throttle(RETRY_AFTER_SECONDS);
    env.lever.faults().add(too_fast);
    env.enter(&put_off).await;
    env.wait_for_pad(&put_off, "Pending/LeverRateLimited").await;
    // One response arrives, and the link waits for the rate limit.
    let (_, waits, held) = stopped.iter().find(|(effect, ..)| effect.target == Target::CoderPad).unwrap();
    held.release();
    // The handling of the response is not observable before the link's request.
    tokio::time::sleep(Duration::from_millis(500)).await;
    env.operators[leader].signal("STOP").await;
    assert!(links_added(&env, &waits.candidate).is_empty(), "it does not wait");
    stopped.iter().for_each(|(_, _, held)| held.release());
    for (effect, subject, _) in &stopped {
        effect.assert_outcome(&env, subject).await;
    }

    env.operators[leader].signal("CONT").await;
    assert_ne!(env.operators[leader].ended().await, Some(0), "the exit code reports a failure");
    for (effect, subject, _) in &stopped {
        effect.assert_outcome(&env, subject).await;
    }
    env.wait_for_one_pad(&put_off).await;

    env.operators[leader].start().await;
    env.finish().await;
}
