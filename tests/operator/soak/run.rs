//! Executes a schedule on a [`TestEnv`].

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;
use simulators::{Fault, FaultHandle, KeyRole, NewCandidate, NewPad, PadView};
use tokio::task::JoinSet;

use super::compare::{People, SeriesKey};
use super::replicas::Replicas;
use super::schedule::{Event, FaultPlan, FaultTarget, PauseEnd, SoakService};
use super::{RULES, Size};
use crate::cluster::objects;
use crate::environment::{CONNECTION, TestEnv};
use crate::tcp_proxy::TcpProxy;
use testkit::resources::merge;

/// Interval between checks of the replicas.
const SUPERVISE_INTERVAL: Duration = Duration::from_millis(100);
/// Number of existing pads: CoderPad's list has several pages.
const EXISTING_PADS: usize = 60;

/// Maximum lifetime of a fault that applies to any request. Without it such faults could wait for requests, and a
/// connection that is only probed occasionally would meet nothing else for minutes.
const FAULT_LIFETIME: Duration = Duration::from_millis(1500);

/// Valid key of another CoderPad organization.
const OTHER_KEY: &str = "interview-77b02e-soak-of-another-organization";

/// Candidate in Lever.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub id: String,
    pub tags_ever: BTreeSet<String>,
}

/// A run and its observations.
pub struct SoakRun {
    pub env: TestEnv,
    pub replicas: Replicas,
    pub candidates: Vec<Option<Candidate>>,
    pub actions_of_people: People,
    /// Events other than stage changes, with their time.
    pub journal: Vec<String>,
    faults: Vec<FaultHandle>,
    /// Tasks that release held requests.
    holds: JoinSet<()>,
    /// Deliveries in progress.
    pub deliveries: JoinSet<()>,
    start: Instant,
    /// Load balancer between Lever and the replicas.
    balancer: TcpProxy,
    /// All names of the connection so far; the last one is the current name.
    connections: Vec<String>,
    is_connected: bool,
    /// Names of the configurations that are deleted now.
    unconfigured: BTreeSet<String>,
}

impl SoakRun {
    pub async fn new(env: TestEnv, size: Size) -> Self {
        let ports = env.operators.iter().map(|operator| operator.webhooks).collect();
        let balancer = TcpProxy::to_any("http", ports).await;
        env.interview.set_key(OTHER_KEY, "owner@elsewhere.example", KeyRole::Elsewhere);
        env.declare_private(OTHER_KEY);
        for _ in 0..EXISTING_PADS {
            env.interview.add_pad(NewPad::default());
        }
        let run = Self {
            replicas: Replicas::new(&env),
            env,
            candidates: vec![None; size.candidates],
            actions_of_people: People::default(),
            journal: Vec::new(),
            faults: Vec::new(),
            holds: JoinSet::new(),
            deliveries: JoinSet::new(),
            start: Instant::now(),
            balancer,
            connections: vec![CONNECTION.to_owned()],
            is_connected: true,
            unconfigured: BTreeSet::new(),
        };
        run.set_webhook();
        run
    }

    fn connection(&self) -> &str {
        self.connections.last().unwrap()
    }

    /// Enters the webhook URL of the current connection in Lever.
    fn set_webhook(&self) {
        let lever = &self.env.lever;
        for webhook in lever.webhooks() {
            lever.remove_webhook(webhook["id"].as_str().unwrap());
        }
        let (base, namespace, name) = (self.balancer.url(), self.env.namespace, self.connection());
        lever.set_webhook(&format!("{base}/webhooks/lever/{namespace}/{name}"), &self.env.signing_token);
    }

    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns the counts of events.
    pub fn counts(&self) -> String {
        let met: u32 = self.faults.iter().map(FaultHandle::hits).sum();
        let webhooks: usize =
            self.env.lever.deliveries().iter().map(|delivery| delivery.attempts.len()).sum();
        let (candidates, kills) = (self.candidates.len(), self.replicas.kills);
        format!("{candidates} candidates, {met} faults met, {kills} kills, {webhooks} webhooks")
    }

    pub async fn supervise(&mut self) {
        self.replicas.supervise(&mut self.env).await;
    }

    /// Executes all events at their times.
    pub async fn execute_all(&mut self, events: &[(Duration, Event)]) {
        for (at, event) in events {
            loop {
                self.supervise().await;
                let rest = at.saturating_sub(self.elapsed());
                if rest.is_zero() {
                    break;
                }
                tokio::time::sleep(rest.min(SUPERVISE_INTERVAL)).await;
            }
            self.journal.push(format!("{:>9.3?} {event:?}", self.elapsed()));
            self.execute(event).await;
        }
        // Held requests continue when the faults are cleared.
        self.holds.abort_all();
    }

