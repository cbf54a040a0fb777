//! Fictional ledgers, each with one error: the comparison finds it and nothing else.

use super::*;

const ENTRY: i64 = 1_700_000_000_000;

/// Returns a candidate in a stage, with tag, pad, link and Pad.
fn correct_ledger() -> Ledger {
    let text = |text: &str| text.to_owned();
    let rule = RuleRecord {
        name: text("phone"),
        stage_id: text("s-1"),
        tag: text("coderpad"),
        unlinks: false,
        notes: true,
        tags: None,
        effective_since: None,
    };
    let pad = pad("PAD1", ENTRY);
    let candidate = CandidateRecord {
        id: text("op-1"),
        stage_id: text("s-1"),
        entries: vec![(text("new"), ENTRY - 5000), (text("s-1"), ENTRY)],
        tags: vec![text("coderpad")],
        tags_ever: BTreeSet::from([text("coderpad")]),
        links: vec![pad.url.clone()],
        links_added: vec![pad.url.clone()],
        ..CandidateRecord::default()
    };
    Ledger {
        namespace: text("ns"),
        rules: vec![rule],
        candidates: vec![candidate],
        pads: vec![pad],
        cluster: vec![cluster("phone-1", "PAD1")],
        ..Ledger::default()
    }
}

fn pad(id: &str, entry: i64) -> PadRecord {
    let series = series("ns", "phone", "op-1");
    PadRecord {
        id: id.to_owned(),
        url: format!("https://app.coderpad.io/{id}"),
        notes: format!("Reference: padoperator.dev/{series}/{entry}\nCandidate: op-1\n"),
        ..PadRecord::default()
    }
}

fn cluster(name: &str, pad_id: &str) -> ClusterPad {
    ClusterPad {
        name: name.to_owned(),
        configuration: "phone".to_owned(),
        candidate: "op-1".to_owned(),
        phase: "Open/Open".to_owned(),
        pad_id: Some(pad_id.to_owned()),
        at_rest: true,
        source: "Webhook".to_owned(),
    }
}

fn series_key() -> SeriesKey {
    ("phone".to_owned(), "op-1".to_owned())
}

