//! Listings.

use grid_types::BucketName;
use meta_store::query::{ListEntry, ListQuery};
use meta_store::root::Bucket;

use crate::digest::checksum_of_tag;
use crate::types::{ListObjects, ObjectListing, ObjectPart};
use crate::{EngineError, ObjectEngine};

impl ObjectEngine {
    /// One page of a bucket, in byte order. Pages are stable under writes: a key that is there all along is listed once.
    pub async fn list_objects(
        &self,
        bucket: &BucketName,
        query: ListObjects,
    ) -> Result<ObjectListing, EngineError> {
        let bucket = self.bucket(bucket).await?;
        self.list_in(&bucket, query).await
    }

    pub(crate) async fn list_in(
        &self,
        bucket: &Bucket,
        query: ListObjects,
    ) -> Result<ObjectListing, EngineError> {
        if query.limit == 0 {
            return Ok(ObjectListing::default());
        }
        let ListObjects { prefix, delimiter, after, limit } = query;
        let page = self.meta().list(bucket.id, ListQuery { prefix, delimiter, after, limit }).await?;
        let mut listing = ObjectListing::default();
        if page.truncated {
            listing.next = page.entries.last().map(|entry| entry.text().to_owned());
        }
        for entry in page.entries {
            match entry {
                ListEntry::Object { key, version } => listing.objects.push(ObjectPart {
                    key,
                    version: version.version,
                    etag: version.etag,
                    size: version.size,
                    modified: version.stamp,
                    storage_class: version.storage_class,
                    checksum: checksum_of_tag(version.checksum_tag),
                }),
                ListEntry::Prefix(prefix) => listing.prefixes.push(prefix),
            }
        }
        Ok(listing)
    }
}
