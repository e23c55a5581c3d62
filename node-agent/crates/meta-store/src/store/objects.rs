//! Reads and writes of objects.

use grid_types::{BucketId, ErrorCode, ObjectKey, OpId, UploadId, VersionId};

use super::MetaStore;
use crate::query::{ListEntry, ListPage, ListQuery, UploadEntry, UploadPage, UploadQuery};
use crate::rows::{ObjectRow, PartRow, SegmentRow, UploadRow};
use crate::state::{Action, Answer, first_key, routing_key};
use crate::{Command, MetaError, Outcome};

fn refused(code: ErrorCode, detail: &str) -> MetaError {
    MetaError::Refused { code, detail: detail.to_owned() }
}

impl MetaStore {
    /// Executes a command in the shard that owns its key; retries inside under `op`.
    pub async fn commit(&self, op: OpId, command: Command) -> Result<Outcome, MetaError> {
        let Some((bucket, key)) = command.target() else {
            return match command {
                Command::Reap { segments } => self.reap(segments).await.map(Outcome::Reaped),
                _ => Err(refused(ErrorCode::InvalidArgument, "garbage is dropped in a shard that is named")),
            };
        };
        let routing = routing_key(bucket, key.as_str());
        let action = Action::Object(command);
        match self.inner.propose(&routing, op, action.clone()).await {
            Err(MetaError::Refused { code: ErrorCode::StaleGeneration, detail }) => {
                // The shard may lag behind a change of settings that was cut short; then it is brought up to date.
                if self.refresh_stub(bucket, &action).await? {
                    return object_outcome(self.inner.propose(&routing, op, action).await?);
                }
                Err(MetaError::Refused { code: ErrorCode::StaleGeneration, detail })
            }
            answer => object_outcome(answer?),
        }
    }

    /// The current version (or the one named) with its inline body or first segments, in one linearizable read.
    pub async fn object(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<Option<ObjectRow>, MetaError> {
        let key = key.clone();
        self.inner
            .ask(&routing_key(bucket, key.as_str()), move |view| view.object(bucket, key.as_str(), version))
            .await
    }

    /// Segments of a version or upload from (part, number) on, at most `SEGMENTS_PAGE`.
    pub async fn segments(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
        from: (u16, u32),
    ) -> Result<Vec<SegmentRow>, MetaError> {
        let key = key.clone();
        self.inner
            .ask(&routing_key(bucket, key.as_str()), move |view| {
                view.segments(bucket, key.as_str(), version, from)
            })
            .await
    }

    /// Parts of a completed version or an open upload (by its version id), after part number `after`, at most `limit`.
    pub async fn parts(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
        after: u16,
        limit: usize,
    ) -> Result<Vec<PartRow>, MetaError> {
        let key = key.clone();
        self.inner
            .ask(&routing_key(bucket, key.as_str()), move |view| {
                view.parts(bucket, key.as_str(), version, after, limit)
            })
            .await
    }

    /// The part of a completed version that holds byte `offset` of the object.
    pub async fn part_at(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
        offset: u64,
    ) -> Result<Option<PartRow>, MetaError> {
        let key = key.clone();
        self.inner
            .ask(&routing_key(bucket, key.as_str()), move |view| {
                view.part_at(bucket, key.as_str(), version, offset)
            })
            .await
    }

    /// An open upload.
    pub async fn upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<Option<UploadRow>, MetaError> {
        let key = key.clone();
        self.inner
            .ask(&routing_key(bucket, key.as_str()), move |view| view.upload(bucket, key.as_str(), upload))
            .await
    }

    /// One page of current versions.
    pub async fn list(&self, bucket: BucketId, query: ListQuery) -> Result<ListPage, MetaError> {
        let mut low = first_key(&query.prefix, query.after.as_deref());
        let mut page = ListPage::default();
        if query.limit == 0 {
            return Ok(page);
        }
        loop {
            let mut ask = query.clone();
            // One more than fits tells whether the page is truncated.
            ask.limit = (query.limit - page.entries.len()).max(1);
            if let Some(last) = page.entries.last() {
                ask.after = Some(last.text().to_owned());
            }
            let from = low.clone();
            let mut routing = bucket.as_bytes().to_vec();
            routing.extend_from_slice(&low);
            let shard = self.inner.ask(&routing, move |view| view.list(bucket, &ask, from.clone())).await?;
            let full = page.entries.len() >= query.limit;
            if full && !shard.page.entries.is_empty() {
                page.truncated = true;
                break;
            }
            page.entries.extend(shard.page.entries);
            page.truncated = shard.page.truncated;
            match shard.next {
                Some(next) if !page.truncated => low = next,
                _ => break,
            }
        }
        debug_assert!(page.entries.windows(2).all(|pair: &[ListEntry]| pair[0].text() < pair[1].text()));
        Ok(page)
    }

    /// One page of open uploads.
    pub async fn list_uploads(&self, bucket: BucketId, query: UploadQuery) -> Result<UploadPage, MetaError> {
        let after = query.key_after.as_deref();
        let mut low = match (after, query.upload_after) {
            // The key itself may hold more uploads.
            (Some(after), Some(_)) if after >= query.prefix.as_str() => after.as_bytes().to_vec(),
            _ => first_key(&query.prefix, after),
        };
        let mut page = UploadPage::default();
        if query.limit == 0 {
            return Ok(page);
        }
        loop {
            let mut ask = query.clone();
            ask.limit = (query.limit - page.entries.len()).max(1);
            match page.entries.last() {
                Some(UploadEntry::Upload { key, upload }) => {
                    ask.key_after = Some(key.as_str().to_owned());
                    ask.upload_after = Some(upload.upload);
                }
                Some(UploadEntry::Prefix(prefix)) => {
                    ask.key_after = Some(prefix.clone());
                    ask.upload_after = None;
                }
                None => {}
            }
            let from = low.clone();
            let mut routing = bucket.as_bytes().to_vec();
            routing.extend_from_slice(&low);
            let shard =
                self.inner.ask(&routing, move |view| view.list_uploads(bucket, &ask, from.clone())).await?;
            let full = page.entries.len() >= query.limit;
            if full && !shard.page.entries.is_empty() {
                page.truncated = true;
                break;
            }
            page.entries.extend(shard.page.entries);
            page.truncated = shard.page.truncated;
            match shard.next {
                Some(next) if !page.truncated => low = next,
                _ => break,
            }
        }
        Ok(page)
    }
}

fn object_outcome(answer: Answer) -> Result<Outcome, MetaError> {
    match answer {
        Answer::Object(outcome) => Ok(outcome),
        other => Err(MetaError::Damaged(format!("a command was answered with {other:?}"))),
    }
}
