//! Answers that differ from the documentation of the services: reported on the connection and counted, nothing else.

use std::time::Duration;

use serde_json::{Value, json};
use simulators::{Fault, FaultHandle};
use tokio::time::sleep;

use crate::environment::{CONNECTION, Options, TestEnv};
use crate::status::{brief, message_of};
use crate::wait::eventually;

const TYPE: &str = "ServicesAsExpected";
const LIST: &str = "^/api/organization/pads/?$";

/// Waits until the condition is False for this reason, and its message contains all of these parts. The connection is
/// Ready. Returns the connection.
async fn wait_for_surprise(env: &TestEnv, reason: &str, parts: &[&str]) -> Value {
    eventually(&format!("{reason} is reported with {parts:?}"), async || {
        let connection = env.get("leverconnections", CONNECTION).await;
        assert_eq!(brief(&connection, "Ready"), "True/Connected", "{connection:#}");
        let message = message_of(&connection, TYPE);
        let is_reported = brief(&connection, TYPE) == format!("False/{reason}");
        if is_reported && parts.iter().all(|part| message.contains(part)) {
            Ok(connection)
        } else {
            Err(format!("{connection:#}"))
        }
    })
    .await
}

async fn counted(env: &TestEnv, service: &str, kind: &str) -> u64 {
    let (_, metrics) = env.operators[0].get("/metrics").await.unwrap();
    let line = metrics.lines().find(|line| {
        line.starts_with("pad_operator_service_surprises_total")
            && line.contains(&format!("service=\"{service}\""))
            && line.contains(&format!("kind=\"{kind}\""))
    });
    line.unwrap_or_else(|| panic!("no {kind}:\n{metrics}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn surprises_are_reported_until_they_are_gone_and_change_nothing_else() {
    let spec = json!({"ownerEmail": "lead@northwind.example", "waitingRoom": true});
    let env = TestEnv::start(Options::new("surprises").configuration(spec).polling("1s")).await;
    env.wait_for("leverconnections", CONNECTION, TYPE, "True/AsExpected").await;
    assert_eq!(counted(&env, "interview", "waiting_room_not_returned").await, 0);

    let other = [
        ("/notes", json!("Welcome")),
        ("/owner_email", json!("owner@northwind.example")),
        ("/private", json!(false)),
    ];
    let interview = env.interview.faults();
    interview.add(Fault::on("POST", "^/api/pads/?$").edit(&other));
    let (odd, waved) = (json!({"id": null}), json!({"kind": "waved", "created_at": "2026-02-03T10:00:01Z"}));
    let listed = [("/pads/0/notes", json!(null)), ("/pads/0/state", json!("paused")), ("/pads/-", odd)];
    let list = interview.add(Fault::on("GET", LIST).edit(&listed).until_removed());
    interview.add(Fault::on("GET", "/events$").edit(&[("/events/0", waved)]).until_removed());
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let pad = env.wait_for_one_pad(&candidate).await;
    let parts =
        ["(first at 20", ": POST /pads, private)", ": POST /pads, notes)", ": POST /pads, owner_email)"];
    wait_for_surprise(&env, "WaitingRoomNotReturned", &parts).await;
    env.end_interview(&candidate, &pad.id).await;
    let html = env.lever.faults().add(Fault::on("GET", "^/v1/stages$").page(403));
    let also = "Also: UnknownState, ListIncomplete, RowsLeftOut, ForeignAnswer, UnknownEventKind.";
    let before = wait_for_surprise(&env, "WaitingRoomNotReturned", &[also]).await;
    assert_eq!(html.hits(), 1);
    for kind in ["waiting_room_not_returned", "notes_not_returned", "owner_not_returned"] {
        assert_eq!(counted(&env, "interview", kind).await, 1, "{kind}");
    }
    assert_eq!(counted(&env, "lever", "foreign_answer").await, 1);

    // Repeated surprises are counted, and nothing is written.
    let (hits, rows) = (list.hits(), counted(&env, "interview", "rows_left_out").await);
    eventually(
        "the list is read again",
        async || if list.hits() > hits + 4 { Ok(()) } else { Err("not yet".into()) },
    )
    .await;
    assert!(counted(&env, "interview", "rows_left_out").await >= rows + 4);
    let after = env.get("leverconnections", CONNECTION).await;
    assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"], "{after:#}");
    assert_eq!(env.creates(), 1);

    // A requested reconcile checks again.
    interview.clear();
    sleep(Duration::from_secs(2)).await;
    env.sync().await;
    env.wait_for("leverconnections", CONNECTION, TYPE, "True/AsExpected").await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_surprise_alone_is_the_reason() {
    let env = TestEnv::start(Options::new("one-surprise").polling("1s")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
    let (lever, interview) = (env.lever.faults(), env.interview.faults());
    let list =
        |at: &str, value: Value| interview.add(Fault::on("GET", LIST).edit(&[(at, value)]).until_removed());
    let candidates = |at: &str, value: Value| {
        lever.add(Fault::on("GET", "^/v1/opportunities/[^/]+$").edit(&[(at, value)]).until_removed())
    };
    let surprises: [(&str, &str, &dyn Fn() -> FaultHandle); 7] = [
        ("UnknownState", "GET /organization/pads, pads[0].state, \"paused\"", &|| {
            list("/pads/0/state", json!("paused"))
        }),
        ("UnknownType", "GET /organization/pads, pads[0].type, \"homework\"", &|| {
            list("/pads/0/type", json!("homework"))
        }),
        ("RowsLeftOut", "GET /organization/pads, pads[0].created_at", &|| list("/pads/0", json!({}))),
        ("StageChangesMissing", "GET /opportunities/{id}, data.stageChanges", &|| {
            candidates("/data/stageChanges", json!([]))
        }),
        ("MembersDropped", "GET /opportunities/{id}, data.tags[0]", &|| candidates("/data/tags/0", json!(7))),
        ("ForeignAnswer", "GET /quota, status 200", &|| {
            interview.add(Fault::on("GET", "^/api/quota$").garbage_after_effect())
        }),
        ("AnswerUnreadable", "GET /quota, status 200", &|| {
            interview.add(Fault::on("GET", "^/api/quota$").edit(&[("/pads_used", json!("many"))]))
        }),
    ];
    for (reason, part, cause) in surprises {
        let fault = cause();
        wait_for_surprise(&env, reason, &[part]).await;
        fault.remove();
        sleep(Duration::from_secs(2)).await;
        env.sync().await;
        env.wait_for("leverconnections", CONNECTION, TYPE, "True/AsExpected").await;
    }
    env.finish().await;
}
