//! Chooses the action for a candidate who was found in a scan, for one rule: pure. The rules of a Pad decide
//! about repeats and existing candidates; sync must not request a Pad that they would decide differently, or each
//! sync would request it again.

use crate::series::{self, Progress, RepeatDecision, SeriesMember};
use crate::stage;
use api::configuration::{Existing, Repeat};
use api::connection::Stage;
use api::pad::{Phase, TriggerSource};
use api::reason::Reason;
use api::served_stage_entries::{self, Fingerprint};
use api::{HasConditions, Pad, PadConfiguration, condition, names};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use services::lever::Opportunity;
use std::collections::HashMap;
use std::sync::Arc;

/// Maximum time that a webhook may be in flight.
const DELIVERY_GRACE: SignedDuration = SignedDuration::from_mins(2);
/// Maximum difference between Lever's clock and the time of a delivery.
const MAX_CLOCK_DIFFERENCE: SignedDuration = SignedDuration::from_mins(1);

/// A candidate who was found in a scan.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListedCandidate {
    /// ID of the opportunity.
    pub id: String,
    /// Time of the last entry into the stage of the scan.
    pub entry: Timestamp,
    /// When the opportunity was created.
    pub created_at: Option<Timestamp>,
    /// Whether the candidate is eligible for a pad at all. The list may be older than Lever's data of each candidate.
    pub is_free: bool,
}

impl ListedCandidate {
    /// Returns the row of a candidate who has entered the stage; none if the entry has no time.
    pub fn from_opportunity(opportunity: &Opportunity, stage_id: &str) -> Option<Self> {
        let Opportunity { archived, confidential, is_anonymized, created_at_ms, .. } = opportunity;
        // 0 stands for an entry whose time the row does not contain.
        let entry = Some(opportunity.entry_into(stage_id)).filter(|at| *at > 0)?;
        Some(Self {
            id: opportunity.id.clone(),
            entry: Timestamp::from_millisecond(entry).ok()?,
            created_at: created_at_ms.and_then(|at| Timestamp::from_millisecond(at).ok()),
            is_free: !archived && !confidential && !is_anonymized && opportunity.stage == stage_id,
        })
    }
}

/// Whether a row of a list belongs to the stage and tag that the list was requested for. The service's filters are not
/// relied on (contract S2a).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ListingMatch {
    /// The candidate is in the stage, has the tag and is not archived.
    Full,
    /// The candidate is in the stage and not archived, but does not have the tag.
    TagMissing,
    /// The candidate is in another stage, or archived.
    Elsewhere,
}

impl ListingMatch {
    /// Compares a row with a stage and a tag.
    pub fn of(opportunity: &Opportunity, stage_id: &str, tag: &str) -> Self {
        if opportunity.archived || opportunity.stage != stage_id {
            return Self::Elsewhere;
        }
        if opportunity.tags.iter().any(|own| own == tag) { Self::Full } else { Self::TagMissing }
    }
}

/// The settings of a configuration that sync uses.
#[derive(Clone, Debug)]
pub struct BackfillRule {
    /// When a repeat of the stage entry leads to another pad.
    pub repeat: Repeat,
    /// Whether existing candidates get a pad.
    pub existing: Existing,
    /// When the rule took effect.
    pub since: Timestamp,
    /// Whether sync has identified the existing candidates of the rule.
    pub is_settled: bool,
    /// Time for which a Skipped Pad is kept and shows that its webhook arrived.
    pub kept_skipped: SignedDuration,
}

