//! spec.webhook.mode: Managed: the operator registers the webhook in Lever and keeps its token.

use std::time::Duration;

use serde_json::{Value, json};
use simulators::{Action, Fault, Moment, PERMISSIONS, Permissions};

use crate::environment::{CONNECTION, NO_PUBLIC_URL, Options, SECRET, World};
use crate::status::{brief, message_of};
use crate::wait::{eventually, soon};

/// Secret that the operator creates.
const TOKENS: &str = "lever-webhook";
const EVENT: &str = "candidateStageChange";

fn managed(name: &'static str) -> Options {
    let mut options = Options::new(name).unsettled();
    let reference = json!({"name": TOKENS, "key": "token"});
    options.connection["webhook"] = json!({"mode": "Managed", "signingTokenSecretRef": reference});
    options.flags.push("--leader-election=false");
    options
}

/// Returns the tokens in the Secret, which contains one per line.
async fn stored(world: &World) -> Vec<String> {
    let template = "--output=go-template={{if .data}}{{range .data}}{{. | base64decode}}{{end}}{{end}}";
    let text = world.kubectl(&["get", "secret", TOKENS, template]).await.unwrap_or_default();
    text.lines().map(ToOwned::to_owned).collect()
}

/// Waits until there is exactly one webhook in Lever, its token is in the Secret, and its ID is in the status.
async fn settled(world: &World) -> Value {
    let webhook = eventually("one webhook is registered, and its token stored", async || {
        let connection = world.get("leverconnections", CONNECTION).await;
        let (webhooks, tokens) = (world.lever.webhooks(), stored(world).await);
        let has_token = |webhook: &Value| tokens.iter().any(|token| webhook["signatureToken"] == token[..]);
        match webhooks.as_slice() {
            [one] if has_token(one) && connection["status"]["webhookID"] == one["id"] => Ok(one.clone()),
            _ => Err(format!("{webhooks:#?}, {} tokens, {connection:#}", tokens.len())),
        }
    })
    .await;
    for token in stored(world).await {
        world.keep_private(&token);
    }
    webhook
}

/// Enables the event as a Super Admin; a candidate then gets a pad by the webhook.
async fn assert_works(world: &World) {
    world.lever.switch_event(EVENT, true);
    let candidate = world.candidate();
    world.enter(&candidate).await;
    world.wait_for_one_pad(&candidate).await;
    world.wait_for("leverconnections", CONNECTION, "WebhookVerified", "True/SignatureVerified").await;
}

fn calls(world: &World, method: &str) -> usize {
    let calls = world.lever.calls();
    calls.iter().filter(|call| call.method == method && call.path.starts_with("/v1/webhooks")).count()
}

async fn wait_until_gone(world: &World) {
    eventually("the connection is deleted", async || {
        let found = world.find("leverconnections", CONNECTION).await;
        found.map_or(Ok(()), |connection| Err(format!("{connection:#}")))
    })
    .await;
}

