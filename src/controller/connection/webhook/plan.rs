//! Decides the next command for a connection's webhook in Lever from the observed state. Pure.  Lever returns the token
//! of a webhook only once and accepts the same URL twice. The order is therefore: claim the Secret, create the webhook,
//! store its token, and only then delete the webhook that it replaces. A webhook whose token was lost is replaced like
//! one with an outdated URL.

use lever::{STAGE_CHANGE_EVENT, Webhook};

/// Maximum number of webhooks without a stored token that are kept until a new one is created. With 0, a delivery might
/// be lost between deletion and creation; without a limit, each failure would add one.
const MOST_WITHOUT_TOKEN: usize = 1;

/// Inputs of the decision.
#[derive(Clone, Debug)]
pub struct WebhookInputs<'a> {
    /// Target URL of the webhook.
    pub url: &'a str,
    /// Webhooks that Lever lists.
    pub listed: &'a [Webhook],
    /// Webhook ID in the status.
    pub named: Option<&'a str>,
    /// Current and former webhooks of this connection, as recorded on the Secret.
    pub recorded: &'a [KnownWebhook],
    /// Whether the connection has the finalizer.
    pub finalizer: bool,
    /// Whether this pass holds the claim to create and delete webhooks.
    pub claimed: bool,
}

/// Webhook that is recorded on the Secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownWebhook {
    /// ID of the webhook.
    pub id: String,
    /// Whether the Secret contains its token.
    pub has_token: bool,
    /// Whether Lever has listed it since its creation.
    pub listed: bool,
}

/// Next command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WebhookCommand {
    /// Nothing to do: this webhook is registered.
    Settled(String),
    /// Add the finalizer to the connection, because from now on a webhook to remove may exist.
    AddFinalizer,
    /// Write this pass's claim to the Secret, so that no other process can store a token.
    Claim,
    /// Create a webhook and store its token.
    Register,
    /// Delete this webhook.
    Delete(String),
    /// Nothing to do: Lever does not list this created webhook. It would not list another one either, and each probe
    /// would create one more (contract C15).
    NotListed(String),
}

/// Decides the next command.
pub fn plan(facts: &WebhookInputs<'_>) -> WebhookCommand {
    let mut ours = owned_webhooks(facts.listed, Some(facts.url), facts.named, facts.recorded);
    // Sort, so that all processes keep the same webhook.
    ours.sort_by_key(|webhook| (webhook.created_at_ms, &webhook.id));
    let has_token = |webhook: &Webhook| {
        facts.recorded.iter().any(|recorded| recorded.id == webhook.id && recorded.has_token)
    };
    let kept = ours.iter().find(|webhook| webhook.url == facts.url && has_token(webhook));
    let without_token: Vec<_> =
        ours.iter().filter(|webhook| webhook.url == facts.url && !has_token(webhook)).collect();
    let step = match kept {
        Some(kept) => match ours.iter().find(|webhook| webhook.id != kept.id) {
            Some(other) => WebhookCommand::Delete(other.id.clone()),
            None => WebhookCommand::Settled(kept.id.clone()),
        },
        None => match without_token.as_slice() {
            [oldest, rest @ ..] if rest.len() >= MOST_WITHOUT_TOKEN => {
                WebhookCommand::Delete(oldest.id.clone())
            }
            _ => match not_listed(facts) {
                Some(id) => WebhookCommand::NotListed(id),
                None => WebhookCommand::Register,
            },
        },
    };
    match step {
        WebhookCommand::Register | WebhookCommand::Settled(_) if !facts.finalizer => {
            WebhookCommand::AddFinalizer
        }
        WebhookCommand::Register | WebhookCommand::Delete(_) if !facts.claimed => WebhookCommand::Claim,
        step => step,
    }
}

/// Returns a created webhook with a stored token that Lever has never listed. A webhook that was listed earlier but is
/// missing now was removed by a user, or belongs to the former API key; it is created again.
fn not_listed(facts: &WebhookInputs<'_>) -> Option<String> {
    let unseen = |recorded: &&KnownWebhook| {
        recorded.has_token && !recorded.listed && facts.listed.iter().all(|one| one.id != recorded.id)
    };
    facts.recorded.iter().find(unseen).map(|recorded| recorded.id.clone())
}

