//! `pad-operator check` against the simulators: in their usual mode, in each mode in which they behave differently, and
//! with each mistake of a new user. It also tests the simulators, and is the acceptance test for live accounts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // This is how a test fails, in its helpers too.

mod accounts;
mod mistakes;
mod modes;
mod program;
mod written;
