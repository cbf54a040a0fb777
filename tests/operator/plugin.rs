//! `kubectl pad`, called by the real kubectl as users call it.

use std::path::{Path, PathBuf};

use serde_json::json;
use simulators::NewCandidate;
use testkit::CommandLine;

use crate::cluster::{Output, or_stderr};
use crate::environment::{CONFIGURATION, CONNECTION, Options, STAGE, TestEnv};
use crate::wait::eventually;

/// Returns the program of the plugin. Cargo builds it with the tests of its crate, in the folder of the operator.
pub fn plugin_program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_pad-operator")).with_file_name("kubectl-pad");
    assert!(program.is_file(), "{program:?} does not exist. To build it: cargo build --package kubectl-pad");
    program
}

/// Runs kubectl with the plugin in its path.
pub struct Kubectl<'a> {
    env: &'a TestEnv,
    command_line: CommandLine,
}

impl<'a> Kubectl<'a> {
    pub fn new(env: &'a TestEnv) -> Self {
        let plane = &env.cluster.plane;
        let folder = plane.folder().join("plugins");
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["kubectl-pad", "kubectl_complete-pad"] {
            let _ = std::fs::remove_file(folder.join(name));
            std::os::unix::fs::symlink(plugin_program(), folder.join(name)).unwrap();
        }
        let folders = [folder.as_path(), plane.programs()];
        Self { env, command_line: CommandLine::new(plane.kubeconfig(), &folders, plane.folder()).unwrap() }
    }

    /// Returns the output or the error output of kubectl.
    pub async fn run(&self, words: &[&str]) -> Output {
        or_stderr(self.command_line.run("kubectl", words, "").await)
    }

