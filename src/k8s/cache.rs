//! One watch per kind and scope, shared by everything in the process: the receiver looks things up in it, and the
//! leader's controllers are woken by it.
//!
//! Every replica watches, so that each can answer webhooks; only the leader's controllers listen to the changes.

use super::decode::Decoded;
use super::pad_index::{IndexKey, Indexed, PadIndex};
use super::trimmed::ManagedKind;
use super::undecodable::{Problem, Undecodable};
use super::watch_state::WatchState;
use crate::api::{LeverConnection, Pad, PadConfiguration};
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

/// Objects listed at once. What a page takes while it is read stays with the process.
const LIST_PAGE_SIZE: u32 = 200;

/// Seconds after which the API server ends a watch, which then continues from where it was. A connection that forwards
/// nothing any more is noticed by the missing end.
pub(super) const WATCH_TIMEOUT_SECONDS: u32 = 60;

/// How many changes a slow listener may lie behind before it is told to look at everything again.
const CACHE_CHANGES_CAPACITY: usize = 4096;

/// The objects of one kind in one scope, and a way to hear of changes.
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

/// How far the first listing has come. The store itself wakes only the last who asked, so that a webhook that asks in
/// passing would keep the process from ever hearing of it.
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
    /// Starts the watch on a task of its own, which ends with `stop`.
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
                stop.run_until_cancelled(cache.follow(events)).await;
                cache.mark_ended();
            }
        });
        cache
    }

    /// The event with the object itself; None if that does not decode. One that did before is deleted from the cache: what
    /// it was is outdated, and after a restart it would not be there either.
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

    /// The object, if it decodes. Records what is wrong with it.
    fn object(&self, read: Decoded<K>) -> Option<K>
    where
        K: ManagedKind,
    {
        let problem = match &read {
            Decoded::Object(_, times) if times.is_empty() => None,
            Decoded::Object(_, times) => Some(Problem::Partly(times.clone())),
            Decoded::Undecodable(_, field, _) => Some(Problem::Skipped(field.clone())),
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

    /// A cache that is fed by hand, for tests.
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
                cache.follow(events).await;
                cache.mark_ended();
            }
        });
        cache
    }

    /// A complete cache of these objects, for tests.
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

    async fn follow(&self, events: impl Stream<Item = watcher::Result<Event<K>>>) {
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
                // The store is whole only now: what was listed before is told of at once.
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
        // Without a listener (on a replica that does not lead) there is nobody to tell.
        let _ = self.changes.send(object);
    }

    /// The object of a name, as last heard of.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// All objects, as last heard of, in no order.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.store.state()
    }

    /// All objects of a namespace, as last heard of, in no order.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let mut objects = self.store.state();
        objects.retain(|object| object.meta().namespace.as_deref() == Some(namespace));
        objects
    }

    /// The objects of a namespace for which something holds, as last heard of, in no order. Copies only those.
    pub fn matching(&self, namespace: &str, holds: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let is_of_namespace = |object: &K| object.meta().namespace.as_deref() == Some(namespace);
        self.store.state_filter(|object| is_of_namespace(object) && holds(object))
    }

    /// The objects of a namespace that are at a place and for which something holds, as last heard of, in no order. Looks
    /// at no others.
    pub fn lookup(&self, namespace: &str, place: &IndexKey, holds: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let mut objects = self.index.lookup(namespace, place, |name| self.get(namespace, name));
        objects.retain(|object| holds(object));
        objects
    }

    /// No more than so many are at a place, as last heard of. Looks at none.
    pub fn upper_bound(&self, namespace: &str, place: &IndexKey) -> usize {
        self.index.upper_bound(namespace, place)
    }

    /// The objects, for a controller.
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// All objects that there are, then each one that is made, changed or deleted. May tell of an object twice.
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

    /// Number of objects that do not decode, and of those of which fields are ignored.
    pub fn undecodable(&self) -> (usize, usize) {
        self.undecodable.counts()
    }

    /// Why the API server refuses to list or watch the objects, if it does.
    pub fn refusal(&self) -> Option<String> {
        self.watch_state.refusal()
    }

    /// Waits until the first listing is complete. Returns false if the watch has ended before that.
    pub async fn ready(&self) -> bool {
        let mut listed = self.listed.subscribe();
        let listing = listed.wait_for(|listing| *listing != InitialList::InProgress).await;
        listing.is_ok_and(|listing| *listing == InitialList::Complete)
    }
}

/// What is watched: all namespaces, or one.
#[derive(Clone)]
pub struct WatchScope {
    /// The namespace; None is all of them.
    pub namespace: Option<String>,
    /// The connections in it.
    pub connections: Cache<LeverConnection>,
    /// The configurations in it.
    pub configurations: Cache<PadConfiguration>,
    /// The Pads in it.
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

    /// How it is told apart from other scopes, such as ` in hiring`; empty if it is all namespaces.
    pub fn display_suffix(&self) -> String {
        self.namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default()
    }

    /// The kinds of the scope: whether each is listed, and why the API server refuses it, if it does.
    pub fn kinds(&self) -> [(&'static str, bool, Option<String>); 3] {
        let of = |complete, refusal| (complete, refusal);
        let connections = of(self.connections.is_complete(), self.connections.refusal());
        let configurations = of(self.configurations.is_complete(), self.configurations.refusal());
        let pads = of(self.pads.is_complete(), self.pads.refusal());
        [
            ("LeverConnections", connections.0, connections.1),
            ("PadConfigurations", configurations.0, configurations.1),
            ("Pads", pads.0, pads.1),
        ]
    }

    fn is_complete(&self) -> bool {
        self.kinds().iter().all(|(_, complete, _)| *complete)
    }

    /// Waits until everything in the scope is known. Returns false if a watch has ended before that.
    pub async fn ready(&self) -> bool {
        self.connections.ready().await && self.configurations.ready().await && self.pads.ready().await
    }
}

/// Everything that is watched.
#[derive(Clone)]
pub struct Caches {
    scopes: Arc<[WatchScope]>,
}

impl Caches {
    /// Starts the watches; none is complete yet. No namespace is all namespaces.
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

    /// These scopes, for tests.
    #[cfg(test)]
    pub(crate) fn from_scopes(scopes: Vec<WatchScope>) -> Self {
        Self { scopes: scopes.into() }
    }

    /// The scope that a namespace belongs to, if it is watched.
    pub fn for_namespace(&self, namespace: &str) -> Option<&WatchScope> {
        self.scopes.iter().find(|scope| scope.namespace.as_deref().is_none_or(|own| own == namespace))
    }

    /// All scopes. They do not overlap.
    pub fn scopes(&self) -> &[WatchScope] {
        &self.scopes
    }

    /// The kinds that are not listed yet, with the namespaces where that matters. Those that the API server refuses are
    /// not among them, as long as another namespace is served (contract W6).
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

    /// What the API server refuses to list or watch, and its answer: scope, kind, answer.
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

    /// Waits until everything in at least one scope is known: others may be refused for a long time, and their controllers
    /// wait for them (contract W6). Returns false if every watch has ended before that.
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

/// The API of a kind in one namespace or in all.
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

    /// Whoever asks in passing, as each webhook does, must not be told in place of who waits.
    #[tokio::test(start_paused = true)]
    async fn everybody_who_waits_for_the_listing_hears_of_it() {
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
