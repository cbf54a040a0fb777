//! The main job, from the first `kubectl apply` to the links in Lever, as a sequence of steps. Each step fails if what
//! it says did not happen.

use anyhow::{Context as _, ensure};
use simulators::{DeliveryBehaviour, InterviewSimulator, LeverSimulator};

use crate::candidates::{self, Candidate};
use crate::console::Console;
use crate::examples::{self, CONNECTION, NAMESPACE, Rule};
use crate::kubectl::Kubectl;
use crate::stage::{Services, apply_file};

/// How often the services are polled. Short, so that one can watch it; the default is five minutes.
const SYNC_INTERVAL: &str = "10s";

/// Who was in the story.
pub(crate) struct Cast {
    /// With a live pad, with a take-home, skipped, moved twice.
    pub candidates: [Candidate; 4],
    /// The name of the skipped Pad.
    pub skipped: String,
}

/// Everything that the story is told with.
pub(crate) struct Story<'a> {
    pub console: &'a Console,
    pub kubectl: &'a Kubectl,
    pub services: &'a Services,
}

impl Story<'_> {
    /// Tells it, and returns who was in it.
    pub(crate) async fn tell(&self) -> anyhow::Result<Cast> {
        self.console.line("\nConnect the two accounts, as in examples/:");
        let (phone_screen, take_home) = self.apply_examples().await?;
        self.connect_webhook().await?;

        self.console.line("\nRecruiters move candidates, Lever sends signed webhooks:");
        let lever = &self.services.lever;
        let ada = Candidate::new(lever, "Ada Marlow", Some(&phone_screen.tag));
        let grace = Candidate::of_posting(lever, "Grace Fennimore", &take_home.tag);
        let linus = Candidate::new(lever, "Linus Oakhurst", None);
        let joan = Candidate::new(lever, "Joan Tamsin", Some(&phone_screen.tag));
        self.live_pad(&ada, &phone_screen).await?;
        self.take_home(&grace, &take_home).await?;
        let skipped = self.no_tag(&linus, &phone_screen).await?;
        self.twice(&joan, &phone_screen).await?;
        self.nothing_more(3, 4).await?;
        self.ask_for_fresh_status(3).await?;

        let cast = Cast { candidates: [ada, grace, linus, joan], skipped };
        self.show(&cast).await?;
        Ok(cast)
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
        let said = kubectl.apply(&examples::secret(&services.keys)?).await?;
        step.done(format_args!("examples/secrets.yaml, with the simulators' keys: {}", said.trim_end()));

        let step = console.begin("connection.yaml");
        let (lever, interview) = (services.lever.url(), services.interview.url());
        let said = kubectl.apply(&examples::connection(&lever, &interview, SYNC_INTERVAL)?).await?;
        step.done(format_args!("examples/connection.yaml, with the simulators' URLs: {}", said.trim_end()));
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

    async fn live_pad(&self, candidate: &Candidate, rule: &Rule) -> anyhow::Result<()> {
        let Rule { stage, tag, .. } = rule;
        let what = format!("{}, tagged {tag:?}, moves to {stage:?}", candidate.name);
        let step = self.console.begin(&what);
        let pad = self.open(candidate, rule).await?;
        let url = self.check(candidate, &pad, rule).await?;
        step.done(format_args!("{what}: a live pad"));
        self.console.detail(format_args!("{url} is on the profile in Lever"));
        Ok(())
    }

    async fn take_home(&self, candidate: &Candidate, rule: &Rule) -> anyhow::Result<()> {
        let Rule { stage, tag, .. } = rule;
        let what = format!("{}, tagged {tag:?} by the posting, moves to {stage:?}", candidate.name);
        let step = self.console.begin(&what);
        let pad = self.open(candidate, rule).await?;
        let url = self.check(candidate, &pad, rule).await?;
        step.done(format_args!("{what}: a take-home of 2 hours"));
        self.console.detail(format_args!("{url} is on the profile in Lever"));
        Ok(())
    }

    async fn no_tag(&self, candidate: &Candidate, rule: &Rule) -> anyhow::Result<String> {
        let what = format!("{}, without the tag, moves to {:?}", candidate.name, rule.stage);
        let step = self.console.begin(&what);
        let told = candidates::move_to(self.lever(), candidate, &rule.stage).await?;
        let pad = candidates::stored(&told)?;
        self.reaches(&pad, "Skipped").await?;
        let why = candidates::check_skipped(self.kubectl, self.lever(), self.interview(), (candidate, &pad));
        let why = why.await?;
        step.done(format_args!("{what}: skipped, TagMissing"));
        why.split_inclusive(". ").for_each(|sentence| self.console.detail(sentence.trim_end()));
        Ok(pad)
    }

    async fn twice(&self, candidate: &Candidate, rule: &Rule) -> anyhow::Result<()> {
        const AWAY: &str = "Onsite";
        let what = format!("{} moves to {:?}, is moved away and back", candidate.name, rule.stage);
        let step = self.console.begin(&what);
        self.lever().set_delivery_behaviour(DeliveryBehaviour { copies: 2, ..Default::default() });
        let first = candidates::move_to(self.lever(), candidate, &rule.stage).await?;
        let pad = candidates::stored(&first)?;
        self.reaches(&pad, "Open").await?;
        let away = candidates::move_to(self.lever(), candidate, AWAY).await?;
        let back = candidates::move_to(self.lever(), candidate, &rule.stage).await?;
        ensure!(candidates::stored(&back)? == pad, "a second Pad was made for {}", candidate.name);
        let rerun = self.lever().redeliver(first[0].number).await;
        ensure!(rerun.received(), "a webhook delivered again was answered with {:?}", rerun.status);
        self.lever().set_delivery_behaviour(DeliveryBehaviour::default());
        candidates::looked_at_again(self.kubectl, &pad).await?;
        self.check(candidate, &pad, rule).await?;
        step.done(format_args!("{what}: still one pad, one link"));
        let webhooks = first.len() + away.len() + back.len() + 1;
        self.console.detail(format_args!(
            "{webhooks} webhooks: each was delivered twice, and the first once more by Rerun"
        ));
        Ok(())
    }

    /// Moves a candidate and waits until the pad is open; returns the Pad's name.
    async fn open(&self, candidate: &Candidate, rule: &Rule) -> anyhow::Result<String> {
        let told = candidates::move_to(self.lever(), candidate, &rule.stage).await?;
        let pad = candidates::stored(&told)?;
        self.reaches(&pad, "Open").await?;
        Ok(pad)
    }

    async fn reaches(&self, pad: &str, phase: &str) -> anyhow::Result<()> {
        self.kubectl.wait(&format!("pad/{pad}"), &format!("jsonpath={{.status.phase}}={phase}")).await
    }

    async fn check(&self, candidate: &Candidate, pad: &str, rule: &Rule) -> anyhow::Result<String> {
        candidates::check_pad(self.kubectl, self.lever(), self.interview(), (candidate, pad, rule)).await
    }

    /// Counts what there is in all three places, and asks both services whether they had anything to complain of.
    async fn nothing_more(&self, made: usize, resources: usize) -> anyhow::Result<()> {
        let step = self.console.begin("counting");
        let pads = self.interview().pads().len();
        ensure!(pads == made, "{pads} pads have been made at CoderPad instead of {made}");
        let listed = self.kubectl.run(&format!("get pads -n {NAMESPACE} -o name")).await?.lines().count();
        ensure!(listed == resources, "there are {listed} Pads instead of {resources}");
        let violations = [self.lever().violations(), self.interview().violations()].concat();
        ensure!(violations.is_empty(), "the real services would refuse this: {}", violations.join("; "));
        let requests = self.lever().calls().len() + self.interview().calls().len();
        step.done(format_args!(
            "counted: {made} pads at CoderPad for {made} candidates; {requests} requests, none that the real services \
             would refuse"
        ));
        Ok(())
    }

    /// Asks, as a person may, for the status that is otherwise only brought up to date at each interval.
    async fn ask_for_fresh_status(&self, open: u64) -> anyhow::Result<()> {
        const BOTH: &str = "leverconnections,padconfigurations";
        let command =
            format!("annotate {BOTH} --all -n {NAMESPACE} padoperator.dev/reconcile-requested-at=now");
        let step = self.console.begin(format_args!("kubectl {command}"));
        self.kubectl.run(&command).await?;
        self.kubectl.wait(&format!("{BOTH} --all"), "jsonpath={.status.lastHandledReconcileAt}=now").await?;
        let quota = self.interview().quota();
        let connection = self.kubectl.get(CONNECTION).await?;
        let remaining = &connection["status"]["quota"]["remaining"];
        ensure!(
            remaining.as_u64() == quota.limit.map(|limit| limit - quota.used),
            "{CONNECTION} should show a quota of {quota:?}, not {remaining} remaining"
        );
        let configurations = self.kubectl.get("padconfigurations").await?;
        let items = configurations["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let counted: u64 = items.iter().filter_map(|item| item["status"]["pads"]["open"].as_u64()).sum();
        ensure!(counted == open, "the PadConfigurations should count {open} open Pads, not {counted}");
        step.done(format_args!("kubectl {command}"));
        self.console.detail("their status is fresh: the quota and the counts below");
        Ok(())
    }

    async fn show(&self, cast: &Cast) -> anyhow::Result<()> {
        for what in ["leverconnections", "padconfigurations", "pads"] {
            let command = format!("get {what} -n {NAMESPACE}");
            let answer = self.kubectl.run(&command).await?;
            self.console.command(&format!("kubectl {command}"), &answer);
        }
        self.console.line("\nThe candidates, as Lever has them now:");
        self.console.table(&candidates::table(self.lever(), &cast.candidates));
        self.console.line("");
        Ok(())
    }
}
