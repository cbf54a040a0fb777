//! Caches of the operator's kinds: one watch per kind and scope, shared by the whole process. The webhook receiver
//! reads objects from the caches, and changes in them trigger the leader's controllers.
//!
//! Every replica watches, so that each replica can answer webhooks. Only the leader's controllers subscribe to changes.

use super::pad_index::{IndexKey, Indexed, PadIndex};
use super::undecodable_objects::{DecodeProblem, Undecodable};
use super::watch_state::WatchState;
use api::decode::Decoded;
use api::trimmed_objects::ManagedKind;
use api::{LeverConnection, Pad, PadConfiguration};
use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt, stream};
use kube::runtime::reflector::{self, Lookup, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use tokio::sync::{broadcast, watch as state};
use tokio_util::sync::CancellationToken;

/// Maximum number of objects per page of a list. The process keeps the memory that it needs to decode a page.
const LIST_PAGE_SIZE: u32 = 200;

/// Seconds after which the API server ends a watch, which then resumes at the same resourceVersion. If the end is
/// missing, the connection no longer forwards data.
pub(super) const WATCH_TIMEOUT_SECONDS: u32 = 60;

/// Maximum number of changes that a slow subscriber may lag behind. Beyond it, the subscriber receives all objects
/// again.
const CACHE_CHANGES_CAPACITY: usize = 4096;

/// Cache of the objects of one kind in one scope, with a subscription to changes.
#[derive(Clone)]
pub struct Cache<K>
where
    K: Lookup + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    store: Store<K>,
    index: Arc<PadIndex>,
    changes: broadcast::Sender<Arc<K>>,
    listed: Arc<state::Sender<InitialList>>,
    undecodable: Arc<Undecodable>,
    watch_state: Arc<WatchState>,
}

