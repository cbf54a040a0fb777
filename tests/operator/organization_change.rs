//! Keys that work but belong to another organization: the operator concludes nothing about pads until a person has
//! decided (contract C4a).

use serde_json::{Value, json};
use simulators::{Fault, KeyRole, Moment, OTHER_ORGANIZATION};

use crate::environment::{CONFIGURATION, CONNECTION, Options, TAG, World};
use crate::status::{brief, message_of, phase};
use crate::wait::{eventually, soon};

const FOREIGN: &str = "interview-4e10-of-southwind";

fn right_key(name: &str) -> String {
    format!("interview-77b02e-{name}")
}

/// Requests for which the key of the other organization was used.
fn used_for(world: &World) -> Vec<String> {
    let mut calls = world.interview.calls();
    calls.retain(|call| call.key.as_deref() == Some(FOREIGN));
    let mut paths: Vec<_> = calls.into_iter().map(|call| format!("{} {}", call.method, call.path)).collect();
    paths.sort();
    paths.dedup();
    paths
}

async fn accept(world: &World, organization: &str) {
    let annotation = json!({"padoperator.dev/accept-organization": organization});
    world.patch("leverconnections", CONNECTION, json!({"metadata": {"annotations": annotation}})).await;
}

async fn pad_named(world: &World, name: &str) -> Value {
    world.get("pads", name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn key_of_another_organization_ends_nothing_and_the_right_key_resumes() {
    let mut options = Options::new("other-organization").polling("1s");
    options.flags.push("--leader-election=false");
    let mut world = World::start(options).await;
    let owner = "owner@northwind.example";
    world.interview.set_key(FOREIGN, owner, KeyRole::Elsewhere);
    let (kept, deleted) = (world.candidate(), world.candidate());
    for candidate in [&kept, &deleted] {
        world.enter(candidate).await;
        world.wait_for_one_pad(candidate).await;
    }
    let name_of = async |candidate: &str| -> String {
        world.pads_of(candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned()
    };
    let (kept_name, deleted_name) = (name_of(&kept).await, name_of(&deleted).await);
    world.patch("pads", &deleted_name, json!({"spec": {"deletionPolicy": "Delete"}})).await;

    // Prevents sync from creating a replacement Pad.
    world.lever.remove_tag(&deleted, TAG);

    // The first request with the key is slow: Pads that are reconciled in the meantime must wait for its result.
    let held =
        world.interview.faults().add(Fault::on("GET", "^/api/organization$").pause(Moment::BeforeEffect));
    world.set_secret("interview-api-key", FOREIGN).await;
    soon("the new key is tried", held.reached()).await;
    world.request("pads", &kept_name).await;
    world.delete("pads", &deleted_name).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(used_for(&world).is_empty(), "{:?}", used_for(&world));
    held.remove();

    let connection =
        world.wait_for("leverconnections", CONNECTION, "Ready", "False/OrganizationChanged").await;
    assert_eq!(brief(&connection, "Stalled"), "True/OrganizationChanged");
    assert_eq!(brief(&connection, "InterviewConnected"), "False/OrganizationChanged");
    assert_eq!(connection["status"]["organization"], "Northwind");
    let message = message_of(&connection, "Ready");
    for part in ["'Northwind'", "'Southwind'", "accept-organization=\"Southwind\" --overwrite"] {
        assert!(message.contains(part), "{message}");
    }

    // Another process reads it from the status. Webhooks are stored, retries and syncs are requested.
    world.operator().kill().await;
    world.operator().start().await;
    let late = world.candidate();
    world.enter(&late).await;
    world.request("pads", &kept_name).await;
    world.request("leverconnections", CONNECTION).await;
    world.wait_for_pad(&late, "Pending/ConnectionNotReady").await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(phase(&pad_named(&world, &kept_name).await), "Open/Open");
    assert_eq!(phase(&pad_named(&world, &deleted_name).await), "Pending/ConnectionNotReady");
    assert_eq!(used_for(&world), ["GET /api/organization"]);
    assert_eq!(world.interview.live_pads().len(), 2);

    world.set_secret("interview-api-key", &right_key("other-organization")).await;
    world.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    world.wait_for_one_pad(&late).await;
    world.wait_for_one_pad(&kept).await;
    eventually("the deletion is finished", async || {
        let left = world.pads_of(&deleted).await;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
    })
    .await;
    assert!(world.pads_made_for(&deleted).iter().all(|pad| pad.deleted));
    assert_eq!(used_for(&world), ["GET /api/organization"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_organization_is_accepted_by_its_exact_name() {
    let world = World::start(Options::new("accepted-organization")).await;
    let owner = "owner@northwind.example";
    world.interview.set_key(FOREIGN, owner, KeyRole::Elsewhere);
    world.interview.change_settings(|settings| settings.organization_id = Some(42));
    world.sync().await;
    assert_eq!(world.get("leverconnections", CONNECTION).await["status"]["organizationID"], "42");
    // A new name of the same organization changes nothing else.
    world.interview.rename_organization("Northwind Ltd");
    world.sync().await;
    let connection = world.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    assert_eq!(connection["status"]["organization"], "Northwind Ltd");

    world.set_secret("interview-api-key", FOREIGN).await;
    let connection =
        world.wait_for("leverconnections", CONNECTION, "Ready", "False/OrganizationChanged").await;
    assert!(message_of(&connection, "Ready").contains("'Southwind' (ID 43)"), "{connection:#}");
    accept(&world, "southwind").await;
    world.request("leverconnections", CONNECTION).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    world.wait_for("leverconnections", CONNECTION, "Ready", "False/OrganizationChanged").await;

    // No reconcile request: the annotation is enough.
    accept(&world, OTHER_ORGANIZATION).await;
    let connection = world.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    let status = &connection["status"];
    assert_eq!(
        (&status["organization"], &status["organizationID"]),
        (&json!(OTHER_ORGANIZATION), &json!("43"))
    );
    world.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/InUse").await;

    // Changing back is another change, which is accepted in the same way.
    world.set_secret("interview-api-key", &right_key("accepted-organization")).await;
    world.wait_for("leverconnections", CONNECTION, "Ready", "False/OrganizationChanged").await;
    accept(&world, "Northwind Ltd").await;
    world.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    world.wait_for_one_pad(&candidate).await;
    world.finish().await;
}
