//! Table tests of `apply`: command and event → state.

use super::*;
use crate::event::{Event, Fact, StoredVersion};
use rstest::rstest;
use services::coderpad::QuestionRecord;
use services::lever::{LeverNote, Notes};

/// Returns the state after a command with this result.
fn after(mut state: PadState, command: &Command, result: Result<Fact, PassError>) -> PadState {
    state.apply(command, Event { stored: None, result });
    state
}

fn service_error(class: ErrorKind) -> ServiceError {
    ServiceError::new(class, Service::Lever, "POST /opportunities/{id}/addTags", None, "no")
}

fn tags(names: &[&str]) -> Command {
    Command::AddTags(names.iter().map(|&name| name.to_owned()).collect())
}

fn lever_write(answer: Result<Opportunity, ServiceError>) -> Result<Fact, PassError> {
    Ok(Fact::LeverWrite { answer: answer.map(Box::new) })
}

#[test]
fn reads_are_stored() {
    let id = Command::ReadPad("PAD1".into());
    let state = after(read(|_| ()), &id, Ok(Fact::Pad(Ok(Box::new(record("PAD1", 0))))));
    assert!(matches!(state.record, PadLookup::Read(_)));
    let answer = Ok(Box::new(opportunity()));
    let state = after(state, &Command::ReadOpportunity, Ok(Fact::Candidate { answer, shared: true }));
    assert!(matches!(state.opportunity, CandidateLookup::Read(_)) && state.read_is_shared);
}

#[test]
fn a_claim_permits_one_request_even_if_it_fails() {
    for (claim, command) in [
        (OnceOnlyWrite::Link, Command::AddLink("https://app.coderpad.io/PAD1".into())),
        (OnceOnlyWrite::Note, Command::AddNote("note".into())),
    ] {
        let state = after(read(|_| ()), &Command::Claim(claim), Ok(Fact::Done));
        assert_eq!(state.write_claim, WriteClaim::Owned(claim));
        let state = after(state, &command, Err(PassError::Service(service_error(ErrorKind::OutcomeUnknown))));
        assert_eq!(state.write_claim, WriteClaim::Unclaimed);
        assert!(matches!(state.error, Some(PassError::Service(_))) && !state.link_written);
    }
}

#[test]
fn an_answered_link_is_written() {
    let link = Command::AddLink("https://app.coderpad.io/PAD1".into());
    let written = after(read(|_| ()), &link, lever_write(Ok(opportunity())));
    assert!(written.error.is_none() && written.link_written);
}

#[test]
fn a_refused_tag_is_tolerated_while_the_pad_is_open() {
    let refused = |state: PadState, class| {
        let command = tags(&["ready"]);
        after(state, &command, lever_write(Err(service_error(class))))
    };
    let tolerated = refused(read(|_| ()), ErrorKind::Invalid);
    assert!(tolerated.error.is_none() && tolerated.tags.refused.is_some());
    assert_eq!(tolerated.tags_written, ["ready"], "it is not sent again in this pass");
    assert!(refused(read(|_| ()), ErrorKind::Unavailable).error.is_some());
    let mut deleting = read(|_| ());
    deleting.pad.deleting = true;
    assert!(refused(deleting, ErrorKind::Invalid).error.is_some());
}

#[test]
fn lost_quota_is_known_and_a_refused_creation_counts() {
    let create = || match plan(&read(|_| ())) {
        create @ Command::Create { .. } => create,
        other => panic!("{other:?}"),
    };
    let state = after(read(|_| ()), &create(), Ok(Fact::NoQuota));
    assert!(matches!(state.connection, ConnectionState::Ready { pads_left: Some(0), .. }));
    assert!(state.error.is_none() && state.create_answered_at.is_none());
    let refused = Fact::CreateRefused { error: service_error(ErrorKind::Invalid), sent_at: at(7) };
    let state = after(read(|_| ()), &create(), Ok(refused));
    assert!(state.create_answered_at == Some(at(7)) && matches!(state.error, Some(PassError::Service(_))));
}

