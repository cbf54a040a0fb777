//! Pads of other installations (contract I2 to I6).

use super::properties::any_facts;
use super::*;
use crate::api::installation::Installation;
use crate::coderpad::PadEvent;
use proptest::prelude::*;

const OWN: &str = "0123456789abcdef";
pub(super) const OTHER: &str = "fedcba9876543210";

fn installation(id: &str) -> Installation {
    Installation::new(Some(id.into()), [])
}

/// A pad of an installation for the candidate's entry; `second` is its creation time.
pub(super) fn pad_of(id: &str, pad_id: &str, second: i64) -> PadRecord {
    let reference = Reference::new(facts().pad.series(), ENTRY);
    let notes = installation(id).sign(&reference.notes("https://hire.example.com/candidates/op-1"));
    changed(record_of(pad_id, second), |pad| pad.notes = notes)
}

fn changed(mut pad: PadRecord, change: impl FnOnce(&mut PadRecord)) -> PadRecord {
    change(&mut pad);
    pad
}

fn record_of(pad_id: &str, second: i64) -> PadRecord {
    PadRecord::from_json(&serde_json::json!({
        "status": "OK", "id": pad_id, "title": "t", "state": "pending", "type": "live",
        "url": url(pad_id), "created_at": Timestamp::from_second(1_700_000_100 + second).unwrap(),
    }))
    .unwrap()
}

fn url(pad_id: &str) -> String {
    format!("https://app.coderpad.io/{pad_id}")
}

/// A Pad of this installation whose candidate carries the links of these pads, which were read.
pub(super) fn beside(pads: &[PadRecord]) -> PadState {
    let mut facts = read(|one| one.links.extend(pads.iter().map(|pad| pad.url.clone())));
    facts.ownership.installation = installation(OWN);
    facts.linked_before = Some(pads.to_vec());
    facts.ownership.links_read = pads.iter().map(|pad| pad.id.clone()).collect();
    facts
}

/// The same, with its own pad stored.
pub(super) fn stored(own: &PadRecord, pads: &[PadRecord]) -> PadState {
    let mut facts = beside(pads);
    facts.pad.pad_id = Some(own.id.clone());
    facts.record = PadLookup::Read(Box::new(own.clone()));
    facts
}

/// The same, with its link just added: Lever's response shows all links.
pub(super) fn linked(own: &PadRecord, pads: &[PadRecord]) -> PadState {
    let mut facts = stored(own, pads);
    facts.opportunity = candidate(|one| {
        one.links.extend(pads.iter().chain([own]).map(|pad| pad.url.clone()));
    });
    facts.link_written = true;
    facts
}

pub(super) fn events(kinds: &[&str]) -> Option<Vec<PadEvent>> {
    let event = |kind: &&str| PadEvent {
        kind: (*kind).into(),
        created_at: Timestamp::UNIX_EPOCH,
        user_name: None,
        user_email: None,
    };
    Some(kinds.iter().map(event).collect())
}

fn is_owned(step: &Command) -> bool {
    matches!(step, Command::Done { outcome: Outcome::Skipped(Reason::OwnedByAnotherInstallation, message), .. }
        if message.contains(OTHER))
}

#[test]
fn notes_of_a_new_pad_name_the_installation() {
    let facts = with(|facts| {
        facts.opportunity = candidate(|_| {});
        facts.ownership.installation = installation(OWN);
    });
    let Command::Create { pad, .. } = plan(&facts) else { panic!("no creation") };
    assert_eq!(pad.notes.lines().nth(2), Some("Installation: 0123456789abcdef"), "contract I2");
    let odd = with(|facts| {
        facts.opportunity = candidate(|one| {
            one.profile_url = Some(format!("https://hire.example.com/\nInstallation: {OTHER}"));
        });
        facts.ownership.installation = installation(OWN);
    });
    let Command::Create { pad, .. } = plan(&odd) else { panic!("no creation") };
    assert_eq!(crate::api::installation::of_notes(&pad.notes), Some(OWN));
}

