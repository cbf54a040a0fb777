//! Times that no service and no person should write, in rows, statuses and annotations: no calculation of sync with
//! them may panic.

#![allow(clippy::unwrap_used)]

use super::{before, erasure, open_pad_checks, stage_scan};
use api::configuration::{Existing, Repeat};
use api::{Pad, names};
use coderpad::PadRecord;
use engine::scan_action::{self, BackfillRule, ListedCandidate};
use engine::ttl;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;
use std::sync::Arc;
use testkit::fuzz::try_all;
use tokio::time::Instant;

/// Returns any point in time that the type can contain, often one at its limits.
fn any_time() -> impl Strategy<Value = Timestamp> {
    let limits = [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH, Timestamp::now()];
    let second = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
    prop_oneof![select(limits.to_vec()), second.prop_map(|second| Timestamp::from_second(second).unwrap()),]
}

fn pad(times: &[Timestamp], phase: &str, reason: &str) -> Arc<Pad> {
    let pad = json!({
        "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad",
        "metadata": {"name": names::pad_name("c", "o", 1), "uid": "u", "creationTimestamp": times[0],
            "annotations": {names::EXISTING_SINCE: times[1],
                names::RECONCILE_REQUESTED_AT: format!("{}-abcdefgh", times[2].as_millisecond())}},
        "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o",
            "trigger": {"source": "Webhook", "at": times[3]}},
        "status": {"observedGeneration": 1, "phase": phase, "reason": reason, "candidate": "Ada", "entryAt": times[4],
            "createdAt": times[5], "linkedAt": times[6], "startedAt": times[6], "endedAt": times[7],
            "conditions": [{"type": "Ready", "status": "True", "reason": reason, "message": "", "observedGeneration": 1,
                "lastTransitionTime": times[8]}]},
    });
    Arc::new(serde_json::from_value(pad).unwrap())
}

#[test]
fn any_time_is_processed_without_overflow() {
    let phases = vec!["Open", "Started", "Ended", "Skipped", "Failed", "Pending"];
    let reasons = vec!["BeforeConfiguration", "TagMissing", "PadDeleted"];
    let inputs = (proptest::collection::vec(any_time(), 14), select(phases), select(reasons), any::<i64>());
    try_all("times of a Pad, its rule and its candidate", inputs, |(times, phase, reason, seconds)| {
        let pad = pad(&times, phase, reason);
        let (now, any) = (times[9], times[10]);
        let rule = BackfillRule {
            repeat: Repeat::AfterEnd,
            existing: Existing::Skip,
            since: any,
            is_settled: seconds % 2 == 0,
            kept_skipped: SignedDuration::from_secs(seconds),
        };
        let row =
            ListedCandidate { id: "o".into(), entry: times[11], created_at: Some(times[12]), is_free: true };
        let pads = std::slice::from_ref(&pad);
        scan_action::backfill_action(&rule, &row, pads, None);
        scan_action::missed_delivery(&rule, &row, pads, now);
        let configuration = json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "PadConfiguration", "metadata": {"name": "c"},
            "spec": {"connectionRef": {"name": "acme"}, "ttlSecondsAfterEnded": seconds, "ttlSecondsAfterSkipped": seconds},
        });
        ttl::is_expired(&pad, &serde_json::from_value(configuration).unwrap(), now);
        prop_assert!(before(any, SignedDuration::from_secs(seconds.saturating_abs())) <= any);
        erasure::try_times(&pad, any, now);
        stage_scan::try_times(&pad, any, now);
        let mut all_looks = open_pad_checks::OpenPadChecks::default();
        all_looks.choose(pads, now, Instant::now());
        Ok(())
    });
}

#[test]
fn any_time_of_a_pad_in_coderpads_list_is_a_plausible_one_or_none() {
    let inputs = proptest::collection::vec(any_time(), 3);
    try_all("times of a pad", inputs, |times| {
        let record = json!({"status": "OK", "id": "P", "url": "https://app.coderpad.io/P", "created_at": times[0],
            "updated_at": times[1], "ended_at": times[2]});
        let Some(record) = PadRecord::from_json(&record) else { return Ok(()) };
        for at in [Some(record.created_at), record.updated_at, record.ended_at].into_iter().flatten() {
            prop_assert!(
                (2000..2200).contains(&at.strftime("%Y").to_string().parse::<i32>().unwrap()),
                "{at}"
            );
        }
        Ok(())
    });
}
