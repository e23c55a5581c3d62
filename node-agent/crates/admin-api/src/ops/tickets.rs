//! Tickets, with which new nodes join.

use crate::api::{Answer, Call};
use crate::types::{CreateTicket, Done, TicketList};
use crate::{AdminApi, AdminError};

pub async fn list(api: &AdminApi, _call: Call) -> Result<Answer, AdminError> {
    let mut tickets = api.node.tickets().await?;
    tickets.sort_by_key(|ticket| std::cmp::Reverse(ticket.created));
    Answer::json(&TicketList { tickets })
}

pub async fn create(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    let order = call.json::<CreateTicket>()?;
    Answer::json(&api.node.create_ticket(order).await?)
}

pub async fn delete(api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
    api.node.delete_ticket(call.parameter()?).await?;
    Answer::json(&Done { done: true })
}
