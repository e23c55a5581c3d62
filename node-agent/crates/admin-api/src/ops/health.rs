//! Is it alive, can it serve, how is it doing?

use http::StatusCode;

use crate::api::{Answer, Call};
use crate::types::Live;
use crate::{AdminApi, AdminError};

pub async fn live(_api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    Answer::json(&Live { live: true })
}

pub async fn ready(api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    let readiness = api.node.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Answer::json_with(status, &readiness)
}

pub async fn metrics(api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    let sample = api.node.sample().await?;
    let text = api.metrics.page(sample);
    Ok(Answer::new(crate::metrics::CONTENT_TYPE, text))
}
