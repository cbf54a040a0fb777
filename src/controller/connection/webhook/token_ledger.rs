//! Maps the tokens in a Secret to webhooks. Pure.
//!
//! The value contains only tokens, one per line, because the webhook server accepts any of them. An annotation records
//! webhook IDs and token digests, so that a lost or manually replaced token is detected.

use super::plan::KnownWebhook;
use api::names::sha256_hex;
use api::sanitize;
use secrecy::{ExposeSecret, SecretString};

/// Maximum number of tokens that are kept per connection. Lever may sign a repeated delivery with a replaced token.
const MAX_KNOWN_TOKENS: usize = 5;
/// Mark of a webhook that Lever has not listed yet.
const NOT_LISTED: &str = "?";
/// Length of a token's digest in hex digits.
const DIGEST: usize = 16;

/// All tokens in the value of a Secret, and the webhooks of one connection that own some of them.
#[derive(Clone, Default)]
pub struct TokenLedger {
    tokens: Vec<SecretString>,
    /// Oldest first.
    records: Vec<TokenRecord>,
}

#[derive(Clone)]
struct TokenRecord {
    id: String,
    digest: String,
    /// Whether Lever has listed the webhook.
    listed: bool,
}

impl TokenLedger {
    /// Parses the value and the annotation.
    pub fn read(value: &str, annotation: &str) -> Self {
        let lines = value.lines().map(sanitize::trimmed).filter(|line| !line.is_empty());
        let records = annotation.split_whitespace().filter_map(|record| {
            let (id, digest) = record.rsplit_once('=')?;
            let plain = digest.strip_suffix(NOT_LISTED);
            let (digest, listed) = (plain.unwrap_or(digest).to_owned(), plain.is_none());
            Some(TokenRecord { id: id.to_owned(), digest, listed })
        });
        Self { tokens: lines.map(SecretString::from).collect(), records: records.collect() }
    }

    /// Returns the value of the Secret key.
    pub fn value(&self) -> String {
        self.tokens.iter().map(|token| format!("{}\n", token.expose_secret())).collect()
    }

    /// Returns the value of the annotation.
    pub fn annotation(&self) -> String {
        let records = self.records.iter().map(|TokenRecord { id, digest, listed }| {
            let mark = if *listed { "" } else { NOT_LISTED };
            format!("{id}={digest}{mark}")
        });
        records.collect::<Vec<_>>().join(" ")
    }

    /// Returns the current and former webhooks of the connection.
    pub fn recorded(&self) -> Vec<KnownWebhook> {
        let has = |digest: &String| self.tokens.iter().any(|token| digest_of(token) == *digest);
        let recorded = |record: &TokenRecord| KnownWebhook {
            id: record.id.clone(),
            has_token: has(&record.digest),
            listed: record.listed,
        };
        self.records.iter().map(recorded).collect()
    }

    /// Adds a webhook and its token; drops the oldest ones beyond the limit.
    pub fn add(&mut self, id: &str, token: &SecretString) {
        self.records.retain(|known| known.id != id);
        self.records.push(TokenRecord { id: id.to_owned(), digest: digest_of(token), listed: false });
        self.tokens.push(token.clone());
        self.drop_oldest(self.records.len().saturating_sub(MAX_KNOWN_TOKENS));
    }

    /// Records that Lever lists a webhook.
    pub fn confirm(&mut self, id: &str) {
        self.records.iter_mut().filter(|record| record.id == id).for_each(|record| record.listed = true);
    }

    /// Removes all webhooks of the connection and their tokens. Other tokens stay.
    pub fn clear(&mut self) {
        self.drop_oldest(self.records.len());
    }

    fn drop_oldest(&mut self, count: usize) {
        for record in self.records.drain(..count) {
            self.tokens.retain(|token| digest_of(token) != record.digest);
        }
    }
}

fn digest_of(token: &SecretString) -> String {
    sha256_hex(token.expose_secret(), DIGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(book: &mut TokenLedger, id: &str) {
        book.add(id, &SecretString::from(format!("token-of-{id}")));
    }

    fn written(book: &TokenLedger) -> TokenLedger {
        TokenLedger::read(&book.value(), &book.annotation())
    }

    fn known(book: &TokenLedger) -> Vec<(String, bool)> {
        book.recorded().into_iter().map(|one| (one.id, one.has_token)).collect()
    }

    #[test]
    fn values_survive_a_round_trip_and_the_annotation_contains_no_token() {
        let mut book = TokenLedger::read("  by-hand \n\n", "");
        add(&mut book, "w=1");
        add(&mut book, "w-2");
        let book = written(&book);
        assert_eq!(book.value(), "by-hand\ntoken-of-w=1\ntoken-of-w-2\n");
        assert_eq!(known(&book), [("w=1".to_owned(), true), ("w-2".to_owned(), true)]);
        assert!(!book.annotation().contains("token"), "{}", book.annotation());
    }

    #[test]
    fn a_webhook_counts_as_listed_once_it_is_confirmed() {
        let mut book = TokenLedger::default();
        add(&mut book, "w-1");
        add(&mut book, "w-2");
        book.confirm("w-1");
        let listed: Vec<_> = written(&book).recorded().into_iter().map(|one| one.listed).collect();
        assert_eq!(listed, [true, false]);
        assert!(written(&book).recorded().iter().all(|one| one.has_token));
        // The annotation of version 0.1.0 has no mark.
        assert!(TokenLedger::read("token-of-w-1", "w-1=0123456789abcdef").recorded()[0].listed);
    }

    #[test]
    fn a_lost_or_replaced_token_is_detected() {
        let mut book = TokenLedger::default();
        add(&mut book, "w-1");
        for value in ["", "another\n", "token-of-w-1 and more"] {
            assert_eq!(known(&TokenLedger::read(value, &book.annotation())), [("w-1".to_owned(), false)]);
        }
        assert_eq!(known(&TokenLedger::read(&book.value(), "nonsense")), []);
    }

    #[test]
    fn the_oldest_tokens_beyond_the_limit_are_dropped_but_not_those_of_others() {
        let mut book = TokenLedger::read("by-hand", "");
        (1..=8).for_each(|n| add(&mut book, &format!("w-{n}")));
        assert_eq!(known(&book).len(), MAX_KNOWN_TOKENS);
        assert_eq!(
            book.value(),
            "by-hand\ntoken-of-w-4\ntoken-of-w-5\ntoken-of-w-6\ntoken-of-w-7\ntoken-of-w-8\n"
        );
        let mut other = TokenLedger::read(&book.value(), "");
        add(&mut other, "o-1");
        let mut book = TokenLedger::read(&other.value(), &book.annotation());
        book.clear();
        assert_eq!((book.value().as_str(), book.annotation().as_str()), ("by-hand\ntoken-of-o-1\n", ""));
    }
}
