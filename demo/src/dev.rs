//! `make dev`: the environment of the demo, kept up during development.
//!
//! Whenever the operator's program is rebuilt, the operator is restarted and the current CustomResourceDefinitions
//! are applied. The operator serves one namespace only, so that tests can use the same control plane: they find its
//! folder through a symbolic link.

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use testkit::Operator;

use crate::Signals;
use crate::console::Console;
use crate::environment::{self, Environment};
use crate::examples::NAMESPACE;
use crate::keep_alive;
use crate::kubectl::{Kubectl, WAIT};
use crate::scenario::Scenario;

/// Interval between checks of the program. A build counts as complete when two checks find the same file.
const POLL: Duration = Duration::from_millis(200);

/// Keeps everything up until Ctrl-C. If another process does so already, the build was all that was needed.
pub(crate) async fn dev(console: &Console) -> anyhow::Result<()> {
    let link = link()?;
    if link.exists() {
        let link = link.display();
        console.line(format_args!(
            "`make dev` runs in another terminal: it restarts the operator with the new build.\n\n    \
             export KUBECONFIG={link}/kubeconfig"
        ));
        return Ok(());
    }
    let mut signals = Signals::new()?;
    let mut environment = Environment::for_namespace(NAMESPACE);
    let outcome = tokio::select! {
        exited = run(&mut environment, console, &link) => exited,
        () = signals.wait() => Ok(()),
    };
    if outcome.is_err() {
        environment::diagnose(&environment).await;
    }
    let stopped = environment.stop(console, outcome.is_err()).await;
    remove_link(&link)?;
    outcome.and(stopped)
}

/// Returns the link through which tests find the control plane. It is next to the programs: one for each build folder.
fn link() -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("kept-control-plane"))
}

/// Removes the link, also a dangling one left by a killed process.
fn remove_link(link: &Path) -> anyhow::Result<()> {
    if link.is_symlink() {
        std::fs::remove_file(link).with_context(|| format!("cannot remove {}", link.display()))?;
    }
    Ok(())
}

async fn run(environment: &mut Environment, console: &Console, link: &Path) -> anyhow::Result<()> {
    environment.start(console).await?;
    let (scenario, _) = Scenario::new(environment, console)?;
    let (rule, _) = scenario.connect().await?;
    console.line("\nA first candidate:");
    let (candidate, _) = scenario.first_candidate(&rule).await?;

    let kept = environment.plane.as_ref().context("there is no control plane")?.folder();
    remove_link(link)?;
    symlink(kept, link).with_context(|| format!("cannot create {}", link.display()))?;
    console.line(format_args!("\n{}", keep_alive::instructions(environment, &candidate, &candidate)?));
    console.line(
        "After a change, in another terminal:\n\n    \
         make dev                # builds the operator, which is then restarted here\n    \
         make check AREA=sync    # builds the tests and runs those of one area in this control plane\n",
    );
    let (scenario, operator) = Scenario::new(environment, console)?;
    let mut program = Program::started(operator.program());
    loop {
        tokio::select! {
            () = program.wait_for_new_build() => {}
            status = operator.exited() => {
                let (status, tail) = (status?, operator.log_tail());
                console.line(format_args!("The operator exited ({status}). Its log ends with:\n{tail}"));
                program.wait_for_new_build().await;
            }
        }
        // A build that does not start is replaced by the next one.
        if let Err(error) = restart_with_new_build(scenario.kubectl, operator, console).await {
            console.line(format_args!("The new build does not start: {error:#}"));
        }
    }
}

/// The operator's program, which each build replaces.
struct Program {
    file: PathBuf,
    started: Option<Version>,
}

/// Identity of a build: inode, size and modification time.
type Version = (u64, u64, i64, i64);

impl Program {
    fn started(file: &Path) -> Self {
        let mut program = Self { file: file.to_owned(), started: None };
        program.started = program.version();
        program
    }

    /// Waits until the file differs from the build that was started last.
    async fn wait_for_new_build(&mut self) {
        let mut before = None;
        loop {
            tokio::time::sleep(POLL).await;
            let found = self.version();
            if found.is_some() && found != self.started && found == before {
                self.started = found;
                return;
            }
            before = found;
        }
    }

    fn version(&self) -> Option<Version> {
        let found = std::fs::metadata(&self.file).ok()?;
        Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    }
}

async fn restart_with_new_build(
    kubectl: &Kubectl,
    operator: &mut Operator,
    console: &Console,
) -> anyhow::Result<()> {
    let step = console.begin("a new build: kubectl apply -f crds/, pad-operator run");
    kubectl.install_crds().await?;
    if operator.is_running() {
        operator.stop().await?;
    }
    operator.start()?;
    operator.wait_until_ready(WAIT).await?;
    step.done("the new build of the operator is ready");
    Ok(())
}
