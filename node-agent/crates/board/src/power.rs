//! The power button: input events of the kernel, read as they are.

use std::fs::File;
use std::io::Read;

use tokio::sync::mpsc::Sender;

use crate::system::Stop;

/// Bytes of `struct input_event`: two machine words of time, then type, code, value.
const EVENT_BYTES: usize = 2 * size_of::<usize>() + 8;
const TYPE_KEY: u16 = 1;
const KEY_POWER: u16 = 116;
const KEY_RESTART: u16 = 408;
const PRESSED: i32 = 1;

/// Listens to all input devices that are there now, a thread each.
pub fn listen(orders: &Sender<Stop>) {
    for entry in std::fs::read_dir("/dev/input").into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with("event") {
            continue;
        }
        let Ok(mut device) = File::open(entry.path()) else { continue };
        let orders = orders.clone();
        let _ = std::thread::Builder::new().name("buttons".to_owned()).spawn(move || {
            let mut event = [0u8; EVENT_BYTES];
            while device.read_exact(&mut event).is_ok() {
                if let Some(order) = order_of(&event)
                    && orders.blocking_send(order).is_err()
                {
                    return;
                }
            }
        });
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
