//! A user of one namespace may write any spec: no request goes to a forbidden origin, and no foreign Secret is used.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::environment::{CONNECTION, Options, TestEnv};
use crate::status::{brief, message_of};
use crate::wait::eventually;

/// Another team's namespace, which the operator also serves.
const OTHERS: &str = "tenants-others";
const OTHERS_KEY: &str = "lever-6f6f-of-others";

/// Waits until the connection of this generation has been reconciled.
async fn reconciled_connection(env: &TestEnv) -> Value {
    eventually("the connection is reconciled", async || {
        let connection = env.get("leverconnections", CONNECTION).await;
        let is_seen = connection["status"]["observedGeneration"] == connection["metadata"]["generation"];
        if is_seen { Ok(connection) } else { Err(format!("{connection:#}")) }
    })
    .await
}

/// Server that no request may reach, and the number of requests that did.
async fn forbidden() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (port, reached) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let count = reached.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (port, reached)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spec_reaches_a_forbidden_origin() {
    let env = TestEnv::start(Options::new("tenants-origins")).await;
    let (port, reached) = forbidden().await;
    let allowed = env.lever.origin();
    let allowed = allowed.strip_prefix("http://").unwrap();
    let tricks = [
        format!("http://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}/v1"),
        format!("HTTP://127.1:{port}/v1"),
        format!("http://2130706433:{port}/v1"),
        format!("http://localhost:{port}/v1"),
        format!("http://{allowed}@127.0.0.1:{port}/v1"),
        format!("http://127.0.0.1:{port}#@{allowed}/v1"),
        format!("http://127.0.0.1:{port}?@{allowed}/v1"),
        format!("http:\\\\127.0.0.1:{port}\\v1"),
        format!("http://127.0.0.1:{port}/../../v1"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://kubernetes.default.svc/api/v1".to_owned(),
        "file:///etc/passwd".to_owned(),
    ];
    let mut refused = 0;
    for (field, right) in [("lever", env.lever.url()), ("interview", env.interview.url())] {
        for trick in &tricks {
            let mut spec = env.connection_spec();
            spec[field]["url"] = json!(trick);
            if env.kubectl_apply("LeverConnection", CONNECTION, &spec).await.is_err() {
                refused += 1;
                continue;
            }
            let connection = reconciled_connection(&env).await;
            assert_eq!(brief(&connection, "Ready"), "False/OriginNotAllowed", "{trick}: {connection:#}");
        }
        let mut spec = env.connection_spec();
        spec[field]["url"] = json!(right);
        env.kubectl_apply("LeverConnection", CONNECTION, &spec).await.unwrap();
        env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    }
    println!("tenants: {} addresses tried, {refused} refused by the API server", 2 * tricks.len());
    assert_eq!(reached.load(Ordering::SeqCst), 0);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spec_uses_a_secret_of_another_namespace() {
    let mut options = Options::new("tenants-secrets");
    options.flags.push("--namespace=tenants-others");
    let env = {
        let cluster = crate::cluster::Cluster::shared().await;
        cluster.create_namespace(OTHERS).await;
        TestEnv::start_in(cluster, options).await
    };
    env.declare_private(OTHERS_KEY);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs", "namespace": OTHERS},
        "stringData": {"lever-api-key": OTHERS_KEY, "interview-api-key": OTHERS_KEY, "lever-signing-token": OTHERS_KEY}});
    env.cluster.kubectl(&["apply", "--filename", "-"], Some(&secret.to_string())).await.unwrap();

    let names = [
        "theirs",
        "tenants-others/theirs",
        "../tenants-others/theirs",
        "../../tenants-others/secrets/theirs",
        "..%2f..%2ftenants-others%2fsecrets%2ftheirs",
        "theirs?namespace=tenants-others",
    ];
    let mut refused = 0;
    for name in names {
        for path in ["/lever/apiKeySecretRef", "/interview/apiKeySecretRef", "/webhook/signingTokenSecretRef"]
        {
            let mut spec = env.connection_spec();
            spec.pointer_mut(path).unwrap()["name"] = json!(name);
            if env.kubectl_apply("LeverConnection", CONNECTION, &spec).await.is_err() {
                refused += 1;
                continue;
            }
            let connection = reconciled_connection(&env).await;
            let (kind, reason) = if path.starts_with("/webhook") {
                ("WebhookVerified", "False/SigningTokenMissing")
            } else {
                ("Ready", "False/SecretNotFound")
            };
            assert_eq!(brief(&connection, kind), reason, "{name} at {path}: {connection:#}");
            assert!(
                message_of(&connection, kind).contains("does not exist") || kind != "Ready",
                "{connection:#}"
            );
        }
    }
    // No object of another namespace is used by name.
    let spec = json!({"configurationRef": {"name": "tenants-others/phone-screen"}, "opportunityID": "o-1"});
    let is_made = env.kubectl_apply("Pad", "by-hand", &spec).await.is_ok();
    println!("tenants: {} names tried, {refused} refused by the API server", 3 * names.len());
    let theirs = env.cluster.requests(OTHERS).await;
    let read: Vec<_> = theirs
        .iter()
        .filter(|one| one.user == env.user(0) && one.resource == "secrets" && one.verb == "get")
        .collect();
    assert!(read.is_empty(), "{read:#?}");
    if is_made {
        env.wait_for_pad("o-1", "Pending/ConfigurationNotFound").await;
    }
    env.kubectl_apply("LeverConnection", CONNECTION, &env.connection_spec()).await.unwrap();
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    env.finish().await;
}
