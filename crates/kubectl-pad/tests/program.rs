//! The program as kubectl and a shell start it.

#![allow(clippy::unwrap_used)] // Test code.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kubectl-pad");

/// Runs a program without any cluster.
fn run(program: &Path, words: &[&str]) -> Output {
    Command::new(program).args(words).env_clear().env("HOME", "/nonexistent").output().unwrap()
}

#[test]
fn missing_cluster_is_an_error_with_the_next_step() {
    let output = run(Path::new(PROGRAM), &["status"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{message}");
    assert!(message.starts_with("error: no cluster configured: set KUBECONFIG"), "{message}");
}

#[test]
fn program_prints_completions_under_the_name_that_kubectl_calls() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("completion");
    let program = folder.join("kubectl_complete-pad");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    symlink(PROGRAM, &program).unwrap();
    let output = run(&program, &["st"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.ends_with(":4\n"), "{text}");
    assert!(text.contains("\nstages\t") || text.starts_with("stages\t"), "{text}");
}
