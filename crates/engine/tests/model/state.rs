//! The state of the model: the API server, the operator's processes, CoderPad and Lever, as small values that can be
//! compared and hashed. A time is the number of remaining ticks, so that equal situations are equal states.

use api::configuration::DeletionPolicy;
use api::names::OnceOnlyWrite;

/// Maximum number of ticks between an intention and its POST. The process drops a POST that is later.
pub const LEAVES: u8 = 1;
/// Maximum duration of a POST, in ticks.
pub const CREATE: u8 = 1;
/// Maximum delay, in ticks, between the end of a POST and the appearance of its pad in CoderPad's lists.
pub const LIST_LAG_TICKS: u8 = 1;
/// Maximum duration of a write to Lever, in ticks.
pub const WRITE: u8 = 1;
/// Number of names for Pads of the one candidate: `...-1` and `...-2`.
pub const SLOTS: usize = 2;

/// A phase in a Pad's status.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Mark {
    Pending,
    Open,
    Skipped,
    Failed,
    Ended,
}

/// The annotation `padoperator.dev/attempt`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Intention {
    /// Number that is unique among attempts.
    pub id: u8,
    /// Stage entry for which the pad is created.
    pub entry: u8,
}

/// The key of a write to Lever: the annotation `padoperator.dev/claim`, or the stored pad ID, which claims the link.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ClaimMark {
    Pad(u8),
    /// Number that is unique among claims.
    Claim(u8),
}

/// The annotation `padoperator.dev/claim`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ModelClaim {
    pub id: u8,
    pub effect: OnceOnlyWrite,
}

/// A Pad in the API server, or a copy of one.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Object {
    pub uid: u8,
    /// The resourceVersion. Only the order of versions matters.
    pub version: u8,
    pub deleting: bool,
    pub finalizer: bool,
    pub attempt: Option<Intention>,
    pub pad: Option<u8>,
    pub claim: Option<ModelClaim>,
    /// Whether its pad yields to the pad of the other installation.
    pub yields: bool,
    pub phase: Option<Mark>,
    pub linked: bool,
    /// Whether the note is settled.
    pub recorded: bool,
    /// Number of the delivery in `reconcile-requested-at`; 0 if there is none.
    pub asked: u8,
    /// Number of the last handled delivery in the status; 0 if there is none.
    pub handled: u8,
}

impl Object {
    /// Returns the same claim as the real `StoredPad::open_claim`.
    pub fn open_claim(&self) -> Option<(OnceOnlyWrite, ClaimMark)> {
        if !self.is_linked() {
            let pad = self.pad?;
            let mark = self.claim.map_or(ClaimMark::Pad(pad), |claim| ClaimMark::Claim(claim.id));
            return Some((OnceOnlyWrite::Link, mark));
        }
        let claim = self.claim.filter(|claim| claim.effect == OnceOnlyWrite::Note && !self.recorded)?;
        Some((OnceOnlyWrite::Note, ClaimMark::Claim(claim.id)))
    }

    pub fn is_linked(&self) -> bool {
        self.linked || self.claim.is_some_and(|claim| claim.effect == OnceOnlyWrite::Note)
    }
}

/// The candidate in Lever, or a copy that a pass read.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Person {
    pub in_stage: bool,
    pub tagged: bool,
    /// Number of the last entry into the stage.
    pub entry: u8,
    /// Pads whose links are on the candidate, in the order in which they were added. A list, so that duplicates are
    /// visible.
    pub links: Vec<u8>,
    /// Pads that have a note, in the order in which the notes were written. A list, so that duplicates are visible.
    pub notes: Vec<u8>,
}

impl Person {
    pub fn qualifies(&self) -> bool {
        self.in_stage && self.tagged
    }
}

/// A pad in CoderPad, or a copy that a pass read.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CoderPad {
    pub id: u8,
    pub entry: u8,
    /// Additional input of its reference. It is 0 except in the mutant that derives references from the UID.
    pub salt: u8,
    /// Installation that created the pad.
    pub installation: u8,
    pub deleted: bool,
    /// Whether the interview has ended.
    pub ended: bool,
    /// Number of ticks until every list contains the pad; None if every list contains it already. Until then, a search
    /// may or may not return it.
    pub unlisted: Option<u8>,
}

