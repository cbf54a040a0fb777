//! The receiver against an API server in memory.

mod answers;
mod decisions;
mod events;
mod fake;
mod fuzz;
mod messages;
mod refused;
mod serving;
mod storing;
mod tokens;
