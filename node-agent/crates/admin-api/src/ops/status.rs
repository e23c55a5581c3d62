//! The node at a glance, and the table itself.

use crate::api::{Answer, Call};
use crate::table::{Access, OPERATIONS};
use crate::types::{OperationInfo, OperationList};
use crate::{AdminApi, AdminError};

pub async fn status(api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    Answer::json(&api.node.status().await?)
}

pub async fn operations(_api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    let operations = OPERATIONS
        .iter()
        .map(|row| OperationInfo {
            name: row.name.to_owned(),
            method: row.method.to_string(),
            path: row.path.to_owned(),
            purpose: row.purpose.to_owned(),
            public: row.access == Access::Public,
        })
        .collect();
    Answer::json(&OperationList { operations })
}
