//! The state of the model: the API server, the operator's processes, CoderPad and Lever, as small values that can be
//! compared and hashed. A time is the number of remaining ticks, so that equal situations are equal states.

use super::interned::Interned;
use super::objects::{Notes, PadObject};
use super::pass::PassState;
use api::configuration::DeletionPolicy;
use api::names::{Claim, CreateIntent, OnceOnlyWrite};

/// Maximum number of ticks between the mark of a request and the request. The process drops a request that is later.
pub const SEND_DEADLINE_TICKS: u8 = 1;
/// Maximum duration of a POST to CoderPad, in ticks.
pub const CREATE_TICKS: u8 = 1;
/// Maximum delay, in ticks, between the end of a POST and the appearance of its pad in CoderPad's lists.
pub const LIST_LAG_TICKS: u8 = 1;
/// Maximum duration of a write to Lever, in ticks.
pub const LEVER_WRITE_TICKS: u8 = 1;
/// Number of Pads that can exist at the same time: `...-1` and `...-2` of the one candidate, or one in each cluster.
pub const SLOTS: usize = 2;

/// A process, and the slot of the Pad that it reconciles.
pub type At = (usize, usize);

/// A version of a Pad in the API server, or a copy of one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct StoredObject {
    pub pad: Interned<PadObject>,
    /// The resourceVersion. Only the order of versions matters.
    pub version: u8,
}

/// The mark of a request, which the Pad stores before the request is sent.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Mark {
    /// The annotation `padoperator.dev/attempt`, with a number that is unique among attempts.
    Attempt(u8),
    /// The annotation `padoperator.dev/pad-id`, which claims the link.
    PadId(u8),
    /// The annotation `padoperator.dev/claim`, with a number that is unique among claims.
    Claim(u8),
}

impl Mark {
    /// Parses the text of a mark.
    pub fn parse(text: &str) -> Self {
        let number = |at: &str| u8::try_from(at.parse::<jiff::Timestamp>().unwrap().as_second()).unwrap();
        match (CreateIntent::parse(text), Claim::parse(text)) {
            (Some(attempt), _) => Mark::Attempt(number(&attempt.at)),
            (None, Some(claim)) => Mark::Claim(number(&claim.at)),
            (None, None) => Mark::PadId(super::objects::pad_number(text)),
        }
    }
}

/// The candidate in Lever, or a copy that a pass read.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Candidate {
    pub in_stage: bool,
    pub tagged: bool,
    /// Whether the candidate carries `tags.failed`.
    pub flagged: bool,
    /// Whether the opportunity is confidential: Lever answers 403 to each request for it.
    pub confidential: bool,
    /// Number of the last entry into the stage.
    pub entry: u8,
    /// Pads whose links are on the candidate, in the order in which they were added. A list, so that duplicates are
    /// visible.
    pub links: Vec<u8>,
    /// Pads that have a note, in the order in which the notes were written. A list, so that duplicates are visible.
    pub notes: Vec<u8>,
}

impl Candidate {
    pub fn is_eligible(&self) -> bool {
        self.in_stage && self.tagged && !self.confidential
    }
}

/// A pad in CoderPad, or a copy that a pass read.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CoderPad {
    pub id: u8,
    /// The private notes, which contain the reference and the installation.
    pub notes: Interned<Notes>,
    pub deleted: bool,
    /// Whether the interview has ended.
    pub ended: bool,
    /// Number of ticks until every list contains the pad; None if every list contains it already. Until then, a search
    /// may or may not return it.
    pub unlisted: Option<u8>,
}

/// A POST in flight.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CreateRequest {
    pub attempt: u8,
    pub notes: Interned<Notes>,
    /// Process and slot that wait for the answer.
    pub owner: Option<At>,
    /// The pad, as soon as the POST took effect.
    pub pad: Option<u8>,
    /// Number of ticks until the POST has taken effect and the lists contain its pad, unless it never takes effect.
    pub left: u8,
}

/// A write to Lever in flight.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct LeverRequest {
    pub effect: OnceOnlyWrite,
    pub pad: u8,
    pub owner: Option<At>,
    pub done: bool,
    pub left: u8,
}

/// A process's memory of a request: the table of `in_flight.rs`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RequestMemory {
    CompletesIn(u8),
    NotSent,
}

/// The state of a request as a pass observes it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Observed {
    InFlight,
    Completed,
    NotSent,
}

/// A version of the Pad that a command has written or read, with the requests that it records.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ObservedPad {
    pub pad: Interned<PadObject>,
    /// State of the attempt; NotSent if there is none.
    pub attempt: Observed,
    /// State of the claimed write to Lever; NotSent if there is none.
    pub claim: Observed,
}