/// Returns the webhooks in Lever that belong to this connection: by their URL, or by a recorded ID.
pub fn owned_webhooks<'a>(
    listed: &'a [Webhook],
    url: Option<&str>,
    named: Option<&str>,
    recorded: &[KnownWebhook],
) -> Vec<&'a Webhook> {
    let is_ours = |webhook: &&Webhook| {
        webhook.event == STAGE_CHANGE_EVENT
            && (Some(webhook.url.as_str()) == url
                || Some(webhook.id.as_str()) == named
                || recorded.iter().any(|recorded| recorded.id == webhook.id))
    };
    listed.iter().filter(is_ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const URL: &str = "https://hooks.example.com/webhooks/lever/hiring/acme";
    const OLD_URL: &str = "https://old.example.com/webhooks/lever/hiring/acme";

    fn webhook(id: &str, url: &str) -> Webhook {
        Webhook {
            id: id.into(),
            url: url.into(),
            event: STAGE_CHANGE_EVENT.into(),
            created_at_ms: id.parse::<i64>().ok(),
        }
    }

    fn recorded(ids: &[&str]) -> Vec<KnownWebhook> {
        ids.iter().map(|id| KnownWebhook { id: (*id).into(), has_token: true, listed: true }).collect()
    }

    fn step(listed: &[Webhook], recorded: &[KnownWebhook], named: Option<&str>) -> WebhookCommand {
        plan(&WebhookInputs { url: URL, listed, named, recorded, finalizer: true, claimed: true })
    }

    #[test]
    fn a_webhook_is_created_after_the_finalizer_and_the_claim() {
        let facts = WebhookInputs {
            url: URL,
            listed: &[],
            named: None,
            recorded: &[],
            finalizer: false,
            claimed: false,
        };
        assert_eq!(plan(&facts), WebhookCommand::AddFinalizer);
        let facts = WebhookInputs { finalizer: true, ..facts };
        assert_eq!(plan(&facts), WebhookCommand::Claim);
        assert_eq!(plan(&WebhookInputs { claimed: true, ..facts }), WebhookCommand::Register);
    }

    #[test]
    fn a_webhook_with_a_stored_token_needs_no_write() {
        let (listed, recorded) = ([webhook("1", URL)], recorded(&["1"]));
        let facts = WebhookInputs {
            url: URL,
            listed: &listed,
            named: None,
            recorded: &recorded,
            finalizer: true,
            claimed: false,
        };
        assert_eq!(plan(&facts), WebhookCommand::Settled("1".into()));
        assert_eq!(
            plan(&WebhookInputs { finalizer: false, ..facts }),
            WebhookCommand::AddFinalizer,
            "restored from a backup"
        );
    }

    #[test]
    fn a_lost_token_and_an_old_url_are_replaced_before_they_are_deleted() {
        let lost = [webhook("1", URL)];
        assert_eq!(step(&lost, &[], None), WebhookCommand::Register);
        let emptied = [KnownWebhook { id: "1".into(), has_token: false, listed: true }];
        assert_eq!(step(&lost, &emptied, Some("1")), WebhookCommand::Register);
        let both = [webhook("1", URL), webhook("2", URL)];
        assert_eq!(step(&both, &recorded(&["2"]), None), WebhookCommand::Delete("1".into()));

        let old = [webhook("1", OLD_URL)];
        assert_eq!(step(&old, &recorded(&["1"]), Some("1")), WebhookCommand::Register);
        let both = [webhook("1", OLD_URL), webhook("2", URL)];
        assert_eq!(step(&both, &recorded(&["1", "2"]), Some("1")), WebhookCommand::Delete("1".into()));
        assert_eq!(step(&both[1..], &recorded(&["1", "2"]), Some("2")), WebhookCommand::Settled("2".into()));
    }

    #[test]
    fn webhooks_without_a_token_do_not_accumulate() {
        let lost = [webhook("1", URL), webhook("2", URL), webhook("3", URL)];
        assert_eq!(step(&lost, &[], None), WebhookCommand::Delete("1".into()));
        assert_eq!(step(&lost[1..], &[], None), WebhookCommand::Delete("2".into()));
        assert_eq!(step(&lost[2..], &[], None), WebhookCommand::Register);
    }

    #[test]
    fn of_two_stored_webhooks_every_process_keeps_the_older() {
        let (a, b) = (webhook("1", URL), webhook("2", URL));
        for listed in [[a.clone(), b.clone()], [b, a]] {
            assert_eq!(step(&listed, &recorded(&["2", "1"]), Some("2")), WebhookCommand::Delete("2".into()));
        }
    }

    // contract C15
    #[test]
    fn a_webhook_that_lever_does_not_list_is_created_only_once() {
        let mut known = recorded(&["1"]);
        assert_eq!(
            step(&[], &known, Some("1")),
            WebhookCommand::Register,
            "removed by a user, or another key"
        );
        known.push(KnownWebhook { id: "2".into(), has_token: true, listed: false });
        assert_eq!(step(&[], &known, Some("2")), WebhookCommand::NotListed("2".into()));
        assert_eq!(step(&[webhook("2", URL)], &known, Some("2")), WebhookCommand::Settled("2".into()));
        known[1].has_token = false;
        assert_eq!(step(&[], &known, Some("2")), WebhookCommand::Register, "a user emptied the Secret");
    }

    #[test]
    fn webhooks_of_others_are_never_changed() {
        let other_event = Webhook { event: "candidateHired".into(), ..webhook("1", URL) };
        let listed = [other_event, webhook("2", OLD_URL), webhook("3", URL)];
        assert_eq!(step(&listed, &recorded(&["1", "3"]), Some("1")), WebhookCommand::Settled("3".into()));
        assert_eq!(owned_webhooks(&listed, Some(URL), None, &[]), [&listed[2]]);
        assert_eq!(owned_webhooks(&listed, None, Some("2"), &[]), [&listed[1]]);
    }

    proptest! {
        /// From any state, a pass ends with exactly one own webhook whose token is stored. It never deletes the last
        /// webhook before another one exists.
        #[test]
        fn a_pass_converges_from_any_state(
            there in proptest::collection::vec((0..6_u8, any::<[bool; 3]>()), 0..6),
            named in proptest::option::of(0..6_u8),
        ) {
            let mut listed: Vec<Webhook> = Vec::new();
            let mut known = Vec::new();
            for (id, [current, is_known, has_token]) in there {
                let id = id.to_string();
                if listed.iter().all(|one| one.id != id) {
                    if is_known {
                        known.push(KnownWebhook { id: id.clone(), has_token, listed: true });
                    }
                    listed.push(webhook(&id, if current { URL } else { OLD_URL }));
                }
            }
            let named = named.map(|id| id.to_string());
            let (mut finalizer, mut claimed, mut made) = (false, false, 0);
            for _ in 0..20 {
                let facts = WebhookInputs {
                    url: URL, listed: &listed, named: named.as_deref(), recorded: &known, finalizer, claimed,
                };
                let usable = |listed: &[Webhook]| owned_webhooks(listed, Some(URL), named.as_deref(), &known).len();
                match plan(&facts) {
                    WebhookCommand::Settled(id) => {
                        let left = owned_webhooks(&listed, Some(URL), named.as_deref(), &known);
                        prop_assert!(left.len() == 1 && left[0].id == id && left[0].url == URL);
                        let kept = known.iter().any(|one| one.id == id && one.has_token);
                        prop_assert!(kept && made <= 1);
                        return Ok(());
                    }
                    WebhookCommand::AddFinalizer => finalizer = true,
                    WebhookCommand::Claim => claimed = true,
                    WebhookCommand::Register => {
                        prop_assert!(finalizer && claimed);
                        made += 1;
                        let id = format!("{}", 100 + made);
                        listed.push(webhook(&id, URL));
                        known.push(KnownWebhook { id, has_token: true, listed: false });
                    }
                    WebhookCommand::NotListed(id) => prop_assert!(false, "{id} is listed"),
                    WebhookCommand::Delete(id) => {
                        prop_assert!(claimed && usable(&listed) > 1, "the last one was deleted");
                        listed.retain(|one| one.id != id);
                    }
                }
            }
            prop_assert!(false, "it did not converge");
        }
    }
}
