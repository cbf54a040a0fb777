//! Actions of people in a [`TestEnv`], and observations of it.

use std::sync::atomic::{AtomicU32, Ordering};

use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use simulators::{DeliveryOutcome, NewCandidate, PadView};
use testkit::resources::{resource, secret};

use crate::cluster::objects;
use crate::environment::{CONNECTION, SECRET, STAGE, TAG, TestEnv};
use crate::process::Operator;
use crate::status::{assert_sound, brief, phase};
use crate::wait::{eventually, must_finish};

/// Candidates in Lever.
impl TestEnv {
    /// Adds a candidate with the default tag, in the first stage.
    pub fn candidate(&self) -> String {
        self.add_candidate(NewCandidate { tags: vec![TAG.into()], ..NewCandidate::default() })
    }

    /// Adds any candidate; a name is added.
    pub fn add_candidate(&self, mut new: NewCandidate) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        new.name = format!("Ottoline Vanterpool {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        new.emails.iter().chain([&new.name]).for_each(|private| self.declare_private(private));
        self.lever.add_candidate(new)
    }

    /// Moves a candidate to the default stage, and waits until Lever's webhook has been accepted.
    pub async fn enter(&self, opportunity: &str) -> Value {
        let moved = self.lever.move_to_stage(opportunity, STAGE).await;
        let delivery = self.lever.wait_for_delivery(*moved.deliveries.last().unwrap());
        let delivery = must_finish("the webhook is delivered", delivery).await;
        assert_eq!(delivery.outcome, DeliveryOutcome::Received, "{delivery:#?}");
        serde_json::from_str(&delivery.attempts.last().unwrap().answer).unwrap()
    }

    /// Waits until Lever has delivered all of these, after any number of attempts.
    pub async fn wait_until_delivered(&self, deliveries: Vec<usize>) {
        for number in deliveries {
            let delivery =
                must_finish("the webhook is delivered", self.lever.wait_for_delivery(number)).await;
            assert_eq!(delivery.outcome, DeliveryOutcome::Received, "{delivery:#?}");
        }
    }

    /// Points Lever's webhook to this operator.
    pub fn send_to(&self, operator: &Operator) {
        for webhook in self.lever.webhooks() {
            self.lever.remove_webhook(webhook["id"].as_str().unwrap());
        }
        let url = format!("127.0.0.1:{}/webhooks/lever/{}/{CONNECTION}", operator.webhooks, self.namespace);
        self.lever.set_webhook(&url, &self.signing_token);
    }
}

