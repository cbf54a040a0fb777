//! An API server in memory, objects, and signed deliveries, for the tests of the receiver.

use crate::k8s::{Cache, Caches, WatchScope};
use crate::webhook::Receiver;
use crate::webhook::metrics::WebhookMetrics;
use crate::webhook::signing_tokens::SigningTokens;
use api::{LeverConnection, Pad, PadConfiguration, names};
use aws_lc_rs::hmac;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use jiff::Timestamp;
use kube::Client;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

/// Namespace of all objects in these tests.
pub const NAMESPACE: &str = "hiring";
/// ID of the candidate's opportunity.
pub const OPPORTUNITY: &str = "6408dc54-aaaa";
/// Signature token of the connection.
pub const SIGNING_TOKEN: &str = "lever-signing-token";
/// A token in Lever's format: 48 hex digits.
pub const TOKEN: &str = "00112233445566778899aabbccddeeff0011223344556677";

/// API server in memory. It records its calls as "VERB plural/name".
#[derive(Clone, Default)]
pub struct ApiServer(Arc<Mutex<FakeState>>);

#[derive(Default)]
struct FakeState {
    objects: BTreeMap<String, Value>,
    calls: Vec<String>,
    failing: Option<u16>,
    hanging: bool,
}

impl ApiServer {
    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                if server.0.lock().hanging {
                    std::future::pending::<()>().await;
                }
                let target = (parts.method.as_str(), parts.uri.path(), parts.uri.query().unwrap_or_default());
                let (code, answer) = server.0.lock().answer(target, serde_json::from_slice(&body).ok());
                let response = Response::builder().status(code).header("content-type", "application/json");
                Ok::<_, Infallible>(response.body(Body::from(answer.to_string())).unwrap())
            }
        });
        Client::new(service, NAMESPACE)
    }

    /// Creates a server that contains these Pads.
    pub fn with(pads: &[Pad]) -> Self {
        let server = Self::default();
        pads.iter().for_each(|pad| server.put(pad));
        server
    }

    pub fn put(&self, pad: &Pad) {
        let name = format!("pads/{}", pad.metadata.name.as_deref().unwrap());
        self.0.lock().objects.insert(name, serde_json::to_value(pad).unwrap());
    }

    pub fn put_secret(&self, name: &str, key: &str, value: &str) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE},
            "data": {key: k8s_openapi::ByteString(value.as_bytes().to_vec())},
        });
        self.0.lock().objects.insert(format!("secrets/{name}"), secret);
    }

    pub fn remove(&self, target: &str) {
        self.0.lock().objects.remove(target);
    }

    /// Deletes all objects.
    pub fn clear(&self) {
        self.0.lock().objects.clear();
    }

    pub fn fail(&self, code: Option<u16>) {
        self.0.lock().failing = code;
    }

    pub fn hang(&self) {
        self.0.lock().hanging = true;
    }

    /// Returns the calls since the last call of this function.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().calls)
    }

    pub fn pad(&self, name: &str) -> Option<Pad> {
        let pad = self.0.lock().objects.get(&format!("pads/{name}")).cloned()?;
        Some(serde_json::from_value(pad).unwrap())
    }

    pub fn request_on(&self, name: &str) -> Option<String> {
        self.pad(name)?.metadata.annotations?.remove(names::RECONCILE_REQUESTED_AT)
    }

    /// Returns an object, by plural and name.
    pub fn object(&self, target: &str) -> Option<Value> {
        self.0.lock().objects.get(target).cloned()
    }
}

impl FakeState {
    fn answer(&mut self, (verb, path, query): (&str, &str, &str), body: Option<Value>) -> (u16, Value) {
        let path = path.rsplit_once(&format!("/namespaces/{NAMESPACE}/")).unwrap().1.to_owned();
        let path = match (verb, &body) {
            ("POST", Some(body)) => format!("{path}/{}", body["metadata"]["name"].as_str().unwrap()),
            _ => path,
        };
        self.calls.push(format!("{verb} {path}"));
        if verb != "GET" {
            assert!(query.contains("fieldManager=pad-operator"), "{verb} {path}?{query}");
        }
        if let Some(code) = self.failing {
            return (code, status(code, "InternalError"));
        }
        let found = self.objects.get(&path).cloned();
        match (verb, found) {
            ("GET", _) if path == "pads" => (200, self.list(query)),
            ("GET", Some(object)) => (200, object),
            ("POST", Some(_)) => (409, status(409, "AlreadyExists")),
            ("POST", None) => {
                let body = body.unwrap();
                self.objects.insert(path, body.clone());
                (201, body)
            }
            ("PATCH", found) if found.is_some() || path.starts_with("leverconnections/") => {
                let mut object = found.unwrap_or_else(|| json!(connection()));
                merge(&mut object, &body.unwrap());
                self.objects.insert(path, object.clone());
                (200, object)
            }
            _ => (404, status(404, "NotFound")),
        }
    }

    fn list(&self, query: &str) -> Value {
        let query: BTreeMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let wanted: Vec<(&str, &str)> =
            query["labelSelector"].split(',').map(|one| one.split_once('=').unwrap()).collect();
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with("pads/"))
            .map(|(_, pad)| pad)
            .filter(|pad| wanted.iter().all(|(label, value)| pad["metadata"]["labels"][*label] == *value))
            .collect();
        json!({"apiVersion": "padoperator.dev/v1alpha1", "kind": "PadList", "metadata": {}, "items": items})
    }
}

fn status(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": reason, "code": code})
}

