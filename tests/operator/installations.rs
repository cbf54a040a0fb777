//! Two clusters with the same manifests on one Lever account: each candidate gets one pad, and neither cluster changes
//! a pad of the other (contract, "Several installations").

use std::time::Duration;

use serde_json::json;
use simulators::{Fault, FaultAction, PausePoint};
use tokio::sync::OnceCell;

use crate::cluster::Cluster;
use crate::effects::links_added;
use crate::environment::{CONFIGURATION, CONNECTION, Options, STAGE, TestEnv};
use crate::status::{brief, message_of, phase};
use crate::wait::{eventually, must_finish};

const INSTALLATION: &str = "padoperator.dev/installation";
const CREATE: &str = "^/api/pads/?$";

/// Returns the other cluster, which all tests of this file share.
async fn other_cluster() -> Cluster {
    static OTHER: OnceCell<Cluster> = OnceCell::const_new();
    OTHER.get_or_init(Cluster::with_crds).await.clone()
}

/// Starts two clusters with the same manifests.
async fn two_clusters(name: &'static str, options: impl Fn(&'static str) -> Options) -> (TestEnv, TestEnv) {
    let first = TestEnv::start(options(name)).await;
    let second = first.start_in_other_cluster(other_cluster().await, options(name)).await;
    assert_eq!(first.namespace, second.namespace, "both clusters need the same namespace");
    (first, second)
}

/// Sends Lever's webhooks only to this environment.
fn deliver_to(env: &TestEnv) {
    env.send_to(&env.operators[0]);
}

fn deliver_to_both(first: &TestEnv, second: &TestEnv) {
    deliver_to(first);
    let port = second.operators[0].webhooks;
    let url = format!("127.0.0.1:{port}/webhooks/lever/{}/{CONNECTION}", second.namespace);
    first.lever.set_webhook(&url, &second.signing_token);
}

async fn installation_of(env: &TestEnv) -> String {
    let connection = env.get("leverconnections", CONNECTION).await;
    connection["metadata"]["annotations"][INSTALLATION].as_str().unwrap_or_default().to_owned()
}