/// Returns the findings for the correct ledgers with this change.
fn found(change: impl FnOnce(&mut Ledger)) -> Vec<Kind> {
    let mut ledger = correct_ledger();
    change(&mut ledger);
    let mut kinds: Vec<_> = compare(&ledger).findings.iter().map(|finding| finding.kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

fn link(ledger: &mut Ledger, id: &str) {
    let url = format!("https://app.coderpad.io/{id}");
    ledger.candidates[0].links.push(url.clone());
    ledger.candidates[0].links_added.push(url);
}

fn unlink(ledger: &mut Ledger) {
    let links = std::mem::take(&mut ledger.candidates[0].links);
    ledger.candidates[0].links_removed = links;
}

fn deleted(ledger: &mut Ledger) {
    ledger.cluster.clear();
    ledger.actions_of_people.deletions.insert(series_key(), 1);
}

#[test]
fn correct_ledgers_have_no_findings() {
    let comparison = compare(&correct_ledger());
    assert!(comparison.findings.is_empty(), "{:#?}", comparison.findings);
    assert_eq!(
        comparison.to_string(),
        "pads 1, links 1, notes 0, lost 0, duplicate 0, orphaned 0, unknown 0, unsettled 0"
    );
}

#[test]
fn eligible_candidate_without_a_pad_is_lost() {
    let none = |ledger: &mut Ledger| {
        ledger.pads.clear();
        ledger.cluster.clear();
        ledger.candidates[0].links.clear();
        ledger.candidates[0].links_added.clear();
    };
    assert_eq!(found(none), [Kind::Lost]);
    assert_eq!(found(|ledger| ledger.candidates[0].links.clear()), [Kind::Lost]);
    assert_eq!(found(|ledger| ledger.cluster.clear()), [Kind::Lost]);
    assert_eq!(found(|ledger| ledger.cluster[0].phase = "Skipped/TagMissing".into()), [Kind::Lost]);
    assert_eq!(found(|ledger| ledger.cluster[0].pad_id = Some("PAD2".into())), [Kind::Lost]);
    // Candidates who are no longer eligible, or whose Pad a user has deleted, do not count.
    let gone = |ledger: &mut Ledger| (none(ledger), ledger.candidates[0].stage_id = "s-2".into()).1;
    assert_eq!(found(gone), []);
    let untagged = |ledger: &mut Ledger| (none(ledger), ledger.candidates[0].tags.clear()).1;
    assert_eq!(found(untagged), []);
    assert_eq!(found(deleted), []);
}

#[test]
fn duplicate_objects_are_found() {
    let second = |ledger: &mut Ledger, entry| {
        ledger.pads.push(pad("PAD2", entry));
        ledger.candidates[0].entries.push(("s-1".into(), entry));
    };
    let linked = |ledger: &mut Ledger| (second(ledger, ENTRY), link(ledger, "PAD2")).1;
    assert_eq!(found(linked), [Kind::Duplicate]);
    let again = |ledger: &mut Ledger| (second(ledger, ENTRY + 60_000), link(ledger, "PAD2")).1;
    assert_eq!(found(again), [Kind::Duplicate]);
    assert_eq!(found(|ledger| link(ledger, "PAD1")), [Kind::Duplicate]);
    // Added, removed and added again.
    let added = |ledger: &mut Ledger| {
        let url = ledger.pads[0].url.clone();
        ledger.candidates[0].links_added.push(url);
    };
    assert_eq!(found(added), [Kind::Duplicate]);
    assert_eq!(found(|ledger| ledger.cluster.push(cluster("phone-2", "PAD1"))), [Kind::Duplicate]);
    let after_the_end = |ledger: &mut Ledger| {
        again(ledger);
        ledger.rules[0].notes = false;
        ledger.pads[0].ended_at = Some(ENTRY + 30_000);
        ledger.cluster[0].phase = "Ended/Ended".into();
        ledger.cluster.push(cluster("phone-2", "PAD2"));
    };
    assert_eq!(found(after_the_end), []);
}

#[test]
fn entry_after_the_end_needs_its_own_pad() {
    let returned = |ledger: &mut Ledger| {
        ledger.rules[0].notes = false;
        ledger.pads[0].ended_at = Some(ENTRY + 30_000);
        ledger.cluster[0].phase = "Ended/Ended".into();
        ledger.candidates[0].entries.push(("s-1".into(), ENTRY + 60_000));
    };
    assert_eq!(found(returned), [Kind::Lost]);
    let before =
        |ledger: &mut Ledger| (returned(ledger), ledger.candidates[0].entries[2].1 = ENTRY + 20_000).1;
    assert_eq!(found(before), []);
}

#[test]
fn pad_without_an_owner_is_orphaned() {
    let unlinked = |ledger: &mut Ledger| (deleted(ledger), unlink(ledger)).1;
    assert_eq!(found(unlinked), [Kind::Orphan]);
    let policy = |ledger: &mut Ledger| (unlinked(ledger), ledger.rules[0].unlinks = true).1;
    assert_eq!(found(policy), []);
    let unattended =
        |ledger: &mut Ledger| (unlinked(ledger), ledger.actions_of_people.unattended.insert(series_key())).0;
    assert_eq!(found(unattended), [], "there was no connection to delete the pad with");
    let of_a_second_try = |ledger: &mut Ledger| ledger.pads.push(pad("PAD2", ENTRY));
    assert_eq!(found(of_a_second_try), [Kind::Duplicate, Kind::Orphan]);
    let dead_link = |ledger: &mut Ledger| (deleted(ledger), ledger.pads[0].deleted = true).1;
    assert_eq!(found(dead_link), [Kind::Orphan]);
}

#[test]
fn second_pad_for_a_served_entry_is_a_duplicate() {
    let second = |ledger: &mut Ledger| {
        deleted(ledger);
        unlink(ledger);
        ledger.pads[0].deleted = true;
        ledger.pads.push(pad("PAD2", ENTRY));
        link(ledger, "PAD2");
        ledger.cluster.push(cluster("phone-2", "PAD2"));
    };
    assert_eq!(found(second), [Kind::Duplicate]);
    let replaced =
        |ledger: &mut Ledger| (second(ledger), ledger.actions_of_people.replaced.insert("phone".into())).0;
    assert_eq!(found(replaced), [], "with the configuration its records are deleted");
    let unexplained = |ledger: &mut Ledger| (replaced(ledger), ledger.actions_of_people.deletions.clear()).1;
    assert_eq!(found(unexplained), [], "one for the new configuration");
    let third = |ledger: &mut Ledger| {
        unexplained(ledger);
        ledger.pads.push(PadRecord { deleted: true, ..pad("PAD3", ENTRY) });
    };
    assert_eq!(found(third), [Kind::Duplicate], "more pads than causes");
}

#[test]
fn pad_deleted_in_coderpad_must_not_be_recreated() {
    let removed = |ledger: &mut Ledger| {
        ledger.pads[0].deleted = true;
        ledger.actions_of_people.removed.insert("PAD1".into(), ENTRY + 60_000);
    };
    assert_eq!(found(removed), []);
    let further = |ledger: &mut Ledger, entry| {
        removed(ledger);
        ledger.candidates[0].entries.push(("s-1".into(), entry));
        ledger.pads.push(pad("PAD2", entry));
        link(ledger, "PAD2");
        ledger.cluster[0].phase = "Ended/PadDeleted".into();
        ledger.cluster.push(cluster("phone-2", "PAD2"));
    };
    assert_eq!(found(|ledger| further(ledger, ENTRY + 30_000)), [Kind::Duplicate]);
    assert_eq!(found(|ledger| further(ledger, ENTRY + 90_000)), []);
}

#[test]
fn pad_by_hand_is_additional() {
    let create_pad_by_hand = |ledger: &mut Ledger| {
        let notes = ledger.pads[0].notes.replace(&ENTRY.to_string(), "by-hand-1");
        ledger.pads.push(PadRecord { notes, ..pad("PAD2", ENTRY) });
        link(ledger, "PAD2");
        ledger.cluster.push(ClusterPad { source: "Manual".into(), ..cluster("by-hand-1", "PAD2") });
    };
    assert_eq!(found(create_pad_by_hand), [Kind::Duplicate, Kind::Unknown]);
    assert_eq!(
        found(|ledger| (
            create_pad_by_hand(ledger),
            ledger.actions_of_people.applied.insert(series_key(), 1)
        )
            .0),
        []
    );
}

#[test]
fn existing_candidates_have_pads_only_from_sync() {
    let before = |ledger: &mut Ledger, source: &str, since: i64| {
        ledger.pads.clear();
        ledger.candidates[0].links.clear();
        ledger.candidates[0].links_added.clear();
        ledger.rules[0].effective_since = Some(since);
        ledger.cluster[0] = ClusterPad {
            phase: "Skipped/BeforeConfiguration".into(),
            pad_id: None,
            source: source.into(),
            ..cluster("phone-1", "")
        };
    };
    assert_eq!(found(|ledger| before(ledger, "Sync", ENTRY + 5000)), []);
    assert_eq!(found(|ledger| before(ledger, "Webhook", ENTRY + 5000)), [Kind::Lost]);
    assert_eq!(found(|ledger| before(ledger, "Sync", ENTRY - 5000)), [Kind::Lost]);
}

#[test]
fn unknown_objects_are_found() {
    let unmarked = PadRecord { notes: "Hello".into(), ..pad("PAD2", ENTRY) };
    assert_eq!(found(|ledger| ledger.pads.push(unmarked.clone())), [Kind::Unknown]);
    let create_pad_by_hand = PadRecord { create_pad_by_hand: true, ..unmarked.clone() };
    assert_eq!(found(|ledger| ledger.pads.push(create_pad_by_hand)), []);
    let notes = format!("Reference: padoperator.dev/{}/1", "0".repeat(32));
    assert_eq!(found(|ledger| ledger.pads.push(PadRecord { notes, ..unmarked })), [Kind::Unknown]);
    assert_eq!(found(|ledger| link(ledger, "PAD9")), [Kind::Unknown]);
    assert_eq!(found(|ledger| ledger.candidates[0].entries[1].1 = ENTRY + 1), [Kind::Unknown]);
    assert_eq!(found(|ledger| ledger.candidates[0].tags_ever.clear()), [Kind::Unknown]);
}

#[test]
fn unsettled_pad_is_found() {
    assert_eq!(found(|ledger| ledger.cluster[0].at_rest = false), [Kind::Unsettled]);
}

#[test]
fn end_needs_exactly_one_note() {
    let ended = |ledger: &mut Ledger| {
        ledger.pads[0].ended_at = Some(ENTRY + 30_000);
        ledger.cluster[0].phase = "Ended/Ended".into();
    };
    let note = |ledger: &mut Ledger| {
        let line = ledger.pads[0].notes.lines().next().unwrap().to_owned();
        let playback = format!("{}/playback", ledger.pads[0].url);
        ledger.candidates[0].notes.push(format!("Interview\nPlayback: {playback}\n\n{line}"));
    };
    assert_eq!(found(ended), [Kind::Lost]);
    assert_eq!(found(|ledger| (ended(ledger), ledger.rules[0].notes = false).1), []);
    assert_eq!(found(|ledger| (ended(ledger), note(ledger)).1), []);
    assert_eq!(found(|ledger| (ended(ledger), note(ledger), note(ledger)).2), [Kind::Duplicate]);
    assert_eq!(found(note), [Kind::Unknown]);
}

#[test]
fn tags_match_the_state_of_the_pad() {
    let tagged = |ledger: &mut Ledger, tags: &[&str]| {
        ledger.rules[0].tags = Some(("ready".into(), "done".into()));
        ledger.rules[0].notes = false;
        ledger.candidates[0].tags.extend(tags.iter().map(|tag| (*tag).to_owned()));
    };
    assert_eq!(found(|ledger| tagged(ledger, &[])), [Kind::Lost]);
    assert_eq!(found(|ledger| tagged(ledger, &["ready"])), []);
    let replaced = |ledger: &mut Ledger| {
        (tagged(ledger, &[]), ledger.actions_of_people.replaced.insert("phone".into())).0
    };
    assert_eq!(found(replaced), [], "it was opened while there was no configuration");
    let ended = |ledger: &mut Ledger, tags: &[&str]| {
        tagged(ledger, tags);
        ledger.pads[0].ended_at = Some(ENTRY + 30_000);
        ledger.cluster[0].phase = "Ended/Ended".into();
    };
    assert_eq!(found(|ledger| ended(ledger, &["done"])), []);
    assert_eq!(found(|ledger| ended(ledger, &["ready", "done"])), [Kind::Lost]);
    assert_eq!(found(|ledger| ended(ledger, &[])), [Kind::Lost]);
}

#[test]
fn pad_not_found_after_a_rename_waits_for_a_person() {
    let waiting = |ledger: &mut Ledger| {
        (ledger.cluster[0].phase, ledger.cluster[0].at_rest) =
            ("Pending/ConfigurationNotFound".into(), false);
        ledger.pads[0].deleted = true;
        ledger.actions_of_people.removed.insert("PAD1".into(), ENTRY + 60_000);
    };
    assert_eq!(found(waiting), [Kind::Unsettled]);
    let renamed = |ledger: &mut Ledger| (waiting(ledger), ledger.actions_of_people.renamed = true).0;
    assert_eq!(found(renamed), []);
}

#[test]
fn restored_pad_reports_its_own_pad_as_foreign_after_a_rename() {
    let foreign = |ledger: &mut Ledger| {
        ledger.cluster[0].phase = "Skipped/OwnedByAnotherInstallation".into();
        ledger.actions_of_people.renamed = true;
    };
    assert_eq!(found(foreign), [Kind::Lost]);
    let restored =
        |ledger: &mut Ledger| (foreign(ledger), ledger.actions_of_people.restored.insert(series_key())).0;
    assert_eq!(found(restored), []);
}
