//! A backup of metadata and keys, as a stream that is sealed before it leaves the node.

use http::StatusCode;

use crate::api::{Answer, Call};
use crate::types::TakeBackup;
use crate::{AdminApi, AdminError, AnswerBody};

/// docs/formats/backup.md
pub const CONTENT_TYPE: &str = "application/vnd.shoal.backup";

pub async fn take(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    let order: TakeBackup = call.json()?;
    let stream = api.node.take_backup(order).await?;
    Ok(Answer { status: StatusCode::OK, content_type: CONTENT_TYPE, body: AnswerBody::Stream(stream) })
}
