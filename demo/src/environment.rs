//! Environment of the demo: a real API server, the two simulated services and the operator.

use anyhow::Context as _;
use control_plane::ControlPlane;
use simulators::{InterviewOptions, InterviewSimulator, LeverOptions, LeverSimulator, Question};
use tempfile::TempDir;
use testkit::Operator;
use testkit::resources::Keys;

use crate::console::Console;
use crate::examples::{self, NAMESPACE};
use crate::kubectl::{Kubectl, WAIT};

/// Parts that run so far. They are stopped in order, however the demo ends.
#[derive(Default)]
pub(crate) struct Environment {
    namespace: Option<&'static str>,
    folder: Option<TempDir>,
    pub plane: Option<ControlPlane>,
    pub operator: Option<Operator>,
    pub kubectl: Option<Kubectl>,
    pub services: Option<Services>,
}

/// Simulated services and the keys that they accept.
pub(crate) struct Services {
    pub lever: LeverSimulator,
    pub interview: InterviewSimulator,
    pub keys: Keys,
}

impl Environment {
    /// Returns an environment whose operator serves only this namespace.
    pub(crate) fn for_namespace(namespace: &'static str) -> Self {
        Self { namespace: Some(namespace), ..Self::default() }
    }

    /// Starts everything, step by step.
    pub(crate) async fn start(&mut self, console: &Console) -> anyhow::Result<()> {
        let folder =
            self.folder.insert(tempfile::Builder::new().prefix("pad-operator-demo-").tempdir()?).path();

        let step = console.begin("control plane");
        let plane = self.plane.insert(ControlPlane::start().await?);
        step.done(format_args!("control plane: a real Kubernetes API server at {}", plane.url()));
        let kubectl = self.kubectl.insert(Kubectl::new(plane, folder)?);

        let step = console.begin("simulated services");
        let services = self.services.insert(start_services().await?);
        let (lever, interview) = (services.lever.origin(), services.interview.origin());
        step.done(format_args!("simulated Lever at {lever}, simulated CoderPad Interview at {interview}"));

        let step = console.begin("kubectl apply -f crds/");
        let kinds = kubectl.install_crds().await?.lines().count();
        step.done(format_args!("kubectl apply -f crds/: {kinds} kinds, Established"));

        let step = console.begin("pad-operator run");
        let operator = self.operator.insert(Operator::new(
            Operator::program_in_own_folder("`make demo` and `make dev`")?,
            plane.kubeconfig().to_owned(),
            folder.join("pad-operator.log"),
        )?);
        operator.set_arguments(arguments(operator, [&lever, &interview], self.namespace));
        operator.set_environment(log_filter());
        operator.start()?;
        operator.wait_until_ready(WAIT).await?;
        step.done("pad-operator run: ready");
        let (webhooks, admin) = (operator.webhook_base_url(), operator.admin_url());
        console.detail(format_args!("receives webhooks at {webhooks}, serves metrics at {admin}/metrics"));
        Ok(())
    }

    /// Stops everything, the operator first. The operator's log is kept if something has failed.
    pub(crate) async fn stop(self, console: &Console, failed: bool) -> anyhow::Result<()> {
        let step = console.begin("stopping");
        let (ended, how) = match self.operator {
            Some(mut operator) => {
                (operator.stop().await, "the operator cleanly after SIGTERM, then the rest; ")
            }
            None => (Ok(()), ""),
        };
        let stopped = match self.plane {
            Some(plane) => plane.stop().await,
            None => Ok(()),
        };
        if let Some(folder) = self.folder {
            match failed || ended.is_err() {
                true => drop(folder.keep()),
                false => folder.close().context("cannot remove the folder of the demo")?,
            }
        }
        ended.and(stopped)?;
        step.done(format_args!("stopped: {how}nothing is left running"));
        Ok(())
    }
}

/// Returns the flags of the operator, which may use only these origins and serves only this namespace, if any.
fn arguments(operator: &Operator, origins: [&str; 2], namespace: Option<&str>) -> Vec<String> {
    let mut arguments = vec![
        // The real Lever requires https, which a proxy in front of the operator provides.
        format!("--public-url={}", operator.webhook_base_url()),
        // The simulated lists have no delay.
        "--interview-list-lag=2s".to_owned(),
        "--log-format=text".to_owned(),
    ];
    arguments.extend(origins.map(|origin| format!("--allow-api-origin={origin}")));
    arguments.extend(namespace.map(|namespace| format!("--namespace={namespace}")));
    arguments
}

/// Returns the log filter that the user of the demo has set.
fn log_filter() -> Vec<(String, String)> {
    std::env::var("RUST_LOG").into_iter().map(|levels| ("RUST_LOG".to_owned(), levels)).collect()
}

async fn start_services() -> anyhow::Result<Services> {
    let keys = Keys {
        lever: "the-api-key-of-simulated-lever".to_owned(),
        interview: "the-api-key-of-simulated-interview".to_owned(),
        signing_token: "the-signing-token-of-simulated-lever".to_owned(),
    };
    let lever =
        LeverSimulator::start(LeverOptions { api_key: keys.lever.clone(), ..Default::default() }).await?;
    let interview = InterviewSimulator::start(InterviewOptions {
        api_key: keys.interview.clone(),
        organization: "Acme".to_owned(),
        ..Default::default()
    })
    .await?;
    let question =
        examples::rule(examples::TAKE_HOME)?.question.context("take-home.yaml has no questionID")?;
    interview.add_question(Question::new(question, "Log parser, at home", "take_home"));
    Ok(Services { lever, interview, keys })
}

/// Prints the state after a failure: the resources and the end of the operator's log.
pub(crate) async fn diagnose(stage: &Environment) {
    const COLUMNS: &str = "-o=custom-columns=KIND:.kind,NAME:.metadata.name,\
        READY:.status.conditions[?(@.type==\"Ready\")].status,\
        REASON:.status.conditions[?(@.type==\"Ready\")].reason,\
        MESSAGE:.status.conditions[?(@.type==\"Ready\")].message";
    if let (Some(kubectl), Some(operator)) = (&stage.kubectl, &stage.operator) {
        let objects = kubectl.run(&format!("get padoperator -n {NAMESPACE} {COLUMNS}")).await;
        let objects = objects.unwrap_or_else(|error| format!("{error:#}"));
        eprintln!(
            "\nThe resources:\n{objects}\n{} ends with:\n{}",
            operator.log().display(),
            operator.log_tail()
        );
    }
}

/// Applies a file of the repository and prints kubectl's output.
pub(crate) async fn apply_file(kubectl: &Kubectl, console: &Console, file: &str) -> anyhow::Result<()> {
    let command = format!("apply -f {file}");
    let step = console.begin(format_args!("kubectl {command}"));
    let printed = kubectl.run(&command).await?;
    step.done(format_args!("kubectl {command}: {}", printed.trim_end()));
    Ok(())
}