    async fn execute(&mut self, event: &Event) {
        let lever = self.env.lever.clone();
        match event {
            Event::AddCandidate { candidate, tags } => self.add_candidate(*candidate, tags),
            Event::Tag { candidate, tag } => {
                let candidate = self.candidates[*candidate].as_mut().unwrap();
                lever.add_tag(&candidate.id, tag);
                candidate.tags_ever.insert((*tag).to_owned());
            }
            Event::Untag { candidate, tag } => lever.remove_tag(self.id(*candidate), tag),
            Event::Move { candidate, stage } => drop(lever.move_to_stage(self.id(*candidate), stage).await),
            Event::Deliver(behaviour) => lever.set_delivery_behaviour(behaviour.clone()),
            Event::Release { newest_first } => {
                let newest_first = *newest_first;
                self.deliveries.spawn(async move { lever.release_deliveries(newest_first).await });
            }
            Event::Rerun(which) => {
                let count = lever.deliveries().len();
                if let Some(which) = which.checked_rem(count) {
                    self.deliveries.spawn(async move { drop(lever.redeliver(which).await) });
                }
            }
            Event::FaultPlan(order) => self.order(order),
            Event::ListLag(lag) => self.env.interview.set_list_lag(Duration::from_millis(*lag)),
            Event::PagesByCursor(by_cursor) => {
                self.env.interview.change_settings(|settings| settings.cursors = *by_cursor);
            }
            Event::PadByHand => drop(self.env.interview.add_pad(NewPad::default())),
            Event::ExpireTokens => lever.expire_offsets(),
            Event::Kill(who) => self.replicas.kill(&mut self.env, *who).await,
            Event::Terminate(who) => self.replicas.terminate(&mut self.env, *who).await,
            Event::Start => self.replicas.start(),
            Event::Cut(who) => self.replicas.disconnect(&self.env, *who).await,
            Event::EndFaults => self.replicas.restore(&self.env),
            Event::StopService(SoakService::Lever) => lever.stop().await,
            Event::StopService(SoakService::Interview) => self.env.interview.stop().await,
            Event::ResumeService(service) => self.resume_service(*service).await,
            Event::RejectKey(service) => self.set_key(*service, "a-wrong-key-0000").await,
            Event::AcceptKey(service) => self.accept_key(*service).await,
            Event::Suspend(suspend) => {
                self.edit("leverconnections", self.connection(), json!({"suspend": suspend})).await;
            }
            Event::WipeStatus(which) => {
                if let Some(pad) = self.pad(*which).await {
                    let wiped = Patch::Merge(json!({"status": null}));
                    let name = pad.metadata.name.unwrap();
                    self.pads().patch_status(&name, &PatchParams::default(), &wiped).await.unwrap();
                }
            }
            Event::Restore(which) => self.restore(*which).await,
            Event::Delete(which) => {
                let pad = self.pad(*which).await.filter(|pad| !has_only_pending_link(pad));
                if let Some(pad) = pad
                    && self.delete_if_unchanged(&pad).await
                {
                    self.record_deletion(&pad);
                }
            }
            Event::DeleteWith { which, policy } => self.delete_with(*which, policy).await,
            Event::DeleteSkipped(which) => self.delete_skipped(*which).await,
            Event::Unconfigure(rule) => self.unconfigure(*rule).await,
            Event::Configure(rule) => self.configure(*rule).await,
            Event::Disconnect => self.disconnect().await,
            Event::Reconnect => self.reconnect().await,
            Event::ChangeTag(rule) => self.edit_rule(*rule, json!({"tag": "another-tag"})).await,
            Event::ChangeTagBack(rule) => self.edit_rule(*rule, json!({"tag": RULES[*rule].tag})).await,
            Event::ChangeTitle(rule) => {
                let title = format!("{{candidate}} after {} s", self.elapsed().as_secs());
                self.edit_rule(*rule, json!({"title": title})).await;
            }
            Event::Apply { rule, candidate } => self.apply(*rule, *candidate).await,
            Event::DeletePad(which) => {
                if let Some(pad) = self.interview_of(*which) {
                    self.journal.push(format!("          a person deletes pad {:?}", pad.id));
                    self.env.interview.delete_pad(&pad.id);
                    let now = jiff::Timestamp::now().as_millisecond();
                    self.actions_of_people.removed.insert(pad.id, now);
                }
            }
            Event::SwapKey => self.swap_key().await,
            Event::Begin(which) => {
                if let Some(pad) = self.interview_of(*which) {
                    self.env.interview.start_interview(&pad.id, &["Olga Owner", "A Candidate"]);
                }
            }
            Event::End(which) => {
                if let Some(pad) = self.interview_of(*which) {
                    match which % 2 {
                        0 => self.env.interview.end_interview(&pad.id),
                        _ => self.env.interview.auto_end(&pad.id),
                    }
                }
            }
        }
    }