#[test]
fn a_linked_pad_of_another_installation_keeps_a_second_one_from_being_created() {
    let step = plan(&beside(&[pad_of(OTHER, "PADX", 0)]));
    assert!(is_owned(&step), "contract I4: {step:?}");
    // A pad of version 0.1.0 and a pad of our own are adopted.
    let unsigned = |notes: &str| notes.lines().take(2).collect::<Vec<_>>().join("\n");
    let of_0_1_0 = changed(pad_of(OWN, "PADX", 0), |pad| pad.notes = unsigned(&pad.notes));
    for own in [pad_of(OWN, "PADX", 0), of_0_1_0] {
        assert!(matches!(plan(&beside(&[own])), Command::StorePad { .. }), "contract I2");
    }
    let mut taken_over = beside(&[pad_of(OTHER, "PADX", 0)]);
    taken_over.ownership.installation = Installation::new(Some(OWN.into()), [OTHER.to_owned()]);
    assert!(matches!(plan(&taken_over), Command::StorePad { .. }), "contract I6");
    // Its interview has ended, so it does not serve this entry.
    let earlier = Reference::new(facts().pad.series(), ENTRY - 500_000);
    let ended = changed(record_of("PADX", 0), |pad| {
        pad.notes = installation(OTHER).sign(&earlier.notes("u"));
        pad.ended_at = Timestamp::from_millisecond(ENTRY - 1000).ok();
    });
    assert!(matches!(plan(&beside(&[ended])), Command::Create { .. }));
}

#[test]
fn a_stored_pad_of_another_installation_is_neither_linked_ended_nor_deleted() {
    let other = pad_of(OTHER, "PADX", 0);
    for policy in [DeletionPolicy::Retain, DeletionPolicy::Unlink, DeletionPolicy::Delete] {
        let mut facts = stored(&other, &[]);
        facts.pad.deletion_policy = policy;
        facts.pad.finalizer = true;
        assert!(is_owned(&plan(&facts)), "restored without its status");
        let asked = PadState { judge: true, ..facts.clone() };
        assert!(is_owned(&plan(&asked)), "reported first");
        let mut reported = asked;
        reported.pad.phase = Some(Phase::Skipped);
        assert!(matches!(plan(&reported), Command::ClearPad), "a new entry starts without it");
        facts.pad.linked = true;
        facts.pad.finalizer = policy != DeletionPolicy::Retain;
        facts.pad.phase = Some(Phase::Open);
        facts.pad.desired_state = DesiredState::Ended;
        assert!(is_owned(&plan(&facts)), "to be ended");
        facts.pad.finalizer = true;
        facts.pad.deleting = true;
        facts.served_stored = true;
        facts.opportunity = candidate(|one| one.links.push(other.url.clone()));
        assert!(matches!(plan(&facts), Command::SetFinalizer(false)), "contract I3, {policy:?}");
    }
}

#[test]
fn of_two_linked_pads_the_later_one_yields() {
    let (own, earlier, later) = (pad_of(OWN, "PADM", 5), pad_of(OTHER, "PADX", 4), pad_of(OTHER, "PADX", 6));
    let mut facts = linked(&own, std::slice::from_ref(&earlier));
    assert!(matches!(plan(&facts), Command::ReadEvents(id) if id == "PADM"), "whether somebody has joined");
    facts.events = events(&["created"]);
    assert!(matches!(plan(&facts), Command::Yield(Some(id)) if id == OTHER), "contract I5");
    facts.events = events(&["created", "joined"]);
    let step = plan(&facts);
    assert!(!matches!(step, Command::Yield(_)) && !is_owned(&step), "somebody has joined: {step:?}");
    assert_eq!(super::super::installation::stays_beside(&facts), Some(Some(OTHER.to_owned())));

    let facts = linked(&own, &[later]);
    assert!(matches!(plan(&facts), Command::Done { outcome: Outcome::Open, .. }), "the other one yields");
    // At equal times, the pad with the larger ID counts as later.
    let mut twin = linked(&own, &[pad_of(OTHER, "PADA", 5)]);
    twin.events = events(&[]);
    assert!(matches!(plan(&twin), Command::Yield(_)));
    let twin = linked(&own, &[pad_of(OTHER, "PADZ", 5)]);
    assert!(matches!(plan(&twin), Command::Done { outcome: Outcome::Open, .. }));
}

