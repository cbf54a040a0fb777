//! Tests of attempts with unknown outcome and of lost status: one pad, one link.

use super::*;

#[test]
fn an_attempt_of_unknown_outcome_is_never_retried_blindly() {
    let flight = |flight| {
        let mut state = read(|_| {});
        attempted(&mut state);
        state.create_outcome = flight;
        state
    };
    let pending = |search_in| {
        let (rest, search_in) = (Duration::from_secs(5), Duration::from_secs(search_in));
        flight(CreateOutcome::InFlight { rest, search_in })
    };
    assert!(matches!(plan(&pending(0)), Command::Search { .. }), "a pad that is there is adopted at once");
    assert_eq!(reason(&pending(2)), "waits: CreateOutcomeUnknown");
    assert!(matches!(plan(&pending(2)), Command::Done { again: Some(again), .. } if again.as_secs() == 2));
    assert!(matches!(plan(&pending(9)), Command::Done { again: Some(again), .. } if again.as_secs() == 5));
    assert!(
        matches!(plan(&flight(CreateOutcome::Completed)), Command::Search { reference: r } if r == reference())
    );
    assert!(matches!(plan(&flight(CreateOutcome::NotSent)), Command::ClearAttempt));
    assert!(matches!(plan(&flight(CreateOutcome::Searched(vec![]))), Command::ClearAttempt));
    let (old, young) = (record("OLD1", 0), record("YOUNG1", 1));
    assert!(
        matches!(plan(&flight(CreateOutcome::Searched(vec![old.clone(), young]))), Command::DeletePad(id) if id == "YOUNG1")
    );
    assert!(
        matches!(plan(&flight(CreateOutcome::Searched(vec![old]))), Command::StorePad { record, .. } if record.id == "OLD1")
    );
}

#[test]
fn a_skipped_pad_completes_a_creation_that_a_crash_interrupted() {
    let skipped = |change: fn(&mut PadState)| {
        let mut state = state();
        state.pad.phase = Some(Phase::Skipped);
        change(&mut state);
        state
    };
    assert_eq!(outcome(&skipped(|_| {})), Outcome::Keep);
    let attempted = skipped(|state| {
        attempted(state);
        state.create_outcome = CreateOutcome::Completed;
    });
    assert!(matches!(plan(&attempted), Command::Search { .. }));
    assert!(matches!(plan(&skipped(stored)), Command::SetFinalizer(true)));
    let known = skipped(|state| {
        stored(state);
        state.pad.url = Some("https://app.coderpad.io/PAD1".into());
    });
    assert_eq!(outcome(&known), Outcome::Keep, "the Pad was skipped afterwards");
    let yielded = skipped(|state| {
        stored(state);
        state.ownership.reported = Some("0123456789abcdef".into());
    });
    assert_eq!(outcome(&yielded), Outcome::Keep, "the pad of another installation counts");
}

#[test]
fn after_a_crash_the_link_is_compared_before_it_is_written() {
    let mut state = state();
    stored(&mut state);
    assert!(matches!(plan(&state), Command::SetFinalizer(true)), "it stays until it is settled");
    state.pad.finalizer = true;
    state.write_claim = WriteClaim::InFlight { rest: Duration::from_secs(7) };
    assert_eq!(reason(&state), "waits: LeverUnavailable", "a request in flight may still take effect");
    state.write_claim = WriteClaim::Unclaimed;
    assert!(matches!(plan(&state), Command::ReadPad(id) if id == "PAD1"));
    state.record = PadLookup::Read(Box::new(record("PAD1", 0)));
    assert!(matches!(plan(&state), Command::ReadOpportunity));
    state.opportunity = candidate(|_| {});
    assert!(matches!(plan(&state), Command::Claim(OnceOnlyWrite::Link)));
    state.opportunity = candidate(|o| o.links.push("https://app.coderpad.io/PAD1".into()));
    assert!(matches!(plan(&state), Command::SetFinalizer(false)));
    state.pad.finalizer = false;
    assert_eq!(outcome(&state), Outcome::Open);
    state.record = PadLookup::NotFound;
    assert_eq!(outcome(&state), Outcome::PadDeleted);
    state.opportunity = CandidateLookup::NotRead;
    assert!(matches!(plan(&state), Command::ReadOpportunity), "for which entries there is no other pad");
}

