//! Malformed rows in the services' lists next to valid ones: they are skipped and block nothing.

use serde_json::{Value, json};
use simulators::{Fault, NewCandidate};

use crate::environment::{CONFIGURATION, CONNECTION, Options, STAGE, TAG, TestEnv};
use crate::status::phase;
use crate::wait::eventually;

const EVENT: &str = "candidateStageChange";
/// Marker for private data of a malformed row, which must not be logged.
const PRIVATE: &str = "Quillon Ravensworth";

/// Rows of CoderPad's list that are unreadable, completely or in part.
fn odd_pads() -> [Value; 8] {
    let row = |part: Value| {
        let mut row = json!({"id": "ODDROW", "title": PRIVATE, "state": "pending", "created_at": "2026-02-03T10:00:01Z",
            "updated_at": "2026-02-03T10:00:01Z", "url": "https://app.coderpad.io/ODDROW", "notes": ""});
        testkit::resources::merge(&mut row, &part);
        row
    };
    [
        row(json!({"created_at": null})),
        row(json!({"question_ids": ["12"]})),
        row(json!({"participants": [null]})),
        row(json!({"updated_at": "-009999-01-02T01:59:59Z"})),
        row(json!({"created_at": "9999-12-30T22:00:00Z", "ended_at": "-009999-01-02T01:59:59Z"})),
        row(json!({"id": null, "notes": null})),
        row(json!({"id": ["x"], "state": 7, "title": {}})),
        row(json!({"deleted_at": PRIVATE, "pad_environment_ids": [PRIVATE]})),
    ]
}

/// Rows of Lever's list that are unreadable, completely or in part.
fn odd_opportunities() -> [Value; 5] {
    [
        json!({"id": null, "name": PRIVATE, "tags": [TAG]}),
        json!({"id": "odd-1", "name": PRIVATE, "tags": [TAG, null], "links": [null], "stage": null, "createdAt": 1}),
        json!({"id": "not an ID", "name": PRIVATE}),
        json!({"id": "odd-2", "stageChanges": [null, {"updatedAt": 9e18}], "createdAt": -9e18, "archived": PRIVATE}),
        Value::Null,
    ]
}

