//! Findings of the probe of a connection, and problems that must not take a connection out of service.

use serde_json::json;
use simulators::{Fault, Permissions};

use crate::environment::{CONNECTION, Options, World};
use crate::status::{brief, message_of};
use crate::wait::{eventually, eventually_within, soon};

/// Longer than the delay before the first retry, far shorter than the interval.
const SECONDS: std::time::Duration = std::time::Duration::from_secs(20);

async fn perform_as(world: &World, user: &str) {
    let spec = json!({"spec": {"lever": {"performAs": user}}});
    world.patch("leverconnections", CONNECTION, spec).await;
}

// contract C3b
#[tokio::test(flavor = "multi_thread")]
async fn unknown_or_deactivated_perform_as_user_is_reported_before_any_pad_is_created() {
    let mut options = Options::new("perform-as").unsettled();
    options.connection["lever"] = json!({"performAs": "nobody-7"});
    let key = options.lever.api_key.clone();
    let world = World::start(options).await;
    let connection = world.wait_for("leverconnections", CONNECTION, "Ready", "False/PerformAsInvalid").await;
    assert_eq!(brief(&connection, "Stalled"), "True/PerformAsInvalid");
    let message = message_of(&connection, "Ready");
    for part in ["spec.lever.performAs", "nobody-7", "kubectl patch leverconnection acme"] {
        assert!(message.contains(part), "{message}");
    }
    world.paste_webhook().await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    world.wait_for_pad(&candidate, "Pending/ConnectionNotReady").await;
    assert_eq!(world.creates(), 0);

    let user = world.lever.add_user("Iris Interviewer", "iris");
    perform_as(&world, &user).await;
    world.wait_for_one_pad(&candidate).await;
    world.lever.deactivate_user(&user);
    world.request("leverconnections", CONNECTION).await;
    let connection = world.wait_for("leverconnections", CONNECTION, "Ready", "False/PerformAsInvalid").await;
    assert!(message_of(&connection, "Ready").contains("deactivated"), "{connection:#}");

    // With a key that may not read users, nothing can be checked.
    world.lever.set_key(&key, Permissions::all().without("users:read"));
    world.request("leverconnections", CONNECTION).await;
    world.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_malformed_opportunity_does_not_disconnect_the_connection() {
    let world = World::start(Options::new("odd-opportunity")).await;
    let faults = world.lever.faults();
    for alone in [true, false] {
        world.candidate();
        world.sync().await;
        // The opportunity that the probe reads.
        let read = |call: &simulators::Call| call.path.strip_prefix("/v1/opportunities/").map(str::to_owned);
        let first = world.lever.calls().iter().rev().filter_map(read).find(|id| id != "deleted").unwrap();
        let path = format!("^/v1/opportunities/{first}$");
        for fault in [
            Fault::on("GET", &path).redirect(301, "/v1/opportunities/another"),
            Fault::on("GET", &path).status(404),
            Fault::on("GET", &path).status(410),
            Fault::on("GET", &path).empty(410),
            Fault::on("GET", &path).page(404),
            Fault::on("GET", &path).status(500),
            Fault::on("GET", &path).status(403),
            Fault::on("GET", &path).garbage_after_effect(),
        ] {
            // A failure that might be caused by the key requires another opportunity that can be read.
            let is_about_it = !matches!(
                fault.action,
                simulators::Action::Status { code: 403 | 500, .. } | simulators::Action::GarbageAfterEffect
            );
            if alone && !is_about_it {
                continue;
            }
            let action = format!("{:?}", fault.action);
            let odd = faults.add(fault.until_removed());
            for _ in 0..4 {
                world.sync().await;
                let connection = world.get("leverconnections", CONNECTION).await;
                assert_eq!(brief(&connection, "Ready"), "True/Connected", "{action}");
            }
            assert!(odd.hits() > 0, "{action} was not met: {:?}", world.lever.opportunities());
            odd.remove();
        }
    }
    world.finish().await;
}

// contract C3a
#[tokio::test(flavor = "multi_thread")]
async fn firewall_page_never_blames_the_key_and_is_retried_within_seconds() {
    let world = World::start(Options::new("firewall").polling("5m")).await;
    for (of_lever, path) in [(true, "^/v1/stages$"), (false, "^/api/quota$")] {
        for code in if of_lever { [401, 403] } else { [404, 403] } {
            let faults = if of_lever { world.lever.faults() } else { world.interview.faults() };
            let page = faults.add(Fault::on("GET", path).page(code));
            world.request("leverconnections", CONNECTION).await;
            soon("the fault is met", page.reached()).await;
            let again = faults.add(Fault::on("GET", path).delay(std::time::Duration::ZERO));
            eventually_within(SECONDS, "it is retried", async || {
                if again.hits() > 0 { Ok(()) } else { Err("not yet".into()) }
            })
            .await;
            let connection = world.get("leverconnections", CONNECTION).await;
            assert_eq!(brief(&connection, "Ready"), "True/Connected", "{code} {path}");
        }
    }
    assert_eq!(world.events().await, json!([]), "no action is requested");

    // If the problem persists, the message names what responded. It does not blame the key.
    let page = world.lever.faults().add(Fault::on("GET", "^/v1/stages$").page(403).until_removed());
    world.request("leverconnections", CONNECTION).await;
    let connection = world.wait_for("leverconnections", CONNECTION, "Ready", "False/LeverUnavailable").await;
    let message = message_of(&connection, "Ready");
    assert!(message.contains("403") && message.contains("text/html, server edge"), "{message}");
    assert!(!message.contains("key"), "{message}");
    assert_eq!(brief(&connection, "Reconciling"), "True/LeverUnavailable");
    page.remove();
    world.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;

    // An open Pad is not ended either.
    let candidate = world.candidate();
    world.enter(&candidate).await;
    world.wait_for_one_pad(&candidate).await;
    let pad = world.name_of_pad(&candidate).await;
    let empty = world.interview.faults().add(Fault::on("GET", "^/api/pads/").empty(404).until_removed());
    world.request("pads", &pad).await;
    soon("the fault is met", empty.reached_times(2)).await;
    assert_eq!(brief(&world.get("pads", &pad).await, "Ready"), "True/Open");
    empty.remove();
    eventually("the request is handled", async || {
        let pad = world.get("pads", &pad).await;
        let handled = pad["status"]["lastHandledReconcileAt"].is_string();
        if handled { Ok(()) } else { Err(format!("{pad:#}")) }
    })
    .await;
    world.wait_for_one_pad(&candidate).await;
    world.finish().await;
}