#[test]
fn a_lost_status_is_restored_from_the_links_on_the_candidate() {
    let mut state = read(|o| o.links.push("https://app.coderpad.io/PAD1".into()));
    assert!(matches!(plan(&state), Command::ReadLinkedPads(ids) if ids == ["PAD1"]));
    state.linked_before = Some(vec![record("PAD1", 0)]);
    assert!(matches!(plan(&state), Command::StorePad { record, .. } if record.id == "PAD1"));
    let held = SeriesMember {
        pad_id: Some("PAD1".into()),
        ..member(1, Progress::Ended { entry: at(0), at: at(1) })
    };
    state.others.push(held);
    assert!(matches!(plan(&state), Command::Create { .. }), "another Pad of the series has it");
    state.linked_before = Some(vec![]);
    assert!(matches!(plan(&state), Command::Create { .. }), "a link to somebody else's pad does not count");
    for page in ["https://app.coderpad.io/index.html", "https://coderpad.io/", "https://example.com/PAD1"] {
        let state = read(|o| o.links.push(page.into()));
        assert!(matches!(plan(&state), Command::Create { .. }), "{page} is no pad");
    }
}

/// Contract X6: each Pad of a series that was restored without annotations and status adopts its own pad.
#[test]
fn several_pads_that_lost_their_status_each_adopt_their_own_pad() {
    let of_entry = |id: &str, ago: i64, ended: bool| {
        let mut record = record(id, -ago);
        let reference = Reference::new(state().pad.series(), ENTRY_TIME_MS - 1000 * ago);
        record.notes = reference.notes("https://hire.example.com/candidates/op-1");
        record.ended_at = ended.then(|| at(ENTRY_TIME_MS - 1000 * ago + 500));
        record
    };
    let records = [of_entry("NEWEST", 0, false), of_entry("OLDEST", 90, true), of_entry("MIDDLE", 50, true)];
    let adopted = |own: u32, others: &[u32], records: &[PadRecord]| {
        let mut state = read(|o| o.links.extend(records.iter().map(|record| record.url.clone())));
        state.pad.member = member(own, Progress::InProgress);
        state.others = others.iter().map(|number| member(*number, Progress::InProgress)).collect();
        state.linked_before = Some(records.to_vec());
        match plan(&state) {
            Command::StorePad { record, .. } => record.id,
            Command::Create { .. } => "created".into(),
            _ => reason(&state),
        }
    };
    assert_eq!(adopted(1, &[2, 3], &records), "OLDEST");
    assert_eq!(adopted(2, &[3, 1], &records), "MIDDLE");
    assert_eq!(adopted(3, &[1, 2], &records), "NEWEST");
    assert_eq!(adopted(1, &[2], &records[..1]), "skipped: AlreadyServed", "no third pad");
    assert_eq!(adopted(2, &[1], &records[..1]), "NEWEST");
    assert_eq!(adopted(2, &[1], &records[1..]), "waits: CreateOutcomeUnknown", "the older one comes first");
    assert_eq!(adopted(1, &[2], &[]), "skipped: AlreadyServed", "two that were created at once");
    assert_eq!(adopted(2, &[1], &[]), "waits: CreateOutcomeUnknown");
    let beside = |standing| {
        let mut state = read(|_| {});
        state.pad.member = member(2, Progress::InProgress);
        state.others = vec![member(1, standing)];
        match plan(&state) {
            Command::Create { .. } => "created".into(),
            _ => reason(&state),
        }
    };
    assert_eq!(
        beside(Progress::Open { entry: at(ENTRY_TIME_MS) }),
        "skipped: AlreadyServed",
        "the older one has its pad"
    );
    assert_eq!(beside(Progress::NotCounted), "created");
    let mut stored = read(|_| {});
    stored.pad.member = member(1, Progress::InProgress);
    let other = SeriesMember { pad_id: Some("PAD2".into()), ..member(2, Progress::InProgress) };
    stored.others = vec![other];
    assert_eq!(
        reason(&stored),
        "waits: CreateOutcomeUnknown",
        "the other one has its pad, but no status yet"
    );
    assert_eq!(
        beside(Progress::Ended { entry: at(ENTRY_TIME_MS - 9), at: at(ENTRY_TIME_MS - 5) }),
        "created"
    );
}

