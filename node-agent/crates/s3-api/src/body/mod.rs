//! Bodies: plain, aws-chunked (signed, signed with trailer, unsigned with trailer), payload hash, limits.
//!
//! Source: AWS, "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks" and
//! "… with trailing headers".
//!
//! Invariants: memory does not grow with chunk or body size; a body that breaks a rule ends with an error, and its
//! last bytes are held back until every rule was checked, so that no handler can take a refused body for a whole one.

mod announced;
mod chunk_decoder;
mod chunk_signer;
mod streams;

pub use announced::{Announced, checksum_header_name, parse_checksum};
pub use chunk_decoder::{
    CHUNK_LINE_BYTES_MAX, ChunkDecoder, ChunkError, ChunkEvent, ChunkLimits, Decoded, decode_aws_chunked,
};
pub use chunk_signer::ChunkSigner;
pub(crate) use streams::none;
pub use streams::{DataSource, open};

#[cfg(test)]
mod announced_tests;
#[cfg(test)]
mod chunk_tests;
#[cfg(test)]
mod streams_tests;
