//! `pad-operator run`: starts the components and shuts them down in order.
//!
//! Every replica watches and answers webhooks. The lease holder also reconciles; losing the Lease ends the process
//! immediately. On SIGTERM, the process stops accepting work, completes requests in flight, and releases the Lease.

use crate::admin::{Admin, ReplicaReadiness};
use crate::cli::RunArgs;
use crate::controller::configuration::duplicate_rules::Duplicates;
use crate::controller::fair_share::FairShare;
use crate::controller::pad_budget::PadBudget;
use crate::controller::quotas::Quotas;
use crate::controller::service_clients::ServiceClientCache;
use crate::controller::{self, Context, Settings};
use crate::k8s::api_server_probe::{ApiServerProbe, ProbeClients};
use crate::k8s::inventory_metrics::InventoryMetrics;
use crate::k8s::leader_election::Leadership;
use crate::k8s::secrets::Secrets;
use crate::k8s::{Caches, WatchScope};
use crate::listen::listen;
use crate::telemetry::health::Health;
use crate::telemetry::process::ProcessMetrics;
use crate::webhook::{self, Receiver};
use anyhow::Context as _;
use api::FIELD_MANAGER;
use axum::http::{HeaderName, HeaderValue};
use futures::FutureExt;
use http_client::{RateLimit, Transport, TransportSettings};
use k8s_connect::Cluster;
use kube::Client;
use kube::config::KubeConfigOptions;
use kube::runtime::events::{Recorder, Reporter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Grace period for work in flight after SIGTERM.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(40);

/// Runs the operator until SIGTERM or Ctrl-C.
///
/// # Errors
///
/// If the operator cannot start, or on an error that requires a restart of the process.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone())?;

    let cluster = find_cluster().await?;
    let own_namespace = cluster.config.default_namespace.clone();
    let setting_up = "cannot set up the Kubernetes client";
    let (client, connections) = cluster.client().context(setting_up)?;
    let fresh = cluster.fresh_client().context(setting_up)?;

    let webhooks = listen(args.webhook_address, "--webhook-address")?;
    let admin_listener = listen(args.admin_address, "--admin-address")?;

    let mut registry = Registry::default();
    let transport =
        Transport::new(transport_settings(&args), http_client::TransportMetrics::new(&mut registry))
            .context("cannot set up the HTTP client")?;
    let receiver_metrics = webhook::WebhookMetrics::new(&mut registry);
    let metrics = controller::metrics::ControllerMetrics::new(&mut registry);
    // Not of the OpenMetrics type info, so that parsers of the older text format of Prometheus can read the page too.
    let build = Family::<[(&str, &str); 1], Gauge>::default();
    build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
    registry.register("pad_operator_build_info", "Version of the operator", build);
    registry.register_collector(Box::new(ProcessMetrics::starting()));

    // Outlives the graceful shutdown, so that work in flight can complete.
    let ended = CancellationToken::new();
    let _end_all = ended.clone().drop_guard();
    let caches = Caches::watch(&client, &args.namespaces, &ended);
    registry.register_collector(Box::new(InventoryMetrics::new(caches.clone())));
    let health = Health::default();
    let reach = ApiServerProbe::watch(
        ProbeClients { client: client.clone(), fresh, connections },
        &mut registry,
        ended.clone(),
    );
    let readiness = ReplicaReadiness::new(caches.clone(), reach, stop.clone());
    let admin = Admin::new(registry, health.clone(), readiness.clone());
    let secrets = Secrets::watch(&client, &args.namespaces, &ended);
    let tokens = webhook::SigningTokens::watch(&caches, &secrets, ended.clone());
    let is_ready = move || readiness.is_ready();
    let receiver = Receiver::new(client.clone(), caches.clone(), tokens, receiver_metrics, is_ready);

    tokio::spawn(admin.serve(admin_listener, ended.clone()));
    let serving = TaskTracker::new();
    let webhooks = webhook::serve(webhooks, receiver, stop.clone());
    serving.spawn(health.clone().supervise_task("webhooks".into(), stop.clone(), webhooks));
    serving.close();
    tracing::info!(webhooks = %args.webhook_address, admin = %args.admin_address, "started");

    let ready = stop.run_until_cancelled(caches.ready()).await;
    if ready == Some(false) {
        anyhow::bail!("a watch ended before the initial lists were complete");
    }
    let reconciler =
        Reconciler { client, health, caches, secrets, transport, metrics, args: &args, own_namespace };
    if ready.is_some() {
        // After the loss of the Lease, work in flight must not complete, because another replica may reconcile.
        reconciler.lead(&stop).await?;
    }
    stop.cancel();
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, serving.wait()).await.is_err() {
        tracing::warn!("webhooks in flight did not complete in time");
    }
    tracing::info!("stopped");
    Ok(())
}

struct Reconciler<'a> {
    client: Client,
    health: Health,
    caches: Caches,
    secrets: Secrets,
    transport: Transport,
    metrics: controller::metrics::ControllerMetrics,
    args: &'a RunArgs,
    own_namespace: String,
}

