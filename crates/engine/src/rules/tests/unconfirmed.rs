//! Tests of negative answers: what is read again before they have a consequence (contract P2b, P7a, P7b).

use super::*;
use crate::event::{Event, Fact};
use rstest::rstest;

/// An answer of a service.
#[derive(Clone, Copy)]
enum Answer {
    Found,
    Fails(ErrorKind),
    /// ID of the listed opportunity.
    Listed(Option<&'static str>),
}
use Answer::{Fails, Found, Listed};

const MISSING: Answer = Fails(ErrorKind::NotFound);
const FORBIDDEN: Answer = Fails(ErrorKind::Forbidden);
const UNAVAILABLE: Answer = Fails(ErrorKind::Unavailable);

fn answer<T>(answer: Answer, found: impl FnOnce() -> T) -> Result<T, ServiceError> {
    match answer {
        Fails(class) => Err(ServiceError::new(class, Service::Lever, "GET /x", None, "details")),
        Found | Listed(_) => Ok(found()),
    }
}

fn fact(command: &Command, given: Answer) -> Result<Fact, PassError> {
    Ok(match command {
        Command::ReadOpportunity | Command::ReadOpportunityAgain => {
            Fact::Candidate { answer: answer(given, || Box::new(opportunity())), shared: false }
        }
        Command::ReadAnyOpportunity => {
            let Listed(id) = given else { return answer(given, || Fact::Done).map_err(PassError::Service) };
            Fact::AnyOpportunity(id.map(ToOwned::to_owned))
        }
        Command::ReadOtherOpportunity(_) => Fact::OtherOpportunity(answer(given, || ())),
        Command::ReadPad(id) | Command::ReadPadAgain(id) | Command::ReadKindAgain(id) => {
            Fact::Pad(answer(given, || Box::new(record(id, 0))))
        }
        Command::ReadLinkedPads(ids) | Command::ReadLinkedPadsAgain(ids) => {
            Fact::LinkedPads(ids.iter().map(|id| (id.clone(), answer(given, || record(id, 0)))).collect())
        }
        Command::AddLink(_) | Command::AddTags(_) => {
            Fact::LeverWrite { answer: answer(given, || Box::new(opportunity())) }
        }
        other => panic!("no service is called: {other:?}"),
    })
}

/// Executes a command and those that follow it with these answers. Returns the names of the commands.
fn play(state: &mut PadState, first: Command, answers: &[Answer]) -> String {
    let (mut command, mut names) = (first, Vec::new());
    for given in answers {
        names.push(command.name());
        let result = fact(&command, *given);
        state.apply(&command, Event { stored: None, result });
        command = plan(state);
    }
    names.join(", ")
}

fn lookup(state: &PadState) -> String {
    let error = match &state.error {
        Some(PassError::Service(error)) => format!(", {:?}", error.class),
        Some(other) => panic!("{other:?}"),
        None => String::new(),
    };
    let lookup = match &state.opportunity {
        CandidateLookup::NotRead => "not read",
        CandidateLookup::NotFound => "not found",
        CandidateLookup::Refused => "refused",
        CandidateLookup::Read(_) => "read",
    };
    lookup.to_owned() + &error
}

#[rstest]
#[case::found(&[Found], "read opportunity", "read")]
#[case::missing_once(&[MISSING, Found], "read opportunity, read opportunity again", "read")]
#[case::missing_twice(&[MISSING, MISSING], "read opportunity, read opportunity again", "not found")]
#[case::missing_then_unavailable(
    &[MISSING, UNAVAILABLE],
    "read opportunity, read opportunity again",
    "not read, Unavailable"
)]
#[case::unavailable(&[UNAVAILABLE], "read opportunity", "not read, Unavailable")]
#[case::forbidden_alone(
    &[FORBIDDEN, Listed(Some("op-2")), Found],
    "read opportunity, read any opportunity, read other opportunity",
    "refused"
)]
#[case::forbidden_after_a_404(
    &[MISSING, FORBIDDEN, Listed(Some("op-2")), Found],
    "read opportunity, read opportunity again, read any opportunity, read other opportunity",
    "refused"
)]
#[case::forbidden_for_all(
    &[FORBIDDEN, Listed(Some("op-2")), FORBIDDEN],
    "read opportunity, read any opportunity, read other opportunity",
    "not read, Forbidden"
)]
#[case::other_is_deleted(
    &[FORBIDDEN, Listed(Some("op-2")), MISSING],
    "read opportunity, read any opportunity, read other opportunity",
    "not read, Forbidden"
)]
#[case::other_is_unavailable(
    &[FORBIDDEN, Listed(Some("op-2")), UNAVAILABLE],
    "read opportunity, read any opportunity, read other opportunity",
    "not read, Unavailable"
)]
#[case::no_other(
    &[FORBIDDEN, Listed(None)], "read opportunity, read any opportunity", "not read, Forbidden")]
#[case::only_the_candidate(
    &[FORBIDDEN, Listed(Some("op-1"))],
    "read opportunity, read any opportunity",
    "not read, Forbidden"
)]
#[case::list_unavailable(
    &[FORBIDDEN, UNAVAILABLE],
    "read opportunity, read any opportunity",
    "not read, Unavailable"
)]
fn a_negative_answer_about_the_candidate_is_confirmed(
    #[case] answers: &[Answer],
    #[case] commands: &str,
    #[case] expected: &str,
) {
    let mut state = state();
    assert_eq!(play(&mut state, Command::ReadOpportunity, answers), commands);
    assert_eq!(lookup(&state), expected);
}

