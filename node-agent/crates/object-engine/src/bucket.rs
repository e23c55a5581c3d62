//! Buckets.

use grid_types::{BucketId, BucketName, ErrorCode, Timestamp};
use meta_store::root::Bucket;

use crate::internal::{INTERNAL_BUCKET_PREFIX, is_internal};
use crate::record::{self, BucketSettings};
use crate::types::{ListObjects, ListUploads, UploadInfo};
use crate::{EngineError, ObjectEngine};

/// Generation of a new bucket's settings.
const FIRST_GENERATION: u64 = 1;
/// Uploads listed at a time where all are aborted.
const UPLOADS_STEP: usize = 1_000;

impl ObjectEngine {
    /// Makes a bucket with its first key. BucketAlreadyOwnedByYou or BucketAlreadyExists where the name is taken.
    pub async fn create_bucket(&self, name: &BucketName, owner: &str) -> Result<Bucket, EngineError> {
        if is_internal(name) {
            let detail = format!("Bucket names that begin with {INTERNAL_BUCKET_PREFIX} are reserved");
            return Err(EngineError::invalid_argument(detail));
        }
        let id = BucketId::from(self.random().id());
        let bucket = new_bucket(id, name, owner, self.clock().now());
        let wrapped = self.keys().draw_first(id, self.random());
        self.meta().create_bucket(bucket.clone(), wrapped).await?;
        self.changes().root_changed();
        Ok(bucket)
    }

    /// Deletes an empty bucket; BucketNotEmpty where a version is left. Open uploads are no content, as in S3: they are
    /// aborted. One that is opened meanwhile is BucketNotEmpty.
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<(), EngineError> {
        if is_internal(name) {
            return Err(EngineError::no_such_bucket(name));
        }
        match self.meta().delete_bucket(name).await {
            Err(error) if error.code() == ErrorCode::BucketNotEmpty && !self.holds_objects(name).await? => {
                self.abort_uploads(name).await?;
                self.meta().delete_bucket(name).await?;
            }
            deleted => deleted?,
        }
        self.changes().root_changed();
        Ok(())
    }

    async fn holds_objects(&self, name: &BucketName) -> Result<bool, EngineError> {
        let first = ListObjects { limit: 1, ..ListObjects::default() };
        Ok(!self.list_objects(name, first).await?.objects.is_empty())
    }

    async fn abort_uploads(&self, name: &BucketName) -> Result<(), EngineError> {
        loop {
            let first = ListUploads { limit: UPLOADS_STEP, ..ListUploads::default() };
            let uploads = self.list_uploads(name, first).await?.uploads;
            if uploads.is_empty() {
                return Ok(());
            }
            for UploadInfo { key, upload, .. } in uploads {
                match self.abort_upload(name, &key, upload).await {
                    Err(error) if error.code() != ErrorCode::NoSuchUpload => return Err(error),
                    _ => {}
                }
            }
        }
    }

    /// Buckets by name, after `after`, at most `limit`.
    pub async fn list_buckets(
        &self,
        after: Option<&BucketName>,
        limit: usize,
    ) -> Result<Vec<Bucket>, EngineError> {
        let mut buckets = Vec::new();
        let mut after = after.cloned();
        while buckets.len() < limit {
            let page = self.meta().buckets(after.as_ref(), limit - buckets.len()).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.name.clone());
            buckets.extend(page.into_iter().filter(|bucket| !is_internal(&bucket.name)));
        }
        Ok(buckets)
    }
}

/// A bucket's first row.
pub(crate) fn new_bucket(id: BucketId, name: &BucketName, owner: &str, created: Timestamp) -> Bucket {
    Bucket {
        id,
        name: name.clone(),
        created,
        owner: owner.to_owned(),
        generation: FIRST_GENERATION,
        settings: record::encode(&BucketSettings::first()),
    }
}
