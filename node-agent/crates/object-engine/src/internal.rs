//! The bucket that the grid keeps for itself: backups of metadata, and what a rebuild could not place.
//!
//! Its objects are ordinary ones, so repair keeps their chunks whole and the reaper leaves them alone. No front door
//! sees it: the engine answers to its name as if it were not there.

use grid_types::{BucketId, BucketName, ObjectKey, Segment, VersionId};
use meta_store::root::Bucket;

use crate::bucket::new_bucket;
use crate::{EngineError, ObjectEngine};

/// Bucket names that begin with this are the grid's own.
pub const INTERNAL_BUCKET_PREFIX: &str = "shoal-internal-";
/// The one internal bucket so far.
pub const INTERNAL_BUCKET: &str = "shoal-internal-metadata";
const OWNER: &str = "shoal";

/// Is it the grid's own?
pub(crate) fn is_internal(name: &BucketName) -> bool {
    name.as_str().starts_with(INTERNAL_BUCKET_PREFIX)
}

impl ObjectEngine {
    /// The internal bucket, made where it is not there yet.
    pub(crate) async fn internal_bucket(&self) -> Result<Bucket, EngineError> {
        let name: BucketName = INTERNAL_BUCKET
            .parse()
            .map_err(|error: grid_types::NameError| EngineError::invalid_argument(error.to_string()))?;
        if let Some(bucket) = self.meta().bucket(&name).await? {
            return Ok(bucket);
        }
        let id = BucketId::from(self.random().id());
        let bucket = new_bucket(id, &name, OWNER, self.clock().now());
        let wrapped = self.keys().draw_first(id, self.random());
        self.meta().create_bucket(bucket.clone(), wrapped).await?;
        Ok(bucket)
    }

    /// All segments of a version.
    pub(crate) async fn segments_of(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: VersionId,
    ) -> Result<Vec<Segment>, EngineError> {
        let mut segments = Vec::new();
        let mut from = (0, 0);
        loop {
            let page = self.meta().segments(bucket.id, key, version, from).await?;
            let Some(last) = page.last() else { return Ok(segments) };
            from = (last.owner.part, last.owner.number + 1);
            segments.extend(page.into_iter().map(|row| row.segment));
        }
    }
}
