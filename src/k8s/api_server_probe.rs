//! Whether the API server can be reached. A replica that cannot reach it takes no webhooks: others may.
//!
//! If requests on open connections get no answer while a new connection does, the open ones no longer forward: a load
//! balancer or a tunnel has lost them without closing them. Then all are closed, and what runs on them is repeated on new
//! ones.

use super::connect::ApiServerConnections;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How often it is asked, and how long it may take to answer.
const PROBE_INTERVAL: Duration = Duration::from_secs(3);
/// Additional time for the answer on an open connection after a new one was answered.
const OPEN_CONNECTION_GRACE: Duration = Duration::from_secs(1);
/// Without an answer for this long it counts as away. One that is lost is nothing yet.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(10);

/// When the API server answered last; a cheap handle.
#[derive(Clone, Debug)]
pub struct ApiServerProbe {
    last: Arc<Mutex<LastResponse>>,
}

#[derive(Debug)]
struct LastResponse {
    answered: Instant,
    problem: String,
}

/// The ways to the API server.
#[derive(Clone)]
pub struct ProbeClients {
    /// The client of all requests and watches.
    pub client: Client,
    /// A client that opens a connection for each request.
    pub fresh: Client,
    /// The connections of `client`.
    pub connections: ApiServerConnections,
}

impl ApiServerProbe {
    /// Asks now and then, until `stop`.
    pub fn watch(paths: ProbeClients, registry: &mut Registry, stop: CancellationToken) -> Self {
        let last = LastResponse { answered: Instant::now(), problem: "it was not asked yet".to_owned() };
        let reach = Self { last: Arc::new(Mutex::new(last)) };
        let reconnects = Counter::<u64>::default();
        let help = "Times that all connections to the API server were closed because they stopped forwarding";
        registry.register("pad_operator_api_server_reconnects", help, reconnects.clone());
        let watching = {
            let reach = reach.clone();
            async move {
                loop {
                    let mut asked = pin!(probe(&paths.client));
                    let answer = match timeout(PROBE_INTERVAL, asked.as_mut()).await {
                        Ok(answer) => answer,
                        Err(_) if is_reachable(&paths.fresh).await => {
                            // A busy process or API server answers both.
                            if timeout(OPEN_CONNECTION_GRACE, asked).await.is_err() {
                                reconnect(&paths);
                                reconnects.inc();
                            }
                            Ok(())
                        }
                        Err(_) => Err(format!("no answer within {} s", PROBE_INTERVAL.as_secs())),
                    };
                    reach.record(answer);
                    sleep(PROBE_INTERVAL).await;
                }
            }
        };
        tokio::spawn(async move { stop.run_until_cancelled(watching).await });
        reach
    }

    fn record(&self, answer: Result<(), String>) {
        let mut last = self.last.lock();
        match answer {
            Ok(()) => last.answered = Instant::now(),
            Err(problem) => last.problem = problem,
        }
    }

    /// What is wrong, if it has not answered for a while.
    pub fn check(&self) -> Result<(), String> {
        let last = self.last.lock();
        let silence = last.answered.elapsed();
        if silence <= UNREACHABLE_AFTER {
            return Ok(());
        }
        Err(format!("no good answer for {} s; the last attempt: {}", silence.as_secs(), last.problem))
    }
}

async fn is_reachable(client: &Client) -> bool {
    matches!(timeout(PROBE_INTERVAL, probe(client)).await, Ok(Ok(())))
}

fn reconnect(paths: &ProbeClients) {
    tracing::warn!(
        "open connections to the API server stopped forwarding; closed all of them, because a new one works"
    );
    paths.connections.close_all();
}

/// Any answer will do that does not say that it cannot serve: whether we may ask does not matter.
async fn probe(client: &Client) -> Result<(), String> {
    let request =
        axum::http::Request::get("/readyz").body(Body::empty()).map_err(|error| error.to_string())?;
    let answer = client.send(request).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    if status.is_server_error() { Err(format!("it answered {status}")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_away_when_it_has_not_answered_for_a_while() {
        let last = LastResponse { answered: Instant::now(), problem: String::new() };
        let reach = ApiServerProbe { last: Arc::new(Mutex::new(last)) };
        reach.record(Err("connection refused".into()));
        assert_eq!(reach.check(), Ok(()), "one lost answer is nothing");
        tokio::time::advance(Duration::from_secs(12)).await;
        let problem = "no good answer for 12 s; the last attempt: connection refused";
        assert_eq!(reach.check(), Err(problem.to_owned()));
        reach.record(Ok(()));
        assert_eq!(reach.check(), Ok(()));
    }
}