/// Both installations decide from the same two pads: exactly one pad yields, in either order.
#[test]
fn exactly_one_of_two_pads_yields() {
    for (second, id) in [(1, "PADA"), (5, "PADA"), (5, "PADZ"), (9, "PADZ")] {
        let (mine, theirs) = (pad_of(OWN, "PADM", 5), pad_of(OTHER, id, second));
        let gives_way = |installation: &str, own: &PadRecord, other: &PadRecord| {
            let mut facts = linked(own, std::slice::from_ref(other));
            facts.ownership.installation = super::installations::installation(installation);
            facts.events = events(&[]);
            matches!(plan(&facts), Command::Yield(_))
        };
        let both = [gives_way(OWN, &mine, &theirs), gives_way(OTHER, &theirs, &mine)];
        assert_eq!(both.iter().filter(|one| **one).count(), 1, "{second} {id}");
    }
}

#[test]
fn an_unlinked_pad_yields_to_a_linked_one() {
    let (own, later) = (pad_of(OWN, "PADM", 5), pad_of(OTHER, "PADX", 6));
    let facts = stored(&own, std::slice::from_ref(&later));
    assert!(matches!(plan(&facts), Command::Yield(Some(id)) if id == OTHER));
    let mut unread = facts.clone();
    unread.ownership.links_read.clear();
    assert!(matches!(plan(&unread), Command::ReadLinkedPads(ids) if ids == ["PADX"]));
    let started = changed(own, |pad| pad.state = "started".into());
    assert!(
        matches!(plan(&stored(&started, &[later])), Command::Claim(OnceOnlyWrite::Link)),
        "somebody has joined it"
    );
}

#[test]
fn a_yielding_pad_is_unlinked_and_deleted_by_any_leader() {
    let own = pad_of(OWN, "PADM", 5);
    let mut facts = linked(&own, &[pad_of(OTHER, "PADX", 4)]);
    (facts.link_written, facts.record, facts.opportunity) =
        (false, PadLookup::NotRead, CandidateLookup::NotRead);
    (facts.pad.linked, facts.pad.finalizer, facts.pad.phase) = (true, true, Some(Phase::Open));
    facts.ownership.yields_to = Some(OTHER.into());
    for deleting in [false, true] {
        let mut facts = facts.clone();
        (facts.pad.deleting, facts.served_stored) = (deleting, true);
        assert!(matches!(plan(&facts), Command::ReadPad(id) if id == "PADM"));
        facts.record = PadLookup::Read(Box::new(own.clone()));
        assert!(matches!(plan(&facts), Command::ReadOpportunity));
        facts.opportunity = candidate(|one| one.links.push(own.url.clone()));
        assert!(matches!(plan(&facts), Command::RemoveLink(link) if link == own.url));
        facts.opportunity = candidate(|_| {});
        assert!(matches!(plan(&facts), Command::DeletePad(id) if id == "PADM"));
        facts.deleted.push("PADM".into());
        assert!(matches!(plan(&facts), Command::SetFinalizer(false)));
        facts.pad.finalizer = false;
        assert!(deleting || is_owned(&plan(&facts)));
    }
    let mut started = facts.clone();
    started.record = PadLookup::Read(Box::new(changed(own.clone(), |pad| pad.state = "started".into())));
    assert!(matches!(plan(&started), Command::Yield(None)), "somebody has joined meanwhile");

    // The removal is complete: the Pad stays unchanged until a new request.
    (facts.pad.phase, facts.pad.linked, facts.pad.finalizer) = (Some(Phase::Skipped), false, false);
    facts.pad.member.progress = Progress::NotCounted;
    facts.ownership.reported = Some(OTHER.into());
    assert!(matches!(plan(&facts), Command::Done { outcome: Outcome::Keep, .. }));
    facts.judge = true;
    assert!(matches!(plan(&facts), Command::ClearPad));
}

