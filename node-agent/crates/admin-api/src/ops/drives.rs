//! Drives.

use grid_types::DriveId;

use crate::api::{Answer, Call};
use crate::types::{AddDrive, DriveList, ReplaceDrive};
use crate::{AdminApi, AdminError};

pub async fn list(api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    let mut drives = api.node.drives().await?;
    drives.sort_by(|left, right| left.path.cmp(&right.path));
    Answer::json(&DriveList { drives })
}

pub async fn add(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    Answer::json(&api.node.add_drive(call.json::<AddDrive>()?).await?)
}

pub async fn adopt(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    Answer::json(&api.node.adopt_drive(call.json::<AddDrive>()?).await?)
}

pub async fn replace(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    let order = call.json::<ReplaceDrive>()?;
    Answer::json(&api.node.replace_drive(drive_of(&call)?, order).await?)
}

pub async fn lock(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    Answer::json(&api.node.lock_drive(drive_of(&call)?, true).await?)
}

pub async fn unlock(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    Answer::json(&api.node.lock_drive(drive_of(&call)?, false).await?)
}

pub async fn drain(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    Answer::json(&api.node.drain_drive(drive_of(&call)?).await?)
}

pub async fn verify(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    Answer::json(&api.node.verify_drive(drive_of(&call)?).await?)
}

fn drive_of(call: &Call) -> Result<DriveId, AdminError> {
    call.parameter()?.parse::<DriveId>().map_err(|error| AdminError::invalid(error.to_string()))
}
