//! The order of the rules of Pads: the first rule that applies decides the next command.
//!
//! The reconcile loop executes the command, applies its event to the state, and calls [`decide`] again until the command
//! is [`Command::Done`]. The name of the rule is in the trace and in the debug log.

use crate::command::{Command, Outcome};
use crate::rules::attempt::unknown_outcome;
use crate::rules::cancellation::{cancelled, cancelled_after_error, end_unlinked};
use crate::rules::deletion::deletion;
use crate::rules::eligibility::{
    adopt, already_served, create, failed_before, ineligible, limit, limit_before_the_read, predates_rule,
    read_links, served_elsewhere,
};
use crate::rules::errors::error;
use crate::rules::failed_creations::failed_repeatedly;
use crate::rules::failure_tag::failure_tag;
use crate::rules::link::{finalizer_before_link, link};
use crate::rules::ownership::{other_account, yielding};
use crate::rules::repeat::{repeat, served_by_sibling};
use crate::rules::settled::settled;
use crate::rules::ttl::ttl;
use crate::rules::unconfirmed::unconfirmed;
use crate::rules::write_back::linked;
use crate::rules::{blocked, erased, sibling_terminating, unusable_configuration};
use crate::state::PadState;

/// One rule: returns its command if it applies.
#[derive(Clone, Copy, Debug)]
pub struct NamedRule {
    /// Name in traces and logs.
    pub name: &'static str,
    /// Returns the command; `None`: the rule does not apply.
    pub apply: fn(&PadState) -> Option<Command>,
}

const fn rule(name: &'static str, apply: fn(&PadState) -> Option<Command>) -> NamedRule {
    NamedRule { name, apply }
}

/// The rules in order of precedence. docs/contributing.md lists them in the same order.
pub const RULES: &[NamedRule] = &[
    rule("unconfirmed answer", unconfirmed),
    rule("cancelled despite an error", cancelled_after_error),
    rule("error", error),
    rule("deletion", deletion),
    rule("TTL", ttl),
    rule("erased candidate", erased),
    rule("other account", other_account),
    rule("yield", yielding),
    rule("repeat", repeat),
    rule("after the link", linked),
    rule("finalizer before the link", finalizer_before_link),
    rule("cancelled", cancelled),
    rule("settled", settled),
    rule("connection not usable", blocked),
    rule("end without a link", end_unlinked),
    rule("link", link),
    rule("unknown outcome", unknown_outcome),
    rule("configuration not usable", unusable_configuration),
    rule("sibling is being deleted", sibling_terminating),
    rule("limit, before the candidate is read", limit_before_the_read),
    rule("not eligible", ineligible),
    rule("failed for this entry", failed_before),
    rule("served by a sibling", served_by_sibling),
    rule("read the linked pads", read_links),
    rule("own linked pad", adopt),
    rule("served by another installation", served_elsewhere),
    rule("existing candidate", predates_rule),
    rule("entry already served", already_served),
    rule("failed repeatedly", failed_repeatedly),
    rule("limit", limit),
    rule("create", create),
];

/// The rules after the outcome of the Pad is known: `PadState::health` is set.
pub const RULES_AFTER_OUTCOME: &[NamedRule] =
    &[rule("unconfirmed answer", unconfirmed), rule("failure tag", failure_tag)];

/// The next command, and the rule that decided it.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Name of the rule.
    pub rule: &'static str,
    /// The command.
    pub command: Command,
}

/// Returns the next command for a Pad. Only the backoff of a failed Pad or tag stands above the rules: no service is
/// called until it has passed.
pub fn decide(state: &PadState) -> Decision {
    let (rules, backoff) = match state.health {
        None => (RULES, state.backoff_remaining),
        Some(_) => (RULES_AFTER_OUTCOME, state.failure_tag_backoff),
    };
    let decided = rules.iter().find_map(|rule| Some((rule.name, (rule.apply)(state)?)));
    // The last rule applies to every state that reaches it; a test checks that no state is left over.
    let (rule, command) =
        decided.unwrap_or(("none", Command::Done { outcome: Outcome::NoDecision, again: None }));
    match backoff {
        Some(rest) if command.calls_service() => Decision {
            rule: "backoff",
            command: Command::Done { outcome: Outcome::NoDecision, again: Some(rest) },
        },
        _ => Decision { rule, command },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_lists_the_rules_in_their_order() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/contributing.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (_, section) = page.split_once("## Order of the rules").unwrap();
        let table =
            section.split("\n## ").next().unwrap().lines().skip_while(|line| !line.starts_with("|---"));
        let documented: Vec<&str> =
            table.skip(1).map_while(|row| row.strip_prefix("| ")?.split(" | ").next()).collect();
        let names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
        assert_eq!(documented, names);
        for rule in RULES_AFTER_OUTCOME {
            assert!(section.contains(&format!("`{}`", rule.name)), "{} is not documented", rule.name);
        }
    }
}
