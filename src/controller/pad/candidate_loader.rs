//! One page of Lever's list tells all Pads that wait for one rule of their candidates.
//!
//! When many candidates are moved at once, a read for each would be a third of all calls, and Lever's rate limit decides
//! how long recruiters wait. So where a crowd waits, the list of the rule is read instead, a page for up to a hundred.
//!
//! A page only tells who is there: about a candidate who is not on it, the candidate is asked for. And it tells nobody
//! who began to wait after it was asked for: what a Pad is judged by is never older than what it is judged for.

use super::observe::{self, RelatedObjects};
use super::shared_reads::{SharedReadTicket, SharedReads};
use crate::api::Pad;
use crate::api::names;
use crate::api::pad::Phase;
use crate::lever::{LeverClient, Opportunity, PAGE_SIZE, PageToken};
use crate::telemetry::health::patiently;
use crate::transport::{Error, Permit};
use kube::ResourceExt;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// So many Pads of one rule are a crowd: a page costs one call, as a single read does.
const BATCH_MIN_WAITERS: usize = 5;
/// Three or more that come no further apart than this are a crowd that is still coming: a moment later a page tells more.
const BATCH_ARRIVAL_GAP: Duration = Duration::from_millis(25);
/// So long it is waited for, at most, until a page is read; not when there are enough for a whole page.
const BATCH_WINDOW_MAX: Duration = Duration::from_millis(250);
/// A page that tells fewer than this was not worth it.
const USEFUL_PAGE_MIN_CANDIDATES: usize = 5;
/// After one such page, and one more for so many Pads, it is given up: the candidates are not on the list.
const PADS_PER_WASTED_PAGE: usize = 10;
/// For so long each Pad then asks for itself, unless twice as many wait by then; also after a page that could not be had.
const BATCH_COOLDOWN: Duration = Duration::from_secs(60);
/// For so long it is believed what a page has told. A hundred Pads take a third of that at Lever's rate limit.
const CANDIDATE_CACHE_TTL: Duration = Duration::from_secs(30);

/// Whose list it is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct ListKey {
    namespace: String,
    connection: String,
    stage_id: String,
    tag: String,
}

/// The Pads that wait, by rule.
#[derive(Debug, Default)]
pub struct CandidateLoader {
    crowds: Mutex<HashMap<ListKey, Weak<Batch>>>,
    singles: SharedReads,
}

#[derive(Debug)]
struct Batch {
    rule: ListKey,
    waiting: Mutex<Waiters>,
    walk: tokio::sync::Mutex<Cursor>,
}

/// Those who wait, by the opportunity's id.
#[derive(Debug, Default)]
struct Waiters {
    number: u64,
    asked: HashMap<String, Waiter>,
    /// How many of them have been told nothing.
    untold: usize,
    /// When the last ones came, as many as are a crowd.
    came: VecDeque<Instant>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    told: Option<CachedCandidate>,
}

#[derive(Debug)]
struct CachedCandidate {
    at: Instant,
    /// The page that told it; None is the first.
    page: Option<PageToken>,
    opportunity: Box<Opportunity>,
}

impl CachedCandidate {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() <= CANDIDATE_CACHE_TTL
    }
}

#[derive(Debug, Default)]
struct Cursor {
    /// Where it goes on, unless the page is known that tells of whoever is next.
    next: Option<PageToken>,
    in_vain: usize,
    rest: Option<Cooldown>,
}

/// No page is read until a time, or until so many wait.
#[derive(Debug)]
struct Cooldown {
    until: Instant,
    enough: usize,
}

/// A Pad that waits to hear of its candidate. It waits no more when this is dropped.
#[derive(Debug)]
pub struct Ticket {
    version: Option<String>,
    single: SharedReadTicket,
    /// None: no list reports whether it gets a pad.
    listed: Option<BatchTicket>,
}

/// A Pad whose candidate a page may report.
#[derive(Debug)]
struct BatchTicket {
    crowd: Arc<Batch>,
    opportunity_id: String,
    number: u64,
    /// The page that has told it what is too old by now; inside, None is the first page.
    told_by: Option<Option<PageToken>>,
}

