//! Command line. Each flag can also be set by an environment variable: `PAD_OPERATOR_` and its name in capitals.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Connects Lever with CoderPad Interview on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "pad-operator", version, about, disable_help_subcommand = true)]
pub struct OperatorCli {
    /// Subcommand.
    #[command(subcommand)]
    pub command: OperatorCommand,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Run the operator: receive webhooks and, on the leader, reconcile.
    Run(Box<RunArgs>),
    /// Print the CustomResourceDefinitions as YAML.
    Crds(CrdsArgs),
    /// Try both accounts, and report everything that the operator does not expect. Only reads, unless asked to write.
    Check(Box<CheckArgs>),
}

/// Flags of `check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// LeverConnection to check, as NAMESPACE/NAME: its keys, stages and configurations. Default: no cluster is needed;
    /// the keys are in LEVER_API_KEY and CODERPAD_API_KEY.
    #[arg(long, conflicts_with_all = ["lever_key_file", "interview_key_file", "stages", "tags", "questions", "owners", "webhook_url", "perform_as"])]
    pub connection: Option<String>,

    /// File that contains the Lever API key. Default: the variable LEVER_API_KEY.
    #[arg(long, env = "PAD_OPERATOR_LEVER_KEY_FILE")]
    pub lever_key_file: Option<PathBuf>,

    /// File that contains the CoderPad API key. Default: the variable CODERPAD_API_KEY.
    #[arg(long, visible_alias = "coderpad-key-file", env = "PAD_OPERATOR_INTERVIEW_KEY_FILE")]
    pub interview_key_file: Option<PathBuf>,

    /// URL of Lever's API. The sandbox is https://api.sandbox.lever.co/v1.
    #[arg(long, env = "PAD_OPERATOR_LEVER_URL", default_value = "https://api.lever.co/v1")]
    pub lever_url: url::Url,

    /// URL of the Interview API.
    #[arg(
        long,
        visible_alias = "coderpad-url",
        env = "PAD_OPERATOR_INTERVIEW_URL",
        default_value = "https://app.coderpad.io/api"
    )]
    pub interview_url: url::Url,

    /// ID of the Lever user in whose name links, notes and tags are to be written.
    #[arg(long, env = "PAD_OPERATOR_PERFORM_AS")]
    pub perform_as: Option<String>,

    /// Stage in Lever, by name or ID. Repeatable.
    #[arg(long = "stage", env = "PAD_OPERATOR_STAGE", value_delimiter = ',')]
    pub stages: Vec<String>,

    /// Tag in Lever. Repeatable.
    #[arg(long = "tag", env = "PAD_OPERATOR_TAG", value_delimiter = ',')]
    pub tags: Vec<String>,

    /// ID of a question in CoderPad. Repeatable.
    #[arg(long = "question", env = "PAD_OPERATOR_QUESTION", value_delimiter = ',')]
    pub questions: Vec<i64>,

    /// E-mail address of an owner of pads. Repeatable.
    #[arg(long = "owner", env = "PAD_OPERATOR_OWNER", value_delimiter = ',')]
    pub owners: Vec<String>,

    /// URL that Lever sends webhooks to.
    #[arg(long, env = "PAD_OPERATOR_WEBHOOK_URL")]
    pub webhook_url: Option<String>,

    /// Additional origin that the URLs of the LeverConnection may have, as for `run`. Repeatable.
    #[arg(long = "allow-api-origin", env = "PAD_OPERATOR_ALLOW_API_ORIGIN", value_delimiter = ',', value_parser = origin)]
    pub allow_api_origins: Vec<String>,

    /// Format of the report.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: ReportFormat,

    /// Write the shape of each answer into this directory: types, lengths and known words, without any other text.
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,

    /// Also write: create, end and delete two pads, which count against the quota; add and remove a link, a tag and a
    /// note of --candidate, and a webhook. Removes everything again.
    #[arg(long, requires = "candidate")]
    pub write_test: bool,

    /// ID of the opportunity for --write-test. Use a test candidate.
    #[arg(long, value_name = "ID", requires = "write_test")]
    pub candidate: Option<String>,

    /// Do not ask before --write-test.
    #[arg(long, requires = "write_test")]
    pub yes: bool,
}

/// Format of the report of `check`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ReportFormat {
    /// Human-readable text.
    Text,
    /// One JSON object.
    Json,
}

