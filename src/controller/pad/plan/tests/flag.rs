//! The tag of a pad that fails or waits long: when it is put on, and when it is left.

use super::*;
use crate::api::condition::{Conditions, Readiness};
use crate::api::configuration::StatusTags;
use crate::controller::pad::plan::failure_tag::{FailureTag, PadHealth, next_action};

/// A Pad that CoderPad has refused, with the candidate as judged in the same pass.
fn refused() -> PadState {
    with(|facts| {
        facts.opportunity = candidate(|_| {});
        facts.error = Some(service_error(Service::Interview, Class::Invalid, Some(400)));
        let tags = StatusTags { failed: Some("failed".into()), ..StatusTags::default() };
        facts.write_back = Some(WriteBack { tags, ..WriteBack::default() });
    })
}

fn refused_with(change: impl FnOnce(&mut PadState)) -> PadState {
    let mut facts = refused();
    change(&mut facts);
    facts
}

/// One that was dealt with before.
fn flagged() -> PadState {
    refused_with(|f| {
        (f.pad.failed_tag, f.error) = (Some("failed".into()), None);
        f.opportunity = candidate(|o| o.tags.push("failed".into()));
    })
}

/// What is done, in one word.
fn told(facts: &PadState, stands: PadHealth) -> String {
    match next_action(facts, stands) {
        FailureTag::Execute(Command::AddTags(tags)) => format!("puts on {tags:?}"),
        FailureTag::Execute(Command::RemoveTags(tags)) => format!("takes off {tags:?}"),
        FailureTag::Execute(Command::SetFinalizer(present)) => format!("finalizer: {present}"),
        FailureTag::Execute(step) => format!("{step:?}"),
        FailureTag::Settled(tag) => format!("settled: {}", tag.as_deref().unwrap_or("none")),
        FailureTag::Later => "later".into(),
    }
}

#[test]
fn a_halt_and_a_long_wait_call_a_person() {
    let stands = |readiness, seconds| {
        let mut conditions = Conditions::new(&[], 1, Timestamp::UNIX_EPOCH);
        conditions.ready(readiness, "Reason", "message");
        PadHealth::from_conditions(&conditions.finish(), Timestamp::from_second(seconds).unwrap())
    };
    assert_eq!(stands(Readiness::Stalled, 0), PadHealth::Failing);
    assert_eq!(stands(Readiness::Reconciling, 599), PadHealth::Pending);
    assert_eq!(stands(Readiness::Reconciling, 600), PadHealth::Failing);
    assert_eq!(stands(Readiness::Ready, 6000), PadHealth::Healthy);
}

#[test]
fn it_is_put_on_once_for_who_is_to_have_the_pad() {
    assert_eq!(told(&refused(), PadHealth::Failing), "puts on [\"failed\"]");
    assert_eq!(told(&refused(), PadHealth::Pending), "settled: none");
    for (expected, facts) in [
        ("ReadOpportunity", refused_with(|f| f.opportunity = CandidateLookup::NotRead)),
        ("settled: failed", refused_with(|f| f.tags_written.push("failed".into()))),
        ("settled: failed", refused_with(|f| f.opportunity = candidate(|o| o.tags.push("failed".into())))),
        ("settled: failed", refused_with(|f| f.opportunity = candidate(|o| o.tags.clear()))),
        ("settled: failed", refused_with(|f| f.opportunity = candidate(|o| o.stage = "offer".into()))),
        ("settled: failed", refused_with(|f| f.opportunity = candidate(|o| o.archived = true))),
        ("settled: failed", refused_with(|f| f.opportunity = candidate(|o| o.is_anonymized = true))),
        ("settled: failed", refused_with(|f| f.opportunity = CandidateLookup::NotFound)),
        ("settled: none", refused_with(|f| f.write_back = Some(WriteBack::default()))),
        ("settled: none", refused_with(|f| f.write_back = None)),
        ("puts on [\"failed\"]", refused_with(|f| f.configuration = configuration_not_ready())),
        (
            "settled: failed",
            refused_with(|f| {
                f.configuration = configuration_not_ready();
                f.opportunity = candidate(|o| o.tags.clear());
            }),
        ),
        (
            "puts on [\"failed\"]",
            refused_with(|f| {
                f.pad.manual = true;
                f.opportunity = candidate(|o| o.tags.clear());
            }),
        ),
    ] {
        assert_eq!(told(&facts, PadHealth::Failing), expected);
    }
    let taken_off = refused_with(|f| f.pad.failed_tag = Some("failed".into()));
    assert_eq!(
        told(&taken_off, PadHealth::Failing),
        "settled: failed",
        "what a recruiter takes off stays off"
    );
}

