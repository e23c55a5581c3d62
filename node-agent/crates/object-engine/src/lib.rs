//! What an object is: buckets, versions, multipart uploads, copies, conditions, digests, inline bodies.
//!
//! Knows no HTTP and no XML. Invariants: before the commit nothing is visible, after it everything is; a body is
//! streamed, never held whole; a write whose body is cut short or does not match its digest commits nothing.

mod attributes;
pub mod backup;
mod body;
mod bucket;
mod changes;
mod complete;
mod condition;
mod config;
mod copy;
mod delete;
pub mod digest;
mod engine;
mod error;
mod get;
mod internal;
mod keys;
mod list;
mod part;
mod put;
mod quarantine;
mod range;
mod reader;
pub mod rebuild;
mod record;
mod sink;
mod types;
mod upload;
mod write;

pub use attributes::Attributes;
pub use body::{Body, BodyError, ExpectedDigests};
pub use condition::{ReadConditions, ReadVerdict};
pub use config::EngineConfig;
pub use digest::{Checksum, ChecksumKind, ChecksumType};
pub use engine::{ObjectEngine, STANDARD};
pub use error::EngineError;
pub use internal::{INTERNAL_BUCKET, INTERNAL_BUCKET_PREFIX};
pub use keys::rewrapped_record;
pub use meta_store::WriteCondition;
pub use quarantine::{QUARANTINED_MAX, QuarantineChoice, QuarantineOrigin, QuarantinedSegment};
pub use record::ObjectRecord;
pub use types::{
    CompletePart, CopySource, CreateUpload, GetObject, ListObjects, ListUploads, ObjectInfo, ObjectListing,
    ObjectPart, ObjectReader, PartInfo, PutObject, PutPart, RangeSpec, UploadInfo, UploadListing, Written,
    WrittenPart,
};

#[cfg(test)]
mod tests;
