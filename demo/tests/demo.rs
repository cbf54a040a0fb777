//! The demonstration is what a newcomer runs first, so it is run here too: it checks each of its steps itself.

use std::process::Command;

/// What it says, among other things.
const SAID: &[&str] = &[
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
    "the webhook is lost: a live pad all the same",
    "WebhookVerified=False, DeliveryMissed",
    "WebhookVerified=True",
    "5 pads at CoderPad for 5 candidates",
    "Done in",
];

#[test]
fn the_demonstration_succeeds_from_end_to_end() {
    let run = Command::new(env!("CARGO_BIN_EXE_demo")).env_remove("KEEP").output().unwrap();
    let (told, complaints) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    // With `cargo test -p demo` alone the operator is not built: `cargo test --workspace` builds both.
    assert!(run.status.success(), "{}\n{told}\n{complaints}", run.status);
    for said in SAID {
        assert!(told.contains(said), "the demonstration does not say '{said}':\n{told}");
    }
}

/// The picture of the README is of a run of today's demonstration.
#[test]
fn the_recording_shows_what_the_demonstration_says() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/demo.svg");
    let shown = std::fs::read_to_string(file).unwrap().replace("&gt;", ">");
    for said in SAID {
        assert!(shown.contains(said), "docs/demo.svg does not show '{said}': make recording");
    }
}
