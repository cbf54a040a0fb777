//! Whoever floods waits in a lane of its own.

/// What is deleted.
/// The operator looks again
const A: &str = "The pad is made by itself.";
const B: &str = "Lever knows no opportunity of this id";
// Mended by a person.
const C: &str = "the API server told {count} Pads";
