//! What the image says of the board that it was made for: `/etc/shoal/board.toml`.

use serde::Deserialize;

/// One board.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Name of its configuration.
    pub board: String,
    /// Version of Shoal.
    pub version: String,
    /// No clock of this image shows less: seconds since 1970.
    pub not_before: i64,
    /// Kernel modules in the order of loading.
    pub modules: Vec<Module>,
    /// Public keys whose images this one takes.
    pub trusted_keys: Vec<String>,
    /// Devices below /dev that the state is shown on.
    pub consoles: Vec<String>,
    /// LEDs by the names that the kernel gives them; the first that is there shows the state.
    #[serde(default)]
    pub leds: Vec<String>,
    /// Can it join Wi-Fi?
    #[serde(default)]
    pub wifi: bool,
    /// Is there a watchdog to be pinged?
    pub watchdog: bool,
    /// Does a clock run while the power is off?
    pub real_time_clock: bool,
}

/// A kernel module.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// File name below /usr/lib/modules, without `.ko`.
    pub name: String,
    /// As on a kernel command line.
    #[serde(default)]
    pub parameters: String,
}

impl Facts {
    /// Reads them.
    pub fn load() -> Result<Self, String> {
        let text = std::fs::read_to_string(super::FACTS_FILE).map_err(|error| error.to_string())?;
        toml::from_str(&text).map_err(|error| error.message().to_owned())
    }
}
