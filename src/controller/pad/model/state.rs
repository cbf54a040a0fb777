//! One moment of the model: the API server, the operator's processes, CoderPad and Lever, as small values that can be
//! compared and hashed. Times are counts of ticks that are still left, so that equal situations are equal states.

use crate::api::configuration::DeletionPolicy;

/// A POST leaves within this many ticks of its intention, or not at all.
pub const LEAVES: u8 = 1;
/// A POST that was sent has an end within this many ticks.
pub const CREATE: u8 = 1;
/// A pad is in CoderPad's lists this many ticks after the end of its POST, at the latest.
pub const LAG: u8 = 1;
/// A request to add a link has an end within this many ticks.
pub const LINK: u8 = 1;
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
    pub phase: Option<Mark>,
    pub linked: bool,
    /// The number of the delivery in `reconcile-requested-at`; 0: none.
    pub asked: u8,
    /// The same in the status.
    pub handled: u8,
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
    pub deleted: bool,
    /// Ticks until it is in the lists for certain; None: it is. Before, each search may show it or not.
    pub unlisted: Option<u8>,
}

/// A POST that was sent.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Flight {
    pub attempt: u8,
    pub entry: u8,
    pub salt: u8,
    /// The process and the slot that wait for the answer.
    pub owner: Option<(usize, usize)>,
    /// The pad, once it took effect.
    pub pad: Option<u8>,
    /// Ticks until it has taken effect and is in the lists, if ever.
    pub left: u8,
}

/// A request to add a link that was sent.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct LinkFlight {
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
    MayStillLand,
    Landed,
    Searched(Vec<CoderPad>),
    WithoutEffect,
}

/// What stopped a pass.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Stopped {
    Conflict,
    NotSent,
    CreateUnknown,
    LinkUnknown,
}

/// All that the plan is given: this is turned into the real `Facts`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Known {
    pub object: Object,
    pub person: Option<Person>,
    pub record: RecordKnown,
    pub flight: FlightKnown,
    pub link_flight: bool,
    pub another_in_flight: bool,
    pub linked_before: Option<Vec<CoderPad>>,
    pub link_written: bool,
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
    Link,
}

/// One pass over one Pad in a process.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Pass {
    pub known: Known,
    pub waits: Waits,
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
    /// Ticks until another's link must have landed, by pad.
    pub links: Vec<(u8, u8)>,
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
    /// The same for links at Lever.
    pub links: u8,
    /// Deliveries that are not stored, or whose answer gets lost.
    pub deliveries: u8,
    /// Deliveries that come again.
    pub repeats: u8,
    /// Changes of the candidate's stage and tag.
    pub moves: u8,
    /// The Pad comes back from a backup: another uid, no status.
    pub restores: u8,
    /// The Pad is made anew by hand: no status and no annotations.
    pub recreations: u8,
    /// The Pad is deleted.
    pub deletions: u8,
}

/// One moment of the whole.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    pub objects: [Option<Object>; SLOTS],
    pub processes: Vec<Process>,
    pub leader: usize,
    pub flights: Vec<Flight>,
    pub link_flights: Vec<LinkFlight>,
    pub pads: Vec<CoderPad>,
    pub person: Person,
    pub deliveries: Vec<Delivery>,
    pub left: Trouble,
    pub uids: u8,
    /// A pad was asked for although the candidate, as read, did not qualify.
    pub unqualified: bool,
    /// Since the candidate last changed, or a Pad was deleted, a new delivery was answered with 2xx.
    pub told: bool,
}

/// The kind of world, and which wrong variant of the operator is at work in it, if any.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub processes: usize,
    pub trouble: Trouble,
    pub policy: DeletionPolicy,
    /// Every process believes that it leads, all the time.
    pub all_lead: bool,
    /// Time may pass between the storing of a pad's id and the sending of its link.
    pub slow_link: bool,
    /// A link may appear after the operator has been told that adding it failed.
    pub late_link: bool,
    /// A Pad may lose its annotations while its pad is being made.
    pub old_backup: bool,
    /// A delivery that was stored already may come again while a later one still waits to be judged.
    pub old_hides_new: bool,
    /// Whether a link that is added twice counts. Not where several processes lead: see the faults that are known.
    pub link_counts: bool,
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
    DeliveryIds,
    ReferenceFromUid,
    IntentionsClock,
}
