//! Tests of a linked pad: tags, the end of the interview, the note.

use super::*;
use crate::command::WriteBackState;
use api::configuration::{Note, StatusTags};
use services::coderpad::{Environment, PadEvent};

/// An open pad, with all tags and the note with code configured.
pub(super) fn open() -> PadState {
    with(|state| {
        stored(state);
        state.pad.linked = true;
        state.pad.phase = Some(Phase::Open);
        state.write_back = Some(WriteBack {
            note: Note::SummaryWithCode,
            tags: StatusTags {
                ready: Some("ready".into()),
                ended: Some("ended".into()),
                failed: Some("failed".into()),
            },
        });
    })
}

pub(super) fn open_with(change: impl FnOnce(&mut PadState)) -> PadState {
    let mut state = open();
    change(&mut state);
    state
}

pub(super) fn ended_record() -> PadLookup {
    let mut record = record("PAD1", 0);
    (record.state, record.ended_at) = ("ended".into(), Some(record.created_at));
    record.environment_ids = vec![7, 8];
    PadLookup::Read(Box::new(record))
}

/// An interview whose end was just read.
pub(super) fn ended() -> PadState {
    open_with(|state| {
        state.record = ended_record();
        state.events = Some(vec![]);
    })
}

pub(super) fn tagged(tags: &[&str]) -> CandidateLookup {
    candidate(|o| {
        o.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        o.links.push("https://app.coderpad.io/PAD1".into());
    })
}

#[test]
fn tags_are_written_after_the_link_and_before_the_pad_is_open() {
    let mut state = open_with(|state| {
        (state.pad.linked, state.pad.phase) = (false, Some(Phase::Pending));
        state.write_claim = WriteClaim::Unclaimed;
        state.record = PadLookup::Read(Box::new(record("PAD1", 0)));
        state.link_written = true;
        state.opportunity = tagged(&["coderpad", "failed"]);
    });
    assert!(matches!(plan(&state), Command::RemoveTags(tags) if tags == ["failed"]));
    state.tags_written.push("failed".into());
    assert!(matches!(plan(&state), Command::AddTags(tags) if tags == ["ready"]));
    state.tags_written.push("ready".into());
    assert_eq!(outcome(&state), Outcome::Open, "each is written once, whatever Lever makes of it");
    state.tags_written.clear();
    state.opportunity = tagged(&["ready"]);
    assert_eq!(outcome(&state), Outcome::Open, "they are compared first");
}

/// The operator did not know yet that the link is on the candidate.
#[test]
fn an_interview_that_ended_before_its_pad_was_open_gets_only_the_ended_tag() {
    let mut state = open_with(|state| {
        (state.pad.linked, state.pad.phase) = (false, Some(Phase::Pending));
        state.write_claim = WriteClaim::Unclaimed;
        state.record = ended_record();
        state.events = Some(vec![]);
        state.note = NoteLookup::Written("note-1".into());
        state.opportunity = tagged(&["coderpad"]);
    });
    assert!(matches!(plan(&state), Command::AddTags(tags) if tags == ["ended"]));
    state.opportunity = tagged(&["coderpad", "ready"]);
    assert!(matches!(plan(&state), Command::RemoveTags(tags) if tags == ["ready"]));
    state.tags_written.push("ready".into());
    state.opportunity = tagged(&["coderpad", "ended"]);
    assert_eq!(outcome(&state), Outcome::Ended(WriteBackState::Written));
}

/// The candidate returned and got another pad before the note of the first one was written.
#[test]
fn the_end_of_an_interview_keeps_the_tags_of_the_next_one() {
    let mut state = ended();
    state.note = NoteLookup::Written("note-1".into());
    state.opportunity = tagged(&["coderpad", "ready"]);
    assert!(matches!(plan(&state), Command::RemoveTags(tags) if tags == ["ready"]));
    state.others = vec![member(2, Progress::Open { entry: at(9) })];
    assert_eq!(outcome(&state), Outcome::Ended(WriteBackState::Written));
}

/// The first pass was interrupted after the link, and the sync that would have reported the end has passed already.
#[test]
fn a_linked_pad_is_read_before_it_becomes_open() {
    let waiting = open_with(|f| f.pad.phase = Some(Phase::Pending));
    assert!(matches!(plan(&waiting), Command::ReadPad(id) if id == "PAD1"));
}