impl BackfillRule {
    /// Returns the settings of a configuration, if it creates pads now: it is Ready, not suspended, and no other of
    /// `configurations` takes precedence for its stage. `stages` are the stages of the account.
    pub fn from_configuration<'a>(
        configuration: &PadConfiguration,
        configurations: impl IntoIterator<Item = &'a PadConfiguration>,
        stages: &[Stage],
    ) -> Option<Self> {
        let (status, spec) = (configuration.status.as_ref()?, &configuration.spec);
        let is_current = Some(status.observed_generation) == configuration.metadata.generation;
        let is_ready = condition::is_true(configuration.conditions(), condition::types::READY);
        let gives_way = stage::conflict(configuration, configurations, stages).is_some();
        (is_current && is_ready && !gives_way && !spec.suspend).then_some(Self {
            repeat: spec.repeat,
            existing: spec.existing,
            since: status.effective_since?,
            is_settled: status.existing_is_settled(),
            kept_skipped: SignedDuration::from_secs(spec.ttl_seconds_after_skipped),
        })
    }
}

/// Action for a candidate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BackfillAction {
    /// No action.
    Nothing,
    /// Create a Pad for the candidate.
    Make {
        /// Number of the Pad.
        n: u32,
        /// Whether the candidate was in the stage before the rule took effect, and must be skipped for that reason.
        existing: bool,
    },
    /// Reconcile the Pad of this name again.
    Judge(String),
    /// The same, but the candidate was in the stage before the rule took effect, and must be skipped for that reason.
    Skip(String),
}

/// Returns the action for a candidate. `pads` are the candidate's Pads of the rule's configuration, including Pads that
/// are being deleted; `served_entries` is the value in the configuration's status.
pub fn backfill_action(
    rule: &BackfillRule,
    row: &ListedCandidate,
    pads: &[Arc<Pad>],
    served_entries: Option<&str>,
) -> BackfillAction {
    let is_terminating = |pad: &Arc<Pad>| pad.metadata.deletion_timestamp.is_some();
    // A Pad that is being deleted may have had the pad of this entry; its deletion stores that (contract P9).
    let is_served = || served_stage_entries::contains(served_entries, &row.id, row.entry, Some(rule.since));
    if !row.is_free || pads.iter().any(is_terminating) || is_served() {
        return BackfillAction::Nothing;
    }
    let was_before = !rule.is_settled && row.entry <= rule.since && rule.existing == Existing::Skip;
    let series: Vec<SeriesMember> = pads.iter().map(|pad| SeriesMember::from_pad(pad)).collect();
    match series::repeat_decision(&series, row.entry, rule.repeat) {
        RepeatDecision::NoPad => BackfillAction::Nothing,
        RepeatDecision::Judge(name) => match pads.iter().find(|pad| pad.name_any() == name) {
            // Only a Pad that sync created for an existing candidate stays skipped as one (contract P10).
            Some(pad)
                if was_before
                    && existing_since(pad).is_some_and(|since| since != rule.since)
                    && is_skipped_as_before(pad) =>
            {
                BackfillAction::Skip(name)
            }
            Some(pad) if should_rejudge(rule, row, pad) => BackfillAction::Judge(name),
            _ => BackfillAction::Nothing,
        },
        RepeatDecision::Create(n) => {
            let served = series.into_iter().filter(SeriesMember::is_served);
            let newest = served.max_by_key(|member| (member.number, member.created_at));
            newest.map_or(BackfillAction::Make { n, existing: was_before }, |newest| {
                BackfillAction::Judge(newest.name)
            })
        }
    }
}

/// Returns the served entries for the configuration's status after a scan (contract P9). `pads` are the Pads of the
/// configuration by opportunity, including those that were created for the scan; `shows_absence` says whether a
/// candidate who is not among the rows is certainly not in the list.
pub fn served_after(
    rule: &BackfillRule,
    rows: &[ListedCandidate],
    shows_absence: bool,
    pads: &HashMap<&str, Vec<Arc<Pad>>>,
    entries: Option<&str>,
) -> Option<String> {
    let newly_served = rows.iter().filter_map(|row| {
        let known = pads.get(row.id.as_str()).map(Vec::as_slice).unwrap_or_default();
        served(rule, row, known)
    });
    if !shows_absence {
        return served_stage_entries::add(entries, newly_served);
    }
    let fingerprints = |row: &ListedCandidate| {
        [Fingerprint::new(&row.id, row.entry), Fingerprint::existing(&row.id, row.entry, rule.since)]
    };
    served_stage_entries::after_scan(entries, &rows.iter().flat_map(fingerprints).collect(), newly_served)
}

