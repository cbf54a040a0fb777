//! `make dev`: the environment of the demo, kept up during development.
//! || Whenever the operator's program is rebuilt, the operator is restarted and the current CustomResourceDefinitions
//! are applied. The operator serves one namespace only, so that tests can use the same control plane: they find its
//! folder through a symbolic link.

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::Signals;
use crate::console::Console;
use crate::examples::NAMESPACE;
use crate::keep;
use crate::kubectl::Kubectl;
use crate::operator::Operator;
use crate::stage::{self, Stage};
use crate::story::Story;

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
    let mut stage = Stage::serving(NAMESPACE);
    let outcome = tokio::select! {
        ended = live(&mut stage, console, &link) => ended,
        () = signals.received() => Ok(()),
    };
    if outcome.is_err() {
        stage::diagnose(&stage).await;
    }
    let stopped = stage.strike(console, outcome.is_err()).await;
    remove(&link)?;
    outcome.and(stopped)
}

/// Returns the link through which tests find the control plane. It is next to the programs: one for each build folder.
fn link() -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("kept-control-plane"))
}

/// Removes the link, also a dangling one left by a killed process.
fn remove(link: &Path) -> anyhow::Result<()> {
    if link.is_symlink() {
        std::fs::remove_file(link).with_context(|| format!("cannot remove {}", link.display()))?;
    }
    Ok(())
}

async fn live(stage: &mut Stage, console: &Console, link: &Path) -> anyhow::Result<()> {
    stage.set(console).await?;
    let (story, _) = Story::on(stage, console)?;
    let (rule, _) = story.connect().await?;
    console.line("\nA first candidate:");
    let (candidate, _) = story.first_candidate(&rule).await?;

    let kept = stage.plane.as_ref().context("there is no control plane")?.folder();
    remove(link)?;
    symlink(kept, link).with_context(|| format!("cannot create {}", link.display()))?;
    console.line(format_args!("\n{}", keep::explain(stage, &candidate, &candidate)?));
    console.line(
        "After a change, in another terminal:\n\n    \
         make dev                # builds the operator, which is then restarted here\n    \
         make check AREA=sync    # builds the tests and runs those of one area in this control plane\n",
    );
    let (story, operator) = Story::on(stage, console)?;
    let mut program = Program::started(operator.program());
    loop {
        tokio::select! {
            () = program.built() => {}
            status = operator.ended() => {
                let (status, tail) = (status?, operator.log_tail());
                console.line(format_args!("The operator exited ({status}). Its log ends with:\n{tail}"));
                program.built().await;
            }
        }
        // A build that does not start is replaced by the next one.
        if let Err(error) = start_anew(story.kubectl, operator, console).await {
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
    async fn built(&mut self) {
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

async fn start_anew(kubectl: &Kubectl, operator: &mut Operator, console: &Console) -> anyhow::Result<()> {
    let step = console.begin("a new build: kubectl apply -f crds/, pad-operator run");
    kubectl.run("apply -f crds/").await?;
    operator.restart().await?;
    step.done("the new build of the operator is ready");
    Ok(())
}
