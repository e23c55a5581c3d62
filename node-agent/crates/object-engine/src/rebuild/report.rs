//! What a rebuild did, for the operator.

use grid_types::{BucketId, ObjectKey, SegmentId, SegmentOwner, Timestamp};

/// Quarantined segments that the report names; the others are counted.
pub(super) const QUARANTINED_NAMED_MAX: usize = 1_000;

/// One segment that no record explains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The segment.
    pub segment: SegmentId,
    /// Its bytes.
    pub length: u64,
    /// Bucket, key and place within the object, where a bucket key opened its header.
    pub identity: Option<(BucketId, ObjectKey, SegmentOwner)>,
}

/// What a rebuild did.
#[derive(Debug, Clone, Default)]
pub struct RebuildReport {
    /// Drives that were walked.
    pub drives: usize,
    /// Where the old metadata was set aside, on each drive that had some.
    pub set_aside: Vec<String>,
    /// True where a root bag was found.
    pub root_bag: bool,
    /// Time of the backup that was used; `None`: there was none that could be read whole.
    pub backup: Option<Timestamp>,
    /// Backups that could not be used, with the reason.
    pub backups_refused: Vec<String>,
    /// Buckets made from the root bag.
    pub buckets: u64,
    /// Other records taken from the root bag.
    pub records: u64,
    /// Segments seen on the drives.
    pub segments: u64,
    /// Objects brought back from their records.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Older versions of objects that have a newer one: left to the reaper.
    pub superseded: u64,
    /// Segments that had been deleted or replaced before the backup: left to the reaper.
    pub given_up: u64,
    /// Chunks whose rows named another drive: the rows are mended.
    pub moved: u64,
    /// Segments with too few chunks left to read them, that no row names.
    pub unreadable: u64,
    /// Segments that were set aside because no record explains them.
    pub quarantined: u64,
    /// The first of them.
    pub quarantined_first: Vec<Quarantined>,
}

impl RebuildReport {
    /// What cannot come back, in sentences.
    pub fn lost(&self) -> Vec<String> {
        let since = match self.backup {
            Some(_) => "since the backup",
            None => "at any time, since there was no backup",
        };
        let mut lost = vec![
            format!("objects small enough to live in the metadata (inline) that were written {since}"),
            format!("deletes made {since}: such objects may be back"),
            format!("multipart uploads completed {since}: their parts are quarantined"),
            format!("changes of user metadata and settings made {since}"),
        ];
        if !self.root_bag && self.backup.is_none() {
            lost.push("buckets, access keys and members: no drive had a root bag".to_owned());
        }
        lost
    }
}
