//! What a candidate who was met in a walk leads to, for one rule: pure. The rules about repetition and about who was
//! there before are the plan's; what it would decide otherwise must not be asked for, or it would be asked each time.

use super::lever::Row;
use crate::api::configuration::{Existing, Repeat};
use crate::api::pad::{Phase, TriggerSource};
use crate::api::{HasConditions, Pad, condition, names};
use crate::controller::pad::Reason;
use crate::controller::pad::series::{self, Member, Verdict};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use std::sync::Arc;

/// A webhook may be under way so long.
const GRACE: SignedDuration = SignedDuration::from_mins(2);
/// Lever's clock and that of a delivery differ by no more.
const CLOCKS: SignedDuration = SignedDuration::from_mins(1);

/// What a configuration says, as far as sync cares.
#[derive(Clone, Debug)]
pub struct Rule {
    /// When a further pad is made.
    pub repeat: Repeat,
    /// What those get who were there before.
    pub existing: Existing,
    /// When the rule took effect.
    pub since: Timestamp,
    /// Whether it is known who was there before.
    pub is_settled: bool,
    /// How long a Skipped Pad tells that its webhook arrived.
    pub kept_skipped: SignedDuration,
}

/// What is to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Deed {
    /// Nothing.
    Nothing,
    /// Make a Pad of the candidate.
    Make {
        /// Its number.
        n: u32,
        /// Whether the candidate was there before the rule took effect, and is to be skipped for that.
        existing: bool,
    },
    /// Have the Pad of this name judged again.
    Judge(String),
    /// The same, but the candidate was there before the rule took effect, and is to be skipped for that.
    Skip(String),
}

/// What a candidate leads to. `pads` are those of the candidate by the rule's configuration.
pub fn deed(rule: &Rule, row: &Row, pads: &[Arc<Pad>]) -> Deed {
    if !row.is_free {
        return Deed::Nothing;
    }
    let is_skipped = !rule.is_settled && row.entry <= rule.since && rule.existing == Existing::Skip;
    let series: Vec<Member> = pads.iter().map(|pad| Member::of(pad)).collect();
    match series::next(&series, row.entry, rule.repeat) {
        Verdict::Nothing => Deed::Nothing,
        Verdict::Judge(name) => match pads.iter().find(|pad| pad.name_any() == name) {
            Some(pad) if is_skipped && existing_since(pad) != Some(rule.since) => Deed::Skip(name),
            Some(pad) if is_worth_judging(rule, row, pad) => Deed::Judge(name),
            _ => Deed::Nothing,
        },
        Verdict::Make(n) => {
            let served = series.into_iter().filter(|member| member.is_served() && !is_skipped);
            let newest = served.max_by_key(|member| (member.number, member.made_at));
            newest.map_or(Deed::Make { n, existing: is_skipped }, |newest| Deed::Judge(newest.name))
        }
    }
}

/// Whether a Pad that came to nothing may fare better now that its candidate is in the stage with the tag.
fn is_worth_judging(rule: &Rule, row: &Row, pad: &Pad) -> bool {
    let reason = pad.status.as_ref().and_then(|status| status.reason.as_deref());
    if pad.phase() == Some(Phase::Failed) {
        // Only what is mended, or another entry, changes that.
        let ready = condition::find(pad.conditions(), condition::types::READY);
        return ready.is_some_and(|ready| row.entry > ready.last_transition_time);
    }
    // The other installation has the pad of this entry; a later one is another matter.
    if reason == Some(Reason::OwnedByAnotherInstallation.as_str()) {
        let entry = pad.status.as_ref().and_then(|status| status.entry_at);
        return entry.is_none_or(|entry| row.entry > entry);
    }
    if reason != Some(Reason::BeforeConfiguration.as_str()) || rule.existing == Existing::Create {
        return reason != Some(Reason::BeforeConfiguration.as_str());
    }
    let of_another_rule = existing_since(pad).is_some_and(|since| since != rule.since);
    row.entry > rule.since || (of_another_rule && rule.is_settled)
}

