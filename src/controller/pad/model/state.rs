//! One moment of the model: the API server, the operator's processes, CoderPad and Lever, as small values that can be
//! compared and hashed. Times are counts of ticks that are still left, so that equal situations are equal states.

use crate::api::configuration::DeletionPolicy;
use crate::api::names::OnceOnlyWrite;

/// A POST leaves within this many ticks of its intention, or not at all.
pub const LEAVES: u8 = 1;
/// A POST that was sent has an end within this many ticks.
pub const CREATE: u8 = 1;
/// A pad is in CoderPad's lists this many ticks after the end of its POST, at the latest.
pub const LAG: u8 = 1;
/// A write to Lever has an end within this many ticks.
pub const WRITE: u8 = 1;
/// How many names there are for Pads of the one candidate: `...-1` and `...-2`.
pub const SLOTS: usize = 2;

/// What a Pad's status says.
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
    /// Two attempts never share it.
    pub id: u8,
    /// The stage entry that the pad is for.
    pub entry: u8,
}

/// What a write to Lever is known by: the annotation `padoperator.dev/claim`, or the stored id, which claims the link.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ClaimMark {
    Pad(u8),
    /// Two claims never share it.
    Claim(u8),
}

/// The annotation `padoperator.dev/claim`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Claim {
    pub id: u8,
    pub effect: OnceOnlyWrite,
}

/// A Pad in the API server, or a copy of it.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Object {
    pub uid: u8,
    /// The resourceVersion; only its order counts.
    pub version: u8,
    pub deleting: bool,
    pub finalizer: bool,
    pub attempt: Option<Intention>,
    pub pad: Option<u8>,
    pub claim: Option<Claim>,
    /// Whether its pad gives way to that of the other installation.
    pub yields: bool,
    pub phase: Option<Mark>,
    pub linked: bool,
    /// Whether the note is settled.
    pub recorded: bool,
    /// The number of the delivery in `reconcile-requested-at`; 0: none.
    pub asked: u8,
    /// The same in the status.
    pub handled: u8,
}

impl Object {
    /// What the real `StoredPad::open_claim` says.
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

/// The candidate in Lever, or what was read of it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Person {
    pub in_stage: bool,
    pub tagged: bool,
    /// The number of the last entry into the stage.
    pub entry: u8,
    /// The pads whose links are on the candidate, in the order in which they were added: twice is visible.
    pub links: Vec<u8>,
    /// The pads of which there is a note, in the order in which they were written: twice is visible.
    pub notes: Vec<u8>,
}

impl Person {
    pub fn qualifies(&self) -> bool {
        self.in_stage && self.tagged
    }
}

/// A pad at CoderPad, or what was read of it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CoderPad {
    pub id: u8,
    pub entry: u8,
    /// What else its reference was made from; 0 but for the variant that makes references from the uid.
    pub salt: u8,
    /// The installation that created it.
    pub installation: u8,
    pub deleted: bool,
    /// The interview is over.
    pub ended: bool,
    /// Ticks until it is in the lists for certain; None: it is. Before, each search may show it or not.
    pub unlisted: Option<u8>,
}

/// A POST that was sent.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Flight {
    pub attempt: u8,
    pub entry: u8,
    pub salt: u8,
    pub installation: u8,
    /// The process and the slot that wait for the answer.
    pub owner: Option<(usize, usize)>,
    /// The pad, once it took effect.
    pub pad: Option<u8>,
    /// Ticks until it has taken effect and is in the lists, if ever.
    pub left: u8,
}

/// A write to Lever that was sent.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct LeverFlight {
    pub effect: OnceOnlyWrite,
    pub pad: u8,
    pub owner: Option<(usize, usize)>,
    pub done: bool,
    pub left: u8,
}

/// What a process remembers of an attempt.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Seen {
    Lands(u8),
    WithoutEffect,
}

/// The pad at CoderPad, as a pass knows it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum RecordKnown {
    NotRead,
    NotFound,
    Read(CoderPad),
}

/// The attempt's outcome, as a pass knows it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum FlightKnown {
    MayStillLand {
        /// Whether this pass has searched for its pad, in vain.
        searched: bool,
    },
    Landed,
    Searched(Vec<CoderPad>),
    WithoutEffect,
}

/// What a pass knows of the last claimed write.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ClaimedKnown {
    Nothing,
    MayStillLand,
    Ours(OnceOnlyWrite),
}

/// What a pass knows of the note.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum NoteKnown {
    NotRead,
    Absent,
    Written,
}

/// What stopped a pass.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Stopped {
    Conflict,
    NotSent,
    CreateUnknown,
    WriteNotSent,
    WriteUnknown,
}

