//! The main job, from the first `kubectl apply` to the links in Lever, as a sequence of steps. Each step fails if its
//! effect did not occur.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use simulators::{DeliveryBehaviour, DeliveryOutcome, InterviewSimulator, LeverSimulator};
use testkit::Operator;

use crate::console::Console;
use crate::environment::{Environment, Services, apply_file};
use crate::examples::{self, CONNECTION, LIVE_RULE, NAMESPACE, Rule};
use crate::fixtures::{self, Candidate, WriteBack};
use crate::kubectl::Kubectl;

/// Interval at which the services are polled. Short enough to watch; the default is five minutes.
const SYNC_INTERVAL: &str = "10s";

/// Time at which the demo's rule is said to have taken effect. A webhook counts as lost only when it is some minutes
/// overdue, which would take too long to wait for.
const RULE_EFFECTIVE_SINCE: &str = "2020-01-01T00:00:00Z";

/// Age of the stage change whose webhook is lost.
const OVERDUE: Duration = Duration::from_secs(10 * 60);

/// Code that is typed in the interview.
const CODE: &str = "def is_palindrome(text):\n    return text == text[::-1]\n";

/// Candidates of the scenario.
pub(crate) struct Candidates {
    /// Interviewed, with a take-home, tagged late, moved twice, moved without a webhook.
    pub fixtures: [Candidate; 5],
}

/// Scenario and the services that it uses.
pub(crate) struct Scenario<'a> {
    pub console: &'a Console,
    pub kubectl: &'a Kubectl,
    pub services: &'a Services,
}

impl<'a> Scenario<'a> {
    /// Returns the scenario of a started environment, and the operator.
    pub(crate) fn new(
        stage: &'a mut Environment,
        console: &'a Console,
    ) -> anyhow::Result<(Self, &'a mut Operator)> {
        let Environment {
            kubectl: Some(kubectl), services: Some(services), operator: Some(operator), ..
        } = stage
        else {
            bail!("the environment is not started");
        };
        Ok((Self { console, kubectl, services }, operator))
    }

    /// Runs the scenario and returns its candidates.
    pub(crate) async fn run(&self) -> anyhow::Result<Candidates> {
        let (phone_screen, take_home) = self.connect().await?;
        self.console.line("\nRecruiters move candidates, Lever sends signed webhooks:");
        let lever = &self.services.lever;
        let (ada, to_talk) = self.first_candidate(&phone_screen).await?;
        let grace = Candidate::for_posting(lever, "Grace Fennimore", &take_home.tag);
        let linus = Candidate::new(lever, "Linus Oakhurst", None);
        let joan = Candidate::new(lever, "Joan Tamsin", Some(&phone_screen.tag));
        self.take_home(&grace, &take_home).await?;
        let skipped = self.no_tag(&linus, &phone_screen).await?;
        self.moved_twice(&joan, &phone_screen).await?;

        self.console.line(
            "\nSync finds changes without a webhook: every 5 minutes by default, here every 10 s, or on request, as here, by\n\
             kubectl annotate leverconnection/acme -n hiring padoperator.dev/reconcile-requested-at=...",
        );
        self.interview_starts(&ada, &to_talk).await?;
        self.interview_ends(&ada, &to_talk, &phone_screen).await?;
        self.late_tag(&linus, &skipped, &phone_screen).await?;
        let edith = self.lost_webhook(&phone_screen).await?;
        self.verify_webhook_again().await?;

        self.console.line("\nResult:");
        self.check_totals(5).await?;
        self.update_status(4, 1).await?;

        let candidates = Candidates { fixtures: [ada, grace, linus, joan, edith] };
        self.print_tables(&candidates).await?;
        Ok(candidates)
    }

    /// Connects the two accounts. Returns the rules of the live interview and of the take-home.
    pub(crate) async fn connect(&self) -> anyhow::Result<(Rule, Rule)> {
        self.console.line("\nConnect the two accounts, as in examples/:");
        let rules = self.apply_examples().await?;
        self.connect_webhook().await?;
        Ok(rules)
    }

    /// Moves the first candidate, and returns it with the name of the Pad.
    pub(crate) async fn first_candidate(&self, rule: &Rule) -> anyhow::Result<(Candidate, String)> {
        let ada = Candidate::new(self.lever(), "Ada Marlow", Some(&rule.tag));
        let pad = self.live_pad(&ada, rule).await?;
        Ok((ada, pad))
    }

