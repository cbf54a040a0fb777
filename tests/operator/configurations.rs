//! Invalid configurations: how they report the problem, and that fixing either side resolves it.

use serde_json::{Value, json};
use simulators::{Question, Stage};

use crate::environment::{CONFIGURATION, CONNECTION, Options, TestEnv};
use crate::status::{brief, message_of};

const PLURAL: &str = "padconfigurations";

async fn set(env: &TestEnv, name: &str, spec: Value) {
    env.patch(PLURAL, name, json!({"spec": spec})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_stage_is_reported_with_the_existing_ones() {
    let mut options = Options::new("unknown-stage").without_setup().polling("1s");
    options.configurations = vec![
        ("missing", json!({"stage": "Second Phone Screen"})),
        ("misspelt", json!({"stage": "onsite"})),
        ("twice", json!({"stage": "Debrief"})),
    ];
    let env = TestEnv::start(options).await;
    let missing = env.wait_for(PLURAL, "missing", "Ready", "False/StageNotFound").await;
    for stage in env.lever.stages() {
        assert!(message_of(&missing, "Ready").contains(&stage.text), "{} in {missing:#}", stage.text);
    }
    let misspelt = env.wait_for(PLURAL, "misspelt", "Ready", "False/StageNotFound").await;
    assert_eq!(brief(&misspelt, "StageFound"), "False/StageNotFound");

    env.lever.add_stage("Second Phone Screen");
    env.wait_for(PLURAL, "missing", "Ready", "True/InUse").await;
    set(&env, "misspelt", json!({"stage": "Onsite"})).await;
    env.wait_for(PLURAL, "misspelt", "Ready", "True/InUse").await;

    let mut stages = env.lever.stages();
    stages.extend([Stage::new("debrief-1", "Debrief"), Stage::new("debrief-2", "Debrief")]);
    env.lever.set_stages(stages);
    let twice = env.wait_for(PLURAL, "twice", "Ready", "False/StageAmbiguous").await;
    let message = message_of(&twice, "Ready");
    assert!(message.contains("debrief-1") && message.contains("debrief-2"), "{message}");
    set(&env, "twice", json!({"stage": "debrief-2"})).await;
    let twice = env.wait_for(PLURAL, "twice", "Ready", "True/InUse").await;
    assert_eq!(twice["status"]["stage"]["id"], "debrief-2");

    env.lever.rename_stage("Onsite", "On site");
    let renamed = env.wait_for(PLURAL, "misspelt", "Ready", "True/StageRenamed").await;
    assert_eq!(renamed["status"]["stage"]["name"], "On site");
    assert!(message_of(&renamed, "Ready").contains("Set spec.stage to the new name"), "{renamed:#}");

    // Removed in Lever and restored.
    let stages = env.lever.stages();
    env.lever.remove_stage("On site");
    let removed = env.wait_for(PLURAL, "misspelt", "Ready", "False/StageNotFound").await;
    assert!(message_of(&removed, "Ready").contains("Set spec.stage to one of: "), "{removed:#}");
    env.lever.set_stages(stages);
    let back = env.wait_for(PLURAL, "misspelt", "Ready", "True/StageRenamed").await;
    assert_eq!(back["status"]["stage"]["id"], renamed["status"]["stage"]["id"]);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_question_is_reported_until_it_is_fixed() {
    let mut options = Options::new("question").without_setup().polling("1s");
    options.configurations = vec![
        ("unknown", json!({"type": "TakeHome", "questionID": 4242, "tag": "unknown"})),
        ("draft", json!({"questionID": 1004, "tag": "draft"})),
        ("live-only", json!({"type": "TakeHome", "questionID": 1001, "tag": "live-only"})),
        ("take-home-only", json!({"questionID": 1002, "tag": "take-home-only"})),
    ];
    let env = TestEnv::start(options).await;
    let unknown = env.wait_for(PLURAL, "unknown", "Ready", "False/QuestionNotFound").await;
    assert!(message_of(&unknown, "Ready").contains("4242"), "{unknown:#}");
    for (name, word) in [("draft", "draft"), ("live-only", "live"), ("take-home-only", "take-home")] {
        let found = env.wait_for(PLURAL, name, "Ready", "False/QuestionNotUsable").await;
        assert!(message_of(&found, "Ready").contains(word), "{found:#}");
        assert_eq!(brief(&found, "QuestionUsable"), "False/QuestionNotUsable");
    }

    // A Pad of such a configuration waits and sends nothing to CoderPad.
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    env.configure_webhook().await;
    let candidate = env.candidate();
    env.lever.add_tag(&candidate, "unknown");
    assert_eq!(env.enter(&candidate).await["pads"].as_array().unwrap().len(), 4);
    let name = pad_name(&env, &candidate, "unknown").await;
    env.wait_for("pads", &name, "Ready", "False/ConfigurationNotReady").await;
    assert_eq!(env.creates(), 0);

    env.interview.add_question(Question::new(4242, "Late", "any"));
    env.interview.add_question(Question::new(1004, "Finished", "any"));
    env.wait_for(PLURAL, "unknown", "Ready", "True/InUse").await;
    env.wait_for(PLURAL, "draft", "Ready", "True/InUse").await;
    set(&env, "live-only", json!({"type": "Live"})).await;
    env.wait_for(PLURAL, "live-only", "Ready", "True/InUse").await;
    env.wait_for("pads", &name, "Ready", "True/Open").await;
    assert_eq!(env.creates(), 1);
    env.finish().await;
}

async fn pad_name(env: &TestEnv, candidate: &str, configuration: &str) -> String {
    let pads = env.pads_of(candidate).await;
    let found = pads.iter().find(|pad| pad["spec"]["configurationRef"]["name"] == configuration);
    found.unwrap()["metadata"]["name"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn older_of_two_duplicate_rules_wins_and_owner_must_exist() {
    let env = TestEnv::start(Options::new("conflict").polling("1s")).await;
    // Creation times have whole seconds; within one second the lower name would win.
    env.configure("z-younger", json!({})).await;
    let younger = env.wait_for(PLURAL, "z-younger", "Ready", "False/Conflict").await;
    assert!(message_of(&younger, "Ready").contains(CONFIGURATION), "{younger:#}");
    let candidate = env.candidate();
    assert_eq!(env.enter(&candidate).await["pads"].as_array().unwrap().len(), 1);
    env.wait_for_one_pad(&candidate).await;
    env.delete(PLURAL, CONFIGURATION).await;
    env.wait_for(PLURAL, "z-younger", "Ready", "True/InUse").await;

    set(&env, "z-younger", json!({"ownerEmail": "nobody@northwind.example"})).await;
    env.wait_for(PLURAL, "z-younger", "Ready", "False/OwnerNotFound").await;
    env.interview.add_user("nobody@northwind.example", "Noor Body");
    env.wait_for(PLURAL, "z-younger", "Ready", "True/InUse").await;
    let second = env.candidate();
    env.enter(&second).await;
    assert_eq!(env.wait_for_one_pad(&second).await.owner_email, "nobody@northwind.example");
    env.finish().await;
}
