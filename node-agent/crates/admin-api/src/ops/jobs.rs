//! Background workers.

use crate::api::{Answer, Call};
use crate::types::{JobList, JobOrder};
use crate::{AdminApi, AdminError};

pub async fn list(api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    let mut jobs = api.node.jobs().await?;
    jobs.sort_by(|left, right| left.name.cmp(&right.name));
    Answer::json(&JobList { jobs })
}

pub async fn pause(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    Answer::json(&api.node.order_job(call.parameter()?, JobOrder::Pause).await?)
}

pub async fn resume(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    Answer::json(&api.node.order_job(call.parameter()?, JobOrder::Resume).await?)
}

pub async fn run(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    Answer::json(&api.node.order_job(call.parameter()?, JobOrder::Run).await?)
}
