//! The walks over Lever's candidates, one for each stage and tag, and what they lead to in the cluster.

use super::candidates::{Deed, Rule, deed, is_missed, served};
use super::installations;
use super::interview::Marks;
use super::lever::{self, Row, Walk};
use super::requests::{Missed, Wish};
use super::{Session, SyncError};
use crate::api::configuration::OnArchive;
use crate::api::pad::{Phase, Trigger, TriggerSource};
use crate::api::served::{self, Fingerprint};
use crate::api::{HasConditions, Pad, PadConfiguration, PadConfigurationStatus, condition, names};
use crate::cluster::writes::{MetadataChange, write_metadata, write_status};
use crate::controller::pace;
use crate::controller::pad::{expiry, looks::What};
use crate::{making, rules};
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// How many Pads are made at the same time.
const MADE_AT_ONCE: usize = 8;
/// A walk over what has happened since the one before overlaps with it by so much.
pub const OVERLAP: SignedDuration = SignedDuration::from_mins(2);
/// It reaches back no further than this, however old the oldest open Pad is.
const FARTHEST_BACK: SignedDuration = SignedDuration::from_hours(24 * 30);

/// Makes the walks that are wished for. Returns a stage entry that no webhook told of, if there is one.
pub async fn walk_all(session: &Session<'_>, wish: &Wish) -> Result<Option<Missed>, SyncError> {
    let mut missed = None;
    for ((stage_id, tag), configurations) in groups(session, wish) {
        let walk = lever::walk(session, &stage_id, &tag).await?;
        for configuration in configurations {
            missed = apply(session, configuration, &walk).await?.or(missed);
        }
    }
    Ok(missed)
}

/// The configurations by stage and tag, as far as they are wished for.
fn groups<'a>(
    session: &'a Session<'_>,
    wish: &Wish,
) -> BTreeMap<(String, String), Vec<&'a Arc<PadConfiguration>>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for configuration in &session.configurations {
        if configuration.metadata.deletion_timestamp.is_none()
            && (wish.whole || wish.rules.contains_key(&configuration.name_any()))
            && let Ok(found) = rules::stage_of(configuration, session.connection.stages())
        {
            let key = (found.stage.id, configuration.spec.tag.clone());
            groups.entry(key).or_default().push(configuration);
        }
    }
    groups
}

/// Does what a walk leads to for one configuration.
async fn apply(
    session: &Session<'_>,
    configuration: &Arc<PadConfiguration>,
    walk: &Walk,
) -> Result<Option<Missed>, SyncError> {
    let name = configuration.name_any();
    let all = session
        .context
        .scope
        .pads
        .matching(&session.namespace, |pad| pad.spec.configuration_ref.name == name);
    let mut pads: HashMap<&str, Vec<Arc<Pad>>> = HashMap::new();
    for pad in &all {
        pads.entry(&pad.spec.opportunity_id).or_default().push(pad.clone());
    }
    let mut after = configuration.status.clone().unwrap_or_default();
    let (mut missed, now) = (None, Timestamp::now());
    if let Some(rule) = in_use(session, configuration) {
        let entries = after.served_entries.take();
        missed = serve(session, configuration, &rule, &walk.rows, &pads, entries.as_deref()).await?;
        after.served_entries = served_after(&rule, walk, &pads, entries.as_deref());
        if walk.is_whole {
            after.existing_settled_for = after.effective_since;
        }
    }
    installations::ask(session, &walk.linked, &pads);
    if walk.is_whole {
        let there: HashSet<&str> = walk.rows.iter().map(|row| row.id.as_str()).collect();
        let gone = pads.iter().filter(|(candidate, _)| !there.contains(*candidate));
        for pad in gone.flat_map(|(_, pads)| pads) {
            if expiry::is_expired(pad, configuration, now) {
                session.want(pad, What::Expired);
            }
        }
        after.matching = i64::try_from(walk.rows.len()).ok();
    }
    write(session, configuration, &after).await;
    Ok(missed)
}

/// The served entries that the configuration's status is to store after a walk (contract P9).
fn served_after(
    rule: &Rule,
    walk: &Walk,
    pads: &HashMap<&str, Vec<Arc<Pad>>>,
    entries: Option<&str>,
) -> Option<String> {
    let served = walk.rows.iter().filter_map(|row| {
        let known = pads.get(row.id.as_str()).map(Vec::as_slice).unwrap_or_default();
        match deed(rule, row, known, entries) {
            // Its Pad was just created, or is about to be.
            Deed::Make { existing: true, .. } => Some(Fingerprint::existing(&row.id, row.entry, rule.since)),
            _ => served(rule, row, known),
        }
    });
    if !walk.is_whole {
        return served::add(entries, served);
    }
    let fingerprints = |row: &Row| {
        [Fingerprint::new(&row.id, row.entry), Fingerprint::existing(&row.id, row.entry, rule.since)]
    };
    served::after_scan(entries, &walk.rows.iter().flat_map(fingerprints).collect(), served)
}

