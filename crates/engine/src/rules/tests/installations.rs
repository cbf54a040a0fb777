//! Pads of other installations (contract I2 to I6).

use super::properties::any_facts;
use super::*;
use api::installation::Installation;
use proptest::prelude::*;
use services::coderpad::PadEvent;

const OWN: &str = "0123456789abcdef";
pub(super) const OTHER: &str = "fedcba9876543210";

fn installation(id: &str) -> Installation {
    Installation::new(Some(id.into()), [])
}

/// A pad of an installation for the candidate's entry; `second` is its creation time.
pub(super) fn pad_of(id: &str, pad_id: &str, second: i64) -> PadRecord {
    let reference = Reference::new(state().pad.series(), ENTRY_TIME_MS);
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
    let mut state = read(|one| one.links.extend(pads.iter().map(|pad| pad.url.clone())));
    state.ownership.installation = installation(OWN);
    state.linked_before = Some(pads.to_vec());
    state.ownership.links_read = pads.iter().map(|pad| pad.id.clone()).collect();
    state
}

/// The same, with its own pad stored.
pub(super) fn stored(own: &PadRecord, pads: &[PadRecord]) -> PadState {
    let mut state = beside(pads);
    state.pad.pad_id = Some(own.id.clone());
    state.record = PadLookup::Read(Box::new(own.clone()));
    state
}

/// The same, with its link just added: Lever's response shows all links.
pub(super) fn linked(own: &PadRecord, pads: &[PadRecord]) -> PadState {
    let mut state = stored(own, pads);
    state.opportunity = candidate(|one| {
        one.links.extend(pads.iter().chain([own]).map(|pad| pad.url.clone()));
    });
    state.link_written = true;
    state
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
    let state = with(|state| {
        state.opportunity = candidate(|_| {});
        state.ownership.installation = installation(OWN);
    });
    let Command::Create { pad, .. } = plan(&state) else { panic!("no creation") };
    assert_eq!(pad.notes.lines().nth(2), Some("Installation: 0123456789abcdef"), "contract I2");
    let odd = with(|state| {
        state.opportunity = candidate(|one| {
            one.profile_url = Some(format!("https://hire.example.com/\nInstallation: {OTHER}"));
        });
        state.ownership.installation = installation(OWN);
    });
    let Command::Create { pad, .. } = plan(&odd) else { panic!("no creation") };
    assert_eq!(api::installation::from_notes(&pad.notes), Some(OWN));
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
    let earlier = Reference::new(state().pad.series(), ENTRY_TIME_MS - 500_000);
    let ended = changed(record_of("PADX", 0), |pad| {
        pad.notes = installation(OTHER).sign(&earlier.notes("u"));
        pad.ended_at = Timestamp::from_millisecond(ENTRY_TIME_MS - 1000).ok();
    });
    assert!(matches!(plan(&beside(&[ended])), Command::Create { .. }));
}

#[test]
fn a_stored_pad_of_another_installation_is_neither_linked_ended_nor_deleted() {
    let other = pad_of(OTHER, "PADX", 0);
    for policy in [DeletionPolicy::Retain, DeletionPolicy::Unlink, DeletionPolicy::Delete] {
        let mut state = stored(&other, &[]);
        state.pad.deletion_policy = policy;
        state.pad.finalizer = true;
        assert!(is_owned(&plan(&state)), "restored without its status");
        let asked = PadState { judge: true, ..state.clone() };
        assert!(is_owned(&plan(&asked)), "reported first");
        let mut reported = asked;
        reported.pad.phase = Some(Phase::Skipped);
        assert!(matches!(plan(&reported), Command::ClearPad), "a new entry starts without it");
        state.pad.linked = true;
        state.pad.finalizer = policy != DeletionPolicy::Retain;
        state.pad.phase = Some(Phase::Open);
        state.pad.desired_state = DesiredState::Ended;
        assert!(is_owned(&plan(&state)), "to be ended");
        state.pad.finalizer = true;
        state.pad.deleting = true;
        state.served_stored = true;
        state.opportunity = candidate(|one| one.links.push(other.url.clone()));
        assert!(matches!(plan(&state), Command::SetFinalizer(false)), "contract I3, {policy:?}");
    }
}

