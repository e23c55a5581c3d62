//! What a rebuild of the metadata could not place.

use crate::api::{Answer, Call};
use crate::types::{QuarantineChoice, QuarantineList, ReleaseQuarantined};
use crate::{AdminApi, AdminError};

pub async fn list(api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    Answer::json(&QuarantineList { segments: api.node.quarantined().await? })
}

pub async fn release(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    let order = call.json::<ReleaseQuarantined>()?;
    check(&order.choice)?;
    Answer::json(&api.node.release_quarantined(order).await?)
}

pub async fn delete(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    let choice = call.json::<QuarantineChoice>()?;
    check(&choice)?;
    Answer::json(&api.node.delete_quarantined(choice).await?)
}

fn check(choice: &QuarantineChoice) -> Result<(), AdminError> {
    if choice.version.is_some() == choice.segments.is_empty() {
        return Ok(());
    }
    Err(AdminError::invalid("give either `version` or `segments`"))
}
