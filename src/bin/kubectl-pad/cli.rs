//! The words of `kubectl pad`.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Look after interview pads: what waits, why, and what to do next.
#[derive(Debug, Parser)]
#[command(name = "kubectl pad", bin_name = "kubectl pad", version, disable_help_subcommand = true)]
pub struct Cli {
    /// Which cluster and namespace.
    #[command(flatten)]
    pub kube: KubeArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster and namespace: as for kubectl itself.
#[derive(Args, Debug, Default)]
pub struct KubeArgs {
    /// Namespace; without it that of the current context.
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// Context of the kubeconfig file.
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// The kubeconfig file; without it KUBECONFIG, then ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// What the plugin can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show connections, configurations and pads, and what to do next.
    Status {
        /// In all namespaces.
        #[arg(short = 'A', long)]
        all_namespaces: bool,
    },
    /// Show the pads of one candidate, and why there is none.
    Candidate {
        /// The address of the profile in Lever, or the opportunity's id.
        candidate: String,
    },
    /// List the stages of a LeverConnection: what spec.stage of a PadConfiguration may name.
    Stages {
        /// The LeverConnection.
        connection: String,
    },
    /// Print the link of a pad; of an ended interview, where it can be played back.
    Open {
        /// The Pad.
        name: String,
        /// Open it in the browser, too.
        #[arg(short, long)]
        browser: bool,
    },
    /// Ask the operator to look again now, and show what came of it.
    Retry {
        /// A Pad by its name, or padcfg/NAME, or leverconn/NAME.
        object: String,
        /// How long to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// End the interview of a pad. It cannot be opened again.
    End {
        /// The Pad.
        name: String,
        /// How long to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Make a pad for a candidate by hand: tag, stage and earlier pads are not asked for.
    Create(CreateArgs),
    /// Print the completion script of the program kubectl-pad for a shell. For `kubectl pad` itself see docs/how-to/plugin.md.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What a pad is made for.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// The candidate: the address of the profile in Lever, or the opportunity's id.
    pub candidate: String,
    /// The PadConfiguration that says what kind of pad it is.
    #[arg(short, long)]
    pub configuration: String,
    /// Name of the new Pad; without it one is made from configuration and candidate.
    #[arg(long)]
    pub name: Option<String>,
    /// Make one although the candidate has a pad of this configuration that has not ended.
    #[arg(long)]
    pub another: bool,
    /// How long to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// How long to wait for the operator.
#[derive(Args, Clone, Copy, Debug)]
pub struct WaitArgs {
    /// How long to wait for the outcome, such as 30s or 2m; 0s does not wait.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    timeout: Duration,
}

impl WaitArgs {
    /// How long; None: not at all.
    pub fn timeout(self) -> Option<Duration> {
        Some(self.timeout).filter(|timeout| !timeout.is_zero())
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration: kube::core::Duration =
        text.parse().map_err(|_| "not a duration such as 30s or 2m".to_owned())?;
    (!duration.is_negative()).then(|| duration.into()).ok_or_else(|| "a duration is not negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_and_arguments_are_parsed() {
        Cli::command().debug_assert();
        let cli = Cli::parse_from([
            "kubectl-pad",
            "retry",
            "padcfg/phone-screen",
            "-n",
            "hiring",
            "--timeout",
            "1m30s",
        ]);
        assert_eq!(cli.kube.namespace.as_deref(), Some("hiring"));
        let Command::Retry { object, wait } = cli.command else { panic!("{cli:?}") };
        assert_eq!((object.as_str(), wait.timeout()), ("padcfg/phone-screen", Some(Duration::from_secs(90))));
        let cli = Cli::parse_from(["kubectl-pad", "end", "p", "--timeout", "0s"]);
        let Command::End { wait, .. } = cli.command else { panic!("{cli:?}") };
        assert_eq!(wait.timeout(), None);
        assert!(Cli::try_parse_from(["kubectl-pad", "end", "p", "--timeout", "soon"]).is_err());
    }
}
