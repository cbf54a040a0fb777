//! Batches candidate reads: one page of `GET /opportunities` answers all Pads that wait for the same rule.
//!
//! After a bulk move, individual reads would be a third of all calls, and Lever's rate limit determines how long
//! recruiters wait. If enough Pads of a rule wait, its list is read instead, with up to 100 candidates per page.
//!
//! A page proves only presence: a candidate who is not on it is read individually. It does not answer Pads that
//! registered after its request was sent, so that no Pad is judged on data older than its trigger.

use super::shared_reads::{SharedReadTicket, SharedReads};
use api::Pad;
use api::names;
use api::pad::Phase;
use engine::observe::RelatedObjects;
use http_client::{Permit, ServiceError};
use kube::ResourceExt;
use lever::{LEVER_PAGE_SIZE, LeverClient, Opportunity, PageToken};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// Minimum number of waiting Pads of a rule for which a list page replaces individual reads.
const BATCH_MIN_WAITERS: usize = 5;
/// Maximum gap between arrivals of a batch in progress. After three or more such arrivals, the read waits for further
/// Pads.
const BATCH_ARRIVAL_GAP: Duration = Duration::from_millis(25);
/// Maximum batching delay; skipped once a full page of Pads is waiting.
const BATCH_WINDOW_MAX: Duration = Duration::from_millis(250);
/// Minimum number of waiting Pads that a useful page answers.
const USEFUL_PAGE_MIN_CANDIDATES: usize = 5;
/// Number of waiting Pads per additional useless page, after which paging stops: the candidates are not on the list.
const PADS_PER_WASTED_PAGE: usize = 10;
/// Duration of individual reads after useless pages, unless twice as many Pads wait by then, or after a failed page.
const BATCH_COOLDOWN: Duration = Duration::from_secs(60);
/// Maximum age of listed data. 100 Pads take about a third of it under Lever's rate limit.
const CANDIDATE_CACHE_TTL: Duration = Duration::from_secs(30);

/// Key of a list: the rule of a connection.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct ListKey {
    namespace: String,
    connection: String,
    stage_id: String,
    tag: String,
}

/// Batches of waiting Pads, by rule.
#[derive(Debug, Default)]
pub struct CandidateLoader {
    batches: Mutex<HashMap<ListKey, Weak<Batch>>>,
    singles: SharedReads,
}

#[derive(Debug)]
struct Batch {
    rule: ListKey,
    waiting: Mutex<Waiters>,
    cursor: tokio::sync::Mutex<Cursor>,
}

/// The waiting Pads of a batch, by opportunity ID.
#[derive(Debug, Default)]
struct Waiters {
    number: u64,
    by_id: HashMap<String, Waiter>,
    /// Number of Pads without delivered data.
    pending: usize,
    /// Times of the last `BATCH_MIN_WAITERS` arrivals.
    arrivals: VecDeque<Instant>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    delivered: Option<CachedCandidate>,
}

#[derive(Debug)]
struct CachedCandidate {
    at: Instant,
    /// The page that contained it; `None` is the first page.
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
    /// The next page, unless the page of the next Pad is known.
    next: Option<PageToken>,
    useless_pages: usize,
    cooldown: Option<Cooldown>,
}

/// Suspension of paging until a time, or until enough Pads wait.
#[derive(Debug)]
struct Cooldown {
    until: Instant,
    enough: usize,
}

/// Registration of a Pad that waits for its candidate, until this is dropped.
#[derive(Debug)]
pub struct Ticket {
    version: Option<String>,
    single: SharedReadTicket,
    /// `None`: no list shows whether the candidate is eligible.
    listed: Option<BatchTicket>,
}

/// Registration of a Pad in a batch.
#[derive(Debug)]
struct BatchTicket {
    batch: Arc<Batch>,
    opportunity_id: String,
    number: u64,
    /// The page that produced the expired data; `Some(None)` is the first page.
    expired: Option<Option<PageToken>>,
}