    fn id(&self, candidate: usize) -> &str {
        &self.candidates[candidate].as_ref().unwrap().id
    }

    fn add_candidate(&mut self, candidate: usize, tags: &[&str]) {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let tags_ever = tags.iter().cloned().collect();
        let id = self.env.add_candidate(NewCandidate { tags, ..NewCandidate::default() });
        self.candidates[candidate] = Some(Candidate { id, tags_ever });
    }

    fn order(&mut self, order: &FaultPlan) {
        let FaultPlan { target, action, skip, times, then } = order;
        let (service, method, path, containing) = match target {
            FaultTarget::Create(one) => {
                (SoakService::Interview, "POST", "^/api/pads/?$".to_owned(), Some(self.id(*one)))
            }
            FaultTarget::Opportunity(one) => {
                (SoakService::Lever, "GET", format!("/opportunities/{}$", self.id(*one)), None)
            }
            FaultTarget::AddLink(one) => {
                (SoakService::Lever, "POST", format!("/{}/addLinks$", self.id(*one)), None)
            }
            FaultTarget::RemoveLink(one) => {
                (SoakService::Lever, "POST", format!("/{}/removeLinks$", self.id(*one)), None)
            }
            FaultTarget::Tags(one) => {
                (SoakService::Lever, "POST", format!("/{}/(add|remove)Tags$", self.id(*one)), None)
            }
            FaultTarget::Note(one) => {
                (SoakService::Lever, "POST", format!("/{}/notes$", self.id(*one)), None)
            }
            FaultTarget::Opportunities => (SoakService::Lever, "GET", "^/v1/opportunities$".to_owned(), None),
            FaultTarget::Pad => (SoakService::Interview, "*", "^/api/pads/[^/]+/?$".to_owned(), None),
            FaultTarget::PadList => {
                (SoakService::Interview, "GET", "^/api/organization/pads/?$".to_owned(), None)
            }
            FaultTarget::Every(service) => (*service, "*", "^/(v1|api)/".to_owned(), None),
        };
        let mut fault = Fault::on(method, &path).skip(*skip).times(*times).action(action.clone());
        if let Some(text) = containing {
            fault = fault.containing(text);
        }
        let faults = match service {
            SoakService::Lever => self.env.lever.faults(),
            SoakService::Interview => self.env.interview.faults(),
        };
        let handle = faults.add(fault);
        let (ordered, then, passes) = (handle.clone(), *then, !target.is_of_one_candidate());
        self.holds.spawn(async move {
            if passes {
                tokio::time::sleep(FAULT_LIFETIME).await;
                if then.is_none() || ordered.hits() == 0 {
                    ordered.remove();
                    return;
                }
            }
            let Some((milliseconds, then)) = then else { return };
            ordered.reached().await;
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            match then {
                PauseEnd::Release => ordered.release(),
                PauseEnd::Discard => ordered.discard(),
            }
        });
        self.faults.push(handle);
    }

    async fn resume_service(&self, service: SoakService) {
        match service {
            SoakService::Lever => self.env.lever.resume().await.unwrap(),
            SoakService::Interview => self.env.interview.resume().await.unwrap(),
        }
    }

    async fn accept_key(&self, service: SoakService) {
        let options = super::options();
        match service {
            SoakService::Lever => self.set_key(service, &options.lever.api_key).await,
            SoakService::Interview => self.set_key(service, &options.interview.api_key).await,
        }
    }

    /// Sets the key of another organization, unless the connection has not seen its own one yet: a new connection that sees
    /// the other one first belongs to that.
    async fn swap_key(&self) {
        let connection = self.env.get("leverconnections", self.connection()).await;
        if !connection["status"]["organization"].is_null() {
            self.set_key(SoakService::Interview, OTHER_KEY).await;
        }
    }

    async fn set_key(&self, service: SoakService, key: &str) {
        let name = match service {
            SoakService::Lever => "lever-api-key",
            SoakService::Interview => "interview-api-key",
        };
        self.env.set_secret(name, key).await;
    }

