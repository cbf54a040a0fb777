//! Cost of one live pad.

use anyhow::ensure;

use crate::bench::Bench;
use crate::environment::{Setup, TestEnv, WAIT};
use crate::report::Metric;
use pad_operator::api::Pad;
use pad_operator::api::pad::Phase;

const CANDIDATES: usize = 20;

/// Measures candidates one after the other.
pub async fn sequential(bench: &Bench) -> anyhow::Result<Vec<Metric>> {
    let environment = TestEnv::start(bench, Setup::new("sequential")).await?;
    environment.clear_calls();
    let before = environment.writes().await?;
    for _ in 0..CANDIDATES {
        let candidate = environment.candidate();
        environment.change_stage(candidate.clone())?.await?;
        environment.wait_for_links(&[candidate]).await?;
    }
    // The status is the last write and follows the link.
    WAIT.until("all are Open", async || {
        let pads = environment.api::<Pad>().list(&Default::default()).await?;
        let open = pads.iter().filter(|pad| pad.phase() == Some(Phase::Open)).count();
        ensure!(open == CANDIDATES, "{open} are");
        Ok(())
    })
    .await?;
    let (calls, writes) = (environment.calls().len(), environment.writes().await? - before);
    environment.check_violations()?;
    let each = |count: usize| count as f64 / CANDIDATES as f64;
    Ok(vec![
        Metric::new("calls to the services for a live pad", each(calls), "").at_most(3.0),
        Metric::new("writes to the API server for a Pad, Events counted", each(writes), "").at_most(4.0),
    ])
}
