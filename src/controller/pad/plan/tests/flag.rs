//! The tag of a pad that fails or waits long: when it is put on, and when it is left.

use super::*;
use crate::api::condition::{Conditions, Readiness};
use crate::api::configuration::StatusTags;
use crate::controller::pad::plan::failure_tag::{Flag, Stands, flag};

/// A Pad that CoderPad has refused, with the candidate as judged in the same pass.
fn refused() -> Facts {
    with(|facts| {
        facts.opportunity = candidate(|_| {});
        facts.trouble = Some(service_error(Service::Interview, Class::Invalid, Some(400)));
        let tags = StatusTags { failed: Some("failed".into()), ..StatusTags::default() };
        facts.write_back = Some(WriteBack { tags, ..WriteBack::default() });
    })
}

fn refused_with(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = refused();
    change(&mut facts);
    facts
}

/// One that was dealt with before.
fn flagged() -> Facts {
    refused_with(|f| {
        (f.pad.failed_tag, f.trouble) = (Some("failed".into()), None);
        f.opportunity = candidate(|o| o.tags.push("failed".into()));
    })
}

/// What is done, in one word.
fn told(facts: &Facts, stands: Stands) -> String {
    match flag(facts, stands) {
        Flag::Do(Step::AddTags(tags)) => format!("puts on {tags:?}"),
        Flag::Do(Step::RemoveTags(tags)) => format!("takes off {tags:?}"),
        Flag::Do(Step::SetFinalizer(present)) => format!("finalizer: {present}"),
        Flag::Do(step) => format!("{step:?}"),
        Flag::Settled(tag) => format!("settled: {}", tag.as_deref().unwrap_or("none")),
        Flag::Later => "later".into(),
    }
}

#[test]
fn a_halt_and_a_long_wait_call_a_person() {
    let stands = |readiness, seconds| {
        let mut conditions = Conditions::new(&[], 1, Timestamp::UNIX_EPOCH);
        conditions.ready(readiness, "Reason", "message");
        Stands::of(&conditions.finish(), Timestamp::from_second(seconds).unwrap())
    };
    assert_eq!(stands(Readiness::Stalled, 0), Stands::Badly);
    assert_eq!(stands(Readiness::Reconciling, 599), Stands::Underway);
    assert_eq!(stands(Readiness::Reconciling, 600), Stands::Badly);
    assert_eq!(stands(Readiness::Ready, 6000), Stands::Well);
}

#[test]
fn it_is_put_on_once_for_who_is_to_have_the_pad() {
    assert_eq!(told(&refused(), Stands::Badly), "puts on [\"failed\"]");
    assert_eq!(told(&refused(), Stands::Underway), "settled: none");
    for (expected, facts) in [
        ("ReadOpportunity", refused_with(|f| f.opportunity = Candidate::NotRead)),
        ("settled: failed", refused_with(|f| f.tags_written.push("failed".into()))),
        ("settled: failed", refused_with(|f| f.opportunity = candidate(|o| o.tags.push("failed".into())))),
        ("settled: failed", refused_with(|f| f.opportunity = candidate(|o| o.tags.clear()))),
        ("settled: failed", refused_with(|f| f.opportunity = candidate(|o| o.stage = "offer".into()))),
        ("settled: failed", refused_with(|f| f.opportunity = candidate(|o| o.archived = true))),
        ("settled: failed", refused_with(|f| f.opportunity = candidate(|o| o.is_anonymized = true))),
        ("settled: failed", refused_with(|f| f.opportunity = Candidate::NotFound)),
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
        assert_eq!(told(&facts, Stands::Badly), expected);
    }
    let taken_off = refused_with(|f| f.pad.failed_tag = Some("failed".into()));
    assert_eq!(told(&taken_off, Stands::Badly), "settled: failed", "what a recruiter takes off stays off");
}

#[test]
fn where_nothing_can_be_sent_it_waits_and_what_is_refused_is_not_asked_for_again() {
    let lever = |class| Some(service_error(Service::Lever, class, None));
    let name = || "acme".to_owned();
    let not_ready = || ConnectionFacts::NotReady { name: name(), reason: "R".into(), message: "m".into() };
    for (expected, facts) in [
        ("later", refused_with(|f| f.connection = ConnectionFacts::Suspended { name: name() })),
        ("later", refused_with(|f| f.connection = not_ready())),
        ("later", refused_with(|f| f.configuration = ConfigurationFacts::Suspended)),
        ("later", refused_with(|f| f.trouble = lever(Class::Unavailable))),
        ("later", refused_with(|f| f.flag_trouble = lever(Class::Unavailable))),
        ("later", refused_with(|f| f.flag_trouble = lever(Class::OutcomeUnknown))),
        ("later", refused_with(|f| f.pad.deleting = true)),
        ("settled: failed", refused_with(|f| f.flag_trouble = lever(Class::Forbidden))),
        ("settled: failed", refused_with(|f| f.flag_trouble = lever(Class::Invalid))),
    ] {
        assert_eq!(told(&facts, Stands::Badly), expected);
    }
}

#[test]
fn it_is_taken_off_when_all_is_well_and_exchanged_when_it_is_renamed() {
    assert_eq!(told(&flagged(), Stands::Badly), "settled: failed");
    assert_eq!(told(&flagged(), Stands::Underway), "settled: failed");
    assert_eq!(told(&flagged(), Stands::Well), "takes off [\"failed\"]");
    let mut after = flagged();
    after.opportunity = candidate(|_| {});
    assert_eq!(told(&after, Stands::Well), "settled: none");
    after.opportunity = Candidate::NotFound;
    assert_eq!(told(&after, Stands::Well), "settled: none");

    let mut renamed = flagged();
    let tags = StatusTags { failed: Some("error".into()), ..StatusTags::default() };
    renamed.write_back = Some(WriteBack { tags, ..WriteBack::default() });
    assert_eq!(told(&renamed, Stands::Badly), "takes off [\"failed\"]");
    renamed.opportunity = candidate(|_| {});
    assert_eq!(told(&renamed, Stands::Badly), "puts on [\"error\"]");
}

#[test]
fn a_pad_whose_policy_takes_the_tag_off_holds_on_until_that_is_done() {
    let unlink = |f: &mut Facts| f.pad.deletion_policy = DeletionPolicy::Unlink;
    let mut facts = refused_with(unlink);
    assert_eq!(told(&facts, Stands::Badly), "finalizer: true", "before it is put on");
    facts.pad.finalizer = true;
    assert_eq!(told(&facts, Stands::Badly), "puts on [\"failed\"]");

    let mut edited = flagged();
    unlink(&mut edited);
    assert_eq!(told(&edited, Stands::Badly), "finalizer: true", "the policy was edited");
    edited.pad.finalizer = true;
    assert_eq!(told(&edited, Stands::Badly), "settled: failed");
    edited.opportunity = candidate(|_| {});
    assert_eq!(told(&edited, Stands::Well), "finalizer: false");

    let mut deleted = flagged();
    unlink(&mut deleted);
    (deleted.pad.deleting, deleted.pad.finalizer) = (true, true);
    assert!(matches!(plan(&deleted), Step::RemoveTags(tags) if tags == ["failed"]));
    deleted.connection = ConnectionFacts::Suspended { name: "acme".into() };
    assert!(matches!(plan(&deleted), Step::Rest { .. }), "a broken connection delays it");
    deleted.pad.deletion_policy = DeletionPolicy::Retain;
    assert!(matches!(plan(&deleted), Step::SetFinalizer(false)), "the person lets go");
}
