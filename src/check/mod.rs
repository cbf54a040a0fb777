//! `pad-operator check`: tries both accounts and reports everything that differs from the operator's expectations.
//!
//! The check only reads, with the operator's own HTTP client and decoders, at most 40 times and twice per second. It
//! prints nothing about a person. `--write-test` also writes, on request, and removes everything again.

mod calls;
mod coderpad;
mod coderpad_findings;
mod connection;
#[cfg(test)]
mod finding_tests;
mod lever;
mod lever_findings;
mod network;
mod report;
mod service_findings;
mod shape;
mod target;
mod write_test;

pub use report::{Finding, Level, Report, Section, Topic};
pub use target::{Account, Rule, Target};
pub use write_test::{WriteOptions, write_and_clean_up};

use crate::cli::{CheckArgs, ReportFormat};
use crate::run::stop_on_signal;
use api::connection::WebhookMode;
use calls::{Caller, Pace, Recorder};
use coderpad::InterviewCheck;
use http_client::Service;
use lever::LeverCheck;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Maximum number of requests.
pub const MAX_CALLS: u32 = 40;
/// Delay between two requests to either service.
pub const CALL_INTERVAL: Duration = Duration::from_millis(500);

/// Settings of a check.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// Delay between two requests.
    pub interval: Duration,
    /// Folder for the shapes of all answers.
    pub record: Option<PathBuf>,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { interval: CALL_INTERVAL, record: None }
    }
}

