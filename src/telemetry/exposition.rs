//! Text formats of `/metrics`: OpenMetrics if the request accepts it, else the older text format of Prometheus, which
//! every scraper and command-line tool can read.

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use std::fmt;

const OPEN_METRICS_TYPE: &str = "application/openmetrics-text";
const TEXT_TYPE: &str = "text/plain";

/// Text format of the metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format 0.0.4 of Prometheus.
    Text,
}

impl Format {
    /// Returns the format that the values of the Accept header prefer.
    pub fn from_accept<'a>(accepted: impl Iterator<Item = &'a str>) -> Self {
        let (mut open_metrics, mut text) = (0.0, 0.0);
        for range in accepted.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let best = match parts.next() {
                Some(kind) if kind.eq_ignore_ascii_case(OPEN_METRICS_TYPE) => &mut open_metrics,
                Some(kind) if kind.eq_ignore_ascii_case(TEXT_TYPE) => &mut text,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            *best = weight.max(*best);
        }
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// Returns the Content-Type of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Formats all registered metrics.
    pub fn write(self, registry: &Registry) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, registry)?;
        Ok(match self {
            Self::OpenMetrics => text,
            Self::Text => older(&text),
        })
    }
}

/// Converts OpenMetrics to the older format. The samples are the same, but the descriptions of a counter and of an info
/// use the names of their samples, an info is a gauge, and there is no end marker.
fn older(text: &str) -> String {
    let mut older = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ').map(|(_, help)| help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            if let Some(help) = help.take() {
                older.push_str(&format!("# HELP {name}{suffix} {help}\n"));
            }
            older.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            older.push_str(line);
            older.push('\n');
        }
    }
    older
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::info::Info;

    #[test]
    fn open_metrics_is_served_on_request() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
        for (accepted, format) in [
            (prometheus, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("text/plain; version=0.0.4", Format::Text),
            ("text/plain, application/openmetrics-text; q=0.5", Format::Text),
            ("application/openmetrics-text; q=0", Format::Text),
            ("*/*", Format::Text),
            ("text/html", Format::Text),
        ] {
            assert_eq!(Format::from_accept([accepted].into_iter()), format, "{accepted}");
        }
        assert_eq!(Format::from_accept([].into_iter()), Format::Text);
        assert_eq!(Format::from_accept(["text/plain;q=0.1", prometheus].into_iter()), Format::OpenMetrics);
    }

    #[test]
    fn the_older_text_describes_samples_by_their_own_names() {
        let mut registry = Registry::default();
        let calls: Counter = Counter::default();
        calls.inc();
        registry.register("calls", "How many", calls);
        registry.register("waiting", "How many wait", Gauge::<i64>::default());
        registry.register("build", "Which", Info::new([("version", "1")]));
        let text = "# HELP calls_total How many.\n# TYPE calls_total counter\ncalls_total 1\n\
                    # HELP waiting How many wait.\n# TYPE waiting gauge\nwaiting 0\n\
                    # HELP build_info Which.\n# TYPE build_info gauge\nbuild_info{version=\"1\"} 1\n";
        assert_eq!(Format::Text.write(&registry).unwrap(), text);
        assert!(Format::OpenMetrics.write(&registry).unwrap().ends_with("# EOF\n"));
    }
}
