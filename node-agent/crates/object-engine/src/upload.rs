//! Open multipart uploads: create, list, abort.

use grid_types::{BucketName, ObjectKey, UploadId};
use meta_store::query::{UploadEntry, UploadQuery};
use meta_store::root::Bucket;
use meta_store::rows::{PartRow, UploadRow};
use meta_store::{Command, Outcome};

use crate::engine::unexpected;
use crate::record::{self, Purpose, StoredUpload};
use crate::types::{CreateUpload, ListUploads, PartInfo, UploadInfo, UploadListing};
use crate::{Checksum, ChecksumKind, ChecksumType, EngineError, ObjectEngine};

impl ObjectEngine {
    /// Opens a multipart upload. Where the client names no checksum none is kept: computing one that nobody asked for
    /// costs more than it tells, since every packet is authenticated anyway.
    pub async fn create_upload(&self, request: CreateUpload) -> Result<UploadId, EngineError> {
        let bucket = self.bucket(&request.bucket).await?;
        let (storage_class, _) = self.storage_class(request.storage_class.as_deref())?;
        if let Some((kind, r#type)) = request.checksum
            && !kind.allows(r#type)
        {
            let (name, r#type) = (kind.name(), r#type.name());
            let detail =
                format!("The {type} checksum type cannot be used with the {name} checksum algorithm.");
            return Err(EngineError::invalid_argument(detail));
        }
        let bucket_key = self.keys().current(&bucket).await?;
        let version = self.new_version();
        let stored = StoredUpload { attributes: request.attributes, checksum: request.checksum };
        let place = (Purpose::Upload, bucket.id, version);
        let upload = UploadRow {
            upload: UploadId::from(self.random().id()),
            version,
            stamp: self.clock().now(),
            storage_class,
            key_generation: bucket_key.generation(),
            attributes: record::seal(&bucket_key, place, &stored, self.random()),
        };
        let outcome = self
            .commit(&bucket, |bucket_generation| Command::CreateUpload {
                bucket: bucket.id,
                key: request.key.clone(),
                bucket_generation,
                upload: upload.clone(),
            })
            .await?;
        match outcome {
            Outcome::Done => Ok(upload.upload),
            outcome => Err(unexpected(&outcome)),
        }
    }

    /// The checksum choice of an open upload, or NoSuchUpload.
    pub async fn upload_checksum(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<Option<(ChecksumKind, ChecksumType)>, EngineError> {
        let bucket = self.bucket(bucket).await?;
        let (_, stored) = self.open_upload(&bucket, key, upload).await?;
        Ok(stored.checksum)
    }

    /// Drops an upload; its chunks go later.
    pub async fn abort_upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<(), EngineError> {
        let bucket = self.bucket(bucket).await?;
        let outcome = self
            .commit(&bucket, |_| Command::AbortUpload { bucket: bucket.id, key: key.clone(), upload })
            .await?;
        match outcome {
            Outcome::Done => Ok(()),
            outcome => Err(unexpected(&outcome)),
        }
    }

    /// Parts of an open upload, after `after`, at most `limit`; true where more follow. Also its row's info.
    pub async fn list_parts(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
        after: u16,
        limit: usize,
    ) -> Result<(UploadInfo, Vec<PartInfo>, bool), EngineError> {
        let bucket = self.bucket(bucket).await?;
        let (row, stored) = self.open_upload(&bucket, key, upload).await?;
        let rows = self.meta().parts(bucket.id, key, row.version, after, limit.saturating_add(1)).await?;
        let (parts, more) = page_of_parts(rows, limit)?;
        Ok((upload_info(key.clone(), row, stored), parts, more))
    }

    /// Parts of a completed object (GetObjectAttributes), after `after`, at most `limit`; true where more follow.
    pub async fn object_parts(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: grid_types::VersionId,
        after: u16,
        limit: usize,
    ) -> Result<(Vec<PartInfo>, bool), EngineError> {
        let bucket = self.bucket(bucket).await?;
        let rows = self.meta().parts(bucket.id, key, version, after, limit.saturating_add(1)).await?;
        page_of_parts(rows, limit)
    }

    /// Open uploads of a bucket, by key, then by id.
    pub async fn list_uploads(
        &self,
        bucket: &BucketName,
        query: ListUploads,
    ) -> Result<UploadListing, EngineError> {
        let bucket = self.bucket(bucket).await?;
        if query.limit == 0 {
            return Ok(UploadListing::default());
        }
        let ListUploads { prefix, delimiter, key_after, upload_after, limit } = query;
        let query = UploadQuery { prefix, delimiter, key_after, upload_after, limit };
        let page = self.meta().list_uploads(bucket.id, query).await?;
        let mut listing = UploadListing::default();
        if page.truncated {
            listing.next = page.entries.last().map(|entry| match entry {
                UploadEntry::Upload { key, upload } => (key.as_str().to_owned(), Some(upload.upload)),
                UploadEntry::Prefix(prefix) => (prefix.clone(), None),
            });
        }
        for entry in page.entries {
            match entry {
                UploadEntry::Upload { key, upload } => {
                    let stored = self.open_stored(&bucket, &upload).await?;
                    listing.uploads.push(upload_info(key, upload, stored));
                }
                UploadEntry::Prefix(prefix) => listing.prefixes.push(prefix),
            }
        }
        Ok(listing)
    }

    /// An open upload's row, with its attributes opened; NoSuchUpload.
    pub(crate) async fn open_upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<(UploadRow, StoredUpload), EngineError> {
        let row = self.meta().upload(bucket.id, key, upload).await?;
        let row = row.ok_or_else(EngineError::no_such_upload)?;
        let stored = self.open_stored(bucket, &row).await?;
        Ok((row, stored))
    }

    async fn open_stored(&self, bucket: &Bucket, row: &UploadRow) -> Result<StoredUpload, EngineError> {
        let bucket_key = self.keys().get(bucket.id, row.key_generation).await?;
        record::open(&bucket_key, (Purpose::Upload, bucket.id, row.version), &row.attributes)
    }
}

fn upload_info(key: ObjectKey, row: UploadRow, stored: StoredUpload) -> UploadInfo {
    UploadInfo {
        key,
        upload: row.upload,
        initiated: row.stamp,
        storage_class: row.storage_class,
        checksum: stored.checksum,
    }
}

fn page_of_parts(mut rows: Vec<PartRow>, limit: usize) -> Result<(Vec<PartInfo>, bool), EngineError> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let info = |row: PartRow| {
        Ok(PartInfo {
            number: row.number,
            size: row.size,
            checksum: part_checksum(&row)?,
            etag: row.etag,
            modified: row.stamp,
        })
    };
    Ok((rows.into_iter().map(info).collect::<Result<_, EngineError>>()?, more))
}

/// What `PartRow::checksum` holds: nothing, or a record. It tells no more than the ETag beside it, so it is not sealed.
pub(crate) fn part_checksum(row: &PartRow) -> Result<Option<Checksum>, EngineError> {
    if row.checksum.is_empty() {
        return Ok(None);
    }
    record::decode(&row.checksum).map(Some).ok_or_else(|| EngineError::damaged("the checksum of a part"))
}
