//! Serves a router on a TCP port. A response marked with [`Abort`] closes the connection instead of being sent, which a
//! router alone cannot do.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::lock;

/// Marker in a response's extensions: close the connection and send nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abort;

#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    router: Router,
    running: Mutex<Option<(CancellationToken, JoinHandle<()>)>>,
}

impl Server {
    pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
    }

    pub(crate) fn start(listener: TcpListener, router: Router) -> anyhow::Result<Self> {
        let address = listener.local_addr()?;
        let server = Self { address, router, running: Mutex::default() };
        server.accept(listener);
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port and all connections.
    pub(crate) async fn stop(&self) {
        let running = lock(&self.running).take();
        if let Some((token, task)) = running {
            token.cancel();
            let _ = task.await;
        }
    }

    /// Listens on the same port again, with the service's state unchanged.
    pub(crate) async fn resume(&self) -> anyhow::Result<()> {
        if lock(&self.running).is_none() {
            let listener = Self::bind(self.address).await?;
            self.accept(listener);
        }
        Ok(())
    }

    fn accept(&self, listener: TcpListener) {
        let token = CancellationToken::new();
        let task = tokio::spawn(accept_all(listener, self.router.clone(), token.clone()));
        *lock(&self.running) = Some((token, task));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((token, _)) = lock(&self.running).take() {
            token.cancel();
        }
    }
}

async fn accept_all(listener: TcpListener, router: Router, token: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = token.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        let _ = stream.set_nodelay(true);
        let (router, token) = (router.clone(), token.clone());
        tokio::spawn(async move {
            let inner = TowerToHyperService::new(router);
            let service = service_fn(move |request| {
                let inner = inner.clone();
                async move { unless_aborted(hyper::service::Service::call(&inner, request).await) }
            });
            tokio::select! {
                () = token.cancelled() => {}
                _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service) => {}
            }
        });
    }
}

fn unless_aborted(answer: Result<Response<Body>, Infallible>) -> io::Result<Response<Body>> {
    match answer {
        Ok(response) if response.extensions().get::<Abort>().is_some() => {
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        Ok(response) => Ok(response),
        Err(never) => match never {},
    }
}
