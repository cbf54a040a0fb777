//! One page of Lever's list tells all Pads that wait for one rule of their candidates.
//!
//! When many candidates are moved at once, a read for each would be a third of all calls, and Lever's rate limit decides
//! how long recruiters wait. So where a crowd waits, the list of the rule is read instead, a page for up to a hundred.
//!
//! A page only tells who is there: about a candidate who is not on it, the candidate is asked for. And it tells nobody
//! who began to wait after it was asked for: what a Pad is judged by is never older than what it is judged for.

use super::observe::Surroundings;
use crate::api::Pad;
use crate::api::names;
use crate::api::pad::Phase;
use crate::lever::{LeverClient, Opportunity, PageToken};
use crate::transport::Error;
use kube::ResourceExt;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// So many Pads of one rule are a crowd: a page costs one call, as a single read does.
const CROWD: usize = 10;
/// A page that tells fewer than this was not worth it.
const FEW: usize = 5;
/// After one such page, and one more for so many Pads, it is given up: the candidates are not on the list.
const PADS_FOR_A_PAGE: usize = 100;
/// For so long each Pad then asks for itself; also after a page that could not be had.
const REST: Duration = Duration::from_secs(60);
/// For so long it is believed what a page has told. A hundred Pads take about that long at Lever's rate limit.
const FRESH: Duration = Duration::from_secs(15);

/// Whose list it is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Rule {
    namespace: String,
    connection: String,
    stage_id: String,
    tag: String,
}

/// The Pads that wait, by rule.
#[derive(Debug, Default)]
pub struct Readings {
    crowds: Mutex<HashMap<Rule, Weak<Crowd>>>,
}

#[derive(Debug)]
struct Crowd {
    rule: Rule,
    waiting: Mutex<Waiting>,
    walk: tokio::sync::Mutex<Walk>,
}

#[derive(Debug, Default)]
struct Waiting {
    number: u64,
    /// By the opportunity's id.
    asked: HashMap<String, Asked>,
}

#[derive(Debug)]
struct Asked {
    number: u64,
    told: Option<(Instant, Box<Opportunity>)>,
}

#[derive(Debug, Default)]
struct Walk {
    /// Where it goes on: those who came first are told first, by the pages that Lever fills first.
    next: Option<PageToken>,
    in_vain: usize,
    rests_until: Option<Instant>,
}

/// What came of reading a page.
#[derive(Eq, PartialEq)]
enum Page {
    ToldMany,
    ToldFew,
    Rests,
}

/// A Pad that waits to hear of its candidate. It waits no more when this is dropped.
#[derive(Debug)]
pub struct Demand {
    crowd: Arc<Crowd>,
    opportunity_id: String,
    number: u64,
    version: Option<String>,
}

impl Readings {
    /// From now on this Pad waits; None if it is not for a list to tell whether it gets a pad.
    pub fn join(&self, pad: &Pad, around: &Surroundings) -> Option<Demand> {
        let is_new = matches!(pad.phase(), None | Some(Phase::Pending))
            && !pad.is_manual()
            && pad.metadata.deletion_timestamp.is_none()
            && [names::ATTEMPT, names::PAD_ID].iter().all(|key| !pad.annotations().contains_key(*key));
        let configuration = around.configuration.as_deref().filter(|_| is_new)?;
        let stage = configuration.status.as_ref()?.stage.as_ref()?;
        let rule = Rule {
            namespace: pad.namespace().unwrap_or_default(),
            connection: around.connection_name.clone()?,
            stage_id: stage.id.clone(),
            tag: configuration.spec.tag.clone(),
        };
        Some(Demand::new(self.crowd(rule), pad.spec.opportunity_id.clone(), pad.resource_version()))
    }

    fn crowd(&self, rule: Rule) -> Arc<Crowd> {
        let mut crowds = self.crowds.lock();
        if let Some(crowd) = crowds.get(&rule).and_then(Weak::upgrade) {
            return crowd;
        }
        crowds.retain(|_, crowd| crowd.strong_count() > 0);
        let crowd =
            Arc::new(Crowd { rule: rule.clone(), waiting: Mutex::default(), walk: Default::default() });
        crowds.insert(rule, Arc::downgrade(&crowd));
        crowd
    }
}