impl CandidateLoader {
    /// Registers a Pad; `None` if it is unlikely to read its candidate. `rules_of_stage` counts the rules of its stage.
    pub fn enroll(
        &self,
        pad: &Pad,
        around: &RelatedObjects,
        rules_of_stage: impl FnOnce() -> usize,
    ) -> Option<Ticket> {
        let is_waiting = matches!(pad.phase(), None | Some(Phase::Pending));
        let is_alive = pad.metadata.deletion_timestamp.is_none();
        if !is_alive || !(is_waiting || engine::observe::is_requested(pad)) {
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
        let mut batches = self.batches.lock();
        if let Some(batch) = batches.get(&rule).and_then(Weak::upgrade) {
            return batch;
        }
        batches.retain(|_, batch| batch.strong_count() > 0);
        let batch =
            Arc::new(Batch { rule: rule.clone(), waiting: Mutex::default(), cursor: Default::default() });
        batches.insert(rule, Arc::downgrade(&batch));
        batch
    }
}

impl Waiters {
    /// Registers a waiter and returns its number. A newer waiter for the same candidate replaces an older one.
    fn register(&mut self, opportunity_id: String) -> u64 {
        self.number += 1;
        self.arrivals.push_back(Instant::now());
        if self.arrivals.len() > BATCH_MIN_WAITERS {
            self.arrivals.pop_front();
        }
        let waiter = Waiter { number: self.number, delivered: None };
        let before = self.by_id.insert(opportunity_id, waiter);
        self.pending += usize::from(before.is_none_or(|before| before.delivered.is_some()));
        self.number
    }

    /// Returns the time at which the batch is complete without further arrivals; `None` if it is complete now.
    fn batch_window_end(&self) -> Option<Instant> {
        let later = (0..).zip(self.arrivals.iter().rev());
        let until = later.skip(2).map(|(later, arrival)| *arrival + BATCH_ARRIVAL_GAP * later).max()?;
        Some(until).filter(|until| Instant::now() < *until)
    }

    fn deliver(&mut self, found: CachedCandidate, last: u64) -> bool {
        let Some(waiter) = self.by_id.get_mut(&found.opportunity.id).filter(|waiter| waiter.number <= last)
        else {
            return false;
        };
        let before = waiter.delivered.replace(found);
        self.pending -= usize::from(before.is_none());
        before.is_none_or(|before| !before.is_fresh())
    }

    fn take(&mut self, opportunity_id: &str, number: u64) -> Option<CachedCandidate> {
        let waiter = self.by_id.get_mut(opportunity_id).filter(|waiter| waiter.number == number)?;
        let delivered = waiter.delivered.take()?;
        self.pending += 1;
        Some(delivered)
    }

    fn forget(&mut self, opportunity_id: &str, number: u64) {
        // A newer waiter for the same candidate may have replaced this one.
        if self.by_id.get(opportunity_id).is_some_and(|waiter| waiter.number == number)
            && let Some(waiter) = self.by_id.remove(opportunity_id)
        {
            self.pending -= usize::from(waiter.delivered.is_none());
        }
    }
}

impl Ticket {
    /// Reports whether the ticket is for this version of the Pad.
    pub fn is_of(&self, pad: &Pad) -> bool {
        self.version == pad.resource_version()
    }

    /// Returns the candidate from a page, or from an individual read.
    ///
    /// # Errors
    /// As [`LeverClient::opportunity`].
    pub async fn read(self, lever: &LeverClient) -> Result<Opportunity, ServiceError> {
        match self.listed {
            Some(listed) => listed.read(lever, &self.single).await,
            None => self.single.read(lever, None).await,
        }
    }
}

impl BatchTicket {
    fn new(batch: Arc<Batch>, opportunity_id: String) -> Self {
        let number = batch.waiting.lock().register(opportunity_id.clone());
        Self { batch, opportunity_id, number, expired: None }
    }

