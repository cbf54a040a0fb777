//! `kubectl pad`: the kubectl plugin for the people who run the integration. It shows the state of all objects and the
//! next step, with the kubeconfig and the permissions of the user.
//!
//! kubectl finds the plugin by its file name. If the program is called as `kubectl_complete-pad`, it prints completions
//! for `kubectl pad`: kubectl requests completions from its plugins under this name.

mod actions;
mod candidate_argument;
mod check;
mod cli;
mod cluster;
mod completion;
#[cfg(test)]
mod messages;
mod status;

use clap::{CommandFactory, Parser};
use cli::{PluginCli, PluginCommand};
use cluster::TargetCluster;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let program = args.first().and_then(|program| Path::new(program).file_stem()?.to_str());
    if program == Some(completion::COMPLETION_PROGRAM) {
        print(&completion::completions(args.get(1..).unwrap_or_default()).await);
        return ExitCode::SUCCESS;
    }
    match run(PluginCli::parse()).await {
        Ok((text, code)) => {
            print(&text);
            ExitCode::from(code)
        }
        Err(error) => {
            print_error(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints to standard output. Ignores errors, because a reader such as `head` may close the pipe early.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(sanitize(text).as_bytes());
}

/// Prints one message to standard error.
fn print_error(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", sanitize(text));
}

/// Returns the text without control characters. Text from the cluster, such as a tag, may contain characters that
/// manipulate the terminal.
fn sanitize(text: &str) -> String {
    api::sanitize::lines(text)
}

/// Runs a command. Returns its output and its exit code.
async fn run(cli: PluginCli) -> anyhow::Result<(String, u8)> {
    let cluster = async || TargetCluster::connect(&cli.kube).await;
    let text = match cli.command {
        PluginCommand::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut PluginCli::command(), "kubectl-pad", &mut script);
            Ok(String::from_utf8(script)?)
        }
        PluginCommand::Status { all_namespaces } => {
            let snapshot = cluster().await?.snapshot(all_namespaces).await?;
            Ok(status::text(&snapshot, jiff::Timestamp::now()))
        }
        PluginCommand::Check(args) => return Ok(check::run(&cli.kube, &args).await),
        PluginCommand::Candidate { candidate } => actions::candidate(&cluster().await?, &candidate).await,
        PluginCommand::Stages { connection } => actions::stages(&cluster().await?, &connection).await,
        PluginCommand::Open { name, browser } => actions::open(&cluster().await?, &name, browser).await,
        PluginCommand::Retry { object, wait } => {
            actions::retry(&cluster().await?, &object, wait.timeout()).await
        }
        PluginCommand::End { name, wait } => actions::end(&cluster().await?, &name, wait.timeout()).await,
        PluginCommand::Create(args) => actions::create(&cluster().await?, &args).await,
    };
    Ok((text?, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let text = "tag \"a\u{1b}[2J\u{1b}]0;title\u{7}\u{202e}\"\n\tnext\u{9b}31m\n";
        assert_eq!(sanitize(text), "tag \"a[2J]0;title\"\n\tnext31m\n");
    }
}