/// A POST in flight.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Flight {
    pub attempt: u8,
    pub entry: u8,
    pub salt: u8,
    pub installation: u8,
    /// Process and slot that wait for the answer.
    pub owner: Option<(usize, usize)>,
    /// The pad, as soon as the POST took effect.
    pub pad: Option<u8>,
    /// Number of ticks until the POST has taken effect and the lists contain its pad, unless it never takes effect.
    pub left: u8,
}

/// A write to Lever in flight.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct LeverFlight {
    pub effect: OnceOnlyWrite,
    pub pad: u8,
    pub owner: Option<(usize, usize)>,
    pub done: bool,
    pub left: u8,
}

/// A process's memory of an attempt or a claim.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Seen {
    Lands(u8),
    WithoutEffect,
}

/// The pad in CoderPad, as far as a pass has read it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum RecordKnown {
    NotRead,
    NotFound,
    Read(CoderPad),
}

/// The outcome of the attempt, as far as a pass has observed it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum FlightKnown {
    MayStillLand {
        /// Whether this pass has searched for the pad without a result.
        searched: bool,
    },
    Landed,
    Searched(Vec<CoderPad>),
    WithoutEffect,
}

/// The state of the last claimed write, as far as a pass has observed it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ClaimedKnown {
    Nothing,
    MayStillLand,
    Ours(OnceOnlyWrite),
}

/// The note, as far as a pass has read it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum NoteKnown {
    NotRead,
    Absent,
    Written,
}

/// A reason that stopped a pass.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Stopped {
    Conflict,
    NotSent,
    CreateUnknown,
    WriteNotSent,
    WriteUnknown,
}

/// The input of the rules. The adapter converts it to the real `PadState`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Known {
    pub object: Object,
    pub person: Option<Person>,
    /// Served entries in the configuration's status.
    pub served: Vec<u8>,
    pub served_stored: bool,
    pub record: RecordKnown,
    pub flight: FlightKnown,
    pub claimed: ClaimedKnown,
    pub another_goes: bool,
    /// Installation of the process.
    pub installation: u8,
    pub linked_before: Option<Vec<CoderPad>>,
    pub links_read: Vec<u8>,
    /// Whether sync has found a link of the other installation.
    pub rivals: bool,
    /// Whether the events of the pad were read. In the model, nobody joins an interview.
    pub events: bool,
    pub link_written: bool,
    /// Whether sync has found that the interview has ended.
    pub look: bool,
    pub note: NoteKnown,
    pub deleted: Vec<u8>,
    pub stopped: Option<Stopped>,
}

/// The request that a pass waits for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Waits {
    Nothing,
    /// The intention is written. The POST leaves within `left` ticks or not at all.
    ToSend {
        left: u8,
        attempt: Intention,
    },
    Create,
    Write(OnceOnlyWrite),
}

/// A pass of a process over one Pad.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ModelPass {
    pub known: Known,
    pub waits: Waits,
    /// Number of ticks within which the claimed write must leave. The process drops a write that is later.
    pub departs: Option<u8>,
}

/// A process of the operator.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Process {
    /// Last state that the watch has delivered.
    pub cache: [Option<Object>; SLOTS],
    /// Version of the last write of this process; 0 if there is none.
    pub written: [u8; SLOTS],
    pub passes: [Option<ModelPass>; SLOTS],
    /// Memory of attempts, by the number of the attempt.
    pub seen: Vec<(u8, Seen)>,
    /// Memory of writes to Lever, by their claim.
    pub claims: Vec<(ClaimMark, Seen)>,
    /// Linked pads of the other installation that a pass has read.
    pub looked: Vec<u8>,
    /// Deliveries that the process has received. Only the mutant that deduplicates by delivery ID uses them.
    pub heard: Vec<u8>,
}