/// Resources.
impl TestEnv {
    /// Runs kubectl in the namespace, as an administrator.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        self.cluster.kubectl(&[&["--namespace", self.namespace], arguments].concat(), None).await
    }

    /// Applies one object with `kubectl apply`.
    pub async fn kubectl_apply(&self, kind: &str, name: &str, spec: &Value) -> Result<String, String> {
        let object = resource(kind, name, spec).to_string();
        self.cluster
            .kubectl(&["apply", "--namespace", self.namespace, "--filename", "-"], Some(&object))
            .await
    }

    /// Creates an object with this spec, or sets these fields of it.
    pub async fn apply(&self, plural: &str, name: &str, spec: Value) {
        let kind = match plural {
            "pads" => "Pad",
            "padconfigurations" => "PadConfiguration",
            _ => "LeverConnection",
        };
        let object = resource(kind, name, &spec);
        let parameters = PatchParams::apply("a-user").force();
        objects(&self.client, self.namespace, plural)
            .patch(name, &parameters, &Patch::Apply(object))
            .await
            .unwrap();
    }

    /// Creates a Pad as a person does.
    pub async fn create_pad_by_hand(&self, name: &str, configuration: &str, opportunity: &str) {
        let spec = json!({"configurationRef": {"name": configuration}, "opportunityID": opportunity});
        self.apply("pads", name, spec).await;
    }

    /// Applies a merge patch.
    pub async fn patch(&self, plural: &str, name: &str, patch: Value) {
        let api = objects(&self.client, self.namespace, plural);
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Sets these fields of a status, as the operator does.
    pub async fn patch_status(&self, plural: &str, name: &str, status: Value) {
        let api = objects(&self.client, self.namespace, plural);
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Creates the Secret; null omits a value.
    pub async fn create_secret(&self, mut values: Value) {
        values.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let secret = secret(SECRET, &values).to_string();
        let create = ["create", "--namespace", self.namespace, "--filename", "-"];
        self.cluster.kubectl(&create, Some(&secret)).await.unwrap();
    }

    /// Sets one value of the Secret.
    pub async fn set_secret(&self, key: &str, value: &str) {
        self.declare_private(value);
        self.patch("secrets", SECRET, json!({"stringData": {key: value}})).await;
    }

    /// Requests a reconcile of an object and waits until it is handled.
    pub async fn reconcile(&self, plural: &str, name: &str) {
        self.request(plural, name).await;
        eventually("the request is handled", async || {
            let object = self.get(plural, name).await;
            let asked = &object["metadata"]["annotations"]["padoperator.dev/reconcile-requested-at"];
            if object["status"]["lastHandledReconcileAt"] == *asked {
                Ok(())
            } else {
                Err(format!("{object:#}"))
            }
        })
        .await;
    }

    /// Requests a sync of the connection and waits until it is over.
    pub async fn sync(&self) {
        self.reconcile("leverconnections", CONNECTION).await;
    }

    /// Requests a reconcile of an object.
    pub async fn request(&self, plural: &str, name: &str) {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let value = format!("request {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let annotations = json!({"padoperator.dev/reconcile-requested-at": value});
        self.patch(plural, name, json!({"metadata": {"annotations": annotations}})).await;
    }

    pub async fn delete(&self, plural: &str, name: &str) {
        let api = objects(&self.client, self.namespace, plural);
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub async fn find(&self, plural: &str, name: &str) -> Option<Value> {
        let api = objects(&self.client, self.namespace, plural);
        let found = read(async || api.get_opt(name).await).await?;
        let found = serde_json::to_value(found).unwrap();
        if found["apiVersion"] == "padoperator.dev/v1alpha1" {
            assert_sound(&found);
        }
        Some(found)
    }

    pub async fn get(&self, plural: &str, name: &str) -> Value {
        self.find(plural, name).await.unwrap_or_else(|| panic!("there is no {name} among {plural}"))
    }

    pub async fn list(&self, plural: &str) -> Vec<Value> {
        let api = objects(&self.client, self.namespace, plural);
        let found = read(async || api.list(&ListParams::default()).await).await;
        found.items.into_iter().map(|one| serde_json::to_value(one).unwrap()).collect()
    }

    /// Returns the Events of the namespace.
    pub async fn events(&self) -> Value {
        Value::Array(self.list("events").await)
    }

    /// Waits until a condition equals a text like `True/Connected`.
    pub async fn wait_for(&self, plural: &str, name: &str, condition: &str, expected: &str) -> Value {
        let what = format!("{condition} of {name} is {expected}");
        eventually(&what, async || {
            let object = self.find(plural, name).await.ok_or("it does not exist")?;
            if brief(&object, condition) == expected { Ok(object) } else { Err(format!("{object:#}")) }
        })
        .await
    }

    /// Returns the Pads of a candidate.
    pub async fn pads_of(&self, opportunity: &str) -> Vec<Value> {
        let mut pads = self.list("pads").await;
        pads.iter().for_each(assert_sound);
        pads.retain(|pad| pad["spec"]["opportunityID"] == opportunity);
        pads
    }

    /// Returns the operators that have written any of these resources, such as `pads/status`, oldest first.
    pub async fn writers(&self, resources: &[&str]) -> Vec<String> {
        let requests = self.cluster.requests(self.namespace).await.into_iter();
        let mut users: Vec<_> = requests
            .filter(|request| request.is_write() && resources.contains(&request.resource.as_str()))
            .map(|request| request.user)
            .collect();
        users.dedup();
        users
    }

    /// Waits until the only Pad of a candidate equals a text like `Open/Open`.
    pub async fn wait_for_pad(&self, opportunity: &str, expected: &str) -> Value {
        eventually(&format!("the Pad of {opportunity} is {expected}"), async || {
            let mut pads = self.pads_of(opportunity).await;
            assert!(pads.len() <= 1, "{pads:#?}");
            let pad = pads.pop().ok_or("there is none")?;
            if phase(&pad) == expected { Ok(pad) } else { Err(format!("{pad:#}")) }
        })
        .await
    }

    /// Waits until the n-th Pad of a candidate equals a text like `Open/Open`.
    pub async fn wait_for_nth_pad(&self, opportunity: &str, n: usize, expected: &str) -> Value {
        eventually(&format!("Pad {n} of {opportunity} is {expected}"), async || {
            let pads = self.pads_of(opportunity).await;
            let is_nth = |pad: &&Value| {
                pad["metadata"]["name"].as_str().is_some_and(|name| name.ends_with(&format!("-{n}")))
            };
            let pad = pads.iter().find(is_nth).ok_or(format!("{pads:#?}"))?;
            if phase(pad) == expected { Ok(pad.clone()) } else { Err(format!("{pad:#}")) }
        })
        .await
    }

    /// Waits until the candidate's Pad is Open, and asserts that there is exactly one pad and one link.
    pub async fn wait_for_one_pad(&self, opportunity: &str) -> PadView {
        let pad = self.wait_for_pad(opportunity, "Open/Open").await;
        let made = self.created_pads_of(opportunity);
        assert_eq!(made.iter().filter(|pad| !pad.deleted).count(), 1, "{made:#?}");
        let made = made.into_iter().find(|pad| !pad.deleted).unwrap();
        assert_eq!(pad["status"]["padID"], made.id);
        assert_eq!(pad["status"]["url"], made.url);
        assert_eq!(self.lever.links(opportunity), [made.url.as_str()]);
        made
    }

    /// Returns all pads that CoderPad has ever created for a candidate, according to their notes.
    pub fn created_pads_of(&self, opportunity: &str) -> Vec<PadView> {
        let mut pads = self.interview.pads();
        pads.retain(|pad| pad.notes.as_deref().is_some_and(|notes| notes.contains(opportunity)));
        pads
    }

    /// Returns the requests to create a pad so far.
    pub fn creates(&self) -> usize {
        let calls = self.interview.calls();
        calls.iter().filter(|call| call.method == "POST" && call.path.starts_with("/api/pads")).count()
    }
}

/// Retries reads, because the API server drops connections when another test keeps it busy.
async fn read<T>(mut request: impl AsyncFnMut() -> kube::Result<T>) -> T {
    match request().await {
        Err(kube::Error::Service(_)) => request().await.unwrap(),
        answer => answer.unwrap(),
    }
}