/// Flags of `crds`.
#[derive(Args, Debug)]
pub struct CrdsArgs {
    /// Write one file per kind into this directory instead of printing.
    #[arg(long)]
    pub output_dir: Option<PathBuf>,
}

/// Flags of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Address to receive webhooks on. `[::]` means all addresses of both IP families, or all IPv4 addresses if the
    /// kernel does not support IPv6.
    #[arg(long, env = "PAD_OPERATOR_WEBHOOK_ADDRESS", default_value = "[::]:8080")]
    pub webhook_address: SocketAddr,

    /// Address to serve /livez, /readyz and /metrics on.
    #[arg(long, env = "PAD_OPERATOR_ADMIN_ADDRESS", default_value = "0.0.0.0:8081")]
    pub admin_address: SocketAddr,

    /// Public base URL of the webhook endpoint for Lever, with or without https://, such as hooks.example.com.
    #[arg(long, env = "PAD_OPERATOR_PUBLIC_URL")]
    pub public_url: Option<String>,

    /// Namespace to watch. Repeatable. Default: all namespaces.
    #[arg(long = "namespace", env = "PAD_OPERATOR_NAMESPACE", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// Reconcile only while holding a Lease. Required for more than one replica.
    #[arg(long, env = "PAD_OPERATOR_LEADER_ELECTION", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub leader_election: bool,

    /// Namespace of the Lease. Default: the operator's own namespace, otherwise `default`.
    #[arg(long, env = "PAD_OPERATOR_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// Maximum number of concurrent reconciles.
    #[arg(long, env = "PAD_OPERATOR_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,

    /// Additional origin that the URLs of a LeverConnection may have, such as http://127.0.0.1:9001. Repeatable.
    #[arg(long = "allow-api-origin", env = "PAD_OPERATOR_ALLOW_API_ORIGIN", value_delimiter = ',', value_parser = origin)]
    pub allow_api_origins: Vec<String>,

    /// Maximum number of requests per second to Lever, per API key. 0 means unlimited.
    #[arg(long, env = "PAD_OPERATOR_LEVER_RATE", default_value_t = 10)]
    pub lever_rate: u32,

    /// Maximum burst of requests to Lever, per API key.
    #[arg(long, env = "PAD_OPERATOR_LEVER_BURST", default_value_t = 20)]
    pub lever_burst: u32,

    /// Maximum number of requests per second to the Interview API, per API key. 0 means unlimited. CoderPad documents
    /// no limit: raise it if many pads are created at once.
    #[arg(long, env = "PAD_OPERATOR_INTERVIEW_RATE", default_value_t = 3)]
    pub interview_rate: u32,

    /// Maximum burst of requests to the Interview API, per API key.
    #[arg(long, env = "PAD_OPERATOR_INTERVIEW_BURST", default_value_t = 6)]
    pub interview_burst: u32,

    /// Timeout of requests to CoderPad that create a pad. A router in front of CoderPad gives up after 30 s, while the
    /// request continues.
    #[arg(long, env = "PAD_OPERATOR_INTERVIEW_CREATE_TIMEOUT", default_value = "35s", value_parser = duration)]
    pub interview_create_timeout: Duration,

    /// Maximum delay until a new pad appears in CoderPad's lists.
    #[arg(long, env = "PAD_OPERATOR_INTERVIEW_LIST_LAG", default_value = "90s", value_parser = duration)]
    pub interview_list_lag: Duration,

    /// Format of log lines. Default: text on a terminal, otherwise json. RUST_LOG sets the level.
    #[arg(long, env = "PAD_OPERATOR_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,

    /// URL of an OpenTelemetry collector for traces (OTLP over HTTP), such as http://collector:4318. /v1/traces is
    /// appended. Default: no traces.
    #[arg(long, env = "PAD_OPERATOR_OTLP_ENDPOINT", value_parser = otlp_endpoint)]
    pub otlp_endpoint: Option<String>,
}

