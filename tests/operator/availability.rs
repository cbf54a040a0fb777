//! The operator, or one of its replicas, is down: nothing is lost, and another replica takes over.

use std::time::{Duration, Instant};

use simulators::{Fault, Moment};

use crate::effects::{self, EFFECTS, Of, links_added};
use crate::environment::{Options, STAGE, World};
use crate::status::phase;
use crate::wait::{MACHINE, eventually, eventually_within, soon};

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_during_downtime_are_not_lost() {
    let mut options = Options::new("down");
    // Lever retries five times, with increasing delays.
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
    world.all_delivered(deliveries).await;
    for candidate in &candidates {
        world.wait_for_one_pad(candidate).await;
    }
    assert_eq!(world.creates(), candidates.len());
    world.finish().await;
}

/// Resources that only a leader writes.
const OF_THE_LEADER: &[&str] = &["padconfigurations/status", "pads/status"];

async fn looks_at_the_lease(world: &World, replica: usize) -> usize {
    let (user, requests) = (world.user(replica), world.cluster.requests(world.namespace).await);
    requests.iter().filter(|request| request.user == user && request.resource == "leases").count()
}

async fn becomes_open_within(world: &World, limit: Duration, candidate: &str) {
    eventually_within(limit, "another replica creates the pad", async || {
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
        world.send_to(&world.operators[replica]);
        let candidate = world.candidate();
        assert_eq!(world.enter(&candidate).await["outcome"], "Accepted");
        world.wait_for_one_pad(&candidate).await;
    }
    let leaders = world.writers(OF_THE_LEADER).await;
    assert_eq!(leaders.len(), 1, "{leaders:?}");
    let first = usize::from(leaders[0] != world.user(0));
    let second = 1 - first;

    // The leader dies. Its Lease has to expire first.
    world.send_to(&world.operators[second]);
    world.operators[first].kill().await;
    let began = Instant::now();
    let candidate = world.candidate();
    assert_eq!(
        world.enter(&candidate).await["outcome"],
        "Accepted",
        "followers accept webhooks without a leader"
    );
    becomes_open_within(&world, Duration::from_secs(25), &candidate).await;
    println!("availability: leader killed: the next webhook's link is there after {:?}", began.elapsed());
    assert_eq!(world.writers(OF_THE_LEADER).await.last(), Some(&world.user(second)));

    // The leader is stopped. It releases the Lease.
    let before = looks_at_the_lease(&world, first).await;
    world.operators[first].start().await;
    eventually("it has observed the other leader", async || {
        let looks = looks_at_the_lease(&world, first).await;
        if looks > before { Ok(()) } else { Err(format!("{looks} looks")) }
    })
    .await;
    world.send_to(&world.operators[first]);
    let began = Instant::now();
    world.operators[second].terminate().await;
    let candidate = world.candidate();
    assert_eq!(world.enter(&candidate).await["outcome"], "Accepted");
    becomes_open_within(&world, Duration::from_secs(8), &candidate).await;
    println!("availability: leader told to go: the next webhook's link is there after {:?}", began.elapsed());
    assert_eq!(world.writers(OF_THE_LEADER).await.last(), Some(&world.user(first)));

    assert_eq!(world.creates(), 4);
    world.operators[second].start().await;
    world.finish().await;
}

/// Returns the replica that holds the Lease.
pub async fn leads(world: &World) -> Result<usize, String> {
    let lease = world.get("leases", "pad-operator").await;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    let is_holder = |id: u32| holder.split('_').nth(1) == Some(id.to_string().as_str());
    let leader = world.operators.iter().position(|operator| operator.id().is_some_and(is_holder));
    leader.ok_or_else(|| format!("{lease:#}"))
}

/// A replica that loses the Lease has many requests in flight, and may continue for a while without knowing.
#[tokio::test(flavor = "multi_thread")]
async fn leader_change_during_pad_creation_loses_and_duplicates_nothing() {
    let mut options = Options::new("handover");
    options.replicas = 2;
    options.lever.retry_delays = [1, 2, 4, 8, 16].map(Duration::from_secs).to_vec();
    let mut world = World::start(options).await;
    let slowly =
        |path: &str| Fault::on("POST", path).delay_answer(Duration::from_millis(900)).until_removed();
    world.interview.faults().add(slowly("^/api/pads/?$"));
    world.lever.faults().add(slowly("/addLinks$"));
    let (mut candidates, mut deliveries) = (Vec::new(), Vec::new());
    let mut leader = leads(&world).await.unwrap();
    for handover in ["cut off", "killed", "told to go"] {
        let next = 1 - leader;
        world.send_to(&world.operators[next]);
        let new = [(); 12].map(|()| world.candidate());
        let before = world.creates();
        for candidate in &new {
            deliveries.extend(world.lever.move_to_stage(candidate, STAGE).await.deliveries);
        }
        candidates.extend(new);
        eventually("many requests are in flight", async || {
            let begun = world.creates() - before;
            if begun >= 5 { Ok(()) } else { Err(format!("{begun} pads begun")) }
        })
        .await;
        let operator = &mut world.operators[leader];
        match handover {
            "killed" => operator.kill().await,
            "cut off" => {
                operator.link.cut();
                assert_ne!(operator.ended().await, Some(0), "the exit code reports a failure");
                operator.link.mend();
            }
            _ => operator.terminate().await,
        }
        eventually("the other replica leads", async || match leads(&world).await? {
            leader if leader == next => Ok(()),
            other => Err(format!("{other} leads")),
        })
        .await;
        world.operators[leader].start().await;
        leader = next;
    }

    world.all_delivered(deliveries).await;
    for candidate in &candidates {
        world.wait_for_one_pad(candidate).await;
        let made = world.pads_made_for(candidate);
        assert_eq!(made.len(), 1, "{made:#?}");
        assert_eq!(links_added(&world, candidate).len(), 1);
    }
    world.finish().await;
}

/// Duration for which Lever accepts nothing from the leader. The leader is frozen for longer: until its Lease has
/// expired and the new leader has waited 19 s for the creation of a pad to time out.
const PATIENCE_SECONDS: u64 = 20;

/// A leader whose machine is frozen does not notice that another one has taken over. When it resumes, its planned
/// requests have already been sent by the other one.
#[tokio::test(flavor = "multi_thread")]
async fn frozen_leader_sends_nothing_after_it_was_replaced() {
    let _alone = MACHINE.lock().await;
    let mut options = effects::world("frozen");
    options.replicas = 2;
    options.flags.retain(|flag| !flag.starts_with("--interview-create-timeout"));
    options.flags.push("--interview-create-timeout=8s");
    let mut world = World::start(options).await;
    let leader = leads(&world).await.unwrap();
    world.send_to(&world.operators[1 - leader]);
    // Each request has taken effect, but the leader has not received the response: what follows is sent immediately
    // afterwards.
    let mut stopped = Vec::new();
    let written = ["intention", "pad", "pad's id", "status"];
    for effect in EFFECTS.iter().filter(|effect| written.contains(&effect.name)) {
        let subject = effect.prepare(&world, "it is frozen").await;
        let fault = (effect.request)(&subject).pause(Moment::AfterEffect);
        let faults = match effect.of {
            Of::ApiServer => world.cluster_faults(leader),
            Of::Lever | Of::CoderPad => effect.faults(&world),
        };
        let held = faults.add(fault);
        effect.provoke(&world, &subject).await;
        stopped.push((effect, subject, held));
    }
    for (effect, _, held) in &stopped {
        soon(effect.name, held.reached()).await;
    }
    let put_off = world.candidate();
    let too_fast = Fault::on("GET", &format!("/opportunities/{put_off}$")).throttle(PATIENCE_SECONDS);
    world.lever.faults().add(too_fast);
    world.enter(&put_off).await;
    world.wait_for_pad(&put_off, "Pending/LeverRateLimited").await;
    // One response arrives, and the link waits for the rate limit.
    let (_, waits, held) = stopped.iter().find(|(effect, ..)| effect.of == Of::CoderPad).unwrap();
    held.release();
    // The handling of the response is not observable before the link's request.
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.operators[leader].signal("STOP").await;
    assert!(links_added(&world, &waits.candidate).is_empty(), "it does not wait");
    stopped.iter().for_each(|(_, _, held)| held.release());
    for (effect, subject, _) in &stopped {
        effect.ends(&world, subject).await;
    }

    world.operators[leader].signal("CONT").await;
    assert_ne!(world.operators[leader].ended().await, Some(0), "the exit code reports a failure");
    for (effect, subject, _) in &stopped {
        effect.ends(&world, subject).await;
    }
    world.wait_for_one_pad(&put_off).await;

    world.operators[leader].start().await;
    world.finish().await;
}
