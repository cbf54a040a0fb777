//! Connections to the API server: configured as in kubectl, through a proxy if there is one, and closed when they stop
//! forwarding.
//!
//! TCP keep-alive detects a peer that is gone. It does not detect a load balancer, proxy or tunnel that acknowledges
//! all data and forwards none. The operator probes for it, and closes all connections with
//! [`ApiServerConnections::close_all`].

mod proxy;

use anyhow::Context as _;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use k8s_openapi::ByteString;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use parking_lot::Mutex;
use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower::{BoxError, Service, ServiceBuilder, retry::RetryLayer};

/// Delay before the first keep-alive probe on an idle connection, delay between probes, and maximum number of probes.
/// They detect a peer that is gone within 25 s.
const TCP_KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(10), Duration::from_secs(5), 3);
/// Time after which a connection ends if the peer's kernel has not acknowledged data.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);
/// Time after which an idle connection is closed.
const API_POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Cluster, and the proxy in front of it, if there is one.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Client configuration of the cluster, without the proxy.
    pub config: Config,
    proxy: Option<Uri>,
}

impl Cluster {
    /// Returns the cluster that kubectl would use: from the given kubeconfig, else from KUBECONFIG or
    /// `~/.kube/config`, else the cluster that the process runs in.
    ///
    /// # Errors
    ///
    /// If there is no cluster, or if the proxy in front of it cannot be used.
    pub async fn find(file: Option<Kubeconfig>, options: &KubeConfigOptions) -> anyhow::Result<Self> {
        let kubeconfig = file.clone().or_else(|| Kubeconfig::read().ok());
        let explicit = kubeconfig.as_ref().and_then(|file| proxy_url(file, options));
        let config = match file {
            Some(file) => Config::from_custom_kubeconfig(file, options).await?,
            None if options.context.is_some() => Config::from_kubeconfig(options).await?,
            None => Config::infer().await?,
        };
        Self::from_config(config, kubeconfig.is_some(), explicit.as_deref())
    }

    /// Chooses the proxy of a cluster. In a Pod, the environment's proxy is for Lever and CoderPad, and the API server
    /// is never behind it.
    fn from_config(mut config: Config, is_outside: bool, explicit: Option<&str>) -> anyhow::Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|_| is_outside);
        let proxy = proxy::choose(explicit, &config.cluster_url, variable)
            .context("the proxy in front of the API server cannot be used")?;
        config.proxy_url = None;
        Ok(Self { config, proxy })
    }

    /// Creates a client. Returns it with a handle to its connections.
    ///
    /// # Errors
    ///
    /// If a certificate or a key cannot be used.
    pub fn client(&self) -> kube::Result<(Client, ApiServerConnections)> {
        let connections = ApiServerConnections::default();
        let client = self.build(&connections, true)?;
        Ok((client, connections))
    }

    /// Creates a client that opens a new connection for each request.
    ///
    /// # Errors
    ///
    /// As [`Cluster::client`].
    pub fn fresh_client(&self) -> kube::Result<Client> {
        self.build(&ApiServerConnections::default(), false)
    }

    fn build(&self, connections: &ApiServerConnections, reuse: bool) -> kube::Result<Client> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let (after, every, times) = TCP_KEEPALIVE;
        tcp.set_keepalive(Some(after));
        tcp.set_keepalive_interval(Some(every));
        tcp.set_keepalive_retries(Some(times));
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        tcp.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
        let tcp = Connector { inner: tcp, connections: connections.clone() };
        match &self.proxy {
            None => self.build_with(tcp, reuse),
            Some(proxy) if proxy.scheme_str().is_some_and(|scheme| scheme.starts_with("socks5")) => {
                let socks = SocksV5::new(proxy.clone(), tcp);
                self.build_with(with_socks_authorization(socks, proxy), reuse)
            }
            Some(proxy) if proxy.scheme_str() == Some("https") => {
                let tls = self.config.rustls_https_connector_with_connector(tcp)?;
                self.build_with(with_proxy_authorization(Tunnel::new(proxy.clone(), tls), proxy), reuse)
            }
            Some(proxy) => {
                self.build_with(with_proxy_authorization(Tunnel::new(proxy.clone(), tcp), proxy), reuse)
            }
        }
    }

    fn build_with<C>(&self, connector: C, reuse: bool) -> kube::Result<Client>
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Read + Write + Connection + Send + Unpin + 'static,
        C::Future: Send + 'static,
        C::Error: StdError + Send + Sync + 'static,
    {
        let config = &self.config;
        let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
        connector.set_connect_timeout(config.connect_timeout);
        connector.set_read_timeout(config.read_timeout);
        connector.set_write_timeout(config.write_timeout);
        connector.set_reset_reader_on_write(config.reset_reader_on_write);
        let mut builder = HttpClient::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(API_POOL_IDLE_TIMEOUT);
        if !reuse {
            builder.pool_max_idle_per_host(0);
        }
        let http: HttpClient<_, Body> = builder.build(connector);
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
            .option_layer(config.auth_layer()?)
            .layer(config.extra_headers_layer()?)
            .map_err(BoxError::from)
            .service(http);
        Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
    }
}