fn sample(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

// contract S2a
#[tokio::test(flavor = "multi_thread")]
async fn malformed_rows_block_no_probe_pad_or_sync() {
    let mut env = TestEnv::start(Options::new("odd-rows").polling("1s")).await;
    env.declare_private(PRIVATE);
    let rows: Vec<_> = odd_pads().into_iter().map(|row| ("/pads/0", row)).collect();
    let fault = Fault::on("GET", "^/api/organization/pads/?$").edit(&rows).until_removed();
    let odd_pads = env.interview.faults().add(fault);
    let rows: Vec<_> = odd_opportunities().into_iter().map(|row| ("/data/0", row)).collect();
    let fault = Fault::on("GET", "^/v1/opportunities(/deleted)?$").edit(&rows).until_removed();
    let odd_opportunities = env.lever.faults().add(fault);

    // One by a webhook, one that only sync finds.
    let by_webhook = env.candidate();
    env.enter(&by_webhook).await;
    let made = env.wait_for_one_pad(&by_webhook).await;
    env.lever.switch_event(EVENT, false);
    let by_sync = env.candidate();
    env.lever.move_to_stage(&by_sync, STAGE).await;
    env.wait_for_one_pad(&by_sync).await;
    env.end_interview(&by_webhook, &made.id).await;
    env.sync().await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    eventually("both lists were read several times", async || {
        let hits = (odd_pads.hits(), odd_opportunities.hits());
        if hits.0 > 3 && hits.1 > 3 { Ok(()) } else { Err(format!("{hits:?}")) }
    })
    .await;
    assert_eq!(env.creates(), 2);

    let (_, metrics) = env.operator().get("/metrics").await.unwrap();
    for (operation, part) in
        [("GET /organization/pads", "row"), ("GET /opportunities", "row"), ("GET /opportunities", "member")]
    {
        let named = metrics.lines().find(|line| {
            let labels = [format!("operation=\"{operation}\""), format!("part=\"{part}\"")];
            line.starts_with("pad_operator_service_odd_parts_total")
                && labels.iter().all(|one| line.contains(one))
        });
        assert!(
            named.is_some_and(|line| sample(line, "pad_operator") > 0.0),
            "{operation} {part}:\n{metrics}"
        );
    }
    let logged = env.operator().logged();
    let lines: Vec<_> = logged.lines().filter(|line| line.contains("left out rows")).collect();
    // Once for each operation, whatever the number of syncs.
    assert!((2..=4).contains(&lines.len()), "{lines:#?}");
    assert!(lines.iter().all(|line| line.contains("odd-rows/acme")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("data[0]")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("pads[")), "{lines:#?}");
    env.finish().await;
}

/// One of the rows may be an existing candidate, so the existing candidates stay undecided while it cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn list_with_malformed_rows_does_not_decide_existing_candidates() {
    let options = Options { configurations: vec![], ..Options::new("odd-unsettled").polling("1s") };
    let env = TestEnv::start(options).await;
    let before = env.add_candidate(NewCandidate {
        tags: vec![TAG.into()],
        stage: STAGE.into(),
        ..NewCandidate::default()
    });
    let fault = Fault::on("GET", "^/v1/opportunities$").containing(TAG);
    let fault = env.lever.faults().add(fault.edit(&[("/data/0", json!({"id": null}))]).until_removed());
    env.configure(CONFIGURATION, json!({})).await;
    env.wait_for_pad(&before, "Skipped/BeforeConfiguration").await;
    let settled = async || {
        let configuration = env.get("padconfigurations", CONFIGURATION).await;
        configuration["status"]["existingSettledFor"].clone()
    };
    let hits = fault.hits();
    eventually("two more scans are complete", async || {
        if fault.hits() > hits + 2 { Ok(()) } else { Err(fault.hits().to_string()) }
    })
    .await;
    assert_eq!(settled().await, Value::Null);
    fault.remove();
    eventually("the existing candidates are decided", async || {
        let settled = settled().await;
        if settled.is_string() { Ok(()) } else { Err(settled.to_string()) }
    })
    .await;
    env.finish().await;
}

// contract X5b
#[tokio::test(flavor = "multi_thread")]
async fn search_is_inconclusive_if_the_pad_may_be_a_malformed_row() {
    let env = TestEnv::start(Options::new("odd-search")).await;
    // The created pad has lost its ID in the list.
    let fault = Fault::on("GET", "^/api/organization/pads/?$").containing("created_at");
    let fault = env.interview.faults().add(fault.edit(&[("/pads/0/id", Value::Null)]).until_removed());
    env.interview.faults().add(Fault::on("POST", "^/api/pads/?$").status_after_effect(502));
    let candidate = env.candidate();
    env.enter(&candidate).await;
    eventually("the list was searched more than once", async || {
        if fault.hits() >= 4 { Ok(()) } else { Err(fault.hits().to_string()) }
    })
    .await;
    let pad = env.pads_of(&candidate).await.remove(0);
    assert_eq!(phase(&pad), "Pending/CreateOutcomeUnknown", "{pad:#}");
    assert_eq!(env.creates(), 1);
    fault.remove();
    env.wait_for_one_pad(&candidate).await;
    assert_eq!(env.creates(), 1);
    env.finish().await;
}

/// The row of another pad whose notes can be read has no effect.
#[tokio::test(flavor = "multi_thread")]
async fn search_is_conclusive_if_malformed_rows_are_other_pads() {
    let env = TestEnv::start(Options::new("odd-search-others")).await;
    let odd = json!({"id": null, "notes": "of somebody else", "created_at": null});
    let fault = Fault::on("GET", "^/api/organization/pads/?$").edit(&[("/pads/0", odd)]).until_removed();
    env.interview.faults().add(fault);
    env.interview.faults().add(Fault::on("POST", "^/api/pads/?$").status(502));
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
    assert_eq!(env.creates(), 2);
    env.finish().await;
}
