//! Every message of a Pad's conditions, as a snapshot.

use super::after::{ended, ended_record, open_with, tagged};
use super::installations::{OTHER, beside, events, linked, pad_of};
use super::refused::{ADD_TAGS, NOTES, refusal, refused_ready_tag};
use super::*;
use crate::status::status;
use api::pad::Pad;
use api::{configuration::Note, configuration::StatusTags};
use serde_json::json;
use testkit::{assert_snapshot, describe};

fn stored_pad(phase: Option<Phase>) -> Pad {
    serde_json::from_value(json!({
        "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad",
        "metadata": {"name": "phone-screen-0123456789-1", "namespace": "hiring"},
        "spec": {"configurationRef": {"name": "phone-screen"}, "opportunityID": "op-1"},
        "status": {"observedGeneration": 0, "phase": phase},
    }))
    .unwrap()
}

/// Describes the phase and the conditions after a pass over this state.
fn show(case: &str, state: &PadState) -> String {
    let Command::Done { outcome, .. } = plan(state) else { panic!("{case}: {:?}", plan(state)) };
    let status = status(&stored_pad(state.pad.phase), state, &outcome, None, at(ENTRY_TIME_MS));
    let status = status.unwrap_or_else(|| panic!("{case}: no status follows from {outcome:?}"));
    let phase = status.phase.map(|phase| format!("{phase:?}")).unwrap_or_default();
    describe(&format!("{phase}: {case}"), &status.conditions)
}

fn assert_all(name: &str, cases: Vec<(&str, PadState)>) {
    let text: String = cases.iter().map(|(case, state)| show(case, state)).collect();
    assert_snapshot(name, text.trim_end());
}

#[test]
fn messages_of_pads_whose_connection_or_configuration_is_not_usable() {
    let not_ready = |reason: &str, message: &str| {
        let (name, reason, message) = ("acme".into(), reason.into(), message.into());
        with(|f| f.connection = ConnectionState::NotReady { name, reason, message })
    };
    let account = PassError::NoCredentials { connection: "acme".into(), message: "MESSAGE".into() };
    let not_found = RuleState::NotFound { message: "MESSAGE".into() };
    let full = LimitExceeded {
        made: 4,
        limit: 3,
        until: "2026-01-01T10:04:30Z".parse().unwrap(),
        rest: Duration::ZERO,
    };
    assert_all(
        "pad-prerequisites",
        vec![
            (
                "the connection does not exist",
                with(|f| f.connection = ConnectionState::Missing { name: "acme".into() }),
            ),
            (
                "the connection is suspended",
                with(|f| f.connection = ConnectionState::Suspended { name: "acme".into() }),
            ),
            ("Lever is down", not_ready("LeverUnavailable", "MESSAGE")),
            ("the connection's key is invalid", not_ready("LeverUnauthorized", "MESSAGE")),
            ("the Secret with the keys is invalid", with(|f| f.error = Some(account))),
            ("the configuration is suspended", with(|f| f.configuration = RuleState::Suspended)),
            ("the configuration does not exist", with(|f| f.configuration = not_found)),
            ("the configuration is not Ready", with(|f| f.configuration = configuration_not_ready())),
            ("the quota is used up", PadState { connection: ready(Some(0), None), ..read(|_| {}) }),
            (
                "the hourly limit is reached",
                PadState { connection: ready(Some(5), Some(full)), ..read(|_| {}) },
            ),
        ],
    );
}

#[test]
fn messages_of_pads_whose_candidate_gets_no_pad() {
    let served = with(|f| {
        f.opportunity = candidate(|_| {});
        f.served_entries = served_stage_entries::add(None, [Fingerprint::new("op-1", at(ENTRY_TIME_MS))]);
    });
    let existing = with(|f| {
        let rule = Rule { effective_since: Some(at(ENTRY_TIME_MS)), ..rule() };
        f.pad.existing_since = rule.effective_since;
        f.configuration = RuleState::Ready(rule);
        f.opportunity = candidate(|_| {});
    });
    let next_to = |own: u32, other: u32| {
        let mut state = read(|_| {});
        state.pad.member = member(own, Progress::InProgress);
        state.others = vec![member(other, Progress::InProgress)];
        state
    };
    let mut unlinked = with(stored);
    unlinked.pad.finalizer = true;
    unlinked.record = PadLookup::Read(Box::new(record("PAD1", 0)));
    unlinked.opportunity = CandidateLookup::NotFound;
    unlinked.deleted.push("PAD1".into());
    assert_all(
        "pad-ineligible",
        vec![
            ("the tag is missing", read(|o| o.tags = vec!["Coderpad".into()])),
            ("another stage", read(|o| o.stage = "offer".into())),
            ("archived", read(|o| o.archived = true)),
            ("confidential", read(|o| o.confidential = true)),
            (
                "the key cannot access a confidential opportunity",
                with(|f| f.opportunity = CandidateLookup::Refused),
            ),
            ("anonymized", read(|o| o.is_anonymized = true)),
            ("unknown opportunity", with(|f| f.opportunity = CandidateLookup::NotFound)),
            ("inaccessible before the link was added", unlinked),
            ("in the stage before the rule took effect", existing),
            ("the entry had a pad", served),
            ("another Pad serves the entry", next_to(1, 2)),
            ("an older Pad is undecided", next_to(2, 1)),
            ("another Pad is being deleted", with(|f| f.pad.sibling_terminating = true)),
            ("another installation has created the pad", beside(&[pad_of(OTHER, "PADX", 0)])),
            (
                "cancelled",
                with(|f| {
                    f.pad.desired_state = DesiredState::Ended;
                    f.opportunity = candidate(|_| {});
                }),
            ),
        ],
    );
}

