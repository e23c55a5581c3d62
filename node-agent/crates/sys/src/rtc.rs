//! The clock with a battery, where a board has one.

use std::io;
use std::path::{Path, PathBuf};

use grid_types::Timestamp;

/// Where the kernel shows its RTCs; the ioctl on the device itself would need unsafe code.
const CLASS_FOLDER: &str = "/sys/class/rtc";

/// Reads an RTC that keeps UTC: `/dev/rtcN` through `/sys/class/rtc/rtcN/since_epoch`, any other path as a file with
/// seconds since 1970. Blocks. `NotFound` where there is none; a time before 1970 is `InvalidData`.
pub fn read_rtc(path: &Path) -> io::Result<Timestamp> {
    let text = std::fs::read_to_string(readable(path))?;
    let seconds = text.trim().parse::<u64>().ok().filter(|seconds| *seconds <= u64::MAX / 1_000_000);
    seconds.map(Timestamp::from_secs).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("`{}` are no seconds since 1970", text.trim()))
    })
}

fn readable(path: &Path) -> PathBuf {
    match path.strip_prefix("/dev") {
        Ok(device) => Path::new(CLASS_FOLDER).join(device).join("since_epoch"),
        Err(_) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("since_epoch");
        let check = |text: &str, expected: Option<u64>| {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_rtc(&path).ok(), expected.map(Timestamp::from_secs), "{text:?}");
        };
        check("1795000000\n", Some(1_795_000_000));
        check("0", Some(0));
        check("-5\n", None);
        check("99999999999999999999", None);
        check("18446744073709551615", None);
        check("", None);
        let missing = read_rtc(&folder.path().join("none")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert_eq!(readable(Path::new("/dev/rtc1")), Path::new("/sys/class/rtc/rtc1/since_epoch"));
    }
}
