//! Table tests of the rules: observed state → next command.

use crate::command::{Command, Outcome};
use crate::decide::decide;
use crate::rolling_limit::LimitExceeded;
use crate::series::{Progress, SeriesMember};
use crate::state::*;
use api::configuration::{DeletionPolicy, Existing, PadType, Repeat, WriteBack};
use api::names::{CreateIntent, OnceOnlyWrite, Reference};
use api::pad::{DesiredState, Phase};
use api::reason::Reason;
use api::served_stage_entries::{self, Fingerprint};
use jiff::Timestamp;
use services::coderpad::{PadKind, PadRecord};
use services::lever::{Opportunity, StageHistoryEntry};
use services::{ErrorKind, Service, ServiceError};
use std::time::Duration;

mod after;
mod apply;
mod attempts;
mod expiry;
mod failed_creations;
mod flag;
mod further;
mod gone;
mod installations;
mod messages;
mod properties;
mod refused;
mod unconfirmed;

/// Returns the decided command.
fn plan(state: &PadState) -> Command {
    decide(state).command
}

const ENTRY_TIME_MS: i64 = 1_700_000_000_123;

fn opportunity() -> Opportunity {
    Opportunity {
        id: "op-1".into(),
        name: "Ada Lovelace".into(),
        contact: Some("contact-1".into()),
        stage: "stage-phone".into(),
        stage_changes: vec![
            StageHistoryEntry { to_stage_id: "stage-phone".into(), updated_at_ms: ENTRY_TIME_MS - 500_000 },
            StageHistoryEntry { to_stage_id: "lead-new".into(), updated_at_ms: ENTRY_TIME_MS - 100_000 },
            StageHistoryEntry { to_stage_id: "stage-phone".into(), updated_at_ms: ENTRY_TIME_MS },
        ],
        tags: vec!["Engineering".into(), "coderpad".into()],
        links: vec!["https://example.com/cv".into()],
        archived: false,
        archived_at_ms: None,
        confidential: false,
        is_anonymized: false,
        profile_url: Some("https://hire.example.com/candidates/op-1".into()),
        created_at_ms: Some(ENTRY_TIME_MS - 900_000),
        updated_at_ms: None,
    }
}

fn rule() -> Rule {
    Rule {
        stage_id: "stage-phone".into(),
        stage_name: "Phone Screen".into(),
        tag: "coderpad".into(),
        type_: PadType::Live,
        question_id: None,
        language: Some("python3".into()),
        title: "{candidate} - {stage}".into(),
        waiting_room: Some(true),
        owner_email: None,
        repeat: Repeat::AfterEnd,
        existing: Existing::Skip,
        effective_since: Timestamp::from_millisecond(ENTRY_TIME_MS - 1_000_000).ok(),
    }
}

fn ready(pads_left: Option<i64>, hour_full: Option<LimitExceeded>) -> ConnectionState {
    ConnectionState::Ready {
        name: "acme".into(),
        pads_left,
        per_hour: Some(3),
        hour_full,
        interview_url: String::new(),
    }
}

/// A fresh Pad of a webhook, with everything in order and nothing read yet.
fn state() -> PadState {
    let pad = StoredPad {
        namespace: "hiring".into(),
        name: "phone-screen-0123456789-1".into(),
        configuration: "phone-screen".into(),
        opportunity_id: "op-1".into(),
        manual: false,
        desired_state: DesiredState::Open,
        deletion_policy: DeletionPolicy::Retain,
        deleting: false,
        finalizer: false,
        attempt: None,
        failed_creations: None,
        pad_id: None,
        url: None,
        waits_for_room: false,
        sibling_terminating: false,
        member: SeriesMember {
            name: "phone-screen-0123456789-1".into(),
            number: Some(1),
            created_at: Timestamp::UNIX_EPOCH,
            pad_id: None,
            progress: Progress::InProgress,
        },
        existing_since: None,
        was_before: false,
        asked_by_person: false,
        entry: None,
        judged_entry: None,
        requested_entry: None,
        pad_was_deleted: false,
        has_service_error: false,
        phase: None,
        claim: None,
        linked: false,
        started_at: None,
        note_id: None,
        recorded: false,
        names_candidate: true,
        failed_tag: None,
        requested: false,
        configuration_changed: false,
    };
    PadState {
        repeat: Some(Repeat::AfterEnd),
        stage_id: Some("stage-phone".into()),
        write_back: Some(WriteBack::default()),
        ..PadState::new(pad, ready(Some(5), None), RuleState::Ready(rule()))
    }
}

