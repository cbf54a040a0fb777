//! A way over TCP that can be cut. From an operator to the API server: for the operator, the API server has died. From
//! Lever to several replicas: it balances like a Service.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// It ends with the test's runtime.
#[derive(Clone)]
pub struct Link {
    scheme: String,
    port: u16,
    whole: Arc<watch::Sender<bool>>,
    /// Connections that were opened before this number was reached forward nothing.
    frozen: Arc<watch::Sender<u64>>,
}

impl Link {
    /// Leads to a server that is given as `https://127.0.0.1:<port>`, or with `http`.
    pub async fn to(url: &str) -> Self {
        let (scheme, target) = (url.split(':').next().unwrap(), url.rsplit(':').next().unwrap());
        Self::to_any(scheme, vec![target.parse().unwrap()]).await
    }

    /// Leads to one of these ports in turn, past those where nobody listens.
    pub async fn to_any(scheme: &str, mut targets: Vec<u16>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (whole, frozen) = (Arc::new(watch::Sender::new(true)), Arc::new(watch::Sender::new(0)));
        let link = Self { scheme: scheme.to_owned(), port, whole, frozen };
        let (whole, frozen) = (link.whole.subscribe(), link.frozen.subscribe());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *whole.borrow() {
                    tokio::spawn(carry(near, targets.clone(), whole.clone(), frozen.clone()));
                    targets.rotate_left(1);
                }
            }
        });
        link
    }

    /// Where it begins.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// Closes all connections and takes no new ones.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// All connections that are open now stop forwarding, without being closed. New ones work.
    pub fn freeze(&self) {
        self.frozen.send_modify(|frozen| *frozen += 1);
    }

    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn carry(
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
            // Both ends stay open: what is sent is acknowledged by this machine, and never arrives.
            let _ = whole.wait_for(|whole| !whole).await;
        }
        return;
    }
}
