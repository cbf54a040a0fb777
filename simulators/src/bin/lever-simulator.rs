//! Simulated Lever as a program. It prints its URL when it is ready and runs until it is stopped.
//!
//! ```sh
//! json='content-type: application/json' at=http://127.0.0.1:9001/_simulator
//! curl -H "$json" -d '{"url": "127.0.0.1:8080/webhooks/lever/hiring/acme", "signatureToken": "s"}' $at/webhook
//! curl -X POST $at/verify
//! curl -H "$json" -d '{"name": "Ada Example", "tags": ["coderpad"]}' $at/candidates
//! curl -H "$json" -d '{"stage": "Phone Screen"}' $at/candidates/<id>/move
//! curl -H "$json" -d '{"method": "POST", "path": "addLinks$", "action": "loseAnswer"}' $at/faults
//! curl $at/state; curl $at/deliveries; curl $at/calls; curl $at/violations
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use simulators::{LeverOptions, LeverSimulator, RateLimit};

#[derive(Parser)]
#[command(about = "A simulated Lever, controlled through the API under /_simulator")]
struct LeverArguments {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:9001")]
    address: SocketAddr,
    /// API key with all permissions
    #[arg(long, default_value = "lever-key")]
    api_key: String,
    /// Requests per second and key; 0 = unlimited
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Maximum burst of requests
    #[arg(long, default_value_t = 20.0)]
    burst: f64,
    /// Delay in milliseconds before each of the five webhook delivery retries
    #[arg(long, value_delimiter = ',', default_value = "1000,2000,4000,8000,16000")]
    retry_delays: Vec<u64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = LeverArguments::parse();
    let limit = RateLimit { per_second: arguments.rate, burst: arguments.burst };
    let lever = LeverSimulator::start(LeverOptions {
        address: arguments.address,
        api_key: arguments.api_key,
        rate_limit: (arguments.rate > 0.0).then_some(limit),
        retry_delays: arguments.retry_delays.into_iter().map(Duration::from_millis).collect(),
        ..LeverOptions::default()
    })
    .await?;
    println!("{}", lever.url());
    simulators::until_stopped().await
}
