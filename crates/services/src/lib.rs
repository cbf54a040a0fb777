//! Records, decoders and errors of both services, without any I/O.
//!
//! The clients send requests and return these records; the engine decides with them.

pub mod coderpad;
mod error;
pub mod lever;
mod surprise;
mod tolerant_decoding;

pub use error::{ErrorKind, Service, ServiceError, SetupError};
pub use surprise::{Sighting, SurpriseKind};
pub use tolerant_decoding::{AnswerPart, Oddities, OddityCount, milliseconds};
