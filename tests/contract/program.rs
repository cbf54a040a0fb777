//! The program itself, at its usual pace.

use crate::accounts::{Accounts, INTERVIEW_KEY, LEVER_KEY, STAGE, TAG, assert_private};
use serde_json::Value;
use std::path::Path;
use std::process::{Output, Stdio};
use tokio::process::Command;

async fn check(args: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pad-operator"))
        .arg("check")
        .args(args)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn folder(name: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

// contract O1
#[tokio::test]
async fn keys_are_read_from_the_environment_and_from_files() {
    let accounts = Accounts::start().await;
    let folder = folder("check-keys");
    let file = folder.join("interview-key");
    std::fs::write(&file, format!("{INTERVIEW_KEY}\n")).unwrap();
    let (lever, interview) = (accounts.lever.url(), accounts.interview.url());
    let shapes = folder.join("shapes");
    let urls = ["--lever-url", &lever, "--interview-url", &interview];
    let rest = ["--stage", STAGE, "--tag", TAG, "--question", "1001", "--owner", "lead@northwind.example"];
    let files =
        ["--coderpad-key-file", file.to_str().unwrap(), "--record", shapes.to_str().unwrap(), "-o", "json"];
    let output = check(&[&urls[..], &rest, &files].concat(), &[("LEVER_API_KEY", LEVER_KEY)]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(report["level"], "ok", "{report:#}");
    assert_private(&out(&output));

    // At most 2 requests per second in total.
    let mut times: Vec<i64> = accounts.lever.calls().iter().map(|call| call.at).collect();
    times.extend(accounts.interview.calls().iter().map(|call| call.at));
    times.sort_unstable();
    assert_eq!(i64::try_from(times.len()).unwrap(), report["calls"].as_i64().unwrap());
    for window in times.windows(4) {
        assert!(window[3] - window[0] >= 1300, "4 requests within {} ms", window[3] - window[0]);
    }

    let mut shapes: Vec<_> = std::fs::read_dir(&shapes).unwrap().map(|entry| entry.unwrap().path()).collect();
    shapes.sort();
    assert_eq!(shapes.len(), times.len());
    for shape in &shapes {
        let text = std::fs::read_to_string(shape).unwrap();
        assert_private(&text);
        for secret in [&accounts.candidate, TAG, STAGE, "Northwind", "first"] {
            assert!(!text.contains(secret), "{secret} is in {}:\n{text}", shape.display());
        }
        let record: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&record["status"], record["answer"].is_object()), (&200.into(), true), "{text}");
    }
}

#[tokio::test]
async fn without_keys_the_exit_code_is_that_of_a_failure() {
    let output = check(&[], &[]).await;
    assert_eq!(output.status.code(), Some(2));
    let text = out(&output);
    for variable in ["Set LEVER_API_KEY, or use --lever-key-file FILE.", "Set CODERPAD_API_KEY"] {
        assert!(text.contains(variable), "{text}");
    }
}

#[tokio::test]
async fn a_missing_key_file_is_named() {
    let output = check(&["--lever-key-file", "/nowhere/key"], &[]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(out(&output).contains("/nowhere/key: No such file"), "{}", out(&output));
}

#[tokio::test]
async fn a_proxy_that_does_not_connect_is_named() {
    // Accepts connections, and denies every request as a proxy does.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap().to_string();
    let denies = axum::Router::new().fallback(async || axum::http::StatusCode::PROXY_AUTHENTICATION_REQUIRED);
    tokio::spawn(async move { axum::serve(listener, denies).await });
    let variables = [
        ("LEVER_API_KEY", LEVER_KEY),
        ("CODERPAD_API_KEY", INTERVIEW_KEY),
        ("HTTPS_PROXY", &format!("http://{proxy}")),
    ];
    let urls = ["--lever-url", "https://lever.invalid/v1", "--interview-url", "https://coderpad.invalid/api"];
    let output = check(&urls, &variables).await;
    assert_eq!(output.status.code(), Some(2));
    testkit::assert_snapshot("check-proxy", out(&output).replace(&proxy, "proxy:3128").trim_end());
}

#[tokio::test]
async fn a_write_test_without_a_terminal_needs_yes() {
    let accounts = Accounts::start().await;
    let (lever, interview) = (accounts.lever.url(), accounts.interview.url());
    let urls = ["--lever-url", &lever, "--interview-url", &interview];
    let args = ["--write-test", "--candidate", &accounts.candidate];
    let keys = [("LEVER_API_KEY", LEVER_KEY), ("CODERPAD_API_KEY", INTERVIEW_KEY)];
    let output = check(&[&urls[..], &args].concat(), &keys).await;
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("add --yes"), "{text}");
    let wrote = |method: &str| method != "GET";
    assert!(!accounts.lever.calls().iter().any(|call| wrote(&call.method)));
    assert!(!accounts.interview.calls().iter().any(|call| wrote(&call.method)));
}