impl Demand {
    fn new(crowd: Arc<Crowd>, opportunity_id: String, version: Option<String>) -> Self {
        let mut waiting = crowd.waiting.lock();
        waiting.number += 1;
        let number = waiting.number;
        waiting.asked.insert(opportunity_id.clone(), Asked { number, told: None });
        drop(waiting);
        Self { crowd, opportunity_id, number, version }
    }

    /// Whether it is this version of the Pad that waits.
    pub fn is_of(&self, pad: &Pad) -> bool {
        self.version == pad.resource_version()
    }

    /// The candidate: as a page has told, or as Lever answers for this one.
    ///
    /// # Errors
    /// As [`LeverClient::opportunity`].
    pub async fn read(self, lever: &LeverClient) -> Result<Opportunity, Error> {
        if let Some(opportunity) = self.told() {
            return Ok(opportunity);
        }
        if self.crowd.size() >= CROWD {
            // Who waits here is told by the page that the first of them reads.
            let mut walk = self.crowd.walk.lock().await;
            loop {
                if let Some(opportunity) = self.told() {
                    return Ok(opportunity);
                }
                if self.crowd.read_page(&mut walk, lever).await != Page::ToldFew {
                    break;
                }
            }
            if let Some(opportunity) = self.told() {
                return Ok(opportunity);
            }
        }
        lever.opportunity(&self.opportunity_id).await
    }

    fn told(&self) -> Option<Opportunity> {
        let mut waiting = self.crowd.waiting.lock();
        let asked =
            waiting.asked.get_mut(&self.opportunity_id).filter(|asked| asked.number == self.number)?;
        let (at, opportunity) = asked.told.take()?;
        (at.elapsed() <= FRESH).then_some(*opportunity)
    }
}

impl Drop for Demand {
    fn drop(&mut self) {
        let mut waiting = self.crowd.waiting.lock();
        // A later one of the same candidate has its place.
        if waiting.asked.get(&self.opportunity_id).is_some_and(|asked| asked.number == self.number) {
            waiting.asked.remove(&self.opportunity_id);
        }
    }
}

impl Crowd {
    fn size(&self) -> usize {
        self.waiting.lock().asked.len()
    }

    /// Reads the next page, if that is worth it, and tells those who waited when it was asked for.
    async fn read_page(&self, walk: &mut Walk, lever: &LeverClient) -> Page {
        if self.size() < CROWD || walk.rests_until.is_some_and(|until| until > Instant::now()) {
            return Page::Rests;
        }
        // The rate limit may take its time, in which others come that the page can tell as well.
        let permit = lever.permit().await;
        let (size, at) = (self.size(), Instant::now());
        let last = self.waiting.lock().number;
        let Rule { stage_id, tag, .. } = &self.rule;
        match lever.opportunities(permit, stage_id, tag, walk.next.as_ref()).await {
            Ok(page) => {
                let told_many = self.tell(page.opportunities, last, at) >= FEW;
                // On the last page there may soon be more.
                let here = walk.next.take().filter(|_| told_many);
                walk.next = page.next.or(here);
                if told_many {
                    walk.in_vain = 0;
                    return Page::ToldMany;
                }
                walk.in_vain += 1;
                if walk.in_vain <= size / PADS_FOR_A_PAGE {
                    return Page::ToldFew;
                }
            }
            Err(error) if error.is_stale_page() && walk.next.is_some() => {
                walk.next = None;
                return Page::ToldFew;
            }
            Err(_) => walk.next = None,
        }
        *walk = Walk { rests_until: Some(Instant::now() + REST), ..Walk::default() };
        Page::Rests
    }

