//! Environment of a scenario: a namespace, both simulated services and the operator.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{Timestamp, ToSpan};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, Patch, PatchParams, PostParams};
use pad_operator::api::names::PAD_ID;
use pad_operator::api::pad::{Trigger, TriggerSource};
use pad_operator::api::{
    Condition, FIELD_MANAGER, LeverConnection, Pad, PadConfiguration, condition, pad_builder,
};
use serde_json::{Value, json};
use simulators::{
    Call, Fault, InterviewOptions, InterviewSimulator, LeverOptions, LeverSimulator, NewCandidate, NewPad,
    Quota, RateLimit,
};
use testkit::resources::{Keys, connection_spec, resource, secret};
use testkit::{Operator, Wait, webhook};

use crate::bench::Bench;
use crate::load::timed;

/// Configuration of every environment.
pub const CONFIGURATION: &str = "phone-screen";
const STAGE: &str = "Phone Screen";
const TAG: &str = "coderpad";
const SIGNING_TOKEN: &str = "the-signing-token";
const SECRET: &str = "keys";
/// Limits of all waits.
pub const WAIT: Wait = Wait { timeout: Duration::from_secs(300), poll: Duration::from_millis(100) };
/// Limits of the wait for a start, whose time is measured.
const START_WAIT: Wait = Wait { timeout: Duration::from_secs(60), poll: Duration::from_millis(2) };

/// Options of an environment.
pub struct Setup {
    /// Namespace.
    pub name: &'static str,
    /// Number of connections, each with its configuration. Candidates use the first one.
    pub connections: usize,
    /// Whether services and operator apply Lever's documented rate limit; otherwise there is none.
    pub limited: bool,
    /// Interval at which both services are polled; `0s` = never.
    pub sync: &'static str,
}

impl Setup {
    /// Returns one connection without rate limit and without polling.
    pub fn new(name: &'static str) -> Self {
        Self { name, connections: 1, limited: false, sync: "0s" }
    }
}

/// Environment of a scenario.
pub struct TestEnv<'a> {
    bench: &'a Bench,
    setup: Setup,
    /// Simulated Lever.
    pub lever: LeverSimulator,
    /// Simulated CoderPad Interview.
    pub interview: InterviewSimulator,
    /// Operator, while it runs.
    pub operator: Option<Operator>,
    stage_id: String,
    starts: AtomicUsize,
}

/// Webhook that was answered.
pub struct Sent {
    /// Opportunity whose stage change it reported.
    pub opportunity: String,
    /// Time of sending, in milliseconds since the epoch.
    pub at: f64,
    /// Response time.
    pub took: Duration,
}

impl<'a> TestEnv<'a> {
    /// Starts an environment and waits until all its connections and configurations are Ready.
    pub async fn start(bench: &'a Bench, setup: Setup) -> anyhow::Result<Self> {
        let rate_limit = setup.limited.then(RateLimit::default);
        let lever = LeverSimulator::start(LeverOptions { rate_limit, ..LeverOptions::default() }).await?;
        let quota = Quota { limit: None, ..Quota::default() };
        let options = InterviewOptions { rate_limit, quota, ..InterviewOptions::default() };
        let interview = InterviewSimulator::start(options).await?;
        let stage_id = lever.stage_id(STAGE).context("the stage does not exist")?;
        let mut environment =
            Self { bench, setup, lever, interview, operator: None, stage_id, starts: AtomicUsize::new(0) };
        environment.create_resources().await?;
        environment.restart().await?;
        Ok(environment)
    }

