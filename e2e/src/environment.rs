//! Test environment: Lever and CoderPad outside of the cluster, and the resources of one team in it.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use simulators::{InterviewOptions, InterviewSimulator, LeverOptions, LeverSimulator, NewCandidate, Quota};
use testkit::resources::{Keys, connection_spec, resource, secret};

use crate::cluster::{Cluster, NAMESPACE, RELEASE_NAMESPACE, WAIT};
use crate::node::HOST_ADDRESS;

/// Stage and tag of the only rule.
pub const STAGE: &str = "Phone Screen";
const TAG: &str = "coderpad";
/// Initial stage of all candidates: one that no rule names.
const INITIAL_STAGE: &str = "Recruiter Screen";
/// Name by which Pods reach Lever, so that DNS is tested too. They reach CoderPad by its address.
const LEVER_NAME: &str = "lever.outside.svc.cluster.local";

const SIGNING_TOKEN: &str = "the-signing-token-of-simulated-lever";
const CONNECTION: &str = "leverconnection/acme";

/// Both simulated services.
pub struct TestEnv {
    pub lever: LeverSimulator,
    pub interview: InterviewSimulator,
    lever_origin: String,
}

/// Candidate in Lever with a unique name.
#[derive(Clone)]
pub struct Candidate {
    pub id: String,
    pub name: String,
}

impl TestEnv {
    /// Starts the services where Pods reach them, with the rate limits of the real ones.
    pub async fn start() -> anyhow::Result<Self> {
        let address = SocketAddr::from((HOST_ADDRESS, 0));
        let lever = LeverOptions { address, ..LeverOptions::default() };
        let quota = Quota { limit: None, ..Quota::default() };
        let interview = InterviewOptions { address, quota, ..InterviewOptions::default() };
        let lever = LeverSimulator::start(lever).await?;
        let port = lever.origin().rsplit(':').next().unwrap_or_default().to_owned();
        Ok(Self {
            lever,
            interview: InterviewSimulator::start(interview).await?,
            lever_origin: format!("http://{LEVER_NAME}:{port}"),
        })
    }

    /// Returns the values of the chart.
    pub fn values(&self, image: &str) -> anyhow::Result<Value> {
        let (repository, tag) = image.rsplit_once(':').context("the image has no tag")?;
        Ok(json!({
            // There is no registry: the image is on the node.
            "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
            "namespaces": [NAMESPACE],
            "publicURL": "https://hooks.example.com",
            "allowApiOrigins": [self.lever_origin, self.interview.origin()],
            // A lost response must be resolved within seconds and not minutes.
            "extraArgs": ["--interview-create-timeout=5s", "--interview-list-lag=2s"],
        }))
    }