impl RunArgs {
    /// Treats empty values as unset, because charts and shells may set empty environment variables.
    pub fn drop_empty(mut self) -> Self {
        self.namespaces.retain(|namespace| !namespace.is_empty());
        // A duplicate namespace would be reconciled twice.
        self.namespaces.sort();
        self.namespaces.dedup();
        self.allow_api_origins.retain(|origin| !origin.is_empty());
        for text in [&mut self.public_url, &mut self.lease_namespace, &mut self.otlp_endpoint] {
            *text = text.take().filter(|text| !text.is_empty());
        }
        self
    }
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// Human-readable text.
    Text,
    /// One JSON object per line.
    Json,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: kube::core::Duration =
        text.parse().map_err(|error| format!("{error}; write it like 90s or 5m"))?;
    if parsed.is_negative() {
        return Err("a duration cannot be negative; write it like 90s or 5m".into());
    }
    Ok(parsed.into())
}

fn origin(text: &str) -> Result<String, String> {
    let says = "only scheme, host and port; write it like https://api.example.com";
    address(text, says, |url| url.path() == "/")
}

fn otlp_endpoint(text: &str) -> Result<String, String> {
    let says = "only http or https, without user and query; write it like http://collector:4318";
    address(text, says, |url| {
        url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
    })
}

/// Validates an http or https URL without a query that satisfies `fits`. Accepts an empty value, which
/// [`RunArgs::drop_empty`] removes.
fn address(text: &str, says: &str, fits: impl FnOnce(&url::Url) -> bool) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let url = url::Url::parse(text).map_err(|error| format!("{error}: {says}"))?;
    let is_plain = matches!(url.scheme(), "http" | "https") && url.query().is_none();
    if is_plain && fits(&url) { Ok(text.to_owned()) } else { Err(says.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run(arguments: &[&str]) -> Result<RunArgs, clap::Error> {
        let cli = OperatorCli::try_parse_from(["pad-operator", "run"].iter().chain(arguments))?;
        match cli.command {
            OperatorCommand::Run(arguments) => Ok(*arguments),
            OperatorCommand::Crds(_) | OperatorCommand::Check(_) => unreachable!(),
        }
    }

    #[test]
    fn the_command_line_is_valid_and_every_flag_has_a_variable() {
        OperatorCli::command().debug_assert();
        // These choose what one call does, so that a variable must not set them.
        let of_one_call =
            ["help", "version", "connection", "output", "record", "write_test", "candidate", "yes"];
        let command = OperatorCli::command();
        let commands = command.get_subcommands().filter(|command| command.get_name() != "crds");
        let arguments = commands.flat_map(|command| command.get_arguments());
        for argument in arguments.filter(|argument| !of_one_call.contains(&argument.get_id().as_str())) {
            let flag = argument.get_long().unwrap();
            let variable = format!("PAD_OPERATOR_{}", flag.replace('-', "_").to_uppercase());
            assert_eq!(argument.get_env().and_then(|env| env.to_str()), Some(variable.as_str()), "--{flag}");
        }
    }

    #[test]
    fn flags_are_parsed_as_in_the_contract() {
        let defaults = run(&[]).unwrap();
        assert!(defaults.leader_election);
        assert_eq!(defaults.webhook_address, "[::]:8080".parse().unwrap());
        assert_eq!(defaults.interview_create_timeout, Duration::from_secs(35));
        assert_eq!(defaults.interview_list_lag, Duration::from_secs(90));
        assert_eq!((defaults.concurrency, defaults.lever_rate, defaults.lever_burst), (32, 10, 20));
        assert_eq!((defaults.interview_rate, defaults.interview_burst), (3, 6));

        let given = run(&[
            "--leader-election=false",
            "--namespace",
            "a",
            "--namespace",
            "b",
            "--allow-api-origin",
            "http://127.0.0.1:9001",
            "--interview-list-lag",
            "1m30s",
        ])
        .unwrap();
        assert!(!given.leader_election);
        assert_eq!(given.namespaces, ["a", "b"]);
        assert_eq!(given.interview_list_lag, Duration::from_secs(90));
        let empty =
            run(&["--namespace", "", "--allow-api-origin", "", "--public-url", ""]).unwrap().drop_empty();
        assert!(
            empty.namespaces.is_empty() && empty.allow_api_origins.is_empty() && empty.public_url.is_none()
        );
        for wrong in [
            ["--interview-list-lag", "soon"],
            ["--allow-api-origin", "http://h/path"],
            ["--concurrency", "0"],
            ["--otlp-endpoint", "collector:4318"],
            ["--otlp-endpoint", "http://user:key@collector:4318"],
        ] {
            assert!(run(&wrong).is_err(), "{wrong:?}");
        }
    }
}
