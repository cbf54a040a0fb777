//! TTL of Pads that have ended or were skipped (contract E11).

use crate::rules::write_back::is_recorded;
use api::configuration::PadConfiguration;
use api::names;
use api::pad::{Pad, Phase};
use api::{HasConditions, condition};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

/// Reports whether the TTL of a Pad that has ended or was skipped has passed.
pub fn is_expired(pad: &Pad, configuration: &PadConfiguration, now: Timestamp) -> bool {
    let settled_at = pad.phase_since();
    let ended_at = pad.status.as_ref().and_then(|status| status.ended_at);
    let (over_since, seconds) = match pad.phase() {
        Some(Phase::Ended) => (ended_at.max(settled_at), configuration.spec.ttl_seconds_after_ended),
        Some(Phase::Skipped) => (settled_at, Some(configuration.spec.ttl_seconds_after_skipped)),
        Some(Phase::Pending | Phase::Open | Phase::Started | Phase::Failed) | None => return false,
    };
    // The Pad must still write its note and tags, unless they can never be written.
    let is_owed = condition::find(pad.conditions(), condition::types::RECORD_ADDED).is_some()
        && !pad.status.as_ref().is_some_and(|status| is_recorded(status, false));
    let is_in_flight =
        pad.annotations().contains_key(names::ATTEMPT) && !pad.annotations().contains_key(names::PAD_ID);
    match (over_since, seconds) {
        (Some(since), Some(seconds))
            if !is_in_flight && !is_owed && pad.metadata.deletion_timestamp.is_none() =>
        {
            now.duration_since(since) >= SignedDuration::from_secs(seconds)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn is_expired_at(second: i64, status: Value, spec: Value) -> bool {
        let mut status = status;
        status["observedGeneration"] = json!(1);
        let ready = json!({"type": "Ready", "status": "True", "reason": "R", "message": "",
            "observedGeneration": 1, "lastTransitionTime": at(0)});
        let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        conditions.push(ready);
        status["conditions"] = json!(conditions);
        let pad = serde_json::from_value(json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad", "metadata": {"name": "p"},
            "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o"}, "status": status,
        }));
        let mut configuration = json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "PadConfiguration", "metadata": {"name": "c"},
            "spec": {"connectionRef": {"name": "acme"}},
        });
        for (field, value) in spec.as_object().unwrap() {
            configuration["spec"][field] = value.clone();
        }
        is_expired(&pad.unwrap(), &serde_json::from_value(configuration).unwrap(), at(second))
    }

    #[test]
    fn ended_and_skipped_pads_expire_after_their_ttl() {
        let skipped = || json!({"phase": "Skipped", "reason": "TagMissing"});
        assert!(!is_expired_at(86_399, skipped(), json!({})));
        assert!(is_expired_at(86_400, skipped(), json!({})));
        assert!(is_expired_at(10, skipped(), json!({"ttlSecondsAfterSkipped": 10})));
        let ended = || json!({"phase": "Ended", "endedAt": at(-50)});
        assert!(!is_expired_at(1_000_000, ended(), json!({})), "without a limit it stays");
        assert!(!is_expired_at(9, ended(), json!({"ttlSecondsAfterEnded": 10})), "seen to have ended");
        assert!(is_expired_at(10, ended(), json!({"ttlSecondsAfterEnded": 10})));
        let recorded = |status: &str, reason: &str| {
            let mut ended = ended();
            ended["conditions"] = json!([{"type": "RecordAdded", "status": status, "reason": reason, "message": "",
                "observedGeneration": 1, "lastTransitionTime": at(0)}]);
            is_expired_at(10, ended, json!({"ttlSecondsAfterEnded": 10}))
        };
        assert!(recorded("True", "Written"));
        for owed in ["LeverUnavailable", "LeverForbidden", "ConfigurationNotFound", "Suspended"] {
            assert!(!recorded("False", owed), "{owed}: the record is still to be written");
        }
        for never in ["InvalidRequest", "CandidateNotFound", "CandidateConfidential", "Cancelled"] {
            assert!(recorded("False", never), "{never}: the record can never be written");
        }
        for phase in ["Pending", "Open", "Started", "Failed"] {
            let all = json!({"ttlSecondsAfterEnded": 0, "ttlSecondsAfterSkipped": 0});
            assert!(!is_expired_at(1_000_000, json!({"phase": phase}), all), "{phase}");
        }
    }
}
