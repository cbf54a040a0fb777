//! Tests of existing candidates and repeated stage entries.

use super::*;

/// A Pad with an ended interview and a reconcile request, and the candidate's last entry at this distance from the end.
fn ended(after: i64) -> PadState {
    with(|f| {
        stored(f);
        (f.pad.linked, f.pad.phase, f.pad.requested) = (true, Some(Phase::Ended), true);
        f.pad.recorded = true;
        f.pad.member.progress =
            Progress::Ended { entry: at(ENTRY_TIME_MS - 5000), at: at(ENTRY_TIME_MS - after) };
    })
}

fn with_candidate(mut state: PadState) -> PadState {
    state.opportunity = candidate(|_| {});
    state
}

#[test]
fn an_entry_after_the_end_creates_another_pad() {
    let state = ended(1);
    assert!(matches!(plan(&state), Command::ReadOpportunity));
    let mut state = with_candidate(state);
    assert!(matches!(plan(&state), Command::CreateNextPad(2)));
    state.sibling_requested = true;
    assert_eq!(outcome(&state), Outcome::Keep);

    assert_eq!(outcome(&with_candidate(ended(0))), Outcome::Keep, "an entry before the end");
    let mut by_sync = with_candidate(ended(1));
    (by_sync.pad.requested, by_sync.judge) = (false, true);
    assert!(matches!(plan(&by_sync), Command::CreateNextPad(2)));
    by_sync.judge = false;
    assert_eq!(outcome(&by_sync), Outcome::Keep, "nobody asks");
    for change in
        [(|o| o.tags.clear()) as fn(&mut Opportunity), |o| o.stage = "offer".into(), |o| o.archived = true]
    {
        let mut gone = ended(1);
        gone.opportunity = candidate(change);
        assert_eq!(outcome(&gone), Outcome::Keep);
    }
}

#[test]
fn a_series_that_no_entry_can_change_costs_no_call() {
    let mut open = with(|f| {
        (f.pad.linked, f.pad.phase, f.pad.requested) = (true, Some(Phase::Open), true);
        f.pad.member.progress = Progress::Open { entry: at(ENTRY_TIME_MS - 5000) };
    });
    assert_eq!(outcome(&open), Outcome::Keep);
    open.repeat = Some(Repeat::Always);
    open.configuration = RuleState::Ready(Rule { repeat: Repeat::Always, ..rule() });
    assert!(matches!(plan(&open), Command::ReadOpportunity));
    assert!(matches!(plan(&with_candidate(open.clone())), Command::CreateNextPad(2)));
    open.pad.member.progress = Progress::Open { entry: at(ENTRY_TIME_MS) };
    assert_eq!(outcome(&with_candidate(open)), Outcome::Keep);
    let mut beside = ended(1);
    beside.others.push(member(2, Progress::InProgress));
    assert_eq!(outcome(&beside), Outcome::Keep, "never next to one that is not yet open");
}

#[test]
fn an_unknown_repeat_decision_stays_pending() {
    let mut suspended = ended(1);
    suspended.connection = ConnectionState::Suspended { name: "acme".into() };
    assert_eq!(outcome(&suspended), Outcome::NoDecision);
    let mut unready = ended(1);
    unready.configuration = RuleState::Suspended;
    assert_eq!(outcome(&unready), Outcome::NoDecision);
    let mut unanswered = ended(1);
    unanswered.error = Some(service_error(Service::Lever, ErrorKind::Unavailable, Some(503)));
    assert_eq!(outcome(&unanswered), Outcome::NoDecision, "the Pad stays Ended");
}

#[test]
fn the_whole_series_is_judged_for_a_request_on_any_pad() {
    let mut older = with_candidate(ended(1));
    older.others.push(member(2, Progress::NotCounted));
    assert!(matches!(plan(&older), Command::JudgeSibling(name) if name.ends_with("-2")));

    let mut void = read(|_| {});
    (void.pad.phase, void.pad.requested) = (Some(Phase::Skipped), true);
    void.pad.member.progress = Progress::NotCounted;
    assert!(matches!(plan(&void), Command::Create { .. }));
    void.others.push(member(2, Progress::Open { entry: at(ENTRY_TIME_MS) }));
    assert_eq!(outcome(&void), Outcome::Keep, "the entry has its pad");
    void.others = vec![member(2, Progress::NotCounted)];
    assert!(matches!(plan(&void), Command::JudgeSibling(name) if name.ends_with("-2")));
    void.sibling_requested = true;
    assert_eq!(outcome(&void), Outcome::Keep);
}

