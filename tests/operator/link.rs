//! The way from the operator to the API server, which can be cut: for the operator, the API server has died.

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
}

impl Link {
    /// Leads to a server that is given as `https://127.0.0.1:<port>`, or with `http`.
    pub async fn to(url: &str) -> Self {
        let (scheme, target) = (url.split(':').next().unwrap().to_owned(), url.rsplit(':').next().unwrap());
        let target: u16 = target.parse().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let link = Self { scheme, port, whole: Arc::new(watch::Sender::new(true)) };
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
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
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
