//! Tests of refusals by Lever for a linked pad, and of pads that are ended before they are linked.

use super::after::{ended, ended_record, open, open_with, tagged};
use super::*;
use crate::coderpad::Environment;
use crate::controller::pad::plan::{WriteBackState, failure_tag, is_tag_settled};
use crate::controller::pad::tags::RefusedTag;

pub(super) fn refusal(class: ErrorKind, operation: &'static str) -> Error {
    Error::new(class, Service::Lever, operation, Some(400), "refused")
}

pub(super) const ADD_TAGS: &str = "POST /opportunities/{id}/addTags";
pub(super) const NOTES: &str = "GET /opportunities/{id}/notes";
const ADD_NOTE: &str = "POST /opportunities/{id}/notes";

/// A pad whose link was just added and whose first tag Lever refused.
pub(super) fn refused_ready_tag(class: ErrorKind) -> PadState {
    open_with(|facts| {
        (facts.pad.linked, facts.pad.phase) = (false, Some(Phase::Pending));
        facts.record = PadLookup::Read(Box::new(record("PAD1", 0)));
        (facts.claimed, facts.link_written) = (WriteClaim::Unclaimed, true);
        facts.opportunity = tagged(&["coderpad"]);
        facts.tags_written = vec!["ready".into()];
        let step = Command::AddTags(vec!["ready".into()]);
        facts.tags.refused = RefusedTag::of(&step, &refusal(class, ADD_TAGS));
    })
}

/// contract K4a
#[test]
fn a_pad_whose_tag_is_refused_is_open() {
    for class in [ErrorKind::Invalid, ErrorKind::Forbidden] {
        let facts = refused_ready_tag(class);
        assert!(facts.tags.refused.is_some());
        assert_eq!(outcome(&facts), Outcome::Open, "{class:?}");
    }
    let step = Command::AddTags(vec!["ready".into()]);
    for class in
        [ErrorKind::Unauthorized, ErrorKind::Throttled, ErrorKind::Unavailable, ErrorKind::OutcomeUnknown]
    {
        assert!(RefusedTag::of(&step, &refusal(class, ADD_TAGS)).is_none(), "{class:?} is not about the tag");
    }
}

/// contract K4a
#[test]
fn a_refused_tag_is_sent_again_after_its_backoff_without_reading_the_pad() {
    let mut facts = open_with(|facts| facts.tags.reported = true);
    facts.tags.pause = Some(Duration::from_secs(9));
    assert_eq!(outcome(&facts), Outcome::Keep, "it pauses");
    assert!(!is_tag_settled(&facts));
    facts.tags.pause = None;
    assert!(matches!(plan(&facts), Command::ReadOpportunity));
    facts.opportunity = tagged(&["coderpad"]);
    assert!(matches!(plan(&facts), Command::AddTags(tags) if tags == ["ready"]));
    assert!(!is_tag_settled(&facts));
    facts.opportunity = tagged(&["coderpad", "ready"]);
    assert_eq!(outcome(&facts), Outcome::Keep);
    assert!(is_tag_settled(&facts));
    assert_eq!(outcome(&open()), Outcome::Keep, "without a refusal nothing is read");
}

/// contract K4a
#[test]
fn a_tag_that_is_refused_at_the_end_leaves_the_pad_ended() {
    let facts = |class, phase, linked| {
        let mut facts = ended();
        (facts.pad.phase, facts.pad.linked) = (Some(phase), linked);
        facts.note = NoteLookup::Written("note-1".into());
        facts.opportunity = tagged(&["coderpad"]);
        facts.error = Some(PassError::Service(refusal(class, ADD_TAGS)));
        facts.pad.finalizer = !linked;
        facts
    };
    for (phase, linked) in [(Phase::Open, true), (Phase::Pending, true), (Phase::Pending, false)] {
        let Outcome::Ended(WriteBackState::Impossible(reason, _)) =
            outcome(&facts(ErrorKind::Invalid, phase, linked))
        else {
            panic!("{phase:?} {linked}")
        };
        assert_eq!(reason, Reason::InvalidRequest);
        let Outcome::Ended(WriteBackState::Pending(reason, _)) =
            outcome(&facts(ErrorKind::Forbidden, phase, linked))
        else {
            panic!("{phase:?} {linked}")
        };
        assert_eq!(reason, Reason::LeverForbidden);
    }
}

#[test]
fn a_403_on_the_record_is_settled_if_only_this_candidate_is_confidential() {
    let mut facts = ended();
    facts.error = Some(PassError::Service(refusal(ErrorKind::Forbidden, NOTES)));
    assert!(matches!(plan(&facts), Command::ReadOpportunity));
    let mut confidential = facts.clone();
    confidential.opportunity = CandidateLookup::Refused;
    let Outcome::Ended(WriteBackState::Impossible(reason, message)) = outcome(&confidential) else {
        panic!()
    };
    assert_eq!(reason, Reason::CandidateConfidential);
    assert!(message.contains("confidential"), "{message}");
    facts.opportunity = tagged(&["coderpad"]);
    let Outcome::Ended(WriteBackState::Pending(reason, _)) = outcome(&facts) else { panic!() };
    assert_eq!(reason, Reason::LeverForbidden, "it is the key");
    let read = refusal(ErrorKind::Forbidden, "GET /opportunities/{id}");
    (facts.opportunity, facts.error) = (CandidateLookup::NotRead, Some(PassError::Service(read)));
    let Outcome::Ended(WriteBackState::Pending(reason, _)) = outcome(&facts) else {
        panic!("it is read in a circle")
    };
    assert_eq!(reason, Reason::LeverForbidden);
}