    async fn create_resources(&self) -> anyhow::Result<()> {
        let name = self.setup.name;
        let namespaces: Api<Namespace> = Api::all(self.bench.client.clone());
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        namespaces.create(&PostParams::default(), &namespace).await?;
        let keys = Keys::new(&LeverOptions::default(), &InterviewOptions::default(), SIGNING_TOKEN);
        self.create::<Secret>(secret(SECRET, &keys.values())).await?;
        for number in 0..self.setup.connections {
            let connection = connection_name(number);
            let mut spec = connection_spec(SECRET, &self.lever.url(), &self.interview.url());
            spec["interview"]["maxPadsPerHour"] = json!(0);
            spec["sync"] = json!({"interval": self.setup.sync});
            self.create::<LeverConnection>(resource("LeverConnection", &connection, &spec)).await?;
            let spec = json!({"connectionRef": {"name": connection}, "stage": STAGE, "tag": TAG});
            let configuration = resource("PadConfiguration", &configuration_name(number), &spec);
            self.create::<PadConfiguration>(configuration).await?;
        }
        Ok(())
    }

    async fn create<K>(&self, object: Value) -> anyhow::Result<()>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + serde::Serialize,
        K::DynamicType: Default,
    {
        let objects: Api<K> = self.api();
        objects.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(())
    }

