//! Environment of one test: a namespace, both simulated services and the operator.

use std::path::PathBuf;
use std::sync::Mutex;

use serde_json::{Value, json};
use simulators::{
    DeliveryOutcome, Faults, InterviewOptions, InterviewSimulator, LeverOptions, LeverSimulator, NewPad,
    Relay,
};
use testkit::resources::{Keys, connection_spec, merge};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::cluster::Cluster;
use crate::process::Operator;
use crate::status::assert_sound;
use crate::wait::eventually;

/// Connection of every environment.
pub const CONNECTION: &str = "acme";
/// Secret of every environment.
pub const SECRET: &str = "acme";
/// Default configuration of an environment.
pub const CONFIGURATION: &str = "phone-screen";
/// Stage and tag of the default configuration, which are the contract's defaults.
pub const STAGE: &str = "Phone Screen";
pub const TAG: &str = "coderpad";

/// Flag that omits `--public-url`.
pub const NO_PUBLIC_URL: &str = "no public URL";
/// Flag that keeps the default rate limit for the Interview API. All other environments use the simulated service's own
/// limit, which is that of Lever, so that their probes and syncs take less time.
pub const DEFAULT_INTERVIEW_RATE: &str = "default rate of the Interview API";

/// Maximum number of operators that run at the same time; more would only slow each other down.
static OPERATORS: Semaphore = Semaphore::const_new(4);

/// Options of an environment. The default is a verified connection with one configuration and without polling.
pub struct Options {
    pub name: &'static str,
    pub lever: LeverOptions,
    pub interview: InterviewOptions,
    /// Merged into the connection's spec.
    pub connection: Value,
    /// Names and specs of the configurations; `connectionRef` is added.
    pub configurations: Vec<(&'static str, Value)>,
    /// Merged into the Secret's values; null removes a value.
    pub secret: Value,
    /// Additional flags.
    pub flags: Vec<&'static str>,
    /// Log filter, if not the default.
    pub levels: Option<&'static str>,
    pub replicas: usize,
    /// Whether faults can also be injected into requests to the API server.
    pub relayed: bool,
    /// Whether to continue as a user does until everything is Ready and the webhook is verified.
    pub complete_setup: bool,
}

impl Options {
    /// Returns the default options; `name` becomes the namespace.
    pub fn new(name: &'static str) -> Self {
        let lever = LeverOptions { api_key: format!("lever-9f31c5-{name}"), ..LeverOptions::default() };
        let interview =
            InterviewOptions { api_key: format!("interview-77b02e-{name}"), ..InterviewOptions::default() };
        Self {
            name,
            lever,
            interview,
            connection: json!({"sync": {"interval": "0s"}}),
            configurations: vec![(CONFIGURATION, json!({}))],
            secret: json!({}),
            flags: vec!["--interview-create-timeout=2s", "--interview-list-lag=1s"],
            levels: None,
            replicas: 1,
            relayed: false,
            complete_setup: true,
        }
    }

    /// Sets the polling interval of both services.
    pub fn polling(mut self, interval: &str) -> Self {
        self.connection["sync"]["interval"] = json!(interval);
        self
    }

    /// Does not wait for anything to become Ready.
    pub fn without_setup(mut self) -> Self {
        self.complete_setup = false;
        self
    }

    /// Uses one configuration with this spec.
    pub fn configuration(mut self, spec: Value) -> Self {
        self.configurations = vec![(CONFIGURATION, spec)];
        self
    }
}

/// Environment of one test.
pub struct TestEnv {
    pub cluster: Cluster,
    pub namespace: &'static str,
    pub lever: LeverSimulator,
    pub interview: InterviewSimulator,
    pub operators: Vec<Operator>,
    relays: Vec<Relay>,
    pub signing_token: String,
    pub client: kube::Client,
    /// Files, besides the logs, that must not contain private data at the end.
    pub told_too: Vec<PathBuf>,
    /// Texts that must not appear in any log line, event or metric.
    private: Mutex<Vec<String>>,
    _permits: SemaphorePermit<'static>,
}

impl TestEnv {
    /// Starts the interview in a pad, and pushes this change beyond the first page of CoderPad's list.
    pub fn start_interview_beyond_the_first_page(&self, pad_id: &str) {
        self.interview.start_interview(pad_id, &["Ada"]);
        for _ in 0..60 {
            self.interview.add_pad(NewPad::default());
        }
    }

