//! Tests of attempts with unknown outcome and of lost status: one pad, one link.

use super::*;

#[test]
fn an_attempt_of_unknown_outcome_is_never_retried_blindly() {
    let flight = |flight| {
        let mut facts = read(|_| {});
        attempted(&mut facts);
        facts.flight = flight;
        facts
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
fn after_a_crash_the_link_is_compared_before_it_is_written() {
    let mut facts = facts();
    stored(&mut facts);
    assert!(matches!(plan(&facts), Command::SetFinalizer(true)), "it stays until it is settled");
    facts.pad.finalizer = true;
    facts.claimed = WriteClaim::InFlight { rest: Duration::from_secs(7) };
    assert_eq!(reason(&facts), "waits: LeverUnavailable", "a request in flight may still take effect");
    facts.claimed = WriteClaim::Unclaimed;
    assert!(matches!(plan(&facts), Command::ReadPad(id) if id == "PAD1"));
    facts.record = PadLookup::Read(Box::new(record("PAD1", 0)));
    assert!(matches!(plan(&facts), Command::ReadOpportunity));
    facts.opportunity = candidate(|_| {});
    assert!(matches!(plan(&facts), Command::Claim(OnceOnlyWrite::Link)));
    facts.opportunity = candidate(|o| o.links.push("https://app.coderpad.io/PAD1".into()));
    assert!(matches!(plan(&facts), Command::SetFinalizer(false)));
    facts.pad.finalizer = false;
    assert_eq!(outcome(&facts), Outcome::Open);
    facts.record = PadLookup::NotFound;
    assert_eq!(outcome(&facts), Outcome::PadDeleted);
    facts.opportunity = CandidateLookup::NotRead;
    assert!(matches!(plan(&facts), Command::ReadOpportunity), "for which entries there is no other pad");
}

#[test]
fn a_lost_status_is_restored_from_the_links_on_the_candidate() {
    let mut facts = read(|o| o.links.push("https://app.coderpad.io/PAD1".into()));
    assert!(matches!(plan(&facts), Command::ReadLinkedPads(ids) if ids == ["PAD1"]));
    facts.linked_before = Some(vec![record("PAD1", 0)]);
    assert!(matches!(plan(&facts), Command::StorePad { record, .. } if record.id == "PAD1"));
    let held = SeriesMember {
        pad_id: Some("PAD1".into()),
        ..member(1, Progress::Ended { entry: at(0), at: at(1) })
    };
    facts.others.push(held);
    assert!(matches!(plan(&facts), Command::Create { .. }), "another Pad of the series has it");
    facts.linked_before = Some(vec![]);
    assert!(matches!(plan(&facts), Command::Create { .. }), "a link to somebody else's pad does not count");
}

/// Contract X6: each Pad of a series that was restored without annotations and status adopts its own pad.
#[test]
fn several_pads_that_lost_their_status_each_adopt_their_own_pad() {
    let of_entry = |id: &str, ago: i64, ended: bool| {
        let mut record = record(id, -ago);
        let reference = Reference::new(facts().pad.series(), ENTRY - 1000 * ago);
        record.notes = reference.notes("https://hire.example.com/candidates/op-1");
        record.ended_at = ended.then(|| at(ENTRY - 1000 * ago + 500));
        record
    };
    let records = [of_entry("NEWEST", 0, false), of_entry("OLDEST", 90, true), of_entry("MIDDLE", 50, true)];
    let adopted = |own: u32, others: &[u32], records: &[PadRecord]| {
        let mut facts = read(|o| o.links.extend(records.iter().map(|record| record.url.clone())));
        facts.pad.member = member(own, Progress::InProgress);
        facts.others = others.iter().map(|number| member(*number, Progress::InProgress)).collect();
        facts.linked_before = Some(records.to_vec());
        match plan(&facts) {
            Command::StorePad { record, .. } => record.id,
            Command::Create { .. } => "created".into(),
            _ => reason(&facts),
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
        let mut facts = read(|_| {});
        facts.pad.member = member(2, Progress::InProgress);
        facts.others = vec![member(1, standing)];
        match plan(&facts) {
            Command::Create { .. } => "created".into(),
            _ => reason(&facts),
        }
    };
    assert_eq!(
        beside(Progress::Open { entry: at(ENTRY) }),
        "skipped: AlreadyServed",
        "the older one has its pad"
    );
    assert_eq!(beside(Progress::NotCounted), "created");
    assert_eq!(beside(Progress::Ended { entry: at(ENTRY - 9), at: at(ENTRY - 5) }), "created");
}

#[test]
fn a_live_pad_instead_of_a_take_home_is_deleted_and_never_linked() {
    let mut facts = read(|_| {});
    facts.configuration = RuleState::Ready(Rule { type_: PadType::TakeHome, question_id: Some(7), ..rule() });
    facts.wants_take_home = true;
    let Command::Create { pad, .. } = plan(&facts) else { panic!("no create") };
    assert!(pad.take_home);
    attempted(&mut facts);
    facts.record = PadLookup::Read(Box::new(record("PAD1", 0)));
    assert!(matches!(plan(&facts), Command::ReadKindAgain(id) if id == "PAD1"), "one answer decides nothing");
    facts.kind_read_again = true;
    assert!(matches!(plan(&facts), Command::DeletePad(id) if id == "PAD1"));
    facts.deleted.push("PAD1".into());
    assert!(
        matches!(plan(&facts), Command::StoreRefusal { refused: true }),
        "no other pad is created for the rule"
    );
    facts.refusal_stored = true;
    assert!(matches!(plan(&facts), Command::ClearAttempt));
    facts.pad.attempt = None;
    assert_eq!(reason(&facts), "failed: TakeHomeRefused");

    let mut found = with(attempted);
    found.configuration = facts.configuration.clone();
    found.wants_take_home = true;
    found.flight = CreateOutcome::Searched(vec![record("PAD1", 0)]);
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
    attempted(&mut facts);
    (facts.refusal_stored, facts.take_home_refused) = (false, true);
    facts.deleted.clear();
    facts.record = PadLookup::Read(Box::new(take_home));
    assert!(matches!(plan(&facts), Command::StoreRefusal { refused: false }), "CoderPad creates them again");
    facts.refusal_stored = true;
    assert!(matches!(plan(&facts), Command::StorePad { .. }));
}