fn configuration_not_ready() -> RuleState {
    let (tag, reason) = ("coderpad".into(), "StageNotFound".into());
    RuleState::NotReady { tag, reason, message: "m".into() }
}

fn with(change: impl FnOnce(&mut PadState)) -> PadState {
    let mut state = state();
    change(&mut state);
    state
}

fn candidate(change: impl FnOnce(&mut Opportunity)) -> CandidateLookup {
    let mut opportunity = opportunity();
    change(&mut opportunity);
    CandidateLookup::Read(Box::new(opportunity))
}

fn read(change: impl FnOnce(&mut Opportunity)) -> PadState {
    with(|state| state.opportunity = candidate(change))
}

fn reference() -> Reference {
    Reference::new(state().pad.series(), ENTRY_TIME_MS)
}

fn record(id: &str, second: i64) -> PadRecord {
    let json = serde_json::json!({
        "status": "OK", "id": id, "title": "t", "state": "pending", "type": "live",
        "url": format!("https://app.coderpad.io/{id}"), "playback": format!("https://app.coderpad.io/{id}/playback"),
        "created_at": Timestamp::from_second(1_700_000_100 + second).unwrap(), "ended_at": null,
        "notes": reference().notes("https://hire.example.com/candidates/op-1"),
    });
    PadRecord::from_json(&json).unwrap()
}

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap()
}

/// Another Pad of the candidate.
fn member(number: u32, standing: Progress) -> SeriesMember {
    let name = format!("phone-screen-0123456789-{number}");
    SeriesMember { name, number: Some(number), created_at: at(0), pad_id: None, progress: standing }
}

/// After an attempt was recorded.
fn attempted(state: &mut PadState) {
    state.pad.attempt =
        Some(CreateIntent::new(reference(), Timestamp::from_millisecond(ENTRY_TIME_MS + 1000).unwrap()));
    state.pad.finalizer = true;
}

/// After the pad's ID was stored.
fn stored(state: &mut PadState) {
    attempted(state);
    state.pad.finalizer = false;
    state.pad.pad_id = Some("PAD1".into());
}

fn service_error(service: Service, class: ErrorKind, status: Option<u16>) -> PassError {
    let operation = if service == Service::Lever { "GET /opportunities/{id}" } else { "POST /pads" };
    PassError::Service(ServiceError::new(class, service, operation, status, "details"))
}

fn outcome(state: &PadState) -> Outcome {
    match plan(state) {
        Command::Done { outcome, .. } => outcome,
        other => panic!("expected a rest, got {other:?}"),
    }
}

