//! `flags.md`: the command line, from the program's own help.

use anyhow::Context as _;
use clap::{Arg, Command, CommandFactory as _};
use pad_operator::cli::OperatorCli;

const INTRODUCTION: &str = "# Flags and environment variables

`pad-operator run` runs the operator. The chart sets the usual flags from its [values](values.md); `extraArgs` and `extraEnv` set
all others. Separate several values of one variable with commas. The operator locates the cluster as kubectl does: `KUBECONFIG`,
`~/.kube/config`, or the Pod's own service account.

";

const AFTERWORD: &str = "
- `--namespace`: lets several operators share a cluster, see [Multiple accounts and scaling](scale.md).
- `--concurrency`: at most three quarters of the reconciles are for Pads of one connection, see
  [Multiple accounts and scaling](scale.md).
- `--leader-election`: uses the Lease `pad-operator`. A process that loses the Lease exits, and restarts as a follower.
- `--interview-create-timeout`, `--interview-list-lag`: see the [assumptions](exactly-once.md#assumptions) of the exactly-once
  guarantees.
- Outside a cluster, the operator connects to the API server through `proxy-url` of the kubeconfig, else through the proxy of
  `HTTPS_PROXY` unless `NO_PROXY` names the API server, as kubectl does: http, https and socks5. In a cluster it connects directly.
- `--otlp-endpoint`: see [Traces](traces.md), which also lists the supported variables of OpenTelemetry.
- `RUST_LOG` sets the log level, such as `info,pad_operator=debug`. Keys, signatures, tokens and candidates' data appear in no log
  line, event, metric or trace, at any level. Libraries log nothing below `info`, and the Kubernetes client logs nothing.
- The operator calls only the built-in origins of Lever and CoderPad and those of `--allow-api-origin`, whatever a LeverConnection
  contains.

On SIGTERM, the operator stops accepting requests, finishes the work in flight, releases the Lease and exits with 0.

";

const CHECK: &str = "\
Without `--connection`, the keys are in the variables `LEVER_API_KEY` and `CODERPAD_API_KEY`, or in files. The exit code is 0, 1 with
warnings, and 2 with failures. See [Check your accounts](how-to/check.md).

";

/// Returns the page.
pub(crate) fn page() -> anyhow::Result<String> {
    let command = OperatorCli::command();
    let subcommand = |name: &str| {
        command.find_subcommand(name).cloned().with_context(|| format!("there is no subcommand {name}"))
    };
    let section = |name: &str| -> anyhow::Result<String> {
        let command = subcommand(name)?;
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        Ok(format!("## pad-operator {name}\n\n{}.\n\n{}", about.trim_end_matches('.'), table(&command)))
    };
    Ok(format!(
        "{}{INTRODUCTION}{}{AFTERWORD}{}\n{CHECK}{}",
        crate::generated("src/cli.rs"),
        table(&subcommand("run")?),
        section("check")?,
        section("crds")?,
    ))
}

fn table(command: &Command) -> String {
    let rows = command.get_arguments().filter(|argument| argument.get_id() != "help").map(row);
    format!("| flag | variable | default | |\n|---|---|---|---|\n{}", rows.collect::<String>())
}

fn row(argument: &Arg) -> String {
    let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
    let flag = argument.get_long().map(|long| format!("--{long}")).unwrap_or_default();
    let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let defaults = argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned());
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let sentence = if help.ends_with('.') || help.is_empty() { help } else { format!("{help}.") };
    format!(
        "| {} | {} | {} | {} |\n",
        code(&flag),
        code(&variable),
        code(&defaults.collect::<Vec<_>>().join(",")),
        crate::escaped(&sentence.replace('\n', " ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_has_its_variable_and_default() {
        let page = page().unwrap();
        for row in [
            "| `--interview-list-lag` | `PAD_OPERATOR_INTERVIEW_LIST_LAG` | `90s` | Maximum delay",
            "| `--output-dir` |  |  | Write one file",
        ] {
            assert!(page.contains(row), "{row} is not in\n{page}");
        }
    }
}
