//! What becomes of an attempt whose outcome is not known, and of memory that was lost: one pad, one link.

use super::*;

#[test]
fn an_attempt_of_unknown_outcome_is_never_retried_blindly() {
    let flight = |flight| {
        let mut facts = read(|_| {});
        attempted(&mut facts);
        facts.flight = flight;
        facts
    };
    let waiting = flight(Flight::MayStillLand { rest: Duration::from_secs(5) });
    assert_eq!(reason(&waiting), "waits: CreateOutcomeUnknown");
    assert!(matches!(plan(&flight(Flight::Landed)), Step::Search { reference: r } if r == reference()));
    assert!(matches!(plan(&flight(Flight::WithoutEffect)), Step::ForgetAttempt));
    assert!(matches!(plan(&flight(Flight::Searched(vec![]))), Step::ForgetAttempt));
    let (old, young) = (record("OLD1", 0), record("YOUNG1", 1));
    assert!(
        matches!(plan(&flight(Flight::Searched(vec![old.clone(), young]))), Step::DeletePad(id) if id == "YOUNG1")
    );
    assert!(
        matches!(plan(&flight(Flight::Searched(vec![old]))), Step::StorePad { record, .. } if record.id == "OLD1")
    );
}

#[test]
fn after_a_crash_the_link_is_compared_before_it_is_written() {
    let mut facts = facts();
    stored(&mut facts);
    assert!(matches!(plan(&facts), Step::SetFinalizer(true)), "it stays until it is settled");
    facts.pad.finalizer = true;
    facts.claimed = Claimed::MayStillLand { rest: Duration::from_secs(7) };
    assert_eq!(reason(&facts), "waits: LeverUnavailable", "what is under way may still land");
    facts.claimed = Claimed::Nothing;
    assert!(matches!(plan(&facts), Step::ReadPad(id) if id == "PAD1"));
    facts.record = Record::Read(Box::new(record("PAD1", 0)));
    assert!(matches!(plan(&facts), Step::ReadOpportunity));
    facts.opportunity = candidate(|_| {});
    assert!(matches!(plan(&facts), Step::Claim(Effect::Link)));
    facts.opportunity = candidate(|o| o.links.push("https://app.coderpad.io/PAD1".into()));
    assert!(matches!(plan(&facts), Step::SetFinalizer(false)));
    facts.pad.finalizer = false;
    assert_eq!(outcome(&facts), Outcome::Open);
    facts.record = Record::NotFound;
    assert_eq!(outcome(&facts), Outcome::PadDeleted);
}

#[test]
fn lost_memory_is_healed_from_the_links_on_the_candidate() {
    let mut facts = read(|o| o.links.push("https://app.coderpad.io/PAD1".into()));
    assert!(matches!(plan(&facts), Step::ReadLinkedPads(ids) if ids == ["PAD1"]));
    facts.linked_before = Some(vec![record("PAD1", 0)]);
    assert!(matches!(plan(&facts), Step::StorePad { record, .. } if record.id == "PAD1"));
    let held =
        Member { pad_id: Some("PAD1".into()), ..member(1, Standing::Ended { entry: at(0), at: at(1) }) };
    facts.others.push(held);
    assert!(matches!(plan(&facts), Step::Create { .. }), "another Pad of the series has it");
    facts.linked_before = Some(vec![]);
    assert!(matches!(plan(&facts), Step::Create { .. }), "a link to somebody else's pad does not count");
}

#[test]
fn a_live_pad_where_a_take_home_was_asked_for_is_deleted_and_never_linked() {
    let mut facts = read(|_| {});
    facts.configuration =
        ConfigurationFacts::Ready(Rule { type_: PadType::TakeHome, question_id: Some(7), ..rule() });
    let Step::Create { pad, .. } = plan(&facts) else { panic!("no create") };
    assert!(pad.take_home);
    attempted(&mut facts);
    facts.record = Record::Read(Box::new(record("PAD1", 0)));
    assert!(matches!(plan(&facts), Step::DeletePad(id) if id == "PAD1"));
    facts.deleted.push("PAD1".into());
    assert!(matches!(plan(&facts), Step::ForgetAttempt));
    facts.pad.attempt = None;
    assert_eq!(reason(&facts), "failed: TakeHomeRefused");

    let mut found = with(attempted);
    found.configuration = facts.configuration.clone();
    found.flight = Flight::Searched(vec![record("PAD1", 0)]);
    assert!(
        matches!(plan(&found), Step::DeletePad(id) if id == "PAD1"),
        "also when it is found after a crash"
    );

    let mut take_home = record("PAD1", 0);
    take_home.kind = PadKind::TakeHome;
    attempted(&mut facts);
    facts.deleted.clear();
    facts.record = Record::Read(Box::new(take_home));
    assert!(matches!(plan(&facts), Step::StorePad { .. }));
}