    fn lever(&self) -> &LeverSimulator {
        &self.services.lever
    }

    fn interview(&self) -> &InterviewSimulator {
        &self.services.interview
    }

    async fn apply_examples(&self) -> anyhow::Result<(Rule, Rule)> {
        let Self { console, kubectl, services } = self;
        apply_file(kubectl, console, "examples/namespace.yaml").await?;

        let step = console.begin("secrets.yaml");
        let printed = kubectl.apply(&examples::secret(&services.keys)?).await?;
        step.done(format_args!("examples/secrets.yaml, with the simulators' keys: {}", printed.trim_end()));

        let step = console.begin("connection.yaml");
        let (lever, interview) = (services.lever.url(), services.interview.url());
        let printed = kubectl.apply(&examples::connection(&lever, &interview, SYNC_INTERVAL)?).await?;
        step.done(format_args!(
            "examples/connection.yaml, with the simulators' URLs: {}",
            printed.trim_end()
        ));
        for file in [examples::PHONE_SCREEN, examples::TAKE_HOME] {
            apply_file(kubectl, console, &format!("examples/{file}")).await?;
        }

        let step = console.begin("waiting until all are Ready");
        kubectl.wait(CONNECTION, "condition=Ready").await?;
        kubectl.wait("padconfigurations --all", "condition=Ready").await?;
        step.done(
            "the LeverConnection has reached both services and the PadConfigurations are usable: all Ready",
        );
        Ok((examples::rule(examples::PHONE_SCREEN)?, examples::rule(examples::TAKE_HOME)?))
    }

    async fn connect_webhook(&self) -> anyhow::Result<()> {
        let Self { console, kubectl, services } = self;
        let step = console.begin("pressing Verify in Lever");
        let connection = kubectl.get(CONNECTION).await?;
        let url =
            connection["status"]["webhookURL"].as_str().context("the connection has no status.webhookURL")?;
        self.lever().set_webhook(url, &services.keys.signing_token);
        let verify = self.lever().verify().await;
        ensure!(verify.verified, "Verify in Lever was answered with {:?} {}", verify.status, verify.answer);
        kubectl.wait(CONNECTION, "condition=WebhookVerified").await?;
        step.done(format_args!("{url} pasted into Lever and Verify pressed: WebhookVerified"));
        Ok(())
    }

    async fn live_pad(&self, candidate: &Candidate, rule: &Rule) -> anyhow::Result<String> {
        let Rule { stage, tag, .. } = rule;
        let what = format!("{}, tagged {tag:?}, moves to {stage:?}", candidate.name);
        let step = self.console.begin(&what);
        let pad = self.move_and_wait_open(candidate, rule).await?;
        let url = self.check_pad(candidate, &pad, rule).await?;
        step.done(format_args!("{what}: a live pad"));
        self.console.detail(format_args!("{url} is on the profile in Lever"));
        Ok(pad)
    }

    async fn take_home(&self, candidate: &Candidate, rule: &Rule) -> anyhow::Result<()> {
        let Rule { stage, tag, .. } = rule;
        let what = format!("{}, tagged {tag:?} by the posting, moves to {stage:?}", candidate.name);
        let step = self.console.begin(&what);
        let pad = self.move_and_wait_open(candidate, rule).await?;
        let url = self.check_pad(candidate, &pad, rule).await?;
        step.done(format_args!("{what}: a take-home of 2 hours"));
        self.console.detail(format_args!("{url} is on the profile in Lever"));
        Ok(())
    }

    async fn no_tag(&self, candidate: &Candidate, rule: &Rule) -> anyhow::Result<String> {
        let what = format!("{}, without the tag, moves to {:?}", candidate.name, rule.stage);
        let step = self.console.begin(&what);
        let deliveries = fixtures::move_to(self.lever(), candidate, &rule.stage).await?;
        let pad = fixtures::stored_pad(&deliveries)?;
        self.wait_for_phase(&pad, "Skipped").await?;
        let why = fixtures::check_skipped(self.kubectl, self.lever(), self.interview(), (candidate, &pad));
        let why = why.await?;
        step.done(format_args!("{what}: skipped, TagMissing"));
        self.console.quote(&why);
        Ok(pad)
    }