    /// Returns how many are told who were not before.
    fn tell(&self, opportunities: Vec<Opportunity>, last: u64, at: Instant) -> usize {
        let mut waiting = self.waiting.lock();
        let mut news = 0;
        for opportunity in opportunities {
            // What does not fit the list has changed while it was made: it is asked for.
            let fits = opportunity.stage == self.rule.stage_id && opportunity.tags.contains(&self.rule.tag);
            if let Some(asked) = waiting.asked.get_mut(&opportunity.id)
                && asked.number <= last
                && fits
            {
                news += usize::from(asked.told.as_ref().is_none_or(|(before, _)| before.elapsed() > FRESH));
                asked.told = Some((at, Box::new(opportunity)));
            }
        }
        news
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
        crowd: Arc<Crowd>,
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
            let rule = Rule { namespace, connection, stage_id, tag: TAG.into() };
            let crowd = Readings::default().crowd(rule);
            Self { simulator, lever, crowd }
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

        fn ask(&self, id: &str) -> Demand {
            Demand::new(self.crowd.clone(), id.to_owned(), None)
        }

        async fn read_all(&self, demands: Vec<Demand>) -> Vec<String> {
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
        let few = account.candidates(CROWD - 1).await;
        let demands = few.iter().map(|id| account.ask(id)).collect();
        assert_eq!(account.read_all(demands).await, few);
        assert_eq!(account.calls(), (0, CROWD - 1));

        let many = account.candidates(150).await;
        account.simulator.clear_calls();
        let demands = many.iter().map(|id| account.ask(id)).collect();
        assert_eq!(account.read_all(demands).await, many);
        let (lists, singles) = account.calls();
        // 159 are in the stage: two pages. Who is on neither when it is their turn asks.
        assert!(lists <= 3 && singles <= CROWD, "{lists} lists, {singles} single reads");
        assert_eq!(account.crowd.size(), 0);
    }

    #[tokio::test]
    async fn those_who_have_their_pads_are_passed_over() {
        let account = Account::new().await;
        account.candidates(120).await;
        let waiting = account.candidates(110).await;
        let demands = waiting.iter().map(|id| account.ask(id)).collect();
        assert_eq!(account.read_all(demands).await, waiting);
        let (lists, singles) = account.calls();
        assert!(lists <= 4 && singles <= CROWD, "{lists} lists, {singles} single reads");
    }

    #[tokio::test]
    async fn who_comes_after_the_page_was_asked_for_is_not_told_by_it() {
        let account = Account::new().await;
        let ids = account.candidates(CROWD + 1).await;
        let mut demands: Vec<_> = ids.iter().map(|id| account.ask(id)).collect();
        let first = demands.remove(0);
        first.read(&account.lever).await.unwrap();
        assert_eq!(account.calls(), (1, 0));
        // The next version of a Pad that was told of already.
        let (again, told) = (account.ask(&ids[1]), demands.remove(0));
        assert_eq!(told.told(), None, "another one has its place");
        drop(told);
        assert_eq!(again.told(), None);
        assert!(demands[0].told().is_some());
    }

    #[tokio::test]
    async fn who_is_not_on_the_list_is_asked_for_and_a_list_that_tells_nothing_is_left_alone() {
        let account = Account::new().await;
        let untagged = join_all((0..2 * CROWD).map(|_| account.candidate("other"))).await;
        let demands = untagged.iter().map(|id| account.ask(id)).collect();
        assert_eq!(account.read_all(demands).await, untagged);
        assert_eq!(account.calls(), (1, 2 * CROWD));
    }

    #[tokio::test]
    async fn a_list_that_cannot_be_had_holds_up_nobody() {
        let account = Account::new().await;
        let ids = account.candidates(CROWD).await;
        let lists = simulators::Fault::on("GET", "^/v1/opportunities$");
        account.simulator.faults().add(lists.status(503).until_removed());
        let demands = ids.iter().map(|id| account.ask(id)).collect();
        assert_eq!(account.read_all(demands).await, ids);
        assert_eq!(account.calls(), (1, CROWD));
    }
}
