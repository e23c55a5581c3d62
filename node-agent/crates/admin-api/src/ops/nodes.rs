//! Members of the grid, and what lies on them.

use crate::api::{Answer, Call};
use crate::types::{Done, Locate, NodeList};
use crate::{AdminApi, AdminError};

pub async fn list(api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    let mut nodes = api.node.nodes().await?;
    nodes.sort_by_key(|node| node.number);
    Answer::json(&NodeList { nodes })
}

pub async fn remove(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    let node = call.parameter()?.parse().map_err(|error| AdminError::invalid(format!("{error}")))?;
    api.node.remove_node(node).await?;
    Answer::json(&Done { done: true })
}

pub async fn continue_without(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    let node = call.parameter()?.parse().map_err(|error| AdminError::invalid(format!("{error}")))?;
    api.node.continue_without(node).await?;
    Answer::json(&Done { done: true })
}

pub async fn locate(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    let order = call.json::<Locate>()?;
    Answer::json(&api.node.locate(order).await?)
}
