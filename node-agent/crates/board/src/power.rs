//! The power button: input events of the kernel, read as they are.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc::Sender;

use crate::system::Stop;

const INPUTS: &str = "/dev/input";
/// Drivers show their devices when they are ready, some after init has begun.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Bytes of `struct input_event`: two machine words of time, then type, code, value. Source: linux/input.h.
const EVENT_BYTES: usize = 2 * size_of::<usize>() + 8;
const TYPE_KEY: u16 = 1;
const KEY_POWER: u16 = 116;
const KEY_RESTART: u16 = 408;
const PRESSED: i32 = 1;

/// Listens to every input device as it appears, for ever.
pub async fn listen(orders: Sender<Stop>) {
    let mut known = BTreeSet::new();
    loop {
        for path in devices(Path::new(INPUTS)) {
            if !known.insert(path.clone()) {
                continue;
            }
            let (Ok(device), orders) = (File::open(&path), orders.clone()) else { continue };
            // A read that waits for a button is no work for the pool of blocking threads: it never ends.
            let thread = std::thread::Builder::new().name("buttons".to_owned());
            let _ = thread.spawn(move || read(device, &orders));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn devices(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let events = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("event"));
    events.map(|entry| entry.path()).collect()
}

fn read(mut device: impl Read, orders: &Sender<Stop>) {
    let mut event = [0u8; EVENT_BYTES];
    while device.read_exact(&mut event).is_ok() {
        if let Some(order) = order_of(&event)
            && orders.blocking_send(order).is_err()
        {
            return;
        }
    }
}

fn order_of(event: &[u8; EVENT_BYTES]) -> Option<Stop> {
    let at = EVENT_BYTES - 8;
    let kind = u16::from_ne_bytes([event[at], event[at + 1]]);
    let code = u16::from_ne_bytes([event[at + 2], event[at + 3]]);
    let value = i32::from_ne_bytes([event[at + 4], event[at + 5], event[at + 6], event[at + 7]]);
    match (kind, code, value) {
        (TYPE_KEY, KEY_POWER, PRESSED) => Some(Stop::PowerOff),
        (TYPE_KEY, KEY_RESTART, PRESSED) => Some(Stop::Restart),
        _ => None,
    }
}