/// The request that a pass waits for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum PendingRequest {
    Nothing,
    /// The attempt is recorded. The POST is sent within `left` ticks or not at all.
    Unsent {
        left: u8,
        attempt: u8,
    },
    Create {
        attempt: u8,
    },
    LeverWrite(OnceOnlyWrite),
}

/// A pass of a process over one Pad.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ModelPass {
    /// The real state of the pass.
    pub state: Interned<PassState>,
    /// The Pad, as last read or written.
    pub object: StoredObject,
    /// The last version that the running command has written or read.
    pub stored: Option<ObservedPad>,
    pub request: PendingRequest,
    /// Number of ticks within which the claimed write must be sent. The process drops a write that is later.
    pub send_within: Option<u8>,
}

/// A list of the stage that a process has read and not applied yet.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct StageList {
    /// The entry of the candidate, if the list contains the candidate.
    pub entry: Option<u8>,
    /// The served entries in the configuration's status at that time.
    pub served: Vec<u8>,
    /// The Pads in the cache at that time. A Pad that has changed since is not deleted after its TTL.
    pub pads: [Option<Interned<PadObject>>; SLOTS],
}

/// A process of the operator.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Process {
    /// Last state that the watch has delivered.
    pub cache: [Option<StoredObject>; SLOTS],
    /// Version of the last write of this process; 0 if there is none.
    pub written: [u8; SLOTS],
    pub passes: [Option<ModelPass>; SLOTS],
    /// Memory of requests, by their marks.
    pub requests: Vec<(Mark, RequestMemory)>,
    /// Pads that sync or another Pad asked to be judged.
    pub judge: [bool; SLOTS],
    /// Pads whose TTL has passed, and whose candidate sync has not found.
    pub expired: [bool; SLOTS],
    /// Linked pads of other Pads that a pass has read.
    pub links_checked: Vec<u8>,
    pub list: Option<StageList>,
    /// Deliveries that the process has received. Only the mutant that deduplicates by delivery ID uses them.
    pub received: Vec<u8>,
}

/// A webhook delivery of Lever.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Delivery {
    pub answered: bool,
    pub stored: bool,
    /// Whether it was stored before the last change of the candidate. Repeating it changes nothing (contract P3c).
    pub old: bool,
}

/// Whether CoderPad's quota and the hourly limit permit another pad.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Limit {
    Free,
    NoQuota,
    HourFull,
}

/// The objects in a backup of the cluster.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Backup {
    pub objects: [Option<StoredObject>; SLOTS],
    pub served: Vec<u8>,
}

/// The remaining number of each kind of fault. It bounds the model.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FaultBudget {
    /// Number of crashes of a process.
    pub crashes: u8,
    /// Number of handovers: another process becomes the leader while the former leader finishes its pass.
    pub handovers: u8,
    /// Number of lost answers of CoderPad, and of requests that never take effect.
    pub creates: u8,
    /// Number of creations that CoderPad refuses.
    pub refusals: u8,
    /// Number of times that other Pads use up the quota or the hourly limit.
    pub limits: u8,
    /// Number of lost answers and of requests without effect for links and notes in Lever.
    pub writes: u8,
    /// Number of lost answers of the API server to a write that took effect.
    pub api_answers: u8,
    /// Number of reads of the candidate that lack the link of the own pad.
    pub stale_reads: u8,
    /// Number of wrong answers 404 to a read or a write. The next read is answered correctly.
    pub missing: u8,
    /// Number of times that the opportunity becomes confidential, or accessible again.
    pub confidences: u8,
    /// Number of reconciles of a failed Pad that a person requests.
    pub retries: u8,
    /// Number of deliveries that are not stored, or whose answer is lost.
    pub deliveries: u8,
    /// Number of repeated deliveries.
    pub repeats: u8,
    /// Number of scans of sync whose list is older than the rest.
    pub slow_scans: u8,
    /// Number of changes of the candidate's stage and tag.
    pub moves: u8,
    /// Number of restores of the Pad from a current backup: another UID, no status.
    pub restores: u8,
    /// Number of times a person creates the Pad again: no status and no annotations. Nothing is in flight at that time.
    pub recreations: u8,
    /// Number of backups of the cluster, and of restores of a backup.
    pub backups: u8,
    /// Number of deletions of the Pad.
    pub deletions: u8,
    /// Number of links that a person removes.
    pub unlinks: u8,
    /// Number of interviews that end.
    pub ends: u8,
}

