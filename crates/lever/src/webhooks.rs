//! Webhooks that are managed through Lever's API. The API can list and change only webhooks that were created through
//! it (reference: lever-api.md, 6. Managing by API).

use super::LeverClient;
use http_client::{Body, Call, ServiceError, milliseconds};
use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use services::lever::List;

const LIST_WEBHOOKS: &str = "GET /webhooks";
const CREATE_WEBHOOK: &str = "POST /webhooks";
const DELETE_WEBHOOK: &str = "DELETE /webhooks/{id}";
/// Event of a candidate's change of stage.
pub const STAGE_CHANGE_EVENT: &str = "candidateStageChange";

/// Webhook in Lever's list, without its signature token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Webhook {
    /// Opaque ID.
    pub id: String,
    /// URL that Lever sends the requests to.
    pub url: String,
    /// Event that the webhook is for.
    pub event: String,
    /// Time of creation, in milliseconds since 1970.
    pub created_at_ms: Option<i64>,
}

/// Webhook that was just created.
#[derive(Debug)]
pub struct NewWebhook {
    /// Opaque ID.
    pub id: String,
    /// Signature token of its requests. Lever returns it only in the answer to the creation.
    pub token: SecretString,
}

impl LeverClient {
    /// Returns the webhooks that were created with this key.
    ///
    /// # Errors
    /// Any class but [`http_client::ErrorKind::OutcomeUnknown`].
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, ServiceError> {
        let url = self.client.url(LIST_WEBHOOKS, &["webhooks"])?;
        self.client
            .send(self.priority, Call::get(LIST_WEBHOOKS, url), |list: List<RawWebhook>| {
                Ok(list.data.into_iter().filter_map(RawWebhook::into_webhook).collect())
            })
            .await
    }

    /// Creates a webhook for changes of stage. Lever silently creates a second webhook for the same URL: list the
    /// webhooks first. Lever sends nothing until a Super Admin enables the event.
    ///
    /// # Errors
    /// Any class. After [`http_client::ErrorKind::OutcomeUnknown`], a webhook with an unknown token may exist.
    pub async fn create_webhook(&self, url: &str) -> Result<NewWebhook, ServiceError> {
        let body = Body::Json(json!({"url": url, "event": STAGE_CHANGE_EVENT}));
        let call =
            Call::write(CREATE_WEBHOOK, Method::POST, self.client.url(CREATE_WEBHOOK, &["webhooks"])?, body);
        self.client
            .send(self.priority, call, |answer: Created| {
                answer.into_webhook().ok_or("the answer has no signature token")
            })
            .await
    }

