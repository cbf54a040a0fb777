//! TCP proxy that can be interrupted. Between an operator and the API server it simulates the failure of the API
//! server. Between Lever and several replicas it balances like a Service.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// TCP proxy. It ends with the test's runtime.
#[derive(Clone)]
pub struct TcpProxy {
    scheme: String,
    port: u16,
    whole: Arc<watch::Sender<bool>>,
    /// Connections with a lower number than this forward nothing.
    frozen: Arc<watch::Sender<u64>>,
}

impl TcpProxy {
    /// Starts a proxy to a server given as `https://127.0.0.1:<port>` or with `http`.
    pub async fn to(url: &str) -> Self {
        let (scheme, target) = (url.split(':').next().unwrap(), url.rsplit(':').next().unwrap());
        Self::to_any(scheme, vec![target.parse().unwrap()]).await
    }

    /// Starts a proxy to these ports in turn, skipping those on which no server listens.
    pub async fn to_any(scheme: &str, mut targets: Vec<u16>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (whole, frozen) = (Arc::new(watch::Sender::new(true)), Arc::new(watch::Sender::new(0)));
        let link = Self { scheme: scheme.to_owned(), port, whole, frozen };
        let (whole, frozen) = (link.whole.subscribe(), link.frozen.subscribe());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *whole.borrow() {
                    tokio::spawn(forward(near, targets.clone(), whole.clone(), frozen.clone()));
                    targets.rotate_left(1);
                }
            }
        });
        link
    }

    /// Returns the address of the proxy.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// Closes all connections and accepts no new ones.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Stops forwarding on all open connections without closing them. New connections work.
    pub fn freeze(&self) {
        self.frozen.send_modify(|frozen| *frozen += 1);
    }

    pub fn restore(&self) {
        self.whole.send_replace(true);
    }
}

async fn forward(
    mut near: TcpStream,
    targets: Vec<u16>,
    mut whole: watch::Receiver<bool>,
    mut frozen: watch::Receiver<u64>,
) {
    let opened = *frozen.borrow();
    for target in targets {
        let Ok(mut far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { continue };
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            _ = whole.wait_for(|whole| !whole) => return,
            _ = frozen.wait_for(|frozen| *frozen > opened) => {}
        }
        if *frozen.borrow() > opened {
            // Both ends stay open: sent data is acknowledged by this machine and never arrives.
            let _ = whole.wait_for(|whole| !whole).await;
        }
        return;
    }
}