    async fn moved_twice(&self, candidate: &Candidate, rule: &Rule) -> anyhow::Result<()> {
        const AWAY: &str = "Onsite";
        let what = format!("{} moves to {:?}, is moved away and back", candidate.name, rule.stage);
        let step = self.console.begin(&what);
        self.lever().set_delivery_behaviour(DeliveryBehaviour { copies: 2, ..Default::default() });
        let first = fixtures::move_to(self.lever(), candidate, &rule.stage).await?;
        let pad = fixtures::stored_pad(&first)?;
        self.wait_for_phase(&pad, "Open").await?;
        let away = fixtures::move_to(self.lever(), candidate, AWAY).await?;
        let back = fixtures::move_to(self.lever(), candidate, &rule.stage).await?;
        ensure!(fixtures::stored_pad(&back)? == pad, "a second Pad was created for {}", candidate.name);
        let rerun = self.lever().redeliver(first[0].number).await;
        ensure!(rerun.received(), "a webhook delivered again was answered with {:?}", rerun.status);
        self.lever().set_delivery_behaviour(DeliveryBehaviour::default());
        fixtures::wait_until_reconciled(self.kubectl, &pad).await?;
        self.check_pad(candidate, &pad, rule).await?;
        step.done(format_args!("{what}: still one pad, one link"));
        let webhooks = first.len() + away.len() + back.len() + 1;
        self.console.detail(format_args!(
            "{webhooks} webhooks: each was delivered twice, and the first once more by Rerun"
        ));
        Ok(())
    }

    async fn interview_starts(&self, candidate: &Candidate, pad: &str) -> anyhow::Result<()> {
        let what = format!("{} and an interviewer join the pad", candidate.name);
        let step = self.console.begin(&what);
        let id = self.pad_id(pad).await?;
        self.interview().start_interview(&id, &[candidate.name, "Olga Owner"]);
        self.sync("the-interview-has-begun").await?;
        self.wait_for_phase(pad, "Started").await?;
        step.done(format_args!("{what}: Started"));
        Ok(())
    }

    async fn interview_ends(&self, candidate: &Candidate, pad: &str, rule: &Rule) -> anyhow::Result<()> {
        let what = format!("{} types some code, the interviewer ends the interview", candidate.name);
        let step = self.console.begin(&what);
        let id = self.pad_id(pad).await?;
        let before = self.lever().tags(&candidate.id).join(", ");
        self.interview().type_code(&id, "main.py", CODE);
        self.interview().end_interview(&id);
        self.sync("the-interview-is-over").await?;
        self.wait_for_phase(pad, "Ended").await?;
        self.kubectl.wait(&format!("pad/{pad}"), "condition=RecordAdded").await?;
        let record = (candidate, pad, rule, CODE);
        let record = fixtures::check_write_back(self.kubectl, self.lever(), self.interview(), record).await?;
        let WriteBack { playback, note } = record;
        step.done(format_args!("{what}: Ended"));
        let console = self.console;
        console.detail(format_args!("playback: {playback}"));
        let after = self.lever().tags(&candidate.id).join(", ");
        console.detail(format_args!("tags in Lever: {before} -> {after}"));
        console.detail("one note on the profile in Lever:");
        note.lines().for_each(|line| console.detail(format_args!("  | {line}").to_string().trim_end()));
        Ok(())
    }

    async fn late_tag(&self, candidate: &Candidate, pad: &str, rule: &Rule) -> anyhow::Result<()> {
        let what = format!("{} is tagged {:?} after all", candidate.name, rule.tag);
        let step = self.console.begin(&what);
        let delivered_before = self.lever().deliveries().len();
        self.lever().add_tag(&candidate.id, &rule.tag);
        self.sync("a-tag-was-late").await?;
        self.wait_for_phase(pad, "Open").await?;
        self.check_pad(candidate, pad, rule).await?;
        ensure!(
            self.lever().deliveries().len() == delivered_before,
            "Lever has no webhook for tags, but has sent one"
        );
        step.done(format_args!("{what}, of which Lever sends no webhook: a live pad"));
        Ok(())
    }

