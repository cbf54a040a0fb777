//! Tests of the tag of failing and long-waiting Pads: when it is added, removed and kept.

use super::*;
use crate::event::{Event, Fact};
use crate::rules::failure_tag::handled_tag;
use api::condition::{Conditions, Readiness};
use api::configuration::StatusTags;

/// A Pad that CoderPad has refused, with the candidate as judged in the same pass.
fn refused() -> PadState {
    with(|state| {
        state.opportunity = candidate(|_| {});
        state.error = Some(service_error(Service::Interview, ErrorKind::Invalid, Some(400)));
        let tags = StatusTags { failed: Some("failed".into()), ..StatusTags::default() };
        state.write_back = Some(WriteBack { tags, ..WriteBack::default() });
    })
}

fn refused_with(change: impl FnOnce(&mut PadState)) -> PadState {
    let mut state = refused();
    change(&mut state);
    state
}

/// A Pad whose tag was handled before.
fn flagged() -> PadState {
    refused_with(|f| {
        (f.pad.failed_tag, f.error) = (Some("failed".into()), None);
        f.opportunity = candidate(|o| o.tags.push("failed".into()));
    })
}

/// The next action as a short text.
fn action(state: &PadState, stands: PadHealth) -> String {
    let state = PadState { health: Some(stands), ..state.clone() };
    let decision = decide(&state);
    assert_eq!(decision.rule, "failure tag");
    match decision.command {
        Command::AddTags(tags) => format!("adds {tags:?}"),
        Command::RemoveTags(tags) => format!("removes {tags:?}"),
        Command::SetFinalizer(present) => format!("finalizer: {present}"),
        Command::Done { .. } => format!("status: {}", handled_tag(&state).as_deref().unwrap_or("none")),
        step => format!("{step:?}"),
    }
}

#[test]
fn a_stalled_or_long_waiting_pad_needs_attention() {
    let stands = |readiness, seconds| {
        let mut conditions = Conditions::new(&[], 1, Timestamp::UNIX_EPOCH);
        conditions.ready(readiness, Reason::Open, "message");
        PadHealth::from_conditions(&conditions.finish(), Timestamp::from_second(seconds).unwrap())
    };
    assert_eq!(stands(Readiness::Stalled, 0), PadHealth::Failing);
    assert_eq!(stands(Readiness::Reconciling, 599), PadHealth::Pending);
    assert_eq!(stands(Readiness::Reconciling, 600), PadHealth::Failing);
    assert_eq!(stands(Readiness::Ready, 6000), PadHealth::Healthy);
}

#[test]
fn the_tag_is_added_once_and_only_to_eligible_candidates() {
    assert_eq!(action(&refused(), PadHealth::Failing), "adds [\"failed\"]");
    assert_eq!(action(&refused(), PadHealth::Pending), "status: none");
    for (expected, state) in [
        ("ReadOpportunity", refused_with(|f| f.opportunity = CandidateLookup::NotRead)),
        ("status: failed", refused_with(|f| f.tags_written.push("failed".into()))),
        ("status: failed", refused_with(|f| f.opportunity = candidate(|o| o.tags.push("failed".into())))),
        ("status: failed", refused_with(|f| f.opportunity = candidate(|o| o.tags.clear()))),
        ("status: failed", refused_with(|f| f.opportunity = candidate(|o| o.stage = "offer".into()))),
        ("status: failed", refused_with(|f| f.opportunity = candidate(|o| o.archived = true))),
        ("status: failed", refused_with(|f| f.opportunity = candidate(|o| o.is_anonymized = true))),
        ("status: failed", refused_with(|f| f.opportunity = CandidateLookup::NotFound)),
        ("status: none", refused_with(|f| f.write_back = Some(WriteBack::default()))),
        ("status: none", refused_with(|f| f.write_back = None)),
        ("adds [\"failed\"]", refused_with(|f| f.configuration = configuration_not_ready())),
        (
            "status: failed",
            refused_with(|f| {
                f.configuration = configuration_not_ready();
                f.opportunity = candidate(|o| o.tags.clear());
            }),
        ),
        (
            "adds [\"failed\"]",
            refused_with(|f| {
                f.pad.manual = true;
                f.opportunity = candidate(|o| o.tags.clear());
            }),
        ),
    ] {
        assert_eq!(action(&state, PadHealth::Failing), expected);
    }
    let removed = refused_with(|f| f.pad.failed_tag = Some("failed".into()));
    assert_eq!(
        action(&removed, PadHealth::Failing),
        "status: failed",
        "a tag that a recruiter removes stays removed"
    );
}

#[test]
fn the_tag_waits_while_nothing_can_be_sent_and_is_not_retried_after_a_refusal() {
    let lever = |class| Some(service_error(Service::Lever, class, None));
    let name = || "acme".to_owned();
    let not_ready = || ConnectionState::NotReady { name: name(), reason: "R".into(), message: "m".into() };
    for (expected, state) in [
        ("status: none", refused_with(|f| f.connection = ConnectionState::Suspended { name: name() })),
        ("status: none", refused_with(|f| f.connection = not_ready())),
        ("status: none", refused_with(|f| f.configuration = RuleState::Suspended)),
        ("status: none", refused_with(|f| f.error = lever(ErrorKind::Unavailable))),
        ("status: none", refused_with(|f| f.failure_tag_error = lever(ErrorKind::Unavailable))),
        ("status: none", refused_with(|f| f.failure_tag_error = lever(ErrorKind::OutcomeUnknown))),
        ("status: none", refused_with(|f| f.pad.deleting = true)),
        ("status: failed", refused_with(|f| f.failure_tag_error = lever(ErrorKind::Forbidden))),
        ("status: failed", refused_with(|f| f.failure_tag_error = lever(ErrorKind::Invalid))),
    ] {
        assert_eq!(action(&state, PadHealth::Failing), expected);
    }
}

