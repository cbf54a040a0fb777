//! Invalid configurations: how they report the problem, and that fixing either side resolves it.

use serde_json::{Value, json};
use simulators::{Question, Stage};

use crate::environment::{CONFIGURATION, CONNECTION, Options, World};
use crate::status::{brief, message_of};

const PLURAL: &str = "padconfigurations";

async fn set(world: &World, name: &str, spec: Value) {
    world.patch(PLURAL, name, json!({"spec": spec})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_stage_is_reported_with_the_existing_ones() {
    let mut options = Options::new("unknown-stage").unsettled().polling("1s");
    options.configurations = vec![
        ("missing", json!({"stage": "Second Phone Screen"})),
        ("misspelt", json!({"stage": "onsite"})),
        ("twice", json!({"stage": "Debrief"})),
    ];
    let world = World::start(options).await;
    let missing = world.wait_for(PLURAL, "missing", "Ready", "False/StageNotFound").await;
    for stage in world.lever.stages() {
        assert!(message_of(&missing, "Ready").contains(&stage.text), "{} in {missing:#}", stage.text);
    }
    let misspelt = world.wait_for(PLURAL, "misspelt", "Ready", "False/StageNotFound").await;
    assert_eq!(brief(&misspelt, "StageFound"), "False/StageNotFound");

    world.lever.add_stage("Second Phone Screen");
    world.wait_for(PLURAL, "missing", "Ready", "True/InUse").await;
    set(&world, "misspelt", json!({"stage": "Onsite"})).await;
    world.wait_for(PLURAL, "misspelt", "Ready", "True/InUse").await;

    let mut stages = world.lever.stages();
    stages.extend([Stage::new("debrief-1", "Debrief"), Stage::new("debrief-2", "Debrief")]);
    world.lever.set_stages(stages);
    let twice = world.wait_for(PLURAL, "twice", "Ready", "False/StageAmbiguous").await;
    let message = message_of(&twice, "Ready");
    assert!(message.contains("debrief-1") && message.contains("debrief-2"), "{message}");
    set(&world, "twice", json!({"stage": "debrief-2"})).await;
    let twice = world.wait_for(PLURAL, "twice", "Ready", "True/InUse").await;
    assert_eq!(twice["status"]["stage"]["id"], "debrief-2");

    world.lever.rename_stage("Onsite", "On site");
    let renamed = world.wait_for(PLURAL, "misspelt", "Ready", "True/StageRenamed").await;
    assert_eq!(renamed["status"]["stage"]["name"], "On site");
    assert!(message_of(&renamed, "Ready").contains("Set spec.stage to the new name"), "{renamed:#}");

    // Removed in Lever and restored.
    let stages = world.lever.stages();
    world.lever.remove_stage("On site");
    let removed = world.wait_for(PLURAL, "misspelt", "Ready", "False/StageNotFound").await;
    assert!(message_of(&removed, "Ready").contains("Set spec.stage to one of: "), "{removed:#}");
    world.lever.set_stages(stages);
    let back = world.wait_for(PLURAL, "misspelt", "Ready", "True/StageRenamed").await;
    assert_eq!(back["status"]["stage"]["id"], renamed["status"]["stage"]["id"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_question_is_reported_until_it_is_fixed() {
    let mut options = Options::new("question").unsettled().polling("1s");
    options.configurations = vec![
        ("unknown", json!({"type": "TakeHome", "questionID": 4242, "tag": "unknown"})),
        ("draft", json!({"questionID": 1004, "tag": "draft"})),
        ("live-only", json!({"type": "TakeHome", "questionID": 1001, "tag": "live-only"})),
        ("take-home-only", json!({"questionID": 1002, "tag": "take-home-only"})),
    ];
    let world = World::start(options).await;
    let unknown = world.wait_for(PLURAL, "unknown", "Ready", "False/QuestionNotFound").await;
    assert!(message_of(&unknown, "Ready").contains("4242"), "{unknown:#}");
    for (name, word) in [("draft", "draft"), ("live-only", "live"), ("take-home-only", "take-home")] {
        let found = world.wait_for(PLURAL, name, "Ready", "False/QuestionNotUsable").await;
        assert!(message_of(&found, "Ready").contains(word), "{found:#}");
        assert_eq!(brief(&found, "QuestionUsable"), "False/QuestionNotUsable");
    }

    // A Pad of such a configuration waits and sends nothing to CoderPad.
    world.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    world.paste_webhook().await;
    let candidate = world.candidate();
    world.lever.add_tag(&candidate, "unknown");
    assert_eq!(world.enter(&candidate).await["pads"].as_array().unwrap().len(), 4);
    let name = pad_name(&world, &candidate, "unknown").await;
    world.wait_for("pads", &name, "Ready", "False/ConfigurationNotReady").await;
    assert_eq!(world.creates(), 0);

    world.interview.add_question(Question::new(4242, "Late", "any"));
    world.interview.add_question(Question::new(1004, "Finished", "any"));
    world.wait_for(PLURAL, "unknown", "Ready", "True/InUse").await;
    world.wait_for(PLURAL, "draft", "Ready", "True/InUse").await;
    set(&world, "live-only", json!({"type": "Live"})).await;
    world.wait_for(PLURAL, "live-only", "Ready", "True/InUse").await;
    world.wait_for("pads", &name, "Ready", "True/Open").await;
    assert_eq!(world.creates(), 1);
    world.finish().await;
}

async fn pad_name(world: &World, candidate: &str, configuration: &str) -> String {
    let pads = world.pads_of(candidate).await;
    let found = pads.iter().find(|pad| pad["spec"]["configurationRef"]["name"] == configuration);
    found.unwrap()["metadata"]["name"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn older_of_two_duplicate_rules_wins_and_owner_must_exist() {
    let world = World::start(Options::new("conflict").polling("1s")).await;
    // Creation times have whole seconds; within one second the lower name would win.
    world.configure("z-younger", json!({})).await;
    let younger = world.wait_for(PLURAL, "z-younger", "Ready", "False/Conflict").await;
    assert!(message_of(&younger, "Ready").contains(CONFIGURATION), "{younger:#}");
    let candidate = world.candidate();
    assert_eq!(world.enter(&candidate).await["pads"].as_array().unwrap().len(), 1);
    world.wait_for_one_pad(&candidate).await;
    world.delete(PLURAL, CONFIGURATION).await;
    world.wait_for(PLURAL, "z-younger", "Ready", "True/InUse").await;

    set(&world, "z-younger", json!({"ownerEmail": "nobody@northwind.example"})).await;
    world.wait_for(PLURAL, "z-younger", "Ready", "False/OwnerNotFound").await;
    world.interview.add_user("nobody@northwind.example", "Noor Body");
    world.wait_for(PLURAL, "z-younger", "Ready", "True/InUse").await;
    let second = world.candidate();
    world.enter(&second).await;
    assert_eq!(world.wait_for_one_pad(&second).await.owner_email, "nobody@northwind.example");
    world.finish().await;
}
