//! Buckets.

use grid_types::{BucketId, BucketName};
use meta_store::root::Bucket;

use crate::record::{self, BucketSettings};
use crate::{EngineError, ObjectEngine};

/// Generation of a new bucket's settings.
const FIRST_GENERATION: u64 = 1;

impl ObjectEngine {
    /// Makes a bucket with its first key. BucketAlreadyOwnedByYou or BucketAlreadyExists where the name is taken.
    pub async fn create_bucket(&self, name: &BucketName, owner: &str) -> Result<Bucket, EngineError> {
        let id = BucketId::from(self.random().id());
        let bucket = Bucket {
            id,
            name: name.clone(),
            created: self.clock().now(),
            owner: owner.to_owned(),
            generation: FIRST_GENERATION,
            settings: record::encode(&BucketSettings::first()),
        };
        let wrapped = self.keys().draw_first(id, self.random());
        self.meta().create_bucket(bucket.clone(), wrapped).await?;
        Ok(bucket)
    }

    /// Deletes an empty bucket; BucketNotEmpty where a version or an open upload is left.
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<(), EngineError> {
        Ok(self.meta().delete_bucket(name).await?)
    }

    /// Buckets by name, after `after`, at most `limit`.
    pub async fn list_buckets(
        &self,
        after: Option<&BucketName>,
        limit: usize,
    ) -> Result<Vec<Bucket>, EngineError> {
        Ok(self.meta().buckets(after, limit).await?)
    }
}