#[test]
fn a_live_pad_instead_of_a_take_home_is_deleted_and_never_linked() {
    let mut state = read(|_| {});
    state.configuration = RuleState::Ready(Rule { type_: PadType::TakeHome, question_id: Some(7), ..rule() });
    state.wants_take_home = true;
    let Command::Create { pad, .. } = plan(&state) else { panic!("no create") };
    assert!(pad.take_home);
    attempted(&mut state);
    state.record = PadLookup::Read(Box::new(record("PAD1", 0)));
    assert!(matches!(plan(&state), Command::ReadKindAgain(id) if id == "PAD1"), "one answer decides nothing");
    state.kind_read_again = true;
    assert!(matches!(plan(&state), Command::DeletePad(id) if id == "PAD1"));
    state.deleted.push("PAD1".into());
    assert!(
        matches!(plan(&state), Command::StoreRefusal { refused: true }),
        "no other pad is created for the rule"
    );
    state.refusal_stored = true;
    assert!(matches!(plan(&state), Command::ClearAttempt));
    state.pad.attempt = None;
    assert_eq!(reason(&state), "failed: TakeHomeRefused");

    let mut found = with(attempted);
    found.configuration = state.configuration.clone();
    found.wants_take_home = true;
    found.create_outcome = CreateOutcome::Searched(vec![record("PAD1", 0)]);
    assert!(matches!(plan(&found), Command::ReadKindAgain(_)), "also when it is found after a crash");
    (found.record, found.kind_read_again) = (PadLookup::Read(Box::new(record("PAD1", 0))), true);
    assert!(matches!(plan(&found), Command::DeletePad(id) if id == "PAD1"));
    found.configuration = configuration_not_ready();
    assert!(matches!(plan(&found), Command::DeletePad(_)), "whether or not the configuration is Ready");

    let mut unknown = with(attempted);
    let mut of_unknown_kind = record("PAD1", 0);
    of_unknown_kind.kind = PadKind::Unknown;
    (unknown.wants_take_home, unknown.kind_read_again) = (true, true);
    unknown.record = PadLookup::Read(Box::new(of_unknown_kind));
    assert!(
        matches!(plan(&unknown), Command::StorePad { claim_link: false, keep_finalizer: true, .. }),
        "it is kept, not linked"
    );
    (unknown.pad.pad_id, unknown.refusal_stored) = (Some("PAD1".into()), true);
    assert_eq!(reason(&unknown), "failed: TakeHomeRefused");
    unknown.pad.asked_by_person = true;
    assert!(matches!(plan(&unknown), Command::ReadOpportunity), "a person decides to link it");

    let mut take_home = record("PAD1", 0);
    take_home.kind = PadKind::TakeHome;
    attempted(&mut state);
    (state.refusal_stored, state.take_home_refused) = (false, true);
    state.deleted.clear();
    state.record = PadLookup::Read(Box::new(take_home));
    assert!(matches!(plan(&state), Command::StoreRefusal { refused: false }), "CoderPad creates them again");
    state.refusal_stored = true;
    assert!(matches!(plan(&state), Command::StorePad { .. }));
}
