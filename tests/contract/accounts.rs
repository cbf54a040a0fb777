//! Both simulated accounts with candidates and pads, and the report about them.

use pad_operator::check::{self, Account, CheckOptions, Level, Report, Rule, Target};
use simulators::{
    InterviewOptions, InterviewSimulator, LeverOptions, LeverSimulator, NewCandidate, NewPad, NewPosting,
};
use std::fmt::Write as _;
use std::time::Duration;
use testkit::assert_snapshot;

pub const LEVER_KEY: &str = "lever-key-0123456789";
pub const INTERVIEW_KEY: &str = "interview-key-0123456789";
pub const STAGE: &str = "Phone Screen";
pub const TAG: &str = "coderpad";
pub const PERSON: &str = "Ada Lovelace";
const WEBHOOK_URL: &str = "https://hooks.example.invalid/webhooks/lever/hiring/acme";

/// Both simulated accounts.
pub struct Accounts {
    pub lever: LeverSimulator,
    pub interview: InterviewSimulator,
    /// ID of a candidate without tags and links.
    pub candidate: String,
}

impl Accounts {
    /// Starts both services. Lever has eight candidates, CoderPad three pads.
    pub async fn start() -> Self {
        let lever =
            LeverOptions { api_key: LEVER_KEY.to_owned(), rate_limit: None, ..LeverOptions::default() };
        let lever = LeverSimulator::start(lever).await.unwrap();
        let interview = InterviewOptions {
            api_key: INTERVIEW_KEY.to_owned(),
            rate_limit: None,
            ..InterviewOptions::default()
        };
        let interview = InterviewSimulator::start(interview).await.unwrap();
        let posting = lever.add_posting(NewPosting { tags: vec![TAG.to_owned()], ..NewPosting::default() });
        let new = |stage: &str| NewCandidate {
            name: PERSON.to_owned(),
            emails: vec!["ada@candidates.example".to_owned()],
            stage: stage.to_owned(),
            ..NewCandidate::default()
        };
        let tags = vec![TAG.to_owned()];
        for _ in 0..2 {
            for one in [
                NewCandidate { tags: tags.clone(), ..new(STAGE) },
                NewCandidate { posting: Some(posting.clone()), ..new(STAGE) },
                new(STAGE),
            ] {
                lever.add_candidate(one);
                next_time().await;
            }
        }
        lever.add_candidate(NewCandidate { archived: true, tags, ..new(STAGE) });
        let candidate = lever.add_candidate(new("New lead"));
        for title in ["first", "second", "third"] {
            interview.add_pad(NewPad { title: title.to_owned(), ..NewPad::default() });
            next_time().await;
        }
        let pads = interview.pads();
        interview.start_interview(&pads[0].id, &[PERSON, "Olga Owner"]);
        interview.end_interview(&pads[0].id);
        next_time().await;
        interview.start_interview(&pads[1].id, &[PERSON]);
        next_time().await;
        Self { lever, interview, candidate }
    }

    /// Adds pads until the list has a second page.
    pub fn add_page_of_pads(&self) {
        for number in 0..50 {
            self.interview.add_pad(NewPad { title: format!("pad {number}"), ..NewPad::default() });
        }
    }

    /// Returns the target of the check: both accounts, and the rules of two configurations.
    pub fn target(&self) -> Target {
        let account = |url: String, key: &str, place: &str| Account {
            url: url.parse().unwrap(),
            key: key.to_owned().into(),
            place: place.to_owned(),
        };
        let rule = Rule {
            configuration: "phone-screen".to_owned(),
            stage: Some(STAGE.to_owned()),
            tag: Some(TAG.to_owned()),
            question: Some(1001),
            take_home: Some(false),
            owner: Some("lead@northwind.example".to_owned()),
        };
        let take_home = Rule {
            configuration: "take-home".to_owned(),
            stage: Some("Take-home".to_owned()),
            question: Some(1002),
            take_home: Some(true),
            owner: None,
            ..rule.clone()
        };
        Target {
            lever: Some(account(self.lever.url(), LEVER_KEY, "Secret acme, key lever-api-key")),
            interview: Some(account(
                self.interview.url(),
                INTERVIEW_KEY,
                "Secret acme, key interview-api-key",
            )),
            rules: vec![rule, take_home],
            ..Target::default()
        }
    }

    /// Checks both accounts without the usual delays.
    pub async fn check(&self, target: &Target) -> Report {
        let options = CheckOptions { interval: Duration::ZERO, ..CheckOptions::default() };
        let report = check::report(target, &options).await.unwrap();
        assert!(report.calls <= check::MAX_CALLS, "{} requests", report.calls);
        assert_eq!((self.lever.violations(), self.interview.violations()), Default::default());
        let sent = self.lever.calls().len() + self.interview.calls().len();
        assert!(sent <= usize::try_from(report.calls).unwrap(), "{sent} requests arrived");
        let calls = self.lever.calls().into_iter().chain(self.interview.calls());
        assert!(calls.into_iter().all(|call| call.method == "GET"), "the check wrote");
        assert_private(&report.text());
        report
    }

    /// Returns a text without what differs between two runs.
    pub fn stable(&self, text: &str) -> String {
        let places = [(self.lever.origin(), "http://lever"), (self.interview.origin(), "http://interview")];
        let mut text = text.to_owned();
        for (origin, name) in places {
            text = text.replace(&origin, name);
        }
        let stable = text.lines().map(|line| match line.split_once(": ") {
            Some((what, rest)) if rest.ends_with(" ms for the first answer") => {
                format!("{what}: 5 ms for the first answer")
            }
            _ => line.to_owned(),
        });
        stable.collect::<Vec<_>>().join("\n")
    }
}

/// Waits until the services' clocks show another time, so that the order of their lists is always the same.
async fn next_time() {
    tokio::time::sleep(Duration::from_millis(3)).await;
}

/// Asserts that a text names no person and contains no key.
pub fn assert_private(text: &str) {
    for secret in [LEVER_KEY, INTERVIEW_KEY, "Ada", "candidates.example", "Olga", "owner@", "lead@"] {
        assert!(!text.contains(secret), "{secret} is in:\n{text}");
    }
}

/// Asserts the text and the level of a report.
pub fn assert_report(name: &str, accounts: &Accounts, report: &Report, level: Level) {
    let text = accounts.stable(&report.text());
    assert_eq!(report.level(), level, "{text}");
    assert_snapshot(name, text.trim_end());
}

/// Returns the lines that only one of two texts has.
pub fn difference(usual: &str, other: &str) -> String {
    let mut text = String::new();
    let only = |one: &str, two: &str| -> Vec<String> {
        one.lines().filter(|line| !two.lines().any(|known| known == *line)).map(str::to_owned).collect()
    };
    for line in only(usual, other) {
        let _ = writeln!(text, "-{line}");
    }
    for line in only(other, usual) {
        let _ = writeln!(text, "+{line}");
    }
    text
}

pub fn unused_webhook_url() -> Option<String> {
    Some(WEBHOOK_URL.to_owned())
}