/// The reason of the outcome, with a mark of what kind it is.
fn reason(state: &PadState) -> String {
    match outcome(state) {
        Outcome::Waiting(reason, _) => format!("waits: {reason}"),
        Outcome::Skipped(reason, _) => format!("skipped: {reason}"),
        Outcome::Failed(reason, _) => format!("failed: {reason}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_fresh_pad_is_read_created_stored_linked_and_open() {
    let mut state = state();
    assert!(matches!(plan(&state), Command::ReadOpportunity));

    state.opportunity = candidate(|_| {});
    let Command::Create { reference: made, pad, .. } = plan(&state) else { panic!("no create") };
    assert_eq!(made, reference());
    assert_eq!(pad.title, "Ada Lovelace - Phone Screen");
    assert_eq!((pad.language.as_deref(), pad.private, pad.take_home), (Some("python3"), Some(true), false));
    assert_eq!(Reference::from_notes(&pad.notes), Some(reference()));
    assert!(pad.notes.contains("Candidate: https://hire.example.com/candidates/op-1"));

    attempted(&mut state);
    state.record = PadLookup::Read(Box::new(record("PAD1", 0)));
    assert!(matches!(plan(&state), Command::StorePad { keep_finalizer: false, claim_link: true, .. }));

    stored(&mut state);
    state.write_claim = WriteClaim::Owned(OnceOnlyWrite::Link);
    assert!(matches!(plan(&state), Command::AddLink(url) if url == "https://app.coderpad.io/PAD1"));

    state.link_written = true;
    assert_eq!(outcome(&state), Outcome::Open);
}

#[test]
fn the_decision_uses_levers_data() {
    for (expected, state) in [
        ("skipped: TagMissing", read(|o| o.tags = vec!["Coderpad".into()])),
        ("skipped: StageChanged", read(|o| o.stage = "offer".into())),
        ("skipped: CandidateArchived", read(|o| o.archived = true)),
        ("skipped: CandidateConfidential", read(|o| o.confidential = true)),
        ("skipped: CandidateNotFound", read(|o| o.is_anonymized = true)),
        ("skipped: CandidateNotFound", with(|f| f.opportunity = CandidateLookup::NotFound)),
        ("skipped: CandidateConfidential", with(|f| f.opportunity = CandidateLookup::Refused)),
    ] {
        assert_eq!(reason(&state), expected);
    }
}

#[test]
fn a_manual_pad_skips_the_checks_of_tag_and_stage_but_not_of_the_archive() {
    let by_hand = |change: fn(&mut Opportunity)| {
        let mut state = read(change);
        state.pad.manual = true;
        state
    };
    let free = by_hand(|o| (o.tags, o.stage) = (vec![], "offer".into()));
    let Command::Create { reference, .. } = plan(&free) else { panic!("no create") };
    assert_eq!(reference.entry(), free.pad.name);
    assert_eq!(reason(&by_hand(|o| o.archived = true)), "skipped: CandidateArchived");
    assert_eq!(reason(&by_hand(|o| o.confidential = true)), "skipped: CandidateConfidential");
}

#[test]
fn an_unusable_connection_or_configuration_is_waited_for_without_a_call() {
    let not_ready = |reason: &str| {
        let (name, reason, message) = ("acme".to_owned(), reason.to_owned(), "m".to_owned());
        with(|f| f.connection = ConnectionState::NotReady { name, reason, message })
    };
    for (expected, state) in [
        (
            "waits: ConnectionNotReady",
            with(|f| f.connection = ConnectionState::Missing { name: "acme".into() }),
        ),
        ("waits: Suspended", with(|f| f.connection = ConnectionState::Suspended { name: "acme".into() })),
        ("waits: CreateOutcomeUnknown", with(|f| f.pad.sibling_terminating = true)),
        ("waits: ConnectionNotReady", not_ready("Connecting")),
        ("waits: ConnectionNotReady", not_ready("LeverUnavailable")),
        ("waits: LeverUnauthorized", not_ready("LeverUnauthorized")),
        ("waits: InterviewForbidden", not_ready("InterviewForbidden")),
        ("waits: Suspended", with(|f| f.configuration = RuleState::Suspended)),
        (
            "waits: ConfigurationNotFound",
            with(|f| f.configuration = RuleState::NotFound { message: "m".into() }),
        ),
        ("waits: ConfigurationNotReady", with(|f| f.configuration = configuration_not_ready())),
    ] {
        assert_eq!(reason(&state), expected);
    }
}

#[test]
fn used_up_quota_waits_unless_overage_is_allowed() {
    let left = |pads_left| {
        let mut state = read(|_| {});
        state.connection = ready(pads_left, None);
        state
    };
    assert_eq!(reason(&left(Some(0))), "waits: QuotaExceeded");
    assert!(matches!(plan(&left(Some(1))), Command::Create { .. }));
    assert!(matches!(plan(&left(None)), Command::Create { .. }));
}

#[test]
fn a_reached_hourly_limit_waits_until_the_window_has_moved() {
    let until = "2026-01-01T10:04:30Z".parse().unwrap();
    let full = LimitExceeded { made: 4, limit: 3, until, rest: Duration::from_secs(90) };
    let mut fresh = state();
    fresh.connection = ready(Some(5), Some(full));
    assert!(matches!(plan(&fresh), Command::ReadOpportunity), "who gets no pad at all need not wait");
    fresh.opportunity = candidate(|o| o.tags.clear());
    assert_eq!(reason(&fresh), "skipped: TagMissing");
    fresh.opportunity = candidate(|_| {});
    let Command::Done { outcome: Outcome::Waiting(reason, message), again } = plan(&fresh) else {
        panic!("it does not wait")
    };
    assert_eq!((reason, again), (Reason::LimitReached, Some(full.rest)));
    for part in
        ["acme", "4 pads in the last hour", "the limit is 3", "maxPadsPerHour", "2026-01-01 10:05 UTC"]
    {
        assert!(message.contains(part), "{message}");
    }

    let mut waiting = state();
    waiting.connection = fresh.connection.clone();
    (waiting.pad.phase, waiting.pad.waits_for_room) = (Some(Phase::Pending), true);
    assert_eq!(super::tests::reason(&waiting), "waits: LimitReached", "without a call");
    let (name, reason, message) = ("acme".into(), "Connecting".into(), "m".into());
    waiting.connection = ConnectionState::NotReady { name, reason, message };
    assert_eq!(outcome(&waiting), Outcome::Keep, "the limit was changed: it keeps its place");
    waiting.connection = ready(Some(5), None);
    assert!(matches!(plan(&waiting), Command::ReadOpportunity));
    waiting.connection = ready(Some(0), Some(full));
    assert_eq!(super::tests::reason(&waiting), "waits: QuotaExceeded", "an hour is not what it takes");
}

#[test]
fn service_errors_have_their_reasons() {
    for (expected, service, class, status) in [
        ("waits: LeverUnauthorized", Service::Lever, ErrorKind::Unauthorized, Some(401)),
        ("waits: LeverForbidden", Service::Lever, ErrorKind::Forbidden, Some(403)),
        ("waits: LeverRateLimited", Service::Lever, ErrorKind::Throttled, Some(429)),
        ("waits: LeverUnavailable", Service::Lever, ErrorKind::Unavailable, Some(503)),
        ("waits: LeverUnavailable", Service::Lever, ErrorKind::OutcomeUnknown, None),
        ("waits: InterviewUnauthorized", Service::Interview, ErrorKind::Unauthorized, Some(401)),
        ("waits: InterviewForbidden", Service::Interview, ErrorKind::Forbidden, Some(403)),
        ("waits: QuotaExceeded", Service::Interview, ErrorKind::Throttled, Some(429)),
        ("waits: InterviewUnavailable", Service::Interview, ErrorKind::Unavailable, None),
        ("failed: InvalidRequest", Service::Interview, ErrorKind::Invalid, Some(400)),
        ("failed: InvalidRequest", Service::Interview, ErrorKind::NotFound, Some(404)),
    ] {
        let state = with(|f| f.error = Some(service_error(service, class, status)));
        assert_eq!(reason(&state), expected, "{service} {class:?}");
    }
    let question = with(|f| {
        f.configuration = RuleState::Ready(Rule { question_id: Some(7), ..rule() });
        f.error = Some(service_error(Service::Interview, ErrorKind::NotFound, Some(404)));
    });
    assert_eq!(reason(&question), "failed: QuestionNotFound");
}

#[test]
fn a_refused_pad_checks_its_question() {
    let refused = |misfit| {
        with(|f| {
            f.configuration = RuleState::Ready(Rule { question_id: Some(7), ..rule() });
            f.error = Some(service_error(Service::Interview, ErrorKind::Invalid, Some(400)));
            f.question_problem = misfit;
        })
    };
    let asked = plan(&refused(None));
    assert!(matches!(asked, Command::CheckQuestion { question: 7, type_: PadType::Live }), "{asked:?}");
    assert_eq!(reason(&refused(Some(None))), "failed: InvalidRequest");
    assert_eq!(reason(&refused(Some(Some("is a draft.")))), "failed: QuestionNotUsable");
}

#[test]
fn settled_pads_stay_unchanged_until_a_reconcile_is_requested() {
    for phase in [Phase::Skipped, Phase::Failed] {
        assert_eq!(outcome(&with(|f| f.pad.phase = Some(phase))), Outcome::Keep);
        let asked = with(|f| (f.pad.phase, f.pad.requested) = (Some(phase), true));
        assert!(matches!(plan(&asked), Command::ReadOpportunity));
    }
    let mended = with(|f| (f.pad.phase, f.pad.configuration_changed) = (Some(Phase::Failed), true));
    assert!(matches!(plan(&mended), Command::ReadOpportunity));
    let linked = with(|f| {
        (f.pad.linked, f.pad.requested, f.pad.phase) = (true, true, Some(Phase::Open));
        f.connection = ConnectionState::Missing { name: "a".into() };
    });
    assert_eq!(outcome(&linked), Outcome::Keep, "no call without a connection");
}

#[test]
fn a_requested_end_before_the_pad_exists_cancels_it() {
    let wished = with(|f| f.pad.desired_state = DesiredState::Ended);
    assert!(matches!(plan(&wished), Command::ReadOpportunity), "for which entry");
    let cancelled = |change: fn(&mut PadState)| {
        let mut state = wished.clone();
        change(&mut state);
        reason(&state) == "skipped: Cancelled"
    };
    assert!(cancelled(|f| f.opportunity = candidate(|_| {})));
    assert!(cancelled(|f| f.connection = ConnectionState::Missing { name: "a".into() }));
    assert!(cancelled(|f| f.error = Some(service_error(Service::Lever, ErrorKind::Unavailable, None))));
    assert!(
        cancelled(|f| f.pad.member.progress = Progress::Ended { entry: at(0), at: at(0) }),
        "it is known"
    );
    let mut in_flight = read(|_| {});
    attempted(&mut in_flight);
    in_flight.pad.desired_state = DesiredState::Ended;
    in_flight.create_outcome = CreateOutcome::Completed;
    assert!(matches!(plan(&in_flight), Command::Search { .. }));
}

#[test]
fn deletion_resolves_requests_in_flight_and_follows_the_policy() {
    let deleting = |policy, linked, change: fn(&mut PadState)| {
        let mut state = state();
        stored(&mut state);
        (state.pad.deleting, state.pad.finalizer, state.pad.linked) = (true, true, linked);
        state.pad.deletion_policy = policy;
        state.opportunity = candidate(|o| o.links.push("https://app.coderpad.io/PAD1".into()));
        state.record = PadLookup::Read(Box::new(record("PAD1", 0)));
        change(&mut state);
        // Before anything of the pad is removed (contract P9).
        let is_left = matches!(plan(&state), Command::StoreServed(entries) if entries == [at(ENTRY_TIME_MS)]);
        assert!(is_left, "{:?}", plan(&state));
        state.served_stored = true;
        plan(&state)
    };
    use DeletionPolicy::{Delete, Retain, Unlink};
    assert!(matches!(deleting(Retain, true, |_| {}), Command::SetFinalizer(false)));
    assert!(matches!(deleting(Unlink, true, |_| {}), Command::RemoveLink(_)));
    assert!(matches!(
        deleting(Unlink, true, |f| f.opportunity = candidate(|_| {})),
        Command::SetFinalizer(false)
    ));
    assert!(matches!(deleting(Delete, true, |f| f.opportunity = candidate(|_| {})), Command::DeletePad(_)));
    assert!(matches!(
        deleting(Delete, true, |f| f.record = PadLookup::NotFound),
        Command::SetFinalizer(false)
    ));
    let gone_but_linked = |f: &mut PadState| {
        (f.record, f.pad.url) = (PadLookup::NotFound, Some("https://app.coderpad.io/PAD1".into()));
    };
    assert!(matches!(deleting(Unlink, true, gone_but_linked), Command::RemoveLink(_)));
    assert!(matches!(deleting(Unlink, false, |f| f.opportunity = candidate(|_| {})), Command::DeletePad(_)));
    let gone = |f: &mut PadState| f.connection = ConnectionState::Missing { name: "acme".into() };
    assert!(matches!(deleting(Delete, true, gone), Command::SetFinalizer(false)));

    let mid_flight = |flight| {
        let mut state = state();
        attempted(&mut state);
        (state.pad.deleting, state.create_outcome) = (true, flight);
        plan(&state)
    };
    assert!(matches!(
        mid_flight(CreateOutcome::InFlight {
            rest: Duration::from_secs(1),
            search_in: Duration::from_secs(1)
        }),
        Command::Done { again: Some(_), .. }
    ));
    assert!(matches!(mid_flight(CreateOutcome::Completed), Command::Search { .. }));
    let found = || CreateOutcome::Searched(vec![record("PAD1", 0)]);
    assert!(matches!(mid_flight(found()), Command::ReadOpportunity), "it may be linked");
    let found_with = |links: Vec<String>| {
        let mut state = state();
        attempted(&mut state);
        (state.pad.deleting, state.create_outcome) = (true, found());
        state.opportunity = candidate(|opportunity| opportunity.links = links);
        plan(&state)
    };
    assert!(matches!(found_with(Vec::new()), Command::DeletePad(_)));
    let linked = found_with(vec![record("PAD1", 0).url]);
    assert!(matches!(linked, Command::StorePad { claim_link: false, .. }), "the policy applies: {linked:?}");
    assert!(matches!(mid_flight(CreateOutcome::Searched(vec![])), Command::SetFinalizer(false)));
}

#[test]
fn the_finalizer_follows_the_policy_of_an_open_pad() {
    let open = |policy, finalizer| {
        plan(&with(|f| (f.pad.linked, f.pad.deletion_policy, f.pad.finalizer) = (true, policy, finalizer)))
    };
    assert!(matches!(open(DeletionPolicy::Unlink, false), Command::SetFinalizer(true)));
    assert!(matches!(open(DeletionPolicy::Retain, true), Command::SetFinalizer(false)));
    assert!(matches!(open(DeletionPolicy::Delete, true), Command::Done { outcome: Outcome::Open, .. }));
}

#[test]
fn backoff_delays_only_calls() {
    let pause = Some(Duration::from_secs(9));
    let held = with(|f| f.backoff_remaining = pause);
    assert!(matches!(plan(&held), Command::Done { outcome: Outcome::NoDecision, again } if again == pause));
    let cancelled = with(|f| (f.backoff_remaining, f.pad.desired_state) = (pause, DesiredState::Ended));
    assert_eq!(reason(&cancelled), "skipped: Cancelled");
}
