//! Tests of the whole operator as users run it: the real program against a real API server and simulated services.
//!
//! Each test has its own [`environment::TestEnv`]. Tests wait for conditions and not for fixed times wherever possible.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // This is how a test fails, in its helpers too.

mod actions;
mod cluster;
mod collector;
mod effects;
mod environment;
mod process;
#[path = "../../src/snapshots/compare.rs"]
mod snapshots;
mod status;
mod tcp_proxy;
mod wait;

mod admission;
mod alerts;
mod availability;
mod backup_restore;
mod candidates;
mod chart;
mod compatibility;
mod configurations;
mod connections;
mod crashes;
mod decoding;
mod deletion;
mod documents;
mod elections;
mod erasure;
mod events;
mod failure_tag;
mod fairness;
mod floods;
#[path = "../../src/fuzz.rs"]
mod fuzz;
mod gitops;
mod guides;
mod happy_path;
mod health;
mod hostile_specs;
mod hourly_limit;
mod inconsistent_reads;
mod install;
mod installations;
mod interview_end;
mod isolation;
mod kstatus;
mod kustomize;
mod lost_responses;
mod managed_webhooks;
mod metrics;
mod namespaces;
mod organization_change;
mod outages;
mod pages;
mod plugin;
mod policies;
mod privileges;
mod probes;
mod proxies;
mod quota;
mod reasons;
mod repeat;
mod secrecy;
mod served_entries;
mod sharding;
mod shared_stage;
mod soak;
mod stalled_connections;
mod suspension;
mod sync;
mod sync_cost;
mod sync_malformed_rows;
mod sync_requests;
mod sync_scans;
mod traces;
mod user_interface;
mod write_back;