    /// Routes the DNS name of Lever out of the cluster, with a Service that has no Pods.
    pub async fn route_lever(&self, cluster: &Cluster) -> anyhow::Result<()> {
        cluster.kubectl("create namespace outside").await?;
        let metadata = json!({"name": "lever", "labels": {"kubernetes.io/service-name": "lever"}});
        let address = HOST_ADDRESS.map(|part| part.to_string()).join(".");
        let ports = json!([{"name": "http", "port": 80}]);
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"clusterIP": "None", "ports": ports}});
        cluster.apply("outside", &service).await?;
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
            "addressType": "IPv4", "endpoints": [{"addresses": [address]}], "ports": ports});
        cluster.apply("outside", &slice).await
    }

    /// Connects the services as a user does: creates the Secret, the connection and a rule, enters the webhook URL in
    /// Lever and presses Verify.
    pub async fn connect(&self, cluster: &Cluster) -> anyhow::Result<String> {
        let (lever, interview) = (LeverOptions::default(), InterviewOptions::default());
        let keys = Keys::new(&lever, &interview, SIGNING_TOKEN);
        let lever_url = format!("{}/v1", self.lever_origin);
        let mut connection = connection_spec("acme", &lever_url, &self.interview.url());
        // Unlimited, because this test creates more pads within minutes than a team within hours.
        connection["interview"]["maxPadsPerHour"] = 0.into();
        connection["sync"] = json!({"interval": "0s"});
        let rule = json!({"connectionRef": {"name": "acme"}, "stage": STAGE, "tag": TAG});
        for object in [
            secret("acme", &keys.values()),
            resource("LeverConnection", "acme", &connection),
            resource("PadConfiguration", "phone-screen", &rule),
        ] {
            cluster.apply(NAMESPACE, &object).await?;
        }
        let wait = format!("wait --namespace {NAMESPACE} --timeout 60s --for condition=");
        cluster.kubectl(&format!("{wait}Ready {CONNECTION} padconfiguration/phone-screen")).await?;

        let connection = cluster.get(&format!("{CONNECTION} --namespace {NAMESPACE}")).await?;
        let public_url = connection["status"]["webhookURL"].as_str().unwrap_or_default();
        let path = public_url
            .strip_prefix("https://hooks.example.com")
            .context("status.webhookURL lacks publicURL")?;
        // A frontend of the Service, such as an Ingress, is not part of the operator: Lever calls the Service.
        let url = format!("http://{}{path}", service_address(cluster).await?);
        self.lever.set_webhook(&url, SIGNING_TOKEN);
        let verified = self.lever.verify().await;
        ensure!(
            verified.verified,
            "Verify in Lever was answered with {:?} {}",
            verified.status,
            verified.answer
        );
        cluster.kubectl(&format!("{wait}WebhookVerified {CONNECTION}")).await?;
        Ok(format!("Lever by the name {LEVER_NAME}, CoderPad by its address; webhooks go to {url}"))
    }

    /// Adds a candidate with the tag who is not yet in the stage.
    pub fn candidate(&self, name: &str) -> Candidate {
        let new = NewCandidate {
            name: name.to_owned(),
            stage: INITIAL_STAGE.to_owned(),
            tags: vec![TAG.to_owned()],
            ..NewCandidate::default()
        };
        Candidate { id: self.lever.add_candidate(new), name: name.to_owned() }
    }

    /// Adds a candidate and moves the candidate to the stage.
    pub async fn candidate_in_stage(&self, name: &str) -> Candidate {
        let candidate = self.candidate(name);
        self.lever.move_to_stage(&candidate.id, STAGE).await;
        candidate
    }

    /// Requests a sync as a person does, and waits until it is over.
    pub async fn sync(&self, cluster: &Cluster, request: &str) -> anyhow::Result<()> {
        let asked = format!("padoperator.dev/reconcile-requested-at={request}");
        cluster
            .kubectl(&format!("annotate {CONNECTION} --namespace {NAMESPACE} --overwrite {asked}"))
            .await?;
        let answered = format!("jsonpath={{.status.lastHandledReconcileAt}}={request}");
        let wait = format!("wait {CONNECTION} --namespace {NAMESPACE} --timeout 60s --for {answered}");
        cluster.kubectl(&wait).await.map(drop)
    }

    /// Checks that the services rejected no request.
    pub fn check_violations(&self) -> anyhow::Result<usize> {
        let violations = [self.lever.violations(), self.interview.violations()].concat();
        ensure!(violations.is_empty(), "the real services would reject this: {}", violations.join("; "));
        Ok(self.lever.calls().len() + self.interview.calls().len())
    }
}

/// Returns address and port of the operator's Service, which is reached from outside of the cluster as an Ingress
/// reaches it.
async fn service_address(cluster: &Cluster) -> anyhow::Result<String> {
    WAIT.until("the Service exists", async || {
        let services = cluster.list(&format!("services --namespace {RELEASE_NAMESPACE}")).await?;
        let spec = &services.first().context("there is no Service")?["spec"];
        let address = spec["clusterIP"].as_str().context("it has no address")?;
        anyhow::Ok(format!("{address}:{}", spec["ports"][0]["port"]))
    })
    .await
}
