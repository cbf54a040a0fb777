//! Commands that act on objects. The plugin writes only specs and annotations; the operator acts on them and reports the
//! result in the status.

use crate::candidate_argument::opportunity_id;
use crate::cli::CreateArgs;
use crate::cluster::{TargetCluster, list};
use crate::status::table;
use anyhow::{Context, bail};
use api::condition::{self, types};
use api::names::{MANAGED_BY_LABEL, RECONCILE_REQUESTED_AT, opportunity_digest};
use api::pad::{Phase, Trigger, TriggerSource};
use api::pad_builder;
use api::{HasConditions, LeverConnection, Pad, PadConfiguration};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::{Debug, Write};
use std::time::Duration;

/// Field manager of the plugin's writes.
const PLUGIN_FIELD_MANAGER: &str = "kubectl-pad";

/// Returns a table of the stages that a configuration may name.
pub async fn stages(cluster: &TargetCluster, name: &str) -> anyhow::Result<String> {
    let connection: LeverConnection = cluster.get(name).await?;
    if connection.stages().is_empty() {
        bail!("LeverConnection {name} has no stages yet. {}", ready_message(&connection));
    }
    let rows = connection.stages().iter().map(|stage| [stage.name.clone(), stage.id.clone()]);
    Ok(table(["NAME", "ID"], rows))
}

/// Returns the Pads of one candidate with their messages, oldest first.
pub async fn candidate(cluster: &TargetCluster, candidate: &str) -> anyhow::Result<String> {
    let id = opportunity_id(candidate)?;
    let mut pads = cluster.pads_of(&id).await?;
    if pads.is_empty() {
        let namespace = &cluster.namespace;
        bail!(
            "no Pad in namespace {namespace} for this candidate: neither a webhook nor a sync has reported the \
             candidate in the stage of a PadConfiguration. To see the stages and the state of the connection: \
             kubectl pad status --namespace {namespace}. To create a pad manually: \
             kubectl pad create {id} --configuration NAME --namespace {namespace}"
        );
    }
    pads.sort_by_key(|pad| (pad.metadata.creation_timestamp.as_ref().map(|time| time.0), pad.name_any()));
    let lines = pads.iter().map(|pad| {
        let phase = pad.phase().map_or_else(String::new, |phase| format!(" {phase:?}."));
        format!(
            "Pad {} of PadConfiguration {}:{phase} {}",
            pad.name_any(),
            pad.spec.configuration_ref.name,
            pad.description()
        )
    });
    Ok(lines.collect())
}

/// Returns the link of a pad, and opens it in the browser on request.
pub async fn open(cluster: &TargetCluster, name: &str, browser: bool) -> anyhow::Result<String> {
    let pad: Pad = cluster.get(name).await?;
    let Some(link) = link(&pad) else { bail!("Pad {name} has no link yet. {}", ready_message(&pad)) };
    if browser {
        open::that_detached(link)
            .with_context(|| format!("cannot open a browser; open this link yourself: {link}"))?;
    }
    Ok(format!("{link}\n"))
}

/// Returns the link of a pad, or the playback link if the interview has ended.
fn link(pad: &Pad) -> Option<&str> {
    let status = pad.status.as_ref()?;
    let playback = status.playback_url.as_deref().filter(|_| status.phase == Some(Phase::Ended));
    playback.or(status.url.as_deref())
}

/// Requests a reconcile of an object, and returns the result.
pub async fn retry(
    cluster: &TargetCluster,
    object: &str,
    timeout: Option<Duration>,
) -> anyhow::Result<String> {
    match object.split_once('/').unwrap_or(("pad", object)) {
        ("pad" | "pads", name) => {
            let handled = |pad: &Pad| pad.status.as_ref()?.last_handled_reconcile_at.clone();
            request_reconcile(cluster, name, timeout, handled).await
        }
        ("padcfg" | "padconfiguration" | "padconfigurations", name) => {
            let handled = |configuration: &PadConfiguration| {
                configuration.status.as_ref()?.last_handled_reconcile_at.clone()
            };
            request_reconcile(cluster, name, timeout, handled).await
        }
        ("leverconn" | "leverconnection" | "leverconnections", name) => {
            let handled =
                |connection: &LeverConnection| connection.status.as_ref()?.last_handled_reconcile_at.clone();
            request_reconcile(cluster, name, timeout, handled).await
        }
        (kind, _) => {
            bail!("unknown kind {kind:?}: use the name of a Pad, or padcfg/NAME, or leverconn/NAME")
        }
    }
}