#[test]
fn of_two_linked_pads_the_later_one_yields() {
    let (own, earlier, later) = (pad_of(OWN, "PADM", 5), pad_of(OTHER, "PADX", 4), pad_of(OTHER, "PADX", 6));
    let mut state = linked(&own, std::slice::from_ref(&earlier));
    assert!(matches!(plan(&state), Command::ReadEvents(id) if id == "PADM"), "whether somebody has joined");
    state.events = events(&["created"]);
    assert!(matches!(plan(&state), Command::Yield(Some(id)) if id == OTHER), "contract I5");
    state.events = events(&["created", "joined"]);
    let step = plan(&state);
    assert!(!matches!(step, Command::Yield(_)) && !is_owned(&step), "somebody has joined: {step:?}");
    assert_eq!(super::super::ownership::stays_beside(&state), Some(Some(OTHER.to_owned())));

    let state = linked(&own, &[later]);
    assert!(matches!(plan(&state), Command::Done { outcome: Outcome::Open, .. }), "the other one yields");
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
            let mut state = linked(own, std::slice::from_ref(other));
            state.ownership.installation = super::installations::installation(installation);
            state.events = events(&[]);
            matches!(plan(&state), Command::Yield(_))
        };
        let both = [gives_way(OWN, &mine, &theirs), gives_way(OTHER, &theirs, &mine)];
        assert_eq!(both.iter().filter(|one| **one).count(), 1, "{second} {id}");
    }
}

#[test]
fn an_unlinked_pad_yields_to_a_linked_one() {
    let (own, later) = (pad_of(OWN, "PADM", 5), pad_of(OTHER, "PADX", 6));
    let state = stored(&own, std::slice::from_ref(&later));
    assert!(matches!(plan(&state), Command::Yield(Some(id)) if id == OTHER));
    let mut unread = state.clone();
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
    let mut state = linked(&own, &[pad_of(OTHER, "PADX", 4)]);
    (state.link_written, state.record, state.opportunity) =
        (false, PadLookup::NotRead, CandidateLookup::NotRead);
    (state.pad.linked, state.pad.finalizer, state.pad.phase) = (true, true, Some(Phase::Open));
    state.ownership.yields_to = Some(OTHER.into());
    for deleting in [false, true] {
        let mut state = state.clone();
        (state.pad.deleting, state.served_stored) = (deleting, true);
        assert!(matches!(plan(&state), Command::ReadPad(id) if id == "PADM"));
        state.record = PadLookup::Read(Box::new(own.clone()));
        assert!(matches!(plan(&state), Command::ReadOpportunity));
        state.opportunity = candidate(|one| one.links.push(own.url.clone()));
        assert!(matches!(plan(&state), Command::RemoveLink(link) if link == own.url));
        state.opportunity = candidate(|_| {});
        assert!(matches!(plan(&state), Command::DeletePad(id) if id == "PADM"));
        state.deleted.push("PADM".into());
        assert!(matches!(plan(&state), Command::SetFinalizer(false)));
        state.pad.finalizer = false;
        assert!(deleting || is_owned(&plan(&state)));
    }
    let mut started = state.clone();
    started.record = PadLookup::Read(Box::new(changed(own.clone(), |pad| pad.state = "started".into())));
    assert!(matches!(plan(&started), Command::Yield(None)), "somebody has joined meanwhile");

    // The removal is complete: the Pad stays unchanged until a new request.
    (state.pad.phase, state.pad.linked, state.pad.finalizer) = (Some(Phase::Skipped), false, false);
    state.pad.member.progress = Progress::NotCounted;
    state.ownership.reported = Some(OTHER.into());
    assert!(matches!(plan(&state), Command::Done { outcome: Outcome::Keep, .. }));
    state.judge = true;
    assert!(matches!(plan(&state), Command::ClearPad));
}

