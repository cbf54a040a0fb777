//! Commands in the documents that no test runs, the reason, and the check that replaces the run.

use clap::Parser as _;

use crate::cluster::source;

/// Start of a command, the reason why no page's test runs it, and the check that replaces the run.
type NotRun = (&'static str, &'static str, fn(&str) -> bool);

const NOT_RUN: &[NotRun] = &[
    ("make ", "takes minutes to build; CI runs most of them", is_target),
    ("KEEP=1 make ", "the same, and it runs until Ctrl-C", is_target),
    ("cargo ", "takes minutes to build", check_names),
    ("PAGES=write cargo ", "the same", check_names),
    ("docker build ", "needs Docker", check_names),
    ("pad-operator run", "runs until it is stopped", has_flags),
    ("kubectl pad check", "needs a Pod of the operator; the plugin's own tests run it", is_of_the_plugin),
    ("helm ", "done by tests/operator/install.rs and tests/operator/chart.rs", is_of_the_chart),
    ("cd ", "the folder is different here", is_printed_by_the_demo),
    ("export KUBECONFIG=", "the cluster is different here", is_printed_by_the_demo),
    ("export PATH=", "the programs are on the path here", is_printed_by_the_demo),
    ("lever=", "the addresses are different here", is_printed_by_the_demo),
];

/// Reports whether a text is a command, and not only code.
pub fn is_command(text: &str) -> bool {
    let programs = ["kubectl ", "curl ", "ln ", "sed "];
    programs.iter().chain(NOT_RUN.iter().map(|(start, _, _)| start)).any(|start| text.starts_with(start))
}

/// Reports whether a text only names a command, such as `kubectl wait`.
pub fn is_name(command: &str) -> bool {
    command.split(' ').count() < 3
}

/// Reports whether no test runs the command; asserts that its replacement check succeeds.
pub fn checked(command: &str) -> bool {
    let Some((start, why, is_sound)) = NOT_RUN.iter().find(|(start, _, _)| command.starts_with(start)) else {
        return false;
    };
    assert!(
        is_sound(command),
        "{command}: it is not run ({start}: {why}), but something that it names does not exist"
    );
    true
}

/// Checks that each target is in the Makefile.
fn is_target(command: &str) -> bool {
    let makefile = std::fs::read_to_string(source("Makefile")).unwrap();
    let command = command.split(" && ").next().unwrap_or_default();
    let command = command.split(" #").next().unwrap_or_default();
    // Quoted text is a value.
    let command: String = command.split('"').step_by(2).collect();
    let mut targets = command.split_whitespace().filter(|word| *word != "make" && !word.contains('='));
    targets.all(|target| makefile.contains(&format!("\n{target}:")))
}

/// Checks that the plugin has the command.
fn is_of_the_plugin(command: &str) -> bool {
    let name = command.split(' ').nth(2).unwrap_or_default();
    let help = std::fs::read_to_string(source("tests/snapshots/kubectl-pad-help.snap")).unwrap();
    help.contains(&format!("\n  {name} "))
}

/// Checks that packages, tests, programs and files exist.
fn check_names(command: &str) -> bool {
    let words: Vec<_> = command.split(" #").next().unwrap_or_default().split_whitespace().collect();
    let folders = ["", "simulators/", "control-plane/", "demo/", "e2e/", "benches/", "tools/documents/"]
        .into_iter()
        .chain(["crates/api/", "crates/engine/", "crates/k8s-connect/", "crates/kubectl-pad/"])
        .chain(["crates/services/", "crates/testkit/"]);
    let manifests: Vec<String> = folders
        .map(|folder| std::fs::read_to_string(source(&format!("{folder}Cargo.toml"))).unwrap())
        .collect();
    let is_there = |pair: &[&str]| match pair {
        ["--package" | "-p" | "--test", name] => {
            let is_named = manifests.iter().any(|text| text.contains(&format!("name = \"{name}\"")));
            is_named || exists(&format!("tests/{name}")) || exists(&format!("crates/engine/tests/{name}"))
        }
        ["--bin", name] => exists(&format!("simulators/src/bin/{name}.rs")),
        ["--file" | "--path", file] => exists(file),
        [_, script] if script.ends_with(".sh") => exists(script),
        _ => true,
    };
    words.windows(2).all(is_there)
}

fn exists(file: &str) -> bool {
    std::path::Path::new(&source(file)).exists()
}

/// Checks that `KEEP=1 make demo` prints such a line.
fn is_printed_by_the_demo(command: &str) -> bool {
    let start = command.split_inclusive([' ', '=']).next().unwrap_or_default();
    let printed = std::fs::read_to_string(source("demo/src/keep_alive.rs")).unwrap();
    printed.lines().any(|line| line.trim().starts_with(start))
}

/// Checks that the program has the flags.
fn has_flags(command: &str) -> bool {
    pad_operator::cli::OperatorCli::try_parse_from(command.split_whitespace()).is_ok()
}

/// Checks that the named chart exists; a text that names none is only a mention.
fn is_of_the_chart(command: &str) -> bool {
    command.split_whitespace().filter(|word| word.starts_with("charts/")).all(exists)
}