/// What a configuration says, if it makes pads now.
fn in_use(session: &Session<'_>, configuration: &PadConfiguration) -> Option<Rule> {
    let status = configuration.status.as_ref()?;
    let is_current = Some(status.observed_generation) == configuration.metadata.generation;
    let is_ready = condition::is_true(configuration.conditions(), condition::types::READY);
    let others = session.configurations.iter().map(Arc::as_ref);
    let gives_way = rules::conflict(configuration, others, session.connection.stages()).is_some();
    let spec = &configuration.spec;
    (is_current && is_ready && !gives_way && !spec.suspend).then_some(Rule {
        repeat: spec.repeat,
        existing: spec.existing,
        since: status.effective_since?,
        is_settled: status.existing_is_settled(),
        kept_skipped: SignedDuration::from_secs(spec.ttl_seconds_after_skipped),
    })
}

/// Makes the Pads that are missing, and asks for those that are to be judged again.
async fn serve(
    session: &Session<'_>,
    configuration: &Arc<PadConfiguration>,
    rule: &Rule,
    rows: &[Row],
    pads: &HashMap<&str, Vec<Arc<Pad>>>,
    served_entries: Option<&str>,
) -> Result<Option<Missed>, SyncError> {
    let now = Timestamp::now();
    let (mut missed, mut to_make) = (None, Vec::new());
    for row in rows {
        let known = pads.get(row.id.as_str()).map(Vec::as_slice).unwrap_or_default();
        match deed(rule, row, known, served_entries) {
            Deed::Nothing => continue,
            Deed::Make { n, existing } => to_make.push((row, n, existing)),
            Deed::Skip(name) => {
                mark(session, known, &name, rule.since).await?;
                session.context.looks.want(&session.namespace, &name, What::Judge);
            }
            Deed::Judge(name) => session.context.looks.want(&session.namespace, &name, What::Judge),
        }
        if is_missed(rule, row, known, now) {
            missed = Some(row.entry).max(missed);
        }
    }
    let make = |(row, first, existing): (&Row, u32, bool)| {
        let (opportunity_id, since) = (row.id.clone(), rule.since);
        async move {
            let trigger = Trigger { source: TriggerSource::Sync, at: Some(pace::now()) };
            let pad = |n| {
                let mut pad = making::pad(configuration, &opportunity_id, n, trigger.clone());
                if existing {
                    pad.annotations_mut().insert(names::EXISTING_SINCE.into(), since.to_string());
                }
                pad
            };
            making::store(&session.api, first, pad).await
        }
    };
    let made: Vec<_> =
        stream::iter(to_make.into_iter().map(make)).buffer_unordered(MADE_AT_ONCE).collect().await;
    if let Some(error) = made.into_iter().find_map(Result::err) {
        return Err(SyncError::Store(Box::new(error)));
    }
    let stage = configuration.status.as_ref().and_then(|status| status.stage.as_ref());
    let stage = stage.map(|stage| stage.name.clone()).unwrap_or_default();
    Ok(missed.map(|entry| Missed { stage, entry, found: now }))
}

/// Notes on a Pad that its candidate was there before the rule took effect.
async fn mark(
    session: &Session<'_>,
    pads: &[Arc<Pad>],
    name: &str,
    since: Timestamp,
) -> Result<(), SyncError> {
    let change = MetadataChange::default().annotate(names::EXISTING_SINCE, since.to_string());
    for pad in pads.iter().filter(|pad| pad.name_any() == name) {
        let marked = write_metadata(&session.context.client, pad.as_ref(), &change).await;
        session.context.written.note(&marked.map_err(|_| SyncError::Changed)?);
    }
    Ok(())
}

/// Writes what the walk has found out about a configuration, if it differs. If somebody else was faster, the next walk
/// does it.
async fn write(session: &Session<'_>, configuration: &PadConfiguration, after: &PadConfigurationStatus) {
    let before = configuration.status.clone().unwrap_or_default();
    if let Err(error) = write_status(&session.context.client, configuration, &before, after).await {
        let (namespace, configuration) = (&session.namespace, configuration.name_any());
        tracing::debug!(%namespace, configuration, %error, "what sync found was not written");
    }
}

/// Asks the open Pads of candidates who were archived for a look, where the rule says that they end then.
pub async fn walk_archived(session: &Session<'_>, marks: &mut Marks) -> Result<(), SyncError> {
    let ends = |pad: &&Arc<Pad>| {
        let of = |one: &&Arc<PadConfiguration>| one.name_any() == pad.spec.configuration_ref.name;
        let configuration = session.configurations.iter().find(of);
        configuration.is_some_and(|one| one.spec.on_archive == OnArchive::End && !one.spec.suspend)
            && matches!(pad.phase(), Some(Phase::Open | Phase::Started))
    };
    let open: Vec<&Arc<Pad>> = session.pads.iter().filter(ends).collect();
    let now = Timestamp::now();
    let oldest =
        open.iter().filter_map(|pad| pad.metadata.creation_timestamp.as_ref()).map(|time| time.0).min();
    let Some(oldest) = oldest else {
        marks.archived = None;
        return Ok(());
    };
    let since = marks.archived.unwrap_or(oldest.max(now - FARTHEST_BACK)) - OVERLAP;
    let (archived, is_whole) = lever::archived_since(session, since.as_millisecond()).await?;
    let archived: HashSet<String> = archived.into_iter().collect();
    for pad in open.into_iter().filter(|pad| archived.contains(&pad.spec.opportunity_id)) {
        session.want(pad, What::Archived);
    }
    if is_whole {
        marks.archived = Some(now);
    }
    Ok(())
}
