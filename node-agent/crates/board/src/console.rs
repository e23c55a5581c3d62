//! What people see: lines on every console of the board, and the last ones kept in memory.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The agent's log in memory: two files of this size take turns.
const LOG_BYTES_MAX: u64 = 256 << 10;
const LOG_FILE: &str = "/run/shoal/agent.log";
const LOG_FILE_BEFORE: &str = "/run/shoal/agent.log.1";

/// Writes to all consoles. A console that hangs or is gone is nobody's trouble.
#[derive(Clone, Default)]
pub struct Console {
    outputs: Arc<Mutex<Vec<File>>>,
}

impl Console {
    /// Opens devices below /dev; what cannot be opened is left out.
    pub fn open<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let open = |name: &str| File::options().write(true).open(Path::new("/dev").join(name)).ok();
        let outputs: Vec<File> = names.into_iter().filter_map(open).collect();
        Self { outputs: Arc::new(Mutex::new(outputs)) }
    }

    /// One line of init's own.
    pub fn say(&self, text: &str) {
        self.line(&format!("shoal: {text}"));
    }

    /// One line as it is, but for control characters: what others named may not steer a terminal.
    pub fn line(&self, text: &str) {
        let clean: String = text.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect();
        let line = format!("{clean}\r\n");
        for output in self.outputs.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let _ = output.write_all(line.as_bytes());
        }
    }
}

/// The agent's log, in memory only: a card wears out by being written to.
pub struct AgentLog {
    console: Console,
    file: Option<File>,
    bytes: u64,
}

impl AgentLog {
    /// Warnings and errors go to `console` as well.
    pub fn new(console: Console) -> Self {
        Self { console, file: None, bytes: 0 }
    }

    /// Takes one line.
    pub fn line(&mut self, text: &str) {
        if text.contains(" WARN ") || text.contains("ERROR ") || text.starts_with("shoal:") {
            self.console.line(text);
        }
        if self.file.is_none() || self.bytes > LOG_BYTES_MAX {
            let _ = std::fs::rename(LOG_FILE, LOG_FILE_BEFORE);
            self.file = File::create(LOG_FILE).ok();
            self.bytes = 0;
        }
        if let Some(file) = &mut self.file {
            let _ = writeln!(file, "{text}");
            self.bytes += text.len() as u64 + 1;
        }
    }
}
