//! Tests of refusals by Lever for a linked pad, and of pads that are ended before they are linked.

use super::after::{ended, ended_record, open, open_with, tagged};
use super::*;
use crate::command::WriteBackState;
use crate::rules::write_back::is_tag_settled;
use crate::tags::RefusedTag;
use services::coderpad::Environment;

pub(super) fn refusal(class: ErrorKind, operation: &'static str) -> ServiceError {
    ServiceError::new(class, Service::Lever, operation, Some(400), "refused")
}

pub(super) const ADD_TAGS: &str = "POST /opportunities/{id}/addTags";
pub(super) const NOTES: &str = "GET /opportunities/{id}/notes";
const ADD_NOTE: &str = "POST /opportunities/{id}/notes";

/// A pad whose link was just added and whose first tag Lever refused.
pub(super) fn refused_ready_tag(class: ErrorKind) -> PadState {
    open_with(|state| {
        (state.pad.linked, state.pad.phase) = (false, Some(Phase::Pending));
        state.record = PadLookup::Read(Box::new(record("PAD1", 0)));
        (state.write_claim, state.link_written) = (WriteClaim::Unclaimed, true);
        state.opportunity = tagged(&["coderpad"]);
        state.tags_written = vec!["ready".into()];
        let step = Command::AddTags(vec!["ready".into()]);
        state.tags.refused = RefusedTag::from_error(&step, &refusal(class, ADD_TAGS));
    })
}

/// contract K4a
#[test]
fn a_pad_whose_tag_is_refused_is_open() {
    for class in [ErrorKind::Invalid, ErrorKind::Forbidden] {
        let state = refused_ready_tag(class);
        assert!(state.tags.refused.is_some());
        assert_eq!(outcome(&state), Outcome::Open, "{class:?}");
    }
    let step = Command::AddTags(vec!["ready".into()]);
    for class in
        [ErrorKind::Unauthorized, ErrorKind::Throttled, ErrorKind::Unavailable, ErrorKind::OutcomeUnknown]
    {
        assert!(
            RefusedTag::from_error(&step, &refusal(class, ADD_TAGS)).is_none(),
            "{class:?} is not about the tag"
        );
    }
}

/// contract K4a
#[test]
fn a_refused_tag_is_sent_again_after_its_backoff_without_reading_the_pad() {
    let mut state = open_with(|state| state.tags.reported = true);
    state.tags.pause = Some(Duration::from_secs(9));
    assert_eq!(outcome(&state), Outcome::Keep, "it pauses");
    assert!(!is_tag_settled(&state));
    state.tags.pause = None;
    assert!(matches!(plan(&state), Command::ReadOpportunity));
    state.opportunity = tagged(&["coderpad"]);
    assert!(matches!(plan(&state), Command::AddTags(tags) if tags == ["ready"]));
    assert!(!is_tag_settled(&state));
    state.opportunity = tagged(&["coderpad", "ready"]);
    assert_eq!(outcome(&state), Outcome::Keep);
    assert!(is_tag_settled(&state));
    assert_eq!(outcome(&open()), Outcome::Keep, "without a refusal nothing is read");
}

/// contract K4a
#[test]
fn a_tag_that_is_refused_at_the_end_leaves_the_pad_ended() {
    let state = |class, phase, linked| {
        let mut state = ended();
        (state.pad.phase, state.pad.linked) = (Some(phase), linked);
        state.note = NoteLookup::Written("note-1".into());
        state.opportunity = tagged(&["coderpad"]);
        state.error = Some(PassError::Service(refusal(class, ADD_TAGS)));
        state.pad.finalizer = !linked;
        state
    };
    for (phase, linked) in [(Phase::Open, true), (Phase::Pending, true), (Phase::Pending, false)] {
        let Outcome::Ended(WriteBackState::Impossible(reason, _)) =
            outcome(&state(ErrorKind::Invalid, phase, linked))
        else {
            panic!("{phase:?} {linked}")
        };
        assert_eq!(reason, Reason::InvalidRequest);
        let Outcome::Ended(WriteBackState::Pending(reason, _)) =
            outcome(&state(ErrorKind::Forbidden, phase, linked))
        else {
            panic!("{phase:?} {linked}")
        };
        assert_eq!(reason, Reason::LeverForbidden);
    }
}

