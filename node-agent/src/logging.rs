//! Log lines to standard error: text for people or JSON, each with the request id where there is one.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::LogFormat;

/// Overrides the configured level.
pub const LEVEL_VARIABLE: &str = "SHOAL_LOG";

/// Starts logging; a second call changes nothing.
pub fn start(level: &str, format: LogFormat) {
    let level = std::env::var(LEVEL_VARIABLE).unwrap_or_else(|_| level.to_owned());
    // A plain level is ours; the Raft library warns of every call that a silent
    // peer does not answer, many a second; who is silent is told once, by the grid.
    let level = if level.contains(['=', ',']) { level } else { format!("{level},openraft=error") };
    let filter = EnvFilter::try_new(&level).unwrap_or_else(|_| EnvFilter::new("info,openraft=error"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE)
        .with_target(true);
    // Fails only where a subscriber is set already, as in a second call.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).try_init(),
    };
}