impl CandidateLoader {
    /// From now on this Pad waits; None if it is not likely to read its candidate. `rules_of_stage` counts the rules of
    /// the connection that name the stage.
    pub fn enroll(
        &self,
        pad: &Pad,
        around: &RelatedObjects,
        rules_of_stage: impl FnOnce() -> usize,
    ) -> Option<Ticket> {
        let is_waiting = matches!(pad.phase(), None | Some(Phase::Pending));
        let is_alive = pad.metadata.deletion_timestamp.is_none();
        if !is_alive || !(is_waiting || observe::is_requested(pad)) {
            return None;
        }
        let (namespace, connection) = (pad.namespace().unwrap_or_default(), around.connection_name.as_ref()?);
        let opportunity_id = &pad.spec.opportunity_id;
        let expects_more = rules_of_stage() > 1 && !pad.is_manual();
        let single = self.singles.register(&namespace, connection, opportunity_id, expects_more);
        let is_new = is_waiting
            && !pad.is_manual()
            && [names::ATTEMPT, names::PAD_ID].iter().all(|key| !pad.annotations().contains_key(*key));
        let rule = || {
            let configuration = around.configuration.as_deref().filter(|_| is_new)?;
            let stage_id = configuration.status.as_ref()?.stage.as_ref()?.id.clone();
            let (connection, tag) = (connection.clone(), configuration.spec.tag.clone());
            Some(ListKey { namespace: namespace.clone(), connection, stage_id, tag })
        };
        let listed = rule().map(|rule| BatchTicket::new(self.batch(rule), opportunity_id.clone()));
        Some(Ticket { version: pad.resource_version(), single, listed })
    }

    fn batch(&self, rule: ListKey) -> Arc<Batch> {
        let mut crowds = self.crowds.lock();
        if let Some(crowd) = crowds.get(&rule).and_then(Weak::upgrade) {
            return crowd;
        }
        crowds.retain(|_, crowd| crowd.strong_count() > 0);
        let crowd =
            Arc::new(Batch { rule: rule.clone(), waiting: Mutex::default(), walk: Default::default() });
        crowds.insert(rule, Arc::downgrade(&crowd));
        crowd
    }
}

impl Waiters {
    /// Of a candidate the last one to ask is told; its number is returned.
    fn register(&mut self, opportunity_id: String) -> u64 {
        self.number += 1;
        self.came.push_back(Instant::now());
        if self.came.len() > BATCH_MIN_WAITERS {
            self.came.pop_front();
        }
        let asked = Waiter { number: self.number, told: None };
        let before = self.asked.insert(opportunity_id, asked);
        self.untold += usize::from(before.is_none_or(|before| before.told.is_some()));
        self.number
    }

    /// Until when it counts as still coming if nobody else comes; None if it has come.
    fn batch_window_end(&self) -> Option<Instant> {
        let later = (0..).zip(self.came.iter().rev());
        let until = later.skip(2).map(|(later, came)| *came + BATCH_ARRIVAL_GAP * later).max()?;
        Some(until).filter(|until| Instant::now() < *until)
    }

    fn deliver(&mut self, told: CachedCandidate, last: u64) -> bool {
        let Some(asked) = self.asked.get_mut(&told.opportunity.id).filter(|asked| asked.number <= last)
        else {
            return false;
        };
        let before = asked.told.replace(told);
        self.untold -= usize::from(before.is_none());
        before.is_none_or(|before| !before.is_fresh())
    }

    fn take(&mut self, opportunity_id: &str, number: u64) -> Option<CachedCandidate> {
        let asked = self.asked.get_mut(opportunity_id).filter(|asked| asked.number == number)?;
        let told = asked.told.take()?;
        self.untold += 1;
        Some(told)
    }

