//! Completion of `kubectl pad`, as kubectl asks it of a plugin: the program `kubectl_complete-pad` is called with the
//! words so far, the last one unfinished, and prints one choice a line, then `:4`: no file names.

use crate::cli::{Cli, Place};
use crate::cluster::{Cluster, list};
use clap::{Arg, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;
use kube::ResourceExt;
use pad_operator::api::{LeverConnection, Pad, PadConfiguration};
use std::time::Duration;

/// The name under which kubectl calls for completion.
pub const PROGRAM: &str = "kubectl_complete-pad";

/// Nobody waits longer for a list of names.
const PATIENCE: Duration = Duration::from_secs(3);

/// What kubectl reads.
pub async fn answer(words: &[String]) -> String {
    let line = Line::read(words);
    let choices = match line.wanted() {
        Wanted::Nothing => Vec::new(),
        Wanted::Words(words) => words,
        Wanted::Names(kind) => {
            tokio::time::timeout(PATIENCE, names(kind, &line.place)).await.unwrap_or_default()
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

/// What may stand where the cursor is.
#[derive(Debug, Eq, PartialEq)]
enum Wanted {
    Nothing,
    /// Commands or flags, each with what it is, after a tab.
    Words(Vec<String>),
    Names(Kind),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Connection,
    Configuration,
    Pad,
}

/// The words so far.
struct Line<'a> {
    command: Command,
    /// The words that are no flags and no values of flags.
    positional: Vec<&'a str>,
    /// The flag whose value is being typed.
    flag: Option<String>,
    place: Place,
    unfinished: &'a str,
}

impl<'a> Line<'a> {
    fn read(words: &'a [String]) -> Self {
        let root = Cli::command();
        let (unfinished, before) =
            words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
        let mut line = Self {
            command: root.clone(),
            positional: Vec::new(),
            flag: None,
            place: Place::default(),
            unfinished,
        };
        for word in before {
            if let Some(flag) = line.flag.take() {
                line.place(&flag, word);
            } else if let Some((flag, value)) = line.flag_of(&root, word) {
                match value {
                    Some(value) => line.place(&flag, value),
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

    /// The flag with a value that a word is, and the value if it is in the same word.
    fn flag_of<'w>(&self, root: &Command, word: &'w str) -> Option<(String, Option<&'w str>)> {
        let takes_value = |is_it: &dyn Fn(&Arg) -> bool| {
            let all = self.command.get_arguments().chain(root.get_arguments());
            let found = all.into_iter().find(|arg| arg.get_action().takes_values() && is_it(arg))?;
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

    fn place(&mut self, flag: &str, value: &str) {
        match flag {
            "namespace" => self.place.namespace = Some(value.into()),
            "context" => self.place.context = Some(value.into()),
            "kubeconfig" => self.place.kubeconfig = Some(value.into()),
            _ => {}
        }
    }

    fn wanted(&self) -> Wanted {
        match (self.flag.as_deref(), self.positional.as_slice()) {
            (Some("configuration"), _) => Wanted::Names(Kind::Configuration),
            (Some(_), _) => Wanted::Nothing,
            (None, _) if self.unfinished.starts_with('-') => Wanted::Words(flags(&self.command)),
            (None, []) => Wanted::Words(commands(&self.command)),
            (None, ["stages"]) => Wanted::Names(Kind::Connection),
            (None, ["open" | "retry" | "end"]) => Wanted::Names(Kind::Pad),
            (None, ["completion"]) => {
                Wanted::Words(Shell::value_variants().iter().map(Shell::to_string).collect())
            }
            (None, _) => Wanted::Nothing,
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
    let root = Cli::command();
    let mut all: Vec<String> = command
        .get_arguments()
        .chain(root.get_arguments())
        .filter_map(|arg| Some(described(&format!("--{}", arg.get_long()?), arg.get_help())))
        .collect();
    all.sort();
    all.dedup();
    all
}

/// The names there are; none if the cluster cannot be asked: completion is no place for errors.
async fn names(kind: Kind, place: &Place) -> Vec<String> {
    let Ok(cluster) = Cluster::of(place).await else { return Vec::new() };
    let names = match kind {
        Kind::Connection => list::<LeverConnection>(&cluster).await.map(|all| named(&all, |_| None)),
        Kind::Configuration => list::<PadConfiguration>(&cluster).await.map(|all| named(&all, |_| None)),
        Kind::Pad => list::<Pad>(&cluster)
            .await
            .map(|all| named(&all, |pad| pad.status.as_ref().and_then(|status| status.candidate.clone()))),
    };
    names.unwrap_or_default()
}

fn named<K: ResourceExt>(all: &[K], about: impl Fn(&K) -> Option<String>) -> Vec<String> {
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

    fn wanted(line: &str) -> Wanted {
        let words: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
        Line::read(&words).wanted()
    }

    #[test]
    fn each_place_has_its_choices() {
        assert_eq!(wanted("open "), Wanted::Names(Kind::Pad));
        assert_eq!(wanted("-n hiring end pho"), Wanted::Names(Kind::Pad));
        assert_eq!(wanted("stages --namespace=hiring "), Wanted::Names(Kind::Connection));
        assert_eq!(wanted("create abc --configuration "), Wanted::Names(Kind::Configuration));
        assert_eq!(wanted("create abc -c "), Wanted::Names(Kind::Configuration));
        assert_eq!(wanted("create "), Wanted::Nothing);
        assert_eq!(wanted("open --browser a "), Wanted::Nothing);
        assert_eq!(wanted("status -n "), Wanted::Nothing);
        let Wanted::Words(commands) = wanted("st") else { panic!() };
        assert!(commands.iter().any(|command| command.starts_with("stages\tList")), "{commands:?}");
        let Wanted::Words(flags) = wanted("create --") else { panic!() };
        assert!(flags.iter().any(|flag| flag.starts_with("--another\t")), "{flags:?}");
        assert!(flags.iter().any(|flag| flag.starts_with("--namespace\t")), "{flags:?}");
    }

    #[test]
    fn the_namespace_is_the_one_typed() {
        for line in
            ["open -n hiring ", "open --namespace=hiring ", "-nhiring open ", "--namespace hiring open x"]
        {
            let words: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
            assert_eq!(Line::read(&words).place.namespace.as_deref(), Some("hiring"), "{line}");
        }
    }

    #[tokio::test]
    async fn kubectl_reads_choices_and_that_no_files_are_meant() {
        let text = answer(&["op".to_owned()]).await;
        assert!(text.starts_with("open\t") && text.ends_with("\n:4\n"), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }
}
