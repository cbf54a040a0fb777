//! One watch per kind and scope, shared by everything in the process: the receiver looks things up in it, and the
//! leader's controllers are woken by it.
//!
//! Every replica watches, so that each can answer webhooks; only the leader's controllers listen to the changes.

use super::index::{Index, Place, Placed};
use super::lean::{self, Kind, Lean};
use crate::api::{LeverConnection, Pad, PadConfiguration};
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
const PAGE: u32 = 200;

/// How many changes a slow listener may lie behind before it is told to look at everything again.
const CHANGES_KEPT: usize = 4096;

/// The objects of one kind in one scope, and a way to hear of changes.
#[derive(Clone)]
pub struct Cache<K>
where
    K: Lookup + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    store: Store<K>,
    index: Arc<Index>,
    changes: broadcast::Sender<Arc<K>>,
    listed: Arc<state::Sender<Listing>>,
}

/// How far the first listing has come. The store itself wakes only the last who asked, so that a webhook that asks in
/// passing would keep the process from ever hearing of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Listing {
    UnderWay,
    Complete,
    BrokenOff,
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Placed + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Starts the watch on a task of its own, which ends with `stop`.
    fn watch(api: Api<Lean<K>>, stop: CancellationToken) -> Self
    where
        K: Kind,
    {
        let (store, writer) = reflector::store();
        let cache = Self::new(store, Listing::UnderWay);
        let events = watch(api, watcher::Config::default().page_size(PAGE)).default_backoff();
        let events = reflector::reflector(writer, events.map(|event| event.map(lean::event)));
        tokio::spawn({
            let cache = cache.clone();
            async move {
                stop.run_until_cancelled(cache.follow(events)).await;
                cache.breaks_off();
            }
        });
        cache
    }

    fn new(store: Store<K>, listing: Listing) -> Self {
        let (changes, _) = broadcast::channel(CHANGES_KEPT);
        let (index, listed) = (Arc::default(), Arc::new(state::Sender::new(listing)));
        Self { store, index, changes, listed }
    }

    fn breaks_off(&self) {
        self.listed.send_if_modified(|listing| {
            let is_news = *listing == Listing::UnderWay;
            if is_news {
                *listing = Listing::BrokenOff;
            }
            is_news
        });
    }

    /// A cache that is fed by hand, for tests.
    #[cfg(test)]
    pub(crate) fn fed(events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static) -> Self {
        let (store, writer) = reflector::store();
        let cache = Self::new(store, Listing::UnderWay);
        let events = reflector::reflector(writer, events);
        tokio::spawn({
            let cache = cache.clone();
            async move {
                cache.follow(events).await;
                cache.breaks_off();
            }
        });
        cache
    }

    /// A complete cache of these objects, for tests.
    #[cfg(test)]
    pub(crate) fn of(objects: impl IntoIterator<Item = K>) -> Self {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Init);
        for object in objects {
            writer.apply_watcher_event(&Event::InitApply(object));
        }
        writer.apply_watcher_event(&Event::InitDone);
        let cache = Self::new(store, Listing::Complete);
        cache.all().iter().for_each(|object| cache.place(object));
        cache
    }

    async fn follow(&self, events: impl Stream<Item = watcher::Result<Event<K>>>) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(object)) => {
                    self.place(&object);
                    self.tell(Arc::new(object));
                }
                Ok(Event::Delete(object)) => {
                    let namespace = ResourceExt::namespace(&object).unwrap_or_default();
                    self.index.remove(&namespace, &object.name_any(), &object);
                    self.tell(Arc::new(object));
                }
                // The store is whole only now: what was listed before is told of at once.
                Ok(Event::InitDone) => {
                    let all = self.store.state();
                    all.iter().for_each(|object| self.place(object));
                    self.listed.send_replace(Listing::Complete);
                    all.into_iter().for_each(|object| self.tell(object));
                }
                Ok(Event::Init | Event::InitApply(_)) => {}
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), %error, "the watch broke off and is taken up again")
                }
            }
        }
    }

    fn place(&self, object: &K) {
        self.index.put(&ResourceExt::namespace(object).unwrap_or_default(), &object.name_any(), object);
    }

    fn tell(&self, object: Arc<K>) {
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
    pub fn of_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
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
    pub fn at(&self, namespace: &str, place: &Place, holds: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let mut objects = self.index.at(namespace, place, |name| self.get(namespace, name));
        objects.retain(|object| holds(object));
        objects
    }

    /// No more than so many are at a place, as last heard of. Looks at none.
    pub fn at_most(&self, namespace: &str, place: &Place) -> usize {
        self.index.at_most(namespace, place)
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
        *self.listed.borrow() == Listing::Complete
    }

    /// Waits until the first listing is complete. Returns false if the watch has ended before that.
    pub async fn ready(&self) -> bool {
        let mut listed = self.listed.subscribe();
        let listing = listed.wait_for(|listing| *listing != Listing::UnderWay).await;
        listing.is_ok_and(|listing| *listing == Listing::Complete)
    }
}

