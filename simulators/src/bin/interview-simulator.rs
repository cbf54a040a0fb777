//! Simulated CoderPad Interview as a program. It prints its URL when it is ready and runs until it is stopped.
//!
//! ```sh
//! json='content-type: application/json' at=http://127.0.0.1:9002/_simulator
//! curl $at/pads
//! curl -H "$json" -d '{"participants": ["Olga Owner", "Ada Example"]}' $at/pads/<id>/start
//! curl -H "$json" -d '{"contents": "print(42)"}' $at/pads/<id>/code
//! curl -X POST $at/pads/<id>/end
//! curl -H "$json" -X PUT -d '{"limit": 10, "used": 10}' $at/quota
//! curl -H "$json" -d '{"path": "^/api/pads/?$", "times": null, "action": {"status": {"code": 503}}}' $at/faults
//! ```

use std::net::SocketAddr;

use clap::Parser;
use simulators::{InterviewOptions, InterviewSimulator, Quota, RateLimit, Settings};

#[derive(Parser)]
#[command(about = "A simulated CoderPad Interview, controlled through the API under /_simulator")]
struct InterviewArguments {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:9002")]
    address: SocketAddr,
    /// API key of the organization's owner
    #[arg(long, default_value = "interview-key")]
    api_key: String,
    /// Name of the organization
    #[arg(long, default_value = "Northwind")]
    organization: String,
    /// Pads per billing cycle; 0 = unlimited
    #[arg(long, default_value_t = 500)]
    quota: u64,
    /// Delay in milliseconds before lists show a change
    #[arg(long, default_value_t = 0)]
    list_lag: u64,
    /// Requests per second and key; 0 = unlimited
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Maximum burst of requests
    #[arg(long, default_value_t = 20.0)]
    burst: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = InterviewArguments::parse();
    let limit = RateLimit { per_second: arguments.rate, burst: arguments.burst };
    let interview = InterviewSimulator::start(InterviewOptions {
        address: arguments.address,
        api_key: arguments.api_key,
        organization: arguments.organization,
        quota: Quota { limit: Some(arguments.quota).filter(|limit| *limit > 0), ..Quota::default() },
        settings: Settings { list_lag_milliseconds: arguments.list_lag, ..Settings::default() },
        rate_limit: (arguments.rate > 0.0).then_some(limit),
        ..InterviewOptions::default()
    })
    .await?;
    println!("{}", interview.url());
    simulators::until_stopped().await
}
