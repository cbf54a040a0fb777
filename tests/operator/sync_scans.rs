//! Lookback of sync, and checks beyond the lists.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use simulators::{DeliveryBehaviour, Fault, NewCandidate, NewPad, PausePoint};

use crate::environment::{CONFIGURATION, CONNECTION, Options, STAGE, TAG, TestEnv};
use crate::status::{brief, status_of};
use crate::wait::{eventually, eventually_within, must_finish};

fn ago(hours: i64) -> Timestamp {
    Timestamp::now().checked_sub(hours.hours()).unwrap()
}

// contract E7, F5
#[tokio::test(flavor = "multi_thread")]
async fn candidate_archived_during_suspension_or_with_keep_is_ended_by_the_next_sync() {
    let options = Options::new("archived-late").configuration(json!({"onArchive": "End"}));
    let env = TestEnv::start(options).await;
    let candidates = [(); 3].map(|()| env.candidate());
    for candidate in &candidates {
        env.enter(candidate).await;
        env.wait_for_one_pad(candidate).await;
    }
    // The watermark is set.
    env.sync().await;
    let [suspended, kept, open] = candidates;
    let change = async |spec: Value, type_: &str, expected: &str| {
        env.patch("padconfigurations", CONFIGURATION, json!({"spec": spec})).await;
        eventually("the configuration is reconciled", async || {
            let configuration = env.get("padconfigurations", CONFIGURATION).await;
            let is_seen =
                configuration["status"]["observedGeneration"] == configuration["metadata"]["generation"];
            if is_seen && brief(&configuration, type_) == expected {
                Ok(())
            } else {
                Err(format!("{configuration:#}"))
            }
        })
        .await;
    };
    change(json!({"suspend": true}), "Suspended", "True/Suspended").await;
    env.lever.archive(&suspended);
    env.sync().await;
    change(json!({"suspend": false, "onArchive": "Keep"}), "Ready", "True/InUse").await;
    env.lever.archive(&kept);
    env.sync().await;
    change(json!({"onArchive": "End"}), "Ready", "True/InUse").await;
    env.sync().await;
    for candidate in [&suspended, &kept] {
        env.wait_for_pad(candidate, "Ended/Ended").await;
    }
    env.wait_for_pad(&open, "Open/Open").await;
    env.finish().await;
}

