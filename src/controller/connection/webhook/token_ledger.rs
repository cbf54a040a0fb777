//! Which token in a Secret belongs to which webhook. Pure.
//!
//! The value holds tokens only, one per line, because the receiver takes any of them. Beside it an annotation tells ids
//! and digests, so that a token that was lost or replaced by hand is noticed.

use super::plan::KnownWebhook;
use crate::api::names::sha256_hex;
use crate::sanitize;
use secrecy::{ExposeSecret, SecretString};

/// Webhooks of a connection whose tokens are kept: what Lever repeats may be signed with one that was replaced.
const KEPT: usize = 5;
/// Mark of a webhook that Lever's list has not shown yet.
const NOT_LISTED: &str = "?";
/// Hex digits of a token's digest.
const DIGEST: usize = 16;

/// All tokens of a Secret's value, and the webhooks of one connection that some of them belong to.
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
    /// Whether Lever's list has shown the webhook.
    listed: bool,
}

impl TokenLedger {
    /// Reads the value and the annotation.
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

    /// The value.
    pub fn value(&self) -> String {
        self.tokens.iter().map(|token| format!("{}\n", token.expose_secret())).collect()
    }

    /// The annotation.
    pub fn annotation(&self) -> String {
        let records = self.records.iter().map(|TokenRecord { id, digest, listed }| {
            let mark = if *listed { "" } else { NOT_LISTED };
            format!("{id}={digest}{mark}")
        });
        records.collect::<Vec<_>>().join(" ")
    }

    /// The webhooks of the connection, present and past.
    pub fn recorded(&self) -> Vec<KnownWebhook> {
        let has = |digest: &String| self.tokens.iter().any(|token| digest_of(token) == *digest);
        let recorded = |record: &TokenRecord| KnownWebhook {
            id: record.id.clone(),
            has_token: has(&record.digest),
            listed: record.listed,
        };
        self.records.iter().map(recorded).collect()
    }

    /// Adds a webhook and its token; the oldest of too many go.
    pub fn add(&mut self, id: &str, token: &SecretString) {
        self.records.retain(|known| known.id != id);
        self.records.push(TokenRecord { id: id.to_owned(), digest: digest_of(token), listed: false });
        self.tokens.push(token.clone());
        self.drop_oldest(self.records.len().saturating_sub(KEPT));
    }

    /// Notes that Lever's list shows a webhook.
    pub fn confirm(&mut self, id: &str) {
        self.records.iter_mut().filter(|record| record.id == id).for_each(|record| record.listed = true);
    }

    /// Takes out all webhooks of the connection and their tokens. Those of others stay.
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
    fn what_is_written_is_read_back_and_names_no_token() {
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
    fn a_token_that_was_lost_or_replaced_is_noticed() {
        let mut book = TokenLedger::default();
        add(&mut book, "w-1");
        for value in ["", "another\n", "token-of-w-1 and more"] {
            assert_eq!(known(&TokenLedger::read(value, &book.annotation())), [("w-1".to_owned(), false)]);
        }
        assert_eq!(known(&TokenLedger::read(&book.value(), "nonsense")), []);
    }

    #[test]
    fn the_oldest_of_too_many_go_and_nothing_of_others() {
        let mut book = TokenLedger::read("by-hand", "");
        (1..=8).for_each(|n| add(&mut book, &format!("w-{n}")));
        assert_eq!(known(&book).len(), KEPT);
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