/// Returns the fingerprint of an entry that stays served if its Pad is deleted (contract P9): it had its pad, or a
/// person ended the Pad before there was one, or there is none because the candidate was in the stage before the rule
/// took effect.
pub fn served(rule: &BackfillRule, row: &ListedCandidate, pads: &[Arc<Pad>]) -> Option<Fingerprint> {
    let has_pad = |pad: &Arc<Pad>| {
        let member = SeriesMember::from_pad(pad);
        match member.progress {
            // The interview of the pad may have ended before this entry, without being detected yet (contract P3d).
            Progress::Open { entry } if rule.repeat != Repeat::Never => row.entry <= entry,
            _ => member.is_served() && member.serves(row.entry, rule.repeat),
        }
    };
    if pads.iter().any(has_pad) {
        return Some(Fingerprint::new(&row.id, row.entry));
    }
    let is_before = |pad: &Arc<Pad>| {
        is_created_as_before(rule, pad) || (is_skipped_as_before(pad) && !should_rejudge(rule, row, pad))
    };
    pads.iter().any(is_before).then(|| Fingerprint::existing(&row.id, row.entry, rule.since))
}

/// Reports whether sync has just created the Pad, for a candidate who was in the stage before the rule took effect. A
/// webhook may have created one at the same time: that Pad is not "before" (contract P10).
fn is_created_as_before(rule: &BackfillRule, pad: &Pad) -> bool {
    pad.phase().is_none() && existing_since(pad) == Some(rule.since)
}

fn is_skipped_as_before(pad: &Pad) -> bool {
    let reason = pad.status.as_ref().and_then(|status| status.reason.as_deref());
    pad.phase() == Some(Phase::Skipped) && reason == Some(Reason::BeforeConfiguration.as_str())
}

/// Reports whether a Pad without a pad may get one now that its candidate is in the stage with the tag.
fn should_rejudge(rule: &BackfillRule, row: &ListedCandidate, pad: &Pad) -> bool {
    let status = pad.status.as_ref();
    let judged_entry = status.and_then(|status| status.judged_entry_at);
    let is_new_entry = judged_entry.is_some_and(|judged| row.entry > judged);
    if pad.phase() == Some(Phase::Failed) {
        // Only a fix or another entry changes that.
        return is_new_entry;
    }
    match status.and_then(|status| status.reason.as_deref()).and_then(Reason::parse) {
        Some(Reason::BeforeConfiguration) if rule.existing == Existing::Create => false,
        Some(Reason::BeforeConfiguration) => {
            let of_another_rule = existing_since(pad).is_some_and(|since| since != rule.since);
            is_new_entry || row.entry > rule.since || (of_another_rule && rule.is_settled)
        }
        Some(Reason::AlreadyServed) => is_new_entry,
        // The other installation has the pad of this entry; a later entry is separate.
        Some(Reason::OwnedByAnotherInstallation) => {
            status.and_then(|status| status.entry_at).is_none_or(|entry| row.entry > entry)
        }
        _ => true,
    }
}

fn existing_since(pad: &Pad) -> Option<Timestamp> {
    pad.annotations().get(names::EXISTING_SINCE)?.parse().ok()
}

