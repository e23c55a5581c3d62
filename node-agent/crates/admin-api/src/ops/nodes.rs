//! Members of the grid.

use crate::api::{Answer, Call};
use crate::types::{Done, NodeList};
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
