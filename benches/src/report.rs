//! Metrics, each with its budget, as a table for people and as JSON for programs.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

/// Measured value.
#[derive(Clone, Debug, Serialize)]
pub struct Metric {
    /// Name.
    pub what: String,
    /// Value.
    pub value: f64,
    /// Unit; "x" for a ratio.
    pub unit: &'static str,
    /// Upper or lower limit; `None` if the value is only reported.
    pub budget: Option<Budget>,
}

/// Limit of a value.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Budget {
    /// Upper limit, inclusive.
    AtMost(f64),
    /// Lower limit, inclusive.
    AtLeast(f64),
}

impl Metric {
    /// Returns a value without a budget.
    pub fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, budget: None }
    }

    /// Returns the median of some times, in milliseconds.
    pub fn median(what: impl Into<String>, times: &[Duration]) -> Self {
        Self::new(what, milliseconds(percentile(times, 50)), "ms")
    }

    /// Sets an upper limit.
    pub fn at_most(self, most: f64) -> Self {
        Self { budget: Some(Budget::AtMost(most)), ..self }
    }

    /// Sets a lower limit.
    pub fn at_least(self, least: f64) -> Self {
        Self { budget: Some(Budget::AtLeast(least)), ..self }
    }

    /// Reports whether the budget holds.
    pub fn holds(&self) -> bool {
        match self.budget {
            None => true,
            Some(Budget::AtMost(most)) => self.value <= most,
            Some(Budget::AtLeast(least)) => self.value >= least,
        }
    }

    /// Returns the line for the table.
    pub fn line(&self) -> String {
        let budget = match self.budget {
            None => String::new(),
            Some(Budget::AtMost(most)) => format!("at most {}", format_value(most)),
            Some(Budget::AtLeast(least)) => format!("at least {}", format_value(least)),
        };
        let verdict = match (self.budget, self.holds()) {
            (None, _) => "",
            (Some(_), true) => "ok",
            (Some(_), false) => "OVER BUDGET",
        };
        format!("{:<86} {:>10} {:<5} {budget:<16} {verdict}", self.what, format_value(self.value), self.unit)
    }
}

/// Formats a value with about three significant digits.
fn format_value(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Writes all metrics as JSON.
pub fn write(file: &Path, metrics: &[Metric]) -> anyhow::Result<()> {
    let folder = file.parent().context("a file has a folder")?;
    std::fs::create_dir_all(folder)?;
    std::fs::write(file, serde_json::to_vec_pretty(metrics)?)
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Returns the percentile of some times; zero if there are none.
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// Returns a time in milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Returns a size in MiB.
pub fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_one_of_the_values() {
        let times: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(100));
        assert_eq!(percentile(&times, 99), Duration::from_millis(198));
        assert_eq!(percentile(&times[..1], 99), Duration::from_millis(200));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }

    #[test]
    fn budget_includes_its_limit() {
        let metric = |value| Metric::new("calls", value, "");
        assert!(metric(3.0).at_most(3.0).holds() && !metric(3.01).at_most(3.0).holds());
        assert!(metric(0.95).at_least(0.95).holds() && !metric(0.94).at_least(0.95).holds());
        assert!(metric(1e9).holds());
        assert!(metric(3.5).at_most(3.0).line().ends_with("OVER BUDGET"));
    }
}