/// State of the first listing. The reflector's store wakes only its last waiter: a webhook that polls it once would
/// replace the waiter of the startup, which would then wait forever.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum InitialList {
    InProgress,
    Complete,
    WatchEnded,
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Indexed + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Starts the watch on a task of its own, which ends with `stop`. Returns the cache that it fills.
    fn watch(api: Api<Decoded<K>>, stop: CancellationToken) -> Self
    where
        K: ManagedKind,
    {
        let (store, writer) = reflector::store();
        let cache = Self::new(store, InitialList::InProgress);
        let config = watcher::Config::default().page_size(LIST_PAGE_SIZE).timeout(WATCH_TIMEOUT_SECONDS);
        let decoding = cache.clone();
        let events = watch(api, config).default_backoff().filter_map(move |event| {
            let decoded = event.map(|event| decoding.decoded(event)).transpose();
            std::future::ready(decoded)
        });
        let events = reflector::reflector(writer, events);
        tokio::spawn({
            let cache = cache.clone();
            async move {
                stop.run_until_cancelled(cache.apply_events(events)).await;
                cache.mark_ended();
            }
        });
        cache
    }

    /// Returns the event with the decoded object; None if the object does not decode. If an earlier version did
    /// decode, it is deleted from the cache: it is stale, and the cache would not contain it after a restart either.
    fn decoded(&self, event: Event<Decoded<K>>) -> Option<Event<K>>
    where
        K: ManagedKind,
    {
        match event {
            Event::Init => {
                self.undecodable.begin_listing();
                Some(Event::Init)
            }
            Event::InitApply(read) => self.object(read).map(Event::InitApply),
            Event::InitDone => {
                self.undecodable.end_listing();
                Some(Event::InitDone)
            }
            Event::Apply(read) => {
                let before = self.get(&ResourceExt::namespace(&read).unwrap_or_default(), &read.name_any());
                let object = self.object(read).map(Event::Apply);
                object.or_else(|| before.map(|before| Event::Delete(before.as_ref().clone())))
            }
            Event::Delete(read) => {
                let (namespace, name) = (ResourceExt::namespace(&read).unwrap_or_default(), read.name_any());
                self.undecodable.record(&namespace, &name, None);
                let before = self.get(&namespace, &name);
                read.object().or_else(|| before.map(|before| before.as_ref().clone())).map(Event::Delete)
            }
        }
    }

    /// Returns the object, if it decodes. Records its problem, if it has one.
    fn object(&self, read: Decoded<K>) -> Option<K>
    where
        K: ManagedKind,
    {
        let problem = match &read {
            Decoded::Object(_, times) if times.is_empty() => None,
            Decoded::Object(_, times) => Some(DecodeProblem::Partly(times.clone())),
            Decoded::Undecodable(_, field, _) => Some(DecodeProblem::Skipped(field.clone())),
        };
        let namespace = ResourceExt::namespace(&read).unwrap_or_default();
        self.undecodable.record(&namespace, &read.name_any(), problem);
        read.object()
    }

    fn new(store: Store<K>, listing: InitialList) -> Self {
        let (changes, _) = broadcast::channel(CACHE_CHANGES_CAPACITY);
        let (index, listed) = (Arc::default(), Arc::new(state::Sender::new(listing)));
        let undecodable = Arc::new(Undecodable::new(&K::kind(&())));
        Self { store, index, changes, listed, undecodable, watch_state: Arc::default() }
    }

    fn mark_ended(&self) {
        self.listed.send_if_modified(|listing| {
            let is_news = *listing == InitialList::InProgress;
            if is_news {
                *listing = InitialList::WatchEnded;
            }
            is_news
        });
    }

    /// Creates a cache that is filled from a given stream of events, for tests.
    #[cfg(test)]
    pub(crate) fn from_events(
        events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    ) -> Self {
        let (store, writer) = reflector::store();
        let cache = Self::new(store, InitialList::InProgress);
        let events = reflector::reflector(writer, events);
        tokio::spawn({
            let cache = cache.clone();
            async move {
                cache.apply_events(events).await;
                cache.mark_ended();
            }
        });
        cache
    }

    /// Creates a complete cache of the given objects, for tests.
    #[cfg(test)]
    pub(crate) fn from_objects(objects: impl IntoIterator<Item = K>) -> Self {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Init);
        for object in objects {
            writer.apply_watcher_event(&Event::InitApply(object));
        }
        writer.apply_watcher_event(&Event::InitDone);
        let cache = Self::new(store, InitialList::Complete);
        cache.all().iter().for_each(|object| cache.index_object(object));
        cache
    }

    async fn apply_events(&self, events: impl Stream<Item = watcher::Result<Event<K>>>) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(object)) => {
                    self.watch_state.succeeded();
                    self.index_object(&object);
                    self.broadcast(Arc::new(object));
                }
                Ok(Event::Delete(object)) => {
                    let namespace = ResourceExt::namespace(&object).unwrap_or_default();
                    self.index.remove(&namespace, &object.name_any(), &object);
                    self.broadcast(Arc::new(object));
                }
                // Only now is the store complete, so subscribers receive all listed objects now.
                Ok(Event::InitDone) => {
                    self.watch_state.succeeded();
                    let all = self.store.state();
                    all.iter().for_each(|object| self.index_object(object));
                    self.listed.send_replace(InitialList::Complete);
                    all.into_iter().for_each(|object| self.broadcast(object));
                }
                Ok(Event::Init | Event::InitApply(_)) => {}
                Err(error) => self.watch_state.failed(&K::kind(&()), &error),
            }
        }
    }

    fn index_object(&self, object: &K) {
        self.index.insert(&ResourceExt::namespace(object).unwrap_or_default(), &object.name_any(), object);
    }

    fn broadcast(&self, object: Arc<K>) {
        // On a follower there is no subscriber, and sending fails.
        let _ = self.changes.send(object);
    }

    /// Returns the cached object with this name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// Returns all cached objects, in no order.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.store.state()
    }

    /// Returns all cached objects of a namespace, in no order.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let mut objects = self.store.state();
        objects.retain(|object| object.meta().namespace.as_deref() == Some(namespace));
        objects
    }

    /// Returns the cached objects of a namespace that match a predicate, in no order. Clones only the matches.
    pub fn matching(&self, namespace: &str, holds: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let is_of_namespace = |object: &K| object.meta().namespace.as_deref() == Some(namespace);
        self.store.state_filter(|object| is_of_namespace(object) && holds(object))
    }

    /// Returns the cached objects of a namespace that are under an index key and match a predicate, in no order. Reads
    /// no other objects.
    pub fn lookup(&self, namespace: &str, place: &IndexKey, holds: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let mut objects = self.index.lookup(namespace, place, |name| self.get(namespace, name));
        objects.retain(|object| holds(object));
        objects
    }

    /// Returns an upper bound for the number of cached objects under an index key. Reads no objects.
    pub fn upper_bound(&self, namespace: &str, place: &IndexKey) -> usize {
        self.index.upper_bound(namespace, place)
    }

    /// Returns the store of the objects, for a controller.
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// Returns a stream of all cached objects, followed by each object that is created, changed or deleted. May
    /// deliver an object twice.
    pub fn changes(&self) -> impl Stream<Item = Arc<K>> + Send + 'static {
        let receiver = self.changes.subscribe();
        let store = self.store.clone();
        let later = stream::unfold((receiver, store.clone()), |(mut receiver, store)| async move {
            match receiver.recv().await {
                Ok(object) => Some((vec![object], (receiver, store))),
                Err(broadcast::error::RecvError::Lagged(_)) => Some((store.state(), (receiver, store))),
                Err(broadcast::error::RecvError::Closed) => None,
            }
        });
        stream::iter([store.state()]).chain(later).flat_map(stream::iter)
    }

    fn is_complete(&self) -> bool {
        *self.listed.borrow() == InitialList::Complete
    }

    /// Returns the number of objects that do not decode, and the number of objects with ignored fields.
    pub fn undecodable(&self) -> (usize, usize) {
        self.undecodable.counts()
    }

    /// Returns the API server's answer, if it refuses to list or watch the objects.
    pub fn refusal(&self) -> Option<String> {
        self.watch_state.refusal()
    }

    /// Waits until the first listing is complete. Returns false if the watch ended before that.
    pub async fn ready(&self) -> bool {
        let mut listed = self.listed.subscribe();
        let listing = listed.wait_for(|listing| *listing != InitialList::InProgress).await;
        listing.is_ok_and(|listing| *listing == InitialList::Complete)
    }
}

