//! A backup of metadata and keys, as a stream that is sealed before it leaves the node.

use bytes::Bytes;

use crate::api::{Answer, Call};
use crate::types::TakeBackup;
use crate::{AdminApi, AdminError, AnswerBody};

/// docs/formats/backup.md
pub const CONTENT_TYPE: &str = "application/vnd.shoal.backup";

pub async fn take(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    let order: TakeBackup = call.json()?;
    let stream = api.node.take_backup(order).await?;
    Ok(Answer { body: AnswerBody::Stream(stream), ..Answer::new(CONTENT_TYPE, Bytes::new()) })
}
