//! `shoal clock`.

use admin_api::types::{ClockInfo, SetClock};
use clap::{Args, Subcommand};
use grid_types::Timestamp;
use http::Method;
use sys::{Clock, RealClock};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Failure;
use super::admin_options::AdminOptions;

/// Which time a node has, and who vouches for it.
#[derive(Subcommand)]
pub enum ClockCommand {
    /// Shows the time, its source, and the clocks of other members
    Show(Show),
    /// Vouches for a time: the one given, or that of the host on which this command runs
    Set(Set),
}

/// `show`
#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    admin: AdminOptions,
}

/// `set`
#[derive(Args)]
pub struct Set {
    /// The time now, as 2026-11-27T08:00:00Z [default: the clock of this host]
    #[arg(value_parser = parse)]
    time: Option<Timestamp>,
    /// Take a time that the node knows to be over: what it knows is wrong. Stamps of objects may go back
    #[arg(long)]
    lower_floor: bool,
    #[command(flatten)]
    admin: AdminOptions,
}

impl ClockCommand {
    /// Orders run to completion on the node.
    pub async fn run(self) -> Result<(), Failure> {
        let (info, json) = match self {
            Self::Show(command) => {
                let info: ClockInfo = command.admin.client()?.call(Method::GET, "/v1/clock").await?;
                (info, command.admin.json)
            }
            Self::Set(command) => {
                let client = command.admin.client()?;
                let time = command.time.unwrap_or_else(|| RealClock.now());
                let order = SetClock { time, lower_floor: command.lower_floor };
                (client.order("/v1/clock", &order).await?, command.admin.json)
            }
        };
        if json {
            return super::print_json(&info);
        }
        println!("time     {}", line(&info));
        if let Some(floor) = info.floor {
            println!("floor    {}", shown(floor));
        }
        for trouble in &info.refused {
            println!("refused  {}: {}", trouble.source, trouble.reason);
        }
        for trouble in &info.silent {
            println!("silent   {}: {}", trouble.source, trouble.reason);
        }
        for member in &info.members {
            let side = if member.ahead_us < 0 { "behind" } else { "ahead" };
            let (seconds, sure) =
                (member.ahead_us.unsigned_abs() as f64 / 1e6, member.uncertainty_us as f64 / 1e6);
            let apart = if member.apart { "  APART" } else { "" };
            println!(
                "member   {} {:<8} {seconds:.3} s {side} (±{sure:.3}){apart}",
                member.node, member.source
            );
        }
        Ok(())
    }
}

/// The time and who vouches for it, in a line.
pub fn line(info: &ClockInfo) -> String {
    let by = match (info.trust.as_str(), info.peer) {
        ("proven", Some(peer)) => format!("proven by node {peer}"),
        ("proven", None) => format!("proven by {}", info.source),
        ("grid", _) => "grid time, not proven".to_owned(),
        _ => "NOT PROVEN".to_owned(),
    };
    let sure = info.uncertainty_us.map(|sure| format!(", ±{:.3} s", sure as f64 / 1e6)).unwrap_or_default();
    format!("{} {by}{sure}", shown(info.time))
}

/// To the second; a time that no calendar has is shown as a number.
pub fn shown(time: Timestamp) -> String {
    let seconds = i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    seconds
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{} s after 1970", time.as_secs()))
}

fn parse(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("`{text}` is no time: write it as 2026-11-27T08:00:00Z");
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| wrong())?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000).map(Timestamp).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(parse(text).ok(), expected.map(Timestamp), "{text}");
        };
        check("2026-11-27T08:00:00Z", Some(1_795_766_400_000_000));
        check("2026-11-27T09:00:00.25+01:00", Some(1_795_766_400_250_000));
        check("1969-12-31T23:59:59Z", None);
        check("2026-11-27", None);
        check("1795766400", None);
        assert_eq!(shown(Timestamp(1_795_766_400_250_000)), "2026-11-27T08:00:00Z");
        assert_eq!(shown(Timestamp(u64::MAX)), "18446744073709 s after 1970");
    }

    #[test]
    fn a_line_says_who_vouches() {
        let info = |trust: &str, source: &str| ClockInfo {
            time: Timestamp(1_795_766_400_000_000),
            trust: trust.to_owned(),
            source: source.to_owned(),
            peer: None,
            uncertainty_us: (trust == "proven").then_some(12_345),
            floor: None,
            refused: Vec::new(),
            silent: Vec::new(),
            members: Vec::new(),
        };
        assert_eq!(line(&info("proven", "ntp")), "2026-11-27T08:00:00Z proven by ntp, ±0.012 s");
        assert!(line(&info("grid", "grid")).ends_with("grid time, not proven"));
        assert!(line(&info("unproven", "unproven")).ends_with("NOT PROVEN"));
    }
}