    fn forget(&mut self, opportunity_id: &str, number: u64) {
        // A later one of the same candidate has its place.
        if self.asked.get(opportunity_id).is_some_and(|asked| asked.number == number)
            && let Some(asked) = self.asked.remove(opportunity_id)
        {
            self.untold -= usize::from(asked.told.is_none());
        }
    }
}

impl Ticket {
    /// Whether it is this version of the Pad that waits.
    pub fn is_of(&self, pad: &Pad) -> bool {
        self.version == pad.resource_version()
    }

    /// The candidate: as a page has told, or as Lever answers for this one.
    ///
    /// # Errors
    /// As [`LeverClient::opportunity`].
    pub async fn read(self, lever: &LeverClient) -> Result<Opportunity, Error> {
        match self.listed {
            Some(listed) => listed.read(lever, &self.single).await,
            None => self.single.read(lever, None).await,
        }
    }
}

impl BatchTicket {
    fn new(crowd: Arc<Batch>, opportunity_id: String) -> Self {
        let number = crowd.waiting.lock().register(opportunity_id.clone());
        Self { crowd, opportunity_id, number, told_by: None }
    }

    async fn read(mut self, lever: &LeverClient, single: &SharedReadTicket) -> Result<Opportunity, Error> {
        if let Some(opportunity) = self.take_delivered() {
            return Ok(opportunity);
        }
        let crowd = self.crowd.clone();
        // Who waits here is told by the page that the first of them reads. While they wait for the rate limit others come,
        // so one at a time does, and only then is it decided what to read.
        let mut walk = patiently(crowd.walk.lock()).await;
        for _ in 0..=crowd.pending_count() / PADS_PER_WASTED_PAGE {
            if let Some(opportunity) = self.take_delivered() {
                return Ok(opportunity);
            }
            patiently(crowd.wait_for_batch(&walk)).await;
            let is_for_pages = |walk: &Cursor, untold: usize| {
                (self.told_by.is_some() || untold >= BATCH_MIN_WAITERS) && !walk.is_cooling_down(untold)
            };
            // A permit for each Pad of a candidate would delay all others.
            if single.is_shared() && !is_for_pages(&walk, crowd.pending_count()) {
                drop(walk);
                return single.read(lever, None).await;
            }
            let permit = lever.permit().await;
            if !is_for_pages(&walk, crowd.pending_count()) {
                drop(walk);
                return single.read(lever, Some(permit)).await;
            }
            if let Some(page) = self.told_by.take() {
                walk.next = page;
            }
            crowd.read_page(&mut walk, lever, permit).await;
        }
        drop(walk);
        match self.take_delivered() {
            Some(opportunity) => Ok(opportunity),
            None => single.read(lever, None).await,
        }
    }

    /// What a page has told, unless that is too old.
    fn take_delivered(&mut self) -> Option<Opportunity> {
        let told = self.crowd.waiting.lock().take(&self.opportunity_id, self.number)?;
        if told.is_fresh() {
            return Some(*told.opportunity);
        }
        self.told_by = Some(told.page);
        None
    }
}

impl Drop for BatchTicket {
    fn drop(&mut self) {
        self.crowd.waiting.lock().forget(&self.opportunity_id, self.number);
    }
}

impl Cursor {
    fn is_cooling_down(&self, untold: usize) -> bool {
        self.rest.as_ref().is_some_and(|rest| untold < rest.enough && Instant::now() < rest.until)
    }
}

impl Batch {
    fn pending_count(&self) -> usize {
        self.waiting.lock().untold
    }

    /// Waits for those who are still coming, unless no page is read anyway.
    async fn wait_for_batch(&self, walk: &Cursor) {
        let latest = Instant::now() + BATCH_WINDOW_MAX;
        let comes_until = || {
            let waiting = self.waiting.lock();
            let is_for_a_page = waiting.untold < PAGE_SIZE && !walk.is_cooling_down(waiting.untold);
            waiting.batch_window_end().filter(|_| is_for_a_page && Instant::now() < latest)
        };
        while let Some(until) = comes_until() {
            tokio::time::sleep_until(until.min(latest)).await;
        }
    }

