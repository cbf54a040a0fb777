//! What the plugin does to objects: it writes wishes only. The operator fulfils them, and its status says so.

use crate::candidate::opportunity_id;
use crate::cli::CreateArgs;
use crate::cluster::{TargetCluster, list};
use crate::status::table;
use anyhow::{Context, bail};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Resource, ResourceExt};
use pad_operator::api::condition::{self, types};
use pad_operator::api::names::{MANAGED_BY_LABEL, RECONCILE_REQUESTED_AT, opportunity_digest};
use pad_operator::api::pad::{Phase, Trigger, TriggerSource};
use pad_operator::api::{HasConditions, LeverConnection, Pad, PadConfiguration};
use pad_operator::pad_builder;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::{Debug, Write};
use std::time::Duration;

/// The name under which the plugin's writes appear in `managedFields`.
const PLUGIN_FIELD_MANAGER: &str = "kubectl-pad";

/// The stages that a configuration may name.
pub async fn stages(cluster: &TargetCluster, name: &str) -> anyhow::Result<String> {
    let connection: LeverConnection = cluster.get(name).await?;
    if connection.stages().is_empty() {
        bail!("the stages of {name} are not known yet. {}", ready_message(&connection));
    }
    let rows = connection.stages().iter().map(|stage| [stage.name.clone(), stage.id.clone()]);
    Ok(table(["NAME", "ID"], rows))
}

/// The Pads of one candidate, the newest last, and what each says.
pub async fn candidate(cluster: &TargetCluster, candidate: &str) -> anyhow::Result<String> {
    let id = opportunity_id(candidate)?;
    let mut pads = cluster.pads_of(&id).await?;
    if pads.is_empty() {
        let namespace = &cluster.namespace;
        bail!(
            "no Pad in namespace {namespace} is for this candidate: no webhook has told that a stage of a \
             PadConfiguration was reached, and no sync has found the candidate there. `kubectl pad status --namespace \
             {namespace}` shows the stages, and whether webhooks arrive; `kubectl pad create` makes a pad by hand"
        );
    }
    pads.sort_by_key(|pad| (pad.metadata.creation_timestamp.as_ref().map(|time| time.0), pad.name_any()));
    let lines = pads.iter().map(|pad| {
        let phase = pad.phase().map_or_else(String::new, |phase| format!(" {phase:?}."));
        format!("Pad {} by {}:{phase} {}", pad.name_any(), pad.spec.configuration_ref.name, pad.description())
    });
    Ok(lines.collect())
}

/// The link of a pad.
pub async fn open(cluster: &TargetCluster, name: &str, browser: bool) -> anyhow::Result<String> {
    let pad: Pad = cluster.get(name).await?;
    let Some(link) = link(&pad) else { bail!("{name} has no link yet. {}", ready_message(&pad)) };
    if browser {
        open::that_detached(link).with_context(|| format!("cannot open a browser; the link is {link}"))?;
    }
    Ok(format!("{link}\n"))
}

fn link(pad: &Pad) -> Option<&str> {
    let status = pad.status.as_ref()?;
    let playback = status.playback_url.as_deref().filter(|_| status.phase == Some(Phase::Ended));
    playback.or(status.url.as_deref())
}

/// Asks the operator to look at an object now.
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
            bail!("{kind:?} cannot be asked: give the name of a Pad, or padcfg/NAME, or leverconn/NAME")
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
    let progress = format!("{} {name}: asked to look again.\n", K::kind(&()));
    let is_handled = |object: &K| handled(object).as_ref() == Some(&request);
    wait_for_outcome(api, name, timeout, progress, is_handled).await
}

/// Wishes that an interview be ended.
pub async fn end(cluster: &TargetCluster, name: &str, timeout: Option<Duration>) -> anyhow::Result<String> {
    let pad: Pad = cluster.get(name).await?;
    if pad.phase() == Some(Phase::Ended) {
        return Ok(format!("Pad {name}: the interview is over already.\n"));
    }
    let api = cluster.api::<Pad>();
    write(&api, name, json!({"spec": {"state": "Ended"}})).await?;
    let progress = format!("Pad {name}: asked to end the interview.\n");
    wait_for_outcome(api, name, timeout, progress, |pad| {
        matches!(pad.phase(), Some(Phase::Ended | Phase::Skipped))
    })
    .await
}

/// Makes a Pad by hand.
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
            "the candidate has the pad {} already. {} If there shall be another one beside it, give --another",
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
    api.create(&parameters, &pad).await.with_context(|| format!("cannot make the Pad {name}"))?;
    let progress = format!("Pad {name}: stored; the operator makes the pad.\n");
    wait_for_outcome(api, &name, args.wait.timeout(), progress, |pad| {
        pad.phase().is_some_and(|phase| phase != Phase::Pending)
            || condition::is_true(pad.conditions(), types::STALLED)
    })
    .await
}

/// Whether a second pad beside this one would most likely be a mistake.
fn is_in_use(pad: &Pad) -> bool {
    !matches!(pad.phase(), Some(Phase::Ended | Phase::Skipped | Phase::Failed))
}

/// A name that the operator gives to none of its own, and the same for whoever asks next: two who ask at once make one.
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
        .with_context(|| format!("cannot write {name}"))?;
    Ok(())
}

/// Waits until the operator has done what was asked, and says what came of it.
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
        Ok(Ok(None)) => bail!("{progress}{name} was deleted meanwhile"),
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
                "{progress}not done within {} s. {now} The wish stays: look again with `kubectl pad status`, and see \
                 whether the operator runs",
                timeout.as_secs()
            )
        }
    }
}

/// The Ready condition in one sentence.
fn ready_message(object: &impl HasConditions) -> String {
    match condition::find(object.conditions(), types::READY) {
        Some(ready) => format!("It says {}: {}", ready.reason, ready.message),
        None => "The operator has not looked at it yet.".into(),
    }
}

/// An object whose state can be told.
trait Describe:
    HasConditions
    + Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
    + Clone
    + DeserializeOwned
    + Debug
    + Send
    + 'static
{
    /// Its state, in some lines.
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
        assert_eq!(pad_operator::api::names::pad_number(&first, "phone-screen", "op-1"), None);
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
