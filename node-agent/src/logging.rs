//! Log lines to standard error: text for people or JSON, each with the request id where there is one.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::LogFormat;

/// Overrides the configured level.
pub const LEVEL_VARIABLE: &str = "SHOAL_LOG";

/// What `level` lets through: a level (`info`), or a level for each part of the program (`info,repair=debug`). `None`: neither.
pub fn filter(level: &str) -> Option<Targets> {
    if level.contains(['=', ',']) {
        return level.parse().ok();
    }
    // The Raft library warns of every call that a silent peer does not answer, many a second; who is silent is told once,
    // by the grid.
    let level: LevelFilter = level.parse().ok()?;
    Some(Targets::new().with_default(level).with_target("openraft", level.min(LevelFilter::ERROR)))
}

/// Starts logging; a second call changes nothing.
pub fn start(level: &str, format: LogFormat) {
    let level = std::env::var(LEVEL_VARIABLE).unwrap_or_else(|_| level.to_owned());
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).boxed(),
    };
    let lines = lines.with_filter(filter(&level).or_else(|| filter("info")));
    // Fails only where a subscriber is set already, as in a second call.
    let _ = tracing_subscriber::registry().with(lines).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters() {
        let plain = filter("debug").expect("a level");
        assert!(plain.would_enable("repair", &tracing::Level::DEBUG));
        assert!(
            !plain.would_enable("openraft::core", &tracing::Level::WARN),
            "who is silent is told by the grid"
        );
        let parts = filter("warn,repair=debug").expect("levels of parts");
        assert!(parts.would_enable("repair::walk", &tracing::Level::DEBUG));
        assert!(!parts.would_enable("rpc", &tracing::Level::INFO));
        assert!(!filter("off").expect("silence").would_enable("openraft", &tracing::Level::ERROR));
        for wrong in ["loud", "info,repair=loud"] {
            assert!(filter(wrong).is_none(), "{wrong:?}");
        }
    }
}
