//! Scans of the candidates of one stage and tag, and their consequences in the cluster.

use super::filter_checks::{FilterCheck, FilterChecks};
use super::lever_lists::{self, StageList, StageScan};
use super::ownership_checks;
use super::requests::{MissedDelivery, SyncRequest};
use super::{ListDifference, SyncContext, SyncError, before};
use crate::controller::schedule;
use crate::k8s::ObjectKey;
use crate::k8s::patch::{MetadataChange, write_metadata, write_status};
use api::configuration::OnArchive;
use api::pad::{Phase, Trigger, TriggerSource};
use api::pad_builder;
use api::{Pad, PadConfiguration, PadConfigurationStatus, names};
use engine::hints::Hint;
use engine::scan_action::ListedCandidate;
use engine::scan_action::{BackfillAction, BackfillRule, backfill_action, missed_delivery, served_after};
use engine::stage;
use engine::ttl;
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tokio::time::Instant;

/// Maximum number of Pads that are created at the same time.
const CREATE_CONCURRENCY: usize = 8;
/// Overlap of a scan of recent changes with the scan before it.
pub const SCAN_OVERLAP: SignedDuration = SignedDuration::from_mins(2);
/// Maximum time that the scan of archived candidates covers, however old the oldest open Pad is.
const MAX_ARCHIVED_LOOKBACK: SignedDuration = SignedDuration::from_hours(24 * 30);

/// Result of the scans of the rules.
#[derive(Debug, Default)]
pub struct StageScansOutcome {
    /// The last stage entry that no webhook has reported.
    pub missed: Option<MissedDelivery>,
    /// The configurations whose scan was not completed.
    pub failed: BTreeSet<String>,
    /// The reasons.
    pub errors: Vec<SyncError>,
}

impl StageScansOutcome {
    fn failed<'a>(
        &mut self,
        configurations: impl IntoIterator<Item = &'a Arc<PadConfiguration>>,
        error: SyncError,
    ) {
        self.failed.extend(configurations.into_iter().map(|configuration| configuration.name_any()));
        self.errors.push(error);
    }
}

/// Performs the requested scans. If one fails, the others continue, unless they would fail for the same reason
/// (contract S2b).
pub async fn scan_all(
    session: &SyncContext<'_>,
    request: &SyncRequest,
    filters: &mut FilterChecks,
) -> StageScansOutcome {
    let mut outcome = StageScansOutcome::default();
    let groups = groups(session, request);
    if request.whole {
        filters.retain(groups.keys());
    }
    let mut groups = groups.into_iter();
    for (rule, configurations) in groups.by_ref() {
        let scan = match scan_stage(session, &rule, filters.of(&rule), request.whole).await {
            Ok(scan) => scan,
            Err(error) => {
                let concerns_all = error.concerns_all();
                outcome.failed(configurations, error);
                if concerns_all {
                    break;
                }
                continue;
            }
        };
        if !scan.is_whole {
            outcome.failed(configurations.iter().copied(), SyncError::TooLong("candidates in one stage"));
        }
        for configuration in configurations {
            match apply(session, configuration, &scan).await {
                Ok(missed) => outcome.missed = missed.or(outcome.missed),
                Err(error) => outcome.failed([configuration], error),
            }
        }
    }
    for (_, configurations) in groups {
        outcome.failed.extend(configurations.iter().map(|configuration| configuration.name_any()));
    }
    outcome
}

