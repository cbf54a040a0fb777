//! `make dev`: the stage of the demo, kept up while one writes code.
//!
//! Whenever the operator's program is built anew, by whomever, it is started anew, with the CustomResourceDefinitions
//! that there are then. The operator serves one namespace only, so that tests can use the same control plane beside it:
//! they find its folder behind a link.

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

/// How often the program is looked at. It is whole when two looks find the same.
const POLL: Duration = Duration::from_millis(200);

/// Keeps everything up until Ctrl-C, or says that it is up already: then the build before was all there is to do.
pub(crate) async fn dev(console: &Console) -> anyhow::Result<()> {
    let link = link()?;
    if link.exists() {
        let link = link.display();
        console.line(format_args!(
            "`make dev` runs in another terminal: it starts the operator that was just built.\n\n    \
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

/// Where tests look for the control plane: beside the programs, as there is one for each folder of them.
fn link() -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("kept-control-plane"))
}

/// Whoever was killed has left a link that leads nowhere.
fn remove(link: &Path) -> anyhow::Result<()> {
    if link.is_symlink() {
        std::fs::remove_file(link).with_context(|| format!("{} cannot be removed", link.display()))?;
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
    symlink(kept, link).with_context(|| format!("{} cannot be made", link.display()))?;
    console.line(format_args!("\n{}", keep::explain(stage, &candidate, &candidate)?));
    console.line(
        "After a change, in another terminal:\n\n    \
         make dev                # builds the operator; it is started here\n    \
         make check AREA=sync    # builds the tests, and runs those of an area in this control plane\n",
    );
    let (story, operator) = Story::on(stage, console)?;
    let mut program = Program::started(operator.program());
    loop {
        tokio::select! {
            () = program.built() => {}
            status = operator.ended() => {
                let (status, tail) = (status?, operator.log_tail());
                console.line(format_args!("The operator has ended ({status}). Its log ends with:\n{tail}"));
                program.built().await;
            }
        }
        // What does not start today starts with the next build.
        if let Err(error) = start_anew(story.kubectl, operator, console).await {
            console.line(format_args!("The new build does not start: {error:#}"));
        }
    }
}

/// The operator's program, which a build replaces.
struct Program {
    file: PathBuf,
    started: Option<Version>,
}

/// Tells one build from another.
type Version = (u64, u64, i64, i64);

impl Program {
    fn started(file: &Path) -> Self {
        let mut program = Self { file: file.to_owned(), started: None };
        program.started = program.version();
        program
    }

    /// Waits until it is another one than was started last.
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
    step.done("a new build of the operator runs: ready");
    Ok(())
}