    /// Deletes a webhook that was created through the API.
    ///
    /// # Errors
    /// Any class; [`http_client::ErrorKind::Forbidden`] also for a webhook that another key or a person created.
    pub async fn delete_webhook(&self, id: &str) -> Result<(), ServiceError> {
        let url = self.client.url(DELETE_WEBHOOK, &["webhooks", super::required(id)])?;
        let call = Call::write(DELETE_WEBHOOK, Method::DELETE, url, Body::Nothing);
        self.client.send(self.priority, call, |_: IgnoredAny| Ok(())).await
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawWebhook {
    id: Option<String>,
    url: Option<String>,
    event: Option<String>,
    created_at: Option<Value>,
}

impl RawWebhook {
    fn into_webhook(self) -> Option<Webhook> {
        Some(Webhook {
            id: self.id.filter(|id| !id.is_empty())?,
            url: self.url.unwrap_or_default(),
            event: self.event.unwrap_or_default(),
            created_at_ms: self.created_at.as_ref().and_then(milliseconds),
        })
    }
}

/// Answer to a new webhook: the documentation prints it in two nested envelopes, live answers have one.
#[derive(Deserialize)]
struct Created {
    data: CreatedData,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CreatedData {
    Twice { data: CreatedWebhook },
    Once(CreatedWebhook),
}

#[derive(Deserialize)]
struct CreatedWebhook {
    id: String,
    configuration: CreatedConfiguration,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreatedConfiguration {
    signature_token: String,
}

impl Created {
    fn into_webhook(self) -> Option<NewWebhook> {
        let (CreatedData::Twice { data } | CreatedData::Once(data)) = self.data;
        let token = data.configuration.signature_token;
        // The text becomes a line of a Secret.
        let is_line = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
        (is_line(&data.id) && is_line(&token)).then(|| NewWebhook { id: data.id, token: token.into() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http_client::testing::transport;
    use http_client::{ErrorKind, Service};
    use secrecy::ExposeSecret;
    use std::time::Duration;
    use url::Url;
    use wiremock::matchers::{method, path, query_param_is_missing};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    const TOKEN: &str = "73311ded32110cc40e00c672c2e03e1a42fa28a4fabde089";

    /// Starts a server that answers one request, and creates a client for it that writes as a user.
    async fn answering(verb: &str, at: &str, answer: ResponseTemplate) -> (MockServer, LeverClient) {
        let server = MockServer::start().await;
        Mock::given(method(verb))
            .and(path(at))
            .and(query_param_is_missing("perform_as"))
            .and(query_param_is_missing("limit"))
            .respond_with(answer)
            .expect(1)
            .mount(&server)
            .await;
        let base = Url::parse(&format!("{}/v1", server.uri())).unwrap();
        let transport = transport(Duration::from_secs(5));
        let client = LeverClient::new(&transport, &base, "a-key".into(), Some("user-7".into())).unwrap();
        (server, client)
    }

    fn created(configuration: Value) -> Value {
        json!({"id": "w-1", "event": STAGE_CHANGE_EVENT, "url": "https://hooks.example.com/w",
            "configuration": configuration, "createdAt": 1_407_357_447_018_i64})
    }

    #[tokio::test]
    async fn the_list_has_no_tokens_and_may_have_the_same_twice() {
        let row = |id: &str| {
            json!({"id": id, "url": "https://hooks.example.com/w", "event": STAGE_CHANGE_EVENT, "new": [],
                "configuration": {"conditions": {"origins": ["applied"]}}, "createdAt": 1_407_357_447_018_i64})
        };
        let list = json!({"data": [row("w-1"), row("w-2"), {"id": null}]});
        let answer = ResponseTemplate::new(200).set_body_json(list);
        let (_server, client) = answering("GET", "/v1/webhooks", answer).await;
        let listed = client.webhooks().await.unwrap();
        assert_eq!(listed.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["w-1", "w-2"]);
        let expected = Webhook {
            id: "w-1".into(),
            url: "https://hooks.example.com/w".into(),
            event: STAGE_CHANGE_EVENT.into(),
            created_at_ms: Some(1_407_357_447_018),
        };
        assert_eq!(listed[0], expected);
    }

    #[tokio::test]
    async fn a_webhook_is_created_for_stage_changes_and_both_envelopes_are_read() {
        let once = json!({"data": created(json!({"signatureToken": TOKEN, "conditions": {"origins": []}}))});
        let twice = json!({"data": {"data": created(json!({"signatureToken": TOKEN}))}});
        for answer in [once, twice] {
            let answer = ResponseTemplate::new(201).set_body_json(answer);
            let (server, client) = answering("POST", "/v1/webhooks", answer).await;
            let made = client.create_webhook("https://hooks.example.com/w").await.unwrap();
            assert_eq!((made.id.as_str(), made.token.expose_secret()), ("w-1", TOKEN));
            assert!(!format!("{made:?}").contains(TOKEN));
            let sent = server.received_requests().await.unwrap();
            let expected = json!({"url": "https://hooks.example.com/w", "event": STAGE_CHANGE_EVENT});
            assert_eq!(sent[0].body_json::<Value>().unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn without_a_usable_token_the_webhooks_are_unknown() {
        for token in [json!({}), json!({"signatureToken": ""}), json!({"signatureToken": "two\nlines"})] {
            let answer = ResponseTemplate::new(201).set_body_json(json!({"data": created(token)}));
            let (_server, client) = answering("POST", "/v1/webhooks", answer).await;
            let error = client.create_webhook("https://hooks.example.com/w").await.unwrap_err();
            assert_eq!((error.class, error.service), (ErrorKind::OutcomeUnknown, Service::Lever));
        }
    }

    #[tokio::test]
    async fn a_webhook_is_deleted_by_its_id_without_a_body() {
        let (server, client) = answering("DELETE", "/v1/webhooks/w%2F1", ResponseTemplate::new(204)).await;
        client.delete_webhook("w/1").await.unwrap();
        assert!(server.received_requests().await.unwrap()[0].body.is_empty());
        assert_eq!(client.delete_webhook("").await.unwrap_err().class, ErrorKind::Invalid);
        for (status, class) in
            [(401, ErrorKind::Unauthorized), (403, ErrorKind::Forbidden), (404, ErrorKind::NotFound)]
        {
            let answer = json!({"code": "SomeError", "message": "no"});
            let answer = ResponseTemplate::new(status).set_body_json(answer);
            let (_server, client) = answering("DELETE", "/v1/webhooks/w-1", answer).await;
            assert_eq!(client.delete_webhook("w-1").await.unwrap_err().class, class);
        }
    }
}
