//! Services that behave differently from what the operator assumes: nothing is created twice, and the difference is
//! reported.

use serde_json::json;

use crate::environment::{CONFIGURATION, Options, TestEnv};
use crate::status::message_of;

/// Contract F8: CoderPad answers a question that it does not accept with 500.
#[tokio::test(flavor = "multi_thread")]
async fn bad_input_that_is_answered_with_500_fails_the_pad_and_a_correction_retries_it() {
    let spec = json!({"questionID": 1003, "ownerEmail": "lead@northwind.example"});
    let mut options = Options::new("server-errors").configuration(spec);
    options.interview.settings.unknown_question_status = 500;
    let env = TestEnv::start(options).await;
    env.interview.remove_question(1003);
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let failed = env.wait_for_pad(&candidate, "Failed/ServiceError").await;
    let message = message_of(&failed, "Ready");
    assert!(message.contains("question 1003") && message.contains("lead@northwind.example"), "{message}");
    assert!(failed["metadata"]["annotations"]["padoperator.dev/failed-creations"].is_string(), "{failed:#}");
    assert_eq!(env.creates(), 3);
    env.sync().await;
    assert_eq!(env.creates(), 3, "sync retries nothing");

    env.configure(CONFIGURATION, json!({"questionID": 1001})).await;
    env.wait_for_one_pad(&candidate).await;
    assert_eq!(env.creates(), 4);
    let pads = env.pads_of(&candidate).await;
    assert!(pads[0]["metadata"]["annotations"]["padoperator.dev/failed-creations"].is_null(), "{pads:#?}");
    env.finish().await;
}
