//! Runs the demo, because it is the first thing that new users run. The demo checks each of its steps itself.

use std::process::Command;

/// Parts of the expected output.
const EXPECTED: &[&str] = &[
    "a live pad",
    "a take-home of 2 hours",
    "skipped, TagMissing",
    "still one pad, one link",
    "join the pad: Started",
    "ends the interview: Ended",
    "coderpad, coderpad-ready -> coderpad, coderpad-done",
    "| The CoderPad interview has ended.",
    "|     return text == text[::-1]",
    "of which Lever sends no webhook: a live pad",
    "the webhook is lost: a live pad nevertheless",
    "WebhookVerified=False, DeliveryMissed",
    "WebhookVerified=True",
    "5 pads in CoderPad for 5 candidates",
    "Done in",
];

#[test]
fn demo_succeeds_from_end_to_end() {
    let run = Command::new(env!("CARGO_BIN_EXE_demo")).env_remove("KEEP").output().unwrap();
    let (output, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    // `cargo test -p demo` alone does not build the operator; `cargo test --workspace` builds both.
    assert!(run.status.success(), "{}\n{output}\n{errors}", run.status);
    for text in EXPECTED {
        assert!(output.contains(text), "the demo does not print '{text}':\n{output}");
    }
}

/// The recording in the README is of a run of the current demo.
#[test]
fn recording_shows_the_current_output() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/demo.svg");
    let shown = std::fs::read_to_string(file).unwrap().replace("&gt;", ">");
    for text in EXPECTED {
        assert!(shown.contains(text), "docs/demo.svg does not show '{text}'; run `make recording`");
    }
}
