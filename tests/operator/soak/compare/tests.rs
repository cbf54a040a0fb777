//! Made-up books, each with one thing wrong: the comparison finds it, and nothing else.

use super::*;

const ENTRY: i64 = 1_700_000_000_000;

/// A candidate in a stage, with tag, pad, link and Pad.
fn sound() -> Books {
    let text = |text: &str| text.to_owned();
    let rule = RuleBook {
        name: text("phone"),
        stage_id: text("s-1"),
        tag: text("coderpad"),
        unlinks: false,
        notes: true,
        tags: None,
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
    }
}

/// What is found when the sound books are changed so.
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
    books.deleted_by_user.insert(("phone".to_owned(), "op-1".to_owned()));
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
    // Those who do not qualify any more, or whose Pad a user has deleted, are not.
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
    let of_a_second_try = |books: &mut Books| books.pads.push(pad("PAD2", ENTRY));
    assert_eq!(found(of_a_second_try), [Kind::Duplicate, Kind::Left]);
    let dead_link = |books: &mut Books| (deleted(books), books.pads[0].deleted = true).1;
    assert_eq!(found(dead_link), [Kind::Left]);
}

#[test]
fn strangers_are_told() {
    let unmarked = PadBook { notes: "Hello".into(), ..pad("PAD2", ENTRY) };
    assert_eq!(found(|books| books.pads.push(unmarked.clone())), [Kind::Stranger]);
    let by_hand = PadBook { by_hand: true, ..unmarked.clone() };
    assert_eq!(found(|books| books.pads.push(by_hand)), []);
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
    let ended = |books: &mut Books, tags: &[&str]| {
        tagged(books, tags);
        books.pads[0].ended_at = Some(ENTRY + 30_000);
        books.cluster[0].phase = "Ended/Ended".into();
    };
    assert_eq!(found(|books| ended(books, &["done"])), []);
    assert_eq!(found(|books| ended(books, &["ready", "done"])), [Kind::Lost]);
    assert_eq!(found(|books| ended(books, &[])), [Kind::Lost]);
}
