//! Randomized soak test of the whole operator: hundreds of candidates under all kinds of faults, then recovery, and
//! then a comparison of both services' ledgers with the cluster.
//! || `cargo test` runs a short one, `make soak` a long one. `SOAK_SEED`, `SOAK_SECONDS` and `SOAK_CANDIDATES` set seed
//! and size. The printed seed repeats the schedule, though not the exact timing.

mod compare;
mod ledger;
mod recovery;
mod replicas;
mod run;
mod schedule;

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use simulators::{Quota, RateLimit};
use testkit::ports::free_port;

use crate::environment::{CONFIGURATION, Options, STAGE, TAG, TestEnv};
use compare::compare;
use run::SoakRun;

/// Size of a run.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Duration of the faults.
    pub seconds: u64,
    pub candidates: usize,
}

impl Size {
    /// Reports whether there is time for slow events.
    fn is_long(self) -> bool {
        self.seconds >= 60
    }
}

/// Configuration of the soak test.
struct Rule {
    name: &'static str,
    stage: &'static str,
    tag: &'static str,
    /// Whether deleting a Pad removes its link but keeps the pad.
    unlinks: bool,
    /// Whether a note is written when an interview ends.
    notes: bool,
    /// Tags while a pad is open, and after it has ended.
    tags: Option<(&'static str, &'static str)>,
    spec: fn() -> Value,
}

impl Rule {
    fn full_spec(&self) -> Value {
        let mut spec = (self.spec)();
        spec["stage"] = json!(self.stage);
        spec["tag"] = json!(self.tag);
        spec
    }
}

const RULES: [Rule; 3] = [
    Rule {
        name: CONFIGURATION,
        stage: STAGE,
        tag: TAG,
        unlinks: false,
        notes: true,
        tags: Some(("pad-ready", "pad-done")),
        spec: || json!({"writeBack": {"note": "Summary", "tags": {"ready": "pad-ready", "ended": "pad-done"}}}),
    },
    Rule {
        name: "take-home",
        stage: "Take-home",
        tag: "coderpad-take-home",
        unlinks: false,
        notes: true,
        tags: None,
        spec: || {
            json!({"type": "TakeHome", "questionID": 1002, "deletionPolicy": "Delete",
                "writeBack": {"note": "SummaryWithCode"}})
        },
    },
    Rule {
        name: "onsite",
        stage: "Onsite",
        tag: TAG,
        unlinks: true,
        notes: false,
        tags: None,
        spec: || {
            json!({"language": "python3", "waitingRoom": true, "deletionPolicy": "Unlink",
                "writeBack": {"note": "None"}})
        },
    },
];

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

fn options() -> Options {
    let mut options = Options::new("soak").polling("5s");
    options.replicas = 2;
    options.connection["interview"] = json!({"maxPadsPerHour": 0});
    options.configurations = RULES.iter().map(|rule| (rule.name, rule.full_spec())).collect();
    // Faster than the real ones, so that hundreds of candidates fit into minutes.
    let limit = Some(RateLimit { per_second: 40.0, burst: 80.0 });
    options.lever.rate_limit = limit;
    options.interview.rate_limit = limit;
    options.flags.extend([
        "--lever-rate=40",
        "--lever-burst=80",
        "--interview-rate=40",
        "--interview-burst=80",
    ]);
    // They are stopped and resumed: no other process may take their ports in the meantime.
    options.lever.address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
    options.interview.address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
    options.interview.quota = Quota { limit: None, ..Quota::default() };
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_duplicated_under_random_faults() {
    let seed = from_environment("SOAK_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let size = Size {
        seconds: from_environment("SOAK_SECONDS").unwrap_or(30),
        candidates: from_environment("SOAK_CANDIDATES").unwrap_or(80),
    };
    let events = schedule::schedule(seed, size);
    println!("soak: SOAK_SEED={seed} SOAK_SECONDS={} SOAK_CANDIDATES={}", size.seconds, size.candidates);
    println!("soak: {}", schedule::summary(&events));
    println!("soak: {}", schedule::fault_times(&events));

    let mut run = SoakRun::new(TestEnv::start(options()).await, size).await;
    run.execute_all(&events).await;
    println!(
        "soak: calm after {:?}: {}: {}",
        run.elapsed(),
        run.counts(),
        compare(&ledger::take(&run).await)
    );
    let comparison = recovery::converge(&mut run).await;
    println!("soak: seed {seed}: {}: {comparison} (after {:?})", run.counts(), run.elapsed());
    run.env.finish().await;
}