/// Runs `pad-operator check` and prints the report. Returns the exit code (contract O1).
///
/// # Errors
/// If the settings cannot be read, or the report cannot be printed.
pub async fn run(args: CheckArgs) -> anyhow::Result<u8> {
    let target = match &args.connection {
        Some(name) => connection::target(name, &args.allow_api_origins).await?,
        None => target_of(&args)?,
    };
    let options = CheckOptions { record: args.record.clone(), ..CheckOptions::default() };
    let mut report = report(&target, &options).await?;
    if let Some(candidate) = args.candidate.as_deref().filter(|_| args.write_test) {
        let stop = CancellationToken::new();
        stop_on_signal(stop.clone())?;
        if report.level() == Level::Failure {
            anyhow::bail!("{}\nthe write test needs accounts without failures", report.text());
        }
        if !args.yes {
            write_test::confirm(candidate)?;
        }
        let written = write_and_clean_up(&target, candidate, &WriteOptions::default(), stop).await?;
        report.calls += written.calls;
        report.sections.extend(written.sections);
    }
    let text = match args.output {
        ReportFormat::Text => report.text(),
        ReportFormat::Json => report.json()?,
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(report.level().exit_code())
}

/// Checks both accounts.
///
/// # Errors
/// If the folder for the shapes cannot be created.
pub async fn report(target: &Target, options: &CheckOptions) -> anyhow::Result<Report> {
    let pace = Arc::new(Pace::new(options.interval, MAX_CALLS));
    let recorder = options.record.clone().map(Recorder::new).transpose()?.map(Arc::new);
    let mut settings = target.problems.clone();
    let lever = caller(Service::Lever, target, &pace, recorder.clone(), &mut settings);
    let interview = caller(Service::Interview, target, &pace, recorder.clone(), &mut settings);
    let (of_lever, of_interview) = tokio::join!(
        async {
            match (&lever, &target.lever) {
                (Some(caller), Some(account)) => LeverCheck { caller, account, target }.sections().await,
                _ => Vec::new(),
            }
        },
        async {
            match (&interview, &target.interview) {
                (Some(caller), Some(account)) => InterviewCheck { caller, account, target }.sections().await,
                _ => Vec::new(),
            }
        }
    );
    let mut sections = vec![Section::new("Settings", settings)];
    sections.extend(of_lever);
    sections.extend(of_interview);
    if let (Some(recorder), Some(folder)) = (recorder, &options.record) {
        let place = folder.display().to_string();
        sections.push(Section::new(
            "Recorded answers",
            vec![match recorder.result() {
                Ok(count) => Finding::ok(place, format!("{count} files, without any text of the answers")),
                Err(error) => Finding::failure(
                    place,
                    error,
                    "--record: choose a folder that can be written",
                    Topic::Answers,
                ),
            }],
        ));
    }
    sections.retain(|section| !section.findings.is_empty());
    Ok(Report { sections, calls: pace.used() })
}

/// Returns a client for an account. Without a usable key, adds a finding.
fn caller(
    service: Service,
    target: &Target,
    pace: &Arc<Pace>,
    recorder: Option<Arc<Recorder>>,
    problems: &mut Vec<Finding>,
) -> Option<Caller> {
    let account = match service {
        Service::Lever => target.lever.as_ref()?,
        Service::Interview => target.interview.as_ref()?,
    };
    match Caller::new(service, &account.url, &account.key, pace.clone(), recorder) {
        Ok(caller) => Some(caller),
        Err(error) => {
            let next = format!("Replace it in {} with the key that the service shows.", account.place);
            problems.push(Finding::failure(format!("{service} key"), error.to_string(), next, Topic::Keys));
            None
        }
    }
}

/// Returns the accounts and rules of the command line and the environment.
fn target_of(args: &CheckArgs) -> anyhow::Result<Target> {
    let mut problems = Vec::new();
    let mut account = |service, file: &Option<PathBuf>, variable: &str, flag: &str, url: &url::Url| match key(
        file.as_deref(),
        variable,
    ) {
        Ok(Some((key, place))) => Some(Account { url: url.clone(), key: key.into(), place }),
        Ok(None) => {
            let next = format!("Set {variable}, or use {flag} FILE.");
            problems.push(Finding::warning(
                format!("{service} key"),
                "not given, so this account is not checked",
                next,
                Topic::Keys,
            ));
            None
        }
        Err(error) => {
            let next = format!("Correct {flag}.");
            problems.push(Finding::failure(format!("{service} key"), error, next, Topic::Keys));
            None
        }
    };
    let lever =
        account(Service::Lever, &args.lever_key_file, "LEVER_API_KEY", "--lever-key-file", &args.lever_url);
    let interview = account(
        Service::Interview,
        &args.interview_key_file,
        "CODERPAD_API_KEY",
        "--interview-key-file",
        &args.interview_url,
    );
    if lever.is_none() && interview.is_none() {
        for problem in &mut problems {
            problem.level = Level::Failure;
        }
    }
    Ok(Target {
        lever,
        interview,
        perform_as: args.perform_as.clone().filter(|id| !id.is_empty()),
        rules: rules(args),
        webhook_url: args.webhook_url.clone().filter(|url| !url.is_empty()),
        webhook_mode: WebhookMode::Manual,
        problems,
    })
}

/// Returns the text of the file, or else of the variable, with its place.
fn key(file: Option<&std::path::Path>, variable: &str) -> Result<Option<(String, String)>, String> {
    if let Some(file) = file.filter(|file| !file.as_os_str().is_empty()) {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        return Ok(Some((text, file.display().to_string())));
    }
    let text = std::env::var(variable).ok().filter(|text| !text.trim().is_empty());
    Ok(text.map(|text| (text, variable.to_owned())))
}

/// Returns one rule for each stage and tag, question, and owner.
fn rules(args: &CheckArgs) -> Vec<Rule> {
    let tags: Vec<Option<&String>> =
        if args.tags.is_empty() { vec![None] } else { args.tags.iter().map(Some).collect() };
    let pairs = args.stages.iter().flat_map(|stage| tags.iter().map(move |tag| (stage, *tag)));
    let pairs =
        pairs.map(|(stage, tag)| Rule { stage: Some(stage.clone()), tag: tag.cloned(), ..Rule::default() });
    let questions = args.questions.iter().map(|id| Rule { question: Some(*id), ..Rule::default() });
    let owners = args.owners.iter().map(|email| Rule { owner: Some(email.clone()), ..Rule::default() });
    pairs.chain(questions).chain(owners).collect()
}