async fn pad_name(env: &TestEnv, candidate: &str) -> String {
    env.pads_of(candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned()
}

/// Returns the installation that a pad names in its third line.
fn signed_by(notes: Option<&String>) -> String {
    let line = notes.and_then(|notes| notes.lines().nth(2)).unwrap_or_default();
    line.strip_prefix("Installation: ").unwrap_or_default().to_owned()
}

/// Waits until a candidate has one pad and one link, the Pad of one cluster is Open, and that of the other has yielded.
async fn wait_for_one_pad_each(envs: [&TestEnv; 2], candidate: &str) {
    const OPEN: &str = "Open/Open";
    const OWNED: &str = "Skipped/OwnedByAnotherInstallation";
    eventually(&format!("{candidate} has one pad"), async || {
        let links = envs[0].lever.links(candidate);
        let mut alive = envs[0].created_pads_of(candidate);
        alive.retain(|pad| !pad.deleted);
        let mut phases = Vec::new();
        for env in envs {
            phases.extend(env.pads_of(candidate).await.iter().map(phase));
        }
        phases.sort();
        let is_one = links.len() == 1 && alive.len() == 1 && alive[0].url == links[0];
        if is_one && phases == [OPEN, OWNED] {
            Ok(())
        } else {
            Err(format!("{phases:?} {links:?} {alive:#?}"))
        }
    })
    .await;
}

// contract I1
#[tokio::test(flavor = "multi_thread")]
async fn installation_id_is_written_once_and_restored() {
    let env = TestEnv::start(Options::new("installation-id")).await;
    let id = installation_of(&env).await;
    assert_eq!(id.len(), 16, "{id}");
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    assert_eq!(signed_by(made.notes.as_ref()), id, "contract I2");
    // Users who apply manifests do not manage this field, and `kubectl replace` removes it.
    let connection = env.get("leverconnections", CONNECTION).await;
    env.kubectl_apply("LeverConnection", CONNECTION, &connection["spec"]).await.unwrap();
    assert_eq!(installation_of(&env).await, id);
    let bare = json!({"apiVersion": "padoperator.dev/v1alpha1", "kind": "LeverConnection",
        "metadata": {"name": CONNECTION, "namespace": env.namespace}, "spec": connection["spec"]});
    env.cluster.kubectl(&["replace", "--filename", "-"], Some(&bare.to_string())).await.unwrap();
    eventually("the ID is back", async || {
        let now = installation_of(&env).await;
        if now == id { Ok(()) } else { Err(now) }
    })
    .await;
    // An invalid ID is reported, and no pad is created with it.
    let annotate = async |value: &str| {
        let patch = json!({"metadata": {"annotations": {INSTALLATION: value}}});
        env.patch("leverconnections", CONNECTION, patch).await;
    };
    annotate("production").await;
    let object = env.wait_for("leverconnections", CONNECTION, "Ready", "False/InstallationIDInvalid").await;
    assert!(message_of(&object, "Ready").contains(&id), "{object:#}");
    let later = env.candidate();
    env.enter(&later).await;
    env.wait_for_pad(&later, "Pending/ConnectionNotReady").await;
    annotate(&id).await;
    env.wait_for_one_pad(&later).await;
    env.finish().await;
}

// contract I3, I4, I6
#[tokio::test(flavor = "multi_thread")]
async fn second_cluster_does_not_change_pads_of_the_first() {
    let (first, second) = two_clusters("two-clusters", Options::new).await;
    let (own, other) = (installation_of(&second).await, installation_of(&first).await);
    assert_ne!(own, other);
    assert_eq!(brief(&second.get("leverconnections", CONNECTION).await, "Exclusive"), "True/Exclusive");

    // One after the other, and deleted in the second cluster with each policy.
    let mut kept = Vec::new();
    for policy in ["Retain", "Unlink", "Delete"] {
        let candidate = first.candidate();
        deliver_to(&first);
        first.enter(&candidate).await;
        let made = first.wait_for_one_pad(&candidate).await;
        deliver_to(&second);
        let delivery = first.lever.deliveries().len() - 1;
        let again = first.lever.deliveries()[delivery].body.clone();
        let printed = second.lever.deliver_raw(again.to_string()).await;
        assert_eq!(printed.status, Some(200), "{printed:?}");
        let pad = second.wait_for_pad(&candidate, "Skipped/OwnedByAnotherInstallation").await;
        assert!(message_of(&pad, "Ready").contains(&other), "{pad:#}");
        assert_eq!(pad["status"]["otherInstallation"], other);
        kept.push((policy, candidate, made));
    }
    let object = second.wait_for("leverconnections", CONNECTION, "Exclusive", "False/AccountShared").await;
    assert!(message_of(&object, "Exclusive").contains(&other), "{object:#}");
    assert_eq!(brief(&object, "Ready"), "True/Connected");
    let events = second.list("events").await;
    let warnings = events.iter().filter(|event| event["reason"] == "AccountShared").count();
    assert_eq!(warnings, 1, "{events:#?}");
    // A sync does not read them repeatedly.
    second.sync().await;
    second.interview.clear_calls();
    second.sync().await;
    let calls = second.interview.calls();
    let reads = calls.iter().filter(|call| kept.iter().any(|(_, _, made)| call.path.ends_with(&made.id)));
    assert_eq!(reads.count(), 0, "{calls:#?}");

    for (policy, candidate, made) in &kept {
        let name = pad_name(&second, candidate).await;
        second.patch("pads", &name, json!({"spec": {"deletionPolicy": policy}})).await;
        second.delete("pads", &name).await;
        eventually("it is deleted", async || {
            let pads = second.pads_of(candidate).await;
            if pads.is_empty() { Ok(()) } else { Err(format!("{pads:#?}")) }
        })
        .await;
        assert_eq!(first.lever.links(candidate), [made.url.as_str()], "{policy}");
        assert!(!first.interview.pad(&made.id).unwrap().deleted, "{policy}");
        first.wait_for_one_pad(candidate).await;
    }
    second.wait_for("leverconnections", CONNECTION, "Exclusive", "True/Exclusive").await;

    // A Pad copied from the first cluster with its annotations names a foreign pad.
    let (_, candidate, made) = &kept[2];
    let restored = first.pads_of(candidate).await.pop().unwrap();
    let metadata = json!({"name": restored["metadata"]["name"], "namespace": second.namespace,
        "labels": restored["metadata"]["labels"], "annotations": restored["metadata"]["annotations"]});
    let mut spec = restored["spec"].clone();
    spec["deletionPolicy"] = json!("Delete");
    let restored =
        json!({"apiVersion": restored["apiVersion"], "kind": "Pad", "metadata": metadata, "spec": spec});
    second.cluster.kubectl(&["create", "--filename", "-"], Some(&restored.to_string())).await.unwrap();
    second.wait_for_pad(candidate, "Skipped/OwnedByAnotherInstallation").await;

    // The second cluster replaces the first: it adopts the existing pads.
    let mut first = first;
    first.operator().terminate().await;
    second.patch("leverconnections", CONNECTION, json!({"spec": {"takeOver": [other]}})).await;
    second.wait_for_one_pad(candidate).await;
    second.wait_for("leverconnections", CONNECTION, "Exclusive", "True/Exclusive").await;
    assert_eq!(links_added(&second, candidate).len(), 1);
    let name = pad_name(&second, candidate).await;
    second.delete("pads", &name).await;
    eventually("its pad is deleted", async || {
        let deleted = second.interview.pad(&made.id).unwrap().deleted;
        if deleted && second.lever.links(candidate).is_empty() { Ok(()) } else { Err(format!("{deleted}")) }
    })
    .await;
    first.operator().start().await;
    deliver_to_both(&first, &second);
    second.finish().await;
    first.finish().await;
}

// contract I1: the ID is part of a backup with metadata, and not of the manifests.
#[tokio::test(flavor = "multi_thread")]
async fn new_cluster_with_the_restored_id_adopts_the_pads() {
    let mut first = TestEnv::start(Options::new("rebuilt")).await;
    let id = installation_of(&first).await;
    let candidate = first.candidate();
    first.enter(&candidate).await;
    let made = first.wait_for_one_pad(&candidate).await;
    first.operator().terminate().await;

    let options = Options::new("rebuilt").without_setup();
    let second = first.start_in_other_cluster(other_cluster().await, options).await;
    let patch = json!({"metadata": {"annotations": {INSTALLATION: id}}});
    second.patch("leverconnections", CONNECTION, patch).await;
    second.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/InUse").await;
    deliver_to(&second);
    let delivery = second.lever.deliveries().last().unwrap().body.clone();
    assert_eq!(second.lever.deliver_raw(delivery.to_string()).await.status, Some(200));
    assert_eq!(second.wait_for_one_pad(&candidate).await.id, made.id);
    assert_eq!(links_added(&second, &candidate).len(), 1);
    first.operator().start().await;
    second.finish().await;
    first.finish().await;
}

/// Both clusters receive each webhook at the same time, and both create a pad before either has a link.
// contract I5
#[tokio::test(flavor = "multi_thread")]
async fn candidates_of_two_clusters_end_with_one_pad_each() {
    // Four candidates each. A long run has 25 rounds.
    let rounds: usize = std::env::var("TWO_CLUSTERS_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let options = |name| {
        let mut options = Options::new(name).polling("2s");
        options.connection["interview"]["maxPadsPerHour"] = json!(0);
        options
    };
    let (first, second) = two_clusters("two-at-once", options).await;
    deliver_to_both(&first, &second);
    let slow = Fault::on("POST", CREATE).delay_answer(Duration::from_millis(150)).until_removed();
    first.interview.faults().add(slow);
    let mut all = Vec::new();
    for round in 0..rounds {
        // The link that is added first occasionally belongs to the later pad.
        for nth in 0..2 {
            let link = Fault::on("POST", "/addLinks$").delay(Duration::from_millis(400 * (nth + 1)));
            first.lever.faults().add(link.times(2 + u32::try_from(round % 5).unwrap()));
        }
        let candidates: Vec<_> = (0..4).map(|_| first.candidate()).collect();
        for candidate in &candidates {
            let moved = first.lever.move_to_stage(candidate, STAGE).await;
            first.wait_until_delivered(moved.deliveries).await;
        }
        all.extend(candidates);
    }
    for candidate in &all {
        wait_for_one_pad_each([&first, &second], candidate).await;
    }
    let made = first.creates();
    println!("{} candidates: {made} pads created, one remains for each", all.len());
    assert!(made > all.len(), "no candidate got two pads, so the test proves nothing");
    for candidate in &all {
        let shared = [&first, &second];
        let links = shared.map(|env| links_added(env, candidate).len());
        assert!(links[0] <= 2, "{links:?}");
    }
    let mut exclusive = Vec::new();
    for env in [&first, &second] {
        exclusive.push(brief(&env.get("leverconnections", CONNECTION).await, "Exclusive"));
    }
    assert!(exclusive.iter().any(|one| one == "False/AccountShared"), "{exclusive:?}");
    second.finish().await;
    first.finish().await;
}

/// The response to A is lost and B creates and links in the meantime: A must neither find nor delete B's pad.
// contract I3
#[tokio::test(flavor = "multi_thread")]
async fn search_after_a_lost_response_does_not_change_a_foreign_pad() {
    let (first, second) = two_clusters("lost-between-two", Options::new).await;
    let lost = first.interview.faults().add(Fault::on("POST", CREATE).lose_answer());
    let candidate = first.candidate();
    deliver_to(&first);
    first.enter(&candidate).await;
    must_finish("its response is lost", lost.reached()).await;
    deliver_to(&second);
    let delivery = second.lever.deliveries().last().unwrap().body.clone();
    assert_eq!(second.lever.deliver_raw(delivery.to_string()).await.status, Some(200));
    let of_second = second.wait_for_pad(&candidate, "Open/Open").await;
    wait_for_one_pad_each([&first, &second], &candidate).await;
    assert_eq!(first.lever.links(&candidate), [of_second["status"]["url"].as_str().unwrap()]);
    first.wait_for_pad(&candidate, "Skipped/OwnedByAnotherInstallation").await;
    second.finish().await;
    first.finish().await;
}

/// A person has joined the pad that would yield: it remains, and that is reported.
// contract I5
#[tokio::test(flavor = "multi_thread")]
async fn later_pad_that_a_person_has_joined_remains_and_is_reported() {
    let (first, second) = two_clusters("joined", Options::new).await;
    let other = installation_of(&first).await;
    let candidate = first.candidate();
    // The first cluster creates its pad first and links it last.
    deliver_to(&first);
    let held = first.lever.faults().add(Fault::on("POST", "/addLinks$").pause(PausePoint::BeforeEffect));
    first.enter(&candidate).await;
    must_finish("its link is in flight", held.reached()).await;
    // CoderPad's times have whole seconds; within one second the ID decides.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    deliver_to(&second);
    let delivery = second.lever.deliveries().last().unwrap().body.clone();
    assert_eq!(second.lever.deliver_raw(delivery.to_string()).await.status, Some(200));
    let later = second.wait_for_pad(&candidate, "Open/Open").await;
    let later_id = later["status"]["padID"].as_str().unwrap().to_owned();
    second.interview.start_interview(&later_id, &["Ada"]);
    held.release();
    first.wait_for_pad(&candidate, "Open/Open").await;
    assert_eq!(first.lever.links(&candidate).len(), 2);
    second.sync().await;
    let object = eventually("it is reported", async || {
        let pad = second.pads_of(&candidate).await.pop().unwrap();
        if pad["status"]["otherInstallation"] == other { Ok(pad) } else { Err(format!("{pad:#}")) }
    })
    .await;
    assert_eq!(phase(&object), "Started/Started", "{object:#}");
    assert!(message_of(&object, "Ready").contains(&other), "{object:#}");
    second.wait_for("leverconnections", CONNECTION, "Exclusive", "False/AccountShared").await;
    assert!(!second.interview.pad(&later_id).unwrap().deleted);
    assert_eq!(first.lever.links(&candidate).len(), 2);
    second.finish().await;
    first.finish().await;
}

// contract I7
#[tokio::test(flavor = "multi_thread")]
async fn two_connections_of_one_account_report_the_same_rule() {
    let env = TestEnv::start(Options::new("duplicate-rules")).await;
    env.apply("leverconnections", "acme-2", env.connection_spec()).await;
    env.apply("padconfigurations", "twin", json!({"connectionRef": {"name": "acme-2"}})).await;
    for (name, other) in [(CONFIGURATION, "twin"), ("twin", CONFIGURATION)] {
        let object = env.wait_for("padconfigurations", name, "Ready", "True/Duplicate").await;
        assert!(
            message_of(&object, "Ready").contains(&format!("delete padconfiguration {other}")),
            "{object:#}"
        );
    }
    // Another tag is another rule.
    env.patch("padconfigurations", "twin", json!({"spec": {"tag": "other"}})).await;
    env.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/InUse").await;
    env.wait_for("padconfigurations", "twin", "Ready", "True/InUse").await;
    env.patch("padconfigurations", "twin", json!({"spec": {"tag": "coderpad"}})).await;
    env.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/Duplicate").await;
    env.delete("padconfigurations", "twin").await;
    env.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/InUse").await;
    env.finish().await;
}

/// The connection is renamed, and the rule is recreated under its previous name.
#[tokio::test(flavor = "multi_thread")]
async fn pads_continue_after_their_connection_was_renamed() {
    let env = TestEnv::start(Options::new("renamed")).await;
    let (open, over) = (env.candidate(), env.candidate());
    let mut made = Vec::new();
    for candidate in [&open, &over] {
        env.enter(candidate).await;
        made.push(env.wait_for_one_pad(candidate).await);
    }
    env.end_interview(&over, &made[1].id).await;
    env.sync().await;
    env.wait_for_pad(&over, "Ended/Ended").await;

    for webhook in env.lever.webhooks() {
        env.lever.remove_webhook(webhook["id"].as_str().unwrap());
    }
    env.delete("padconfigurations", CONFIGURATION).await;
    env.delete("leverconnections", CONNECTION).await;
    let mut spec = env.connection_spec();
    spec["sync"] = json!({"interval": "0s"});
    env.apply("leverconnections", "acme-2", spec).await;
    env.apply("padconfigurations", CONFIGURATION, json!({"connectionRef": {"name": "acme-2"}})).await;
    env.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/InUse").await;
    let own = env.get("leverconnections", "acme-2").await;
    assert_ne!(own["status"]["installation"], signed_by(made[0].notes.as_ref()));
    // The open pad is tracked to its end.
    env.end_interview(&open, &made[0].id).await;
    env.reconcile("leverconnections", "acme-2").await;
    let ended = env.wait_for_pad(&open, "Ended/Ended").await;
    assert_eq!(brief(&ended, "RecordAdded"), "True/Written", "{ended:#}");
    // A new entry of a candidate with an older Pad gets its pad.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    env.lever.move_to_stage(&over, "Onsite").await;
    env.lever.move_to_stage(&over, STAGE).await;
    env.reconcile("leverconnections", "acme-2").await;
    let second = env.wait_for_nth_pad(&over, 2, "Open/Open").await;
    assert_eq!(second["spec"]["connectionRef"]["name"], "acme-2");
    assert_eq!(env.created_pads_of(&over).len(), 2);
    let object = env.get("leverconnections", "acme-2").await;
    assert_eq!(brief(&object, "Exclusive"), "True/Exclusive");
    env.finish().await;
}

/// Deletes the connection and its configuration.
async fn remove_connection(env: &TestEnv) {
    for webhook in env.lever.webhooks() {
        env.lever.remove_webhook(webhook["id"].as_str().unwrap());
    }
    env.delete("padconfigurations", CONFIGURATION).await;
    env.delete("leverconnections", CONNECTION).await;
    let gone = async || {
        env.find("leverconnections", CONNECTION).await.is_none().then_some(()).ok_or("there".to_owned())
    };
    eventually("the connection is deleted", gone).await;
}

/// Applies the same manifests again, with this name of the connection.
async fn recreate_connection(env: &TestEnv, name: &str) {
    let mut spec = env.connection_spec();
    spec["sync"] = json!({"interval": "0s"});
    env.apply("leverconnections", name, spec).await;
    env.apply("padconfigurations", CONFIGURATION, json!({"connectionRef": {"name": name}})).await;
    env.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/InUse").await;
}

/// CoderPad created the pad, its response was lost, and before the search the connection was deleted and recreated
/// under the same or another name: it has a new installation ID, and the pad names the previous one.
#[tokio::test(flavor = "multi_thread")]
async fn creation_in_flight_is_adopted_after_its_connection_was_recreated() {
    for (namespace, name) in [("in-flight-same", CONNECTION), ("in-flight-renamed", "acme-2")] {
        let env = TestEnv::start(Options::new(namespace)).await;
        let candidate = env.candidate();
        let faults = env.interview.faults();
        let created = faults.add(Fault::on("POST", CREATE).action(FaultAction::LoseAnswer));
        let unlisted = FaultAction::Status { code: 503, body: None };
        let list =
            faults.add(Fault::on("GET", "^/api/organization/pads/?$").times(u32::MAX).action(unlisted));
        env.enter(&candidate).await;
        created.reached().await;
        eventually("the pad was created", async || {
            let made = env.created_pads_of(&candidate);
            (made.len() == 1).then_some(()).ok_or(format!("{made:?}"))
        })
        .await;
        remove_connection(&env).await;
        list.remove();
        recreate_connection(&env, name).await;
        env.wait_for_pad(&candidate, "Open/Open").await;
        assert_eq!(env.created_pads_of(&candidate).len(), 1, "{name}");
        env.finish().await;
    }
}

/// An open pad remains an own pad when its connection is deleted and recreated under the same name.
#[tokio::test(flavor = "multi_thread")]
async fn pad_is_deleted_in_coderpad_after_its_connection_was_recreated() {
    let mut options = Options::new("recreated");
    options.configurations[0].1["deletionPolicy"] = json!("Delete");
    let env = TestEnv::start(options).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    env.wait_for_pad(&candidate, "Open/Open").await;
    remove_connection(&env).await;
    recreate_connection(&env, CONNECTION).await;
    env.delete("pads", &pad_name(&env, &candidate).await).await;
    eventually("the pad is deleted", async || {
        let live = env.interview.live_pads();
        live.iter().all(|pad| pad.id != made.id).then_some(()).ok_or(format!("{live:?}"))
    })
    .await;
    assert_eq!(env.lever.links(&candidate), Vec::<String>::new());
    env.finish().await;
}
