//! Wrong variants of the protocol, each of which must be found.