async fn request_reconcile<K: Describe>(
    cluster: &TargetCluster,
    name: &str,
    timeout: Option<Duration>,
    handled: impl Fn(&K) -> Option<String>,
) -> anyhow::Result<String> {
    cluster.get::<K>(name).await?;
    let request = jiff::Timestamp::now().to_string();
    let patch = json!({"metadata": {"annotations": {RECONCILE_REQUESTED_AT: request}}});
    let api = cluster.api::<K>();
    write(&api, name, patch).await?;
    let progress = format!("{} {name}: requested a reconcile.\n", K::kind(&()));
    let is_handled = |object: &K| handled(object).as_ref() == Some(&request);
    wait_for_outcome(api, name, timeout, progress, is_handled).await
}

/// Requests the end of an interview, and returns the result.
pub async fn end(cluster: &TargetCluster, name: &str, timeout: Option<Duration>) -> anyhow::Result<String> {
    let pad: Pad = cluster.get(name).await?;
    if pad.phase() == Some(Phase::Ended) {
        return Ok(format!("Pad {name}: the interview has already ended.\n"));
    }
    let api = cluster.api::<Pad>();
    write(&api, name, json!({"spec": {"state": "Ended"}})).await?;
    let progress = format!("Pad {name}: requested the end of the interview.\n");
    wait_for_outcome(api, name, timeout, progress, |pad| {
        matches!(pad.phase(), Some(Phase::Ended | Phase::Skipped))
    })
    .await
}

/// Creates a Pad manually, and returns the result.
pub async fn create(cluster: &TargetCluster, args: &CreateArgs) -> anyhow::Result<String> {
    let candidate = opportunity_id(&args.candidate)?;
    let configuration: PadConfiguration = cluster.get(&args.configuration).await?;
    let api = cluster.api::<Pad>();
    let pads: Vec<Pad> = list(cluster).await?;
    if let Some(other) =
        pads.iter().find(|pad| pad_builder::is_of(pad, &args.configuration, &candidate) && is_in_use(pad))
        && !args.another
    {
        bail!(
            "the candidate already has Pad {}. {} Use --another to create an additional pad",
            other.name_any(),
            ready_message(other)
        );
    }
    let at = Some(jiff::Timestamp::now());
    let mut pad =
        pad_builder::pad(&configuration, &candidate, 1, Trigger { source: TriggerSource::Manual, at });
    pad.labels_mut().remove(MANAGED_BY_LABEL);
    let name = match &args.name {
        Some(name) => name.clone(),
        None => free_name(&args.configuration, &candidate, pads.iter().map(Pad::name_any).collect()),
    };
    pad.metadata.name = Some(name.clone());
    let parameters = PostParams { field_manager: Some(PLUGIN_FIELD_MANAGER.into()), ..PostParams::default() };
    api.create(&parameters, &pad).await.with_context(|| format!("cannot create Pad {name}"))?;
    let progress = format!("Pad {name}: created. The operator creates the pad in CoderPad.\n");
    wait_for_outcome(api, &name, args.wait.timeout(), progress, |pad| {
        pad.phase().is_some_and(|phase| phase != Phase::Pending)
            || condition::is_true(pad.conditions(), types::STALLED)
    })
    .await
}

/// Reports whether the candidate can still use this Pad, so that a second one is probably a mistake.
fn is_in_use(pad: &Pad) -> bool {
    !matches!(pad.phase(), Some(Phase::Ended | Phase::Skipped | Phase::Failed))
}

