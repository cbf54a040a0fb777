//! Shell completion of `kubectl pad`. kubectl calls the program `kubectl_complete-pad` with the words typed so far, the
//! last one unfinished. The program prints one choice per line, then `:4`, which disables the completion of file names.

use crate::cli::{KubeArgs, PluginCli};
use crate::cluster::{TargetCluster, list};
use api::{LeverConnection, Pad, PadConfiguration};
use clap::{Arg, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;
use kube::ResourceExt;
use std::time::Duration;

/// Program name under which kubectl requests completions.
pub const COMPLETION_PROGRAM: &str = "kubectl_complete-pad";

/// Maximum time to list names, because the user waits at the prompt.
const LIST_TIMEOUT: Duration = Duration::from_secs(3);

/// Returns the completions in the format that kubectl expects.
pub async fn completions(words: &[String]) -> String {
    let line = CommandLine::read(words);
    let choices = match line.completion() {
        Completion::Nothing => Vec::new(),
        Completion::Words(words) => words,
        Completion::Names(kind) => {
            tokio::time::timeout(LIST_TIMEOUT, names(kind, &line.kube)).await.unwrap_or_default()
        }
    };
    let mut text: String = choices
        .iter()
        .filter(|choice| choice.starts_with(line.unfinished))
        .map(|choice| format!("{choice}\n"))
        .collect();
    text.push_str(":4\n");
    text
}

/// Kind of choices at the cursor.
#[derive(Debug, Eq, PartialEq)]
enum Completion {
    Nothing,
    /// Commands, flags or values, each optionally followed by a tab and a description.
    Words(Vec<String>),
    Names(NamedKind),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum NamedKind {
    Connection,
    Configuration,
    Pad,
}

/// Parsed command line up to the cursor.
struct CommandLine<'a> {
    command: Command,
    /// Words that are neither flags nor values of flags.
    positional: Vec<&'a str>,
    /// Flag whose value is being typed.
    flag: Option<String>,
    kube: KubeArgs,
    unfinished: &'a str,
}

impl<'a> CommandLine<'a> {
    fn read(words: &'a [String]) -> Self {
        let root = PluginCli::command();
        let (unfinished, before) =
            words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
        let mut line = Self {
            command: root.clone(),
            positional: Vec::new(),
            flag: None,
            kube: KubeArgs::default(),
            unfinished,
        };
        for word in before {
            if let Some(flag) = line.flag.take() {
                line.set_flag(&flag, word);
            } else if let Some((flag, value)) = line.flag_with_value(&root, word) {
                match value {
                    Some(value) => line.set_flag(&flag, value),
                    None => line.flag = Some(flag),
                }
            } else if !word.starts_with('-') {
                if line.positional.is_empty()
                    && let Some(command) = root.find_subcommand(word)
                {
                    line.command = command.clone();
                }
                line.positional.push(word);
            }
        }
        line
    }

    /// Returns the flag if the word is a flag that takes a value, and the value if the same word contains it.
    fn flag_with_value<'w>(&self, root: &Command, word: &'w str) -> Option<(String, Option<&'w str>)> {
        let takes_value = |matches: &dyn Fn(&Arg) -> bool| {
            let all = self.command.get_arguments().chain(root.get_arguments());
            let found = all.into_iter().find(|arg| arg.get_action().takes_values() && matches(arg))?;
            Some(found.get_id().to_string())
        };
        if let Some(long) = word.strip_prefix("--") {
            let (long, value) =
                long.split_once('=').map_or((long, None), |(long, value)| (long, Some(value)));
            return Some((takes_value(&|arg| arg.get_long() == Some(long))?, value));
        }
        let mut letters = word.strip_prefix('-')?.chars();
        let short = letters.next()?;
        let value = Some(letters.as_str()).filter(|value| !value.is_empty());
        Some((takes_value(&|arg| arg.get_short() == Some(short))?, value))
    }

    fn set_flag(&mut self, flag: &str, value: &str) {
        match flag {
            "namespace" => self.kube.namespace = Some(value.into()),
            "context" => self.kube.context = Some(value.into()),
            "kubeconfig" => self.kube.kubeconfig = Some(value.into()),
            _ => {}
        }
    }

    fn completion(&self) -> Completion {
        match (self.flag.as_deref(), self.positional.as_slice()) {
            (Some("configuration"), _) => Completion::Names(NamedKind::Configuration),
            (Some(_), _) => Completion::Nothing,
            (None, _) if self.unfinished.starts_with('-') => Completion::Words(flags(&self.command)),
            (None, []) => Completion::Words(commands(&self.command)),
            (None, ["stages" | "check"]) => Completion::Names(NamedKind::Connection),
            (None, ["open" | "retry" | "end"]) => Completion::Names(NamedKind::Pad),
            (None, ["completion"]) => {
                Completion::Words(Shell::value_variants().iter().map(Shell::to_string).collect())
            }
            (None, _) => Completion::Nothing,
        }
    }
}