/// Reports whether a webhook for the entry of a candidate with changes should have arrived, and did not. Only entries
/// without another explanation count: not a late tag, not an existing candidate, nor a candidate who was created in the
/// stage.
pub fn missed_delivery(
    rule: &BackfillRule,
    row: &ListedCandidate,
    pads: &[Arc<Pad>],
    now: Timestamp,
) -> bool {
    let age = now.duration_since(row.entry);
    let was_moved =
        row.created_at.is_none_or(|made_at| row.entry.duration_since(made_at) > SignedDuration::from_secs(1));
    let is_told = pads.iter().any(|pad| contains_entry(pad, row.entry));
    row.entry > rule.since && age >= DELIVERY_GRACE && age < rule.kept_skipped && was_moved && !is_told
}

/// Reports whether a webhook that the Pad records was sent for this entry, or a later one.
fn contains_entry(pad: &Pad, entry: Timestamp) -> bool {
    let made_by = Some(&pad.spec.trigger)
        .filter(|trigger| trigger.source == TriggerSource::Webhook)
        .and_then(|trigger| trigger.at);
    let tells = |at: Timestamp| at.duration_since(entry) >= -MAX_CLOCK_DIFFERENCE;
    let asked = pad.annotations().get(names::RECONCILE_REQUESTED_AT);
    // A request from a person replaces the request from a delivery.
    let asks = asked.is_some_and(|asked| match names::delivered_at(asked) {
        Some(at) => Timestamp::from_millisecond(at).is_ok_and(tells),
        None => true,
    });
    asks || made_by.is_some_and(tells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};
    use services::{AnswerPart, Oddities};

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + 60 * minute).unwrap()
    }

    fn rule() -> BackfillRule {
        BackfillRule {
            repeat: Repeat::AfterEnd,
            existing: Existing::Skip,
            since: at(0),
            is_settled: true,
            kept_skipped: SignedDuration::from_hours(24),
        }
    }

    fn row(minute: i64) -> ListedCandidate {
        ListedCandidate { id: "op-1".into(), entry: at(minute), created_at: Some(at(-900)), is_free: true }
    }

    /// Returns a Pad whose status was decided in minute 20.
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

    fn judge(n: u32) -> BackfillAction {
        BackfillAction::Judge(names::pad_name("c", "op-1", n))
    }

    // contract S2a
    #[rstest]
    #[case::of_the_rule(json!({}), ListingMatch::Full)]
    #[case::untagged(json!({"tags": []}), ListingMatch::TagMissing)]
    #[case::tag_in_another_case(json!({"tags": ["CoderPad"]}), ListingMatch::TagMissing)]
    #[case::in_another_stage(json!({"stage": "s-2"}), ListingMatch::Elsewhere)]
    #[case::archived(json!({"archived": {"archivedAt": 1}}), ListingMatch::Elsewhere)]
    #[case::confidential(json!({"confidentiality": "confidential"}), ListingMatch::Full)]
    fn rows_are_checked_against_stage_and_tag(#[case] fields: Value, #[case] expected: ListingMatch) {
        let mut row =
            json!({"id": "op-1", "stage": "s-1", "tags": ["backend", "coderpad"], "archived": null});
        row.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let (answer, odd) = (json!({"data": row}), Oddities::default());
        let part = AnswerPart::whole(&answer, &odd);
        let row = services::lever::opportunity(&part.member("data").unwrap()).unwrap();
        assert_eq!(ListingMatch::of(&row, "s-1", "coderpad"), expected);
    }

    #[test]
    fn new_candidates_get_a_pad_and_existing_ones_an_annotation() {
        let first = BackfillRule { is_settled: false, ..rule() };
        let create = BackfillRule { existing: Existing::Create, ..first.clone() };
        for (rule, entry, existing) in [
            (&first, -1, true),
            (&first, 0, true),
            (&first, 1, false),
            (&rule(), -1, false),
            (&create, -1, false),
        ] {
            assert_eq!(
                backfill_action(rule, &row(entry), &[], None),
                BackfillAction::Make { n: 1, existing },
                "{rule:?}, {entry}"
            );
        }
        assert_eq!(
            backfill_action(&rule(), &ListedCandidate { is_free: false, ..row(1) }, &[], None),
            BackfillAction::Nothing
        );
    }

    #[test]
    fn failed_and_skipped_pads_are_judged_again_if_that_can_change_the_result() {
        for reason in ["TagMissing", "StageChanged", "CandidateArchived", "CandidateNotFound"] {
            assert_eq!(backfill_action(&rule(), &row(5), &[skipped(reason)], None), judge(1), "{reason}");
        }
        assert_eq!(backfill_action(&rule(), &row(5), &[skipped("Cancelled")], None), BackfillAction::Nothing);
        let before = skipped("BeforeConfiguration");
        assert_eq!(
            backfill_action(&rule(), &row(-5), std::slice::from_ref(&before), None),
            BackfillAction::Nothing
        );
        assert_eq!(backfill_action(&rule(), &row(5), &[before], None), judge(1));
        let marked = |since: i64| {
            let status = json!({"phase": "Skipped", "reason": "BeforeConfiguration"});
            [pad(1, json!({names::EXISTING_SINCE: at(since)}), json!({}), status)]
        };
        assert_eq!(backfill_action(&rule(), &row(-5), &marked(0), None), BackfillAction::Nothing);
        assert_eq!(
            backfill_action(&rule(), &row(-5), &marked(-3), None),
            judge(1),
            "the rule has changed since"
        );
        let first = BackfillRule { is_settled: false, ..rule() };
        let name = names::pad_name("c", "op-1", 1);
        assert_eq!(
            backfill_action(&first, &row(-5), &[skipped("TagMissing")], None),
            judge(1),
            "it was there before"
        );
        assert_eq!(
            backfill_action(&first, &row(-5), &marked(-3), None),
            BackfillAction::Skip(name),
            "of the rule before"
        );
        assert_eq!(backfill_action(&first, &row(-5), &marked(0), None), BackfillAction::Nothing);
        let failed = |judged: i64| {
            let status = json!({"phase": "Failed", "reason": "InvalidRequest", "judgedEntryAt": at(judged)});
            [pad(1, json!({}), json!({}), status)]
        };
        // Once for each entry, whatever the transition times of the conditions are.
        assert_eq!(backfill_action(&rule(), &row(25), &failed(25), None), BackfillAction::Nothing);
        assert_eq!(backfill_action(&rule(), &row(26), &failed(25), None), judge(1));
        let again = |reason: &str, judged: i64| {
            let status = json!({"phase": "Skipped", "reason": reason, "judgedEntryAt": at(judged)});
            backfill_action(&rule(), &row(-5), &[pad(1, json!({}), json!({}), status)], None)
        };
        assert_eq!(again("AlreadyServed", -5), BackfillAction::Nothing);
        assert_eq!(again("AlreadyServed", -6), judge(1));
        assert_eq!(again("BeforeConfiguration", -5), BackfillAction::Nothing);
        assert_eq!(again("BeforeConfiguration", -6), judge(1), "another entry");
    }

    #[test]
    fn a_served_entry_stays_served_without_its_pad() {
        let status = |phase: &str, reason: &str| json!({"phase": phase, "reason": reason, "entryAt": at(5)});
        let one = |phase, reason, since| {
            let marked = json!({names::EXISTING_SINCE: at(since)});
            [pad(1, marked, json!({}), status(phase, reason))]
        };
        let first = BackfillRule { is_settled: false, ..rule() };
        for (row, pads, is_stored) in [
            (row(5), one("Open", "Open", 0), true),
            (row(5), one("Ended", "Ended", 0), true),
            (row(-5), one("Skipped", "BeforeConfiguration", 0), true),
            (row(-5), one("Skipped", "Cancelled", 0), true),
            (row(5), one("Skipped", "TagMissing", 0), false),
            (row(5), one("Pending", "QuotaExceeded", 0), false),
            (row(5), one("Failed", "InvalidRequest", 0), false),
            (row(5), one("Skipped", "BeforeConfiguration", 0), false),
        ] {
            let stored = served_stage_entries::add(None, served(&rule(), &row, &pads));
            assert_eq!(stored.is_some(), is_stored, "{pads:?}");
            let next = backfill_action(&rule(), &row, &[], stored.as_deref());
            assert_eq!(next == BackfillAction::Nothing, is_stored, "{pads:?}");
            let later = ListedCandidate { entry: at(30), ..row.clone() };
            let made = BackfillAction::Make { n: 1, existing: false };
            assert_eq!(backfill_action(&rule(), &later, &[], stored.as_deref()), made, "a new entry");
        }
        let created = |annotations| [pad(1, annotations, json!({}), json!({}))];
        let by_sync = created(json!({names::EXISTING_SINCE: at(0)}));
        assert!(served(&first, &row(-5), &by_sync).is_some(), "just created");
        let by_webhook = created(json!({}));
        assert_eq!(served(&first, &row(-5), &by_webhook), None, "a webhook was faster");
        let during = |phase| served(&rule(), &row(7), &one(phase, phase, 0));
        assert_eq!(during("Open"), None, "the interview may have ended before");
        let never = BackfillRule { repeat: Repeat::Never, ..rule() };
        assert!(served(&never, &row(7), &one("Open", "Open", 0)).is_some());
        let before = served(&first, &row(-5), &one("Skipped", "BeforeConfiguration", 0));
        let stored = served_stage_entries::add(None, before);
        let another = BackfillRule { since: at(10), ..first };
        let made = BackfillAction::Make { n: 1, existing: true };
        assert_eq!(
            backfill_action(&another, &row(-5), &[], stored.as_deref()),
            made,
            "there before another rule"
        );
        let mut leaves = (*one("Open", "Open", 0)[0]).clone();
        leaves.metadata.deletion_timestamp = Some(serde_json::from_value(json!(at(9))).unwrap());
        assert_eq!(
            backfill_action(&rule(), &row(30), &[Arc::new(leaves)], None),
            BackfillAction::Nothing,
            "its deletion comes first"
        );
    }

    #[test]
    fn a_newer_entry_has_the_newest_pad_judged() {
        let ended = |n, end: i64| {
            let status = json!({"phase": "Ended", "entryAt": at(1), "endedAt": at(end)});
            pad(n, json!({}), json!({}), status)
        };
        assert_eq!(backfill_action(&rule(), &row(9), &[ended(1, 10)], None), BackfillAction::Nothing);
        assert_eq!(backfill_action(&rule(), &row(30), &[ended(2, 20), ended(1, 10)], None), judge(2));
        let first = BackfillRule { is_settled: false, since: at(40), ..rule() };
        assert_eq!(
            backfill_action(&first, &row(30), &[ended(1, 10)], None),
            judge(1),
            "with a Pad nobody is new to the rule"
        );
        let open = [pad(1, json!({}), json!({}), json!({"phase": "Open", "entryAt": at(1)}))];
        assert_eq!(backfill_action(&rule(), &row(30), &open, None), BackfillAction::Nothing);
        assert_eq!(
            backfill_action(&BackfillRule { repeat: Repeat::Always, ..rule() }, &row(30), &open, None),
            judge(1)
        );
    }

    #[test]
    fn only_an_unexplained_entry_is_a_missed_delivery() {
        let missed = |row: &ListedCandidate, pads: &[Arc<Pad>]| missed_delivery(&rule(), row, pads, at(10));
        assert!(missed(&row(5), &[]));
        assert!(!missed(&row(9), &[]), "the webhook may be in flight");
        assert!(!missed(&row(-5), &[]), "there before the rule");
        assert!(
            !missed_delivery(&rule(), &row(5), &[], at(5 + 24 * 60)),
            "the Pad of the webhook may have been deleted"
        );
        assert!(!missed(&ListedCandidate { created_at: Some(at(5)), ..row(5) }, &[]), "made in the stage");

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
