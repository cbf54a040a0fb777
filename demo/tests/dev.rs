//! The development loop: a control plane that is kept, and an operator that is restarted with each build.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use control_plane::ControlPlane;

/// `make dev` in its own folder of programs. Killed if the test fails.
struct Dev {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Dev {
    fn start(programs: &Path) -> Self {
        let mut process =
            Command::new(programs.join("demo")).arg("dev").stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Reads lines until one contains `what`.
    fn wait_for_line(&mut self, what: &str) -> String {
        let line = self.lines.by_ref().map(Result::unwrap).find(|line| line.contains(what));
        line.unwrap_or_else(|| panic!("it exited without printing '{what}'"))
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.process.kill();
    }
}

#[test]
fn operator_is_restarted_with_each_build() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (built, folder) = (Path::new(env!("CARGO_BIN_EXE_demo")), folder.path());
    // `cargo test -p demo` alone does not build the operator; `cargo test --workspace` builds both.
    for program in ["demo", "pad-operator"] {
        std::fs::hard_link(built.with_file_name(program), folder.join(program)).unwrap();
    }
    let mut dev = Dev::start(folder);
    dev.wait_for_line("Ada Marlow, tagged \"coderpad\", moves to \"Phone Screen\": a live pad");
    dev.wait_for_line("make check AREA=");

    let kept = folder.join("kept-control-plane");
    let plane = ControlPlane::join(&kept).unwrap();
    let columns = "custom-columns=:.status.candidate,:.status.phase";
    let pads = Command::new(plane.program("kubectl"))
        .env("KUBECONFIG", plane.kubeconfig())
        .args(["get", "pads", "--namespace", "hiring", "--no-headers", "--output", columns])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(pads.stdout).unwrap().trim(), "Ada Marlow   Open");

    Dev::start(folder).wait_for_line("runs in another terminal");
    // As a build does: the file is replaced by another one.
    let (program, new) = (folder.join("pad-operator"), folder.join("new"));
    std::fs::copy(&program, &new).unwrap();
    std::fs::rename(&new, &program).unwrap();
    dev.wait_for_line("the new build of the operator is ready");
    // A build that cannot run does not end the loop.
    std::fs::write(&new, "no program").unwrap();
    std::fs::rename(&new, &program).unwrap();
    dev.wait_for_line("The new build does not start");
    std::fs::copy(built.with_file_name("pad-operator"), &new).unwrap();
    std::fs::rename(&new, &program).unwrap();
    dev.wait_for_line("the new build of the operator is ready");

    let id = dev.process.id().to_string();
    assert!(Command::new("kill").arg(id).status().unwrap().success());
    dev.wait_for_line("nothing is left running");
    assert!(dev.process.wait().unwrap().success());
    assert!(!kept.is_symlink() && !plane.kubeconfig().exists());
}
