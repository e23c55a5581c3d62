//! Wi-Fi: on every radio, Debian's wpa_supplicant joins the networks that the owner named. Source of the configuration's form:
//! wpa_supplicant.conf(5).

use std::fmt::{self, Write};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use zeroize::Zeroizing;

use crate::console::{Console, lines};

const PROGRAM: &str = "/usr/sbin/wpa_supplicant";
/// In memory: it holds the passwords.
const CONFIG: &str = "/run/shoal/wifi.conf";
/// A supplicant that ended is started again after this.
const AGAIN: Duration = Duration::from_secs(5);
const SSID_BYTES_MAX: usize = 32;
/// Characters of a passphrase; a key in their stead has 64 hexadecimal digits.
const PASSPHRASE: std::ops::RangeInclusive<usize> = 8..=63;
const KEY_DIGITS: usize = 64;

/// `[[board.wifi]]`: a network to be joined.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WifiNetwork {
    /// Its name.
    pub ssid: String,
    /// Passphrase, or the key that was made from it; an open network has none.
    #[serde(default)]
    pub password: Option<Password>,
    /// Does it not tell its name, so that it must be asked for?
    #[serde(default)]
    pub hidden: bool,
}

/// A secret that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The secret.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What is wrong with the owner's networks, in words that hold no secret.
pub fn check(country: Option<&str>, networks: &[WifiNetwork]) -> Result<(), String> {
    if let Some(country) = country
        && !(country.len() == 2 && country.chars().all(|c| c.is_ascii_uppercase()))
    {
        return Err("the country of Wi-Fi has two capital letters, as in `DE`".to_owned());
    }
    for network in networks {
        let ssid = &network.ssid;
        if ssid.is_empty() || ssid.len() > SSID_BYTES_MAX {
            return Err(format!("the name of a Wi-Fi has 1 to {SSID_BYTES_MAX} bytes"));
        }
        let Some(password) = network.password.as_ref().map(Password::reveal) else { continue };
        let plain = password.chars().all(|c| (' '..='~').contains(&c));
        if !(is_key(password) || plain && PASSPHRASE.contains(&password.len())) {
            return Err(format!(
                "the password of Wi-Fi `{ssid}` has not {} to {} plain characters, nor {KEY_DIGITS} hexadecimal digits",
                PASSPHRASE.start(),
                PASSPHRASE.end()
            ));
        }
    }
    Ok(())
}

fn is_key(password: &str) -> bool {
    password.len() == KEY_DIGITS && password.chars().all(|c| c.is_ascii_hexdigit())
}

/// The supplicant's configuration. Both must have passed `check`.
pub fn config(country: Option<&str>, networks: &[WifiNetwork]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::new());
    // Writing into a string cannot fail.
    if let Some(country) = country {
        let _ = writeln!(text, "country={country}");
    }
    for network in networks {
        let ssid: String = network.ssid.bytes().map(|byte| format!("{byte:02x}")).collect();
        let _ = write!(text, "network={{\nssid={ssid}\nscan_ssid={}\n", u8::from(network.hidden));
        let _ = match network.password.as_ref().map(Password::reveal) {
            None => writeln!(text, "key_mgmt=NONE"),
            Some(key) if is_key(key) => writeln!(text, "key_mgmt=WPA-PSK WPA-PSK-SHA256\npsk={key}"),
            // WPA3 needs the passphrase itself. The last quotation mark of the line ends it.
            Some(phrase) => writeln!(text, "key_mgmt=WPA-PSK WPA-PSK-SHA256 SAE\npsk=\"{phrase}\""),
        };
        text.push_str("ieee80211w=1\n}\n");
    }
    text
}

/// Writes it where only this process's children read it.
pub fn write_config(text: &str) -> io::Result<()> {
    let _ = std::fs::remove_file(CONFIG);
    File::options().write(true).create_new(true).mode(0o600).open(CONFIG)?.write_all(text.as_bytes())
}

/// Keeps the radio in one of the networks, for ever.
pub async fn keep_joined(radio: String, console: Console) {
    loop {
        let mut supplicant = Command::new(PROGRAM);
        supplicant.args(["-D", "nl80211", "-i", &radio, "-c", CONFIG]).kill_on_drop(true);
        supplicant.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        match supplicant.spawn() {
            Ok(mut child) => {
                if let Some(output) = child.stdout.take() {
                    let mut before = None;
                    let tell = |line: &str| {
                        let news = news(line);
                        if news.is_some() && news != before {
                            console.say(&format!("{radio}: {}", news.clone().unwrap_or_default()));
                            before = news;
                        }
                    };
                    lines(output, tell).await;
                }
                let _ = child.wait().await;
            }
            Err(error) => console.say(&format!("{radio}: Wi-Fi cannot be joined: {error}")),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What a line of the supplicant's says that people can act on.
pub fn news(line: &str) -> Option<String> {
    let after = |mark: &str| line.split_once(mark).map(|(_, rest)| rest);
    if after("CTRL-EVENT-CONNECTED ").is_some() {
        return Some("Wi-Fi joined".to_owned());
    }
    let disabled = after("CTRL-EVENT-SSID-TEMP-DISABLED ")?;
    let ssid = disabled.split_once("ssid=\"")?.1.rsplit_once("\" auth_failures")?.0;
    match disabled.rsplit_once("reason=")?.1.trim() {
        "WRONG_KEY" => Some(format!("Wi-Fi `{ssid}` does not take this password")),
        _ => Some(format!("Wi-Fi `{ssid}` does not take this board; it is tried again")),
    }
}