    /// Starts an environment in the shared cluster.
    pub async fn start(options: Options) -> Self {
        Self::start_in(Cluster::shared().await, options).await
    }

    /// Starts an environment in any cluster.
    pub async fn start_in(cluster: Cluster, options: Options) -> Self {
        let env = Self::prepare(cluster, &options).await;
        env.begin(options).await
    }

    /// Starts an environment in another cluster, with the services of this one.
    pub async fn start_in_other_cluster(&self, cluster: Cluster, options: Options) -> Self {
        let mut twin = Self::prepare(cluster, &options).await;
        (twin.lever, twin.interview) = (self.lever.clone(), self.interview.clone());
        twin.begin(options).await
    }

    async fn begin(self, options: Options) -> Self {
        let mut env = self;
        env.cluster.kubectl(&["create", "namespace", env.namespace], None).await.unwrap();
        for replica in 0..options.replicas {
            let (user, groups) = (env.user(replica), ["system:masters"]);
            if options.relayed {
                env.relays.push(env.cluster.relay(&user, &groups).await);
            }
            let server = env.relays.last().map_or(env.cluster.plane.url().to_owned(), Relay::origin);
            let mut operator = Operator::with_api_server_url(&server, &env.cluster, &user, &groups).await;
            operator.set_arguments(env.arguments(&options.flags, operator.webhooks));
            if let Some(levels) = options.levels {
                operator.set_levels(levels);
            }
            operator.start().await;
            env.operators.push(operator);
        }
        env.create_resources(options).await;
        env
    }

    /// Starts the simulated services, without an operator.
    pub async fn prepare(cluster: Cluster, options: &Options) -> Self {
        let permits = OPERATORS.acquire_many(u32::try_from(options.replicas).unwrap()).await.unwrap();
        Self {
            client: cluster.client().await,
            namespace: cluster.namespace(options.name),
            cluster,
            lever: LeverSimulator::start(options.lever.clone()).await.unwrap(),
            interview: InterviewSimulator::start(options.interview.clone()).await.unwrap(),
            operators: Vec::new(),
            relays: Vec::new(),
            signing_token: format!("signing-token-e07d-{}", options.name),
            told_too: Vec::new(),
            private: Mutex::default(),
            _permits: permits,
        }
    }

    /// Returns the flags of an operator, without its addresses.
    pub fn arguments(&self, flags: &[&str], webhooks: u16) -> Vec<String> {
        let mut arguments = vec![
            format!("--namespace={}", self.namespace),
            format!("--lease-namespace={}", self.namespace),
            format!("--allow-api-origin={}", self.lever.origin()),
            format!("--allow-api-origin={}", self.interview.origin()),
        ];
        if !flags.iter().any(|flag| flag.starts_with("--public-url") || *flag == NO_PUBLIC_URL) {
            arguments.push(format!("--public-url=http://127.0.0.1:{webhooks}"));
        }
        if !flags.iter().any(|flag| flag.starts_with("--interview-rate") || *flag == DEFAULT_INTERVIEW_RATE) {
            arguments.extend(["--interview-rate=10", "--interview-burst=20"].map(str::to_owned));
        }
        let marks = [NO_PUBLIC_URL, DEFAULT_INTERVIEW_RATE];
        arguments.extend(flags.iter().filter(|flag| !marks.contains(flag)).map(|flag| (*flag).to_owned()));
        arguments
    }

    /// Creates the resources.
    pub async fn create_resources(&self, options: Options) {
        let keys = Keys::new(&options.lever, &options.interview, &self.signing_token);
        let mut secret = keys.values();
        merge(&mut secret, &options.secret);
        for private in [&keys.lever, &keys.interview, &keys.signing_token] {
            self.declare_private(private);
        }
        self.create_secret(secret).await;
        let mut spec = self.connection_spec();
        merge(&mut spec, &options.connection);
        self.apply("leverconnections", CONNECTION, spec).await;
        for (name, spec) in options.configurations {
            self.configure(name, spec).await;
        }
        if options.complete_setup {
            self.complete_setup().await;
        }
    }