#[test]
fn where_nothing_can_be_sent_it_waits_and_what_is_refused_is_not_asked_for_again() {
    let lever = |class| Some(service_error(Service::Lever, class, None));
    let name = || "acme".to_owned();
    let not_ready = || ConnectionState::NotReady { name: name(), reason: "R".into(), message: "m".into() };
    for (expected, facts) in [
        ("later", refused_with(|f| f.connection = ConnectionState::Suspended { name: name() })),
        ("later", refused_with(|f| f.connection = not_ready())),
        ("later", refused_with(|f| f.configuration = RuleState::Suspended)),
        ("later", refused_with(|f| f.error = lever(Class::Unavailable))),
        ("later", refused_with(|f| f.failure_tag_error = lever(Class::Unavailable))),
        ("later", refused_with(|f| f.failure_tag_error = lever(Class::OutcomeUnknown))),
        ("later", refused_with(|f| f.pad.deleting = true)),
        ("settled: failed", refused_with(|f| f.failure_tag_error = lever(Class::Forbidden))),
        ("settled: failed", refused_with(|f| f.failure_tag_error = lever(Class::Invalid))),
    ] {
        assert_eq!(told(&facts, PadHealth::Failing), expected);
    }
}

#[test]
fn it_is_taken_off_when_all_is_well_and_exchanged_when_it_is_renamed() {
    assert_eq!(told(&flagged(), PadHealth::Failing), "settled: failed");
    assert_eq!(told(&flagged(), PadHealth::Pending), "settled: failed");
    assert_eq!(told(&flagged(), PadHealth::Healthy), "takes off [\"failed\"]");
    let mut after = flagged();
    after.opportunity = candidate(|_| {});
    assert_eq!(told(&after, PadHealth::Healthy), "settled: none");
    after.opportunity = CandidateLookup::NotFound;
    assert_eq!(told(&after, PadHealth::Healthy), "settled: none");

    let mut renamed = flagged();
    let tags = StatusTags { failed: Some("error".into()), ..StatusTags::default() };
    renamed.write_back = Some(WriteBack { tags, ..WriteBack::default() });
    assert_eq!(told(&renamed, PadHealth::Failing), "takes off [\"failed\"]");
    renamed.opportunity = candidate(|_| {});
    assert_eq!(told(&renamed, PadHealth::Failing), "puts on [\"error\"]");
}

#[test]
fn a_pad_whose_policy_takes_the_tag_off_holds_on_until_that_is_done() {
    let unlink = |f: &mut PadState| f.pad.deletion_policy = DeletionPolicy::Unlink;
    let mut facts = refused_with(unlink);
    assert_eq!(told(&facts, PadHealth::Failing), "finalizer: true", "before it is put on");
    facts.pad.finalizer = true;
    assert_eq!(told(&facts, PadHealth::Failing), "puts on [\"failed\"]");

    let mut edited = flagged();
    unlink(&mut edited);
    assert_eq!(told(&edited, PadHealth::Failing), "finalizer: true", "the policy was edited");
    edited.pad.finalizer = true;
    assert_eq!(told(&edited, PadHealth::Failing), "settled: failed");
    edited.opportunity = candidate(|_| {});
    assert_eq!(told(&edited, PadHealth::Healthy), "finalizer: false");

    let mut deleted = flagged();
    unlink(&mut deleted);
    (deleted.pad.deleting, deleted.pad.finalizer) = (true, true);
    assert!(matches!(plan(&deleted), Command::RemoveTags(tags) if tags == ["failed"]));
    deleted.connection = ConnectionState::Suspended { name: "acme".into() };
    assert!(matches!(plan(&deleted), Command::Done { .. }), "a broken connection delays it");
    deleted.pad.deletion_policy = DeletionPolicy::Retain;
    assert!(matches!(plan(&deleted), Command::SetFinalizer(false)), "the person lets go");
}
