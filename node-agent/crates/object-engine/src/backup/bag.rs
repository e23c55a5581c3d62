//! The root bag: the records of the root shard that everything else hangs on, on every drive.

use grid_types::BucketName;
use meta_store::MetaStore;
use meta_store::root::{Bucket, RecordKind};
use serde::{Deserialize, Serialize};

use super::drive_file::DriveFile;
use crate::EngineError;

/// Where the bag lies on a drive.
pub const ROOT_BAG_FILE: DriveFile =
    DriveFile { path: "rebuild/root-bag", magic: b"SHOALBAG", site: "engine: root bag" };
/// The kinds that a bag holds beside buckets. Ranges of shards are left out: a rebuild may find other ones.
const KINDS: [RecordKind; 5] =
    [RecordKind::Node, RecordKind::Drive, RecordKind::BucketKey, RecordKind::AccessKey, RecordKind::Setting];
const PAGE: usize = 512;

/// One record, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BagRecord {
    /// Its kind.
    pub kind: RecordKind,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value; secrets in it are sealed.
    pub value: Vec<u8>,
}

/// Buckets with their wrapped keys, access keys, members, settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootBag {
    /// Grows with each bag; the highest one counts.
    pub sequence: u64,
    /// All buckets, in name order.
    pub buckets: Vec<Bucket>,
    /// All other records, by kind and key.
    pub records: Vec<BagRecord>,
}

impl RootBag {
    /// What the root shard says now; `sequence` is 0.
    pub(crate) async fn collect(meta: &MetaStore) -> Result<Self, EngineError> {
        let mut bag = Self::default();
        let mut after: Option<BucketName> = None;
        loop {
            let page = meta.buckets(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.name.clone());
            bag.buckets.extend(page);
        }
        for kind in KINDS {
            let mut after: Option<Vec<u8>> = None;
            loop {
                let page = meta.records(kind, after.as_deref(), PAGE).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.key.clone());
                bag.records.extend(page.into_iter().map(|record| BagRecord {
                    kind,
                    key: record.key,
                    value: record.value,
                }));
            }
        }
        Ok(bag)
    }
}
