//! Parsing and validation of one delivery.

use super::fake::{SIGNING_TOKEN, TOKEN, delivery_at};
use crate::webhook::event::{EventKind, LeverEvent, Malformed, Timeliness};
use engine::stage_change::StageChangeEvent;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};

const AT: i64 = 1_431_458_021_951;
/// Output of `printf %s <token><time> | openssl dgst -sha256 -hmac lever-signing-token`.
const SIGNATURE: &str = "a2042400079eb9f6b62a53d29750ba36c96bf3eb3e1b2f26e0dd6534edc833db";

fn verify() -> Value {
    json!({"triggeredAt": AT, "event": "candidateHired", "data": {}, "signature": SIGNATURE, "token": TOKEN})
}

fn with(field: &str, value: Value) -> Value {
    let mut body = verify();
    body[field] = value;
    body
}

fn without(field: &str) -> Value {
    let mut body = verify();
    body.as_object_mut().unwrap().remove(field);
    body
}

fn parse(body: impl ToString) -> LeverEvent {
    LeverEvent::parse(body.to_string().as_bytes()).unwrap_or_else(|malformed| panic!("{malformed:?}"))
}

fn refused(body: impl ToString) -> Malformed {
    LeverEvent::parse(body.to_string().as_bytes()).err().unwrap()
}

fn signed_with(body: Value, tokens: &[&str]) -> bool {
    let tokens: Vec<SecretString> = tokens.iter().map(|token| SecretString::from(*token)).collect();
    parse(body).is_signed_with(&tokens)
}

fn change(body: Value) -> Result<StageChangeEvent, Malformed> {
    match parse(body).meaning()? {
        EventKind::StageChange(change) => Ok(change),
        EventKind::Verify | EventKind::Other => panic!("not a stage change"),
    }
}

fn stage_change(opportunity: &Value, stage: &Value) -> Value {
    delivery_at(AT, "candidateStageChange", json!({"opportunityId": opportunity, "toStageId": stage}))
}

#[test]
fn foreign_events_are_rejected() {
    let bodies = ["", "{", "[]", "null", "\"text\"", "{}", "\u{0}", &"[".repeat(100_000)];
    bodies.iter().for_each(|body| _ = refused(body));
    let never = [json!(null), json!(""), json!([]), json!({}), json!(true), json!(1.5)];
    for field in ["event", "token", "triggeredAt"] {
        refused(without(field));
        never.iter().for_each(|wrong| _ = refused(with(field, wrong.clone())));
    }
    refused(with("event", json!(1)));
    refused(with("token", json!(1)));
    refused(with("triggeredAt", json!(AT.to_string())));
    refused(with("token", json!("a\nb")));
    refused(with("token", json!("a".repeat(257))));
    refused(with("triggeredAt", json!(u64::MAX)));
    parse(without("signature"));
    parse(without("data"));
}

#[test]
fn a_signature_is_the_hmac_of_token_and_time() {
    assert!(signed_with(verify(), &[SIGNING_TOKEN]));
    assert!(signed_with(with("signature", json!(SIGNATURE.to_uppercase())), &[SIGNING_TOKEN]));
    assert!(signed_with(verify(), &["an old one", SIGNING_TOKEN, "another"]));
    // Lever's signature covers neither the event nor the data.
    assert!(signed_with(with("event", json!("candidateDeleted")), &[SIGNING_TOKEN]));
    assert!(signed_with(with("data", json!({"a": 1})), &[SIGNING_TOKEN]));

    assert!(!signed_with(verify(), &[]));
    assert!(!signed_with(verify(), &["another"]));
    assert!(!signed_with(with("triggeredAt", json!(AT + 1)), &[SIGNING_TOKEN]));
    assert!(!signed_with(with("token", json!("another")), &[SIGNING_TOKEN]));
    assert!(!signed_with(without("signature"), &[SIGNING_TOKEN]));
    let wrong = [
        &SIGNATURE[1..],
        &format!("{SIGNATURE}00"),
        &format!(" {}", &SIGNATURE[1..]),
        &"z".repeat(64),
        &"é".repeat(32),
    ];
    for signature in wrong {
        assert!(!signed_with(with("signature", json!(signature)), &[SIGNING_TOKEN]), "{signature}");
    }
    for signature in [json!(null), json!(5), json!([SIGNATURE])] {
        assert!(!signed_with(with("signature", signature), &[SIGNING_TOKEN]));
    }
}

#[test]
fn a_delivery_is_timely_from_15_days_old_to_5_minutes_ahead() {
    let (days, minutes) = (15 * 24 * 60 * 60 * 1000, 5 * 60 * 1000);
    let timely = |ahead: i64, data: Value| {
        let now = Timestamp::from_millisecond(AT).unwrap();
        parse(delivery_at(AT + ahead, "candidateHired", data)).timeliness(now) == Timeliness::Timely
    };
    let some = || json!({"opportunityId": "o"});
    assert!(timely(0, some()) && timely(-days, some()) && timely(minutes, some()));
    assert!(!timely(-days - 1, some()) && !timely(minutes + 1, some()));
    assert!(timely(-days - 1, json!({})) && timely(minutes + 1, json!(null)));
    for at in [i64::MIN, i64::MAX] {
        assert_ne!(
            parse(delivery_at(at, "candidateHired", some())).timeliness(Timestamp::UNIX_EPOCH),
            Timeliness::Timely
        );
    }
}

#[test]
fn empty_data_is_the_verify_button_whatever_the_event() {
    let is_verify = |body: Value| matches!(parse(body).meaning(), Ok(EventKind::Verify));
    for event in ["candidateHired", "candidateStageChange"] {
        for data in [json!({}), json!(null)] {
            assert!(is_verify(delivery_at(AT, event, data)));
        }
    }
    assert!(is_verify(without("data")));
    assert!(!is_verify(with("data", json!({"candidateId": "c"}))));
}

#[test]
fn only_a_stage_change_creates_pads() {
    for event in ["candidateHired", "candidateArchiveChange", "applicationCreated", "candidatestagechange"] {
        let body = delivery_at(AT, event, json!({"opportunityId": "o", "toStageId": "s"}));
        assert!(matches!(parse(body).meaning(), Ok(EventKind::Other)));
    }
    let found = change(stage_change(&json!("6408dc54-Aa_9"), &json!("stage/ü 1"))).ok().unwrap();
    assert_eq!((found.opportunity_id.as_str(), found.stage_id.as_str()), ("6408dc54-Aa_9", "stage/ü 1"));
    assert_eq!(found.at.as_millisecond(), AT);
    assert_eq!(found.request, "1431458021951-00112233");
}

#[test]
fn ids_that_no_candidate_or_stage_can_have_are_refused() {
    let absent = Value::Null;
    let long = json!("o".repeat(65));
    for id in [
        &absent,
        &json!(""),
        &json!("a/b"),
        &json!("a b"),
        &json!("ü"),
        &json!("../x"),
        &json!(1),
        &json!(["o"]),
        &long,
    ] {
        assert!(change(stage_change(id, &json!("s"))).is_err(), "{id}");
    }
    for id in [&absent, &json!(""), &json!("a\nb"), &json!("a\u{7f}"), &json!(1), &json!("s".repeat(129))] {
        assert!(change(stage_change(&json!("o"), id)).is_err(), "{id}");
    }
    let body = |data: Value| delivery_at(AT, "candidateStageChange", data);
    assert!(change(body(json!([]))).is_err() && change(body(json!("text"))).is_err());
    assert!(change(stage_change(&json!("o".repeat(64)), &json!("ü".repeat(128)))).is_ok());
}