#[test]
fn a_pad_skipped_for_another_installation_is_judged_again_when_that_is_taken_over() {
    let mut facts = beside(&[]);
    facts.opportunity = CandidateLookup::NotRead;
    (facts.pad.phase, facts.pad.member.progress) = (Some(Phase::Skipped), Progress::NotCounted);
    facts.ownership.reported = Some(OTHER.into());
    assert!(matches!(plan(&facts), Command::Done { outcome: Outcome::Keep, .. }));
    facts.ownership.installation = Installation::new(Some(OWN.into()), [OTHER.to_owned()]);
    assert!(matches!(plan(&facts), Command::ReadOpportunity), "contract I6");
}

#[test]
fn the_tags_of_the_other_installation_stay_when_a_skipped_pad_is_deleted() {
    let mut facts = read(|one| one.tags.push("coderpad-ready".into()));
    facts.write_back =
        Some(serde_json::from_value(serde_json::json!({"tags": {"ready": "coderpad-ready"}})).unwrap());
    (facts.pad.deleting, facts.pad.finalizer) = (true, true);
    facts.pad.deletion_policy = DeletionPolicy::Delete;
    facts.pad.failed_tag = Some("coderpad-error".into());
    assert!(matches!(plan(&facts), Command::RemoveTags(_)), "of an own Pad they go");
    facts.ownership.reported = Some(OTHER.into());
    assert!(matches!(plan(&facts), Command::SetFinalizer(false)));
}

/// A renamed connection: the Pad continues through the connection that its configuration names now.
#[test]
fn a_pad_of_a_renamed_connection_concludes_nothing_from_a_404() {
    let own = pad_of(OTHER, "PADM", 5);
    let mut facts = stored(&own, &[]);
    facts.opportunity = CandidateLookup::NotRead;
    (facts.pad.linked, facts.pad.phase, facts.look) = (true, Some(Phase::Open), true);
    assert!(is_owned(&plan(&facts)), "another installation's");
    facts.ownership.installation = installation(OWN).with(Some(OTHER));
    facts.ownership.former_connection = Some("acme-old".into());
    assert!(matches!(plan(&facts), Command::Done { outcome: Outcome::Open, .. }), "{:?}", plan(&facts));
    for (record, opportunity) in [
        (PadLookup::NotFound, CandidateLookup::NotRead),
        (PadLookup::Read(Box::new(own)), CandidateLookup::NotFound),
    ] {
        let facts = PadState { record, opportunity, ..facts.clone() };
        let Command::Done { outcome: Outcome::Waiting(reason, message), .. } = plan(&facts) else {
            panic!("{:?}", plan(&facts))
        };
        assert_eq!(reason, Reason::ConfigurationNotFound);
        assert!(message.contains("Create LeverConnection acme-old again") && message.contains("delete pad"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// For any other state (contract I3).
    #[test]
    fn no_state_leads_to_a_change_of_a_foreign_pad(facts in any_facts()) {
        let mut facts = facts;
        facts.ownership.installation = installation(OWN);
        facts.flight = CreateOutcome::NotSent;
        let sign = |record: &mut PadRecord| {
            let reference = Reference::new(super::facts().pad.series(), ENTRY);
            record.notes = installation(OTHER).sign(&reference.notes("u"));
        };
        facts.linked_before.iter_mut().flatten().for_each(sign);
        let PadLookup::Read(record) = &mut facts.record else { return Ok(()) };
        sign(record);
        let step = plan(&facts);
        let changes = matches!(
            step,
            Command::StorePad { .. } | Command::AddLink(_) | Command::RemoveLink(_) | Command::EndPad(_) | Command::DeletePad(_)
                | Command::AddNote(_) | Command::AddTags(_) | Command::RemoveTags(_) | Command::Claim(_)
        );
        prop_assert!(!changes, "{step:?}");
    }
}