#[test]
fn messages_of_pads_after_an_error_of_a_service() {
    use ErrorKind::{Forbidden, Invalid, NotFound, OutcomeUnknown, Throttled, Unauthorized, Unavailable};
    let mut cases = Vec::new();
    for (service, class, status) in [
        (Service::Lever, Unauthorized, Some(401)),
        (Service::Lever, Forbidden, Some(403)),
        (Service::Lever, Throttled, Some(429)),
        (Service::Lever, Unavailable, Some(503)),
        (Service::Lever, OutcomeUnknown, None),
        (Service::Interview, Unauthorized, Some(401)),
        (Service::Interview, Forbidden, Some(403)),
        (Service::Interview, Throttled, Some(429)),
        (Service::Interview, Unavailable, None),
        (Service::Interview, Invalid, Some(400)),
        (Service::Interview, NotFound, Some(404)),
    ] {
        let state = with(|f| f.error = Some(service_error(service, class, status)));
        cases.push((format!("{service} {class:?}"), state));
    }
    let pads = ServiceError::new(Throttled, Service::Interview, "GET /pads", Some(429), "Slow down");
    cases.push(("CoderPad rate limit".into(), with(|f| f.error = Some(PassError::Service(pads)))));
    let unknown = ServiceError::new(OutcomeUnknown, Service::Interview, "POST /pads", None, "timeout");
    let unknown = with(|f| f.error = Some(PassError::CreateOutcomeUnknown(unknown)));
    cases.push(("the creation was not confirmed".into(), unknown));
    let refused = PassError::Refused { answer: "admission webhook \"x\" denied the request".into() };
    cases.push(("the API server refuses the write".into(), with(|f| f.error = Some(refused))));
    let question = |misfit, class, status| {
        with(|f| {
            f.configuration = RuleState::Ready(Rule { question_id: Some(7), ..rule() });
            f.error = Some(service_error(Service::Interview, class, Some(status)));
            f.question_problem = misfit;
        })
    };
    cases.push(("the question does not exist".into(), question(None, NotFound, 404)));
    cases.push(("the question is a draft".into(), question(Some(Some("is a draft.")), Invalid, 400)));
    let deleting = with(|f| {
        (f.pad.deleting, f.pad.finalizer) = (true, true);
        f.error = Some(service_error(Service::Lever, Unavailable, Some(503)));
    });
    cases.push(("during deletion".into(), deleting));
    let cases = cases.iter().map(|(case, state)| (case.as_str(), state.clone())).collect();
    assert_all("pad-service-errors", cases);
}

#[test]
fn messages_of_pads_while_an_outcome_is_unknown_or_a_take_home_is_refused() {
    let unknown = with(|f| {
        attempted(f);
        let (rest, search_in) = (Duration::from_secs(1), Duration::from_secs(1));
        f.create_outcome = CreateOutcome::InFlight { rest, search_in };
    });
    let linking = with(|f| {
        stored(f);
        f.pad.finalizer = true;
        f.write_claim = WriteClaim::InFlight { rest: Duration::from_secs(3) };
    });
    let live = with(|f| {
        (f.wants_take_home, f.kind_read_again, f.refusal_stored) = (true, true, true);
        f.record = PadLookup::Read(Box::new(record("PAD1", 0)));
        f.deleted.push("PAD1".into());
    });
    let unknown_type = with(|f| {
        stored(f);
        (f.pad.finalizer, f.wants_take_home, f.refusal_stored) = (true, true, true);
        let mut record = record("PAD1", 0);
        record.kind = PadKind::Unknown;
        f.record = PadLookup::Read(Box::new(record));
    });
    let failing = |question_id, language: Option<&str>, owner: Option<&str>| PadState {
        configuration: RuleState::Ready(Rule {
            question_id,
            language: language.map(str::to_owned),
            owner_email: owner.map(str::to_owned),
            ..rule()
        }),
        ..super::failed_creations::failed(3)
    };
    let other_connection = |change: fn(&mut PadState)| {
        let mut state = super::installations::stored(&pad_of(OTHER, "PADM", 5), &[]);
        state.ownership.former_connection = Some("acme-old".into());
        change(&mut state);
        state
    };
    assert_all(
        "pad-creation",
        vec![
            ("the creation was not confirmed", unknown),
            ("the link was not confirmed", linking),
            ("a live pad in place of a take-home", live),
            ("a pad of unknown type in place of a take-home", unknown_type),
            ("CoderPad answers with server errors", failing(None, None, None)),
            (
                "CoderPad answers the request with all values with server errors",
                failing(Some(7), Some("python3"), Some("lead@example.com")),
            ),
            (
                "another connection does not find the candidate",
                other_connection(|f| f.opportunity = CandidateLookup::NotFound),
            ),
            (
                "another connection does not find the pad",
                other_connection(|f| f.record = PadLookup::NotFound),
            ),
        ],
    );
}