/// Returns a free name that the operator never generates. Two simultaneous calls return the same name, so that only one
/// of them creates a Pad.
fn free_name(configuration: &str, candidate: &str, taken: Vec<String>) -> String {
    let mut names =
        (1_u64..).map(|n| format!("{configuration}-{}-by-hand-{n}", opportunity_digest(candidate)));
    names.find(|name| !taken.contains(name)).unwrap_or_default()
}

async fn write<K>(api: &Api<K>, name: &str, patch: Value) -> anyhow::Result<()>
where
    K: Clone + DeserializeOwned + Debug,
{
    let parameters =
        PatchParams { field_manager: Some(PLUGIN_FIELD_MANAGER.into()), ..PatchParams::default() };
    api.patch(name, &parameters, &Patch::Merge(patch))
        .await
        .with_context(|| format!("cannot update {name}"))?;
    Ok(())
}

/// Waits until the operator has handled the request, and returns the progress so far and the result.
async fn wait_for_outcome<K: Describe>(
    api: Api<K>,
    name: &str,
    timeout: Option<Duration>,
    progress: String,
    is_done: impl Fn(&K) -> bool,
) -> anyhow::Result<String> {
    let Some(timeout) = timeout else { return Ok(progress) };
    let is_done = |object: Option<&K>| object.is_none_or(&is_done);
    match tokio::time::timeout(timeout, await_condition(api.clone(), name, is_done)).await {
        Ok(Ok(Some(object))) => Ok(progress + &object.description()),
        Ok(Ok(None)) => bail!("{progress}{name} was deleted in the meantime"),
        Ok(Err(error)) => Err(error).with_context(|| format!("{progress}cannot watch {name}")),
        Err(_) => {
            let now = api
                .get_opt(name)
                .await
                .ok()
                .flatten()
                .map(|object| ready_message(&object))
                .unwrap_or_default();
            bail!(
                "{progress}no result within {} s. {now} The request stays in effect. To see the result later: \
                 kubectl pad status --namespace {}. If nothing changes, check that the operator is running",
                timeout.as_secs(),
                api.namespace().unwrap_or_default()
            )
        }
    }
}

/// Returns reason and message of the Ready condition.
fn ready_message(object: &impl HasConditions) -> String {
    match condition::find(object.conditions(), types::READY) {
        Some(ready) => format!("{}: {}", ready.reason, ready.message),
        None => "The operator has not reconciled it yet.".into(),
    }
}

/// An object with a printable state.
trait Describe:
    HasConditions
    + Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
    + Clone
    + DeserializeOwned
    + Debug
    + Send
    + 'static
{
    /// Returns the state of the object in one or more lines.
    fn description(&self) -> String {
        format!("{}\n", ready_message(self))
    }
}

impl Describe for LeverConnection {}
impl Describe for PadConfiguration {}
impl Describe for Pad {
    fn description(&self) -> String {
        let mut text = format!("{}\n", ready_message(self));
        if let Some(link) = link(self) {
            let _ = writeln!(text, "{link}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_name_is_free_and_never_one_of_the_operators() {
        let first = free_name("phone-screen", "op-1", Vec::new());
        assert_eq!(first, format!("phone-screen-{}-by-hand-1", opportunity_digest("op-1")));
        assert_eq!(api::names::pad_number(&first, "phone-screen", "op-1"), None);
        let second = free_name("phone-screen", "op-1", vec![first, "other".into()]);
        assert!(second.ends_with("-by-hand-2"), "{second}");
    }

    #[test]
    fn ended_interview_opens_its_playback() {
        let mut pad: Pad = serde_json::from_value(json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad", "metadata": {"name": "p"},
            "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o"},
            "status": {"phase": "Open", "url": "https://a", "playbackURL": "https://b"},
        }))
        .unwrap();
        assert_eq!(link(&pad), Some("https://a"));
        pad.status.as_mut().unwrap().phase = Some(Phase::Ended);
        assert_eq!(link(&pad), Some("https://b"));
        pad.status = None;
        assert_eq!(link(&pad), None);
    }
}