/// Lever's API may lag behind its webhooks: the rules for stale reads have their own delays (contract P7a).
#[test]
fn a_404_after_a_webhook_is_read_again_later() {
    let mut state = with(|f| {
        let again = Some(Duration::from_secs(2));
        f.event = Some(SignedEvent { at: at(ENTRY_TIME_MS), read_again_in: again });
    });
    assert_eq!(play(&mut state, Command::ReadOpportunity, &[MISSING]), "read opportunity");
    assert_eq!(outcome(&state), Outcome::StaleRead);
}

#[rstest]
#[case::answered(&[Found], "add link", "read")]
#[case::candidate_is_there(&[MISSING, Found], "add link, read opportunity", "read, NotFound")]
#[case::candidate_is_deleted(
    &[MISSING, MISSING, MISSING],
    "add link, read opportunity, read opportunity again",
    "not found"
)]
#[case::candidate_is_confidential(
    &[MISSING, FORBIDDEN, Listed(Some("op-2")), Found],
    "add link, read opportunity, read any opportunity, read other opportunity",
    "refused, NotFound"
)]
#[case::read_fails(&[MISSING, UNAVAILABLE], "add link, read opportunity", "read, Unavailable")]
#[case::write_fails(&[UNAVAILABLE], "add link", "read, Unavailable")]
fn a_404_to_a_write_is_an_error_unless_the_candidate_was_deleted(
    #[case] answers: &[Answer],
    #[case] commands: &str,
    #[case] expected: &str,
) {
    let mut state = read(|_| ());
    stored(&mut state);
    (state.record, state.pad.finalizer) = (PadLookup::Read(Box::new(record("PAD1", 0))), true);
    let link = Command::AddLink("https://app.coderpad.io/PAD1".into());
    assert_eq!(play(&mut state, link, answers), commands);
    assert_eq!(lookup(&state), expected);
    assert_eq!(state.link_written, matches!(answers, [Found]));
    assert!(state.unconfirmed.write.is_none());
}

#[rstest]
#[case::found(&[Found], "read pad", "read")]
#[case::missing_once(&[MISSING, Found], "read pad, read pad again", "read")]
#[case::missing_twice(&[MISSING, MISSING], "read pad, read pad again", "not found")]
#[case::unavailable(&[UNAVAILABLE], "read pad", "error")]
#[case::missing_then_unavailable(&[MISSING, UNAVAILABLE], "read pad, read pad again", "error")]
fn a_missing_pad_is_confirmed(#[case] answers: &[Answer], #[case] commands: &str, #[case] expected: &str) {
    let mut state = with(stored);
    assert_eq!(play(&mut state, Command::ReadPad("PAD1".into()), answers), commands);
    let lookup = match (&state.record, &state.error) {
        (_, Some(_)) => "error",
        (PadLookup::NotRead, None) => "not read",
        (PadLookup::NotFound, None) => "not found",
        (PadLookup::Read(_), None) => "read",
    };
    assert_eq!(lookup, expected);
}

/// A deleted pad is handled like a live one: the search has found it with the wrong type.
#[test]
fn a_pad_that_is_missing_when_its_type_is_read_again_is_the_found_one() {
    let mut state = read(|_| ());
    attempted(&mut state);
    state.create_outcome = CreateOutcome::Searched(vec![record("PAD1", 0)]);
    let again = Command::ReadKindAgain("PAD1".into());
    assert_eq!(play(&mut state, again, &[MISSING, MISSING]), "read kind again, read kind again");
    assert!(state.kind_read_again && matches!(&state.record, PadLookup::Read(found) if found.id == "PAD1"));
}

#[rstest]
#[case::found(&[Found], "read linked pads", 2, false)]
#[case::missing_once(&[MISSING, Found], "read linked pads, read linked pads again", 2, false)]
#[case::missing_twice(&[MISSING, MISSING], "read linked pads, read linked pads again", 0, false)]
#[case::not_ours(&[FORBIDDEN], "read linked pads", 0, false)]
#[case::malformed(&[Fails(ErrorKind::Invalid)], "read linked pads", 0, false)]
#[case::unavailable(&[UNAVAILABLE], "read linked pads", 0, true)]
fn missing_linked_pads_are_confirmed_together(
    #[case] answers: &[Answer],
    #[case] commands: &str,
    #[case] found: usize,
    #[case] has_failed: bool,
) {
    let mut state = read(|o| o.links.extend(["A", "B"].map(|id| format!("https://app.coderpad.io/{id}"))));
    let first = plan(&state);
    assert!(
        matches!(&first, Command::ReadLinkedPads(ids) if ids == &["B", "A"]),
        "the newest first: {first:?}"
    );
    assert_eq!(play(&mut state, first, answers), commands);
    assert_eq!((state.linked_before.unwrap_or_default().len(), state.error.is_some()), (found, has_failed));
    assert_eq!(state.ownership.links_read.len(), if has_failed { 0 } else { 2 });
}

/// contract X6
#[test]
fn only_the_newest_links_are_read() {
    let many = || (0..30).map(|n| format!("https://app.coderpad.io/PAD{n}"));
    let mut state = read(|o| o.links.extend(many()));
    let Command::ReadLinkedPads(ids) = plan(&state) else { panic!("no read") };
    assert_eq!((ids.len(), ids.first().map(String::as_str)), (20, Some("PAD29")));
    play(&mut state, Command::ReadLinkedPads(ids), &[FORBIDDEN]);
    stored(&mut state);
    (state.pad.pad_id, state.record) = (Some("OWN".into()), PadLookup::Read(Box::new(record("OWN", 0))));
    assert!(matches!(plan(&state), Command::Claim(OnceOnlyWrite::Link)), "{:?}", plan(&state));
}