#[test]
fn a_403_on_the_record_is_settled_if_only_this_candidate_is_confidential() {
    let mut state = ended();
    state.error = Some(PassError::Service(refusal(ErrorKind::Forbidden, NOTES)));
    assert!(matches!(plan(&state), Command::ReadOpportunity));
    let mut confidential = state.clone();
    confidential.opportunity = CandidateLookup::Refused;
    let Outcome::Ended(WriteBackState::Impossible(reason, message)) = outcome(&confidential) else {
        panic!()
    };
    assert_eq!(reason, Reason::CandidateConfidential);
    assert!(message.contains("confidential"), "{message}");
    state.opportunity = tagged(&["coderpad"]);
    let Outcome::Ended(WriteBackState::Pending(reason, _)) = outcome(&state) else { panic!() };
    assert_eq!(reason, Reason::LeverForbidden, "it is the key");
    let read = refusal(ErrorKind::Forbidden, "GET /opportunities/{id}");
    (state.opportunity, state.error) = (CandidateLookup::NotRead, Some(PassError::Service(read)));
    let Outcome::Ended(WriteBackState::Pending(reason, _)) = outcome(&state) else {
        panic!("it is read in a circle")
    };
    assert_eq!(reason, Reason::LeverForbidden);
}

/// contract P7b
#[test]
fn a_404_on_the_record_is_settled_if_the_candidate_was_deleted() {
    for operation in [NOTES, ADD_NOTE, ADD_TAGS] {
        let mut state = ended();
        state.error = Some(PassError::Service(refusal(ErrorKind::NotFound, operation)));
        assert!(matches!(plan(&state), Command::ReadOpportunity), "{operation}");
        state.opportunity = CandidateLookup::NotFound;
        let Outcome::Ended(WriteBackState::Impossible(reason, _)) = outcome(&state) else { panic!() };
        assert_eq!(reason, Reason::CandidateNotFound, "{operation}");
        state.opportunity = tagged(&["coderpad"]);
        let Outcome::Ended(WriteBackState::Pending(reason, _)) = outcome(&state) else { panic!() };
        assert_eq!(reason, Reason::LeverUnavailable, "{operation}: the candidate is still there");
    }
}

/// contract E3
#[test]
fn a_note_that_is_refused_with_the_code_is_written_without_it() {
    let mut state = ended();
    state.note = NoteLookup::Absent;
    state.code = Some(vec![Environment { language: Some("python3".into()), files: vec![] }]);
    state.write_claim = WriteClaim::Owned(OnceOnlyWrite::Note);
    let Command::AddNote(text) = plan(&state) else { panic!("{:?}", plan(&state)) };
    assert!(text.contains("CoderPad did not return 1 of the files"), "{text}");
    (state.code_refused, state.write_claim) = (true, WriteClaim::Unclaimed);
    assert!(
        matches!(plan(&state), Command::Claim(OnceOnlyWrite::Note)),
        "each request has a claim of its own"
    );
    state.write_claim = WriteClaim::Owned(OnceOnlyWrite::Note);
    let Command::AddNote(text) = plan(&state) else { panic!("{:?}", plan(&state)) };
    assert!(text.contains("Playback: ") && text.contains("the code is left out"), "{text}");
    assert!(reference().is_of_note(&text));
    state.error = Some(PassError::Service(refusal(ErrorKind::Invalid, ADD_NOTE)));
    let Outcome::Ended(WriteBackState::Impossible(reason, _)) = outcome(&state) else { panic!() };
    assert_eq!(reason, Reason::InvalidRequest);
}

