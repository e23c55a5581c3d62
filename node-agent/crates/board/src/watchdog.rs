//! The hardware watchdog: restarts a board whose init stands still.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Between two pings; images set the hardware to several times that.
const PING_EVERY: Duration = Duration::from_secs(5);
/// An init that did not beat for so many pings stands still. Its loop touches no disk, so a slow one does not stop it.
const MISSED_BEATS_MAX: u64 = 12;

/// Init's sign of life.
#[derive(Clone, Default)]
pub struct Heart {
    beats: Arc<AtomicU64>,
}

impl Heart {
    /// Init runs.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }
}

/// Pings from a thread of its own for as long as `heart` beats. Before the first beat (checking a large file system takes
/// its time) it pings too. False where there is no watchdog.
pub fn start(heart: Heart) -> bool {
    let Ok(mut device) = File::options().write(true).open("/dev/watchdog0") else { return false };
    let thread = std::thread::Builder::new().name("watchdog".to_owned());
    let pinging = move || {
        let mut last = 0;
        let mut missed = 0;
        loop {
            let now = heart.beats.load(Ordering::Relaxed);
            missed = if now == last && now > 0 { missed + 1 } else { 0 };
            last = now;
            // Any byte but `V` means: go on watching.
            if missed < MISSED_BEATS_MAX {
                let _ = device.write_all(b"\0");
            }
            std::thread::sleep(PING_EVERY);
        }
    };
    thread.spawn(pinging).is_ok()
}
