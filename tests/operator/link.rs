//! The way from the operator to the API server, which can be cut: for the operator, the API server has died.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// It ends with the test's runtime.
#[derive(Clone)]
pub struct Link {
    port: u16,
    whole: Arc<watch::Sender<bool>>,
}

impl Link {
    /// Leads to a server that is given as `https://127.0.0.1:<port>`.
    pub async fn to(url: &str) -> Self {
        let target: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let link =
            Self { port: listener.local_addr().unwrap().port(), whole: Arc::new(watch::Sender::new(true)) };
        let whole = link.whole.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *whole.borrow() {
                    tokio::spawn(carry(near, target, whole.clone()));
                }
            }
        });
        link
    }

    /// Where it begins.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Closes all connections and takes no new ones.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn carry(mut near: TcpStream, target: u16, mut whole: watch::Receiver<bool>) {
    let Ok(mut far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        _ = whole.wait_for(|whole| !whole) => {}
    }
}