// contract E12
#[tokio::test(flavor = "multi_thread")]
async fn candidates_deleted_before_the_restart_or_during_a_failed_list_are_no_longer_named() {
    let mut env = TestEnv::start(Options::new("erased-long-ago")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let pad = env.wait_for_pad(&candidate, "Open/Open").await;
    env.operator().kill().await;
    // As after a downtime of two days: polled just now, but the lists of deleted opportunities were scanned long ago.
    let (now, name) = (Timestamp::now(), pad["metadata"]["name"].as_str().unwrap());
    env.patch_status("pads", name, json!({"createdAt": ago(60), "linkedAt": ago(60)})).await;
    let status = json!({"lastSyncAt": now, "erasuresCheckedUntil": ago(48)});
    env.patch_status("leverconnections", CONNECTION, status).await;
    env.lever.delete_at(&candidate, ago(40).as_millisecond());
    let fault = Fault::on("GET", "^/v1/opportunities/deleted$").status(503);
    let fault = env.lever.faults().add(fault);
    env.operator().start().await;
    env.sync().await;
    assert_eq!(fault.hits(), 1);
    eventually("no candidate is named", async || {
        let pad = env.get("pads", name).await;
        if pad["status"]["candidate"].is_null() { Ok(()) } else { Err(format!("{pad:#}")) }
    })
    .await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn erasure_watermark_is_written_with_a_complete_sync() {
    let env = TestEnv::start(Options::new("erased-until")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
    let old = json!({"lastSyncAt": ago(2), "erasuresCheckedUntil": ago(2)});
    env.patch_status("leverconnections", CONNECTION, old.clone()).await;
    let fault =
        env.lever.faults().add(Fault::on("GET", "^/v1/opportunities/deleted$").status(503).until_removed());
    env.request("leverconnections", CONNECTION).await;
    eventually("the list fails", async || if fault.hits() > 1 { Ok(()) } else { Err(String::new()) }).await;
    let status = env.get("leverconnections", CONNECTION).await["status"].clone();
    for field in ["lastSyncAt", "erasuresCheckedUntil"] {
        assert_eq!(status[field], old[field]);
    }
    fault.remove();
    let moved = |status: &Value, field: &str| {
        let at: Timestamp = status[field].as_str().unwrap().parse().unwrap();
        at > ago(1)
    };
    eventually("both times have changed", async || {
        let status = env.get("leverconnections", CONNECTION).await["status"].clone();
        let both = moved(&status, "lastSyncAt") && moved(&status, "erasuresCheckedUntil");
        if both { Ok(()) } else { Err(format!("{status:#}")) }
    })
    .await;
    env.finish().await;
}

// contract C7
#[tokio::test(flavor = "multi_thread")]
async fn delivery_during_a_long_sync_is_not_reported_as_missed() {
    let env = TestEnv::start(Options::new("delivery-meanwhile")).await;
    env.sync().await;
    let minutes = |minutes: i64| Timestamp::now().checked_sub(minutes.minutes()).unwrap();
    let since = minutes(60).to_string();
    let status = json!({"effectiveSince": since, "existingSettledFor": since});
    env.patch_status("padconfigurations", CONFIGURATION, status).await;
    env.lever.set_delivery_behaviour(DeliveryBehaviour { hold: true, ..DeliveryBehaviour::default() });
    let old = minutes(90).as_millisecond();
    let new = NewCandidate { tags: vec![TAG.into()], entered_at: Some(old), ..NewCandidate::default() };
    let candidate = env.add_candidate(new);
    env.lever.move_to_stage_at(&candidate, STAGE, minutes(10).as_millisecond()).await;
    // The response of the list contains the candidate, but is delayed.
    let list = Fault::on("GET", "^/v1/opportunities$").containing(TAG).pause(PausePoint::AfterEffect);
    let list = env.lever.faults().add(list);
    env.request("leverconnections", CONNECTION).await;
    must_finish("the list is requested", list.reached()).await;
    env.lever.set_delivery_behaviour(DeliveryBehaviour::default());
    env.lever.release_deliveries(false).await;
    env.wait_for_one_pad(&candidate).await;
    list.release();
    eventually("the request is echoed", async || {
        let connection = env.get("leverconnections", CONNECTION).await;
        let asked = &connection["metadata"]["annotations"]["padoperator.dev/reconcile-requested-at"];
        if connection["status"]["lastHandledReconcileAt"] == *asked {
            Ok(())
        } else {
            Err(format!("{connection:#}"))
        }
    })
    .await;
    let connection = env.get("leverconnections", CONNECTION).await;
    assert_eq!(status_of(&connection, "WebhookVerified"), "True", "{connection:#}");
    assert_eq!(env.creates(), 1);
    env.finish().await;
}

// contract S1, S2
#[tokio::test(flavor = "multi_thread")]
async fn scan_of_more_pads_than_one_sync_covers_continues_to_its_end() {
    let mut options = Options::new("many-pads");
    (options.lever.rate_limit, options.interview.rate_limit) = (None, None);
    options.flags.extend(["--lever-rate=0", "--interview-rate=0", "--leader-election=false"]);
    let mut env = TestEnv::start(options).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    env.operator().kill().await;
    // More than the 100 pages of one sync, all changed since then, and the pad itself is no longer in the list.
    let pad = env.pads_of(&candidate).await.remove(0);
    let name = pad["metadata"]["name"].as_str().unwrap();
    env.patch_status("pads", name, json!({"createdAt": ago(60)})).await;
    for number in 0..5_120_i64 {
        let made_at = ago(1).checked_sub((30 * number).seconds()).unwrap();
        let new = NewPad { made_at: Some(made_at.as_millisecond()), ..NewPad::default() };
        env.interview.add_pad(new);
    }
    env.interview.delete_pad(&made.id);
    env.interview.clear_calls();
    env.operator().start().await;
    let lists = |env: &TestEnv| {
        let calls = env.interview.calls();
        calls.iter().filter(|call| call.path.starts_with("/api/organization/pads")).count()
    };
    env.sync().await;
    env.wait_for_pad(&candidate, "Ended/PadDeleted").await;
    let (_, metrics) = env.operator().get("/metrics").await.unwrap();
    assert!(metrics.contains("pad_operator_sync_walks_cut_total 1"), "{metrics}");
    assert!((103..=120).contains(&lists(&env)), "{}", lists(&env));
    let before = lists(&env);
    env.sync().await;
    assert!(lists(&env) - before <= 5, "the next sync is short: {}", lists(&env) - before);
    env.finish().await;
}

/// Once `updated_at` does not move, and once the list ignores the requested order.
// contract S2
#[tokio::test(flavor = "multi_thread")]
async fn end_missing_in_the_list_is_detected_by_reading_the_pad() {
    let mut env = TestEnv::start(Options::new("unlisted-end").polling("5s")).await;
    let candidates = [(); 2].map(|()| env.candidate());
    let mut pads = Vec::new();
    for candidate in &candidates {
        env.enter(candidate).await;
        let made = env.wait_for_one_pad(candidate).await;
        pads.push((made.id, env.name_of_pad(candidate).await));
    }
    // Both are beyond the first page from now on, and so long before its end that the list's delay does not matter.
    for number in 0..60_i64 {
        let made_at = Timestamp::now().checked_add((40 * 60 - 10 * number).seconds()).unwrap();
        env.interview.add_pad(NewPad { made_at: Some(made_at.as_millisecond()), ..NewPad::default() });
    }
    env.sync().await;
    let [(first, first_name), (second, second_name)] = pads.as_slice() else { panic!("{pads:?}") };
    let is_ended = async |name: &str| {
        eventually_within(Duration::from_secs(150), "the end is detected", async || {
            let pad = env.get("pads", name).await;
            if pad["status"]["phase"] == "Ended" { Ok(()) } else { Err(format!("{pad:#}")) }
        })
        .await;
    };
    // Long ago, so that the list's usual delay does not explain the difference.
    let earlier = ago(1).as_millisecond();
    env.interview.change_settings(|settings| settings.frozen_updated_at = true);
    env.interview.end_interview_at(first, earlier);
    env.patch_status("pads", first_name, json!({"createdAt": ago(48)})).await;
    is_ended(first_name).await;

    // The first end was not in the list: pads that were created half an hour ago are read too.
    env.interview.change_settings(|settings| {
        (settings.frozen_updated_at, settings.ignore_sort) = (false, true);
    });
    env.interview.end_interview_at(second, earlier);
    let half_an_hour_ago = Timestamp::now().checked_sub(30.minutes()).unwrap();
    env.patch_status("pads", second_name, json!({"createdAt": half_an_hour_ago})).await;
    is_ended(second_name).await;
    let (_, metrics) = env.operator().get("/metrics").await.unwrap();
    assert!(metrics.contains("pad_operator_list_differences_total{list=\"changed_pads\"}"), "{metrics}");
    assert!(!metrics.contains("pad_operator_list_differences_total{list=\"changed_pads\"} 0"), "{metrics}");
    env.finish().await;
}

/// The address may name any host, or none.
// contract S2
#[tokio::test(flavor = "multi_thread")]
async fn next_page_is_read_whatever_address_the_list_names() {
    let env = TestEnv::start(Options::new("next-page")).await;
    for (page_origin, cursors) in [("https://elsewhere.example", false), ("", true)] {
        env.interview.change_settings(|settings| {
            (settings.page_origin, settings.cursors) = (Some(page_origin.to_owned()), cursors);
        });
        let candidate = env.candidate();
        env.enter(&candidate).await;
        let made = env.wait_for_one_pad(&candidate).await;
        env.sync().await;
        env.start_interview_beyond_the_first_page(&made.id);
        env.interview.clear_calls();
        env.sync().await;
        env.wait_for_pad(&candidate, "Started/Started").await;
        let next = if cursors { "cursor" } else { "page" };
        let calls = env.interview.calls();
        let is_next = |call: &simulators::Call| call.query.iter().any(|(name, _)| name == next);
        assert!(calls.iter().any(is_next), "{calls:#?}");
    }
    env.finish().await;
}

/// Stage and tag of every row are checked, whatever Lever's filters do. A filter that does not agree with the tags is
/// no longer used.
// contract S2a
#[tokio::test(flavor = "multi_thread")]
async fn filter_that_disagrees_with_the_tags_is_no_longer_used() {
    let mut env = TestEnv::start(Options::new("odd-filter").polling("2s")).await;
    env.lever.switch_event("candidateStageChange", false);
    let posting = |tags: &[&str]| NewCandidate {
        posting_tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..NewCandidate::default()
    };
    for (finds_inherited, filter_by_tag) in [(false, true), (true, false)] {
        env.sync().await;
        env.operator().kill().await;
        env.lever.change_settings(|settings| {
            (settings.filter_finds_inherited_tags, settings.filter_by_tag) = (finds_inherited, filter_by_tag);
        });
        let tagged = [env.candidate(), env.add_candidate(posting(&[TAG]))];
        let untagged = env.add_candidate(posting(&["backend"]));
        for candidate in tagged.iter().chain([&untagged]) {
            env.lever.move_to_stage(candidate, STAGE).await;
        }
        env.operator().start().await;
        for candidate in &tagged {
            env.wait_for_one_pad(candidate).await;
        }
        let reported = "pad_operator_list_differences_total{list=\"tag_filter\"} 1";
        eventually("the difference is reported once", async || {
            let (_, metrics) = env.operators[0].get("/metrics").await.unwrap();
            if metrics.contains(reported) { Ok(()) } else { Err(metrics) }
        })
        .await;
        env.lever.clear_calls();
        env.sync().await;
        let calls = env.lever.calls();
        let lists = calls.iter().filter(|call| {
            call.path == "/v1/opportunities" && call.query.iter().any(|(name, _)| name == "stage_id")
        });
        let filtered = lists.clone().filter(|call| call.query.iter().any(|(name, _)| name == "tag"));
        assert!(lists.count() > 0 && filtered.count() == 0, "{calls:#?}");
        assert!(env.pads_of(&untagged).await.is_empty());
    }
    let configuration = env.get("padconfigurations", CONFIGURATION).await;
    assert_eq!(configuration["status"]["matching"], 4, "{configuration:#}");
    assert_eq!(env.creates(), 4);
    env.finish().await;
}
