//! `docs/install.md` as a reader follows it: its commands are run in order and lead to a first pad.

use serde_json::Value;
use simulators::{DeliveryOutcome, NewCandidate};
use tokio::process::Command;

use crate::chart::{deployed, documents};
use crate::cluster::{Cluster, source};
use crate::environment::{Options, STAGE, TAG, TestEnv};
use crate::pages::{markdown, untested_commands};
use crate::wait::must_finish;

/// Returns the code blocks of the page in this language.
fn blocks(language: &str) -> Vec<String> {
    markdown::blocks_of(&std::fs::read_to_string(source("docs/install.md")).unwrap(), language)
}

/// Returns a block whose first line names the file.
fn file(name: &str) -> String {
    let first = format!("# {name}\n");
    blocks("yaml").into_iter().find(|block| block.starts_with(&first)).expect(name)
}

/// Runs a command of the page unchanged, in a folder with the files that the page describes.
async fn run(env: &TestEnv, command: &str) -> String {
    let path = format!("{}:/usr/bin:/bin", env.cluster.plane.programs().display());
    let output = Command::new("bash")
        .args(["-c", command])
        .current_dir(folder(env))
        .env("PATH", path)
        .env("KUBECONFIG", env.cluster.plane.kubeconfig())
        .env("HOME", env.cluster.plane.folder())
        .output();
    let output = must_finish(command, output).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(output.status.success(), "{command}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn folder(env: &TestEnv) -> std::path::PathBuf {
    env.cluster.plane.folder().join("install")
}

/// Contents of the folder: the repository, the values and the keys. Only the services' addresses differ.
fn prepare(env: &TestEnv, options: &Options) {
    let write = |name: &str, text: &str| std::fs::write(folder(env).join(name), text).unwrap();
    std::fs::create_dir_all(folder(env).join("examples")).unwrap();
    std::os::unix::fs::symlink(source("charts"), folder(env).join("charts")).unwrap();
    std::os::unix::fs::symlink(source("."), folder(env).join("pad-operator")).unwrap();
    for name in ["connection.yaml", "phone-screen.yaml"] {
        let text = std::fs::read_to_string(source(&format!("examples/{name}"))).unwrap();
        let text = text.replace("url: https://api.lever.co/v1", &format!("url: {}", env.lever.url()));
        let text = text.replace("url: https://app.coderpad.io/api", &format!("url: {}", env.interview.url()));
        write(&format!("examples/{name}"), &text);
    }
    let origins = format!("allowApiOrigins: [\"{}\", \"{}\"]\n", env.lever.origin(), env.interview.origin());
    write("values.yaml", &(file("values.yaml") + &origins));
    for name in ["kustomization.yaml", "ingress.yaml"] {
        write(name, &file(name));
    }
    assert_eq!(blocks("yaml").len(), 3, "each block must be used, because nothing else tests it");
    let keys = [
        ("lever-api-key", &options.lever.api_key),
        ("interview-api-key", &options.interview.api_key),
        ("lever-signing-token", &env.signing_token),
    ];
    for (name, key) in keys {
        env.declare_private(key);
        write(name, key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn install_page_leads_to_a_first_pad_and_to_removal() {
    let options = Options::new("hiring");
    let mut env = TestEnv::prepare(Cluster::start().await, &options).await;
    let cluster = env.cluster.clone();
    prepare(&env, &options);

    let commands = markdown::commands(&blocks("sh").concat());
    let (mut address, mut last) = (String::new(), String::new());
    for command in &commands {
        println!("$ {command}");
        // `make image` builds the image, and `make e2e` uses it.
        if ["docker ", "make "].iter().any(|start| command.starts_with(start)) {
            assert!(untested_commands::checked(command));
            continue;
        }
        if command.contains("rollout status") {
            // There are no nodes here: the operator is started as its Deployment specifies.
            deployed(&env).await.start(&mut env).await;
            continue;
        }
        if command.contains("condition=WebhookVerified") {
            env.lever.set_webhook(address.trim(), &env.signing_token);
            assert!(env.lever.verify().await.verified);
        }
        if command.ends_with("get pads") {
            let candidate = env.add_candidate(NewCandidate::default());
            env.lever.add_tag(&candidate, TAG);
            let moved = env.lever.move_to_stage(&candidate, STAGE).await;
            let delivery =
                must_finish("it is delivered", env.lever.wait_for_delivery(moved.deliveries[0])).await;
            assert_eq!(delivery.outcome, DeliveryOutcome::Received);
            env.wait_for_one_pad(&candidate).await;
        }
        if command.starts_with("kubectl delete crds") {
            last.clone_from(command);
            break;
        }
        let printed = run(&env, command).await;
        if command.contains(".status.webhookURL") {
            address = printed;
        } else if command.contains(".status.stages") {
            assert!(printed.lines().any(|line| line == STAGE), "{printed}");
        } else if command.ends_with("get pads") {
            assert!(printed.contains("Open"), "{printed}");
        }
    }
    assert_eq!(Some(&last), commands.last(), "the definitions are deleted last");
    assert!(commands.len() > 12, "{commands:#?}");
    for plural in ["leverconnections", "padconfigurations", "pads"] {
        assert!(env.list(plural).await.is_empty());
    }
    env.finish().await;
    cluster.kubectl(&last.split(' ').skip(1).collect::<Vec<_>>(), None).await.unwrap();
}

/// The kustomization of the page: the API server accepts its output, which contains the image and the address.
#[tokio::test(flavor = "multi_thread")]
async fn kustomization_of_the_page_is_accepted() {
    let options = Options::new("hiring-kustomized");
    let env = TestEnv::prepare(Cluster::with_crds().await, &options).await;
    prepare(&env, &options);
    let built = documents(&run(&env, "kubectl kustomize .").await);
    let of_kind = |kind: &str| built.iter().filter(|object| object["kind"] == kind).collect::<Vec<&Value>>();
    let container = &of_kind("Deployment")[0]["spec"]["template"]["spec"]["containers"][0];
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(container["image"], format!("registry.example.com/pad-operator:{version}"));
    let arguments = container["args"].as_array().unwrap();
    assert!(arguments.iter().any(|flag| flag == "--public-url=https://hooks.example.com"), "{arguments:?}");
    assert_eq!(of_kind("Ingress").len(), 1);
    run(&env, "kubectl create namespace hiring").await;
    let taken = run(&env, "kubectl apply --dry-run=server --kustomize .").await;
    assert_eq!(taken.lines().count(), built.len(), "{taken}");
}
