//! The file with the time before which it cannot be, on every drive of the node: docs/formats/time-floor.md.

use std::io;

use data_encoding::HEXLOWER;
use grid_types::Timestamp;
use ring::digest::{SHA256, digest};
use sys::Disk;

use super::config::TIME_MAX;

/// Name of the file at the root of each drive.
pub const FLOOR_FILE: &str = "shoal-time";
/// First line: what it is, and the version of its layout.
const HEADING: &str = "shoal time floor 1";
/// Heading, hash and twenty digits.
const FLOOR_BYTES_MAX: u64 = 128;

/// The floor that a drive keeps; `Ok(None)` where it keeps none. Damaged: `InvalidData`. Blocks.
pub fn read_floor(disk: &dyn Disk) -> io::Result<Option<Timestamp>> {
    match disk.open_read(FLOOR_FILE) {
        Ok(file) if file.len()? > FLOOR_BYTES_MAX => Err(invalid("is too long")),
        Ok(_) => decode(&disk.read(FLOOR_FILE)?).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces the floor of a drive, durably. Blocks. A failed sync is final: the caller takes the drive out of service.
pub fn write_floor(disk: &dyn Disk, floor: Timestamp) -> io::Result<()> {
    disk.write_atomic(FLOOR_FILE, encode(floor).as_bytes(), "time floor")
}

fn encode(floor: Timestamp) -> String {
    let body = floor.0.to_string();
    format!("{HEADING}\n{}\n{body}\n", hash(&body))
}

fn hash(body: &str) -> String {
    HEXLOWER.encode(digest(&SHA256, body.as_bytes()).as_ref())
}

fn decode(bytes: &[u8]) -> io::Result<Timestamp> {
    let text = std::str::from_utf8(bytes).map_err(|_| invalid("is not text"))?;
    let mut lines = text.split('\n');
    match lines.next() {
        Some(HEADING) => {}
        Some(other) if other.starts_with("shoal time floor ") => {
            return Err(invalid("was written by a newer release"));
        }
        _ => return Err(invalid("does not begin as one")),
    }
    let (Some(told), Some(body), Some(""), None) = (lines.next(), lines.next(), lines.next(), lines.next())
    else {
        return Err(invalid("is cut short"));
    };
    if told != hash(body) {
        return Err(invalid("does not match its hash"));
    }
    let floor = body.parse().map(Timestamp).ok().filter(|floor| *floor <= TIME_MAX);
    floor.ok_or_else(|| invalid("holds no time that can be"))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the time floor `{FLOOR_FILE}` {what}"))
}

#[cfg(test)]
mod tests {
    use sys::FaultDisk;

    use super::*;

    #[test]
    fn a_floor_is_kept_replaced_and_refused_where_it_is_damaged() {
        let disk = FaultDisk::new(1);
        assert_eq!(read_floor(&disk).unwrap(), None);
        for floor in [Timestamp(0), Timestamp(1_795_000_000_123_456), TIME_MAX] {
            write_floor(&disk, floor).unwrap();
            assert_eq!(read_floor(&disk).unwrap(), Some(floor));
        }
        let good = encode(Timestamp(1_795_000_000_123_456));
        let whole = good.len();
        assert!(whole as u64 <= FLOOR_BYTES_MAX && encode(TIME_MAX).len() as u64 <= FLOOR_BYTES_MAX);
        for at in 0..whole {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(decode(&bytes).is_err(), "byte {at}");
            assert!(decode(&good.as_bytes()[..at]).is_err(), "cut at {at}");
        }
        assert!(decode(format!("{good}x").as_bytes()).is_err());
        assert!(decode(encode(Timestamp(TIME_MAX.0 + 1)).as_bytes()).is_err());
        let newer = decode(good.replace("floor 1", "floor 2").as_bytes()).unwrap_err();
        assert!(newer.to_string().contains("newer release"), "{newer}");
    }
}
