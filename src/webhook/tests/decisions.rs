//! The action for each state of the known Pads.

use super::fake::{OPPORTUNITY, configuration, connection, pad, pad_by_hand, terminating, with_request};
use api::names::pad_name;
use api::{Pad, PadConfiguration};
use engine::stage_change::StageChangeEvent;
use engine::stage_change::{PadAction, choose_action, configurations_of};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

const REQUEST: &str = "1431458021951-00112233";

fn intent(pads: Vec<Pad>, taken: &[u32]) -> PadAction {
    let change = StageChangeEvent {
        opportunity_id: OPPORTUNITY.into(),
        stage_id: "s-1".into(),
        at: Timestamp::from_millisecond(1_431_458_021_951).unwrap(),
        request: REQUEST.into(),
    };
    let pads: Vec<Arc<Pad>> = pads.into_iter().map(Arc::new).collect();
    choose_action(&pads, &BTreeSet::from_iter(taken.iter().copied()), "phone", &change)
}

fn annotate(name: &str) -> PadAction {
    PadAction::Annotate { name: name.into() }
}

fn numbered(n: u32) -> String {
    pad_name("phone", OPPORTUNITY, n)
}

fn created_in_minute(minute: u8, mut pad: Pad) -> Pad {
    pad.metadata.creation_timestamp =
        serde_json::from_value(json!(format!("2025-01-01T00:{minute:02}:00Z"))).unwrap();
    pad
}

#[test]
fn a_first_stage_change_creates_the_first_pad() {
    assert_eq!(intent(vec![], &[]), PadAction::Create { n: 1 });
}

#[test]
fn names_of_others_are_passed_over() {
    assert_eq!(intent(vec![], &[1, 2]), PadAction::Create { n: 3 });
    assert_eq!(intent(vec![terminating(pad(1))], &[2]), PadAction::Create { n: 3 });
}

#[test]
fn sync_requests_the_newest_pad() {
    assert_eq!(intent(vec![pad(1)], &[]), annotate(&numbered(1)));
    assert_eq!(intent(vec![pad(9), pad(10), pad(2)], &[]), annotate(&numbered(10)));
    assert_eq!(intent(vec![with_request(pad(1), REQUEST), pad(2)], &[]), annotate(&numbered(2)));
    assert_eq!(intent(vec![with_request(pad(1), "an older request")], &[]), annotate(&numbered(1)));
}

#[test]
fn a_repeated_delivery_requests_nothing() {
    assert_eq!(
        intent(vec![pad(1), with_request(pad(2), REQUEST)], &[]),
        PadAction::Nothing { name: numbered(2) }
    );
}

/// Otherwise a repeated old delivery would make the newer one seem to be done already.
#[test]
fn an_older_delivery_does_not_replace_a_newer_one() {
    let at: i64 = REQUEST.split_once('-').unwrap().0.parse().unwrap();
    let nothing = PadAction::Nothing { name: numbered(1) };
    let with = |request: String| intent(vec![with_request(pad(1), &request)], &[]);
    assert_eq!(with(format!("{}-fedcba98", at + 1)), nothing);
    assert_eq!(with(format!("{}-fedcba98", at - 1)), annotate(&numbered(1)));
    // Values that people write do not prevent a request.
    for by_hand in
        ["now".to_owned(), format!("{}", at * 1_000_000), format!("{}-x", at * 1000), "2099-01-01".into()]
    {
        assert_eq!(with(by_hand.clone()), annotate(&numbered(1)), "{by_hand}");
    }
}

#[test]
fn a_manual_pad_counts_without_a_numbered_one() {
    let by_hand = || {
        vec![
            created_in_minute(5, pad_by_hand("b")),
            created_in_minute(9, pad_by_hand("a")),
            created_in_minute(1, pad_by_hand("c")),
        ]
    };
    assert_eq!(intent(by_hand(), &[]), annotate("a"));
    let mut both = by_hand();
    both.push(created_in_minute(0, pad(1)));
    assert_eq!(intent(both, &[]), annotate(&numbered(1)));
}

#[test]
fn a_terminating_pad_does_not_count_and_keeps_its_name() {
    assert_eq!(intent(vec![terminating(pad(1))], &[]), PadAction::Create { n: 2 });
    assert_eq!(
        intent(vec![terminating(with_request(pad(3), REQUEST)), terminating(pad(1))], &[]),
        PadAction::Create { n: 4 }
    );
    assert_eq!(intent(vec![pad(1), terminating(pad(2))], &[]), annotate(&numbered(1)));
}

fn configurations(stage: &str, all: Vec<PadConfiguration>) -> Vec<String> {
    let all: Vec<Arc<PadConfiguration>> = all.into_iter().map(Arc::new).collect();
    configurations_of(stage, &connection(), &all).iter().map(|one| one.name_any()).collect()
}

#[test]
fn a_stage_change_is_for_all_configurations_of_its_stage() {
    let all = || {
        vec![
            configuration("tagged", "Phone Screen", "b", 1),
            configuration("by-id", "s-1", "c", 1),
            configuration("elsewhere", "Onsite", "a", 1),
            configuration("unknown", "Lunch", "a", 1),
        ]
    };
    assert_eq!(configurations("s-1", all()), ["by-id", "tagged"]);
    assert_eq!(configurations("s-2", all()), ["elsewhere"]);
    assert!(configurations("Phone Screen", all()).is_empty());
    assert!(configurations("s-3", all()).is_empty());
}

#[test]
fn one_of_two_rules_of_a_stage_and_tag_counts() {
    let both = vec![configuration("young", "s-1", "a", 2), configuration("old", "Phone Screen", "a", 1)];
    assert_eq!(configurations("s-1", both), ["old"]);
}

#[test]
fn suspended_rules_count_and_foreign_or_terminating_ones_do_not() {
    let mut suspended = configuration("suspended", "s-1", "a", 1);
    suspended.spec.suspend = true;
    let mut other = configuration("other", "s-1", "b", 1);
    other.spec.connection_ref.name = "other".into();
    let mut terminating = configuration("terminating", "s-1", "c", 1);
    terminating.metadata.deletion_timestamp = terminating.metadata.creation_timestamp.clone();
    assert_eq!(configurations("s-1", vec![suspended, other, terminating]), ["suspended"]);
}
