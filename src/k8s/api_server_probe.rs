//! Probe of the API server. A replica that cannot reach the API server accepts no webhooks; other replicas may accept
//! them.
//!
//! If requests on open connections get no answer but a request on a new connection does, the open connections no
//! longer forward: a load balancer or a tunnel has lost them without closing them. The probe then closes all of them,
//! and their requests and watches are retried on new connections.

use k8s_connect::ApiServerConnections;
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

/// Delay between two probes, and timeout of one probe.
const PROBE_INTERVAL: Duration = Duration::from_secs(3);
/// Additional time for the answer on an open connection after a new connection delivered one.
const OPEN_CONNECTION_GRACE: Duration = Duration::from_secs(1);
/// Time without an answer after which the API server counts as unreachable. A single lost answer does not count.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(10);

/// Result of the last probes; a cheap handle.
#[derive(Clone, Debug)]
pub struct ApiServerProbe {
    last: Arc<Mutex<LastResponse>>,
}

#[derive(Debug)]
struct LastResponse {
    answered: Instant,
    problem: String,
}

/// Clients of the API server that the probe uses.
#[derive(Clone)]
pub struct ProbeClients {
    /// The client of all requests and watches.
    pub client: Client,
    /// Client that opens a new connection for each request.
    pub fresh: Client,
    /// The connections of `client`.
    pub connections: ApiServerConnections,
}

impl ApiServerProbe {
    /// Starts a task that probes the API server until `stop`.
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
                            // A busy process or API server answers on both connections.
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

    /// Returns an error with the last problem, if the API server has not answered for `UNREACHABLE_AFTER`.
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

/// Sends one request. Any answer below status 500 counts as success, because the probe may lack the permission to read
/// `/readyz`.
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
    async fn api_server_counts_as_unreachable_after_a_silence() {
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
