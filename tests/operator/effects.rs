//! Table of all external effects of the operator: the request that causes the effect, its cause, and the expected
//! result. A new effect is a new row of [`EFFECTS`].

use serde_json::json;
use simulators::{Fault, Faults};

use crate::environment::{CONFIGURATION, Options, STAGE, TAG, TestEnv};
use crate::status::brief;
use crate::wait::{NOTE_SEARCH_COMPLETE, eventually, eventually_within};

/// External effect of the operator.
pub struct Effect {
    pub name: &'static str,
    pub target: Target,
    /// Cause of the effect.
    pub cause: Cause,
    /// Returns the request for one candidate.
    pub request: fn(&Subject) -> Fault,
    /// Name of the effect that follows.
    pub next: Option<&'static str>,
}

/// Target of the request.
#[derive(Clone, Copy, PartialEq)]
pub enum Target {
    ApiServer,
    Lever,
    CoderPad,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Cause {
    /// The candidate enters the stage.
    Entry,
    /// The candidate was in the stage without the tag, and enters it again with the tag.
    Return,
    /// The Pad of an [`Cause::Entry`] is deleted before a pad exists.
    Cancelled,
    /// An open Pad gets the policy Delete.
    Policy,
    /// An open Pad with this policy is deleted.
    Deletion(&'static str),
    /// The interview of an open Pad has ended.
    End,
}

/// Tags of a candidate while the pad is open, and after the interview.
const READY: &str = "coderpad-ready";
const ENDED: &str = "coderpad-done";

pub const EFFECTS: &[Effect] = &[
    Effect {
        name: "Pad",
        target: Target::ApiServer,
        cause: Cause::Entry,
        request: |one| Fault::on("POST", "/pads$").containing(&one.candidate),
        next: Some("intention"),
    },
    Effect {
        name: "annotation of a Pad",
        target: Target::ApiServer,
        cause: Cause::Return,
        request: |one| one.patch("").containing("padoperator.dev/reconcile-requested-at"),
        next: Some("intention"),
    },
    Effect {
        name: "intention",
        target: Target::ApiServer,
        cause: Cause::Entry,
        request: |one| one.patch("").containing(r#""padoperator.dev/attempt":""#),
        next: Some("pad"),
    },
    Effect {
        name: "pad",
        target: Target::CoderPad,
        cause: Cause::Entry,
        request: |one| Fault::on("POST", "^/api/pads/?$").containing(&one.candidate),
        next: Some("pad's id"),
    },
    Effect {
        name: "pad's id",
        target: Target::ApiServer,
        cause: Cause::Entry,
        request: |one| one.patch("").containing("padoperator.dev/pad-id"),
        next: Some("link"),
    },
    Effect {
        name: "link",
        target: Target::Lever,
        cause: Cause::Entry,
        request: |one| one.write("addLinks"),
        next: Some("first tag"),
    },
    Effect {
        name: "first tag",
        target: Target::Lever,
        cause: Cause::Entry,
        request: |one| one.write("addTags"),
        next: Some("status"),
    },
    Effect {
        name: "status",
        target: Target::ApiServer,
        cause: Cause::Entry,
        request: |one| one.patch("/status").containing("linkedAt"),
        next: None,
    },
    Effect {
        name: "pad of a deleted Pad",
        target: Target::CoderPad,
        cause: Cause::Cancelled,
        request: |one| Fault::on("POST", "^/api/pads/?$").containing(&one.candidate),
        next: Some("pad's removal"),
    },
    Effect {
        name: "finalizer",
        target: Target::ApiServer,
        cause: Cause::Policy,
        request: |one| one.patch("").containing(r#""finalizers":["padoperator.dev/pad"]"#),
        next: None,
    },
    Effect {
        name: "link's removal",
        target: Target::Lever,
        cause: Cause::Deletion("Unlink"),
        request: |one| one.write("removeLinks"),
        next: Some("tag's removal"),
    },
    Effect {
        name: "tag's removal",
        target: Target::Lever,
        cause: Cause::Deletion("Unlink"),
        request: |one| one.write("removeTags"),
        next: Some("finalizer's removal"),
    },
    Effect {
        name: "pad's removal",
        target: Target::CoderPad,
        cause: Cause::Deletion("Delete"),
        request: |one| Fault::on("PUT", &format!("^/api/pads/{}$", one.pad_id)),
        next: Some("finalizer's removal"),
    },
    Effect {
        name: "finalizer's removal",
        target: Target::ApiServer,
        cause: Cause::Deletion("Delete"),
        request: |one| one.patch("").containing(r#""finalizers":[]"#),
        next: None,
    },
    Effect {
        name: "claim of the note",
        target: Target::ApiServer,
        cause: Cause::End,
        request: |one| one.patch("").containing("note@"),
        next: Some("note"),
    },
    Effect {
        name: "note",
        target: Target::Lever,
        cause: Cause::End,
        request: |one| one.write("notes"),
        next: Some("first tag, off"),
    },
    Effect {
        name: "first tag, off",
        target: Target::Lever,
        cause: Cause::End,
        request: |one| one.write("removeTags"),
        next: Some("last tag"),
    },
    Effect {
        name: "last tag",
        target: Target::Lever,
        cause: Cause::End,
        request: |one| one.write("addTags"),
        next: Some("status of the end"),
    },
    Effect {
        name: "status of the end",
        target: Target::ApiServer,
        cause: Cause::End,
        request: |one| one.patch("/status").containing("noteID"),
        next: None,
    },
];

/// Candidate of one effect.
pub struct Subject {
    pub candidate: String,
    /// Name of the Pad.
    pub pad: String,
    /// ID of the pad in CoderPad, if it existed from the start.
    pad_id: String,
}

impl Subject {
    /// Returns a write to the candidate in Lever.
    fn write(&self, what: &str) -> Fault {
        Fault::on("POST", &format!("/{}/{what}$", self.candidate))
    }

    /// Returns a patch of the Pad or of its `/status`.
    fn patch(&self, part: &str) -> Fault {
        Fault::on("PATCH", &format!("/pads/{}{part}$", self.pad))
    }
}

/// Returns an environment in which all requests can be held, no Pad waits for a work permit, and Lever retries for a
/// long time.
pub fn env(name: &'static str) -> Options {
    let tags = json!({"ready": READY, "ended": ENDED});
    let mut options = Options::new(name).configuration(json!({"writeBack": {"tags": tags}}));
    options.relayed = true;
    options.flags.extend(["--lever-rate=0", "--interview-rate=0", "--concurrency=128"]);
    (options.lever.rate_limit, options.interview.rate_limit) = (None, None);
    options.lever.retry_delays = [1, 1, 2, 4, 8].map(std::time::Duration::from_secs).to_vec();
    options.interview.settings.list_lag_milliseconds = 700;
    options.connection["interview"]["maxPadsPerHour"] = json!(0);
    options
}

impl Effect {
    /// Returns the faults for the target of its request.
    pub fn faults<'a>(&self, env: &'a TestEnv) -> &'a Faults {
        match self.target {
            Target::ApiServer => env.cluster_faults(0),
            Target::Lever => env.lever.faults(),
            Target::CoderPad => env.interview.faults(),
        }
    }

    /// Adds a candidate for whom only the cause is missing. `case` identifies the candidate in failed tests.
    pub async fn prepare(&self, env: &TestEnv, case: &str) -> Subject {
        let candidate = env.candidate();
        eprintln!("{candidate}: {}, {case}", self.name);
        let pad = pad_operator::api::names::pad_name(CONFIGURATION, &candidate, 1);
        let mut subject = Subject { candidate, pad, pad_id: String::new() };
        let candidate = &subject.candidate;
        match self.cause {
            Cause::Entry | Cause::Cancelled => return subject,
            Cause::Return => {
                env.lever.remove_tag(candidate, TAG);
                env.enter(candidate).await;
                env.wait_for_pad(candidate, "Skipped/TagMissing").await;
                env.lever.add_tag(candidate, TAG);
                env.lever.move_to_stage(candidate, "Onsite").await;
                return subject;
            }
            Cause::Policy | Cause::Deletion(_) | Cause::End => env.enter(candidate).await,
        };
        subject.pad_id = env.wait_for_one_pad(candidate).await.id;
        if self.cause == Cause::End {
            env.interview.start_interview(&subject.pad_id, &["Ada"]);
            env.interview.end_interview(&subject.pad_id);
        }
        if let Cause::Deletion(policy) = self.cause {
            env.patch("pads", &subject.pad, json!({"spec": {"deletionPolicy": policy}})).await;
            has_finalizer(env, &subject).await;
        }
        subject
    }

    /// Triggers the cause.
    pub async fn provoke(&self, env: &TestEnv, subject: &Subject) {
        match self.cause {
            Cause::Entry | Cause::Return | Cause::Cancelled => {
                env.lever.move_to_stage(&subject.candidate, STAGE).await;
            }
            Cause::Policy => {
                env.patch("pads", &subject.pad, json!({"spec": {"deletionPolicy": "Delete"}})).await;
            }
            Cause::Deletion(_) => env.delete("pads", &subject.pad).await,
            Cause::End => env.request("pads", &subject.pad).await,
        }
    }

    /// Waits for the final state, and asserts that everything happened exactly once.
    pub async fn assert_outcome(&self, env: &TestEnv, subject: &Subject) {
        let candidate = &subject.candidate;
        let made = match self.cause {
            Cause::Entry | Cause::Return | Cause::Policy => {
                env.wait_for_one_pad(candidate).await;
                let made = env.created_pads_of(candidate);
                assert_eq!(made.len(), 1, "{}: {made:#?}", self.name);
                if self.cause == Cause::Policy {
                    has_finalizer(env, subject).await;
                }
                assert_eq!(links_added(env, candidate).len(), 1, "{}", self.name);
                assert_eq!(env.lever.tags(candidate), [TAG, READY], "{}", self.name);
                return;
            }
            Cause::End => {
                is_recorded(env, subject).await;
                let notes = written(env, candidate, "notes");
                assert_eq!((env.lever.notes(candidate).len(), notes.len()), (1, 1), "{}", self.name);
                assert_eq!(env.lever.tags(candidate), [TAG, ENDED], "{}", self.name);
                return;
            }
            Cause::Cancelled | Cause::Deletion(_) => {
                is_gone(env, subject).await;
                env.created_pads_of(candidate)
            }
        };
        let pad_stays = self.cause == Cause::Deletion("Unlink");
        assert!(
            made.len() <= 1 && made.iter().all(|pad| pad.deleted != pad_stays),
            "{}: {made:#?}",
            self.name
        );
        assert_eq!(env.lever.links(candidate), Vec::<String>::new(), "{}", self.name);
    }
}

async fn has_finalizer(env: &TestEnv, subject: &Subject) {
    eventually("the finalizer is set", async || {
        let pad = env.get("pads", &subject.pad).await;
        let finalizers = &pad["metadata"]["finalizers"];
        if *finalizers == json!(["padoperator.dev/pad"]) { Ok(()) } else { Err(format!("{pad:#}")) }
    })
    .await;
}

async fn is_gone(env: &TestEnv, subject: &Subject) {
    eventually("the Pad is deleted", async || {
        env.find("pads", &subject.pad).await.map_or(Ok(()), |pad| Err(format!("{pad:#}")))
    })
    .await;
}

async fn is_recorded(env: &TestEnv, subject: &Subject) {
    eventually_within(NOTE_SEARCH_COMPLETE, "the write-back is complete", async || {
        let pad = env.get("pads", &subject.pad).await;
        if brief(&pad, "RecordAdded") == "True/Written" { Ok(()) } else { Err(format!("{pad:#}")) }
    })
    .await;
}

/// Returns the arrival times of requests that added a link to this candidate.
pub fn links_added(env: &TestEnv, candidate: &str) -> Vec<i64> {
    written(env, candidate, "addLinks")
}

/// Returns the arrival times of requests that wrote something to this candidate, such as `notes`.
pub fn written(env: &TestEnv, candidate: &str, what: &str) -> Vec<i64> {
    let calls = env.lever.calls();
    let path = format!("/{candidate}/{what}");
    let has_effect = |call: &&simulators::Call| {
        call.method == "POST" && call.path.ends_with(&path) && matches!(call.handled, Some(200..=299))
    };
    calls.iter().filter(has_effect).map(|call| call.at).collect()
}

/// Returns the arrival times of requests that created a pad for this candidate.
pub fn pads_created(env: &TestEnv, candidate: &str) -> Vec<i64> {
    let calls = env.interview.calls();
    let is_creation = |call: &&simulators::Call| call.method == "POST" && call.path.starts_with("/api/pads");
    calls
        .iter()
        .filter(is_creation)
        .filter(|call| call.body.contains(candidate) && call.handled == Some(200))
        .map(|call| call.at)
        .collect()
}
