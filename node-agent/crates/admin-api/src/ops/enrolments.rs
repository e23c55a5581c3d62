//! Keys that are registered before their nodes join.

use crate::api::{Answer, Call};
use crate::types::{CreateEnrolment, Done, EnrolmentList};
use crate::{AdminApi, AdminError};

pub async fn list(api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    let mut enrolments = api.node.enrolments().await?;
    enrolments.sort_by_key(|enrolment| std::cmp::Reverse(enrolment.created));
    Answer::json(&EnrolmentList { enrolments })
}

pub async fn create(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    let order = call.json::<CreateEnrolment>()?;
    Answer::json(&api.node.enrol(order).await?)
}

pub async fn delete(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    let node = call.parameter()?.parse().map_err(|error| AdminError::invalid(format!("{error}")))?;
    api.node.withdraw_enrolment(node).await?;
    Answer::json(&Done { done: true })
}