/// What is watched: all namespaces, or one.
#[derive(Clone)]
pub struct Scope {
    /// The namespace; None is all of them.
    pub namespace: Option<String>,
    /// The connections in it.
    pub connections: Cache<LeverConnection>,
    /// The configurations in it.
    pub configurations: Cache<PadConfiguration>,
    /// The Pads in it.
    pub pads: Cache<Pad>,
}

impl Scope {
    fn watch(client: &Client, namespace: Option<String>, stop: &CancellationToken) -> Self {
        Self {
            connections: Cache::watch(api(client, namespace.as_deref()), stop.clone()),
            configurations: Cache::watch(api(client, namespace.as_deref()), stop.clone()),
            pads: Cache::watch(api(client, namespace.as_deref()), stop.clone()),
            namespace,
        }
    }

    /// How it is told apart from other scopes, such as ` in hiring`; empty if it is all namespaces.
    pub fn place(&self) -> String {
        self.namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default()
    }

    /// Waits until everything in the scope is known. Returns false if a watch has ended before that.
    pub async fn ready(&self) -> bool {
        self.connections.ready().await && self.configurations.ready().await && self.pads.ready().await
    }
}

/// Everything that is watched.
#[derive(Clone)]
pub struct Caches {
    scopes: Arc<[Scope]>,
}

impl Caches {
    /// Starts the watches; none is complete yet. No namespace is all namespaces.
    pub fn watch(client: &Client, namespaces: &[String], stop: &CancellationToken) -> Self {
        let scopes = if namespaces.is_empty() {
            vec![Scope::watch(client, None, stop)]
        } else {
            namespaces.iter().map(|namespace| Scope::watch(client, Some(namespace.clone()), stop)).collect()
        };
        Self { scopes: scopes.into() }
    }

    /// These scopes, for tests.
    #[cfg(test)]
    pub(crate) fn of_scopes(scopes: Vec<Scope>) -> Self {
        Self { scopes: scopes.into() }
    }

    /// The scope that a namespace belongs to, if it is watched.
    pub fn of(&self, namespace: &str) -> Option<&Scope> {
        self.scopes.iter().find(|scope| scope.namespace.as_deref().is_none_or(|own| own == namespace))
    }

    /// All scopes. They do not overlap.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// What is not known yet: kinds, and the namespaces where that matters.
    pub fn missing(&self) -> Vec<String> {
        let of_scope = |scope: &Scope| {
            let kinds = [
                ("LeverConnections", scope.connections.is_complete()),
                ("PadConfigurations", scope.configurations.is_complete()),
                ("Pads", scope.pads.is_complete()),
            ];
            let place = scope.place();
            kinds.into_iter().filter(|(_, known)| !known).map(move |(kind, _)| format!("{kind}{place}"))
        };
        self.scopes.iter().flat_map(of_scope).collect()
    }

    /// Waits until everything that is watched is known. Returns false if a watch has ended before that.
    pub async fn ready(&self) -> bool {
        futures::future::join_all(self.scopes.iter().map(Scope::ready)).await.into_iter().all(|ready| ready)
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
        let cache = Cache::<Pad>::fed(events);
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
        let cache = Cache::<Pad>::fed(events);
        drop(sender);
        assert!(!cache.ready().await, "the watch has ended");
    }
}