#[test]
fn existing_candidates_get_no_pad_unless_a_person_requests_it() {
    let ruled = |since: i64, change: fn(&mut Rule), pad: fn(&mut StoredPad)| {
        let mut state = read(|_| {});
        let mut rule = Rule { effective_since: Some(at(ENTRY_TIME_MS + since)), ..rule() };
        change(&mut rule);
        state.pad.existing_since = rule.effective_since;
        state.configuration = RuleState::Ready(rule);
        pad(&mut state.pad);
        match plan(&state) {
            Command::Create { .. } => "created".to_owned(),
            _ => reason(&state),
        }
    };
    let before = "skipped: BeforeConfiguration";
    assert_eq!(ruled(0, |_| {}, |_| {}), before);
    assert_eq!(ruled(-1, |_| {}, |_| {}), "created", "entered after the rule took effect");
    assert_eq!(ruled(0, |rule| rule.existing = Existing::Create, |_| {}), "created");
    assert_eq!(ruled(0, |_| {}, |pad| pad.existing_since = None), "created", "a late tag");
    assert_eq!(
        ruled(0, |_| {}, |pad| pad.existing_since = Some(at(ENTRY_TIME_MS - 1))),
        "created",
        "another rule"
    );
    assert_eq!(ruled(0, |_| {}, |pad| (pad.existing_since, pad.was_before) = (None, true)), before);
    assert_eq!(ruled(0, |_| {}, |pad| pad.asked_by_person = true), "created");
    assert_eq!(ruled(0, |_| {}, |pad| pad.manual = true), "created");
    assert_eq!(
        ruled(0, |_| {}, |pad| pad.requested_entry = Some(at(ENTRY_TIME_MS))),
        "created",
        "while it waits, too"
    );
    assert_eq!(
        ruled(0, |_| {}, |pad| pad.requested_entry = Some(at(ENTRY_TIME_MS - 1))),
        before,
        "an older request"
    );
}

/// Contract P9.
#[test]
fn a_served_entry_gets_no_second_pad_unless_a_person_requests_it() {
    let ruled = |change: fn(&mut PadState)| {
        let mut state = read(|_| {});
        state.served_entries = served_stage_entries::add(None, [Fingerprint::new("op-1", at(ENTRY_TIME_MS))]);
        change(&mut state);
        match plan(&state) {
            Command::Create { .. } => "created".to_owned(),
            _ => reason(&state),
        }
    };
    assert_eq!(ruled(|_| {}), "skipped: AlreadyServed");
    assert_eq!(ruled(|state| state.pad.manual = true), "created");
    assert_eq!(ruled(|state| state.pad.asked_by_person = true), "created");
    assert_eq!(ruled(|state| state.pad.requested_entry = Some(at(ENTRY_TIME_MS))), "created");
    let enters_again: fn(&mut PadState) =
        |state| state.opportunity = candidate(|o| o.stage_changes[2].updated_at_ms += 1);
    assert_eq!(ruled(enters_again), "created");
}

/// Contract, Phases: Failed.
#[test]
fn a_failed_pad_is_tried_once_per_entry() {
    let tried = |change: fn(&mut PadState)| {
        let mut state = read(|_| {});
        state.pad.phase = Some(Phase::Failed);
        state.pad.member.progress = Progress::NotCounted;
        (state.pad.requested, state.judge, state.pad.judged_entry) = (true, true, Some(at(ENTRY_TIME_MS)));
        change(&mut state);
        matches!(plan(&state), Command::Create { .. })
    };
    assert!(!tried(|_| {}), "a webhook of the same entry");
    assert!(tried(|state| state.pad.judged_entry = Some(at(ENTRY_TIME_MS - 1))), "a new entry");
    assert!(tried(|state| state.pad.asked_by_person = true));
    assert!(tried(|state| state.pad.configuration_changed = true));
}

/// Contract P7a.
#[test]
fn a_read_that_is_older_than_the_webhook_decides_nothing() {
    let ruled = |event: i64, again: Option<u64>, change: fn(&mut PadState)| {
        let mut state = read(|o| o.stage = "offer".into());
        let read_again_in = again.map(Duration::from_secs);
        state.event = Some(SignedEvent { at: at(ENTRY_TIME_MS + event), read_again_in });
        change(&mut state);
        match plan(&state) {
            Command::Done { outcome: Outcome::StaleRead, again } => format!("again in {again:?}"),
            _ => reason(&state),
        }
    };
    let (again, moved) = ("again in Some(2s)", "skipped: StageChanged");
    assert_eq!(ruled(5_001, Some(2), |_| {}), again);
    assert_eq!(ruled(5_000, Some(2), |_| {}), moved, "as new as the webhook");
    assert_eq!(ruled(9_000, None, |_| {}), moved, "after the last delay it decides");
    let moved_on: fn(&mut PadState) = |state| {
        state.opportunity = candidate(|o| {
            o.stage = "offer".into();
            o.stage_changes[2].to_stage_id = "offer".into();
        });
    };
    assert_eq!(ruled(1, Some(2), moved_on), again, "an older change into another stage is another event");
    assert_eq!(ruled(0, Some(2), moved_on), again);
    assert_eq!(ruled(-1, Some(2), moved_on), moved, "it has left since");
    let gone: fn(&mut PadState) = |state| state.opportunity = CandidateLookup::NotFound;
    assert_eq!(ruled(0, Some(2), gone), again);
    assert_eq!(ruled(0, None, gone), "skipped: CandidateNotFound");
    let open: fn(&mut PadState) = |state| {
        (state.pad.requested, state.judge) = (true, true);
        state.pad.member.progress =
            Progress::Ended { entry: at(ENTRY_TIME_MS - 9), at: at(ENTRY_TIME_MS - 5) };
    };
    assert_eq!(ruled(9_000, Some(2), open), again, "for another pad of the series as well");
}
