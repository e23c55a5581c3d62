//! Values of the configuration that are text with a meaning. Their errors name what would be right.

use std::path::PathBuf;
use std::str::FromStr;

use grid_types::{Cipher, ProfileChoice};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

/// `auto`, `copies:N` or `ec:K+M`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProfileText(pub ProfileChoice);

impl<'de> Deserialize<'de> for ProfileText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map(Self).map_err(de::Error::custom)
    }
}

/// A number of bytes, plain or with KiB, MiB, GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic() || letter == ' ');
        let factor = match text[digits.len()..].trim() {
            "" | "B" => Some(1_u64),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            _ => None,
        };
        digits
            .parse::<u64>()
            .ok()
            .zip(factor)
            .and_then(|(number, factor)| number.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| {
                format!("`{text}` is no size: write bytes as a number, or \"64 MiB\" (KiB, MiB, GiB)")
            })
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ByteSize;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes as a number, or text such as \"64 MiB\"")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<ByteSize, E> {
                u64::try_from(number).map(ByteSize).map_err(|_| E::custom("a size cannot be negative"))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(number))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// Seals new segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CipherText(pub Option<Cipher>);

impl<'de> Deserialize<'de> for CipherText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match String::deserialize(from)?.as_str() {
            "auto" => Ok(Self(None)),
            "aes-256-gcm" => Ok(Self(Some(Cipher::Aes256Gcm))),
            "chacha20-poly1305" => Ok(Self(Some(Cipher::ChaCha20Poly1305))),
            other => Err(de::Error::custom(format!(
                "`{other}` is no cipher: write auto, aes-256-gcm or chacha20-poly1305"
            ))),
        }
    }
}

/// What to do where a loss could not be survived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DegradedWrites {
    /// 503.
    Refuse,
    /// Write, count and show as at risk.
    Accept,
}

/// What makes the time of this node proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockSource {
    /// The clock of the host, which something else keeps right.
    Host,
    /// RTC, NTP, other members or an operator; the clock of the host is not listened to.
    Proven,
}

/// What S3 does while the time is not proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UnprovenTime {
    /// 503.
    Refuse,
    /// Serves by the latest time that this node surely had.
    Serve,
}

/// Where a listener's certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// Plain HTTP.
    Off,
    /// Made by this node, signed by a certificate authority of its own.
    Generated,
    /// PEM files of the operator.
    Files,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

impl<'de> Deserialize<'de> for AccessLogTarget {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match String::deserialize(from)?.as_str() {
            "off" => Ok(Self::Off),
            "stdout" => Ok(Self::Stdout),
            "" => Err(de::Error::custom("write off, stdout or the path of a file")),
            path => Ok(Self::File(path.into())),
        }
    }
}