    async fn read(
        mut self,
        lever: &LeverClient,
        single: &SharedReadTicket,
    ) -> Result<Opportunity, ServiceError> {
        if let Some(opportunity) = self.take_delivered() {
            return Ok(opportunity);
        }
        let batch = self.batch.clone();
        // The page that the first waiter reads answers the others. Further Pads arrive while it waits for the rate
        // limit, so only one waiter at a time acquires a permit, and decides afterwards between a page and a read.
        let mut cursor = batch.cursor.lock().await;
        for _ in 0..=batch.pending_count() / PADS_PER_WASTED_PAGE {
            if let Some(opportunity) = self.take_delivered() {
                return Ok(opportunity);
            }
            batch.wait_for_batch(&cursor).await;
            let is_for_pages = |cursor: &Cursor, pending: usize| {
                (self.expired.is_some() || pending >= BATCH_MIN_WAITERS) && !cursor.is_cooling_down(pending)
            };
            // A permit for each Pad of a candidate would delay all others.
            if single.is_shared() && !is_for_pages(&cursor, batch.pending_count()) {
                drop(cursor);
                return single.read(lever, None).await;
            }
            let permit = lever.permit().await;
            if !is_for_pages(&cursor, batch.pending_count()) {
                drop(cursor);
                return single.read(lever, Some(permit)).await;
            }
            if let Some(page) = self.expired.take() {
                cursor.next = page;
            }
            batch.read_page(&mut cursor, lever, permit).await;
        }
        drop(cursor);
        match self.take_delivered() {
            Some(opportunity) => Ok(opportunity),
            None => single.read(lever, None).await,
        }
    }

    /// Takes the data that a page delivered, unless it is expired.
    fn take_delivered(&mut self) -> Option<Opportunity> {
        let delivered = self.batch.waiting.lock().take(&self.opportunity_id, self.number)?;
        if delivered.is_fresh() {
            return Some(*delivered.opportunity);
        }
        self.expired = Some(delivered.page);
        None
    }
}

impl Drop for BatchTicket {
    fn drop(&mut self) {
        self.batch.waiting.lock().forget(&self.opportunity_id, self.number);
    }
}

impl Cursor {
    fn is_cooling_down(&self, pending: usize) -> bool {
        self.cooldown.as_ref().is_some_and(|one| pending < one.enough && Instant::now() < one.until)
    }
}

impl Batch {
    fn pending_count(&self) -> usize {
        self.waiting.lock().pending
    }

    /// Waits until the batch is complete, if a page may be read.
    async fn wait_for_batch(&self, cursor: &Cursor) {
        let latest = Instant::now() + BATCH_WINDOW_MAX;
        let window_end = || {
            let waiting = self.waiting.lock();
            let is_for_a_page = waiting.pending < LEVER_PAGE_SIZE && !cursor.is_cooling_down(waiting.pending);
            waiting.batch_window_end().filter(|_| is_for_a_page && Instant::now() < latest)
        };
        while let Some(until) = window_end() {
            tokio::time::sleep_until(until.min(latest)).await;
        }
    }

    /// Reads the next page and delivers it to the Pads registered before the request. Useless pages suspend paging.
    async fn read_page(&self, cursor: &mut Cursor, lever: &LeverClient, permit: Permit) {
        let (last, pending) = {
            let waiting = self.waiting.lock();
            (waiting.number, waiting.pending)
        };
        let at = Instant::now();
        let ListKey { stage_id, tag, .. } = &self.rule;
        let cool_down = |enough: usize| Cursor {
            cooldown: Some(Cooldown { until: at + BATCH_COOLDOWN, enough }),
            ..Cursor::default()
        };
        match lever.opportunities(permit, stage_id, Some(tag), cursor.next.as_ref()).await {
            Ok(page) => {
                let here = cursor.next.take();
                let is_useful =
                    self.deliver(page.opportunities, here.as_ref(), last, at) >= USEFUL_PAGE_MIN_CANDIDATES;
                // The last page may soon contain more candidates.
                cursor.next = page.next.or_else(|| here.filter(|_| is_useful));
                cursor.useless_pages = if is_useful { 0 } else { cursor.useless_pages + 1 };
                if cursor.useless_pages > pending / PADS_PER_WASTED_PAGE {
                    *cursor = cool_down(2 * pending);
                }
            }
            Err(error) if error.is_stale_page() && cursor.next.is_some() => cursor.next = None,
            Err(_) => *cursor = cool_down(usize::MAX),
        }
    }

