//! Fictional ledgers, each with one error: the comparison finds it and nothing else.

use super::*;

const ENTRY: i64 = 1_700_000_000_000;

/// Returns a candidate in a stage, with tag, pad, link and Pad.
fn sound() -> Books {
    let text = |text: &str| text.to_owned();
    let rule = RuleBook {
        name: text("phone"),
        stage_id: text("s-1"),
        tag: text("coderpad"),
        unlinks: false,
        notes: true,
        tags: None,
        effective_since: None,
    };
    let pad = pad("PAD1", ENTRY);
    let candidate = CandidateBook {
        id: text("op-1"),
        stage_id: text("s-1"),
        entries: vec![(text("new"), ENTRY - 5000), (text("s-1"), ENTRY)],
        tags: vec![text("coderpad")],
        tags_ever: BTreeSet::from([text("coderpad")]),
        links: vec![pad.url.clone()],
        links_added: vec![pad.url.clone()],
        ..CandidateBook::default()
    };
    Books {
        namespace: text("ns"),
        rules: vec![rule],
        candidates: vec![candidate],
        pads: vec![pad],
        cluster: vec![cluster("phone-1", "PAD1")],
        ..Books::default()
    }
}

fn pad(id: &str, entry: i64) -> PadBook {
    let series = series("ns", "phone", "op-1");
    PadBook {
        id: id.to_owned(),
        url: format!("https://app.coderpad.io/{id}"),
        notes: format!("Reference: padoperator.dev/{series}/{entry}\nCandidate: op-1\n"),
        ..PadBook::default()
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

fn whose() -> Whose {
    ("phone".to_owned(), "op-1".to_owned())
}

/// Returns the findings for the correct ledgers with this change.
fn found(change: impl FnOnce(&mut Books)) -> Vec<Kind> {
    let mut books = sound();
    change(&mut books);
    let mut kinds: Vec<_> = compare(&books).findings.iter().map(|finding| finding.kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

fn link(books: &mut Books, id: &str) {
    let url = format!("https://app.coderpad.io/{id}");
    books.candidates[0].links.push(url.clone());
    books.candidates[0].links_added.push(url);
}

fn unlink(books: &mut Books) {
    let links = std::mem::take(&mut books.candidates[0].links);
    books.candidates[0].links_removed = links;
}

fn deleted(books: &mut Books) {
    books.cluster.clear();
    books.people.deletions.insert(whose(), 1);
}

#[test]
fn sound_books_agree() {
    let comparison = compare(&sound());
    assert!(comparison.findings.is_empty(), "{:#?}", comparison.findings);
    assert_eq!(
        comparison.to_string(),
        "pads 1, links 1, notes 0, lost 0, duplicate 0, left 0, stranger 0, restless 0"
    );
}

#[test]
fn who_has_no_pad_is_lost() {
    let none = |books: &mut Books| {
        books.pads.clear();
        books.cluster.clear();
        books.candidates[0].links.clear();
        books.candidates[0].links_added.clear();
    };
    assert_eq!(found(none), [Kind::Lost]);
    assert_eq!(found(|books| books.candidates[0].links.clear()), [Kind::Lost]);
    assert_eq!(found(|books| books.cluster.clear()), [Kind::Lost]);
    assert_eq!(found(|books| books.cluster[0].phase = "Skipped/TagMissing".into()), [Kind::Lost]);
    assert_eq!(found(|books| books.cluster[0].pad_id = Some("PAD2".into())), [Kind::Lost]);
    // Candidates who are no longer eligible, or whose Pad a user has deleted, do not count.
    let gone = |books: &mut Books| (none(books), books.candidates[0].stage_id = "s-2".into()).1;
    assert_eq!(found(gone), []);
    let untagged = |books: &mut Books| (none(books), books.candidates[0].tags.clear()).1;
    assert_eq!(found(untagged), []);
    assert_eq!(found(deleted), []);
}

#[test]
fn what_is_there_twice_is_a_duplicate() {
    let second = |books: &mut Books, entry| {
        books.pads.push(pad("PAD2", entry));
        books.candidates[0].entries.push(("s-1".into(), entry));
    };
    let linked = |books: &mut Books| (second(books, ENTRY), link(books, "PAD2")).1;
    assert_eq!(found(linked), [Kind::Duplicate]);
    let again = |books: &mut Books| (second(books, ENTRY + 60_000), link(books, "PAD2")).1;
    assert_eq!(found(again), [Kind::Duplicate]);
    assert_eq!(found(|books| link(books, "PAD1")), [Kind::Duplicate]);
    // Added, removed and added again.
    let added = |books: &mut Books| {
        let url = books.pads[0].url.clone();
        books.candidates[0].links_added.push(url);
    };
    assert_eq!(found(added), [Kind::Duplicate]);
    assert_eq!(found(|books| books.cluster.push(cluster("phone-2", "PAD1"))), [Kind::Duplicate]);
    let after_the_end = |books: &mut Books| {
        again(books);
        books.rules[0].notes = false;
        books.pads[0].ended_at = Some(ENTRY + 30_000);
        books.cluster[0].phase = "Ended/Ended".into();
        books.cluster.push(cluster("phone-2", "PAD2"));
    };
    assert_eq!(found(after_the_end), []);
}

#[test]
fn an_entry_after_the_end_has_a_pad_of_its_own() {
    let returned = |books: &mut Books| {
        books.rules[0].notes = false;
        books.pads[0].ended_at = Some(ENTRY + 30_000);
        books.cluster[0].phase = "Ended/Ended".into();
        books.candidates[0].entries.push(("s-1".into(), ENTRY + 60_000));
    };
    assert_eq!(found(returned), [Kind::Lost]);
    let before = |books: &mut Books| (returned(books), books.candidates[0].entries[2].1 = ENTRY + 20_000).1;
    assert_eq!(found(before), []);
}

#[test]
fn a_pad_that_belongs_to_nobody_is_left_behind() {
    let unlinked = |books: &mut Books| (deleted(books), unlink(books)).1;
    assert_eq!(found(unlinked), [Kind::Left]);
    let policy = |books: &mut Books| (unlinked(books), books.rules[0].unlinks = true).1;
    assert_eq!(found(policy), []);
    let unattended = |books: &mut Books| (unlinked(books), books.people.unattended.insert(whose())).0;
    assert_eq!(found(unattended), [], "there was no connection to delete the pad with");
    let of_a_second_try = |books: &mut Books| books.pads.push(pad("PAD2", ENTRY));
    assert_eq!(found(of_a_second_try), [Kind::Duplicate, Kind::Left]);
    let dead_link = |books: &mut Books| (deleted(books), books.pads[0].deleted = true).1;
    assert_eq!(found(dead_link), [Kind::Left]);
}

#[test]
fn a_second_pad_for_a_served_entry_is_a_duplicate_whoever_deleted_the_first() {
    let second = |books: &mut Books| {
        deleted(books);
        unlink(books);
        books.pads[0].deleted = true;
        books.pads.push(pad("PAD2", ENTRY));
        link(books, "PAD2");
        books.cluster.push(cluster("phone-2", "PAD2"));
    };
    assert_eq!(found(second), [Kind::Duplicate]);
    let replaced = |books: &mut Books| (second(books), books.people.replaced.insert("phone".into())).0;
    assert_eq!(found(replaced), [], "with the configuration its records are deleted");
    let unexplained = |books: &mut Books| (replaced(books), books.people.deletions.clear()).1;
    assert_eq!(found(unexplained), [], "one for the new configuration");
    let third = |books: &mut Books| {
        unexplained(books);
        books.pads.push(PadBook { deleted: true, ..pad("PAD3", ENTRY) });
    };
    assert_eq!(found(third), [Kind::Duplicate], "more pads than causes");
}

#[test]
fn a_pad_that_somebody_deleted_in_coderpad_is_not_created_again() {
    let removed = |books: &mut Books| {
        books.pads[0].deleted = true;
        books.people.removed.insert("PAD1".into(), ENTRY + 60_000);
    };
    assert_eq!(found(removed), []);
    let further = |books: &mut Books, entry| {
        removed(books);
        books.candidates[0].entries.push(("s-1".into(), entry));
        books.pads.push(pad("PAD2", entry));
        link(books, "PAD2");
        books.cluster[0].phase = "Ended/PadDeleted".into();
        books.cluster.push(cluster("phone-2", "PAD2"));
    };
    assert_eq!(found(|books| further(books, ENTRY + 30_000)), [Kind::Duplicate]);
    assert_eq!(found(|books| further(books, ENTRY + 90_000)), []);
}

#[test]
fn a_pad_by_hand_comes_in_addition() {
    let create_pad_by_hand = |books: &mut Books| {
        let notes = books.pads[0].notes.replace(&ENTRY.to_string(), "by-hand-1");
        books.pads.push(PadBook { notes, ..pad("PAD2", ENTRY) });
        link(books, "PAD2");
        books.cluster.push(ClusterPad { source: "Manual".into(), ..cluster("by-hand-1", "PAD2") });
    };
    assert_eq!(found(create_pad_by_hand), [Kind::Duplicate, Kind::Stranger]);
    assert_eq!(found(|books| (create_pad_by_hand(books), books.people.applied.insert(whose(), 1)).0), []);
}

#[test]
fn only_sync_finds_who_was_there_before() {
    let before = |books: &mut Books, source: &str, since: i64| {
        books.pads.clear();
        books.candidates[0].links.clear();
        books.candidates[0].links_added.clear();
        books.rules[0].effective_since = Some(since);
        books.cluster[0] = ClusterPad {
            phase: "Skipped/BeforeConfiguration".into(),
            pad_id: None,
            source: source.into(),
            ..cluster("phone-1", "")
        };
    };
    assert_eq!(found(|books| before(books, "Sync", ENTRY + 5000)), []);
    assert_eq!(found(|books| before(books, "Webhook", ENTRY + 5000)), [Kind::Lost]);
    assert_eq!(found(|books| before(books, "Sync", ENTRY - 5000)), [Kind::Lost]);
}

#[test]
fn strangers_are_told() {
    let unmarked = PadBook { notes: "Hello".into(), ..pad("PAD2", ENTRY) };
    assert_eq!(found(|books| books.pads.push(unmarked.clone())), [Kind::Stranger]);
    let create_pad_by_hand = PadBook { create_pad_by_hand: true, ..unmarked.clone() };
    assert_eq!(found(|books| books.pads.push(create_pad_by_hand)), []);
    let notes = format!("Reference: padoperator.dev/{}/1", "0".repeat(32));
    assert_eq!(found(|books| books.pads.push(PadBook { notes, ..unmarked })), [Kind::Stranger]);
    assert_eq!(found(|books| link(books, "PAD9")), [Kind::Stranger]);
    assert_eq!(found(|books| books.candidates[0].entries[1].1 = ENTRY + 1), [Kind::Stranger]);
    assert_eq!(found(|books| books.candidates[0].tags_ever.clear()), [Kind::Stranger]);
}

#[test]
fn a_pad_that_is_not_at_rest_is_told() {
    assert_eq!(found(|books| books.cluster[0].at_rest = false), [Kind::Restless]);
}

#[test]
fn an_end_is_noted_once() {
    let ended = |books: &mut Books| {
        books.pads[0].ended_at = Some(ENTRY + 30_000);
        books.cluster[0].phase = "Ended/Ended".into();
    };
    let note = |books: &mut Books| {
        let line = books.pads[0].notes.lines().next().unwrap().to_owned();
        let playback = format!("{}/playback", books.pads[0].url);
        books.candidates[0].notes.push(format!("Interview\nPlayback: {playback}\n\n{line}"));
    };
    assert_eq!(found(ended), [Kind::Lost]);
    assert_eq!(found(|books| (ended(books), books.rules[0].notes = false).1), []);
    assert_eq!(found(|books| (ended(books), note(books)).1), []);
    assert_eq!(found(|books| (ended(books), note(books), note(books)).2), [Kind::Duplicate]);
    assert_eq!(found(note), [Kind::Stranger]);
}

#[test]
fn the_tags_follow_the_pad() {
    let tagged = |books: &mut Books, tags: &[&str]| {
        books.rules[0].tags = Some(("ready".into(), "done".into()));
        books.rules[0].notes = false;
        books.candidates[0].tags.extend(tags.iter().map(|tag| (*tag).to_owned()));
    };
    assert_eq!(found(|books| tagged(books, &[])), [Kind::Lost]);
    assert_eq!(found(|books| tagged(books, &["ready"])), []);
    let replaced = |books: &mut Books| (tagged(books, &[]), books.people.replaced.insert("phone".into())).0;
    assert_eq!(found(replaced), [], "it was opened while there was no configuration");
    let ended = |books: &mut Books, tags: &[&str]| {
        tagged(books, tags);
        books.pads[0].ended_at = Some(ENTRY + 30_000);
        books.cluster[0].phase = "Ended/Ended".into();
    };
    assert_eq!(found(|books| ended(books, &["done"])), []);
    assert_eq!(found(|books| ended(books, &["ready", "done"])), [Kind::Lost]);
    assert_eq!(found(|books| ended(books, &[])), [Kind::Lost]);
}

#[test]
fn a_pad_that_is_not_found_after_a_rename_waits_for_a_person() {
    let waiting = |books: &mut Books| {
        (books.cluster[0].phase, books.cluster[0].at_rest) = ("Pending/ConfigurationNotFound".into(), false);
        books.pads[0].deleted = true;
        books.people.removed.insert("PAD1".into(), ENTRY + 60_000);
    };
    assert_eq!(found(waiting), [Kind::Restless]);
    let renamed = |books: &mut Books| (waiting(books), books.people.renamed = true).0;
    assert_eq!(found(renamed), []);
}