/// Scope of the watches: all namespaces, or a single one.
#[derive(Clone)]
pub struct WatchScope {
    /// The namespace; None means all namespaces.
    pub namespace: Option<String>,
    /// Cache of the LeverConnections in the scope.
    pub connections: Cache<LeverConnection>,
    /// Cache of the PadConfigurations in the scope.
    pub configurations: Cache<PadConfiguration>,
    /// Cache of the Pads in the scope.
    pub pads: Cache<Pad>,
}

impl WatchScope {
    fn watch(client: &Client, namespace: Option<String>, stop: &CancellationToken) -> Self {
        Self {
            connections: Cache::watch(api(client, namespace.as_deref()), stop.clone()),
            configurations: Cache::watch(api(client, namespace.as_deref()), stop.clone()),
            pads: Cache::watch(api(client, namespace.as_deref()), stop.clone()),
            namespace,
        }
    }

    /// Returns a suffix that distinguishes the scope in messages, such as ` in hiring`; empty for all namespaces.
    pub fn display_suffix(&self) -> String {
        self.namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default()
    }

    /// Returns for each kind of the scope whether its listing is complete, and the API server's answer if it refuses
    /// it.
    pub fn kinds(&self) -> [(&'static str, bool, Option<String>); 3] {
        let Self { connections, configurations, pads, namespace: _ } = self;
        [
            ("LeverConnections", connections.is_complete(), connections.refusal()),
            ("PadConfigurations", configurations.is_complete(), configurations.refusal()),
            ("Pads", pads.is_complete(), pads.refusal()),
        ]
    }

    fn is_complete(&self) -> bool {
        self.kinds().iter().all(|(_, complete, _)| *complete)
    }

    /// Waits until all caches of the scope are complete. Returns false if a watch ended before that.
    pub async fn ready(&self) -> bool {
        self.connections.ready().await && self.configurations.ready().await && self.pads.ready().await
    }
}

/// Caches of all watched scopes.
#[derive(Clone)]
pub struct Caches {
    scopes: Arc<[WatchScope]>,
}

impl Caches {
    /// Starts the watches, without waiting for the first listings. An empty list of namespaces means all namespaces.
    pub fn watch(client: &Client, namespaces: &[String], stop: &CancellationToken) -> Self {
        let scopes = if namespaces.is_empty() {
            vec![WatchScope::watch(client, None, stop)]
        } else {
            namespaces
                .iter()
                .map(|namespace| WatchScope::watch(client, Some(namespace.clone()), stop))
                .collect()
        };
        Self { scopes: scopes.into() }
    }

