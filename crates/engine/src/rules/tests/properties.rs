//! Property tests of the rules over random states.

use super::*;
use proptest::prelude::*;

pub(super) fn any_facts() -> impl Strategy<Value = PadState> {
    let pad = (any::<[bool; 7]>(), 0..4u8, 0..3u8, 0..6u8);
    let around = (0..4u8, 0..4u8, 0..8u8, 0..4u8, 0..5u8, 0..3u8, (any::<[bool; 6]>(), 0..4u8, 0..3u8));
    (pad, around).prop_map(|((bits, progress, policy, phase), around)| {
        let (connection, configuration, opportunity, record_, flight, linked, (more, claimed, note)) = around;
        let mut f = state();
        f.pad.manual = bits[0];
        f.pad.desired_state = if bits[1] { DesiredState::Ended } else { DesiredState::Open };
        f.pad.deleting = bits[2];
        f.pad.requested = bits[3];
        f.pad.configuration_changed = bits[4];
        match progress {
            1 => attempted(&mut f),
            2 => stored(&mut f),
            3 => {
                stored(&mut f);
                f.pad.linked = true;
            }
            _ => {}
        }
        f.pad.finalizer |= bits[5];
        f.pad.deletion_policy =
            [DeletionPolicy::Retain, DeletionPolicy::Unlink, DeletionPolicy::Delete][usize::from(policy)];
        f.pad.phase = [
            None,
            Some(Phase::Pending),
            Some(Phase::Open),
            Some(Phase::Skipped),
            Some(Phase::Failed),
            Some(Phase::Ended),
        ][usize::from(phase)];
        f.pad.member.progress = match phase {
            0 | 1 => Progress::InProgress,
            2 => Progress::Open { entry: at(ENTRY_TIME_MS) },
            3 | 4 => Progress::NotCounted,
            _ => Progress::Ended { entry: at(ENTRY_TIME_MS - 9), at: at(ENTRY_TIME_MS - i64::from(linked)) },
        };
        f.judge = bits[4];
        f.repeat = Some([Repeat::AfterEnd, Repeat::Always, Repeat::Never][usize::from(policy)]);
        if more[0] {
            f.others.push(member(2, Progress::Open { entry: at(ENTRY_TIME_MS - 1) }));
        }
        f.connection = match connection {
            0 => ConnectionState::Missing { name: "acme".into() },
            1 => ConnectionState::Suspended { name: "acme".into() },
            2 => ConnectionState::NotReady {
                name: "acme".into(),
                reason: "LeverUnauthorized".into(),
                message: "m".into(),
            },
            _ => ready(bits[6].then_some(0), None),
        };
        f.wants_take_home = configuration == 2;
        f.configuration = match configuration {
            0 => RuleState::NotFound { message: "m".into() },
            1 => RuleState::Suspended,
            2 => RuleState::Ready(Rule { type_: PadType::TakeHome, question_id: Some(1), ..rule() }),
            _ => RuleState::Ready(rule()),
        };
        f.opportunity = match opportunity {
            0 => CandidateLookup::NotRead,
            1 => CandidateLookup::NotFound,
            2 => CandidateLookup::Refused,
            3 => candidate(|o| o.tags.clear()),
            4 => candidate(|o| o.stage = "offer".into()),
            5 => candidate(|o| o.archived = true),
            6 => candidate(|o| o.links.push("https://app.coderpad.io/PAD1".into())),
            _ => candidate(|_| {}),
        };
        f.record = match record_ {
            0 | 1 => PadLookup::NotRead,
            2 => PadLookup::NotFound,
            _ => PadLookup::Read(Box::new(record("PAD1", 0))),
        };
        f.create_outcome = match flight {
            0 => CreateOutcome::InFlight {
                rest: Duration::from_secs(3),
                search_in: Duration::from_secs(u64::from(linked)),
            },
            1 => CreateOutcome::Completed,
            2 => CreateOutcome::Searched(vec![]),
            3 => CreateOutcome::Searched(vec![record("PAD1", 0), record("PAD2", 1)]),
            _ => CreateOutcome::NotSent,
        };
        f.linked_before = [None, Some(vec![]), Some(vec![record("PAD1", 0)])][usize::from(linked)].clone();
        f.link_written = more[0] && f.pad.pad_id.is_some();
        f.write_claim = match claimed {
            0 => WriteClaim::InFlight { rest: Duration::from_secs(3) },
            1 => WriteClaim::Owned(OnceOnlyWrite::Link),
            2 => WriteClaim::Owned(OnceOnlyWrite::Note),
            _ => WriteClaim::Unclaimed,
        };
        f.note = match note {
            0 => NoteLookup::NotRead,
            1 => NoteLookup::Absent,
            _ => NoteLookup::Written("note-1".into()),
        };
        f.read_requested = more[3];
        f.pad.recorded = more[4];
        if let (true, PadLookup::Read(record)) = (more[5], &mut f.record) {
            record.ended_at = Some(record.created_at);
        }
        f.backoff_remaining = more[1].then_some(Duration::from_secs(1));
        f.error = more[2].then(|| service_error(Service::Lever, ErrorKind::Unavailable, None));
        f
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Safety properties for any state.
    #[test]
    fn no_state_leads_to_a_forbidden_command(state in any_facts()) {
        prop_assert_ne!(decide(&state).rule, "none", "no rule applies");
        let step = plan(&state);
        let usable = matches!(state.connection, ConnectionState::Ready { .. });
        prop_assert!(!step.calls_service() || usable, "a call through a connection that is not usable: {step:?}");
        prop_assert!(!step.calls_service() || state.backoff_remaining.is_none(), "a call during a pause: {step:?}");
        prop_assert!(!step.calls_service() || state.error.is_none(), "a call after error: {step:?}");
        match &step {
            Command::Create { .. } => {
                prop_assert!(state.pad.attempt.is_none() || state.pad.pad_id.is_none());
                prop_assert!(state.pad.open_attempt().is_none(), "created over an attempt of unknown outcome");
                prop_assert!(state.pad.pad_id.is_none() && !state.pad.linked && !state.pad.deleting);
                let CandidateLookup::Read(opportunity) = &state.opportunity else { panic!("created unread") };
                prop_assert!(!opportunity.archived);
                let qualifies = opportunity.stage == "stage-phone" && opportunity.tags.contains(&"coderpad".into());
                prop_assert!(state.pad.manual || qualifies);
            }
            Command::AddLink(_) => {
                prop_assert!(state.pad.pad_id.is_some(), "linked before the ID was stored");
                prop_assert!(state.write_claim == WriteClaim::Owned(OnceOnlyWrite::Link), "linked without a claim");
                prop_assert!(!state.pad.linked && !state.pad.deleting);
                let CandidateLookup::Read(opportunity) = &state.opportunity else { panic!("linked unread") };
                prop_assert!(!opportunity.links.contains(&"https://app.coderpad.io/PAD1".into()), "linked twice");
            }
            Command::DeletePad(_) => {
                prop_assert!(!state.pad.linked || state.pad.deletion_policy == DeletionPolicy::Delete);
            }
            Command::AddNote(_) => {
                prop_assert!(state.write_claim == WriteClaim::Owned(OnceOnlyWrite::Note), "a note without a claim");
                prop_assert!(state.note == NoteLookup::Absent && !state.pad.deleting);
            }
            Command::RemoveLink(_) => prop_assert!(state.pad.deleting),
            Command::CreateNextPad(_) | Command::JudgeSibling(_) => {
                prop_assert!(state.is_asked() && !state.pad.deleting);
                let CandidateLookup::Read(opportunity) = &state.opportunity else { panic!("passed on unread") };
                prop_assert!(opportunity.tags.contains(&"coderpad".into()) && !opportunity.archived);
            }
            Command::Done { outcome: Outcome::Open, .. } => {
                prop_assert!(state.pad.linked || state.pad.pad_id.is_some());
            }
            _ => {}
        }
    }

    /// Any links of a candidate cause no panic, and no call unless they lead to a pad.
    #[test]
    fn any_link_on_a_candidate_is_parsed_safely(link in "\\PC{0,60}") {
        let state = read(|o| o.links = vec![link.clone()]);
        if let Command::ReadLinkedPads(ids) = plan(&state) {
            prop_assert!(ids.iter().all(|id| !id.is_empty() && link.contains(id.as_str())));
        }
    }

    #[test]
    fn every_reason_parses_from_its_name(index in 0..Reason::ALL.len()) {
        let reason = Reason::ALL[index];
        prop_assert_eq!(Reason::parse(reason.as_str()), Some(reason));
    }
}
