//! Receiver of traces in tests: the OTLP receiver of the OpenTelemetry Collector, which `make otlp-receiver` builds.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use testkit::ports::free_port;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::cluster::{Cluster, source};
use crate::wait::eventually;

/// Running receiver. It is killed when it is dropped.
pub struct Collector {
    port: u16,
    /// Received requests, each as a line of OTLP's JSON.
    pub received: PathBuf,
    _process: Child,
}

/// Received span.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    /// IDs of the linked traces.
    pub links: Vec<String>,
    attributes: Vec<(String, Value)>,
    pub started: u128,
}

impl Span {
    fn read(span: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        Self {
            trace: text(&span["traceId"]),
            id: text(&span["spanId"]),
            parent: text(&span["parentSpanId"]),
            name: text(&span["name"]),
            links: list(&span["links"]).iter().map(|link| text(&link["traceId"])).collect(),
            attributes: list(&span["attributes"])
                .iter()
                .map(|one| {
                    (text(&one["key"]), one["value"].as_object().unwrap().values().next().unwrap().clone())
                })
                .collect(),
            started: text(&span["startTimeUnixNano"]).parse().unwrap(),
        }
    }

    /// Returns an attribute as text, also if it is a number.
    pub fn attribute(&self, key: &str) -> Option<String> {
        let (_, value) = self.attributes.iter().find(|(name, _)| name == key)?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }
}

impl Collector {
    pub async fn start(cluster: &Cluster) -> Self {
        let port = free_port().unwrap();
        let received = cluster.plane.folder().join(format!("traces-{port}.jsonl"));
        let process = Command::new(source(".tools/bin/otlp-receiver"))
            .arg(format!("-listen=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&received).unwrap())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("run `make otlp-receiver`");
        eventually("the receiver listens", async || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| error.to_string())
        })
        .await;
        Self { port, received, _process: process }
    }

    /// Returns the flag with which an operator sends its traces here.
    pub fn flag(&self) -> &'static str {
        flag(self.port)
    }

    /// Returns all received spans, oldest first.
    pub fn spans(&self) -> Vec<Span> {
        let text = std::fs::read_to_string(&self.received).unwrap();
        let mut spans = Vec::new();
        for line in text.lines() {
            let request: Value = serde_json::from_str(line).unwrap();
            for of_resource in request["resourceSpans"].as_array().unwrap() {
                for of_scope in of_resource["scopeSpans"].as_array().unwrap() {
                    spans.extend(of_scope["spans"].as_array().unwrap().iter().map(Span::read));
                }
            }
        }
        spans.sort_by_key(|span| span.started);
        spans
    }
}

/// Returns the flag with which an operator sends its traces to this port.
pub fn flag(port: u16) -> &'static str {
    format!("--otlp-endpoint=http://127.0.0.1:{port}").leak()
}