    /// Returns the API for the objects of a kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.bench.client.clone(), self.setup.name)
    }

    /// Restarts the operator and waits until everything is Ready. Returns the time until the operator itself was ready.
    pub async fn restart(&mut self) -> anyhow::Result<Duration> {
        let took = self.restart_with(&["--leader-election=false"]).await?;
        WAIT.until("all is Ready", async || {
            let connections: Api<LeverConnection> = self.api();
            let connections = connections.list(&Default::default()).await?;
            let configurations: Api<PadConfiguration> = self.api();
            let configurations = configurations.list(&Default::default()).await?;
            let connections =
                connections.iter().map(|one| one.status.as_ref().map(|status| &status.conditions));
            let configurations =
                configurations.iter().map(|one| one.status.as_ref().map(|status| &status.conditions));
            let pending =
                connections.chain(configurations).filter(|one| !one.is_some_and(|all| is_ready(all)));
            let pending = pending.count();
            ensure!(pending == 0, "{pending} are not Ready");
            Ok(())
        })
        .await?;
        Ok(took)
    }

    /// Restarts the operator with additional flags. Returns the time until it was ready.
    pub async fn restart_with(&mut self, flags: &[&str]) -> anyhow::Result<Duration> {
        self.stop().await?;
        let mut arguments = vec![
            format!("--namespace={}", self.setup.name),
            format!("--lease-namespace={}", self.setup.name),
            format!("--allow-api-origin={}", self.lever.origin()),
            format!("--allow-api-origin={}", self.interview.origin()),
        ];
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        // With limits, Lever's documented one is the bottleneck, and the simulated CoderPad has the same.
        let limits = match self.setup.limited {
            true => ["--interview-rate=10", "--interview-burst=20"],
            false => ["--lever-rate=0", "--interview-rate=0"],
        };
        arguments.extend(limits.map(ToOwned::to_owned));
        let user = format!("{}-{}", self.setup.name, self.starts.fetch_add(1, Ordering::Relaxed));
        let kubeconfig = self.file(&user, "kubeconfig");
        std::fs::write(&kubeconfig, self.bench.plane.kubeconfig_yaml_for(&user, &["system:masters"])?)?;
        let program = Operator::program_in_own_folder("`make bench`")?;
        let operator = self.operator.insert(Operator::new(program, kubeconfig, self.file(&user, "log"))?);
        operator.set_arguments(arguments);
        let started = Instant::now();
        operator.start()?;
        operator.wait_until_ready(START_WAIT).await?;
        Ok(started.elapsed())
    }

    /// Returns the file of a user of the API server.
    fn file(&self, user: &str, extension: &str) -> PathBuf {
        self.bench.plane.folder().join(format!("{user}.{extension}"))
    }

    /// Stops the operator, if it runs.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        match self.operator.take() {
            Some(mut operator) => operator.kill().await,
            None => Ok(()),
        }
    }

    /// Returns the running operator.
    pub fn running(&self) -> anyhow::Result<&Operator> {
        self.operator.as_ref().context("the operator does not run")
    }

    /// Adds a candidate with the tag, in the first stage.
    pub fn candidate(&self) -> String {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let name = format!("Candidate {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.lever.add_candidate(NewCandidate { name, tags: vec![TAG.into()], ..NewCandidate::default() })
    }

    /// Moves a candidate to the stage and sends the webhook as Lever does.
    pub fn change_stage(
        &self,
        opportunity: String,
    ) -> anyhow::Result<impl Future<Output = anyhow::Result<Sent>> + Send + 'static> {
        let url = self.running()?.webhook_url(self.setup.name, &connection_name(0));
        let (lever, http, stage_id) = (self.lever.clone(), self.bench.http.clone(), self.stage_id.clone());
        Ok(async move {
            let triggered_at = lever.move_to_stage(&opportunity, STAGE).await.at;
            let body = webhook::stage_change(SIGNING_TOKEN, &opportunity, &stage_id, triggered_at);
            let at = now();
            let send = async || http.post(&url).json(&body).send().await;
            let answer = async {
                // The receiver closes idle or old connections, perhaps just as this webhook is written to one. Lever
                // retries in this case, and so does the bench; the measured time includes both attempts.
                let answer = match send().await {
                    Err(error) if error.is_request() && !error.is_connect() => send().await?,
                    other => other?,
                };
                Ok(answer.text().await?)
            };
            let (answer, took) = timed(answer).await?;
            ensure!(answer.contains("Accepted"), "the webhook was answered: {answer}");
            Ok(Sent { opportunity, at, took })
        })
    }

    /// Returns a Pad like the one that the receiver creates for this candidate.
    pub async fn pad_for(&self, opportunity: &str) -> anyhow::Result<Pad> {
        let configurations: Api<PadConfiguration> = self.api();
        let configuration = configurations.get(CONFIGURATION).await?;
        let trigger = Trigger { source: TriggerSource::Webhook, at: Some(Timestamp::now()) };
        Ok(pad_builder::pad(&configuration, opportunity, 1, trigger))
    }

    /// Waits until each of these candidates has a link.
    pub async fn wait_for_links(&self, opportunities: &[String]) -> anyhow::Result<()> {
        let mut left: Vec<&String> = opportunities.iter().collect();
        WAIT.until("all have their link", async || {
            left.retain(|one| self.lever.links(one).is_empty());
            ensure!(left.is_empty(), "{} have none", left.len());
            Ok(())
        })
        .await
    }

    /// Returns the times from each webhook to the arrival of its link in Lever.
    pub fn times_to_link(&self, sent: &[Sent]) -> anyhow::Result<Vec<Duration>> {
        let calls = self.lever.calls();
        let added: BTreeMap<&str, i64> = calls
            .iter()
            .filter(|call| call.path.ends_with("/addLinks"))
            .filter_map(|call| Some((call.path.split('/').nth(3)?, call.at)))
            .collect();
        sent.iter()
            .map(|one| {
                let linked_at = added.get(one.opportunity.as_str()).context("there is no link")?;
                Ok(Duration::from_secs_f64(((*linked_at as f64) - one.at).max(0.0) / 1000.0))
            })
            .collect()
    }

    /// Returns the calls to both services since the last [`clear_calls`](Self::clear_calls).
    pub fn calls(&self) -> Vec<Call> {
        self.lever.calls().into_iter().chain(self.interview.calls()).collect()
    }

    /// Clears the calls so far.
    pub fn clear_calls(&self) {
        self.lever.clear_calls();
        self.interview.clear_calls();
    }

    /// Delays each call to both services.
    pub fn slow_down(&self, by: Duration) {
        for faults in [self.lever.faults(), self.interview.faults()] {
            for method in ["GET", "POST", "PUT"] {
                faults.add(Fault::on(method, ".").delay(by).until_removed());
            }
        }
    }

    /// Returns the number of writes of Pads and Events by the operator so far.
    pub async fn writes(&self) -> anyhow::Result<usize> {
        let events = self.bench.plane.audit_events().await?;
        let is_own = |event: &Value| {
            let user = event["user"]["username"].as_str().unwrap_or_default();
            let verb = event["verb"].as_str().unwrap_or_default();
            user.starts_with(self.setup.name)
                && !["get", "list", "watch"].contains(&verb)
                && ["pads", "events"].contains(&event["objectRef"]["resource"].as_str().unwrap_or_default())
        };
        Ok(events.iter().filter(|event| is_own(event)).count())
    }

    /// Creates open Pads like the one of this candidate, with pads in CoderPad, as if one had been created every second
    /// until an hour ago. Their candidates have left the stage.
    pub async fn create_open_pads(&self, like: &str, numbers: std::ops::Range<usize>) -> anyhow::Result<()> {
        let last = Timestamp::now().checked_sub(1.hour())?;
        let pads: Api<Pad> = self.api();
        let like = pads.get(&kube::ResourceExt::name_any(&self.pad_for(like).await?)).await?;
        let (pads, like) = (&pads, &like);
        let made = stream::iter(numbers).map(async |number| -> anyhow::Result<()> {
            let made_at = last.checked_sub(i64::try_from(number)?.seconds())?;
            let new = NewPad { made_at: Some(made_at.as_millisecond()), ..NewPad::default() };
            let id = self.interview.add_pad(new);
            let mut pad = self.pad_like(like, &format!("moved-on-{number}"));
            pad.metadata.annotations = like.metadata.annotations.clone();
            kube::ResourceExt::annotations_mut(&mut pad).insert(PAD_ID.into(), id.clone());
            let name = kube::ResourceExt::name_any(&pad);
            pads.create(&field_manager(), &pad).await?;
            let mut status = serde_json::to_value(&like.status)?;
            status["padID"] = json!(id);
            status["url"] = json!(format!("https://app.coderpad.io/{id}"));
            status["createdAt"] = json!(made_at);
            let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
            pads.patch_status(&name, &parameters, &Patch::Merge(json!({"status": status}))).await?;
            Ok(())
        });
        made.buffer_unordered(32).try_collect::<Vec<()>>().await?;
        Ok(())
    }

    fn pad_like(&self, like: &Pad, opportunity: &str) -> Pad {
        let name = pad_operator::api::names::pad_name(CONFIGURATION, opportunity, 1);
        let mut pad = Pad::new(&name, like.spec.clone());
        pad.spec.opportunity_id = opportunity.to_owned();
        pad.metadata.labels = like.metadata.labels.clone();
        let digest = pad_operator::api::names::opportunity_digest(opportunity);
        kube::ResourceExt::labels_mut(&mut pad)
            .insert(pad_operator::api::names::OPPORTUNITY_LABEL.into(), digest);
        pad
    }

    /// Checks that the services recorded no violation.
    pub fn check_violations(&self) -> anyhow::Result<()> {
        let violations = [self.lever.violations(), self.interview.violations()].concat();
        ensure!(violations.is_empty(), "no correct client does this: {violations:?}");
        Ok(())
    }
}

/// Returns the parameters with which the operator creates Pads.
pub fn field_manager() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() }
}

fn is_ready(conditions: &[Condition]) -> bool {
    let ready = condition::find(conditions, "Ready");
    ready.is_some_and(|ready| ready.status == condition::Status::True)
}

fn connection_name(number: usize) -> String {
    if number == 0 { "acme".to_owned() } else { format!("acme-{number}") }
}

fn configuration_name(number: usize) -> String {
    if number == 0 { CONFIGURATION.to_owned() } else { format!("{CONFIGURATION}-{number}") }
}

/// Returns the current time in milliseconds since the epoch, with fractions.
fn now() -> f64 {
    Timestamp::now().as_duration().as_secs_f64() * 1000.0
}
