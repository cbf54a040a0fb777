//! Parsing and validation of one delivery from Lever, without any state: its shape, signature, age and meaning.
//!
//! The signature covers only the token and the time. Anybody who has seen one delivery can change the rest, so the rest
//! is only a hint: it selects the candidate to read from Lever, and is never used as data.

use api::names::{TOKEN_MARK, is_opportunity_id};
use aws_lc_rs::hmac;
use engine::stage_change::StageChangeEvent;
use jiff::Timestamp;
use lever::STAGE_CHANGE_EVENT;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use std::time::Duration;

/// Maximum age of a delivery. Lever's settings page can repeat deliveries of the last two weeks; one more day covers
/// clock differences and delays.
const MAX_DELIVERY_AGE: Duration = Duration::from_secs(15 * 24 * 60 * 60);
/// Maximum time that Lever's clock may be ahead of the operator's.
const MAX_CLOCK_LEAD: Duration = Duration::from_secs(5 * 60);
/// Maximum length of a token in characters. Lever's tokens have 48.
const MAX_TOKEN_CHARS: usize = 256;

/// A delivery from Lever. It does not implement Debug, because it contains a token, a signature and a candidate's ID.
pub struct LeverEvent {
    event: String,
    token: String,
    triggered_at_ms: i64,
    signature: Option<String>,
    data: Value,
}

/// Result of comparing the time of a delivery with the operator's clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Timeliness {
    /// Lever may still send the delivery.
    Timely,
    /// The delivery is older than any that Lever sends.
    Outdated,
    /// The delivery is from the future: the operator's clock is behind.
    Ahead {
        /// Difference in seconds.
        seconds: i64,
    },
}

/// Meaning of a delivery.
pub enum EventKind {
    /// Lever's Verify button: the response proves that the operator has the signature token.
    Verify,
    /// An event that does not lead to pads.
    Other,
    /// A candidate has entered a stage, according to the delivery.
    StageChange(StageChangeEvent),
}

/// Error for a body that is not a complete event of Lever, with the problem.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Malformed(pub &'static str);

impl LeverEvent {
    /// Parses a body.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return Err(Malformed("it is not JSON"));
        };
        let Value::Object(mut fields) = value else { return Err(Malformed("it is not a JSON object")) };
        let event = text(&mut fields, "event").ok_or(Malformed("it has no event"))?;
        let token = text(&mut fields, "token").ok_or(Malformed("it has no token"))?;
        if token.len() > MAX_TOKEN_CHARS || token.chars().any(char::is_control) {
            return Err(Malformed("its token is not one of Lever's"));
        }
        let triggered_at_ms = fields.get("triggeredAt").and_then(Value::as_i64);
        Ok(Self {
            event,
            token,
            triggered_at_ms: triggered_at_ms.ok_or(Malformed("it has no triggeredAt in milliseconds"))?,
            signature: text(&mut fields, "signature"),
            data: fields.remove("data").unwrap_or_default(),
        })
    }

    /// Reports whether one of these signature tokens has signed the delivery.
    pub fn is_signed_with(&self, signing_tokens: &[SecretString]) -> bool {
        let Some(signature) = self.signature.as_deref().and_then(digest_of_hex) else { return false };
        let signed = format!("{}{}", self.token, self.triggered_at_ms);
        signing_tokens.iter().any(|signing_token| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, signing_token.expose_secret().as_bytes());
            hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
        })
    }

    /// Reports whether the delivery has a signature in Lever's format, from any token.
    pub fn has_signature_shape(&self) -> bool {
        self.signature.as_deref().and_then(digest_of_hex).is_some()
    }

    /// Returns whether the delivery is recent enough that Lever may still send it. Verify is answered at any age.
    pub fn timeliness(&self, now: Timestamp) -> Timeliness {
        let age = i128::from(now.as_millisecond()) - i128::from(self.triggered_at_ms);
        if self.is_verify() {
            Timeliness::Timely
        } else if age > milliseconds(MAX_DELIVERY_AGE) {
            Timeliness::Outdated
        } else if age < -milliseconds(MAX_CLOCK_LEAD) {
            Timeliness::Ahead { seconds: i64::try_from(-age / 1000).unwrap_or(i64::MAX) }
        } else {
            Timeliness::Timely
        }
    }

    fn is_verify(&self) -> bool {
        match &self.data {
            Value::Null => true,
            Value::Object(data) => data.is_empty(),
            _ => false,
        }
    }

    /// Returns the meaning of the delivery.
    pub fn meaning(&self) -> Result<EventKind, Malformed> {
        if self.is_verify() {
            return Ok(EventKind::Verify);
        }
        if self.event != STAGE_CHANGE_EVENT {
            return Ok(EventKind::Other);
        }
        let field = |name| self.data.get(name).and_then(Value::as_str).unwrap_or_default();
        let (opportunity_id, stage_id) = (field("opportunityId"), field("toStageId"));
        if !is_opportunity_id(opportunity_id) {
            return Err(Malformed("data.opportunityId is missing or malformed"));
        }
        if !is_stage_id(stage_id) {
            return Err(Malformed("data.toStageId is missing or malformed"));
        }
        let Ok(at) = Timestamp::from_millisecond(self.triggered_at_ms) else {
            return Err(Malformed("triggeredAt is no point in time"));
        };
        let mark: String = self.token.chars().take(TOKEN_MARK).collect();
        Ok(EventKind::StageChange(StageChangeEvent {
            opportunity_id: opportunity_id.into(),
            stage_id: stage_id.into(),
            at,
            request: format!("{}-{mark}", self.triggered_at_ms),
        }))
    }
}

fn text(fields: &mut Map<String, Value>, name: &str) -> Option<String> {
    match fields.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn digest_of_hex(hex: &str) -> Option<[u8; 32]> {
    let digits: [u8; 64] = hex.as_bytes().try_into().ok()?;
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            *byte = *byte << 4 | u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
        }
    }
    Some(digest)
}

fn milliseconds(duration: Duration) -> i128 {
    i128::from(duration.as_secs()) * 1000
}

/// Reports whether a stage ID is harmless. Lever's stage IDs are opaque and not always UUIDs, so only IDs that could do
/// harm are refused.
fn is_stage_id(id: &str) -> bool {
    (1..=128).contains(&id.chars().count()) && !id.chars().any(char::is_control)
}