    /// Delivers candidates and returns the number of Pads that had no current data before.
    fn deliver(
        &self,
        opportunities: Vec<Opportunity>,
        page: Option<&PageToken>,
        last: u64,
        at: Instant,
    ) -> usize {
        let mut waiting = self.waiting.lock();
        // A candidate that does not match the rule changed while the list was built, and is read individually.
        let fits = |one: &Opportunity| one.stage == self.rule.stage_id && one.tags.contains(&self.rule.tag);
        let rows = opportunities.into_iter().filter(fits);
        rows.map(|one| CachedCandidate { at, page: page.cloned(), opportunity: Box::new(one) })
            .map(|found| usize::from(waiting.deliver(found, last)))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;
    use http_client::testing::transport;
    use simulators::{LeverOptions, LeverSimulator, NewCandidate};

    const STAGE: &str = "Phone Screen";
    const TAG: &str = "coderpad";

    struct Account {
        simulator: LeverSimulator,
        lever: LeverClient,
        batch: Arc<Batch>,
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
            let batch = CandidateLoader::default().batch(rule);
            Self { simulator, lever, batch, singles: SharedReads::default() }
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

        fn request(&self, id: &str) -> Ticket {
            let single = self.singles.register("hiring", "acme", id, false);
            let listed = Some(BatchTicket::new(self.batch.clone(), id.to_owned()));
            Ticket { version: None, single, listed }
        }

        /// A Pad of another rule with the same stage, whose tag the candidate does not carry.
        fn request_by_rule(&self, number: usize, id: &str) -> Ticket {
            let rule = ListKey { tag: format!("tag-{number}"), ..self.batch.rule.clone() };
            let batch = CandidateLoader::default().batch(rule);
            let single = self.singles.register("hiring", "acme", id, true);
            Ticket { version: None, single, listed: Some(BatchTicket::new(batch, id.to_owned())) }
        }

        async fn read_all(&self, tickets: Vec<Ticket>) -> Vec<String> {
            let read = join_all(tickets.into_iter().map(|ticket| ticket.read(&self.lever))).await;
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
    async fn many_pads_are_answered_by_pages_and_few_by_individual_reads() {
        let account = Account::new().await;
        let few = account.candidates(BATCH_MIN_WAITERS - 1).await;
        let tickets = few.iter().map(|id| account.request(id)).collect();
        assert_eq!(account.read_all(tickets).await, few);
        assert_eq!(account.calls(), (0, BATCH_MIN_WAITERS - 1));

        let many = account.candidates(150).await;
        account.simulator.clear_calls();
        let tickets = many.iter().map(|id| account.request(id)).collect();
        assert_eq!(account.read_all(tickets).await, many);
        let (lists, singles) = account.calls();
        // More than one page of candidates is in the stage. A Pad whose candidate is on neither reads individually.
        assert!(lists <= 3 && singles <= BATCH_MIN_WAITERS, "{lists} lists, {singles} single reads");
        assert_eq!(account.batch.waiting.lock().by_id.len(), 0);
    }

    /// The first Pads read individually, because the number of further Pads is unknown.
    #[tokio::test]
    async fn a_read_waits_for_a_batch_in_progress() {
        let account = Account::new().await;
        let ids = account.candidates(60).await;
        let reads = ids.iter().enumerate().map(async |(number, id)| {
            tokio::time::sleep(Duration::from_millis(3 * number as u64)).await;
            account.request(id).read(&account.lever).await.unwrap().id
        });
        assert_eq!(join_all(reads).await, ids);
        let (lists, singles) = account.calls();
        assert!(lists <= 5 && singles <= 2, "{lists} lists, {singles} single reads");
    }

    #[tokio::test]
    async fn pages_of_candidates_with_pads_are_skipped() {
        let account = Account::new().await;
        account.candidates(120).await;
        let waiting = account.candidates(110).await;
        let tickets = waiting.iter().map(|id| account.request(id)).collect();
        assert_eq!(account.read_all(tickets).await, waiting);
        let (lists, singles) = account.calls();
        assert!(lists <= 4 && singles <= BATCH_MIN_WAITERS, "{lists} lists, {singles} single reads");
    }

    #[tokio::test]
    async fn a_page_does_not_answer_pads_that_registered_after_its_request() {
        let account = Account::new().await;
        let ids = account.candidates(BATCH_MIN_WAITERS + 1).await;
        let mut tickets: Vec<_> = ids.iter().map(|id| account.request(id)).collect();
        let first = tickets.remove(0);
        first.read(&account.lever).await.unwrap();
        assert_eq!(account.calls(), (1, 0));
        // The next version of a Pad whose candidate was delivered already.
        let (mut again, mut delivered) = (account.request(&ids[1]), tickets.remove(0));
        let take = |ticket: &mut Ticket| ticket.listed.as_mut().unwrap().take_delivered();
        assert!(take(&mut delivered).is_none(), "a newer waiter replaced it");
        drop(delivered);
        assert!(take(&mut again).is_none());
        assert!(take(&mut tickets[0]).is_some());
    }

    #[tokio::test]
    async fn missing_candidates_are_read_individually_and_useless_lists_are_suspended() {
        let account = Account::new().await;
        let untagged = join_all((0..PADS_PER_WASTED_PAGE - 1).map(|_| account.candidate("other"))).await;
        let tickets = untagged.iter().map(|id| account.request(id)).collect();
        assert_eq!(account.read_all(tickets).await, untagged);
        assert_eq!(account.calls(), (1, PADS_PER_WASTED_PAGE - 1));
    }

    #[tokio::test]
    async fn a_failed_list_delays_no_pad() {
        let account = Account::new().await;
        let ids = account.candidates(BATCH_MIN_WAITERS).await;
        let lists = simulators::Fault::on("GET", "^/v1/opportunities$");
        account.simulator.faults().add(lists.status(503).until_removed());
        let tickets = ids.iter().map(|id| account.request(id)).collect();
        assert_eq!(account.read_all(tickets).await, ids);
        assert_eq!(account.calls(), (1, BATCH_MIN_WAITERS));
    }

    #[tokio::test]
    async fn one_read_serves_the_pads_of_all_rules_of_a_candidate() {
        // On a busy machine, the Pads may register further apart than the gap: such an attempt proves nothing.
        let mut attempts = 0;
        let (account, id) = loop {
            let account = Account::new().await;
            let id = account.candidate(TAG).await;
            let registered = parking_lot::Mutex::new(Vec::new());
            let by_rules = (0..20).map(async |number| {
                // The webhook receiver stores them one after the other.
                tokio::time::sleep(Duration::from_millis(5 * number as u64)).await;
                let ticket = account.request_by_rule(number, &id);
                registered.lock().push(std::time::Instant::now());
                ticket.read(&account.lever).await.unwrap().id
            });
            assert_eq!(join_all(by_rules).await, vec![id.clone(); 20]);
            let is_close = |pair: &[std::time::Instant]| pair[1] - pair[0] < Duration::from_millis(20);
            if registered.lock().windows(2).all(is_close) {
                assert_eq!(account.calls(), (0, 1));
                break (account, id);
            }
            attempts += 1;
            assert!(attempts < 50, "this machine never registers 20 Pads within 20 ms of each other");
        };
        // The next move causes a new read, and a missing candidate is read only once as well.
        assert_eq!(account.read_all(vec![account.request(&id)]).await, [id]);
        assert_eq!(account.calls(), (0, 2));
        let gone: Vec<_> = (0..20).map(|number| account.request_by_rule(number, "nobody")).collect();
        let answers = join_all(gone.into_iter().map(|ticket| ticket.read(&account.lever))).await;
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
        let first = account.request(&id).read(&account.lever);
        let later = async {
            slow.reached().await;
            account.simulator.add_tag(&id, "added-later");
            let ticket = account.request(&id);
            slow.release();
            ticket.read(&account.lever).await.unwrap().tags.contains(&"added-later".to_owned())
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
        let tickets = (0..3).map(|number| account.request_by_rule(number, &id).read(&account.lever));
        let answers = join_all(tickets).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2, "{answers:?}");
        assert_eq!(account.calls(), (0, 2));
    }

    #[tokio::test]
    async fn expired_data_is_discarded_and_read_again_for_all_pads() {
        let account = Account::new().await;
        let ids = account.candidates(2 * BATCH_MIN_WAITERS).await;
        let mut tickets: Vec<_> = ids.iter().map(|id| account.request(id)).collect();
        tickets.remove(0).read(&account.lever).await.unwrap();
        tokio::time::pause();
        tokio::time::advance(CANDIDATE_CACHE_TTL + Duration::from_secs(1)).await;
        tokio::time::resume();
        assert_eq!(account.read_all(tickets).await, ids[1..]);
        assert_eq!(account.calls(), (2, 0));
    }
}