fn finalizers(object: &Value) -> &Value {
    &object["metadata"]["finalizers"]
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_is_registered_verified_used_and_removed_with_the_connection() {
    let mut world = World::start(managed("managed")).await;
    let webhook = settled(&world).await;
    let connection =
        world.wait_for("leverconnections", CONNECTION, "WebhookVerified", "False/AwaitingVerification").await;
    assert!(message_of(&connection, "WebhookVerified").contains("Super Admin"), "{connection:#}");
    assert_eq!(brief(&connection, "Ready"), "True/Connected");
    assert_eq!(finalizers(&connection), &json!(["padoperator.dev/webhook"]));
    assert_eq!(webhook["url"], connection["status"]["webhookURL"]);
    assert_eq!((&webhook["event"], &webhook["byApi"]), (&json!(EVENT), &json!(true)));
    let secret = world.get("secrets", TOKENS).await;
    assert_eq!(secret["metadata"]["labels"], json!({"app.kubernetes.io/managed-by": "pad-operator"}));
    world.wait_for("padconfigurations", "phone-screen", "Ready", "True/InUse").await;
    assert_works(&world).await;

    // Another operator finds the expected state and writes nothing.
    let before = world.get("secrets", TOKENS).await;
    world.operator().kill().await;
    let listed = calls(&world, "GET");
    world.operator().start().await;
    eventually("the next operator has reconciled", async || {
        if calls(&world, "GET") > listed { Ok(()) } else { Err("not yet".into()) }
    })
    .await;
    assert_works(&world).await;
    assert_eq!((calls(&world, "POST"), calls(&world, "DELETE")), (1, 0));
    assert_eq!(world.get("secrets", TOKENS).await, before);

    world.delete("leverconnections", CONNECTION).await;
    wait_until_gone(&world).await;
    assert_eq!(world.lever.webhooks(), Vec::<Value>::new());
    assert_eq!(stored(&world).await, Vec::<String>::new());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_is_replaced_after_a_crash_before_its_token_is_stored() {
    for (name, moment) in
        [("managed-killed", Moment::AfterEffect), ("managed-killed-early", Moment::BeforeEffect)]
    {
        let mut world = World::start(managed(name)).await;
        let webhook = settled(&world).await;
        // A person removes the webhook, so that one must be created.
        world.lever.remove_webhook(webhook["id"].as_str().unwrap());
        let held = world.lever.faults().add(Fault::on("POST", "^/v1/webhooks$").pause(moment));
        world.request("leverconnections", CONNECTION).await;
        soon("the creation of the webhook is in flight", held.reached()).await;
        world.operator().kill().await;
        let there = usize::from(moment == Moment::AfterEffect);
        assert_eq!(world.lever.webhooks().len(), there);
        world.operator().start().await;
        let another = settled(&world).await;
        assert_ne!(webhook["signatureToken"], another["signatureToken"]);

        // A late webhook is found and removed by the next reconcile.
        held.release();
        if moment == Moment::BeforeEffect {
            eventually("the late one has taken effect", async || match world.lever.webhooks().len() {
                2 => Ok(()),
                other => Err(format!("{other} webhooks")),
            })
            .await;
            world.request("leverconnections", CONNECTION).await;
        }
        assert_eq!(settled(&world).await, another);
        world.wait_for("padconfigurations", "phone-screen", "Ready", "True/InUse").await;
        assert_works(&world).await;
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_responses_leave_one_webhook_with_a_known_token() {
    let world = World::start(managed("managed-lost").polling("1s")).await;
    let first = settled(&world).await;
    let faults = world.lever.faults();
    faults.add(Fault::on("POST", "^/v1/webhooks$").lose_answer().times(3));
    faults.add(Fault::on("DELETE", "^/v1/webhooks/").lose_answer().times(2));
    world.lever.remove_webhook(first["id"].as_str().unwrap());
    eventually("it is registered again", async || {
        let made = calls(&world, "POST");
        if made == 5 { Ok(()) } else { Err(format!("{made} were created")) }
    })
    .await;
    settled(&world).await;
    assert_eq!(calls(&world, "POST"), 5);
    world.wait_for("padconfigurations", "phone-screen", "Ready", "True/InUse").await;
    assert_works(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_leaders_leave_one_webhook_with_a_known_token() {
    let mut options = managed("managed-two");
    options.replicas = 2;
    options.flags.push("--public-url=https://hooks.example.com");
    let world = World::start(options).await;
    let first = settled(&world).await;
    // Both must detect the missing webhook at the same time.
    world.lever.faults().add(Fault::on("POST", "^/v1/webhooks$").delay(Duration::from_millis(300)).times(9));
    for _ in 0..3 {
        let gone = settled(&world).await;
        world.lever.remove_webhook(gone["id"].as_str().unwrap());
        world.request("leverconnections", CONNECTION).await;
        eventually("it is registered again", async || {
            let webhooks = world.lever.webhooks();
            if webhooks.is_empty() { Err("there is none".into()) } else { Ok(()) }
        })
        .await;
        world.request("leverconnections", CONNECTION).await;
    }
    assert_ne!(settled(&world).await["id"], first["id"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_secret_is_not_modified() {
    let mut options = managed("managed-not-owned");
    options.connection["webhook"]["signingTokenSecretRef"] =
        json!({"name": SECRET, "key": "lever-signing-token"});
    let world = World::start(options).await;
    let connection = world.wait_for("leverconnections", CONNECTION, "Ready", "False/SecretNotOwned").await;
    assert_eq!(brief(&connection, "Stalled"), "True/SecretNotOwned");
    assert!(message_of(&connection, "Ready").contains("API key of LeverConnection acme"), "{connection:#}");
    // The label does not help for a Secret that contains an API key.
    let label = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "pad-operator"}}});
    world.patch("secrets", SECRET, label.clone()).await;
    let before = world.get("secrets", SECRET).await;

    let other = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"note": "mine"},
        "metadata": {"name": TOKENS, "namespace": world.namespace}});
    world.cluster.kubectl(&["create", "--filename", "-"], Some(&other.to_string())).await.unwrap();
    let reference = json!({"name": TOKENS, "key": "token"});
    let spec = json!({"spec": {"webhook": {"signingTokenSecretRef": reference}}});
    world.patch("leverconnections", CONNECTION, spec).await;
    eventually("the operator does not own the other Secret either", async || {
        let connection = world.get("leverconnections", CONNECTION).await;
        let message = message_of(&connection, "Ready").to_owned();
        if message.contains("lacks the label") { Ok(()) } else { Err(message) }
    })
    .await;
    assert_eq!((calls(&world, "POST"), world.get("secrets", SECRET).await), (0, before));

    world.patch("secrets", TOKENS, label).await;
    world.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    let template = "--output=go-template={{.data.note | base64decode}}";
    let note = world.kubectl(&["get", "secret", TOKENS, template]).await.unwrap();
    assert_eq!(note, "mine");
    eventually("the webhook is registered", async || {
        let connection = world.get("leverconnections", CONNECTION).await;
        let id = &connection["status"]["webhookID"];
        let webhooks = world.lever.webhooks();
        if webhooks.len() == 1 && webhooks[0]["id"] == *id { Ok(()) } else { Err(format!("{webhooks:#?}")) }
    })
    .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_public_url_moves_the_webhook_without_a_gap() {
    let mut world = World::start(managed("managed-moved")).await;
    let old = settled(&world).await;
    world.wait_for("padconfigurations", "phone-screen", "Ready", "True/InUse").await;
    assert_works(&world).await;
    let port = world.operator().webhooks;
    let flags = ["--leader-election=false", &format!("--public-url=http://localhost:{port}")];
    let arguments = world.arguments(&flags, port);
    world.operator().terminate().await;
    world.lever.clear_calls();
    world.operator().set_arguments(arguments);
    world.operator().start().await;
    eventually("the webhook has moved", async || match world.lever.webhooks().as_slice() {
        [one] if one["url"] != old["url"] => Ok(()),
        other => Err(format!("{other:#?}")),
    })
    .await;
    let new = settled(&world).await;
    assert!(new["url"].as_str().unwrap().starts_with("http://localhost:"), "{new:#}");
    let writes: Vec<_> = world.lever.calls().into_iter().filter(|call| call.method != "GET").collect();
    let methods: Vec<_> = writes.iter().map(|call| call.method.as_str()).collect();
    assert_eq!(methods, ["POST", "DELETE"], "the new webhook is created before the old one is deleted");
    // Retries for the old URL are still accepted.
    assert_eq!(stored(&world).await.len(), 2);
    assert_works(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_webhook_and_secret_are_recreated() {
    let world = World::start(managed("managed-deleted")).await;
    let first = settled(&world).await;
    world.delete("secrets", TOKENS).await;
    eventually("there is another webhook", async || {
        let webhooks = world.lever.webhooks();
        if webhooks.iter().all(|one| one["id"] != first["id"]) { Ok(()) } else { Err("not yet".into()) }
    })
    .await;
    let second = settled(&world).await;
    world.lever.remove_webhook(second["id"].as_str().unwrap());
    world.request("leverconnections", CONNECTION).await;
    eventually("there is another webhook", async || {
        if world.lever.webhooks().is_empty() { Err("there is none".into()) } else { Ok(()) }
    })
    .await;
    settled(&world).await;
    world.wait_for("padconfigurations", "phone-screen", "Ready", "True/InUse").await;
    assert_works(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_waits_for_an_outage_but_not_for_a_rejected_key() {
    let options = managed("managed-refused");
    let key = options.lever.api_key.clone();
    let mut world = World::start(options).await;
    let spec = world.get("leverconnections", CONNECTION).await["spec"].clone();
    let without_delete: Vec<_> =
        PERMISSIONS.iter().copied().filter(|one| *one != "webhooks:delete").collect();
    for case in ["401", "403", "no Secret", "no Secret and no memory", "down"] {
        world.apply("leverconnections", CONNECTION, spec.clone()).await;
        let registered = settled(&world).await;
        let fault = match case {
            "401" => {
                world.lever.revoke_key(&key);
                None
            }
            "403" => {
                world.lever.set_key(&key, Permissions::only(&without_delete));
                None
            }
            // contract C14: as with `kubectl delete namespace`. The key in memory is used.
            "no Secret" => {
                world.delete("secrets", SECRET).await;
                world.wait_for("leverconnections", CONNECTION, "Ready", "False/SecretNotFound").await;
                None
            }
            "no Secret and no key in memory" => {
                world.operator().kill().await;
                world.delete("secrets", SECRET).await;
                world.operator().start().await;
                world.wait_for("leverconnections", CONNECTION, "Ready", "False/SecretNotFound").await;
                None
            }
            _ => {
                let fault = Fault::on("*", "^/v1/webhooks").status(503).until_removed();
                Some(world.lever.faults().add(fault))
            }
        };
        world.delete("leverconnections", CONNECTION).await;
        if let Some(fault) = fault {
            eventually("an Event reports why it waits", async || {
                let events = world.list("events").await;
                let told = events.iter().any(|event| {
                    let note = event["note"].as_str().unwrap_or_default();
                    event["reason"] == "LeverUnavailable" && note.contains("padoperator.dev/webhook")
                });
                if told { Ok(()) } else { Err(format!("{events:#?}")) }
            })
            .await;
            world.get("leverconnections", CONNECTION).await;
            fault.remove();
        }
        wait_until_gone(&world).await;
        let left: Vec<_> = world.lever.webhooks().into_iter().map(|one| one["id"].clone()).collect();
        if ["down", "no Secret"].contains(&case) {
            assert_eq!(left, Vec::<Value>::new());
        } else {
            assert_eq!(left, [registered["id"].clone()], "{case}");
            world.lever.remove_webhook(registered["id"].as_str().unwrap());
        }
        world.lever.set_key(&key, Permissions::all());
        if case.starts_with("no Secret") {
            let values =
                json!({"lever-api-key": key, "interview-api-key": "interview-77b02e-managed-refused"});
            world.make_secret(values).await;
        }
    }
    world.finish().await;
}

/// contract C15: after a rotation, Lever's list may stay empty for the new key.
#[tokio::test(flavor = "multi_thread")]
async fn empty_webhook_list_leads_to_one_more_webhook_and_a_request_for_action() {
    let world = World::start(managed("managed-unlisted")).await;
    settled(&world).await;
    let empty = Action::Status { code: 200, body: Some(json!({"data": []})) };
    let list = world.lever.faults().add(Fault::on("GET", "^/v1/webhooks$").action(empty).until_removed());
    world.lever.set_key("lever-2b61-renewed", Permissions::all());
    world.set_secret("lever-api-key", "lever-2b61-renewed").await;
    eventually("the new key has its webhook", async || {
        if calls(&world, "POST") == 2 { Ok(()) } else { Err(format!("{} were made", calls(&world, "POST"))) }
    })
    .await;
    world.sync().await;
    let connection =
        world.wait_for("leverconnections", CONNECTION, "WebhookVerified", "False/WebhookNotListed").await;
    let command =
        format!("kubectl annotate secret {TOKENS} -n managed-unlisted padoperator.dev/webhooks.acme-");
    assert!(message_of(&connection, "WebhookVerified").contains(&command), "{connection:#}");
    for _ in 0..4 {
        world.sync().await;
    }
    assert_eq!(calls(&world, "POST"), 2);
    assert_eq!(stored(&world).await.len(), 2, "both are still accepted");
    for token in stored(&world).await {
        world.keep_private(&token);
    }

    // Following the message does not help: one more webhook is created, and no further one.
    let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
    world.cluster.kubectl(&arguments, None).await.unwrap();
    eventually("one more is registered", async || {
        if calls(&world, "POST") == 3 { Ok(()) } else { Err(format!("{} were made", calls(&world, "POST"))) }
    })
    .await;
    for _ in 0..2 {
        world.sync().await;
    }
    assert_eq!(calls(&world, "POST"), 3);
    list.remove();
    world.sync().await;
    eventually("the new key has a webhook", async || {
        let connection = world.get("leverconnections", CONNECTION).await;
        let id = &connection["status"]["webhookID"];
        let is_there = world.lever.webhooks().iter().any(|one| one["id"] == *id);
        let reason = brief(&connection, "WebhookVerified");
        if is_there && reason == "False/AwaitingVerification" {
            Ok(())
        } else {
            Err(format!("{connection:#}"))
        }
    })
    .await;
    for token in stored(&world).await {
        world.keep_private(&token);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switch_to_manual_removes_webhook_and_finalizer() {
    let world = World::start(managed("managed-to-manual")).await;
    settled(&world).await;
    let manual = json!({"spec": {"webhook": {"mode": "Manual"}}});
    world.patch("leverconnections", CONNECTION, manual).await;
    let connection = eventually("it is Manual", async || {
        let connection = world.get("leverconnections", CONNECTION).await;
        let is_manual = finalizers(&connection).is_null() && connection["status"].get("webhookID").is_none();
        if is_manual { Ok(connection) } else { Err(format!("{connection:#}")) }
    })
    .await;
    assert_eq!(brief(&connection, "WebhookVerified"), "False/SigningTokenMissing");
    assert_eq!(world.lever.webhooks(), Vec::<Value>::new());
    assert_eq!(stored(&world).await, Vec::<String>::new());
    // Nothing delays the deletion.
    world.delete("leverconnections", CONNECTION).await;
    wait_until_gone(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_public_url_is_reported_and_the_rest_works() {
    let mut options = managed("managed-no-url");
    options.flags.push(NO_PUBLIC_URL);
    let world = World::start(options).await;
    let connection =
        world.wait_for("leverconnections", CONNECTION, "WebhookVerified", "False/PublicURLMissing").await;
    assert!(message_of(&connection, "WebhookVerified").contains("--public-url"), "{connection:#}");
    assert_eq!(brief(&connection, "Ready"), "True/Connected");
    assert!(finalizers(&connection).is_null(), "{connection:#}");
    assert_eq!(calls(&world, "POST"), 0);
    world.finish().await;
}