fn merge(into: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else { return *into = patch.clone() };
    if !into.is_object() {
        *into = json!({});
    }
    fields.iter().for_each(|(key, value)| merge(&mut into[key], value));
}

/// Returns the connection hiring/acme with the stages s-1 "Phone Screen" and s-2 "Onsite".
pub fn connection() -> LeverConnection {
    serde_json::from_value(json!({
        "apiVersion": "padoperator.dev/v1alpha1", "kind": "LeverConnection",
        "metadata": {"name": "acme", "namespace": NAMESPACE},
        "spec": {
            "lever": {"apiKeySecretRef": {"name": "acme", "key": "lever"}},
            "interview": {"apiKeySecretRef": {"name": "acme", "key": "interview"}},
            "webhook": {"signingTokenSecretRef": {"name": "acme", "key": "signing"}},
        },
        "status": {"stages": [{"id": "s-1", "name": "Phone Screen"}, {"id": "s-2", "name": "Onsite"}]},
    }))
    .unwrap()
}

/// Returns a configuration of the connection, created in the given minute.
pub fn configuration(name: &str, stage: &str, tag: &str, minute: u8) -> PadConfiguration {
    serde_json::from_value(json!({
        "apiVersion": "padoperator.dev/v1alpha1", "kind": "PadConfiguration",
        "metadata": {"name": name, "namespace": NAMESPACE, "creationTimestamp": format!("2025-01-01T00:{minute:02}:00Z")},
        "spec": {"connectionRef": {"name": "acme"}, "stage": stage, "tag": tag, "deletionPolicy": "Unlink"},
    }))
    .unwrap()
}

/// Returns a Pad of the configuration `phone`, as the operator creates it.
pub fn pad(n: u32) -> Pad {
    let mut pad = pad_by_hand(&names::pad_name("phone", OPPORTUNITY, n));
    pad.metadata.labels = Some(BTreeMap::from([
        (names::CONFIGURATION_LABEL.into(), "phone".into()),
        (names::OPPORTUNITY_LABEL.into(), names::opportunity_digest(OPPORTUNITY)),
    ]));
    pad
}

/// Returns a Pad of the configuration `phone`, as a person creates it.
pub fn pad_by_hand(name: &str) -> Pad {
    serde_json::from_value(json!({
        "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "configurationRef": {"name": "phone"}, "connectionRef": {"name": "acme"}, "opportunityID": OPPORTUNITY,
        },
    }))
    .unwrap()
}

/// Returns the same Pad while it is being deleted.
pub fn terminating(mut pad: Pad) -> Pad {
    pad.metadata.deletion_timestamp = serde_json::from_value(json!("2025-01-02T00:00:00Z")).unwrap();
    pad
}

/// Returns the same Pad with a request to reconcile it.
pub fn with_request(mut pad: Pad, request: &str) -> Pad {
    let annotation = (names::RECONCILE_REQUESTED_AT.to_owned(), request.to_owned());
    pad.metadata.annotations.get_or_insert_default().extend([annotation]);
    pad
}

/// Returns a scope whose caches contain these objects.
pub fn scope(
    connections: Vec<LeverConnection>,
    configurations: Vec<PadConfiguration>,
    pads: Vec<Pad>,
) -> WatchScope {
    WatchScope {
        namespace: Some(NAMESPACE.into()),
        connections: Cache::from_objects(connections),
        configurations: Cache::from_objects(configurations),
        pads: Cache::from_objects(pads),
    }
}

/// Returns a receiver over a cache, with the signing token of hiring/acme.
pub fn receiver(server: &ApiServer, scope: WatchScope) -> Receiver {
    let tokens = SigningTokens::from_known([(NAMESPACE, "acme", SIGNING_TOKEN)]);
    receiver_with(server, scope, tokens)
}

pub fn receiver_with(server: &ApiServer, scope: WatchScope, tokens: SigningTokens) -> Receiver {
    let caches = Caches::from_scopes(vec![scope]);
    let known = caches.clone();
    let is_ready = move || known.unlisted_kinds().is_empty();
    Receiver::new(server.client(), caches, tokens, WebhookMetrics::new(&mut Registry::default()), is_ready)
}

/// Returns a signature like Lever's.
pub fn sign(signing_token: &str, token: &str, triggered_at: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, signing_token.as_bytes());
    let tag = hmac::sign(&key, format!("{token}{triggered_at}").as_bytes());
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a signed delivery with the current time.
pub fn delivery(event: &str, data: Value) -> Value {
    delivery_at(Timestamp::now().as_millisecond(), event, data)
}

pub fn delivery_at(at: i64, event: &str, data: Value) -> Value {
    json!({"triggeredAt": at, "event": event, "data": data, "token": TOKEN, "signature": sign(SIGNING_TOKEN, TOKEN, at)})
}

/// Returns a signed stage change into the stage, with the current time.
pub fn stage_change(stage: &str) -> Value {
    delivery(
        "candidateStageChange",
        json!({"opportunityId": OPPORTUNITY, "toStageId": stage, "fromStageId": null}),
    )
}

/// Sends a body to hiring/acme.
pub async fn post(receiver: &Receiver, body: impl ToString) -> (StatusCode, Value) {
    let request = Request::post("/webhooks/lever/hiring/acme").body(Body::from(body.to_string())).unwrap();
    let response = send(receiver, request).await;
    let status = response.status();
    (status, json_of(response).await)
}

pub async fn send(receiver: &Receiver, request: Request<Body>) -> Response<Body> {
    tower::ServiceExt::oneshot(receiver.router(), request).await.unwrap()
}

pub async fn json_of(response: Response<Body>) -> Value {
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    serde_json::from_slice(&body).unwrap()
}