    pub async fn pad(&self, words: &[&str]) -> Output {
        self.run(&[&["pad"], words, &["--namespace", self.env.namespace]].concat()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_creates_shows_and_ends_a_pad() {
    let env = TestEnv::start(Options::new("plugin")).await;
    let kubectl = Kubectl::new(&env);
    let stages = kubectl.pad(&["stages", CONNECTION]).await.unwrap();
    assert!(stages.lines().any(|line| line.starts_with(&format!("{STAGE}  "))), "{stages}");

    // The candidate has neither tag nor stage: a pad requested by a person is created anyway.
    let candidate = env.candidate();
    let profile = format!("https://hire.lever.co/candidates/{candidate}");
    let create = ["create", profile.as_str(), "--configuration", CONFIGURATION, "--timeout", "60s"];
    let made = kubectl.pad(&create).await.unwrap();
    let pad = env.wait_for_one_pad(&candidate).await;
    assert!(made.ends_with(&format!("{}\n", pad.url)), "{made}");
    let name = env.pads_of(&candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(made.starts_with(&format!("Pad {name}: created.")), "{made}");
    // Requested again by mistake: no second pad.
    let refused = kubectl.pad(&create).await.unwrap_err();
    assert!(refused.contains(&name) && refused.contains("--another"), "{refused}");
    assert_eq!(env.creates(), 1);

    assert_eq!(kubectl.pad(&["open", &name]).await.unwrap(), format!("{}\n", pad.url));
    let status = kubectl.pad(&["status"]).await.unwrap();
    for text in [
        "LeverConnection acme: Ready; organization Northwind; webhook verified; ",
        "  PadConfiguration phone-screen: Ready; ",
        &pad.url,
        "No action needed.",
    ] {
        assert!(status.contains(text), "{text:?} is not in\n{status}");
    }
    let everywhere = kubectl.run(&["pad", "status", "-A"]).await.unwrap();
    assert!(everywhere.contains(&format!("LeverConnection {}/acme", env.namespace)), "{everywhere}");

    let ended = kubectl.pad(&["end", &name, "--timeout", "60s"]).await.unwrap();
    assert!(ended.contains("requested the end of the interview") && ended.contains("/playback"), "{ended}");
    assert!(kubectl.pad(&["end", &name]).await.unwrap().contains("has already ended"));
    assert!(kubectl.pad(&["open", &name]).await.unwrap().contains("/playback"));
    // The first interview is over, so another pad is no mistake.
    kubectl.pad(&create).await.unwrap();
    assert_eq!(env.creates(), 2);
    let printed = kubectl.pad(&["candidate", &profile]).await.unwrap();
    let lines: Vec<&str> = printed.lines().collect();
    assert!(
        lines[0].starts_with(&format!("Pad {name} of PadConfiguration {CONFIGURATION}: Ended. ")),
        "{printed}"
    );
    assert!(lines[1].ends_with("/playback"), "{printed}");
    assert!(lines[2].contains(": Open. ") && lines[3].starts_with("http"), "{printed}");
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_reports_problems_and_retries() {
    let env = TestEnv::start(Options::new("plugin-retry")).await;
    let kubectl = Kubectl::new(&env);
    let candidate = env.add_candidate(NewCandidate::default());
    env.enter(&candidate).await;
    let pad = env.wait_for_pad(&candidate, "Skipped/TagMissing").await;
    let name = pad["metadata"]["name"].as_str().unwrap();
    let refused = kubectl.pad(&["open", name]).await.unwrap_err();
    assert!(refused.contains("has no link yet. TagMissing: "), "{refused}");
    let profile = format!("https://hire.lever.co/candidates/{candidate}");
    let printed = kubectl.pad(&["candidate", &profile]).await.unwrap();
    assert!(
        printed
            .starts_with(&format!("Pad {name} of PadConfiguration {CONFIGURATION}: Skipped. TagMissing: ")),
        "{printed}"
    );
    assert_eq!(printed.lines().count(), 1, "{printed}");
    let nobody = env.add_candidate(NewCandidate::default());
    let none = kubectl.pad(&["candidate", &nobody]).await.unwrap_err();
    assert!(none.contains("no Pad in namespace") && none.contains("kubectl pad status"), "{none}");
    let again = kubectl.pad(&["retry", name]).await.unwrap();
    assert!(again.contains("requested a reconcile") && again.contains("TagMissing: "), "{again}");
    for (object, reason) in [("padcfg/phone-screen", "InUse: "), ("leverconn/acme", "Connected: ")] {
        let again = kubectl.pad(&["retry", object]).await.unwrap();
        assert!(again.contains("requested a reconcile") && again.contains(reason), "{again}");
    }
    let unknown = kubectl.pad(&["retry", "nobody"]).await.unwrap_err();
    assert!(unknown.contains("Pad \"nobody\" not found in namespace"), "{unknown}");

    env.patch("leverconnections", CONNECTION, json!({"spec": {"lever": {"url": "https://example.com"}}}))
        .await;
    eventually("the connection is stalled", async || {
        let status = kubectl.pad(&["status"]).await.unwrap();
        let wanted = "Action needed:\n  LeverConnection acme: OriginNotAllowed";
        if status.contains(wanted) { Ok(()) } else { Err(status) }
    })
    .await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_completes_the_plugins_arguments() {
    let env = TestEnv::start(Options::new("plugin-words")).await;
    let kubectl = Kubectl::new(&env);
    let complete = async |words: &[&str]| {
        let text = kubectl.run(&[&["__complete", "pad"], words].concat()).await.unwrap();
        text.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let commands = complete(&["st"]).await;
    assert!(commands[0].starts_with("stages") || commands[0].starts_with("status"), "{commands:?}");
    let names = complete(&["create", "x", "-n", env.namespace, "-c", ""]).await;
    assert_eq!(names, [CONFIGURATION, ":4"]);
    let names = complete(&["stages", "--namespace", env.namespace, "a"]).await;
    assert_eq!(names, [CONNECTION, ":4"]);
    let script = kubectl.run(&["pad", "completion", "bash"]).await.unwrap();
    assert!(script.contains("kubectl-pad"), "{script}");
    env.finish().await;
}