#[test]
fn a_pad_skipped_for_another_installation_is_judged_again_when_that_is_taken_over() {
    let mut state = beside(&[]);
    state.opportunity = CandidateLookup::NotRead;
    (state.pad.phase, state.pad.member.progress) = (Some(Phase::Skipped), Progress::NotCounted);
    state.ownership.reported = Some(OTHER.into());
    assert!(matches!(plan(&state), Command::Done { outcome: Outcome::Keep, .. }));
    state.ownership.installation = Installation::new(Some(OWN.into()), [OTHER.to_owned()]);
    assert!(matches!(plan(&state), Command::ReadOpportunity), "contract I6");
}

#[test]
fn the_tags_of_the_other_installation_stay_when_a_skipped_pad_is_deleted() {
    let mut state = read(|one| one.tags.push("coderpad-ready".into()));
    state.write_back =
        Some(serde_json::from_value(serde_json::json!({"tags": {"ready": "coderpad-ready"}})).unwrap());
    (state.pad.deleting, state.pad.finalizer) = (true, true);
    state.pad.deletion_policy = DeletionPolicy::Delete;
    state.pad.failed_tag = Some("coderpad-error".into());
    assert!(matches!(plan(&state), Command::RemoveTags(_)), "of an own Pad they go");
    state.ownership.reported = Some(OTHER.into());
    assert!(matches!(plan(&state), Command::SetFinalizer(false)));
}

/// A renamed connection: the Pad continues through the connection that its configuration names now.
#[test]
fn a_pad_of_a_renamed_connection_concludes_nothing_from_a_404() {
    let own = pad_of(OTHER, "PADM", 5);
    let mut state = stored(&own, &[]);
    state.opportunity = CandidateLookup::NotRead;
    (state.pad.linked, state.pad.phase, state.read_requested) = (true, Some(Phase::Open), true);
    assert!(is_owned(&plan(&state)), "another installation's");
    state.ownership.installation = installation(OWN).with(Some(OTHER));
    state.ownership.former_connection = Some("acme-old".into());
    assert!(matches!(plan(&state), Command::Done { outcome: Outcome::Open, .. }), "{:?}", plan(&state));
    for (record, opportunity) in [
        (PadLookup::NotFound, CandidateLookup::NotRead),
        (PadLookup::Read(Box::new(own)), CandidateLookup::NotFound),
    ] {
        let state = PadState { record, opportunity, ..state.clone() };
        let Command::Done { outcome: Outcome::Waiting(reason, message), .. } = plan(&state) else {
            panic!("{:?}", plan(&state))
        };
        assert_eq!(reason, Reason::ConfigurationNotFound);
        assert!(message.contains("Create LeverConnection acme-old again") && message.contains("delete pad"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// For any other state (contract I3).
    #[test]
    fn no_state_leads_to_a_change_of_a_foreign_pad(state in any_facts()) {
        let mut state = state;
        state.ownership.installation = installation(OWN);
        state.create_outcome = CreateOutcome::NotSent;
        let sign = |record: &mut PadRecord| {
            let reference = Reference::new(super::state().pad.series(), ENTRY_TIME_MS);
            record.notes = installation(OTHER).sign(&reference.notes("u"));
        };
        state.linked_before.iter_mut().flatten().for_each(sign);
        let PadLookup::Read(record) = &mut state.record else { return Ok(()) };
        sign(record);
        let step = plan(&state);
        let changes = matches!(
            step,
            Command::StorePad { .. } | Command::AddLink(_) | Command::RemoveLink(_) | Command::EndPad(_) | Command::DeletePad(_)
                | Command::AddNote(_) | Command::AddTags(_) | Command::RemoveTags(_) | Command::Claim(_)
        );
        prop_assert!(!changes, "{step:?}");
    }
}
