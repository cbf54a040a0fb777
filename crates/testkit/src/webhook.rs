//! Webhooks as Lever sends them, for tests that send them themselves.

use serde_json::{Value, json};
use simulators::signature;

/// Returns the signed body of a stage change. The signature covers the token and the time (in milliseconds since the
/// epoch), but not the data.
pub fn stage_change(signing_token: &str, opportunity: &str, stage: &str, triggered_at: i64) -> Value {
    let digits = format!("{triggered_at:x}{}", opportunity.replace('-', ""));
    let token: String = digits.chars().cycle().take(48).collect();
    json!({
        "event": "candidateStageChange",
        "triggeredAt": triggered_at,
        "token": token,
        "signature": signature(signing_token, &token, triggered_at),
        "data": {"opportunityId": opportunity, "candidateId": opportunity, "contactId": opportunity,
            "fromStageId": "applicant-new", "toStageId": stage},
    })
}