/// Lists the candidates of a stage and tag. If `may_compare` is true and a comparison with Lever's filter is due, it is
/// made too.
async fn scan_stage(
    session: &SyncContext<'_>,
    (stage_id, tag): &(String, String),
    check: &mut FilterCheck,
    may_compare: bool,
) -> Result<StageScan, SyncError> {
    let (used, other) = match check.is_dropped() {
        true => (StageList::Unfiltered, StageList::Filtered),
        false => (StageList::Filtered, StageList::UnfilteredPage),
    };
    let scan = lever_lists::list_stage(session, stage_id, tag, used).await?;
    if may_compare && check.is_due(Instant::now()) {
        // A comparison that fails is repeated by the next sync: the scan itself is complete.
        if let Ok(compared) = lever_lists::list_stage(session, stage_id, tag, other).await {
            let (filtered, unfiltered) = match used {
                StageList::Filtered => (&scan, &compared),
                StageList::Unfiltered | StageList::UnfilteredPage => (&compared, &scan),
            };
            if let Some(difference) = check.record(filtered, unfiltered, Instant::now()) {
                session.report_difference(ListDifference::TagFilter { stage_id, difference });
            }
        }
    }
    Ok(scan)
}

/// Returns the requested configurations by stage and tag.
fn groups<'a>(
    session: &'a SyncContext<'_>,
    request: &SyncRequest,
) -> BTreeMap<(String, String), Vec<&'a Arc<PadConfiguration>>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for configuration in &session.configurations {
        if configuration.metadata.deletion_timestamp.is_none()
            && (request.whole || request.rules.contains_key(&configuration.name_any()))
            && let Ok(found) = stage::stage_of(configuration, session.connection.stages())
        {
            let key = (found.stage.id, configuration.spec.tag.clone());
            groups.entry(key).or_default().push(configuration);
        }
    }
    groups
}

/// Applies the result of a scan to one configuration.
async fn apply(
    session: &SyncContext<'_>,
    configuration: &Arc<PadConfiguration>,
    scan: &StageScan,
) -> Result<Option<MissedDelivery>, SyncError> {
    let name = configuration.name_any();
    // Read again here: the scan may have taken minutes, and webhooks have arrived meanwhile.
    let present = session.present_pads(&name);
    let mut pads: HashMap<&str, Vec<Arc<Pad>>> = HashMap::new();
    for pad in &present {
        pads.entry(&pad.spec.opportunity_id).or_default().push(pad.clone());
    }
    let mut after = configuration.status.clone().unwrap_or_default();
    let (mut outcome, now) = (Ok(None), Timestamp::now());
    let others = session.configurations.iter().map(Arc::as_ref);
    let stages = session.connection.stages();
    if let Some(rule) = BackfillRule::from_configuration(configuration, others, stages) {
        let entries = after.served_entries.take();
        match apply_to_candidates(session, configuration, &rule, &scan.rows, &pads, entries.as_deref()).await
        {
            Ok((missed, stored)) => {
                outcome = Ok(missed);
                for row in &scan.rows {
                    let of_row = stored.iter().filter(|pad| pad.spec.opportunity_id == row.id);
                    pads.entry(&row.id).or_default().extend(of_row.cloned());
                }
            }
            Err(error) => outcome = Err(error),
        }
        after.served_entries =
            served_after(&rule, &scan.rows, scan.shows_absence(), &pads, entries.as_deref());
        if outcome.is_ok() && scan.shows_absence() {
            after.existing_settled_for = after.effective_since;
        }
    }
    ownership_checks::request_ownership_checks(session, &scan.linked, &pads);
    if scan.shows_absence() {
        let there: HashSet<&str> = scan.rows.iter().map(|row| row.id.as_str()).collect();
        // A Pad that has changed since the scan began is left to the next scan.
        let before: HashSet<_> = session.pads.iter().map(|pad| (pad.uid(), pad.resource_version())).collect();
        let gone = pads.iter().filter(|(candidate, _)| !there.contains(*candidate));
        for pad in gone.flat_map(|(_, pads)| pads) {
            let is_unchanged = before.contains(&(pad.uid(), pad.resource_version()));
            if is_unchanged && ttl::is_expired(pad, configuration, now) {
                session.add_hint(pad, Hint::Expired);
            }
        }
    }
    if scan.is_whole {
        after.matching = i64::try_from(scan.rows.len()).ok();
    }
    write(session, configuration, &after).await;
    outcome
}

