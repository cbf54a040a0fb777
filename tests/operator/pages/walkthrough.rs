//! One page, followed from its first to its last line, in its own environment.

use std::path::PathBuf;

use tokio::process::Command;

use super::markdown::{self, Block, Piece};
use super::output::matches_page;
use super::shell::Shell;
use super::untested_commands;
use crate::chart::{documents, render};
use crate::cluster::source;
use crate::environment::{Options, TestEnv};
use crate::plugin::plugin_program;
use crate::wait::eventually;

/// Reports whether the outputs on the pages are to be replaced by the current ones.
fn writes() -> bool {
    std::env::var_os("PAGES").is_some_and(|what| what == "write")
}

pub struct Story {
    page: &'static str,
    env: TestEnv,
    shell: Shell,
    /// Environment and shell in which a page is followed.
    folder: PathBuf,
    text: String,
}

/// Follows a page in the environment of a user who has installed the operator: a connection that is Ready and verified,
/// and the rule `phone-screen`; both services are polled only on request.
pub async fn run_page(page: &'static str, name: &str) {
    // Leaked, because the options of an environment require a static lifetime.
    let namespace: &'static str = Box::leak(format!("page-{}", name.replace('_', "-")).into_boxed_str());
    let env = TestEnv::start(Options::new(namespace)).await;
    let folder = env.cluster.plane.folder().join(namespace);
    let story = Story {
        page,
        shell: shell(&env, &folder),
        folder,
        text: std::fs::read_to_string(source(page)).unwrap(),
        env,
    };
    story.run().await;
}

/// Starts a shell with kubectl, the plugin, the examples, and the functions for the pages' comments.
fn shell(env: &TestEnv, folder: &std::path::Path) -> Shell {
    std::fs::create_dir_all(folder.join("bin")).unwrap();
    for (name, to) in [("bin/kubectl-pad", plugin_program()), ("charts", source("charts").into())] {
        std::os::unix::fs::symlink(to, folder.join(name)).unwrap();
    }
    std::fs::create_dir(folder.join("examples")).unwrap();
    for file in std::fs::read_dir(source("examples")).unwrap().map(|file| file.unwrap().path()) {
        if file.is_file() {
            let text = localized(env, &std::fs::read_to_string(&file).unwrap());
            std::fs::write(folder.join("examples").join(file.file_name().unwrap()), text).unwrap();
        }
    }
    // The page has its own current namespace.
    let kubeconfig = folder.join("kubeconfig");
    std::fs::copy(env.cluster.plane.kubeconfig(), &kubeconfig).unwrap();
    let programs = env.cluster.plane.programs();
    let path = format!("{}:{}:/usr/bin:/bin", folder.join("bin").display(), programs.display());
    let mut command = Command::new("bash");
    command
        .args(["--noprofile", "--norc"])
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder)
        .env("KUBECONFIG", kubeconfig)
        .env("BASH_ENV", "/dev/null")
        .env("namespace", env.namespace)
        .env("json", "content-type: application/json")
        .env("lever", format!("{}/_simulator", env.lever.origin()))
        .env("interview", format!("{}/_simulator", env.interview.origin()));
    Shell::start(command)
}

/// Adapts a text of a page to this environment: its namespace, and the addresses of its services.
fn localized(env: &TestEnv, text: &str) -> String {
    let mut local = String::new();
    let mut parts = text.split("hiring").peekable();
    while let Some(part) = parts.next() {
        local.push_str(part);
        if let Some(next) = parts.peek() {
            let is_whole = !next.starts_with(|one: char| one.is_alphanumeric() || one == '-');
            local.push_str(if is_whole { env.namespace } else { "hiring" });
        }
    }
    local
        .replace("https://api.lever.co/v1", &env.lever.url())
        .replace("https://app.coderpad.io/api", &env.interview.url())
}

impl Story {
    async fn run(mut self) {
        self.shell
            .succeed(&format!("set -o pipefail; . {}", source("tests/operator/pages/functions.sh")))
            .await;
        self.shell.succeed("kubectl config set-context --current --namespace $namespace").await;
        for piece in markdown::pieces(&self.text.clone()) {
            match piece {
                Piece::Behind(commands) => {
                    for command in markdown::commands(&commands) {
                        println!("  {command}");
                        self.shell.succeed(&command).await;
                    }
                }
                Piece::Block(block) => self.block(&block).await,
            }
        }
        for word in markdown::words(&self.text.clone()) {
            self.word(&word).await;
        }
        self.env.finish().await;
    }

    async fn block(&mut self, block: &Block) {
        println!("{}:{}", self.page, block.line);
        match block.language.as_str() {
            "sh" => {
                for command in markdown::commands(&block.text) {
                    self.command(&command).await;
                }
            }
            "console" => self.console(block).await,
            "yaml" => self.yaml(&block.text).await,
            "text" => {}
            other => panic!(
                "{}:{}: nothing is known to do with a block of {other:?}. Use sh for commands, console for commands with \
                 their output, yaml for resources, files and values, text for drawings",
                self.page, block.line
            ),
        }
    }

    /// Runs a command whose output does not matter.
    async fn command(&mut self, command: &str) {
        println!("$ {command}");
        // `install.rs` installs it; here the chart only has to accept the values.
        if let Some(installed) = command.strip_prefix("helm install ") {
            let rendered = installed.replace("--create-namespace", "");
            self.shell.succeed(&format!("helm template {rendered} | grep --count 'kind: Deployment'")).await;
            return;
        }
        if untested_commands::checked(command) {
            return;
        }
        let command = self.local(command).await;
        self.shell.succeed(&command).await;
    }