    /// Creates the caches from the given scopes, for tests.
    #[cfg(test)]
    pub(crate) fn from_scopes(scopes: Vec<WatchScope>) -> Self {
        Self { scopes: scopes.into() }
    }

    /// Returns the scope that contains a namespace, if the namespace is watched.
    pub fn for_namespace(&self, namespace: &str) -> Option<&WatchScope> {
        self.scopes.iter().find(|scope| scope.namespace.as_deref().is_none_or(|own| own == namespace))
    }

    /// Returns all scopes. They do not overlap.
    pub fn scopes(&self) -> &[WatchScope] {
        &self.scopes
    }

    /// Returns the kinds that are not listed yet, each with its namespace unless all namespaces are watched. Skips the
    /// kinds that the API server refuses, if at least one scope is completely listed (contract W6).
    pub fn unlisted_kinds(&self) -> Vec<String> {
        let serves = self.scopes.iter().any(WatchScope::is_complete);
        let of_scope = |scope: &WatchScope| {
            let place = scope.display_suffix();
            let is_passed_over = move |refusal: &Option<String>| serves && refusal.is_some();
            let kinds = scope.kinds().into_iter();
            let missing = kinds.filter(move |(_, complete, refusal)| !complete && !is_passed_over(refusal));
            missing.map(move |(kind, ..)| format!("{kind}{place}"))
        };
        self.scopes.iter().flat_map(of_scope).collect()
    }

    /// Returns the kinds that the API server refuses to list or watch: scope, kind, and the API server's answer.
    pub fn refused_kinds(&self) -> Vec<(&WatchScope, &'static str, String)> {
        let of_scope = |scope: &'_ WatchScope| {
            let kinds = scope.kinds().into_iter();
            kinds.filter_map(|(kind, _, refusal)| Some((kind, refusal?))).collect::<Vec<_>>()
        };
        let scopes = self.scopes.iter();
        scopes
            .flat_map(|scope| of_scope(scope).into_iter().map(move |(kind, refusal)| (scope, kind, refusal)))
            .collect()
    }

    /// Waits until the caches of at least one scope are complete. The API server may refuse other scopes for a long
    /// time; their controllers wait for them (contract W6). Returns false if the watches of every scope ended before
    /// that.
    pub async fn ready(&self) -> bool {
        let mut waiting: FuturesUnordered<_> = self.scopes.iter().map(WatchScope::ready).collect();
        while let Some(ready) = waiting.next().await {
            if ready {
                return true;
            }
        }
        false
    }
}

/// Returns the API of a kind in one namespace, or in all namespaces.
pub fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::time::Duration;

    /// A caller that polls readiness once, as each webhook does, must not replace a caller that waits for it.
    #[tokio::test(start_paused = true)]
    async fn every_waiter_is_woken_by_the_listing() {
        let (sender, events) = futures::channel::mpsc::unbounded();
        let cache = Cache::<Pad>::from_events(events);
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move { cache.ready().await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(cache.ready().now_or_never(), None);
        sender.unbounded_send(Ok(Event::Init)).unwrap();
        sender.unbounded_send(Ok(Event::InitDone)).unwrap();
        for one in waiting {
            let heard = tokio::time::timeout(Duration::from_secs(5), one).await;
            assert!(heard.expect("it waits for ever").unwrap());
        }
        assert_eq!(cache.ready().now_or_never(), Some(true));

        let (sender, events) = futures::channel::mpsc::unbounded();
        let cache = Cache::<Pad>::from_events(events);
        drop(sender);
        assert!(!cache.ready().await, "the watch has ended");
    }
}
