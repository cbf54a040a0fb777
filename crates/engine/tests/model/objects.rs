//! The real objects of the model's small values: Pads, the configuration, the connection, the candidate, and pads in
//! CoderPad.

use super::interned::{Interned, Table};
use super::world::{Candidate, CoderPad, Mark, Spec};
use api::configuration::DeletionPolicy;
use api::names::{self, OnceOnlyWrite, Reference};
use api::pad::{Trigger, TriggerSource};
use api::served_stage_entries::{self, Fingerprint};
use api::{LeverConnection, Pad, PadConfiguration, installation, pad_builder};
use engine::observe::stored_pad;
use engine::state::StoredPad;
use jiff::Timestamp;
use serde_json::{Value, json};
use services::coderpad::PadRecord;
use services::lever::{Opportunity, StageHistoryEntry};
use std::fmt;
use std::sync::LazyLock;

pub const NAMESPACE: &str = "hiring";
pub const CONFIGURATION: &str = "phone-screen";
pub const CONNECTION: &str = "acme";
pub const OPPORTUNITY: &str = "op-1";
pub const STAGE: &str = "stage-phone";
const TAG: &str = "coderpad";
const FAILED_TAG: &str = "pad-failed";
/// ID of another opportunity, which the API key can read.
pub const OTHER_OPPORTUNITY: &str = "op-2";
const MANUAL_NAME: &str = "by-hand";
/// Time of the first stage entry, in milliseconds since the epoch. Each repeat is one second later.
const ENTRY_MS: i64 = 1_700_000_000_000;

/// Returns the time of every status. Equal situations at different times are equal states.
pub fn now() -> Timestamp {
    Timestamp::from_millisecond(ENTRY_MS + 3_600_000).unwrap()
}

/// Returns the time of a stage entry.
pub fn entry_time(entry: u8) -> Timestamp {
    Timestamp::from_millisecond(ENTRY_MS + 1000 * i64::from(entry)).unwrap()
}

/// Returns the time since which the configuration is effective.
pub fn effective_since() -> Timestamp {
    Timestamp::from_millisecond(ENTRY_MS - 1000).unwrap()
}

/// Returns a time that identifies an attempt, a claim or a delivery.
pub fn numbered_time(number: u8) -> Timestamp {
    Timestamp::from_second(i64::from(number)).unwrap()
}

/// A Pad without its resourceVersion, with what the model reads from it.
pub struct PadObject {
    pub pad: Pad,
    /// The object as the API server stores it.
    pub json: Value,
    pub stored: StoredPad,
    /// Mark of the attempt whose outcome is not stored.
    pub attempt: Option<Mark>,
    /// The write to Lever whose outcome is not stored.
    pub claim: Option<(OnceOnlyWrite, Mark)>,
}

static PADS: Table<PadObject> = Table::new();

impl PadObject {
    pub fn intern(json: Value) -> Interned<Self> {
        let text = json.to_string();
        PADS.intern(&text, || {
            let pad: Pad = serde_json::from_value(json.clone()).unwrap();
            let stored = stored_pad(&pad, Some(&CONFIGURATION_OF_ALL));
            let attempt = stored.open_attempt().map(|attempt| Mark::parse(&attempt.to_string()));
            let claim = stored.open_claim().map(|(effect, mark)| (effect, Mark::parse(&mark)));
            Self { pad, json, stored, attempt, claim }
        })
    }

    /// Returns the Pad with this number, as the receiver or sync creates it.
    pub fn created(n: u32, uid: u8, policy: DeletionPolicy, source: TriggerSource) -> Interned<Self> {
        let at = Some(if source == TriggerSource::Webhook { effective_since() } else { now() });
        let configuration = configuration(policy, Spec::default(), &[]);
        let pad = pad_builder::pad(&configuration, OPPORTUNITY, n, Trigger { source, at });
        Self::stored_as(serde_json::to_value(pad).unwrap(), n, uid)
    }

