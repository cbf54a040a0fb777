//! The command line: each flag is also an environment variable, `PAD_OPERATOR_` and its name in capitals.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Joins Lever with CoderPad Interview on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "pad-operator", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator: receive webhooks and, as the leader, reconcile.
    Run(Box<RunArgs>),
    /// Print the CustomResourceDefinitions as YAML.
    Crds(CrdsArgs),
}

/// Flags of `crds`.
#[derive(Args, Debug)]
pub struct CrdsArgs {
    /// Write one file for each kind into this folder instead of printing.
    #[arg(long)]
    pub output_dir: Option<PathBuf>,
}

/// Flags of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Where webhooks are received. `[::]` is every address of both IP families; where the kernel has no IPv6, every IPv4
    /// address.
    #[arg(long, env = "PAD_OPERATOR_WEBHOOK_ADDRESS", default_value = "[::]:8080")]
    pub webhook_address: SocketAddr,

    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, env = "PAD_OPERATOR_ADMIN_ADDRESS", default_value = "0.0.0.0:8081")]
    pub admin_address: SocketAddr,

    /// Base of the webhook URL as Lever reaches it, with or without https://, such as hooks.example.com.
    #[arg(long, env = "PAD_OPERATOR_PUBLIC_URL")]
    pub public_url: Option<String>,

    /// A namespace to watch. Repeatable; without it all namespaces are watched.
    #[arg(long = "namespace", env = "PAD_OPERATOR_NAMESPACE", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// Whether only the holder of a Lease reconciles. Needed for more than one replica.
    #[arg(long, env = "PAD_OPERATOR_LEADER_ELECTION", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub leader_election: bool,

    /// Namespace of the Lease. Default: the operator's own, else `default`.
    #[arg(long, env = "PAD_OPERATOR_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// How many objects are reconciled at once.
    #[arg(long, env = "PAD_OPERATOR_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,

    /// One more origin, such as http://127.0.0.1:9001, that a LeverConnection may name. Repeatable.
    #[arg(long = "allow-api-origin", env = "PAD_OPERATOR_ALLOW_API_ORIGIN", value_delimiter = ',', value_parser = origin)]
    pub allow_api_origins: Vec<String>,

    /// Requests a second to Lever for each API key; 0 is no limit.
    #[arg(long, env = "PAD_OPERATOR_LEVER_RATE", default_value_t = 10)]
    pub lever_rate: u32,

    /// Requests at once to Lever for each API key.
    #[arg(long, env = "PAD_OPERATOR_LEVER_BURST", default_value_t = 20)]
    pub lever_burst: u32,

    /// Requests a second to the Interview API for each API key; 0 is no limit.
    #[arg(long, env = "PAD_OPERATOR_INTERVIEW_RATE", default_value_t = 10)]
    pub interview_rate: u32,

    /// Requests at once to the Interview API for each API key.
    #[arg(long, env = "PAD_OPERATOR_INTERVIEW_BURST", default_value_t = 20)]
    pub interview_burst: u32,

    /// How long CoderPad may take to answer the creation of a pad.
    #[arg(long, env = "PAD_OPERATOR_INTERVIEW_CREATE_TIMEOUT", default_value = "30s", value_parser = duration)]
    pub interview_create_timeout: Duration,

    /// How far CoderPad's lists of pads may lie behind.
    #[arg(long, env = "PAD_OPERATOR_INTERVIEW_LIST_LAG", default_value = "90s", value_parser = duration)]
    pub interview_list_lag: Duration,

    /// How log lines look. Default: text on a terminal, else json. The level is set by RUST_LOG.
    #[arg(long, env = "PAD_OPERATOR_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Where traces go: an OpenTelemetry collector that takes OTLP over HTTP, such as http://collector:4318. /v1/traces is
    /// appended. Without it no traces are made.
    #[arg(long, env = "PAD_OPERATOR_OTLP_ENDPOINT", value_parser = otlp_endpoint)]
    pub otlp_endpoint: Option<String>,
}

impl RunArgs {
    /// An environment variable that is set to nothing is as good as unset: charts and shells leave such behind.
    pub fn drop_empty(mut self) -> Self {
        self.namespaces.retain(|namespace| !namespace.is_empty());
        // Twice the same namespace would be reconciled twice.
        self.namespaces.sort();
        self.namespaces.dedup();
        self.allow_api_origins.retain(|origin| !origin.is_empty());
        for text in [&mut self.public_url, &mut self.lease_namespace, &mut self.otlp_endpoint] {
            *text = text.take().filter(|text| !text.is_empty());
        }
        self
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
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

/// An http or https address without a query, that is as `fits` asks. An empty variable is none;
/// [`RunArgs::drop_empty`] leaves it out.
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
        let cli = Cli::try_parse_from(["pad-operator", "run"].iter().chain(arguments))?;
        match cli.command {
            Command::Run(arguments) => Ok(*arguments),
            Command::Crds(_) => unreachable!(),
        }
    }

    #[test]
    fn the_command_line_is_sound_and_every_flag_has_its_variable() {
        Cli::command().debug_assert();
        let command = Cli::command();
        let run = command.get_subcommands().find(|command| command.get_name() == "run").unwrap();
        for argument in
            run.get_arguments().filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()))
        {
            let flag = argument.get_long().unwrap();
            let variable = format!("PAD_OPERATOR_{}", flag.replace('-', "_").to_uppercase());
            assert_eq!(argument.get_env().and_then(|env| env.to_str()), Some(variable.as_str()), "--{flag}");
        }
    }

    #[test]
    fn flags_read_as_the_contract_says() {
        let defaults = run(&[]).unwrap();
        assert!(defaults.leader_election);
        assert_eq!(defaults.webhook_address, "[::]:8080".parse().unwrap());
        assert_eq!(defaults.interview_create_timeout, Duration::from_secs(30));
        assert_eq!(defaults.interview_list_lag, Duration::from_secs(90));
        assert_eq!((defaults.concurrency, defaults.lever_rate, defaults.lever_burst), (32, 10, 20));

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
