//! Pairing: a node without a ticket, and a person who compares two codes.

use crate::api::{Answer, Call};
use crate::types::{ConfirmPairing, Done};
use crate::{AdminApi, AdminError};

pub async fn show(api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    Answer::json(&api.node.pairing().await?)
}

pub async fn confirm(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    api.node.confirm_pairing(call.json::<ConfirmPairing>()?).await?;
    Answer::json(&Done { done: true })
}

pub async fn refuse(api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    api.node.refuse_pairing().await?;
    Answer::json(&Done { done: true })
}
