//! spec.webhook.mode: Managed: the operator registers the webhook in Lever and keeps its token.

use std::time::Duration;

use serde_json::{Value, json};
use simulators::{Fault, FaultAction, PERMISSIONS, PausePoint, Permissions};

use crate::environment::{CONNECTION, NO_PUBLIC_URL, Options, SECRET, TestEnv};
use crate::status::{brief, message_of};
use crate::wait::{eventually, must_finish};

/// Secret that the operator creates.
const TOKENS: &str = "lever-webhook";
const EVENT: &str = "candidateStageChange";

fn managed(name: &'static str) -> Options {
    let mut options = Options::new(name).without_setup();
    let reference = json!({"name": TOKENS, "key": "token"});
    options.connection["webhook"] = json!({"mode": "Managed", "signingTokenSecretRef": reference});
    options.flags.push("--leader-election=false");
    options
}

/// Returns the tokens in the Secret, which contains one per line.
async fn stored(env: &TestEnv) -> Vec<String> {
    let template = "--output=go-template={{if .data}}{{range .data}}{{. | base64decode}}{{end}}{{end}}";
    let text = env.kubectl(&["get", "secret", TOKENS, template]).await.unwrap_or_default();
    text.lines().map(ToOwned::to_owned).collect()
}

/// Waits until there is exactly one webhook in Lever, its token is in the Secret, and its ID is in the status.
async fn settled_status(env: &TestEnv) -> Value {
    let webhook = eventually("one webhook is registered, and its token stored", async || {
        let connection = env.get("leverconnections", CONNECTION).await;
        let (webhooks, tokens) = (env.lever.webhooks(), stored(env).await);
        let has_token = |webhook: &Value| tokens.iter().any(|token| webhook["signatureToken"] == token[..]);
        match webhooks.as_slice() {
            [one] if has_token(one) && connection["status"]["webhookID"] == one["id"] => Ok(one.clone()),
            _ => Err(format!("{webhooks:#?}, {} tokens, {connection:#}", tokens.len())),
        }
    })
    .await;
    for token in stored(env).await {
        env.declare_private(&token);
    }
    webhook
}

/// Enables the event as a Super Admin; a candidate then gets a pad by the webhook.
async fn assert_works(env: &TestEnv) {
    env.lever.switch_event(EVENT, true);
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
    env.wait_for("leverconnections", CONNECTION, "WebhookVerified", "True/SignatureVerified").await;
}

fn calls(env: &TestEnv, method: &str) -> usize {
    let calls = env.lever.calls();
    calls.iter().filter(|call| call.method == method && call.path.starts_with("/v1/webhooks")).count()
}

async fn wait_until_gone(env: &TestEnv) {
    eventually("the connection is deleted", async || {
        let found = env.find("leverconnections", CONNECTION).await;
        found.map_or(Ok(()), |connection| Err(format!("{connection:#}")))
    })
    .await;
}

