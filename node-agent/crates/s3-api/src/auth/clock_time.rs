//! Times as Signature Version 4 writes them.

use std::time::UNIX_EPOCH;

use grid_types::Timestamp;
use time::{Date, Month, OffsetDateTime, Time};

/// `20130524T000000Z`; `None` for anything else.
pub fn parse_basic(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u32> {
        let digits = bytes.get(from..to)?;
        digits
            .iter()
            .all(u8::is_ascii_digit)
            .then(|| digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
    };
    let small = |from: usize, to: usize| number(from, to).and_then(|n| u8::try_from(n).ok());
    let month = Month::try_from(small(4, 6)?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(number(0, 4)?).ok()?, month, small(6, 8)?).ok()?;
    let time = Time::from_hms(small(9, 11)?, small(11, 13)?, small(13, 15)?).ok()?;
    let seconds = date.with_time(time).assume_utc().unix_timestamp();
    u64::try_from(seconds).ok().map(Timestamp::from_secs)
}

/// An HTTP date, whose zone some clients write as a number (boto3: `-0000`); `None` for anything else.
pub fn parse_http(text: &str) -> Option<Timestamp> {
    let numbered = text.strip_suffix("+0000").or_else(|| text.strip_suffix("-0000"));
    let text = numbered.map_or_else(|| text.to_owned(), |start| format!("{start}GMT"));
    let since = httpdate::parse_http_date(&text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_secs(since.as_secs()))
}

fn calendar(at: Timestamp) -> OffsetDateTime {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// `20130524T000000Z`.
pub fn format_basic(at: Timestamp) -> String {
    let at = calendar(at);
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// `2013-05-24T00:00:00Z`.
pub fn format_extended(at: Timestamp) -> String {
    let at = calendar(at);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}
