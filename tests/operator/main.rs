//! The whole operator, as its users meet it: the real program against a real API server and simulated services.
//!
//! Each test has a [`world::World`] of its own. Nothing is waited for by the clock that can be waited for by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // This is how a test fails, in its helpers too.

mod actions;
mod cluster;
mod collector;
mod effects;
mod link;
mod process;
mod status;
mod wait;
mod world;

mod alerts;
mod availability;
mod candidates;
mod chart;
mod compatibility;
mod configurations;
mod connections;
mod crashes;
mod deletion;
mod documents;
mod failed;
mod fairness;
mod floods;
#[path = "../../src/fuzz.rs"]
mod fuzz;
mod gitops;
mod gone;
mod guides;
mod health;
mod hostile_specs;
mod install;
mod kstatus;
mod kustomize;
mod limit;
mod lost_answers;
mod main_job;
mod managed_webhooks;
mod metrics;
mod outages;
mod pages;
mod plugin;
mod privileges;
mod quota;
mod reasons;
mod record;
mod refusals;
mod repeat;
mod restores;
mod secrecy;
mod several;
mod shards;
mod soak;
mod suspension;
mod sync;
mod sync_cost;
mod tenants;
mod traces;
mod users;
mod write_back;
