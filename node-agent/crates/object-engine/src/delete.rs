//! Deletes, and the chunks of writes that failed.

use grid_types::{BucketName, ErrorCode, ObjectKey, Segment, SegmentOwner, VersionId};
use meta_store::root::Bucket;
use meta_store::{Command, Outcome, WriteCondition};

use crate::engine::unexpected;
use crate::{EngineError, ObjectEngine};

impl ObjectEngine {
    /// Deletes; `None` where nothing was there. The chunks go later, when no running read can want them.
    pub async fn delete_object(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
        condition: WriteCondition,
    ) -> Result<Option<VersionId>, EngineError> {
        let bucket = self.bucket(bucket).await?;
        self.delete_in(&bucket, key, version, condition).await
    }

    pub(crate) async fn delete_in(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        condition: WriteCondition,
    ) -> Result<Option<VersionId>, EngineError> {
        let outcome = self
            .commit(bucket, |bucket_generation| Command::DeleteVersion {
                bucket: bucket.id,
                key: key.clone(),
                bucket_generation,
                version,
                condition: condition.clone(),
            })
            .await?;
        match outcome {
            Outcome::Deleted { version } => Ok(version),
            outcome => Err(unexpected(&outcome)),
        }
    }

    /// After a commit that failed: drops the segments where it is sure that no row names them. After any other error
    /// (no answer, a lost leader) the command may still be applied, and the reaper decides.
    pub(crate) async fn discard(&self, error: &EngineError, segments: Vec<(SegmentOwner, Segment)>) {
        if !segments.is_empty() && surely_not_applied(error.code()) {
            let segments: Vec<Segment> = segments.into_iter().map(|(_, segment)| segment).collect();
            self.segments().discard(&segments).await;
        }
    }
}

/// Codes with which the state machine itself refuses a command: it is in the log, and changed nothing.
fn surely_not_applied(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::PreconditionFailed
            | ErrorCode::ConditionalConflict
            | ErrorCode::Conflict
            | ErrorCode::NoSuchBucket
            | ErrorCode::NoSuchKey
            | ErrorCode::NoSuchUpload
            | ErrorCode::TooLarge
    )
}