    /// Returns the Pad as a person creates it.
    pub fn manual(uid: u8, policy: DeletionPolicy) -> Interned<Self> {
        let pad = json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad", "metadata": {"name": MANUAL_NAME},
            "spec": {
                "configurationRef": {"name": CONFIGURATION}, "opportunityID": OPPORTUNITY, "deletionPolicy": policy,
            },
        });
        Self::stored_as(pad, 1, uid)
    }

    /// Returns a Pad as the API server stores it.
    fn stored_as(mut json: Value, n: u32, uid: u8) -> Interned<Self> {
        json["metadata"]["namespace"] = json!(NAMESPACE);
        json["metadata"]["uid"] = json!(format!("uid-{uid}"));
        json["metadata"]["generation"] = json!(1);
        let created_at = Timestamp::from_second(ENTRY_MS / 1000 + i64::from(n)).unwrap();
        json["metadata"]["creationTimestamp"] = json!(created_at);
        Self::intern(json)
    }

    /// Returns a changed copy.
    pub fn with(&self, change: impl FnOnce(&mut Value)) -> Interned<Self> {
        let mut json = self.json.clone();
        change(&mut json);
        Self::intern(json)
    }

    /// Returns the copy that a person restores from a backup: another UID and no status.
    pub fn restored(&self, uid: u8, keeps_annotations: bool) -> Interned<Self> {
        self.with(|json| {
            json["metadata"]["uid"] = json!(format!("uid-{uid}"));
            let object = json.as_object_mut().unwrap();
            object.remove("status");
            if !keeps_annotations {
                let metadata = object["metadata"].as_object_mut().unwrap();
                metadata.remove("annotations");
                metadata.remove("finalizers");
            }
        })
    }
}

impl fmt::Debug for PadObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata = &self.json["metadata"];
        let StoredPad { phase, linked, deleting, finalizer, recorded, .. } = &self.stored;
        write!(
            f,
            "{} {} {phase:?} {}{}{}{}{}",
            metadata["name"],
            metadata["uid"],
            metadata.get("annotations").unwrap_or(&Value::Null),
            if *linked { " linked" } else { "" },
            if *recorded { " recorded" } else { "" },
            if *finalizer { " finalizer" } else { "" },
            if *deleting { " deleting" } else { "" },
        )
    }
}

/// The configuration, as far as the model's Pads depend on it outside a pass.
static CONFIGURATION_OF_ALL: LazyLock<PadConfiguration> =
    LazyLock::new(|| configuration(DeletionPolicy::Retain, Spec::default(), &[]));

/// Returns the configuration, whose status stores these served entries.
pub fn configuration(policy: DeletionPolicy, spec: Spec, served: &[u8]) -> PadConfiguration {
    let served = served_stage_entries::add(
        None,
        served.iter().map(|entry| Fingerprint::new(OPPORTUNITY, entry_time(*entry))),
    );
    let mut configuration = json!({
        "apiVersion": "padoperator.dev/v1alpha1", "kind": "PadConfiguration",
        "metadata": {"name": CONFIGURATION, "namespace": NAMESPACE, "uid": "configuration-1", "generation": 1},
        "spec": {
            "connectionRef": {"name": CONNECTION}, "stage": "Phone Screen", "tag": TAG, "deletionPolicy": policy,
            "repeat": "AfterEnd", "existing": "Skip",
        },
        "status": {
            "observedGeneration": 1, "stage": {"id": STAGE, "name": "Phone Screen", "named": "Phone Screen"},
            "effectiveSince": effective_since(), "existingSettledFor": effective_since(),
            "conditions": [ready()],
        },
    });
    if spec.ttl {
        configuration["spec"]["ttlSecondsAfterEnded"] = json!(0);
        configuration["spec"]["ttlSecondsAfterSkipped"] = json!(0);
    }
    if spec.failed_tag {
        configuration["spec"]["writeBack"] = json!({"tags": {"failed": FAILED_TAG}});
    }
    if let Some(served) = served {
        configuration["status"]["servedEntries"] = json!(served);
    }
    serde_json::from_value(configuration).unwrap()
}

fn ready() -> Value {
    json!({
        "type": "Ready", "status": "True", "reason": "Ready", "message": "", "observedGeneration": 1,
        "lastTransitionTime": effective_since(),
    })
}