impl Reconciler<'_> {
    /// Waits for the Lease, reconciles while holding it, and releases it.
    async fn lead(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        if !self.args.leader_election {
            tracing::info!("reconciling without leader election; do not run a second replica");
            self.reconcile(stop).await;
            return Ok(());
        }
        let namespace = self.args.lease_namespace.as_deref().unwrap_or(&self.own_namespace);
        let identity = identity();
        tracing::info!(%namespace, %identity, "waiting for the Lease");
        let Some(mut leadership) =
            Leadership::acquire(&self.client, namespace, &identity, &self.health, stop).await
        else {
            return Ok(());
        };
        tracing::info!(%namespace, %identity, "became leader; reconciling");
        tokio::select! {
            () = self.reconcile(stop) => {
                leadership.release().await;
                Ok(())
            }
            reason = leadership.watch_for_loss() => {
                anyhow::bail!("lost the Lease ({reason}); exiting so that the process restarts as a follower")
            }
        }
    }

    /// Runs the controllers until `stop`, then waits for reconciles in flight.
    async fn reconcile(&self, stop: &CancellationToken) {
        self.metrics.set_leader();
        let accounts = Arc::new(ServiceClientCache::new(
            self.transport.clone(),
            self.secrets.clone(),
            self.args.allow_api_origins.clone(),
        ));
        let settings = Arc::new(Settings {
            public_url: self.args.public_url.clone(),
            concurrency: self.args.concurrency,
            create_timeout: self.args.interview_create_timeout,
            list_lag: self.args.interview_list_lag,
        });
        let turns = FairShare::new(self.args.concurrency);
        let quotas = Arc::<Quotas>::default();
        let duplicates = Arc::<Duplicates>::default();
        let controllers = TaskTracker::new();
        for scope in self.caches.scopes() {
            let context = Context {
                pad_budget: PadBudget::new(quotas.clone()),
                duplicates: duplicates.clone(),
                ..self.context(scope, &accounts, &settings, &turns)
            };
            let context = Arc::new(context);
            let place = scope.display_suffix();
            let parts = [
                ("LeverConnections", controller::connection::run(context.clone(), stop.clone()).boxed()),
                ("PadConfigurations", controller::configuration::run(context.clone(), stop.clone()).boxed()),
                ("Pads", controller::pad::run(context.clone(), stop.clone()).boxed()),
                ("sync", crate::controller::sync::run(context, stop.clone()).boxed()),
            ];
            for (part, task) in parts {
                let name = format!("{part}{place}");
                controllers.spawn(self.health.clone().supervise_task(name, stop.clone(), task));
            }
        }
        controllers.close();
        stop.cancelled().await;
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, controllers.wait()).await.is_err() {
            tracing::warn!("reconciles in flight did not complete in time");
        }
    }

    fn context(
        &self,
        scope: &WatchScope,
        accounts: &Arc<ServiceClientCache>,
        settings: &Arc<Settings>,
        turns: &FairShare,
    ) -> Context {
        let reporter = Reporter { controller: FIELD_MANAGER.into(), instance: None };
        let (probes, _) = broadcast::channel(256);
        Context {
            client: self.client.clone(),
            scope: scope.clone(),
            secrets: self.secrets.clone(),
            service_clients: accounts.clone(),
            settings: settings.clone(),
            metrics: self.metrics.clone(),
            recorder: Recorder::new(self.client.clone(), reporter),
            pad_budget: Default::default(),
            duplicates: Default::default(),
            memory: Default::default(),
            candidate_loader: Default::default(),
            syncs: Default::default(),
            fair_share: turns.clone(),
            probes,
        }
    }
}

/// Returns the cluster in the same way as kubectl. The client itself does not retry, because only the caller can decide
/// whether a request may be repeated.
async fn find_cluster() -> anyhow::Result<Cluster> {
    let mut cluster = Cluster::find(None, &KubeConfigOptions::default()).await.context(
        "no Kubernetes cluster found. Set KUBECONFIG, or run inside a cluster with a ServiceAccount",
    )?;
    let config = &mut cluster.config;
    config.default_retry = false;
    // Longer than the minute after which the API server ends an idle watch.
    config.read_timeout = Some(Duration::from_secs(90));
    // The API server derives the field manager from it for writes without one, such as Events.
    let agent = concat!("pad-operator/", env!("CARGO_PKG_VERSION"));
    config.headers.push((HeaderName::from_static("user-agent"), HeaderValue::from_static(agent)));
    Ok(cluster)
}

fn transport_settings(args: &RunArgs) -> TransportSettings {
    TransportSettings {
        lever_limit: RateLimit { per_second: args.lever_rate, burst: args.lever_burst },
        interview_limit: RateLimit { per_second: args.interview_rate, burst: args.interview_burst },
        create_timeout: args.interview_create_timeout,
    }
}

/// Returns a unique identity of this process among the replicas: the Pod's name, the process ID and the start time.
fn identity() -> String {
    let host = std::env::var("HOSTNAME")
        .ok()
        .filter(|host| !host.is_empty())
        .unwrap_or_else(|| FIELD_MANAGER.into());
    let started = jiff::Timestamp::now().as_millisecond();
    format!("{host}_{}_{started}", std::process::id())
}

/// Cancels the token at SIGTERM or Ctrl-C.
pub(crate) fn stop_on_signal(stop: CancellationToken) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping; completing work in flight");
        stop.cancel();
    });
    Ok(())
}
