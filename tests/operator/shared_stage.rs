//! Many rules for one stage.

use serde_json::json;

use crate::environment::{Options, TAG, TestEnv};
use crate::status::phase;
use crate::wait::eventually;

const RULES: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn stage_change_for_many_rules_reads_the_candidate_once() {
    let mut options = Options::new("many-rules");
    options.configurations = (0..RULES)
        .map(|number| {
            let tag = if number == 0 { TAG.to_owned() } else { format!("coderpad-{number}") };
            (&*format!("rule-{number}").leak(), json!({"tag": tag}))
        })
        .collect();
    let env = TestEnv::start(options).await;
    let candidate = env.candidate();
    env.lever.clear_calls();
    env.enter(&candidate).await;
    let pads = eventually("all are decided", async || {
        let pads = env.pads_of(&candidate).await;
        let is_decided =
            |pad: &&serde_json::Value| ["Open/Open", "Skipped/TagMissing"].contains(&phase(pad).as_str());
        if pads.iter().filter(is_decided).count() == RULES { Ok(pads) } else { Err(format!("{pads:#?}")) }
    })
    .await;
    // contract P1a: a Pad for each rule explains why there is no pad, or has it.
    assert_eq!(pads.iter().filter(|pad| phase(pad) == "Open/Open").count(), 1);
    let calls = env.lever.calls();
    let reads: Vec<_> =
        calls.iter().filter(|call| call.method == "GET" && call.path.contains("/opportunities")).collect();
    // The receiver stores the Pads one after the other: on a busy machine the later ones are too late for the first read.
    println!("{RULES} Pads of one candidate: {} reads", reads.len());
    assert!((1..=RULES / 2).contains(&reads.len()), "{reads:#?}");
    assert_eq!(env.creates(), 1);
    env.finish().await;
}