    async fn lost_webhook(&self, rule: &Rule) -> anyhow::Result<Candidate> {
        const NAME: &str = "Edith Calloway";
        let what = format!("{NAME} moves to {:?}, and the webhook is lost", rule.stage);
        let step = self.console.begin(&what);
        self.backdate_rule().await?;
        let moved = SystemTime::now().duration_since(UNIX_EPOCH)?.saturating_sub(OVERDUE);
        let at = |time: Duration| i64::try_from(time.as_millis());
        let candidate = Candidate::since(self.lever(), NAME, &rule.tag, at(moved.saturating_sub(OVERDUE))?);
        self.lever().set_delivery_behaviour(DeliveryBehaviour { drop: true, ..Default::default() });
        let numbers = self.lever().move_to_stage_at(&candidate.id, &rule.stage, at(moved)?).await.deliveries;
        self.lever().set_delivery_behaviour(DeliveryBehaviour::default());
        let deliveries = self.lever().deliveries();
        let lost = |number: &usize| {
            deliveries.get(*number).is_some_and(|one| one.outcome == DeliveryOutcome::Dropped)
        };
        ensure!(
            !numbers.is_empty() && numbers.iter().all(lost),
            "Lever should have lost the webhook for {NAME}"
        );

        self.sync("a-webhook-was-lost").await?;
        let pad = fixtures::pad_created_by_sync(self.kubectl, &candidate).await?;
        self.wait_for_phase(&pad, "Open").await?;
        self.check_pad(&candidate, &pad, rule).await?;
        self.kubectl.wait(CONNECTION, "condition=WebhookVerified=False").await?;
        let (reason, why) = fixtures::condition(&self.kubectl.get(CONNECTION).await?, "WebhookVerified")?;
        ensure!(reason == "DeliveryMissed", "{CONNECTION} should report DeliveryMissed, not {reason}: {why}");
        step.done(format_args!("{what}: a live pad nevertheless"));
        let minutes = OVERDUE.as_secs() / 60;
        let console = self.console;
        console.detail(format_args!(
            "(A webhook counts as lost when it is 2 minutes overdue: so the move is backdated by {minutes} minutes, and the \
             rule by more.)"
        ));
        console.detail("The connection now has WebhookVerified=False, DeliveryMissed:");
        console.quote(&why);
        Ok(candidate)
    }