/// No faults.
pub const NONE: FaultBudget = FaultBudget {
    crashes: 0,
    handovers: 0,
    creates: 0,
    refusals: 0,
    limits: 0,
    writes: 0,
    api_answers: 0,
    stale_reads: 0,
    missing: 0,
    confidences: 0,
    retries: 0,
    deliveries: 0,
    repeats: 0,
    slow_scans: 0,
    moves: 0,
    restores: 0,
    recreations: 0,
    backups: 0,
    deletions: 0,
    unlinks: 0,
    ends: 0,
};

/// A state of the model.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ModelState {
    pub objects: [Option<StoredObject>; SLOTS],
    pub processes: Vec<Process>,
    pub leader: usize,
    pub creates: Vec<CreateRequest>,
    pub lever_writes: Vec<LeverRequest>,
    pub pads: Vec<CoderPad>,
    pub candidate: Candidate,
    pub limit: Limit,
    /// Pads whose links were on the candidate at any time.
    pub ever_linked: Vec<u8>,
    /// Entries that the configuration's status stores as served.
    pub served: Vec<u8>,
    pub backup: Option<Backup>,
    pub deliveries: Vec<Delivery>,
    pub left: FaultBudget,
    pub uids: u8,
    /// Whether a process requested a pad although the candidate, as read, was not eligible.
    pub created_ineligible: bool,
    /// Whether an installation has adopted, unlinked or deleted a pad of the other installation.
    pub touched_foreign: bool,
    /// Whether the receiver has answered a new delivery with 2xx since the last change of the candidate or the last
    /// deletion of a Pad.
    pub delivery_answered: bool,
}

/// The Pad at the beginning of a scenario.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InitialPad {
    /// There is no Pad. The first delivery is in flight.
    Absent,
    /// A person has created the Pad. There is no delivery.
    Manual,
    /// The pad's ID is stored. The process that stored it has crashed.
    Stored,
    /// The Pad is Open, and its pad is linked.
    Open,
}

/// Optional parts of the configuration's spec.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Spec {
    /// Whether skipped and ended Pads are deleted as soon as the candidate has left the stage.
    pub ttl: bool,
    /// Whether `tags.failed` is set. CoderPad then refuses a creation as invalid, so that the Pad fails.
    pub failed_tag: bool,
}

/// A scenario, with a mutant of the operator if `mutant` is set.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub processes: usize,
    pub faults: FaultBudget,
    pub policy: DeletionPolicy,
    pub spec: Spec,
    /// Whether each process is a separate installation in a separate cluster. Process n has the Pad in slot n.
    pub two_clusters: bool,
    /// Whether every process always acts as the leader.
    pub all_lead: bool,
    /// Whether sync scans the stage.
    pub sync: bool,
    /// Whether a process may be delayed between a claim and the claimed write to Lever.
    pub delayed_sends: bool,
    /// Whether a link or note may appear after its write failed for the operator.
    pub late_writes: bool,
    /// Whether a Pad may lose its attempt while the creation of its pad is in flight, or before its link.
    pub early_restore: bool,
    /// Whether the opportunity may become confidential while the Pad does not store that its link was added.
    pub early_confidence: bool,
    /// Whether Lever may repeat a stored delivery while a later delivery is pending.
    pub old_hides_new: bool,
    pub initial: InitialPad,
    pub mutant: Option<Mutant>,
}

impl Scenario {
    pub fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Returns the installation of a process.
    pub fn installation(&self, process: usize) -> u8 {
        if self.two_clusters { u8::try_from(process).unwrap() } else { 0 }
    }
}

/// A mutant of the protocol. The model must find each of them. Each is a switch around the real code: a write that is
/// skipped, an answer that is misread, or an input that is missing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Mutant {
    NoAttempt,
    NoWait,
    BlindRetry,
    AttemptWithoutConflict,
    LinkBeforeStore,
    StoreNotExclusive,
    WriteWithoutClaim,
    LateWrite,
    DeliveryIds,
    ReferenceFromUid,
    ClockOfTheMark,
    /// No list of served entries. Only the Pad and the link show that an entry had its pad.
    ForgetServed,
    /// Sync does not create Pads.
    SyncCreatesNothing,
    /// The pads of the other installation count as own pads.
    MixedInstallations,
    /// No process checks for a rival pad after it has added its own link.
    NoOwnershipCheck,
    /// A 404 is believed at once: the read that confirms it returns the same answer.
    BelievedMissing,
    /// A Pad is deleted after its TTL, although it has changed since it was read.
    ExpiredWithoutConflict,
    /// A failure tag is not removed.
    KeptTag,
}