/// contract E3
#[test]
fn a_note_that_is_refused_with_the_code_is_written_without_it() {
    let mut facts = ended();
    facts.note = NoteLookup::Absent;
    facts.code = Some(vec![Environment { language: Some("python3".into()), files: vec![] }]);
    facts.claimed = WriteClaim::Owned(OnceOnlyWrite::Note);
    let Command::AddNote(text) = plan(&facts) else { panic!("{:?}", plan(&facts)) };
    assert!(text.contains("CoderPad did not return 1 of the files"), "{text}");
    (facts.code_refused, facts.claimed) = (true, WriteClaim::Unclaimed);
    assert!(
        matches!(plan(&facts), Command::Claim(OnceOnlyWrite::Note)),
        "each request has a claim of its own"
    );
    facts.claimed = WriteClaim::Owned(OnceOnlyWrite::Note);
    let Command::AddNote(text) = plan(&facts) else { panic!("{:?}", plan(&facts)) };
    assert!(text.contains("Playback: ") && text.contains("the code is left out"), "{text}");
    assert!(reference().is_of_note(&text));
    facts.error = Some(PassError::Service(refusal(ErrorKind::Invalid, ADD_NOTE)));
    let Outcome::Ended(WriteBackState::Impossible(reason, _)) = outcome(&facts) else { panic!() };
    assert_eq!(reason, Reason::InvalidRequest);
}

#[test]
fn a_tag_that_a_pad_of_another_configuration_needs_stays() {
    let mut facts = ended();
    facts.note = NoteLookup::Written("note-1".into());
    facts.opportunity = tagged(&["coderpad", "ready"]);
    assert!(matches!(plan(&facts), Command::RemoveTags(tags) if tags == ["ready"]));
    facts.tags.needed = vec!["ready".into()];
    assert!(matches!(plan(&facts), Command::AddTags(tags) if tags == ["ended"]));

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
    let takes_off = |facts: &PadState| {
        let next = failure_tag::next_action(facts, failure_tag::PadHealth::Healthy);
        matches!(next, failure_tag::FailureTag::Execute(Command::RemoveTags(_)))
    };
    assert!(takes_off(&well));
    well.tags.needed = vec!["failed".into()];
    assert!(!takes_off(&well));
}

/// contract E6
#[test]
fn a_pad_that_cannot_be_linked_is_ended_in_coderpad_on_request() {
    for phase in [None, Some(Phase::Pending), Some(Phase::Failed)] {
        let mut facts = with(|f| {
            stored(f);
            (f.pad.finalizer, f.pad.phase) = (true, phase);
            f.pad.desired_state = DesiredState::Ended;
        });
        assert!(matches!(plan(&facts), Command::ReadPad(id) if id == "PAD1"));
        facts.record = PadLookup::Read(Box::new(record("PAD1", 0)));
        assert!(matches!(plan(&facts), Command::EndPad(id) if id == "PAD1"), "before any call to Lever");
        (facts.end_asked, facts.record) = (true, PadLookup::NotRead);
        assert!(matches!(plan(&facts), Command::ReadPad(_)));
        facts.record = ended_record();
        assert!(matches!(plan(&facts), Command::ReadOpportunity));
        let mut refused = facts.clone();
        refused.error = Some(PassError::Service(refusal(ErrorKind::Forbidden, "GET /opportunities/{id}")));
        assert_eq!(outcome(&refused), Outcome::EndedUnlinked);
        let mut away = facts.clone();
        away.error = Some(service_error(Service::Lever, ErrorKind::Unavailable, None));
        assert_eq!(reason(&away), "waits: LeverUnavailable");
        for opportunity in [candidate(|_| {}), CandidateLookup::NotFound, CandidateLookup::Refused] {
            facts.opportunity = opportunity;
            assert_eq!(outcome(&facts), Outcome::EndedUnlinked);
        }
        facts.pad.phase = Some(Phase::Ended);
        (facts.record, facts.opportunity) = (PadLookup::NotRead, CandidateLookup::NotRead);
        assert_eq!(outcome(&facts), Outcome::Keep, "and nothing is called again");
        (facts.pad.deleting, facts.served_stored) = (true, true);
        assert!(matches!(plan(&facts), Command::SetFinalizer(false)), "with Retain the pad stays");
    }
}

/// contract E6
#[test]
fn a_link_that_reached_the_candidate_after_all_makes_it_an_ordinary_end() {
    let mut facts = with(|f| {
        stored(f);
        (f.pad.finalizer, f.pad.desired_state) = (true, DesiredState::Ended);
        f.record = ended_record();
        f.claimed = WriteClaim::InFlight { rest: Duration::from_secs(3) };
    });
    let Command::Done { outcome: Outcome::Waiting(reason, _), again: Some(_) } = plan(&facts) else {
        panic!()
    };
    assert_eq!(reason, Reason::LeverUnavailable);
    facts.claimed = WriteClaim::Unclaimed;
    facts.opportunity = tagged(&["coderpad"]);
    assert!(matches!(plan(&facts), Command::SetFinalizer(false)), "it is linked: {:?}", plan(&facts));
    facts.pad.finalizer = false;
    facts.events = Some(vec![]);
    assert!(matches!(plan(&facts), Command::ReadNotes { .. }));
}
