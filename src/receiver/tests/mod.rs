//! The receiver against an API server in memory.

mod answers;
mod decisions;
mod events;
mod fake;
mod serving;
mod storing;
mod tokens;