/// A webhook delivery of Lever.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Delivery {
    pub answered: bool,
    pub stored: bool,
    /// Whether it was stored before the last change of the candidate. Repeating it changes nothing (contract P3c).
    pub old: bool,
}

/// The remaining number of each kind of fault. It bounds the model.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct FaultBudget {
    /// Number of crashes of a process.
    pub crashes: u8,
    /// Number of handovers: another process becomes the leader while the former leader finishes its pass.
    pub handovers: u8,
    /// Number of lost answers of CoderPad, and of requests that never take effect.
    pub creates: u8,
    /// Number of lost answers and of requests without effect for links and notes in Lever.
    pub writes: u8,
    /// Number of deliveries that are not stored, or whose answer is lost.
    pub deliveries: u8,
    /// Number of repeated deliveries.
    pub repeats: u8,
    /// Number of changes of the candidate's stage and tag.
    pub moves: u8,
    /// Number of restores of the Pad from a backup: another UID, no status.
    pub restores: u8,
    /// Number of times a person creates the Pad again: no status and no annotations. Nothing is in flight at that time.
    pub recreations: u8,
    /// Number of deletions of the Pad.
    pub deletions: u8,
    /// Number of interviews that end.
    pub ends: u8,
}

/// A state of the model.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ModelState {
    pub objects: [Option<Object>; SLOTS],
    pub processes: Vec<Process>,
    pub leader: usize,
    pub flights: Vec<Flight>,
    pub lever_flights: Vec<LeverFlight>,
    pub pads: Vec<CoderPad>,
    pub person: Person,
    /// Pads whose links were on the candidate at any time.
    pub ever_linked: Vec<u8>,
    /// Entries that the configuration's status stores as served.
    pub served: Vec<u8>,
    pub deliveries: Vec<Delivery>,
    pub left: FaultBudget,
    pub uids: u8,
    /// Whether a process requested a pad although the candidate, as read, was not eligible.
    pub unqualified: bool,
    /// Whether an installation has adopted, unlinked or deleted a pad of the other installation.
    pub touched: bool,
    /// Whether the receiver has answered a new delivery with 2xx since the last change of the candidate or the last
    /// deletion of a Pad.
    pub told: bool,
}

/// The progress of the Pad at the beginning of a scenario.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Begins {
    /// There is no Pad. The first delivery is in flight.
    Unknown,
    /// The pad's ID is stored. The process that stored it has crashed.
    Stored,
    /// The Pad is Open, and its pad is linked.
    Open,
}

/// A scenario, with a mutant of the operator if `wrong` is set.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub processes: usize,
    pub faults: FaultBudget,
    pub policy: DeletionPolicy,
    /// Whether each process is a separate installation in a separate cluster. Process n has the Pad in slot n.
    pub apart: bool,
    /// Whether every process always acts as the leader.
    pub all_lead: bool,
    /// Whether a process may be delayed between a claim and the claimed write to Lever.
    pub frozen: bool,
    /// Whether a link or note may appear after its write failed for the operator.
    pub late_writes: bool,
    /// Whether a Pad may lose its annotations while the creation of its pad is in flight.
    pub old_backup: bool,
    /// Whether Lever may repeat a stored delivery while a later delivery is pending.
    pub old_hides_new: bool,
    /// Progress of the Pad at the beginning.
    pub begins: Begins,
    pub wrong: Option<Wrong>,
}

/// A mutant of the protocol. The model must find each of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wrong {
    NoIntention,
    NoWait,
    BlindRetry,
    IntentionWithoutConflict,
    LinkBeforeStore,
    WriteWithoutClaim,
    LateWrite,
    DeliveryIds,
    ReferenceFromUid,
    IntentionsClock,
    /// No list of served entries. Only the Pad and the link show that an entry had its pad.
    ForgetServed,
    /// The pads of the other installation count as own pads.
    NoInstallations,
    /// No process checks for a rival pad after it has added its own link.
    NoContest,
}