    /// Adapts a command of the page to this environment. NAME is the newest Pad, PROFILE is set by the page's comments.
    async fn local(&self, command: &str) -> String {
        let command = localized(&self.env, command);
        let words = command.split(' ').map(|word| if word == "PROFILE" { "$PROFILE" } else { word });
        let mut command = words.collect::<Vec<_>>().join(" ");
        if command.split(|one: char| !one.is_alphanumeric()).any(|word| word == "NAME") {
            let mut pads = self.env.list("pads").await;
            pads.sort_by_key(|pad| pad["metadata"]["creationTimestamp"].as_str().unwrap().to_owned());
            let newest = pads.last().unwrap_or_else(|| panic!("{command}: there is no Pad yet"));
            command = command.replace("NAME", newest["metadata"]["name"].as_str().unwrap());
        }
        command
    }

    /// Runs commands and compares the output of each.
    async fn console(&mut self, block: &Block) {
        let mut expected: Vec<(String, String)> = Vec::new();
        for line in block.text.lines() {
            match (line.strip_prefix("$ "), expected.last_mut()) {
                (Some(command), _) => expected.push((command.to_owned(), String::new())),
                (None, Some((command, _))) if command.ends_with('\\') => {
                    command.push('\n');
                    command.push_str(line);
                }
                (None, Some((_, output))) => {
                    output.push_str(line);
                    output.push('\n');
                }
                (None, None) => panic!("{}:{}: it begins with $ and a command", self.page, block.line),
            }
        }
        let mut new = String::new();
        for (typed, output) in expected {
            println!("$ {typed}");
            let command = self.local(&typed).await;
            let printed = self.check_output(&command, &output).await;
            new.push_str(&format!("$ {typed}\n{}\n", printed.trim_end()));
        }
        if writes() {
            self.rewrite(block, &new);
        }
    }

    /// Runs a command until it prints the output on the page.
    async fn check_output(&mut self, command: &str, expected: &str) -> String {
        let only_looks = ["kubectl get ", "kubectl pad status", "curl -s $"].iter().any(|start| {
            command.replace(&format!("--namespace {} ", self.env.namespace), "").starts_with(start)
        });
        let (env, shell, page) = (&self.env, &mut self.shell, self.page);
        let globalize = |printed: String| {
            printed
                .replace(env.namespace, "hiring")
                .replace(&env.lever.url(), "https://api.lever.co/v1")
                .replace(&env.interview.url(), "https://app.coderpad.io/api")
        };
        let once = globalize(shell.run(command).await.0);
        if matches_page(expected, &once) {
            return expected.to_owned();
        }
        if writes() {
            return once;
        }
        assert!(only_looks, "{page}: {command} prints\n{once}\ninstead of\n{expected}");
        eventually(&format!("{page}: {command} prints\n{expected}"), async || {
            let printed = globalize(shell.run(command).await.0);
            if matches_page(expected, &printed) {
                Ok(printed)
            } else {
                Err(format!("\n{printed}\n(PAGES=write puts it into the page)"))
            }
        })
        .await
    }

    fn rewrite(&mut self, block: &Block, new: &str) {
        let indented = |text: &str| {
            let margin = " ".repeat(block.margin);
            text.lines()
                .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{margin}{line}\n") })
                .collect::<String>()
        };
        let page = std::fs::read_to_string(source(self.page)).unwrap();
        // Including the end of the block, because another block may start in the same way.
        let [before, after] = [&block.text, new].map(|text| indented(&format!("{text}```")));
        let page = page.replacen(&before, &after, 1);
        std::fs::write(source(self.page), page).unwrap();
    }

    /// Handles a file that the page describes: resources, or values of the chart.
    async fn yaml(&mut self, text: &str) {
        let text = &localized(&self.env, text);
        let first = text.lines().next().unwrap_or_default();
        if let Some(name) = first.strip_prefix("# ").filter(|name| name.ends_with(".yaml")) {
            std::fs::write(self.folder.join(name), text).unwrap();
        }
        let objects = documents(text);
        assert!(!objects.is_empty(), "{}: an empty block of yaml", self.page);
        if objects.iter().all(|object| object["kind"].is_string()) {
            let apply =
                ["apply", "--dry-run=server", "--warnings-as-errors", "--validate=strict", "--filename=-"];
            let taken = self.env.cluster.kubectl(&apply, Some(text)).await;
            let taken = taken.unwrap_or_else(|error| panic!("{}: {error}\n{text}", self.page));
            assert_eq!(taken.lines().count(), objects.len(), "{taken}");
            return;
        }
        let [values] = &objects[..] else { panic!("{}: neither resources nor values:\n{text}", self.page) };
        let mut values = values.clone();
        let image = serde_json::json!({"image": {"repository": "registry.example.com/pad-operator"}});
        testkit::resources::merge(&mut values, &image);
        let made = render(&self.env.cluster, "pad-operator", "hiring", &values).await;
        assert!(made.is_ok(), "{}: values that the chart rejects: {made:?}\n{text}", self.page);
    }

    /// Runs a command in the text.
    async fn word(&mut self, word: &str) {
        if !untested_commands::is_command(word) || untested_commands::checked(word) {
            return;
        }
        println!("`{word}`");
        let command = self.local(word).await;
        let command = if untested_commands::is_name(word) { format!("{command} --help") } else { command };
        self.shell.succeed(&command).await;
    }
}