/// All that the plan is given: this is turned into the real `PadState`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Known {
    pub object: Object,
    pub person: Option<Person>,
    /// The entries that the configuration knows to be served.
    pub served: Vec<u8>,
    pub served_stored: bool,
    pub record: RecordKnown,
    pub flight: FlightKnown,
    pub claimed: ClaimedKnown,
    pub another_goes: bool,
    /// The installation that the process belongs to.
    pub installation: u8,
    pub linked_before: Option<Vec<CoderPad>>,
    pub links_read: Vec<u8>,
    /// Sync has seen a link of the other installation.
    pub rivals: bool,
    /// Whether the events of the pad were read: nobody joins.
    pub events: bool,
    pub link_written: bool,
    /// Sync has seen that the interview is over.
    pub look: bool,
    pub note: NoteKnown,
    pub deleted: Vec<u8>,
    pub stopped: Option<Stopped>,
}

/// What a pass waits for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Waits {
    Nothing,
    /// The intention is written; the POST leaves within so many ticks or not at all.
    ToSend {
        left: u8,
        attempt: Intention,
    },
    Create,
    Write(OnceOnlyWrite),
}

/// One pass over one Pad in a process.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Pass {
    pub known: Known,
    pub waits: Waits,
    /// The write that was claimed leaves within so many ticks or not at all.
    pub departs: Option<u8>,
}

/// One process of the operator.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Process {
    /// What its watch has told of last.
    pub cache: [Option<Object>; SLOTS],
    /// The version that it has written last; 0: none.
    pub written: [u8; SLOTS],
    pub passes: [Option<Pass>; SLOTS],
    /// By the attempt's number.
    pub seen: Vec<(u8, Seen)>,
    /// The writes to Lever.
    pub claims: Vec<(ClaimMark, Seen)>,
    /// Linked pads of the other installation that were looked at.
    pub looked: Vec<u8>,
    /// Deliveries that it has heard of: only the variant that tells deliveries by their id looks at it.
    pub heard: Vec<u8>,
}

/// A delivery of Lever.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Delivery {
    pub answered: bool,
    pub stored: bool,
    /// It was stored before the candidate last changed: to repeat it changes nothing (contract, When a pad is made, 3).
    pub old: bool,
}

/// What trouble may still come. Bounds the model.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Trouble {
    /// Crashes of a process.
    pub crashes: u8,
    /// Another process comes to lead while the one before still finishes its pass.
    pub handovers: u8,
    /// Answers of CoderPad that get lost, and requests that it never acts on.
    pub creates: u8,
    /// The same for links and notes at Lever.
    pub writes: u8,
    /// Deliveries that are not stored, or whose answer gets lost.
    pub deliveries: u8,
    /// Deliveries that come again.
    pub repeats: u8,
    /// Changes of the candidate's stage and tag.
    pub moves: u8,
    /// The Pad comes back from a backup: another uid, no status.
    pub restores: u8,
    /// The Pad is made anew by hand: no status and no annotations. Nothing is in flight then.
    pub recreations: u8,
    /// The Pad is deleted.
    pub deletions: u8,
    /// An interview comes to its end.
    pub ends: u8,
}

/// One moment of the whole.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    pub objects: [Option<Object>; SLOTS],
    pub processes: Vec<Process>,
    pub leader: usize,
    pub flights: Vec<Flight>,
    pub lever_flights: Vec<LeverFlight>,
    pub pads: Vec<CoderPad>,
    pub person: Person,
    /// The pads whose links were ever on the candidate.
    pub ever_linked: Vec<u8>,
    /// The entries that the configuration's status stores as served.
    pub served: Vec<u8>,
    pub deliveries: Vec<Delivery>,
    pub left: Trouble,
    pub uids: u8,
    /// A pad was asked for although the candidate, as read, did not qualify.
    pub unqualified: bool,
    /// An installation has adopted, unlinked or deleted a pad of the other.
    pub touched: bool,
    /// Since the candidate last changed, or a Pad was deleted, a new delivery was answered with 2xx.
    pub told: bool,
}

/// How far the Pad is when a world begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Begins {
    /// There is none: the first delivery is on its way.
    Unknown,
    /// The pad's id is stored; whoever has stored it is dead.
    Stored,
    /// It is Open, and the pad linked.
    Open,
}

/// The kind of world, and which wrong variant of the operator is at work in it, if any.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub processes: usize,
    pub trouble: Trouble,
    pub policy: DeletionPolicy,
    /// Each process is an installation of its own, with a cluster of its own: process n has the Pad of slot n.
    pub apart: bool,
    /// Every process believes that it leads, all the time.
    pub all_lead: bool,
    /// A process may be held up between a claim and the write to Lever that it is for.
    pub frozen: bool,
    /// A link or note may appear after the operator has been told that writing it failed.
    pub late_writes: bool,
    /// A Pad may lose its annotations while its pad is being made.
    pub old_backup: bool,
    /// A delivery that was stored already may come again while a later one still waits to be judged.
    pub old_hides_new: bool,
    /// How far the Pad is when it begins.
    pub begins: Begins,
    pub wrong: Option<Wrong>,
}

/// A wrong way to do it: each must be found.
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
    /// That an entry had its pad is known by its Pad and its link alone.
    ForgetServed,
    /// The pads of the other installation count as own.
    NoInstallations,
    /// Nobody looks again once its own link is added.
    NoContest,
}
