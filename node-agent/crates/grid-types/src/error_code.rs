//! The one list of error codes. They cross crate and wire borders; only row 7 maps them to S3 or HTTP.

use serde::{Deserialize, Serialize};

/// What went wrong, in a form that programs compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The bucket does not exist.
    NoSuchBucket,
    /// No object (or no such version) under this key.
    NoSuchKey,
    /// The upload is unknown, completed or aborted.
    NoSuchUpload,
    /// The bucket exists and belongs to the caller.
    BucketAlreadyOwnedByYou,
    /// The bucket exists and belongs to somebody else.
    BucketAlreadyExists,
    /// Still holds objects or open uploads.
    BucketNotEmpty,
    /// A condition of the request does not hold.
    PreconditionFailed,
    /// A conditional write met another one in flight.
    ConditionalConflict,
    /// Complete named a part that is not there or has another ETag.
    InvalidPart,
    /// Complete named parts out of order.
    InvalidPartOrder,
    /// A part other than the last is below 5 MiB.
    PartTooSmall,
    /// Larger than allowed.
    TooLarge,
    /// The body did not have the digest that came with it.
    BadDigest,
    /// The body ended before its announced length.
    IncompleteBody,
    /// The range lies outside the object.
    InvalidRange,
    /// An argument is wrong; the message says which.
    InvalidArgument,
    /// No space on enough drives.
    StorageFull,
    /// Too few failure domains take writes to keep the promise of the profile.
    InsufficientDomains,
    /// A limit of the memory budget or a queue is used up: try later.
    SlowDown,
    /// The shard or drive needed is not available now: try later.
    Unavailable,
    /// The range belongs to another shard now; the caller re-reads the map.
    WrongShard,
    /// A bucket setting changed under the request: retried inside.
    StaleGeneration,
    /// The compare of a compare-and-set failed.
    Conflict,
    /// Too few good chunks are left to read the segment.
    SegmentLost,
    /// Stored bytes do not match their hash or tag.
    Corrupt,
    /// A drive failed a read, write or sync.
    DriveFailed,
    /// No such drive, or it is out of service.
    NoSuchDrive,
    /// The key that sealed this is not there.
    KeyMissing,
    /// The access key is unknown or disabled.
    InvalidAccessKey,
    /// The caller may not do this.
    AccessDenied,
    /// Not built yet.
    NotImplemented,
    /// A bug or an I/O error without a better name.
    Internal,
}