#[test]
fn a_tag_that_a_pad_of_another_configuration_needs_stays() {
    let mut state = ended();
    state.note = NoteLookup::Written("note-1".into());
    state.opportunity = tagged(&["coderpad", "ready"]);
    assert!(matches!(plan(&state), Command::RemoveTags(tags) if tags == ["ready"]));
    state.tags.needed = vec!["ready".into()];
    assert!(matches!(plan(&state), Command::AddTags(tags) if tags == ["ended"]));

    let mut deleted = open_with(|f| {
        (f.pad.deleting, f.pad.finalizer) = (true, true);
        f.pad.deletion_policy = DeletionPolicy::Unlink;
        f.record = PadLookup::Read(Box::new(record("PAD1", 0)));
        f.opportunity = candidate(|o| o.tags = vec!["coderpad".into(), "ready".into()]);
        f.served_stored = true;
    });
    assert!(matches!(plan(&deleted), Command::RemoveTags(tags) if tags == ["ready"]));
    deleted.tags.needed = vec!["ready".into()];
    assert!(matches!(plan(&deleted), Command::SetFinalizer(false)));

    let mut well = open_with(|f| {
        f.pad.failed_tag = Some("failed".into());
        f.opportunity = tagged(&["coderpad", "failed"]);
    });
    let takes_off = |state: &PadState| {
        let state = PadState { health: Some(PadHealth::Healthy), ..state.clone() };
        matches!(plan(&state), Command::RemoveTags(_))
    };
    assert!(takes_off(&well));
    well.tags.needed = vec!["failed".into()];
    assert!(!takes_off(&well));
}

/// contract E6
#[test]
fn a_pad_that_cannot_be_linked_is_ended_in_coderpad_on_request() {
    for phase in [None, Some(Phase::Pending), Some(Phase::Failed)] {
        let mut state = with(|f| {
            stored(f);
            (f.pad.finalizer, f.pad.phase) = (true, phase);
            f.pad.desired_state = DesiredState::Ended;
        });
        assert!(matches!(plan(&state), Command::ReadPad(id) if id == "PAD1"));
        state.record = PadLookup::Read(Box::new(record("PAD1", 0)));
        assert!(matches!(plan(&state), Command::EndPad(id) if id == "PAD1"), "before any call to Lever");
        (state.end_requested, state.record) = (true, PadLookup::NotRead);
        assert!(matches!(plan(&state), Command::ReadPad(_)));
        state.record = ended_record();
        assert!(matches!(plan(&state), Command::ReadOpportunity));
        let mut refused = state.clone();
        refused.error = Some(PassError::Service(refusal(ErrorKind::Forbidden, "GET /opportunities/{id}")));
        assert_eq!(outcome(&refused), Outcome::EndedUnlinked);
        let mut away = state.clone();
        away.error = Some(service_error(Service::Lever, ErrorKind::Unavailable, None));
        assert_eq!(reason(&away), "waits: LeverUnavailable");
        for opportunity in [candidate(|_| {}), CandidateLookup::NotFound, CandidateLookup::Refused] {
            state.opportunity = opportunity;
            assert_eq!(outcome(&state), Outcome::EndedUnlinked);
        }
        state.pad.phase = Some(Phase::Ended);
        (state.record, state.opportunity) = (PadLookup::NotRead, CandidateLookup::NotRead);
        assert_eq!(outcome(&state), Outcome::Keep, "and nothing is called again");
        (state.pad.deleting, state.served_stored) = (true, true);
        assert!(matches!(plan(&state), Command::SetFinalizer(false)), "with Retain the pad stays");
    }
}

/// contract E6
#[test]
fn a_link_that_reached_the_candidate_after_all_makes_it_an_ordinary_end() {
    let mut state = with(|f| {
        stored(f);
        (f.pad.finalizer, f.pad.desired_state) = (true, DesiredState::Ended);
        f.record = ended_record();
        f.write_claim = WriteClaim::InFlight { rest: Duration::from_secs(3) };
    });
    let Command::Done { outcome: Outcome::Waiting(reason, _), again: Some(_) } = plan(&state) else {
        panic!()
    };
    assert_eq!(reason, Reason::LeverUnavailable);
    state.write_claim = WriteClaim::Unclaimed;
    state.opportunity = tagged(&["coderpad"]);
    assert!(matches!(plan(&state), Command::SetFinalizer(false)), "it is linked: {:?}", plan(&state));
    state.pad.finalizer = false;
    state.events = Some(vec![]);
    assert!(matches!(plan(&state), Command::ReadNotes { .. }));
}
