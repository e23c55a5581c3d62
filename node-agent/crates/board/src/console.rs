//! What people see: lines on every console of the board, and the last ones kept in memory.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// The agent's log in memory: two files of this size take turns.
const LOG_BYTES_MAX: u64 = 256 << 10;
const LOG_FILE: &str = "/run/shoal/agent.log";
const LOG_FILE_BEFORE: &str = "/run/shoal/agent.log.1";
/// A longer line of a program's is taken in pieces.
const LINE_BYTES_MAX: u64 = 8 << 10;

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

/// Until the output ends. Whatever stands in it, it is read on: a program whose output nobody takes stands still.
pub async fn lines(output: impl AsyncRead + Unpin, mut take: impl FnMut(&str)) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => take(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n'])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_is_read_to_its_end_whatever_it_holds() {
        let long = "x".repeat(2 * LINE_BYTES_MAX as usize + 1);
        let output = [b"one\r\n\xff\xfetwo\n".as_slice(), long.as_bytes(), b"\nlast"].concat();
        let mut taken = Vec::new();
        lines(&output[..], |line| taken.push(line.to_owned())).await;
        assert_eq!(taken[..2], ["one", "\u{fffd}\u{fffd}two"]);
        assert_eq!(taken[2..5].concat(), long);
        assert_eq!(taken[5..], ["last"]);
    }
}