fn existing_since(pad: &Pad) -> Option<Timestamp> {
    pad.annotations().get(names::EXISTING_SINCE)?.parse().ok()
}

/// Whether a candidate of whom there is news should have been told of by a webhook, and was not. Only what nothing else
/// explains counts: not a late tag, not who was there before, nor who was made in the stage.
pub fn is_missed(rule: &Rule, row: &Row, pads: &[Arc<Pad>], now: Timestamp) -> bool {
    let age = now.duration_since(row.entry);
    let was_moved =
        row.made_at.is_none_or(|made_at| row.entry.duration_since(made_at) > SignedDuration::from_secs(1));
    let is_told = pads.iter().any(|pad| tells_of(pad, row.entry));
    row.entry > rule.since && age >= GRACE && age < rule.kept_skipped && was_moved && !is_told
}

/// Whether a webhook that a Pad knows of was sent for this entry, or a later one.
fn tells_of(pad: &Pad, entry: Timestamp) -> bool {
    let made_by = Some(&pad.spec.trigger)
        .filter(|trigger| trigger.source == TriggerSource::Webhook)
        .and_then(|trigger| trigger.at);
    let tells = |at: Timestamp| at.duration_since(entry) >= -CLOCKS;
    let asked = pad.annotations().get(names::RECONCILE_REQUESTED_AT);
    // What a person asks takes the place of what a delivery asked.
    let asks = asked.is_some_and(|asked| match names::delivered_at(asked) {
        Some(at) => Timestamp::from_millisecond(at).is_ok_and(tells),
        None => true,
    });
    asks || made_by.is_some_and(tells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + 60 * minute).unwrap()
    }

    fn rule() -> Rule {
        Rule {
            repeat: Repeat::AfterEnd,
            existing: Existing::Skip,
            since: at(0),
            is_settled: true,
            kept_skipped: SignedDuration::from_hours(24),
        }
    }

    fn row(minute: i64) -> Row {
        Row { id: "op-1".into(), entry: at(minute), made_at: Some(at(-900)), is_free: true }
    }

    /// A Pad whose status was decided in minute 20.
    fn pad(n: u32, annotations: Value, trigger: Value, status: Value) -> Arc<Pad> {
        let mut status = status;
        status["observedGeneration"] = json!(1);
        status["conditions"] = json!([{"type": "Ready", "status": "True", "reason": "R", "message": "",
            "observedGeneration": 1, "lastTransitionTime": at(20)}]);
        let pad = serde_json::from_value(json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad",
            "metadata": {"name": names::pad_name("c", "op-1", n), "annotations": annotations, "creationTimestamp": at(1)},
            "spec": {"configurationRef": {"name": "c"}, "opportunityID": "op-1", "trigger": trigger}, "status": status,
        }));
        Arc::new(pad.unwrap())
    }

    fn skipped(reason: &str) -> Arc<Pad> {
        pad(1, json!({}), json!({"source": "Sync"}), json!({"phase": "Skipped", "reason": reason}))
    }

    fn judge(n: u32) -> Deed {
        Deed::Judge(names::pad_name("c", "op-1", n))
    }

    #[test]
    fn who_has_no_pad_gets_one_and_who_was_there_before_is_marked() {
        let first = Rule { is_settled: false, ..rule() };
        let create = Rule { existing: Existing::Create, ..first.clone() };
        for (rule, entry, existing) in [
            (&first, -1, true),
            (&first, 0, true),
            (&first, 1, false),
            (&rule(), -1, false),
            (&create, -1, false),
        ] {
            assert_eq!(deed(rule, &row(entry), &[]), Deed::Make { n: 1, existing }, "{rule:?}, {entry}");
        }
        assert_eq!(deed(&rule(), &Row { is_free: false, ..row(1) }, &[]), Deed::Nothing);
    }

    #[test]
    fn who_came_to_nothing_is_judged_again_where_that_can_change_anything() {
        for reason in ["TagMissing", "StageChanged", "CandidateArchived", "CandidateNotFound"] {
            assert_eq!(deed(&rule(), &row(5), &[skipped(reason)]), judge(1), "{reason}");
        }
        assert_eq!(deed(&rule(), &row(5), &[skipped("Cancelled")]), Deed::Nothing);
        let before = skipped("BeforeConfiguration");
        assert_eq!(deed(&rule(), &row(-5), std::slice::from_ref(&before)), Deed::Nothing);
        assert_eq!(deed(&rule(), &row(5), &[before]), judge(1));
        let marked = |since: i64| {
            let status = json!({"phase": "Skipped", "reason": "BeforeConfiguration"});
            [pad(1, json!({names::EXISTING_SINCE: at(since)}), json!({}), status)]
        };
        assert_eq!(deed(&rule(), &row(-5), &marked(0)), Deed::Nothing);
        assert_eq!(deed(&rule(), &row(-5), &marked(-3)), judge(1), "the rule has changed since");
        let first = Rule { is_settled: false, ..rule() };
        let name = names::pad_name("c", "op-1", 1);
        assert_eq!(
            deed(&first, &row(-5), &[skipped("TagMissing")]),
            Deed::Skip(name),
            "there before the rule"
        );
        assert_eq!(deed(&first, &row(-5), &marked(0)), Deed::Nothing);
        let failed = [pad(1, json!({}), json!({}), json!({"phase": "Failed", "reason": "InvalidRequest"}))];
        assert_eq!(deed(&rule(), &row(5), &failed), Deed::Nothing);
        assert_eq!(deed(&rule(), &row(25), &failed), judge(1));
    }

    #[test]
    fn a_newer_entry_has_the_newest_pad_judged() {
        let ended = |n, end: i64| {
            let status = json!({"phase": "Ended", "entryAt": at(1), "endedAt": at(end)});
            pad(n, json!({}), json!({}), status)
        };
        assert_eq!(deed(&rule(), &row(9), &[ended(1, 10)]), Deed::Nothing);
        assert_eq!(deed(&rule(), &row(30), &[ended(2, 20), ended(1, 10)]), judge(2));
        let first = Rule { is_settled: false, since: at(40), ..rule() };
        assert_eq!(deed(&first, &row(30), &[ended(1, 10)]), Deed::Make { n: 2, existing: true });
        let open = [pad(1, json!({}), json!({}), json!({"phase": "Open", "entryAt": at(1)}))];
        assert_eq!(deed(&rule(), &row(30), &open), Deed::Nothing);
        assert_eq!(deed(&Rule { repeat: Repeat::Always, ..rule() }, &row(30), &open), judge(1));
    }

    #[test]
    fn only_what_nothing_else_explains_is_a_missed_delivery() {
        let missed = |row: &Row, pads: &[Arc<Pad>]| is_missed(&rule(), row, pads, at(10));
        assert!(missed(&row(5), &[]));
        assert!(!missed(&row(9), &[]), "the webhook may be under way");
        assert!(!missed(&row(-5), &[]), "there before the rule");
        assert!(!is_missed(&rule(), &row(5), &[], at(5 + 24 * 60)), "what told of it may have been deleted");
        assert!(!missed(&Row { made_at: Some(at(5)), ..row(5) }, &[]), "made in the stage");

        let by_webhook = |minute: i64| {
            let trigger = json!({"source": "Webhook", "at": at(minute)});
            [pad(1, json!({}), trigger, json!({"phase": "Skipped", "reason": "TagMissing"}))]
        };
        assert!(!missed(&row(5), &by_webhook(5)), "a late tag");
        assert!(missed(&row(5), &by_webhook(2)), "a newer entry");
        let asked = |text: String| {
            let annotations = json!({names::RECONCILE_REQUESTED_AT: text});
            [pad(
                1,
                annotations,
                json!({"source": "Sync"}),
                json!({"phase": "Skipped", "reason": "TagMissing"}),
            )]
        };
        assert!(!missed(&row(5), &asked(format!("{}-abcdefgh", at(5).as_millisecond()))));
        assert!(missed(&row(5), &asked(format!("{}-abcdefgh", at(2).as_millisecond()))));
        assert!(!missed(&row(5), &asked("a person".into())));
    }
}
