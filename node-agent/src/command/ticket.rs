//! `shoal ticket`.

use std::time::Duration;

use admin_api::types::{CreateTicket, Done, NewTicket, TicketList};
use clap::{Args, Subcommand};
use http::Method;

use super::Failure;
use super::admin_options::AdminOptions;
use crate::client::{amz_date, segment};

/// Tickets, with which new nodes join the grid.
#[derive(Subcommand)]
pub enum TicketCommand {
    /// Makes a ticket; it is a secret, and shown once
    Create(Create),
    /// Shows tickets without their secrets
    List(Plain),
    /// Ends a ticket: nobody joins with it any more
    Delete(One),
}

/// `create`
#[derive(Args)]
pub struct Create {
    /// So many nodes may join with it
    #[arg(long, default_value_t = 1)]
    uses: u32,
    /// How long it is good: 30m, 24h, 7d
    #[arg(long, default_value = "24h", value_parser = duration)]
    expires: Duration,
    /// Drives that a board flashed with it takes: image-data, blank-too or ask
    #[arg(long, default_value = "image-data")]
    drives: String,
    #[command(flatten)]
    admin: AdminOptions,
}

/// `list`
#[derive(Args)]
pub struct Plain {
    #[command(flatten)]
    admin: AdminOptions,
}

/// `delete`
#[derive(Args)]
pub struct One {
    /// Its id, as `list` shows it
    id: String,
    #[command(flatten)]
    admin: AdminOptions,
}

impl TicketCommand {
    /// Orders run to completion on the node.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Create(command) => {
                let order = CreateTicket {
                    uses: command.uses,
                    valid_seconds: command.expires.as_secs(),
                    drives: command.drives,
                };
                let ticket: NewTicket = command.admin.client()?.order("/v1/tickets", &order).await?;
                if command.admin.json {
                    return super::print_json(&ticket);
                }
                println!("{}", ticket.ticket);
                eprintln!("It is shown once, and good until {}. On the new node:", amz_date(ticket.expires));
                eprintln!("  shoal join --drive PATH --ticket TICKET");
                Ok(())
            }
            Self::List(command) => {
                let list: TicketList = command.admin.client()?.call(Method::GET, "/v1/tickets").await?;
                if command.admin.json {
                    return super::print_json(&list);
                }
                for ticket in list.tickets {
                    println!(
                        "{}  {:<8} {:>3} uses left, {} joined, until {}",
                        ticket.id,
                        ticket.state,
                        ticket.uses_left,
                        ticket.joined.len(),
                        amz_date(ticket.expires)
                    );
                }
                Ok(())
            }
            Self::Delete(command) => {
                let path = format!("/v1/tickets/{}", segment(&command.id));
                let done: Done = command.admin.client()?.call(Method::DELETE, &path).await?;
                if command.admin.json { super::print_json(&done) } else { Ok(()) }
            }
        }
    }
}

/// `90s`, `30m`, `24h`, `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time: write 30m, 24h or 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).filter(|all| *all > 0).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "h", "24", "-1h", "0d", "1y", "99999999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