    /// Reads the next page, and tells those who waited when it was asked for. After pages in vain the walk rests.
    async fn read_page(&self, walk: &mut Cursor, lever: &LeverClient, permit: Permit) {
        let (last, untold) = {
            let waiting = self.waiting.lock();
            (waiting.number, waiting.untold)
        };
        let at = Instant::now();
        let ListKey { stage_id, tag, .. } = &self.rule;
        let rest = |enough: usize| Cursor {
            rest: Some(Cooldown { until: at + BATCH_COOLDOWN, enough }),
            ..Cursor::default()
        };
        match lever.opportunities(permit, stage_id, tag, walk.next.as_ref()).await {
            Ok(page) => {
                let here = walk.next.take();
                let told_many =
                    self.deliver(page.opportunities, here.as_ref(), last, at) >= USEFUL_PAGE_MIN_CANDIDATES;
                // On the last page there may soon be more.
                walk.next = page.next.or_else(|| here.filter(|_| told_many));
                walk.in_vain = if told_many { 0 } else { walk.in_vain + 1 };
                if walk.in_vain > untold / PADS_PER_WASTED_PAGE {
                    *walk = rest(2 * untold);
                }
            }
            Err(error) if error.is_stale_page() && walk.next.is_some() => walk.next = None,
            Err(_) => *walk = rest(usize::MAX),
        }
    }