/// Creates the missing Pads, and adds hints for Pads that must be reconciled again. Returns the missed delivery, if
/// any, and the Pads that are stored now: of two that were created at the same time, the first.
async fn apply_to_candidates(
    session: &SyncContext<'_>,
    configuration: &Arc<PadConfiguration>,
    rule: &BackfillRule,
    rows: &[ListedCandidate],
    pads: &HashMap<&str, Vec<Arc<Pad>>>,
    served_entries: Option<&str>,
) -> Result<(Option<MissedDelivery>, Vec<Arc<Pad>>), SyncError> {
    let now = Timestamp::now();
    let (mut missed, mut to_make) = (None, Vec::new());
    for row in rows {
        let known = pads.get(row.id.as_str()).map(Vec::as_slice).unwrap_or_default();
        match backfill_action(rule, row, known, served_entries) {
            BackfillAction::Nothing => continue,
            BackfillAction::Make { n, existing } => to_make.push((row, n, existing)),
            BackfillAction::Skip(name) => {
                annotate_existing(session, known, &name, rule.since).await?;
                session.context.memory.request(&ObjectKey::new(&session.namespace, &name), Hint::Judge);
            }
            BackfillAction::Judge(name) => {
                session.context.memory.request(&ObjectKey::new(&session.namespace, &name), Hint::Judge)
            }
        }
        if missed_delivery(rule, row, known, now) {
            missed = Some(row.entry).max(missed);
        }
    }
    let make = |(row, first, existing): (&ListedCandidate, u32, bool)| {
        let (opportunity_id, since) = (row.id.clone(), rule.since);
        async move {
            let trigger = Trigger { source: TriggerSource::Sync, at: Some(schedule::now()) };
            let pad = |n| {
                let mut pad = pad_builder::pad(configuration, &opportunity_id, n, trigger.clone());
                if existing {
                    pad.annotations_mut().insert(names::EXISTING_SINCE.into(), since.to_string());
                }
                pad
            };
            crate::k8s::pads::store(&session.api, first, pad).await
        }
    };
    let made: Vec<_> =
        stream::iter(to_make.into_iter().map(make)).buffer_unordered(CREATE_CONCURRENCY).collect().await;
    let made: Vec<_> =
        made.into_iter().collect::<Result<_, _>>().map_err(|error| SyncError::Store(Box::new(error)))?;
    let stage = configuration.status.as_ref().and_then(|status| status.stage.as_ref());
    let stage = stage.map(|stage| stage.name.clone()).unwrap_or_default();
    let missed = missed.map(|entry| MissedDelivery { stage, entry, found: now });
    Ok((missed, made.into_iter().flatten().map(Arc::new).collect()))
}

/// Records on a Pad that its candidate was in the stage before the rule took effect.
async fn annotate_existing(
    session: &SyncContext<'_>,
    pads: &[Arc<Pad>],
    name: &str,
    since: Timestamp,
) -> Result<(), SyncError> {
    let change = MetadataChange::default().annotate(names::EXISTING_SINCE, since.to_string());
    for pad in pads.iter().filter(|pad| pad.name_any() == name) {
        let marked = write_metadata(&session.context.client, pad.as_ref(), &change).await;
        session.context.memory.record_written(&marked.map_err(|_| SyncError::Changed)?);
    }
    Ok(())
}

/// Writes the result of a scan to the status of a configuration, if it differs. After a conflict, the next scan writes
/// it.
async fn write(session: &SyncContext<'_>, configuration: &PadConfiguration, after: &PadConfigurationStatus) {
    let before = configuration.status.clone().unwrap_or_default();
    if let Err(error) = write_status(&session.context.client, configuration, &before, after).await {
        let (namespace, configuration) = (&session.namespace, configuration.name_any());
        tracing::debug!(%namespace, configuration, %error, "what sync found was not written");
    }
}

/// Time up to which archived candidates have been found, and the Pads that were included.
#[derive(Debug)]
pub struct ArchivedWatermark {
    until: Timestamp,
    /// UIDs of the Pads.
    pads: HashSet<String>,
}

