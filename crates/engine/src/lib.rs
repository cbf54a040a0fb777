//! The rules of the operator as pure functions: no I/O, no clock, no memory.
//!
//! [`state`] contains the observed state of one Pad, [`decide`] decides the next command from it, `PadState::apply` adds
//! the event of the command, and [`status`] builds the complete status of the result. Time is an input.

mod apply;
pub mod backoff;
pub mod command;
pub mod decide;
pub mod event;
pub mod hints;
pub mod in_flight;
pub mod limits;
pub mod note;
pub mod observe;
pub mod pad_changes;
pub mod patch;
pub mod question;
pub mod rolling_limit;
pub mod rules;
pub mod scan_action;
pub mod search;
pub mod series;
pub mod stage;
pub mod stage_change;
pub mod state;
pub mod status;
pub mod tags;
pub mod ttl;
pub mod wake;
pub mod warning_events;
pub mod wording;
