//! Access keys and the operator key.

use crate::api::{Answer, Call};
use crate::types::{CreateKey, Done, KeyList, NewOperatorKey};
use crate::{AdminApi, AdminError, OperatorKey};

pub async fn list(api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    let mut keys = api.node.keys().await?;
    keys.sort_by(|left, right| left.id.cmp(&right.id));
    Answer::json(&KeyList { keys })
}

pub async fn create(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    let order = call.json::<CreateKey>()?;
    if order.user.is_empty() {
        return Err(AdminError::invalid("`user` must not be empty"));
    }
    if order.id.is_some() != order.secret.is_some() {
        return Err(AdminError::invalid("give both `id` and `secret`, or neither"));
    }
    Answer::json(&api.node.create_key(order).await?)
}

pub async fn enable(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    api.node.set_key_active(call.parameter()?, true).await?;
    Answer::json(&Done { done: true })
}

pub async fn disable(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    api.node.set_key_active(call.parameter()?, false).await?;
    Answer::json(&Done { done: true })
}

pub async fn delete(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    api.node.delete_key(call.parameter()?).await?;
    Answer::json(&Done { done: true })
}

pub async fn root_key(api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    Answer::json(&api.node.root_key().await?)
}

pub async fn rotate_root_key(api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    api.node.rotate_root_key().await?;
    Answer::json(&Done { done: true })
}

pub async fn renew_operator_key(api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    let key = OperatorKey::from_random(api.node.random_bytes());
    api.node.set_operator_key(key.hash()).await?;
    api.replace_operator_key(key.hash());
    Answer::json(&NewOperatorKey { operator_key: key.reveal().to_owned() })
}
