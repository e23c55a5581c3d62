//! When certificates end.

use std::path::{Path, PathBuf};

use grid_types::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sys::{Clock, RealClock};

use super::Findings;
use crate::certificate::{AUTHORITY_FILE, TLS_FOLDER};
use crate::client::amz_date;
use crate::config::{Config, TlsMode};

const CHECK: &str = "certificates";
const DAY: u64 = 86_400;
/// Less is trouble, days: certificates are renewed by hand over a weekend.
const DAYS_MIN: u64 = 7;
/// Less is worth a word, days: those that are renewed by themselves are, a month before their end.
const DAYS_NOTE: u64 = 21;

/// Looks at the files that doors serve, and at the authority that the node made.
pub fn look(config: &Config, findings: &mut Findings) {
    let doors = [(config.s3.tls, &config.s3.certificate), (config.admin.tls, &config.admin.certificate)];
    let mut files: Vec<PathBuf> = doors
        .into_iter()
        .filter(|(mode, _)| *mode == TlsMode::Files)
        .filter_map(|(_, certificate)| certificate.clone())
        .collect();
    let made = config.drives.iter().map(|drive| drive.join(TLS_FOLDER).join(AUTHORITY_FILE));
    files.extend(made.filter(|path| path.exists()));
    files.dedup();
    for file in files {
        look_at(&file, RealClock.now(), findings);
    }
}

fn look_at(file: &Path, now: Timestamp, findings: &mut Findings) {
    let shown = file.display();
    let certificate = match CertificateDer::from_pem_file(file) {
        Ok(certificate) => certificate,
        Err(error) => {
            return findings.trouble(CHECK, format!("{shown}: {error}: put a certificate in PEM there"));
        }
    };
    let Some((begin, end)) = validity(&certificate) else {
        return findings.trouble(CHECK, format!("{shown}: is no certificate that can be read"));
    };
    let (now, date) = (now.as_secs(), |seconds| amz_date(Timestamp::from_secs(seconds)));
    if now < begin {
        findings
            .trouble(CHECK, format!("{shown}: is valid from {} on only: is the clock right?", date(begin)));
    } else if now >= end {
        findings.trouble(
            CHECK,
            format!(
                "{shown}: ended at {}: renew it; the node takes the new one up within a minute",
                date(end)
            ),
        );
    } else if end - now < DAYS_MIN * DAY {
        findings.trouble(CHECK, format!("{shown}: ends at {}: renew it", date(end)));
    } else if end - now < DAYS_NOTE * DAY {
        findings.note(CHECK, format!("{shown}: ends at {}", date(end)));
    } else {
        findings.ok(CHECK, format!("{shown}: good until {}", date(end)));
    }
}

/// A value of DER: its tag, its content, what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// First and last second of a certificate (RFC 5280, 4.1): SEQUENCE { SEQUENCE { [0] version?, serial, algorithm, issuer,
/// SEQUENCE { notBefore, notAfter }, …
fn validity(certificate: &[u8]) -> Option<(u64, u64)> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    if fields.first() == Some(&0xa0) {
        fields = element(fields)?.2;
    }
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (_, times, _) = element(fields)?;
    let (tag, begin, rest) = element(times)?;
    let begin = time(tag, begin)?;
    let (tag, end, _) = element(rest)?;
    Some((begin, time(tag, end)?))
}

/// UTCTime `YYMMDDHHMMSSZ` or GeneralizedTime `YYYYMMDDHHMMSSZ`, as seconds since 1970. Days from a date after Howard
/// Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn time(tag: u8, text: &[u8]) -> Option<u64> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number =
        |digits: &[u8]| digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    let (year, rest) = match (tag, digits.len()) {
        (0x17, 12) => {
            let year = number(&digits[..2]);
            (if year < 50 { 2_000 + year } else { 1_900 + year }, &digits[2..])
        }
        (0x18, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&rest[at..at + 2]));
    if !(1_970..=9_999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted_year / 400, shifted_year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    Some(days.checked_sub(719_468)? * DAY + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use grid_types::Timestamp;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::{DAY, Findings, look_at, time, validity};
    use crate::command::doctor::Level;

    fn certificate(last_year: i32) -> rcgen::Certificate {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 2, 29), date_time_ymd(last_year, 3, 1));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap()
    }

    #[test]
    fn times_are_what_a_calendar_says() {
        for (tag, text, wanted) in [
            (0x17, "700101000000Z", Some(0)),
            (0x17, "000229000000Z", Some(951_782_400)),
            (0x18, "20241231235959Z", Some(1_735_689_599)),
            (0x18, "21000301000000Z", Some(4_107_542_400)),
            (0x18, "20241331235959Z", None),
            (0x17, "20241231235959Z", None),
            (0x17, "7001010000Z", None),
            (0x17, "700101000000+0100", None),
        ] {
            assert_eq!(time(tag, text.as_bytes()), wanted, "{text}");
        }
    }

    #[test]
    fn validity_is_read_before_and_after_2050() {
        let begin = 1_582_934_400;
        assert_eq!(validity(certificate(2021).der()), Some((begin, 1_614_556_800)));
        assert_eq!(validity(certificate(2060).der()), Some((begin, 2_845_324_800)));
        let der = certificate(2021);
        for length in 0..120 {
            assert_eq!(validity(&der.der()[..length]), None, "cut at {length}");
        }
    }

    #[test]
    fn the_end_is_told_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cert.pem");
        std::fs::write(&file, certificate(2021).pem()).unwrap();
        let end = 1_614_556_800;
        for (now, level) in [
            (1_582_934_399, Level::Trouble),
            (1_582_934_400, Level::Ok),
            (end - 20 * DAY, Level::Note),
            (end - 6 * DAY, Level::Trouble),
            (end, Level::Trouble),
        ] {
            let mut findings = Findings::default();
            look_at(&file, Timestamp::from_secs(now), &mut findings);
            assert_eq!(findings.0[0].level, level, "{now}: {}", findings.0[0].message);
        }
        std::fs::write(&file, "nothing").unwrap();
        let mut findings = Findings::default();
        look_at(&file, Timestamp::from_secs(end), &mut findings);
        assert_eq!(findings.troubles(), 1);
    }
}