#[test]
fn an_open_pad_is_read_only_on_request() {
    assert_eq!(outcome(&open()), Outcome::Keep);
    for asked in [
        open_with(|f| f.read_requested = true),
        open_with(|f| f.pad.requested = true),
        open_with(|f| f.pad.desired_state = DesiredState::Ended),
    ] {
        assert!(matches!(plan(&asked), Command::ReadPad(id) if id == "PAD1"));
    }
    let read = |change: fn(&mut PadRecord)| {
        let mut seen = record("PAD1", 0);
        change(&mut seen);
        open_with(|f| (f.read_requested, f.record) = (true, PadLookup::Read(Box::new(seen))))
    };
    assert_eq!(outcome(&read(|_| {})), Outcome::Open);
    let mut started = read(|record| record.state = "started".into());
    assert!(matches!(plan(&started), Command::ReadEvents(_)));
    let event = |kind: &str, second| PadEvent {
        kind: kind.into(),
        created_at: Timestamp::from_second(second).unwrap(),
        user_name: None,
        user_email: None,
    };
    started.events = Some(vec![event("joined", 10), event("started", 30), event("joined", 20)]);
    assert_eq!(outcome(&started), Outcome::Started);
    assert_eq!(started.started_at(), Timestamp::from_second(30).ok());
    for mut deleted in
        [read(|record| record.state = "deleted".into()), open_with(|f| f.record = PadLookup::NotFound)]
    {
        assert!(
            matches!(plan(&deleted), Command::ReadOpportunity),
            "for which entries there is no other pad"
        );
        deleted.opportunity = candidate(|_| {});
        assert_eq!(outcome(&deleted), Outcome::PadDeleted);
    }
}

/// Contract E2.
#[test]
fn a_deleted_pad_that_exists_again_is_tracked() {
    let deleted = |change: fn(&mut PadState)| {
        open_with(|f| {
            (f.pad.phase, f.pad.pad_was_deleted, f.pad.recorded) = (Some(Phase::Ended), true, true);
            change(f);
        })
    };
    assert_eq!(outcome(&deleted(|_| {})), Outcome::Keep);
    for asked in [deleted(|f| f.read_requested = true), deleted(|f| f.pad.requested = true)] {
        assert!(matches!(plan(&asked), Command::ReadPad(id) if id == "PAD1"));
        let with = |seen| PadState { record: seen, ..asked.clone() };
        assert_eq!(outcome(&with(PadLookup::NotFound)), Outcome::PadDeleted);
        let there = record("PAD1", 0);
        assert_eq!(outcome(&with(PadLookup::Read(Box::new(there)))), Outcome::Open);
    }
}

#[test]
fn a_request_or_an_archived_candidate_ends_the_interview_once() {
    let wished = open_with(|f| {
        f.pad.desired_state = DesiredState::Ended;
        f.record = PadLookup::Read(Box::new(record("PAD1", 0)));
    });
    assert!(matches!(plan(&wished), Command::EndPad(id) if id == "PAD1"));
    let mut asked = wished.clone();
    (asked.end_requested, asked.record) = (true, PadLookup::NotRead);
    assert!(matches!(plan(&asked), Command::ReadPad(_)), "what became of it is read");
    asked.record = wished.record;
    assert!(matches!(plan(&asked), Command::Done { outcome: Outcome::Open, again: Some(_) }));

    let mut archived = open_with(|f| (f.archived, f.ends_on_archive) = (true, true));
    assert!(matches!(plan(&archived), Command::ReadOpportunity), "a list is not believed");
    archived.opportunity = candidate(|_| {});
    assert_eq!(outcome(&archived), Outcome::Keep);
    archived.opportunity = candidate(|o| o.archived = true);
    archived.record = PadLookup::Read(Box::new(record("PAD1", 0)));
    assert!(matches!(plan(&archived), Command::EndPad(_)));
    archived.ends_on_archive = false;
    assert_eq!(outcome(&archived), Outcome::Open);
}

#[test]
fn the_note_is_searched_claimed_and_written_and_the_tags_exchanged() {
    let mut state = ended();
    state.write_claim = WriteClaim::InFlight { rest: Duration::from_secs(60) };
    let waits = Command::Done {
        outcome: Outcome::Ended(WriteBackState::Pending(Reason::LeverUnavailable, String::new())),
        again: None,
    };
    assert_eq!(std::mem::discriminant(&plan(&state)), std::mem::discriminant(&waits), "{:?}", plan(&state));
    state.write_claim = WriteClaim::Unclaimed;
    assert!(matches!(plan(&state), Command::ReadNotes { reference: r } if r == reference()));
    state.note = NoteLookup::Absent;
    assert!(matches!(plan(&state), Command::ReadCode(ids) if ids == [7, 8]));
    state.code = Some(vec![Environment { language: None, files: vec![] }]);
    assert!(matches!(plan(&state), Command::Claim(OnceOnlyWrite::Note)));
    state.write_claim = WriteClaim::Owned(OnceOnlyWrite::Note);
    let Command::AddNote(text) = plan(&state) else { panic!("no note: {:?}", plan(&state)) };
    assert!(reference().is_of_note(&text), "{text}");
    state.note = NoteLookup::Written("note-1".into());
    assert!(matches!(plan(&state), Command::ReadOpportunity));
    state.opportunity = tagged(&["ready", "failed"]);
    assert!(matches!(plan(&state), Command::RemoveTags(tags) if tags == ["ready", "failed"]));
    state.opportunity = tagged(&[]);
    assert!(matches!(plan(&state), Command::AddTags(tags) if tags == ["ended"]));
    state.opportunity = tagged(&["ended"]);
    assert_eq!(outcome(&state), Outcome::Ended(WriteBackState::Written));
}