fn described(word: &str, about: Option<&clap::builder::StyledStr>) -> String {
    about.map_or_else(|| word.to_owned(), |about| format!("{word}\t{about}"))
}

fn commands(root: &Command) -> Vec<String> {
    root.get_subcommands().map(|command| described(command.get_name(), command.get_about())).collect()
}

fn flags(command: &Command) -> Vec<String> {
    let root = PluginCli::command();
    let mut all: Vec<String> = command
        .get_arguments()
        .chain(root.get_arguments())
        .filter_map(|arg| Some(described(&format!("--{}", arg.get_long()?), arg.get_help())))
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Returns the names of the existing objects. Returns none if the cluster cannot be reached, because an error message
/// would garble the command line.
async fn names(kind: NamedKind, kube: &KubeArgs) -> Vec<String> {
    let Ok(cluster) = TargetCluster::connect(kube).await else { return Vec::new() };
    let names = match kind {
        NamedKind::Connection => list::<LeverConnection>(&cluster).await.map(|all| choices(&all, |_| None)),
        NamedKind::Configuration => {
            list::<PadConfiguration>(&cluster).await.map(|all| choices(&all, |_| None))
        }
        NamedKind::Pad => list::<Pad>(&cluster)
            .await
            .map(|all| choices(&all, |pad| pad.status.as_ref().and_then(|status| status.candidate.clone()))),
    };
    names.unwrap_or_default()
}

fn choices<K: ResourceExt>(all: &[K], about: impl Fn(&K) -> Option<String>) -> Vec<String> {
    all.iter()
        .map(|object| match about(object) {
            Some(about) => format!("{}\t{about}", object.name_any()),
            None => object.name_any(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completion(line: &str) -> Completion {
        let words: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
        CommandLine::read(&words).completion()
    }

    #[test]
    fn each_position_has_its_choices() {
        assert_eq!(completion("open "), Completion::Names(NamedKind::Pad));
        assert_eq!(completion("-n hiring end pho"), Completion::Names(NamedKind::Pad));
        assert_eq!(completion("stages --namespace=hiring "), Completion::Names(NamedKind::Connection));
        assert_eq!(completion("create abc --configuration "), Completion::Names(NamedKind::Configuration));
        assert_eq!(completion("create abc -c "), Completion::Names(NamedKind::Configuration));
        assert_eq!(completion("create "), Completion::Nothing);
        assert_eq!(completion("open --browser a "), Completion::Nothing);
        assert_eq!(completion("status -n "), Completion::Nothing);
        let Completion::Words(commands) = completion("st") else { panic!() };
        assert!(commands.iter().any(|command| command.starts_with("stages\tList")), "{commands:?}");
        let Completion::Words(flags) = completion("create --") else { panic!() };
        assert!(flags.iter().any(|flag| flag.starts_with("--another\t")), "{flags:?}");
        assert!(flags.iter().any(|flag| flag.starts_with("--namespace\t")), "{flags:?}");
    }

    #[test]
    fn namespace_flag_is_read_from_the_command_line() {
        for line in
            ["open -n hiring ", "open --namespace=hiring ", "-nhiring open ", "--namespace hiring open x"]
        {
            let words: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
            assert_eq!(CommandLine::read(&words).kube.namespace.as_deref(), Some("hiring"), "{line}");
        }
    }

    #[tokio::test]
    async fn choices_end_with_the_no_files_directive() {
        let text = completions(&["op".to_owned()]).await;
        assert!(text.starts_with("open\t") && text.ends_with("\n:4\n"), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }
}