/// Returns `proxy-url` of the cluster that the context names.
fn proxy_url(file: &Kubeconfig, options: &KubeConfigOptions) -> Option<String> {
    let name = options.context.as_ref().or(file.current_context.as_ref())?;
    let context = file.contexts.iter().find(|context| context.name == *name)?.context.as_ref()?;
    let name = options.cluster.as_ref().unwrap_or(&context.cluster);
    file.clusters.iter().find(|cluster| cluster.name == *name)?.cluster.as_ref()?.proxy_url.clone()
}

/// Returns the decoded user and password from a proxy's address.
fn credentials(proxy: &Uri) -> Option<(String, String)> {
    let url = url::Url::parse(&proxy.to_string()).ok()?;
    let decoded = |text: &str| {
        let pairs = format!("x={}", text.replace('+', "%2B"));
        url::form_urlencoded::parse(pairs.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    let user = decoded(url.username()).filter(|user| !user.is_empty())?;
    Some((user, decoded(url.password().unwrap_or_default()).unwrap_or_default()))
}

fn with_proxy_authorization<C>(tunnel: Tunnel<C>, proxy: &Uri) -> Tunnel<C> {
    let Some((user, password)) = credentials(proxy) else { return tunnel };
    let encoded = serde_json::to_value(ByteString(format!("{user}:{password}").into_bytes()));
    let encoded = encoded.ok().and_then(|value| Some(format!("Basic {}", value.as_str()?)));
    match encoded.and_then(|text| HeaderValue::from_str(&text).ok()) {
        Some(header) => tunnel.with_auth(header),
        None => tunnel,
    }
}

fn with_socks_authorization<C>(socks: SocksV5<C>, proxy: &Uri) -> SocksV5<C> {
    match credentials(proxy) {
        Some((user, password)) => socks.with_auth(user, password),
        None => socks,
    }
}

/// Open connections of a client; a cheap handle.
#[derive(Clone, Debug, Default)]
pub struct ApiServerConnections {
    open: Arc<Mutex<CancellationToken>>,
}

impl ApiServerConnections {
    /// Closes all connections that are open now. Requests and watches on them fail and are retried on new connections.
    pub fn close_all(&self) {
        std::mem::take(&mut *self.open.lock()).cancel();
    }

    fn closed(&self) -> WaitForCancellationFutureOwned {
        self.open.lock().clone().cancelled_owned()
    }
}

/// Connector whose connections [`ApiServerConnections::close_all`] closes.
#[derive(Clone)]
struct Connector<C> {
    inner: C,
    connections: ApiServerConnections,
}

impl<C> Service<Uri> for Connector<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
{
    type Response = ClosableStream<C::Response>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, C::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let (opening, closed) = (self.inner.call(target), Box::pin(self.connections.closed()));
        Box::pin(async move { Ok(ClosableStream { inner: opening.await?, closed }) })
    }
}

/// Connection that fails as soon as [`ApiServerConnections::close_all`] closes it.
struct ClosableStream<T> {
    inner: T,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<T> ClosableStream<T> {
    /// Returns an error if the connection is closed. Otherwise registers the task to be woken when it is closed.
    fn check(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closed.as_mut().poll(cx).is_ready() {
            let message = "closed, because connections to the API server stopped forwarding";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, message)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Read + Unpin> Read for ClosableStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.check(cx))?;
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<T: Write + Unpin> Write for ClosableStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.check(cx))?;
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.check(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.check(cx))?;
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }
}

impl<T: Connection> Connection for ClosableStream<T> {
    fn connected(&self) -> Connected {
        self.inner.connected()
    }
}