#[test]
fn a_changed_version_brings_what_is_known_of_its_requests() {
    let state = read(|_| ());
    let mut pad = state.pad.clone();
    pad.attempt = Some(CreateIntent::new(Reference::new(pad.series(), 1), at(5)));
    let in_flight = CreateOutcome::InFlight { rest: Duration::from_secs(9), search_in: Duration::ZERO };
    let stored =
        |pad| StoredVersion { pad, create_outcome: in_flight.clone(), write_claim: WriteClaim::Unclaimed };
    let mut changed = state.clone();
    let failed = changed.apply(
        &Command::SetFinalizer(true),
        Event { stored: Some(stored(pad)), result: Err(PassError::Conflict) },
    );
    assert!(failed);
    assert!(
        matches!(changed.create_outcome, CreateOutcome::InFlight { .. }),
        "another process may have sent one"
    );
    assert!(matches!(changed.error, Some(PassError::Conflict)));
    let mut same = state.clone();
    same.apply(
        &Command::SetFinalizer(true),
        Event { stored: Some(stored(state.pad.clone())), result: Ok(Fact::Done) },
    );
    assert!(matches!(same.create_outcome, CreateOutcome::NotSent));
}

#[test]
fn a_deleted_pad_leaves_the_search_and_counts_in_the_hourly_limit() {
    let mut state = read(|_| ());
    state.pad.attempt = Some(CreateIntent::new(Reference::new(state.pad.series(), 1), at(5)));
    state.create_outcome = CreateOutcome::Searched(vec![record("PAD1", 0), record("PAD2", 1)]);
    let state = after(state, &Command::DeletePad("PAD2".into()), Ok(Fact::Done));
    assert!(matches!(&state.create_outcome, CreateOutcome::Searched(found) if found.len() == 1));
    assert_eq!((state.deleted, state.create_answered_at), (vec!["PAD2".to_owned()], Some(at(5))));
}

fn note(id: &str, value: &str) -> LeverNote {
    LeverNote { id: id.into(), values: vec![value.into()], created_at_ms: None, deleted: false }
}

fn own_note(id: &str) -> LeverNote {
    note(id, &format!("The interview has ended.\n{}", reference().line()))
}

/// An unreadable note may be the searched one (contract X9).
#[rstest]
#[case::none(vec![], 0, "Absent")]
#[case::others(vec![note("a", "text")], 0, "Absent")]
#[case::own(vec![note("a", "text"), own_note("b")], 0, "Written(\"b\")")]
#[case::own_and_an_unreadable_one(vec![own_note("b")], 1, "Written(\"b\")")]
#[case::unreadable(vec![note("a", "text")], 1, "error")]
fn notes_are_searched_for_the_reference(
    #[case] notes: Vec<LeverNote>,
    #[case] left_out: usize,
    #[case] expected: &str,
) {
    let command = Command::ReadNotes { reference: reference() };
    let state = after(read(|_| ()), &command, Ok(Fact::Notes(Notes { notes, left_out })));
    let found = if state.error.is_some() { "error".into() } else { format!("{:?}", state.note) };
    assert_eq!(found, expected);
}

/// A file that CoderPad does not return must not prevent the note (contract E3).
#[rstest]
#[case::missing(ErrorKind::NotFound, true)]
#[case::invalid(ErrorKind::Invalid, true)]
#[case::forbidden(ErrorKind::Forbidden, false)]
#[case::unavailable(ErrorKind::Unavailable, false)]
fn missing_files_do_not_prevent_the_note(#[case] class: ErrorKind, #[case] is_tolerated: bool) {
    let files = vec![Err(ServiceError::new(class, Service::Interview, "GET /x", None, "no"))];
    let state = after(read(|_| ()), &Command::ReadCode(vec![1]), Ok(Fact::Code(files)));
    assert_eq!((state.code.is_some(), state.error.is_none()), (is_tolerated, is_tolerated));
}

#[rstest]
#[case::usable(Ok(false), false)]
#[case::draft(Ok(true), true)]
#[case::unknown(Err(ErrorKind::Unavailable), false)]
fn the_question_explains_a_refusal_if_it_cannot_be_used(
    #[case] is_draft: Result<bool, ErrorKind>,
    #[case] has_problem: bool,
) {
    let question = |is_draft| QuestionRecord {
        id: 7,
        title: "Fizz".into(),
        pad_type: Some("any".into()),
        take_home: false,
        is_draft,
    };
    let answer = is_draft
        .map(question)
        .map_err(|class| ServiceError::new(class, Service::Interview, "GET /questions/{id}", None, "no"));
    let command = Command::CheckQuestion { question: 7, type_: PadType::Live };
    let state = after(read(|_| ()), &command, Ok(Fact::Question(answer)));
    assert_eq!(state.question_problem.map(|problem| problem.is_some()), Some(has_problem));
    assert!(state.error.is_none(), "the refusal remains");
}
