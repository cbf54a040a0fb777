//! kubectl as users use it, and what administrators of the cluster monitor.

use serde_json::json;

use crate::environment::{CONFIGURATION, CONNECTION, Options, TestEnv};
use crate::wait::eventually;

async fn header(env: &TestEnv, arguments: &[&str]) -> String {
    let table = env.kubectl(&[&["get"], arguments].concat()).await.unwrap();
    table.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_get_wait_and_explain_work() {
    let env = TestEnv::start(Options::new("kubectl")).await;
    let candidate = env.candidate();
    let spec = json!({"configurationRef": {"name": CONFIGURATION}, "opportunityID": candidate});
    env.kubectl_apply("Pad", "by-hand", &spec).await.unwrap();
    let (pad, rule, connection) = ("pad/by-hand", "padcfg/phone-screen", "leverconn/acme");
    let wait = ["wait", "--for=condition=Ready", "--timeout=60s", pad, rule, connection];
    env.kubectl(&wait).await.unwrap();
    let phase = ["wait", "--for=jsonpath={.status.phase}=Open", "--timeout=60s", pad];
    env.kubectl(&phase).await.unwrap();

    let tables = [
        ("pads", "NAME CANDIDATE CONFIGURATION PHASE REASON URL AGE", "TYPE OPPORTUNITY PAD READY ENDED"),
        ("padcfg", "NAME CONNECTION STAGE TAG TYPE READY OPEN AGE", "REASON"),
        ("leverconn", "NAME ORGANIZATION READY WEBHOOK QUOTA AGE", "REASON URL"),
    ];
    for (resource, columns, wide) in tables {
        assert_eq!(header(&env, &[resource]).await, columns);
        assert_eq!(header(&env, &[resource, "--output", "wide"]).await, format!("{columns} {wide}"));
    }
    let table = env.kubectl(&["get", "leverconnections", "--no-headers"]).await.unwrap();
    let cells: Vec<_> = table.split_whitespace().collect();
    // The quota is that of the last probe of the services.
    assert_eq!(cells[..5], [CONNECTION, "Northwind", "True", "True", "500"], "{table}");
    let all = env.kubectl(&["get", "padoperator", "--output", "name"]).await.unwrap();
    assert_eq!(all.lines().count(), 3, "{all}");
    // Kubernetes 1.30 accepts the definition and drops these selectors; they work from 1.31 on.
    for (kind, selector, found) in [
        ("pads", "spec.configurationRef.name=phone-screen", "pad.padoperator.dev/by-hand"),
        ("pads", &format!("spec.opportunityID={candidate},status.phase=Open"), "pad.padoperator.dev/by-hand"),
        ("pads", "status.phase=Failed", ""),
        ("padcfg", "spec.connectionRef.name=acme", "padconfiguration.padoperator.dev/phone-screen"),
        ("padcfg", "spec.connectionRef.name=other", ""),
    ] {
        let selected = ["get", kind, "--field-selector", selector, "-o", "name"];
        assert_eq!(env.kubectl(&selected).await.unwrap().trim(), found, "{selector}");
    }

    let explained = [
        ("padconfigurations.spec.tag", "Case-sensitive"),
        ("padconfigurations.spec.type", "time limit of 2 hours"),
        ("leverconnections.spec.lever.apiKeySecretRef", "Lever API key"),
        ("leverconnections.status.webhookURL", "paste into Lever"),
        ("pads.spec.opportunityID", "Lever"),
        ("pads.status.phase", "Phase of the Pad"),
    ];
    for (field, text) in explained {
        let printed = env.kubectl(&["explain", field]).await.unwrap();
        let printed = printed.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(printed.contains(text), "{printed}");
    }
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_served() {
    let mut env = TestEnv::start(Options::new("health")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
    let operator = env.operator();
    for path in ["/livez", "/readyz"] {
        let (status, page) = operator.get(path).await.unwrap();
        assert!(status == 200 && page.lines().all(|line| line.starts_with("ok ")), "{page}");
    }
    assert_eq!(operator.get("/").await.unwrap().0, 404);
    let (_, metrics) = operator.get("/metrics").await.unwrap();
    assert!(metrics.contains("# TYPE pad_operator_webhooks counter"), "{metrics}");
    assert!(metrics.contains("Accepted") && metrics.contains("POST /pads"), "{metrics}");
    env.finish().await;
}

/// The counts of a configuration's Pads are updated on request.
#[tokio::test(flavor = "multi_thread")]
async fn request_is_echoed_on_every_kind() {
    let env = TestEnv::start(Options::new("requested")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
    let pad = env.pads_of(&candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    for (plural, name) in
        [("pads", pad.as_str()), ("padconfigurations", CONFIGURATION), ("leverconnections", CONNECTION)]
    {
        env.reconcile(plural, name).await;
    }
    // Longer than the status may contain: echoed up to the maximum length, and the status is still written.
    for (plural, name) in
        [("pads", pad.as_str()), ("padconfigurations", CONFIGURATION), ("leverconnections", CONNECTION)]
    {
        let long = json!({"padoperator.dev/reconcile-requested-at": "x".repeat(300)});
        env.patch(plural, name, json!({"metadata": {"annotations": long}})).await;
        eventually("the request is echoed in part", async || {
            let echo = env.get(plural, name).await["status"]["lastHandledReconcileAt"].clone();
            if echo == "x".repeat(256) { Ok(()) } else { Err(echo.to_string()) }
        })
        .await;
    }
    let rule = env.get("padconfigurations", CONFIGURATION).await;
    assert_eq!(
        rule["status"]["pads"],
        json!({"pending": 0, "open": 1, "ended": 0, "skipped": 0, "failed": 0})
    );
    env.finish().await;
}

/// However often it is reconciled, and by another process too.
#[tokio::test(flavor = "multi_thread")]
async fn problems_that_need_a_person_are_one_event() {
    let mut options = Options::new("one-event");
    options.flags.push("--leader-election=false");
    let mut env = TestEnv::start(options).await;
    env.configure("lost", json!({"stage": "Nowhere", "tag": "lost"})).await;
    let stalled = ("padconfigurations", "lost");
    env.wait_for(stalled.0, stalled.1, "Ready", "False/StageNotFound").await;
    for _ in 0..2 {
        env.sync().await;
        env.reconcile(stalled.0, stalled.1).await;
        env.operator().kill().await;
        env.operator().start().await;
    }
    env.reconcile(stalled.0, stalled.1).await;
    let events = env.events().await;
    let [event] = events.as_array().unwrap().as_slice() else { panic!("{events:#}") };
    assert_eq!(
        (&event["type"], &event["reason"], &event["regarding"]["name"], &event["series"]),
        (&json!("Warning"), &json!("StageNotFound"), &json!("lost"), &json!(null))
    );
    env.finish().await;
}
