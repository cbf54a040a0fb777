//! Tests of candidates whose data was removed from Lever.

use super::*;

fn settled_in(phase: Phase) -> PadState {
    with(|f| {
        (f.erased, f.pad.phase) = (true, Some(phase));
        f.pad.member.progress = Progress::NotCounted;
    })
}

#[test]
fn a_removal_reported_by_a_list_is_confirmed_by_a_read() {
    for phase in [Phase::Skipped, Phase::Failed] {
        let mut state = settled_in(phase);
        assert!(matches!(plan(&state), Command::ReadOpportunity));
        let mut troubled = state.clone();
        troubled.error = Some(service_error(Service::Lever, ErrorKind::Unavailable, None));
        assert_eq!(outcome(&troubled), Outcome::NoDecision, "it stays what it is");
        for gone in [CandidateLookup::NotFound, candidate(|o| o.is_anonymized = true), candidate(|_| {})] {
            state.opportunity = gone;
            assert_eq!(outcome(&state), Outcome::Keep);
        }
    }
    let mut open = with(|f| {
        stored(f);
        (f.erased, f.pad.linked, f.pad.phase) = (true, true, Some(Phase::Open));
    });
    assert!(matches!(plan(&open), Command::ReadOpportunity));
    open.connection = ConnectionState::Suspended { name: "acme".into() };
    assert_eq!(outcome(&open), Outcome::Keep);
}

#[test]
fn participants_are_named_only_after_the_candidate_was_read() {
    let mut state = with(|f| {
        stored(f);
        (f.pad.linked, f.pad.phase, f.pad.names_candidate) = (true, Some(Phase::Started), false);
        let mut started = record("PAD1", 0);
        started.state = "started".into();
        (f.read_requested, f.record, f.events) = (true, PadLookup::Read(Box::new(started)), Some(vec![]));
    });
    assert!(matches!(plan(&state), Command::ReadOpportunity));
    state.opportunity = CandidateLookup::NotFound;
    assert_eq!(outcome(&state), Outcome::Started);
}
