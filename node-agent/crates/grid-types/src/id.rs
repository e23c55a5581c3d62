//! 128-bit random ids, printed as 32 lower-case hex digits, and the small counters beside them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text that is not 32 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} id: 32 hexadecimal digits are wanted")]
pub struct IdParseError {
    /// Which id was wanted, for example `drive`.
    pub kind: &'static str,
    /// What was given.
    pub text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The id with these 16 bytes; fresh ones come from `sys::Random::id`.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes as they are stored.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl From<[u8; 16]> for $name {
            fn from(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($kind, ":{}"), self)
            }
        }

        /// 32 hex digits where people read it (JSON), 16 bytes where they do not.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if to.is_human_readable() { to.collect_str(self) } else { self.0.serialize(to) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                if from.is_human_readable() {
                    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; 16]>::deserialize(from).map(Self)
                }
            }
        }

        impl FromStr for $name {
            type Err = IdParseError;

            fn from_str(text: &str) -> Result<Self, IdParseError> {
                data_encoding::HEXLOWER_PERMISSIVE
                    .decode(text.as_bytes())
                    .ok()
                    .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok())
                    .map(Self)
                    .ok_or_else(|| IdParseError { kind: $kind, text: text.to_owned() })
            }
        }
    };
}

id!(
    /// One grid: all nodes that share one member list and one root shard.
    GridId, "grid"
);
id!(
    /// One node; the first 16 bytes of the SHA-256 of its public key.
    NodeId, "node"
);
id!(
    /// One drive, from its label.
    DriveId, "drive"
);
id!(
    /// One write attempt of one segment; never used twice.
    SegmentId, "segment"
);
id!(
    /// One bucket; a name that is deleted and made again gets a new one.
    BucketId, "bucket"
);
id!(
    /// One version of one object; also the owner of the segments of an open multipart upload.
    VersionId, "version"
);
id!(
    /// One multipart upload.
    UploadId, "upload"
);
id!(
    /// One client request's command, the same for each retry inside.
    OpId, "operation"
);

/// One metadata shard = one Raft group. 0 is the root shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId(pub u64);

impl ShardId {
    /// The shard that holds members, drives, buckets, users and the shard map.
    pub const ROOT: Self = Self(0);
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One ordered list of drives, interned by a metadata shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PlacementSetId(pub u64);

#[cfg(test)]
#[path = "id_tests.rs"]
mod tests;