    fn pads(&self) -> Api<DynamicObject> {
        objects(&self.env.client, self.env.namespace, "pads")
    }

    /// Returns one of the Pads that are not terminating.
    async fn pad(&self, which: usize) -> Option<DynamicObject> {
        let mut pads = self.pads().list(&Default::default()).await.unwrap().items;
        pads.retain(|pad| pad.metadata.deletion_timestamp.is_none());
        let which = which.checked_rem(pads.len())?;
        Some(pads.swap_remove(which))
    }

    fn record_deletion(&mut self, pad: &DynamicObject) {
        let series_key = series_key(pad);
        self.journal.push(format!("          a user deletes {:?} of {series_key:?}", pad.metadata.name));
        if self.is_unattended(&series_key.0) {
            self.actions_of_people.unattended.insert(series_key.clone());
        }
        *self.actions_of_people.deletions.entry(series_key).or_default() += 1;
    }

    /// Deletes a Pad with this policy.
    async fn delete_with(&mut self, which: usize, policy: &str) {
        let Some(pad) = self.pad(which).await.filter(|pad| !has_only_pending_link(pad)) else { return };
        let name = pad.metadata.name.clone().unwrap();
        let edited = Patch::Merge(json!({"spec": {"deletionPolicy": policy}}));
        let Ok(edited) = self.pads().patch(&name, &PatchParams::default(), &edited).await else { return };
        if !has_only_pending_link(&edited) && self.delete_if_unchanged(&edited).await {
            self.record_deletion(&edited);
            if policy == "Unlink" {
                self.actions_of_people.unlinked.insert(series_key(&edited));
            }
        }
    }

    async fn delete_skipped(&mut self, which: usize) {
        let mut pads = self.pads().list(&Default::default()).await.unwrap().items;
        pads.retain(|pad| {
            pad.data["status"]["phase"] == "Skipped" && pad.metadata.deletion_timestamp.is_none()
        });
        let Some(which) = which.checked_rem(pads.len()) else { return };
        if self.delete_if_unchanged(&pads[which]).await {
            self.record_deletion(&pads[which]);
        }
    }

    async fn configure(&mut self, rule: usize) {
        self.unconfigured.remove(RULES[rule].name);
        let mut spec = RULES[rule].full_spec();
        spec["connectionRef"] = json!({"name": self.connection()});
        self.env.apply("padconfigurations", RULES[rule].name, spec).await;
    }

    async fn disconnect(&mut self) {
        for rule in &RULES {
            self.actions_of_people.replaced.insert(rule.name.to_owned());
            self.env.delete("padconfigurations", rule.name).await;
        }
        self.env.delete("leverconnections", self.connection()).await;
        self.is_connected = false;
        self.record_unattended().await;
    }

    /// Reports whether the connection of a rule's Pads does not exist, and no rule names another one for them.
    fn is_unattended(&self, rule: &str) -> bool {
        !self.is_connected || (self.actions_of_people.renamed && self.unconfigured.contains(rule))
    }

    /// Records the Pads whose deletion does not wait for a connection.
    async fn record_unattended(&mut self) {
        let pads = self.pads().list(&Default::default()).await.unwrap().items;
        let deleted = pads.iter().filter(|pad| pad.metadata.deletion_timestamp.is_some()).map(series_key);
        let unattended: Vec<SeriesKey> = deleted.filter(|key| self.is_unattended(&key.0)).collect();
        self.actions_of_people.unattended.extend(unattended);
    }

    async fn unconfigure(&mut self, rule: usize) {
        let name = RULES[rule].name;
        self.actions_of_people.replaced.insert(name.to_owned());
        self.env.delete("padconfigurations", name).await;
        self.unconfigured.insert(name.to_owned());
        self.record_unattended().await;
    }

    async fn reconnect(&mut self) {
        self.connections.push(format!("{CONNECTION}-{}", self.connections.len() + 1));
        let mut spec = self.env.connection_spec();
        merge(&mut spec, &super::options().connection);
        self.env.apply("leverconnections", self.connection(), spec).await;
        for rule in 0..RULES.len() {
            self.configure(rule).await;
        }
        self.set_webhook();
        self.is_connected = true;
        self.actions_of_people.renamed = true;
    }

    async fn edit_rule(&self, rule: usize, spec: serde_json::Value) {
        self.edit("padconfigurations", RULES[rule].name, spec).await;
    }

