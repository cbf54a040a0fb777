//! The command line of `kubectl pad`: commands, arguments and flags.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Inspect and manage interview pads.
#[derive(Debug, Parser)]
#[command(name = "kubectl pad", bin_name = "kubectl pad", version, disable_help_subcommand = true)]
pub struct PluginCli {
    /// Cluster and namespace.
    #[command(flatten)]
    pub kube: KubeArgs,
    /// Command to run.
    #[command(subcommand)]
    pub command: PluginCommand,
}

/// Flags that select cluster and namespace, as in kubectl.
#[derive(Args, Debug, Default)]
pub struct KubeArgs {
    /// Namespace. Default: the namespace of the context.
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// Context of the kubeconfig file. Default: the current context.
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// Kubeconfig file. Default: $KUBECONFIG, then ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// Command of the plugin.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Show connections, configurations, pads and problems, with the next steps.
    Status {
        /// Include all namespaces.
        #[arg(short = 'A', long)]
        all_namespaces: bool,
    },
    /// Show the pads of one candidate, or the reason why there is none.
    Candidate {
        /// URL of the profile in Lever, or ID of the opportunity.
        candidate: String,
    },
    /// List the stages of a LeverConnection, which are the valid values for spec.stage of a PadConfiguration.
    Stages {
        /// Name of the LeverConnection.
        connection: String,
    },
    /// Check both accounts of a LeverConnection in a Pod of the operator. Only reads. Exit code 1: warnings, 2: failures.
    Check(CheckArgs),
    /// Print the link of a pad, or the playback link of an ended interview.
    Open {
        /// Name of the Pad.
        name: String,
        /// Also open the link in the browser.
        #[arg(short, long)]
        browser: bool,
    },
    /// Request a reconcile of an object, and show the result.
    Retry {
        /// Name of a Pad, or padcfg/NAME, or leverconn/NAME.
        object: String,
        /// How long to wait for the result.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// End the interview of a pad. An ended interview cannot be reopened.
    End {
        /// Name of the Pad.
        name: String,
        /// How long to wait for the result.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Create a pad for a candidate manually, regardless of tag, stage and spec.repeat.
    Create(CreateArgs),
    /// Print the shell completion script of the program kubectl-pad. For `kubectl pad` itself, see docs/how-to/plugin.md.
    Completion {
        /// Shell that runs the script.
        shell: clap_complete::Shell,
    },
}

/// Arguments of `kubectl pad check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Name of the LeverConnection.
    pub connection: String,
    /// Format of the report.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: ReportFormat,
    /// Namespace of the operator's Pods. Default: all namespaces.
    #[arg(long)]
    pub operator_namespace: Option<String>,
}

/// Format of the report of `kubectl pad check`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ReportFormat {
    /// Human-readable text.
    Text,
    /// One JSON object.
    Json,
}

impl ReportFormat {
    /// Returns the value of the flag.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Arguments of `kubectl pad create`.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Candidate: URL of the profile in Lever, or ID of the opportunity.
    pub candidate: String,
    /// PadConfiguration that defines the kind of pad.
    #[arg(short, long)]
    pub configuration: String,
    /// Name of the new Pad. Default: generated from configuration and candidate.
    #[arg(long)]
    pub name: Option<String>,
    /// Create the pad even if the candidate has a pad of this configuration that has not ended.
    #[arg(long)]
    pub another: bool,
    /// How long to wait for the result.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Flags that control how long to wait for the operator.
#[derive(Args, Clone, Copy, Debug)]
pub struct WaitArgs {
    /// Maximum time to wait for the result, such as 30s or 2m; 0s: do not wait.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    timeout: Duration,
}

impl WaitArgs {
    /// Returns the maximum time to wait for the result; None: do not wait.
    pub fn timeout(self) -> Option<Duration> {
        Some(self.timeout).filter(|timeout| !timeout.is_zero())
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration: kube::core::Duration =
        text.parse().map_err(|_| "expected a duration such as 30s or 2m".to_owned())?;
    (!duration.is_negative())
        .then(|| duration.into())
        .ok_or_else(|| "a duration must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_and_arguments_are_parsed() {
        PluginCli::command().debug_assert();
        let cli = PluginCli::parse_from([
            "kubectl-pad",
            "retry",
            "padcfg/phone-screen",
            "-n",
            "hiring",
            "--timeout",
            "1m30s",
        ]);
        assert_eq!(cli.kube.namespace.as_deref(), Some("hiring"));
        let PluginCommand::Retry { object, wait } = cli.command else { panic!("{cli:?}") };
        assert_eq!((object.as_str(), wait.timeout()), ("padcfg/phone-screen", Some(Duration::from_secs(90))));
        let cli = PluginCli::parse_from(["kubectl-pad", "end", "p", "--timeout", "0s"]);
        let PluginCommand::End { wait, .. } = cli.command else { panic!("{cli:?}") };
        assert_eq!(wait.timeout(), None);
        assert!(PluginCli::try_parse_from(["kubectl-pad", "end", "p", "--timeout", "soon"]).is_err());
    }
}
