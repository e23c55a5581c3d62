//! Which time the node has, and an operator's word for it.

use crate::api::{Answer, Call};
use crate::types::SetClock;
use crate::{AdminApi, AdminError};

pub async fn show(api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    Answer::json(&api.node.clock().await?)
}

pub async fn set(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    Answer::json(&api.node.set_clock(call.json::<SetClock>()?).await?)
}