#[test]
fn the_tag_is_removed_from_healthy_pads_and_replaced_when_renamed() {
    assert_eq!(action(&flagged(), PadHealth::Failing), "status: failed");
    assert_eq!(action(&flagged(), PadHealth::Pending), "status: failed");
    assert_eq!(action(&flagged(), PadHealth::Healthy), "removes [\"failed\"]");
    let mut after = flagged();
    after.opportunity = candidate(|_| {});
    assert_eq!(action(&after, PadHealth::Healthy), "status: none");
    after.opportunity = CandidateLookup::NotFound;
    assert_eq!(action(&after, PadHealth::Healthy), "status: none");

    let mut renamed = flagged();
    let tags = StatusTags { failed: Some("error".into()), ..StatusTags::default() };
    renamed.write_back = Some(WriteBack { tags, ..WriteBack::default() });
    assert_eq!(action(&renamed, PadHealth::Failing), "removes [\"failed\"]");
    renamed.opportunity = candidate(|_| {});
    assert_eq!(action(&renamed, PadHealth::Failing), "adds [\"error\"]");
}

#[test]
fn the_finalizer_stays_until_the_policy_has_removed_the_tag() {
    let unlink = |f: &mut PadState| f.pad.deletion_policy = DeletionPolicy::Unlink;
    let mut state = refused_with(unlink);
    assert_eq!(action(&state, PadHealth::Failing), "finalizer: true", "before it is put on");
    state.pad.finalizer = true;
    assert_eq!(action(&state, PadHealth::Failing), "adds [\"failed\"]");

    let mut edited = flagged();
    unlink(&mut edited);
    assert_eq!(action(&edited, PadHealth::Failing), "finalizer: true", "the policy was edited");
    edited.pad.finalizer = true;
    assert_eq!(action(&edited, PadHealth::Failing), "status: failed");
    edited.opportunity = candidate(|_| {});
    assert_eq!(action(&edited, PadHealth::Healthy), "finalizer: false");

    let mut deleted = flagged();
    unlink(&mut deleted);
    (deleted.pad.deleting, deleted.pad.finalizer) = (true, true);
    assert!(matches!(plan(&deleted), Command::RemoveTags(tags) if tags == ["failed"]));
    deleted.connection = ConnectionState::Suspended { name: "acme".into() };
    assert!(matches!(plan(&deleted), Command::Done { .. }), "a broken connection delays it");
    deleted.pad.deletion_policy = DeletionPolicy::Retain;
    assert!(matches!(plan(&deleted), Command::SetFinalizer(false)), "the person lets go");
}

/// The tag has its own errors and its own backoff. Neither affects the outcome of the Pad.
#[test]
fn an_error_of_the_tag_is_no_error_of_the_pad() {
    let mut state = refused_with(|f| (f.error, f.health) = (None, Some(PadHealth::Failing)));
    let add = decide(&state).command;
    assert!(matches!(&add, Command::AddTags(tags) if tags == &["failed"]));
    let unavailable =
        || ServiceError::new(ErrorKind::Unavailable, Service::Lever, "POST /x", None, "details");
    let answer = Fact::LeverWrite { answer: Err(unavailable()) };
    assert!(state.apply(&add, Event { stored: None, result: Ok(answer) }));
    assert!(state.error.is_none() && matches!(state.failure_tag_error, Some(PassError::Service(_))));
    assert_eq!(action(&state, PadHealth::Failing), "status: none");

    let mut later = refused_with(|f| f.health = Some(PadHealth::Failing));
    later.failure_tag_backoff = Some(Duration::from_secs(9));
    let Command::Done { again, .. } = decide(&later).command else { panic!("a call during the backoff") };
    assert_eq!(again, later.failure_tag_backoff);
    assert_eq!(handled_tag(&later), None);
}

/// A 404 to the tag is confirmed like any other before it settles the tag (contract P7b).
#[test]
fn a_404_to_the_tag_is_confirmed() {
    let mut state = refused_with(|f| (f.error, f.health) = (None, Some(PadHealth::Failing)));
    let missing = || ServiceError::new(ErrorKind::NotFound, Service::Lever, "POST /x", Some(404), "details");
    let mut names = Vec::new();
    while let command = decide(&state).command
        && !matches!(command, Command::Done { .. })
    {
        names.push(command.name());
        let fact = match command {
            Command::AddTags(_) => Fact::LeverWrite { answer: Err(missing()) },
            _ => Fact::Candidate { answer: Err(missing()), shared: false },
        };
        state.apply(&command, Event { stored: None, result: Ok(fact) });
    }
    assert_eq!(names, ["add tags", "read opportunity", "read opportunity again"]);
    assert_eq!((handled_tag(&state), state.failure_tag_error.is_some()), (Some("failed".into()), false));
}
