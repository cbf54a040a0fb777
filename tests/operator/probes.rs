//! Findings of the probe of a connection, and problems that must not take a connection out of service.

use serde_json::json;
use simulators::{Fault, Permissions};

use crate::environment::{CONNECTION, Options, TestEnv};
use crate::status::{brief, message_of};
use crate::wait::{eventually, eventually_within, must_finish};

/// Longer than the delay before the first retry, far shorter than the interval.
const SECONDS: std::time::Duration = std::time::Duration::from_secs(20);

async fn perform_as(env: &TestEnv, user: &str) {
    let spec = json!({"spec": {"lever": {"performAs": user}}});
    env.patch("leverconnections", CONNECTION, spec).await;
}

// contract C3b
#[tokio::test(flavor = "multi_thread")]
async fn unknown_or_deactivated_perform_as_user_is_reported_before_any_pad_is_created() {
    let mut options = Options::new("perform-as").without_setup();
    options.connection["lever"] = json!({"performAs": "nobody-7"});
    let key = options.lever.api_key.clone();
    let env = TestEnv::start(options).await;
    let connection = env.wait_for("leverconnections", CONNECTION, "Ready", "False/PerformAsInvalid").await;
    assert_eq!(brief(&connection, "Stalled"), "True/PerformAsInvalid");
    let message = message_of(&connection, "Ready");
    for part in ["spec.lever.performAs", "nobody-7", "kubectl patch leverconnection acme"] {
        assert!(message.contains(part), "{message}");
    }
    env.configure_webhook().await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_pad(&candidate, "Pending/ConnectionNotReady").await;
    assert_eq!(env.creates(), 0);

    let user = env.lever.add_user("Iris Interviewer", "iris");
    perform_as(&env, &user).await;
    env.wait_for_one_pad(&candidate).await;
    env.lever.deactivate_user(&user);
    env.request("leverconnections", CONNECTION).await;
    let connection = env.wait_for("leverconnections", CONNECTION, "Ready", "False/PerformAsInvalid").await;
    assert!(message_of(&connection, "Ready").contains("deactivated"), "{connection:#}");

    // With a key that may not read users, nothing can be checked.
    env.lever.set_key(&key, Permissions::all().without("users:read"));
    env.request("leverconnections", CONNECTION).await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_malformed_opportunity_does_not_disconnect_the_connection() {
    let env = TestEnv::start(Options::new("odd-opportunity")).await;
    let faults = env.lever.faults();
    for alone in [true, false] {
        env.candidate();
        env.sync().await;
        // The opportunity that the probe reads.
        let read = |call: &simulators::Call| call.path.strip_prefix("/v1/opportunities/").map(str::to_owned);
        let first = env.lever.calls().iter().rev().filter_map(read).find(|id| id != "deleted").unwrap();
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
                simulators::FaultAction::Status { code: 403 | 500, .. }
                    | simulators::FaultAction::GarbageAfterEffect
            );
            if alone && !is_about_it {
                continue;
            }
            let action = format!("{:?}", fault.action);
            let odd = faults.add(fault.until_removed());
            for _ in 0..4 {
                env.sync().await;
                let connection = env.get("leverconnections", CONNECTION).await;
                assert_eq!(brief(&connection, "Ready"), "True/Connected", "{action}");
            }
            assert!(odd.hits() > 0, "{action} was not met: {:?}", env.lever.opportunities());
            odd.remove();
        }
    }
    env.finish().await;
}

// contract C3a
#[tokio::test(flavor = "multi_thread")]
async fn firewall_page_never_blames_the_key_and_is_retried_within_seconds() {
    let env = TestEnv::start(Options::new("firewall").polling("5m")).await;
    for (of_lever, path) in [(true, "^/v1/stages$"), (false, "^/api/quota$")] {
        for code in if of_lever { [401, 403] } else { [404, 403] } {
            let faults = if of_lever { env.lever.faults() } else { env.interview.faults() };
            let page = faults.add(Fault::on("GET", path).page(code));
            env.request("leverconnections", CONNECTION).await;
            must_finish("the fault is met", page.reached()).await;
            let again = faults.add(Fault::on("GET", path).delay(std::time::Duration::ZERO));
            eventually_within(SECONDS, "it is retried", async || {
                if again.hits() > 0 { Ok(()) } else { Err("not yet".into()) }
            })
            .await;
            let connection = env.get("leverconnections", CONNECTION).await;
            assert_eq!(brief(&connection, "Ready"), "True/Connected", "{code} {path}");
        }
    }
    assert_eq!(env.events().await, json!([]), "no action is requested");

    // If the problem persists, the message names what responded. It does not blame the key.
    let page = env.lever.faults().add(Fault::on("GET", "^/v1/stages$").page(403).until_removed());
    env.request("leverconnections", CONNECTION).await;
    let connection = env.wait_for("leverconnections", CONNECTION, "Ready", "False/LeverUnavailable").await;
    let message = message_of(&connection, "Ready");
    assert!(
        message.contains("403") && message.contains("text/html, at most 1 KiB, server edge"),
        "{message}"
    );
    assert!(!message.contains("key"), "{message}");
    assert_eq!(brief(&connection, "Reconciling"), "True/LeverUnavailable");
    page.remove();
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;

    // An open Pad is not ended either.
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
    let pad = env.name_of_pad(&candidate).await;
    let empty = env.interview.faults().add(Fault::on("GET", "^/api/pads/").empty(404).until_removed());
    env.request("pads", &pad).await;
    must_finish("the fault is met", empty.reached_times(2)).await;
    assert_eq!(brief(&env.get("pads", &pad).await, "Ready"), "True/Open");
    empty.remove();
    eventually("the request is handled", async || {
        let pad = env.get("pads", &pad).await;
        let handled = pad["status"]["lastHandledReconcileAt"].is_string();
        if handled { Ok(()) } else { Err(format!("{pad:#}")) }
    })
    .await;
    env.wait_for_one_pad(&candidate).await;
    env.finish().await;
}