    /// Returns how many are told who were not before.
    fn deliver(
        &self,
        opportunities: Vec<Opportunity>,
        page: Option<&PageToken>,
        last: u64,
        at: Instant,
    ) -> usize {
        let mut waiting = self.waiting.lock();
        // What does not fit the list has changed while it was made: it is asked for.
        let fits = |one: &Opportunity| one.stage == self.rule.stage_id && one.tags.contains(&self.rule.tag);
        let told = opportunities.into_iter().filter(fits);
        told.map(|one| CachedCandidate { at, page: page.cloned(), opportunity: Box::new(one) })
            .map(|told| usize::from(waiting.deliver(told, last)))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::testing::transport;
    use futures::future::join_all;
    use simulators::{LeverOptions, LeverSimulator, NewCandidate};

    const STAGE: &str = "Phone Screen";
    const TAG: &str = "coderpad";

    struct Account {
        simulator: LeverSimulator,
        lever: LeverClient,
        crowd: Arc<Batch>,
        singles: SharedReads,
    }

    impl Account {
        async fn new() -> Self {
            let options = LeverOptions { rate_limit: None, ..LeverOptions::default() };
            let key = options.api_key.clone().into();
            let simulator = LeverSimulator::start(options).await.unwrap();
            let url = simulator.url().parse().unwrap();
            let lever = LeverClient::new(&transport(Duration::from_secs(5)), &url, key, None).unwrap();
            let stage_id = simulator.stage_id(STAGE).unwrap();
            let (namespace, connection) = ("hiring".to_owned(), "acme".to_owned());
            let rule = ListKey { namespace, connection, stage_id, tag: TAG.into() };
            let crowd = CandidateLoader::default().batch(rule);
            Self { simulator, lever, crowd, singles: SharedReads::default() }
        }

        async fn candidate(&self, tag: &str) -> String {
            let new = NewCandidate { name: "A".into(), tags: vec![tag.into()], ..NewCandidate::default() };
            let id = self.simulator.add_candidate(new);
            self.simulator.move_to_stage(&id, STAGE).await;
            id
        }

        async fn candidates(&self, count: usize) -> Vec<String> {
            join_all((0..count).map(|_| self.candidate(TAG))).await
        }

        fn ask(&self, id: &str) -> Ticket {
            let single = self.singles.register("hiring", "acme", id, false);
            let listed = Some(BatchTicket::new(self.crowd.clone(), id.to_owned()));
            Ticket { version: None, single, listed }
        }

        /// A Pad of another rule with the same stage, whose tag the candidate does not carry.
        fn ask_by_rule(&self, number: usize, id: &str) -> Ticket {
            let rule = ListKey { tag: format!("tag-{number}"), ..self.crowd.rule.clone() };
            let crowd = CandidateLoader::default().batch(rule);
            let single = self.singles.register("hiring", "acme", id, true);
            Ticket { version: None, single, listed: Some(BatchTicket::new(crowd, id.to_owned())) }
        }

        async fn read_all(&self, demands: Vec<Ticket>) -> Vec<String> {
            let read = join_all(demands.into_iter().map(|demand| demand.read(&self.lever))).await;
            read.into_iter().map(|opportunity| opportunity.unwrap().id).collect()
        }

        /// Calls so far: lists, and single reads.
        fn calls(&self) -> (usize, usize) {
            let calls = self.simulator.calls();
            let lists = calls.iter().filter(|call| call.path == "/v1/opportunities").count();
            (lists, calls.len() - lists)
        }
    }

    #[tokio::test]
    async fn a_crowd_is_told_by_pages_and_a_few_ask_for_themselves() {
        let account = Account::new().await;
        let few = account.candidates(BATCH_MIN_WAITERS - 1).await;
        let demands = few.iter().map(|id| account.ask(id)).collect();
        assert_eq!(account.read_all(demands).await, few);
        assert_eq!(account.calls(), (0, BATCH_MIN_WAITERS - 1));

        let many = account.candidates(150).await;
        account.simulator.clear_calls();
        let demands = many.iter().map(|id| account.ask(id)).collect();
        assert_eq!(account.read_all(demands).await, many);
        let (lists, singles) = account.calls();
        // 159 are in the stage: two pages. Who is on neither when it is their turn asks.
        assert!(lists <= 3 && singles <= BATCH_MIN_WAITERS, "{lists} lists, {singles} single reads");
        assert_eq!(account.crowd.waiting.lock().asked.len(), 0);
    }

    /// Those who come first ask for themselves, for nobody knows how many will follow.
    #[tokio::test]
    async fn a_crowd_that_is_still_coming_is_waited_for() {
        let account = Account::new().await;
        let ids = account.candidates(60).await;
        let reads = ids.iter().enumerate().map(async |(number, id)| {
            tokio::time::sleep(Duration::from_millis(3 * number as u64)).await;
            account.ask(id).read(&account.lever).await.unwrap().id
        });
        assert_eq!(join_all(reads).await, ids);
        let (lists, singles) = account.calls();
        assert!(lists <= 5 && singles <= 2, "{lists} lists, {singles} single reads");
    }

    #[tokio::test]
    async fn those_who_have_their_pads_are_passed_over() {
        let account = Account::new().await;
        account.candidates(120).await;
        let waiting = account.candidates(110).await;
        let demands = waiting.iter().map(|id| account.ask(id)).collect();
        assert_eq!(account.read_all(demands).await, waiting);
        let (lists, singles) = account.calls();
        assert!(lists <= 4 && singles <= BATCH_MIN_WAITERS, "{lists} lists, {singles} single reads");
    }

    #[tokio::test]
    async fn who_comes_after_the_page_was_asked_for_is_not_told_by_it() {
        let account = Account::new().await;
        let ids = account.candidates(BATCH_MIN_WAITERS + 1).await;
        let mut demands: Vec<_> = ids.iter().map(|id| account.ask(id)).collect();
        let first = demands.remove(0);
        first.read(&account.lever).await.unwrap();
        assert_eq!(account.calls(), (1, 0));
        // The next version of a Pad that was told of already.
        let (mut again, mut told) = (account.ask(&ids[1]), demands.remove(0));
        let heard = |demand: &mut Ticket| demand.listed.as_mut().unwrap().take_delivered();
        assert!(heard(&mut told).is_none(), "another one has its place");
        drop(told);
        assert!(heard(&mut again).is_none());
        assert!(heard(&mut demands[0]).is_some());
    }

    #[tokio::test]
    async fn who_is_not_on_the_list_is_asked_for_and_a_list_that_tells_nothing_is_left_alone() {
        let account = Account::new().await;
        let untagged = join_all((0..PADS_PER_WASTED_PAGE - 1).map(|_| account.candidate("other"))).await;
        let demands = untagged.iter().map(|id| account.ask(id)).collect();
        assert_eq!(account.read_all(demands).await, untagged);
        assert_eq!(account.calls(), (1, PADS_PER_WASTED_PAGE - 1));
    }

    #[tokio::test]
    async fn a_list_that_cannot_be_had_holds_up_nobody() {
        let account = Account::new().await;
        let ids = account.candidates(BATCH_MIN_WAITERS).await;
        let lists = simulators::Fault::on("GET", "^/v1/opportunities$");
        account.simulator.faults().add(lists.status(503).until_removed());
        let demands = ids.iter().map(|id| account.ask(id)).collect();
        assert_eq!(account.read_all(demands).await, ids);
        assert_eq!(account.calls(), (1, BATCH_MIN_WAITERS));
    }

    #[tokio::test]
    async fn one_read_serves_the_pads_of_all_rules_of_a_candidate() {
        let account = Account::new().await;
        let id = account.candidate(TAG).await;
        let by_rules = (0..20).map(async |number| {
            // The receiver stores them one after the other.
            tokio::time::sleep(Duration::from_millis(5 * number as u64)).await;
            account.ask_by_rule(number, &id).read(&account.lever).await.unwrap().id
        });
        assert_eq!(join_all(by_rules).await, vec![id.clone(); 20]);
        assert_eq!(account.calls(), (0, 1));
        // The next move is another matter, and a candidate who is gone is asked for once as well.
        assert_eq!(account.read_all(vec![account.ask(&id)]).await, [id]);
        assert_eq!(account.calls(), (0, 2));
        let gone: Vec<_> = (0..20).map(|number| account.ask_by_rule(number, "nobody")).collect();
        let answers = join_all(gone.into_iter().map(|demand| demand.read(&account.lever))).await;
        assert!(answers.iter().all(Result::is_err));
        assert_eq!(account.calls(), (0, 3));
    }

    /// contract P7
    #[tokio::test]
    async fn a_read_that_began_before_a_pad_registered_does_not_serve_it() {
        let account = Account::new().await;
        let id = account.candidate(TAG).await;
        let slow =
            simulators::Fault::on("GET", &format!("/{id}$")).pause(simulators::PausePoint::AfterEffect);
        let slow = account.simulator.faults().add(slow);
        let first = account.ask(&id).read(&account.lever);
        let later = async {
            slow.reached().await;
            account.simulator.add_tag(&id, "added-later");
            let demand = account.ask(&id);
            slow.release();
            demand.read(&account.lever).await.unwrap().tags.contains(&"added-later".to_owned())
        };
        let (first, is_up_to_date) = tokio::join!(first, later);
        assert!(first.is_ok() && is_up_to_date);
        assert_eq!(account.calls(), (0, 2));
    }

    #[tokio::test]
    async fn a_failed_read_is_not_shared() {
        let account = Account::new().await;
        let id = account.candidate(TAG).await;
        let fault = simulators::Fault::on("GET", &format!("/{id}$")).status(503).times(1);
        account.simulator.faults().add(fault);
        let demands = (0..3).map(|number| account.ask_by_rule(number, &id).read(&account.lever));
        let answers = join_all(demands).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2, "{answers:?}");
        assert_eq!(account.calls(), (0, 2));
    }

    #[tokio::test]
    async fn what_was_told_too_long_ago_is_not_believed_and_read_again_for_all() {
        let account = Account::new().await;
        let ids = account.candidates(2 * BATCH_MIN_WAITERS).await;
        let mut demands: Vec<_> = ids.iter().map(|id| account.ask(id)).collect();
        demands.remove(0).read(&account.lever).await.unwrap();
        tokio::time::pause();
        tokio::time::advance(CANDIDATE_CACHE_TTL + Duration::from_secs(1)).await;
        tokio::time::resume();
        assert_eq!(account.read_all(demands).await, ids[1..]);
        assert_eq!(account.calls(), (2, 0));
    }
}