    /// Edits an object, unless it is deleted at the moment.
    async fn edit(&self, plural: &str, name: &str, spec: serde_json::Value) {
        let api = objects(&self.env.client, self.env.namespace, plural);
        let edit = Patch::Merge(json!({"spec": spec}));
        match api.patch(name, &PatchParams::default(), &edit).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Applies a Pad for an existing candidate, as a user does.
    async fn apply(&mut self, rule: usize, candidate: usize) {
        let Some(id) = self.candidates[candidate].as_ref().map(|candidate| candidate.id.clone()) else {
            return;
        };
        let rule = RULES[rule].name;
        let count = self.actions_of_people.applied.entry((rule.to_owned(), id.clone())).or_default();
        *count += 1;
        let name = format!("by-hand-{rule}-{candidate}-{count}");
        let spec = json!({"configurationRef": {"name": rule}, "opportunityID": id});
        self.env.apply("pads", &name, spec).await;
    }

    /// Deletes a Pad and recreates it like `kubectl apply` of a backup: with its annotations, without its status. Not a
    /// Pad with a finalizer, because for the operator that would be an ordinary deletion.
    async fn restore(&mut self, which: usize) {
        let Some(pad) = self.pad(which).await else { return };
        let metadata = &pad.metadata;
        if metadata.finalizers.as_ref().is_some_and(|all| !all.is_empty()) {
            return;
        }
        let name = metadata.name.clone().unwrap();
        if !self.delete_if_unchanged(&pad).await {
            return;
        }
        let backup = json!({"apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad", "spec": pad.data["spec"],
            "metadata": {"name": name, "labels": metadata.labels, "annotations": metadata.annotations}});
        let backup = serde_json::from_value(backup).unwrap();
        let restored = self.pads().create(&PostParams::default(), &backup).await;
        self.journal.push(format!("          restored {name}: {}", restored.is_ok()));
        if restored.is_err() {
            // A webhook was faster: then it was a deletion.
            self.record_deletion(&pad);
        } else {
            self.actions_of_people.restored.insert(series_key(&pad));
        }
    }

    /// Deletes a Pad unless it has changed since it was read.
    async fn delete_if_unchanged(&self, pad: &DynamicObject) -> bool {
        let resource_version = pad.metadata.resource_version.clone();
        let unchanged = Preconditions { resource_version, uid: None };
        let parameters = DeleteParams { preconditions: Some(unchanged), ..DeleteParams::default() };
        self.pads().delete(pad.metadata.name.as_ref().unwrap(), &parameters).await.is_ok()
    }

    /// Returns a pad in CoderPad that has not ended and to which a candidate has the link.
    fn interview_of(&self, which: usize) -> Option<PadView> {
        let links: BTreeSet<String> = self
            .candidates
            .iter()
            .flatten()
            .flat_map(|candidate| self.env.lever.links(&candidate.id))
            .collect();
        let mut pads = self.env.interview.live_pads();
        pads.retain(|pad| pad.ended_at.is_none() && links.contains(&pad.url));
        Some(pads.swap_remove(which.checked_rem(pads.len())?))
    }

    /// Restores everything.
    pub async fn end_faults(&mut self) {
        self.replicas.restore(&self.env);
        self.replicas.start();
        self.supervise().await;
        self.env.lever.faults().clear();
        self.env.interview.faults().clear();
        self.env.interview.set_list_lag(Duration::ZERO);
        for service in [SoakService::Lever, SoakService::Interview] {
            self.resume_service(service).await;
            self.accept_key(service).await;
        }
        self.env.lever.set_delivery_behaviour(Default::default());
        self.edit("leverconnections", self.connection(), json!({"suspend": false})).await;
        self.env.lever.release_deliveries(false).await;
    }
}

/// Returns configuration and candidate of a Pad.
fn series_key(pad: &DynamicObject) -> SeriesKey {
    let spec = &pad.data["spec"];
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (text(&spec["configurationRef"]["name"]), text(&spec["opportunityID"]))
}

/// Reports whether no finalizer protects a Pad whose pad exists and whose link is in flight: if it is deleted at this
/// time, it may orphan its pad (docs/exactly-once.md).
fn has_only_pending_link(pad: &DynamicObject) -> bool {
    let is_made =
        pad.metadata.annotations.as_ref().is_some_and(|all| all.contains_key("padoperator.dev/pad-id"));
    let is_held = pad.metadata.finalizers.as_ref().is_some_and(|all| !all.is_empty());
    is_made && !is_held && pad.data["status"]["linkedAt"].is_null()
}