fn finalizers(object: &Value) -> &Value {
    &object["metadata"]["finalizers"]
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_is_registered_verified_used_and_removed_with_the_connection() {
    let mut env = TestEnv::start(managed("managed")).await;
    let webhook = settled_status(&env).await;
    let connection =
        env.wait_for("leverconnections", CONNECTION, "WebhookVerified", "False/AwaitingVerification").await;
    assert!(message_of(&connection, "WebhookVerified").contains("Super Admin"), "{connection:#}");
    assert_eq!(brief(&connection, "Ready"), "True/Connected");
    assert_eq!(finalizers(&connection), &json!(["padoperator.dev/webhook"]));
    assert_eq!(webhook["url"], connection["status"]["webhookURL"]);
    assert_eq!((&webhook["event"], &webhook["byApi"]), (&json!(EVENT), &json!(true)));
    let secret = env.get("secrets", TOKENS).await;
    assert_eq!(secret["metadata"]["labels"], json!({"app.kubernetes.io/managed-by": "pad-operator"}));
    env.wait_for("padconfigurations", "phone-screen", "Ready", "True/InUse").await;
    assert_works(&env).await;

    // Another operator finds the expected state and writes nothing.
    let before = env.get("secrets", TOKENS).await;
    env.operator().kill().await;
    let listed = calls(&env, "GET");
    env.operator().start().await;
    eventually("the next operator has reconciled", async || {
        if calls(&env, "GET") > listed { Ok(()) } else { Err("not yet".into()) }
    })
    .await;
    assert_works(&env).await;
    assert_eq!((calls(&env, "POST"), calls(&env, "DELETE")), (1, 0));
    assert_eq!(env.get("secrets", TOKENS).await, before);

    env.delete("leverconnections", CONNECTION).await;
    wait_until_gone(&env).await;
    assert_eq!(env.lever.webhooks(), Vec::<Value>::new());
    assert_eq!(stored(&env).await, Vec::<String>::new());
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_is_replaced_after_a_crash_before_its_token_is_stored() {
    for (name, moment) in
        [("managed-killed", PausePoint::AfterEffect), ("managed-killed-early", PausePoint::BeforeEffect)]
    {
        let mut env = TestEnv::start(managed(name)).await;
        let webhook = settled_status(&env).await;
        // A person removes the webhook, so that one must be created.
        env.lever.remove_webhook(webhook["id"].as_str().unwrap());
        let held = env.lever.faults().add(Fault::on("POST", "^/v1/webhooks$").pause(moment));
        env.request("leverconnections", CONNECTION).await;
        must_finish("the creation of the webhook is in flight", held.reached()).await;
        env.operator().kill().await;
        let there = usize::from(moment == PausePoint::AfterEffect);
        assert_eq!(env.lever.webhooks().len(), there);
        env.operator().start().await;
        let another = settled_status(&env).await;
        assert_ne!(webhook["signatureToken"], another["signatureToken"]);

        // A late webhook is found and removed by the next reconcile.
        held.release();
        if moment == PausePoint::BeforeEffect {
            eventually("the late one has taken effect", async || match env.lever.webhooks().len() {
                2 => Ok(()),
                other => Err(format!("{other} webhooks")),
            })
            .await;
            env.request("leverconnections", CONNECTION).await;
        }
        assert_eq!(settled_status(&env).await, another);
        env.wait_for("padconfigurations", "phone-screen", "Ready", "True/InUse").await;
        assert_works(&env).await;
        env.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_responses_leave_one_webhook_with_a_known_token() {
    let env = TestEnv::start(managed("managed-lost").polling("1s")).await;
    let first = settled_status(&env).await;
    let faults = env.lever.faults();
    faults.add(Fault::on("POST", "^/v1/webhooks$").lose_answer().times(3));
    faults.add(Fault::on("DELETE", "^/v1/webhooks/").lose_answer().times(2));
    env.lever.remove_webhook(first["id"].as_str().unwrap());
    eventually("it is registered again", async || {
        let made = calls(&env, "POST");
        if made == 5 { Ok(()) } else { Err(format!("{made} were created")) }
    })
    .await;
    settled_status(&env).await;
    assert_eq!(calls(&env, "POST"), 5);
    env.wait_for("padconfigurations", "phone-screen", "Ready", "True/InUse").await;
    assert_works(&env).await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_leaders_leave_one_webhook_with_a_known_token() {
    let mut options = managed("managed-two");
    options.replicas = 2;
    options.flags.push("--public-url=https://hooks.example.com");
    let env = TestEnv::start(options).await;
    let first = settled_status(&env).await;
    // Both must detect the missing webhook at the same time.
    env.lever.faults().add(Fault::on("POST", "^/v1/webhooks$").delay(Duration::from_millis(300)).times(9));
    for _ in 0..3 {
        let gone = settled_status(&env).await;
        env.lever.remove_webhook(gone["id"].as_str().unwrap());
        env.request("leverconnections", CONNECTION).await;
        eventually("it is registered again", async || {
            let webhooks = env.lever.webhooks();
            if webhooks.is_empty() { Err("there is none".into()) } else { Ok(()) }
        })
        .await;
        env.request("leverconnections", CONNECTION).await;
    }
    assert_ne!(settled_status(&env).await["id"], first["id"]);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_secret_is_not_modified() {
    let mut options = managed("managed-not-owned");
    options.connection["webhook"]["signingTokenSecretRef"] =
        json!({"name": SECRET, "key": "lever-signing-token"});
    let env = TestEnv::start(options).await;
    let connection = env.wait_for("leverconnections", CONNECTION, "Ready", "False/SecretNotOwned").await;
    assert_eq!(brief(&connection, "Stalled"), "True/SecretNotOwned");
    assert!(message_of(&connection, "Ready").contains("API key of LeverConnection acme"), "{connection:#}");
    // The label does not help for a Secret that contains an API key.
    let label = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "pad-operator"}}});
    env.patch("secrets", SECRET, label.clone()).await;
    let before = env.get("secrets", SECRET).await;

    let other = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"note": "mine"},
        "metadata": {"name": TOKENS, "namespace": env.namespace}});
    env.cluster.kubectl(&["create", "--filename", "-"], Some(&other.to_string())).await.unwrap();
    let reference = json!({"name": TOKENS, "key": "token"});
    let spec = json!({"spec": {"webhook": {"signingTokenSecretRef": reference}}});
    env.patch("leverconnections", CONNECTION, spec).await;
    eventually("the operator does not own the other Secret either", async || {
        let connection = env.get("leverconnections", CONNECTION).await;
        let message = message_of(&connection, "Ready").to_owned();
        if message.contains("lacks the label") { Ok(()) } else { Err(message) }
    })
    .await;
    assert_eq!((calls(&env, "POST"), env.get("secrets", SECRET).await), (0, before));

    env.patch("secrets", TOKENS, label).await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    let template = "--output=go-template={{.data.note | base64decode}}";
    let note = env.kubectl(&["get", "secret", TOKENS, template]).await.unwrap();
    assert_eq!(note, "mine");
    eventually("the webhook is registered", async || {
        let connection = env.get("leverconnections", CONNECTION).await;
        let id = &connection["status"]["webhookID"];
        let webhooks = env.lever.webhooks();
        if webhooks.len() == 1 && webhooks[0]["id"] == *id { Ok(()) } else { Err(format!("{webhooks:#?}")) }
    })
    .await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_public_url_moves_the_webhook_without_a_gap() {
    let mut env = TestEnv::start(managed("managed-moved")).await;
    let old = settled_status(&env).await;
    env.wait_for("padconfigurations", "phone-screen", "Ready", "True/InUse").await;
    assert_works(&env).await;
    let port = env.operator().webhooks;
    let flags = ["--leader-election=false", &format!("--public-url=http://localhost:{port}")];
    let arguments = env.arguments(&flags, port);
    env.operator().terminate().await;
    env.lever.clear_calls();
    env.operator().set_arguments(arguments);
    env.operator().start().await;
    eventually("the webhook has moved", async || match env.lever.webhooks().as_slice() {
        [one] if one["url"] != old["url"] => Ok(()),
        other => Err(format!("{other:#?}")),
    })
    .await;
    let new = settled_status(&env).await;
    assert!(new["url"].as_str().unwrap().starts_with("http://localhost:"), "{new:#}");
    let writes: Vec<_> = env.lever.calls().into_iter().filter(|call| call.method != "GET").collect();
    let methods: Vec<_> = writes.iter().map(|call| call.method.as_str()).collect();
    assert_eq!(methods, ["POST", "DELETE"], "the new webhook is created before the old one is deleted");
    // Retries for the old URL are still accepted.
    assert_eq!(stored(&env).await.len(), 2);
    assert_works(&env).await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_webhook_and_secret_are_recreated() {
    let env = TestEnv::start(managed("managed-deleted")).await;
    let first = settled_status(&env).await;
    env.delete("secrets", TOKENS).await;
    eventually("there is another webhook", async || {
        let webhooks = env.lever.webhooks();
        if webhooks.iter().all(|one| one["id"] != first["id"]) { Ok(()) } else { Err("not yet".into()) }
    })
    .await;
    let second = settled_status(&env).await;
    env.lever.remove_webhook(second["id"].as_str().unwrap());
    env.request("leverconnections", CONNECTION).await;
    eventually("there is another webhook", async || {
        if env.lever.webhooks().is_empty() { Err("there is none".into()) } else { Ok(()) }
    })
    .await;
    settled_status(&env).await;
    env.wait_for("padconfigurations", "phone-screen", "Ready", "True/InUse").await;
    assert_works(&env).await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_waits_for_an_outage_but_not_for_a_rejected_key() {
    let options = managed("managed-refused");
    let key = options.lever.api_key.clone();
    let mut env = TestEnv::start(options).await;
    let spec = env.get("leverconnections", CONNECTION).await["spec"].clone();
    let without_delete: Vec<_> =
        PERMISSIONS.iter().copied().filter(|one| *one != "webhooks:delete").collect();
    for case in ["401", "403", "no Secret", "no Secret and no key in memory", "down"] {
        env.apply("leverconnections", CONNECTION, spec.clone()).await;
        let registered = settled_status(&env).await;
        let fault = match case {
            "401" => {
                env.lever.revoke_key(&key);
                None
            }
            "403" => {
                env.lever.set_key(&key, Permissions::only(&without_delete));
                None
            }
            // contract C14: as with `kubectl delete namespace`. The key in memory is used.
            "no Secret" => {
                env.delete("secrets", SECRET).await;
                env.wait_for("leverconnections", CONNECTION, "Ready", "False/SecretNotFound").await;
                None
            }
            "no Secret and no key in memory" => {
                env.operator().kill().await;
                env.delete("secrets", SECRET).await;
                env.operator().start().await;
                env.wait_for("leverconnections", CONNECTION, "Ready", "False/SecretNotFound").await;
                None
            }
            _ => {
                let fault = Fault::on("*", "^/v1/webhooks").status(503).until_removed();
                Some(env.lever.faults().add(fault))
            }
        };
        env.delete("leverconnections", CONNECTION).await;
        if let Some(fault) = fault {
            eventually("an Event reports why it waits", async || {
                let events = env.list("events").await;
                let is_reported = events.iter().any(|event| {
                    let note = event["note"].as_str().unwrap_or_default();
                    event["reason"] == "LeverUnavailable" && note.contains("padoperator.dev/webhook")
                });
                if is_reported { Ok(()) } else { Err(format!("{events:#?}")) }
            })
            .await;
            env.get("leverconnections", CONNECTION).await;
            fault.remove();
        }
        wait_until_gone(&env).await;
        let left: Vec<_> = env.lever.webhooks().into_iter().map(|one| one["id"].clone()).collect();
        if ["down", "no Secret"].contains(&case) {
            assert_eq!(left, Vec::<Value>::new());
        } else {
            assert_eq!(left, [registered["id"].clone()], "{case}");
            env.lever.remove_webhook(registered["id"].as_str().unwrap());
        }
        env.lever.set_key(&key, Permissions::all());
        if case.starts_with("no Secret") {
            let values =
                json!({"lever-api-key": key, "interview-api-key": "interview-77b02e-managed-refused"});
            env.create_secret(values).await;
        }
    }
    env.finish().await;
}

/// contract C15: after a rotation, Lever's list may stay empty for the new key.
#[tokio::test(flavor = "multi_thread")]
async fn empty_webhook_list_leads_to_one_more_webhook_and_a_request_for_action() {
    let env = TestEnv::start(managed("managed-unlisted")).await;
    settled_status(&env).await;
    let empty = FaultAction::Status { code: 200, body: Some(json!({"data": []})) };
    let list = env.lever.faults().add(Fault::on("GET", "^/v1/webhooks$").action(empty).until_removed());
    env.lever.set_key("lever-2b61-renewed", Permissions::all());
    env.set_secret("lever-api-key", "lever-2b61-renewed").await;
    eventually("the new key has its webhook", async || {
        if calls(&env, "POST") == 2 { Ok(()) } else { Err(format!("{} were created", calls(&env, "POST"))) }
    })
    .await;
    env.sync().await;
    let connection =
        env.wait_for("leverconnections", CONNECTION, "WebhookVerified", "False/WebhookNotListed").await;
    let command =
        format!("kubectl annotate secret {TOKENS} -n managed-unlisted padoperator.dev/webhooks.acme-");
    assert!(message_of(&connection, "WebhookVerified").contains(&command), "{connection:#}");
    for _ in 0..4 {
        env.sync().await;
    }
    assert_eq!(calls(&env, "POST"), 2);
    assert_eq!(stored(&env).await.len(), 2, "both are still accepted");
    for token in stored(&env).await {
        env.declare_private(&token);
    }

    // Following the message does not help: one more webhook is created, and no further one.
    let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
    env.cluster.kubectl(&arguments, None).await.unwrap();
    eventually("one more is registered", async || {
        if calls(&env, "POST") == 3 { Ok(()) } else { Err(format!("{} were created", calls(&env, "POST"))) }
    })
    .await;
    for _ in 0..2 {
        env.sync().await;
    }
    assert_eq!(calls(&env, "POST"), 3);
    list.remove();
    env.sync().await;
    eventually("the new key has a webhook", async || {
        let connection = env.get("leverconnections", CONNECTION).await;
        let id = &connection["status"]["webhookID"];
        let is_there = env.lever.webhooks().iter().any(|one| one["id"] == *id);
        let reason = brief(&connection, "WebhookVerified");
        if is_there && reason == "False/AwaitingVerification" {
            Ok(())
        } else {
            Err(format!("{connection:#}"))
        }
    })
    .await;
    for token in stored(&env).await {
        env.declare_private(&token);
    }
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switch_to_manual_removes_webhook_and_finalizer() {
    let env = TestEnv::start(managed("managed-to-manual")).await;
    settled_status(&env).await;
    let manual = json!({"spec": {"webhook": {"mode": "Manual"}}});
    env.patch("leverconnections", CONNECTION, manual).await;
    let connection = eventually("it is Manual", async || {
        let connection = env.get("leverconnections", CONNECTION).await;
        let is_manual = finalizers(&connection).is_null() && connection["status"].get("webhookID").is_none();
        if is_manual { Ok(connection) } else { Err(format!("{connection:#}")) }
    })
    .await;
    assert_eq!(brief(&connection, "WebhookVerified"), "False/SigningTokenMissing");
    assert_eq!(env.lever.webhooks(), Vec::<Value>::new());
    assert_eq!(stored(&env).await, Vec::<String>::new());
    // Nothing delays the deletion.
    env.delete("leverconnections", CONNECTION).await;
    wait_until_gone(&env).await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_public_url_is_reported_and_the_rest_works() {
    let mut options = managed("managed-no-url");
    options.flags.push(NO_PUBLIC_URL);
    let env = TestEnv::start(options).await;
    let connection =
        env.wait_for("leverconnections", CONNECTION, "WebhookVerified", "False/PublicURLMissing").await;
    assert!(message_of(&connection, "WebhookVerified").contains("--public-url"), "{connection:#}");
    assert_eq!(brief(&connection, "Ready"), "True/Connected");
    assert!(finalizers(&connection).is_null(), "{connection:#}");
    assert_eq!(calls(&env, "POST"), 0);
    env.finish().await;
}
