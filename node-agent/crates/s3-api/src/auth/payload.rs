//! What `x-amz-content-sha256` says of a body.

use data_encoding::HEXLOWER_PERMISSIVE;

use crate::body::ChunkSigner;
use crate::{S3Error, S3ErrorCode};

/// The values of `x-amz-content-sha256`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadHash {
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// The SHA-256 of the body.
    Sha256([u8; 32]),
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`, with or without `-TRAILER`.
    StreamingSigned {
        /// Signed trailers follow.
        trailer: bool,
    },
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.
    StreamingUnsignedTrailer,
}

impl PayloadHash {
    /// From the header.
    pub fn parse(text: &str) -> Result<Self, S3Error> {
        Ok(match text {
            "UNSIGNED-PAYLOAD" => Self::Unsigned,
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Self::StreamingSigned { trailer: false },
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Self::StreamingSigned { trailer: true },
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Self::StreamingUnsignedTrailer,
            _ if text.starts_with("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD") => {
                return Err(S3Error::new(
                    S3ErrorCode::NOT_IMPLEMENTED,
                    "Signature Version 4A is not implemented. Please use AWS4-HMAC-SHA256.",
                ));
            }
            _ => HEXLOWER_PERMISSIVE
                .decode(text.as_bytes())
                .ok()
                .and_then(|hash| hash.try_into().ok())
                .map(Self::Sha256)
                .ok_or_else(|| {
                    S3Error::new(
                        S3ErrorCode::INVALID_ARGUMENT,
                        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                         STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a \
                         valid sha256 value.",
                    )
                    .detail("ArgumentName", "x-amz-content-sha256")
                    .detail("ArgumentValue", text)
                })?,
        })
    }
}

/// How a verified request's body is to be read.
pub enum Payload {
    /// As it is.
    Plain,
    /// Its SHA-256 must be this.
    Sha256([u8; 32]),
    /// aws-chunked.
    Chunked {
        /// Verifies each chunk; none for the unsigned form.
        signer: Option<Box<ChunkSigner>>,
        /// Trailers follow the last chunk.
        trailer: bool,
    },
}