    /// Backdates the rule to before the lost webhook, and waits until the operator has seen that.
    async fn backdate_rule(&self) -> anyhow::Result<()> {
        let status = format!(
            r#"{{"effectiveSince":"{RULE_EFFECTIVE_SINCE}","existingSettledFor":"{RULE_EFFECTIVE_SINCE}"}}"#
        );
        let patch = format!(r#"--subresource=status --type=merge -p {{"status":{status}}}"#);
        self.kubectl.run(&format!("patch {LIVE_RULE} -n {NAMESPACE} {patch}")).await?;
        self.request_reconcile(LIVE_RULE, "dated-back").await
    }

    async fn verify_webhook_again(&self) -> anyhow::Result<()> {
        const WHAT: &str = "Verify pressed in Lever again, as the message says";
        let step = self.console.begin(WHAT);
        // The receiver records a request only after it has seen the condition, which another sync ensures.
        self.sync("the-webhook-is-there-again").await?;
        let verify = self.lever().verify().await;
        ensure!(verify.verified, "Verify in Lever was answered with {:?} {}", verify.status, verify.answer);
        self.kubectl.wait(CONNECTION, "condition=WebhookVerified").await?;
        step.done(format_args!("{WHAT}: WebhookVerified=True"));
        Ok(())
    }

    /// Returns the ID that CoderPad gave to the pad of a Pad.
    async fn pad_id(&self, pad: &str) -> anyhow::Result<String> {
        let object = self.kubectl.get(&format!("pad/{pad}")).await?;
        let id = object["status"]["padID"].as_str();
        Ok(id.with_context(|| format!("pad {pad} has no status.padID"))?.to_owned())
    }

    /// Requests a sync as a person does, and waits until it is over. `request` is any value that was not used before.
    async fn sync(&self, request: &str) -> anyhow::Result<()> {
        self.request_reconcile(CONNECTION, request).await
    }

    async fn request_reconcile(&self, target: &str, request: &str) -> anyhow::Result<()> {
        self.kubectl.run(&annotate_command(target, request)).await?;
        let answered = format!("jsonpath={{.status.lastHandledReconcileAt}}={request}");
        self.kubectl.wait(target, &answered).await
    }

    /// Moves a candidate and waits until the pad is open. Returns the Pad's name.
    async fn move_and_wait_open(&self, candidate: &Candidate, rule: &Rule) -> anyhow::Result<String> {
        let deliveries = fixtures::move_to(self.lever(), candidate, &rule.stage).await?;
        let pad = fixtures::stored_pad(&deliveries)?;
        self.wait_for_phase(&pad, "Open").await?;
        Ok(pad)
    }

    async fn wait_for_phase(&self, pad: &str, phase: &str) -> anyhow::Result<()> {
        self.kubectl.wait(&format!("pad/{pad}"), &format!("jsonpath={{.status.phase}}={phase}")).await
    }

    async fn check_pad(&self, candidate: &Candidate, pad: &str, rule: &Rule) -> anyhow::Result<String> {
        fixtures::check_pad(self.kubectl, self.lever(), self.interview(), (candidate, pad, rule)).await
    }

    /// Counts the results in all three places, and checks that the services rejected no request.
    async fn check_totals(&self, fixtures: usize) -> anyhow::Result<()> {
        let step = self.console.begin("counting");
        let made = self.interview().pads().len();
        ensure!(made == fixtures, "CoderPad has {made} pads instead of {fixtures}");
        let listed = self.kubectl.run(&format!("get pads -n {NAMESPACE} -o name")).await?.lines().count();
        ensure!(listed == fixtures, "there are {listed} Pads instead of {fixtures}");
        let violations = [self.lever().violations(), self.interview().violations()].concat();
        ensure!(violations.is_empty(), "the real services would reject this: {}", violations.join("; "));
        let requests = self.lever().calls().len() + self.interview().calls().len();
        step.done(format_args!(
            "{made} pads in CoderPad for {fixtures} candidates; {requests} requests, none that the real services \
             would reject"
        ));
        Ok(())
    }

    /// Requests an update of the status that otherwise changes only at each sync interval.
    async fn update_status(&self, move_and_wait_open: u64, ended: u64) -> anyhow::Result<()> {
        const ALL_RESOURCES: &str = "leverconnections,padconfigurations --all";
        let command = annotate_command(ALL_RESOURCES, "now");
        let step = self.console.begin(format_args!("kubectl {command}"));
        self.request_reconcile(ALL_RESOURCES, "now").await?;
        let quota = self.interview().quota();
        let connection = self.kubectl.get(CONNECTION).await?;
        let remaining = &connection["status"]["quota"]["remaining"];
        ensure!(
            remaining.as_u64() == quota.limit.map(|limit| limit - quota.used),
            "{CONNECTION} should show a quota of {quota:?}, not {remaining} remaining"
        );
        let configurations = self.kubectl.get("padconfigurations").await?;
        let items = configurations["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (phase, expected) in [("open", move_and_wait_open), ("ended", ended)] {
            let counts = items.iter().filter_map(|item| item["status"]["pads"][phase].as_u64());
            let counted: u64 = counts.sum();
            ensure!(
                counted == expected,
                "the PadConfigurations should count {expected} {phase} Pads, not {counted}"
            );
        }
        step.done("status updated for the tables below, as at each sync:");
        self.console.detail(format_args!("kubectl {command}"));
        Ok(())
    }

    async fn print_tables(&self, candidates: &Candidates) -> anyhow::Result<()> {
        for what in ["leverconnections", "padconfigurations", "pads"] {
            let command = format!("get {what} -n {NAMESPACE}");
            let answer = self.kubectl.run(&command).await?;
            self.console.command(&format!("kubectl {command}"), &answer);
        }
        self.console.line("\nThe candidates, as Lever has them now:");
        self.console.table(&fixtures::table(self.lever(), &candidates.fixtures));
        self.console.line("");
        Ok(())
    }
}

/// Returns the arguments of kubectl for a reconcile request.
fn annotate_command(target: &str, request: &str) -> String {
    format!("annotate {target} -n {NAMESPACE} --overwrite padoperator.dev/reconcile-requested-at={request}")
}