/// Returns the connection of an installation. `pads_left` is CoderPad's quota.
pub fn connection(id: &str, take_over: Option<&str>, pads_left: Option<i64>) -> LeverConnection {
    let mut connection = json!({
        "apiVersion": "padoperator.dev/v1alpha1", "kind": "LeverConnection",
        "metadata": {
            "name": CONNECTION, "namespace": NAMESPACE, "uid": "connection-1", "generation": 1,
            "annotations": {installation::INSTALLATION: id},
        },
        "spec": {
            "lever": {"apiKeySecretRef": {"name": "lever", "key": "key"}},
            "interview": {"apiKeySecretRef": {"name": "interview", "key": "key"}, "maxPadsPerHour": 0},
            "takeOver": take_over.into_iter().collect::<Vec<_>>(),
        },
        "status": {"observedGeneration": 1, "conditions": [ready()]},
    });
    if let Some(left) = pads_left {
        connection["status"]["quota"] =
            json!({"unlimited": false, "used": 10, "limit": 10, "remaining": left});
    }
    serde_json::from_value(connection).unwrap()
}

/// Returns the ID of an installation.
pub fn installation_id(installation: u8) -> String {
    format!("{installation:016x}")
}

/// Returns the candidate as Lever returns it.
pub fn opportunity(candidate: &Candidate) -> Opportunity {
    let entered = StageHistoryEntry {
        to_stage_id: STAGE.into(),
        updated_at_ms: entry_time(candidate.entry).as_millisecond(),
    };
    Opportunity {
        id: OPPORTUNITY.into(),
        name: "Ada Lovelace".into(),
        contact: None,
        stage: if candidate.in_stage { STAGE } else { "offer" }.into(),
        stage_changes: vec![entered],
        tags: [(candidate.tagged, TAG), (candidate.flagged, FAILED_TAG)]
            .into_iter()
            .filter(|(is_on, _)| *is_on)
            .map(|(_, tag)| tag.to_owned())
            .collect(),
        links: candidate.links.iter().map(|id| url(*id)).collect(),
        archived: false,
        archived_at_ms: None,
        confidential: false,
        is_anonymized: false,
        profile_url: None,
        created_at_ms: None,
        updated_at_ms: None,
    }
}

/// Reports whether a candidate, as read, is eligible for a pad.
pub fn is_eligible(opportunity: &Opportunity) -> bool {
    opportunity.stage == STAGE && opportunity.tags.iter().any(|tag| tag == TAG)
}

/// The private notes of a pad in CoderPad.
pub struct Notes {
    pub text: String,
    /// Reference of the pad.
    pub reference: String,
    /// Number of the installation that created the pad.
    pub installation: u8,
}

static NOTES: Table<Notes> = Table::new();

impl Notes {
    pub fn intern(text: &str) -> Interned<Self> {
        NOTES.intern(text, || Self {
            text: text.to_owned(),
            reference: Reference::from_notes(text).unwrap().to_string(),
            installation: u8::from_str_radix(installation::from_notes(text).unwrap(), 16).unwrap(),
        })
    }

    /// Returns the notes of the first entry's pad.
    pub fn of_first_entry() -> Interned<Self> {
        let series = names::Series::new(NAMESPACE, CONFIGURATION, OPPORTUNITY);
        let notes = Reference::new(series, ENTRY_MS).notes("https://hire.lever.co/candidates/op-1");
        Self::intern(&installation::Installation::new(Some(installation_id(0)), []).sign(&notes))
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

/// Returns the pad as CoderPad returns it.
pub fn record(pad: &CoderPad) -> PadRecord {
    PadRecord::from_json(&json!({
        "status": "OK", "id": pad_id(pad.id), "title": "t", "state": if pad.deleted { "deleted" } else { "pending" },
        "type": "live", "url": url(pad.id), "playback": null,
        "created_at": entry_time(pad.id),
        "ended_at": pad.ended.then(|| Timestamp::from_millisecond(ENTRY_MS + 1_000_000).unwrap()),
        "notes": pad.notes.text,
    }))
    .unwrap()
}

pub fn pad_id(id: u8) -> String {
    format!("PAD{id}")
}

pub fn url(id: u8) -> String {
    format!("https://app.coderpad.io/{}", pad_id(id))
}

/// Returns the number of a pad's ID, or of the ID at the end of its URL.
pub fn pad_number(text: &str) -> u8 {
    text.rsplit('/').next().unwrap().strip_prefix("PAD").unwrap().parse().unwrap()
}