#[test]
fn messages_of_pads_from_open_to_ended() {
    let seen = |state: &str| {
        open_with(|f| {
            let mut record = record("PAD1", 0);
            record.state = state.into();
            (f.read_requested, f.record, f.events) = (true, PadLookup::Read(Box::new(record)), Some(vec![]));
            f.opportunity = tagged(&["coderpad", "ready"]);
        })
    };
    let mut joined = linked(&pad_of("0123456789abcdef", "PADM", 5), &[pad_of(OTHER, "PADX", 4)]);
    joined.events = events(&["created", "joined"]);
    joined.write_back = None;
    let end = |change: fn(&mut PadState)| {
        let mut state = ended();
        state.note = NoteLookup::Written("note-1".into());
        state.opportunity = tagged(&["coderpad", "ended"]);
        change(&mut state);
        state
    };
    fn refused_by_lever(state: &mut PadState, class: ErrorKind, operation: &'static str) {
        state.error = Some(PassError::Service(refusal(class, operation)));
    }
    let called_off = |claimed, opportunity| {
        with(|f| {
            stored(f);
            (f.pad.finalizer, f.pad.desired_state) = (true, DesiredState::Ended);
            (f.record, f.write_claim, f.opportunity) = (ended_record(), claimed, opportunity);
        })
    };
    assert_all(
        "pad-lifecycle",
        vec![
            ("open", seen("pending")),
            ("open, Lever refuses a tag", refused_ready_tag(ErrorKind::Invalid)),
            ("open, the key must not write tags", refused_ready_tag(ErrorKind::Forbidden)),
            ("open next to the pad of another installation", joined),
            ("started", seen("started")),
            ("ended, note and tags are written", end(|_| {})),
            (
                "ended, nothing to write",
                end(|f| {
                    let write_back = WriteBack { note: Note::None, tags: StatusTags::default() };
                    f.write_back = Some(write_back);
                }),
            ),
            ("ended, the configuration does not exist", end(|f| f.write_back = None)),
            (
                "ended, the note was not confirmed",
                end(|f| {
                    f.note = NoteLookup::NotRead;
                    f.write_claim = WriteClaim::InFlight { rest: Duration::from_secs(3) };
                }),
            ),
            ("ended, Lever is down", end(|f| refused_by_lever(f, ErrorKind::Unavailable, NOTES))),
            (
                "ended, the key must not write tags",
                end(|f| refused_by_lever(f, ErrorKind::Forbidden, ADD_TAGS)),
            ),
            (
                "ended, the opportunity is confidential",
                end(|f| {
                    f.opportunity = CandidateLookup::Refused;
                    refused_by_lever(f, ErrorKind::Forbidden, NOTES);
                }),
            ),
            (
                "ended, the opportunity was deleted",
                end(|f| {
                    f.opportunity = CandidateLookup::NotFound;
                    refused_by_lever(f, ErrorKind::NotFound, NOTES);
                }),
            ),
            ("ended, Lever refuses the note", end(|f| refused_by_lever(f, ErrorKind::Invalid, NOTES))),
            (
                "ended, the connection is suspended",
                end(|f| {
                    f.pad.phase = Some(Phase::Ended);
                    f.connection = ConnectionState::Suspended { name: "acme".into() };
                }),
            ),
            (
                "deleted in CoderPad",
                open_with(|f| {
                    f.record = PadLookup::NotFound;
                    f.opportunity = candidate(|_| {});
                }),
            ),
            (
                "ended before it was linked, the link was not confirmed",
                called_off(WriteClaim::InFlight { rest: Duration::from_secs(3) }, CandidateLookup::NotRead),
            ),
            ("ended before it was linked", called_off(WriteClaim::Unclaimed, candidate(|_| {}))),
        ],
    );
}
