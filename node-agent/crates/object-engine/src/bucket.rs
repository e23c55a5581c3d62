//! Buckets.

use grid_types::{BucketId, BucketName, Timestamp};
use meta_store::root::Bucket;

use crate::internal::{INTERNAL_BUCKET_PREFIX, is_internal};
use crate::record::{self, BucketSettings};
use crate::{EngineError, ObjectEngine};

/// Generation of a new bucket's settings.
const FIRST_GENERATION: u64 = 1;

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

    /// Deletes an empty bucket; BucketNotEmpty where a version or an open upload is left.
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<(), EngineError> {
        if is_internal(name) {
            return Err(EngineError::no_such_bucket(name));
        }
        self.meta().delete_bucket(name).await?;
        self.changes().root_changed();
        Ok(())
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
