//! Accounts and rules to check.

use super::report::Finding;
use api::connection::WebhookMode;
use secrecy::SecretString;
use url::Url;

/// Account at one service.
#[derive(Clone, Debug)]
pub struct Account {
    /// Base address.
    pub url: Url,
    /// API key.
    pub key: SecretString,
    /// Place of the key, such as "Secret acme, key lever-api-key".
    pub place: String,
}

/// Rule whose parts must exist in both accounts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rule {
    /// Name of the PadConfiguration; empty if the rule is from the command line.
    pub configuration: String,
    /// Name or ID of the stage.
    pub stage: Option<String>,
    /// Tag.
    pub tag: Option<String>,
    /// ID of the question.
    pub question: Option<i64>,
    /// Whether pads are take-homes; None if unknown.
    pub take_home: Option<bool>,
    /// E-mail address of the owner of pads.
    pub owner: Option<String>,
}

/// Accounts and rules to check.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// Lever account. None if it is not checked.
    pub lever: Option<Account>,
    /// CoderPad account. None if it is not checked.
    pub interview: Option<Account>,
    /// ID of the Lever user in whose name links, notes and tags are written.
    pub perform_as: Option<String>,
    /// Rules.
    pub rules: Vec<Rule>,
    /// URL that Lever sends webhooks to.
    pub webhook_url: Option<String>,
    /// Party that registers the webhook.
    pub webhook_mode: WebhookMode,
    /// Problems with the settings themselves.
    pub problems: Vec<Finding>,
}

impl Target {
    /// Returns different values of the rules in their order: at most `limit`, and the number of the others.
    pub(super) fn distinct<T: PartialEq>(
        &self,
        limit: usize,
        value: impl Fn(&Rule) -> Option<T>,
    ) -> (Vec<T>, usize) {
        let mut found: Vec<T> = Vec::new();
        for value in self.rules.iter().filter_map(value) {
            if !found.contains(&value) {
                found.push(value);
            }
        }
        let others = found.len().saturating_sub(limit);
        found.truncate(limit);
        (found, others)
    }
}