/// Adds hints for the open Pads of archived candidates, if the rule ends such Pads (contract E7).
pub async fn scan_archived(
    session: &SyncContext<'_>,
    marks: &mut Option<ArchivedWatermark>,
) -> Result<(), SyncError> {
    let ends = |pad: &&Arc<Pad>| {
        let of = |one: &&Arc<PadConfiguration>| one.name_any() == pad.spec.configuration_ref.name;
        let configuration = session.configurations.iter().find(of);
        configuration.is_some_and(|one| one.spec.on_archive == OnArchive::End && !one.spec.suspend)
            && matches!(pad.phase(), Some(Phase::Open | Phase::Started))
    };
    let open: Vec<&Arc<Pad>> = session.pads.iter().filter(ends).collect();
    let now = Timestamp::now();
    let Some(since) = archived_since(marks.as_ref(), &open, now) else {
        *marks = None;
        return Ok(());
    };
    let since = before(since, SCAN_OVERLAP).as_millisecond().max(0);
    let (archived, is_whole) = lever_lists::archived_since(session, since).await?;
    let archived: HashSet<String> = archived.into_iter().collect();
    for pad in open.iter().filter(|pad| archived.contains(&pad.spec.opportunity_id)) {
        session.add_hint(pad, Hint::Archived);
    }
    if !is_whole {
        return Err(SyncError::TooLong("candidates who were archived"));
    }
    *marks = Some(ArchivedWatermark { until: now, pads: open.iter().filter_map(|pad| pad.uid()).collect() });
    Ok(())
}

/// Returns the time from which archived candidates are listed; None if no Pad is affected. Pads that were not included
/// so far, such as the Pads of a suspended configuration, go back to their creation.
fn archived_since(
    marks: Option<&ArchivedWatermark>,
    open: &[&Arc<Pad>],
    now: Timestamp,
) -> Option<Timestamp> {
    let is_known =
        |pad: &Pad| marks.is_some_and(|marks| pad.uid().is_some_and(|uid| marks.pads.contains(&uid)));
    let created_at = |pad: &&Arc<Pad>| pad.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let new = open.iter().filter(|pad| !is_known(pad)).filter_map(created_at).min();
    let new = new.map(|at| at.max(before(now, MAX_ARCHIVED_LOOKBACK)));
    let known = marks.filter(|_| !open.is_empty()).map(|marks| marks.until);
    new.into_iter().chain(known).min()
}

#[cfg(test)]
pub(super) fn try_times(pad: &Arc<Pad>, any: Timestamp, now: Timestamp) {
    let marks = ArchivedWatermark { until: any, pads: HashSet::new() };
    archived_since(Some(&marks), &[pad], now);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + 60 * minute).unwrap()
    }

    fn pad(uid: &str, created_at: i64) -> Arc<Pad> {
        let pad = serde_json::from_value(json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad",
            "metadata": {"name": uid, "uid": uid, "creationTimestamp": at(created_at)},
            "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o"},
        }));
        Arc::new(pad.unwrap())
    }

    // contract E7
    #[test]
    fn pads_that_become_relevant_later_are_scanned_from_their_creation() {
        let (old, new, resumed) = (pad("old", 0), pad("new", 95), pad("resumed", 10));
        let now = at(100);
        assert_eq!(archived_since(None, &[], now), None);
        assert_eq!(archived_since(None, &[&old, &resumed], now), Some(at(0)));
        let marks = ArchivedWatermark { until: at(90), pads: ["old".to_owned()].into() };
        assert_eq!(archived_since(Some(&marks), &[], now), None);
        assert_eq!(archived_since(Some(&marks), &[&old], now), Some(at(90)));
        assert_eq!(archived_since(Some(&marks), &[&old, &new], now), Some(at(90)));
        assert_eq!(archived_since(Some(&marks), &[&old, &resumed], now), Some(at(10)));
        let ages_ago = pad("ages", -10_000_000);
        assert_eq!(archived_since(None, &[&ages_ago], now), Some(before(now, MAX_ARCHIVED_LOOKBACK)));
    }
}