#[test]
fn a_complete_record_is_kept_and_an_incomplete_one_is_continued() {
    let after = |recorded| open_with(|f| (f.pad.phase, f.pad.recorded) = (Some(Phase::Ended), recorded));
    assert_eq!(outcome(&after(true)), Outcome::Keep);
    assert!(matches!(plan(&after(false)), Command::ReadPad(_)));
    let mut written = ended();
    (written.pad.note_id, written.opportunity) = (Some("note-1".into()), tagged(&["ended"]));
    assert_eq!(
        outcome(&written),
        Outcome::Ended(WriteBackState::Written),
        "the note is not looked for again"
    );
    let quiet = WriteBack { note: Note::None, ..WriteBack::default() };
    let mut nothing = ended();
    nothing.write_back = Some(quiet);
    assert_eq!(outcome(&nothing), Outcome::Ended(WriteBackState::NotRequested));
    nothing.write_back = None;
    let Outcome::Ended(WriteBackState::Pending(reason, _)) = outcome(&nothing) else { panic!() };
    assert_eq!(reason, Reason::ConfigurationNotFound);
}

#[test]
fn an_error_after_the_link_keeps_the_pad() {
    let lever = |class| Some(service_error(Service::Lever, class, None));
    let open = open_with(|f| f.error = lever(ErrorKind::Unavailable));
    assert_eq!(outcome(&open), Outcome::NoDecision);
    let mut state = ended();
    state.error = lever(ErrorKind::Unavailable);
    let Outcome::Ended(WriteBackState::Pending(reason, _)) = outcome(&state) else { panic!() };
    assert_eq!(reason, Reason::LeverUnavailable);
    (state.opportunity, state.error) = (CandidateLookup::NotFound, lever(ErrorKind::NotFound));
    let Outcome::Ended(WriteBackState::Impossible(reason, _)) = outcome(&state) else { panic!() };
    assert_eq!(reason, Reason::CandidateNotFound);
    let unlinked = with(|f| {
        stored(f);
        f.record = PadLookup::Read(Box::new(record("PAD1", 0)));
        f.error = lever(ErrorKind::Unavailable);
    });
    assert!(matches!(plan(&unlinked), Command::SetFinalizer(true)), "it must not go before it is settled");
}

#[test]
fn nothing_is_sent_for_an_open_pad_while_the_connection_is_not_usable() {
    let suspended = |f: &mut PadState| f.connection = ConnectionState::Suspended { name: "acme".into() };
    let mut open = open_with(|f| f.read_requested = true);
    suspended(&mut open);
    assert_eq!(outcome(&open), Outcome::Keep);
    let mut state = open_with(|f| f.pad.phase = Some(Phase::Ended));
    suspended(&mut state);
    let Outcome::Ended(WriteBackState::Pending(reason, _)) = outcome(&state) else { panic!() };
    assert_eq!(reason, Reason::Suspended);
}

#[test]
fn deletion_removes_the_operators_tags_unless_the_policy_is_retain() {
    let mut state = open_with(|f| {
        (f.pad.deleting, f.pad.finalizer) = (true, true);
        f.pad.deletion_policy = DeletionPolicy::Unlink;
        f.record = PadLookup::Read(Box::new(record("PAD1", 0)));
        f.opportunity = candidate(|o| o.tags = vec!["coderpad".into(), "ended".into()]);
        f.served_stored = true;
    });
    assert!(matches!(plan(&state), Command::RemoveTags(tags) if tags == ["ended"]));
    let mut followed = state.clone();
    followed.others = vec![member(2, Progress::Open { entry: at(9) })];
    assert!(matches!(plan(&followed), Command::SetFinalizer(false)), "the tags tell of the next interview");
    state.tags_written.push("ended".into());
    assert!(matches!(plan(&state), Command::SetFinalizer(false)));
}