    /// Applies a configuration; `connectionRef` is added.
    pub async fn configure(&self, name: &str, mut spec: Value) {
        merge(&mut spec, &json!({"connectionRef": {"name": CONNECTION}}));
        self.apply("padconfigurations", name, spec).await;
    }

    /// Returns the API server user of a replica.
    pub fn user(&self, replica: usize) -> String {
        format!("pad-operator-{}-{replica}", self.namespace)
    }

    /// Returns the faults between a replica and the API server, if that connection is relayed.
    pub fn cluster_faults(&self, replica: usize) -> &Faults {
        self.relays[replica].faults()
    }

    /// Returns the only replica.
    pub fn operator(&mut self) -> &mut Operator {
        assert_eq!(self.operators.len(), 1);
        &mut self.operators[0]
    }

    /// Returns the default spec of the connection.
    pub fn connection_spec(&self) -> Value {
        connection_spec(SECRET, &self.lever.url(), &self.interview.url())
    }

    /// Completes the setup as a user does: waits until everything is Ready, enters the URL in Lever and presses Verify.
    async fn complete_setup(&self) {
        self.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
        for configuration in self.list("padconfigurations").await {
            let name = configuration["metadata"]["name"].as_str().unwrap();
            self.wait_for("padconfigurations", name, "Ready", "True/InUse").await;
        }
        self.configure_webhook().await;
        assert!(self.lever.verify().await.verified);
        self.wait_for("leverconnections", CONNECTION, "WebhookVerified", "True/SignatureVerified").await;
    }

    /// Enters the URL of the connection's status in Lever's settings.
    pub async fn configure_webhook(&self) {
        let url = eventually("status.webhookURL is set", async || {
            let connection = self.get("leverconnections", CONNECTION).await;
            connection["status"]["webhookURL"].as_str().map(str::to_owned).ok_or(format!("{connection:#}"))
        });
        self.lever.set_webhook(&url.await, &self.signing_token);
    }

    /// Checks the invariants at the end of every test, and stops the operators as a cluster does.
    pub async fn finish(mut self) {
        assert_eq!(self.lever.violations(), Vec::<String>::new());
        assert_eq!(self.interview.violations(), Vec::<String>::new());
        assert_eq!(self.interview.created_users(), Vec::<String>::new());
        for plural in ["leverconnections", "padconfigurations", "pads"] {
            self.list(plural).await.iter().for_each(assert_sound);
        }
        let mut published = vec![("an Event".to_owned(), self.events().await.to_string())];
        for operator in &mut self.operators {
            assert!(operator.is_alive(), "the operator exited:\n{}", operator.logged());
            let (code, metrics) = operator.get("/metrics").await.unwrap();
            assert_eq!(code, 200);
            published.push(("a metric".into(), metrics));
            operator.terminate().await;
            published.push(("the log".into(), operator.logged()));
        }
        for file in &self.told_too {
            published.push((file.display().to_string(), std::fs::read_to_string(file).unwrap()));
        }
        for delivery in self.lever.deliveries() {
            assert_ne!(delivery.outcome, DeliveryOutcome::Pending, "{delivery:#?}");
            for field in ["signature", "token"] {
                self.declare_private(delivery.body[field].as_str().unwrap_or_default());
            }
        }
        let private = self.private.lock().unwrap().clone();
        for (place, text) in published {
            let found = private.iter().find(|one| !one.is_empty() && text.contains(*one));
            assert_eq!(found, None, "in {place}:\n{text}");
        }
    }

    /// Declares a text that must not appear in any log line, event or metric.
    pub fn declare_private(&self, text: &str) {
        self.private.lock().unwrap().push(text.to_owned());
    }
}

/// Prints the state if the test fails.
impl Drop for TestEnv {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for operator in &self.operators {
            eprintln!("--- the log of the operator in {}:\n{}", self.namespace, operator.logged());
        }
        let calls = [("Lever", self.lever.calls()), ("CoderPad", self.interview.calls())];
        for (service, calls) in calls {
            eprintln!("--- the last calls of {service}:");
            for call in calls.iter().rev().take(30).rev() {
                eprintln!("{} {} {} {:?} -> {:?}", call.at, call.method, call.path, call.query, call.status);
            }
        }
        for delivery in self.lever.deliveries() {
            eprintln!("--- delivery {} {:?}: {:?}", delivery.number, delivery.outcome, delivery.attempts);
        }
    }
}
