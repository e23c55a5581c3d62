//! What the person who flashed the card says: `shoal.toml` and `ticket.txt` on the volume `SHOAL`, the files of Raspberry Pi
//! Imager, or the seed block that `shoal flash` and others fill. And what the board answers there: `status.txt`.
//!
//! The seed block is taken over onto the volume and then zeroed, in this order, so a power cut between repeats it. A file
//! that somebody put onto the volume wins over the seed. A ticket stays until it was used or turned out useless.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use disk_image::Window;
use disk_image::card::{BOOT_AT, BOOT_BYTES};
use disk_image::fat::Volume;
use disk_image::seed::Seed;
use serde::Deserialize;
use toml::Value;
use zeroize::Zeroizing;

use crate::imager::{self, Customisation};
use crate::wifi::{self, WifiNetwork};

/// The configuration on the volume: that of `shoal serve`, and a section `[board]`.
pub const CONFIG_FILE: &str = "shoal.toml";
/// A join ticket on the volume.
pub const TICKET_FILE: &str = "ticket.txt";
/// What the board says of itself.
pub const STATUS_FILE: &str = "status.txt";
/// An order to erase what the board keeps.
pub const RESET_FILE: &str = "factory-reset.txt";
/// What stands in it, so that no file erases anything by its name alone.
const RESET_CARD: &str = "erase this board's data";
const RESET_DRIVES: &str = "erase this board's data and its drives";
/// The first keys, where `[board] keys_to_card` asks for them.
pub const KEYS_FILE: &str = "keys.txt";
/// Who is asked for the time unless `[clock]` says otherwise; more than half of them must agree.
const TIME_SERVERS: [&str; 3] = ["0.debian.pool.ntp.org", "1.debian.pool.ntp.org", "2.debian.pool.ntp.org"];
const RTC: &str = "/dev/rtc0";
/// What init decides itself.
const OWN_KEYS: [(&str, &str); 2] =
    [("drives", "the board finds its own"), ("drives_are_domains", "drives of one board are one")];

/// `[board]` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BoardSection {
    /// Instead of `shoal-` and the end of the hardware address.
    pub host_name: Option<String>,
    /// Without a ticket and without data of a grid: found one?
    pub found: bool,
    /// Write the keys of a founding to the card, beside the console? They open everything.
    pub keys_to_card: bool,
    /// May disks on which nothing is be formatted?
    pub format_blank_drives: bool,
    /// Fixed addresses, instead of DHCP.
    pub network: Vec<StaticAddress>,
    /// The country by whose rules Wi-Fi sends, in two capital letters.
    pub wifi_country: Option<String>,
    /// Wi-Fi to be joined.
    pub wifi: Vec<WifiNetwork>,
}

/// `[[board.network]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticAddress {
    /// The port, or a radio; the first Ethernet port where it is not said.
    #[serde(default)]
    pub port: Option<String>,
    /// `ADDRESS/BITS`.
    pub address: String,
    /// Router.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// Name servers.
    #[serde(default)]
    pub dns: Vec<IpAddr>,
}

/// What a factory reset erases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// The data partition of the card.
    Card,
    /// The data drives as well.
    CardAndDrives,
}

/// Everything that was found on the card.
#[derive(Debug, Default)]
pub struct Orders {
    /// For init.
    pub board: BoardSection,
    /// For the agent: what stands in the file beside `[board]`.
    pub agent: toml::Table,
    /// A ticket that waits for its use.
    pub ticket: Option<Zeroizing<String>>,
    /// What is to be erased before anything else.
    pub reset: Option<Reset>,
    /// Was this card never started from?
    pub first_start: bool,
    /// What was applied, ignored, or wrong.
    pub notes: Vec<String>,
}

impl Orders {
    /// Reads the card, and takes the seed over. Trouble becomes a note: a board starts with what it can read. `wifi`: can
    /// this image join Wi-Fi? What was said of it is ignored elsewhere.
    pub fn take(card: &Path, wifi: bool) -> Self {
        let mut orders = Self::default();
        if let Err(error) = orders.take_seed(card) {
            orders.notes.push(format!("wrong: {error}"));
        }
        let read = with_boot(card, |volume| {
            orders.first_start = volume.read(STATUS_FILE)?.is_none();
            let secret = |name| Ok::<_, io::Error>(volume.read(name)?.map(Zeroizing::new));
            let customised = [secret(imager::USER_DATA_FILE)?, secret(imager::NETWORK_FILE)?];
            Ok((volume.read(CONFIG_FILE)?, secret(TICKET_FILE)?, customised, volume.read(RESET_FILE)?))
        });
        match read {
            Ok((config, ticket, [user_data, network], reset)) => {
                if let Some(reset) = reset {
                    orders.reset(&reset);
                }
                if let Some(config) = config {
                    orders.config(&config, wifi);
                }
                orders.customise(card, imager::USER_DATA_FILE, user_data, imager::user_data);
                let of_network = |text: &str| imager::network_config(text, wifi);
                orders.customise(card, imager::NETWORK_FILE, network, of_network);
                orders.ticket = ticket.and_then(|bytes| {
                    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
                    (!text.is_empty()).then(|| Zeroizing::new(text))
                });
            }
            Err(error) => orders.notes.push(format!("wrong: the volume SHOAL cannot be read: {error}")),
        }
        orders
    }

    fn take_seed(&mut self, card: &Path) -> Result<(), String> {
        let mut file =
            File::options().read(true).write(true).open(card).map_err(|error| error.to_string())?;
        let Some(seed) = Seed::read(&mut file).map_err(|error| error.to_string())? else { return Ok(()) };
        let put = with_boot(card, |volume| {
            for (name, text) in [(CONFIG_FILE, &seed.config), (TICKET_FILE, &seed.ticket)] {
                if let Some(text) = text
                    && volume.read(name)?.is_none()
                {
                    volume.write(name, text.as_bytes())?;
                }
            }
            Ok(())
        });
        put.map_err(|error| format!("what was flashed with the card cannot be taken over: {error}"))?;
        Seed::wipe(&mut file).map_err(|error| error.to_string())?;
        file.sync_all().map_err(|error| error.to_string())?;
        self.notes.push("applied: what was flashed with the card".to_owned());
        Ok(())
    }

    fn reset(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).replace('\u{2019}', "'").to_lowercase();
        match text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}' || c == '.') {
            RESET_CARD => self.reset = Some(Reset::Card),
            RESET_DRIVES => self.reset = Some(Reset::CardAndDrives),
            _ => self.notes.push(format!(
                "wrong: {RESET_FILE}: write `{RESET_CARD}` or `{RESET_DRIVES}` into it; nothing was erased"
            )),
        }
    }

    /// What an imager wrote counts where `[board]` says nothing. What of it may be secret goes from the card.
    fn customise(
        &mut self,
        card: &Path,
        name: &str,
        content: Option<Zeroizing<Vec<u8>>>,
        read: impl Fn(&str) -> Customisation,
    ) {
        let Some(content) = content else { return };
        let text = Zeroizing::new(String::from_utf8_lossy(&content).into_owned());
        let taken = read(&text);
        self.notes.extend(taken.notes);
        self.board.host_name = self.board.host_name.take().or(taken.host_name);
        if self.board.network.is_empty() {
            self.board.network = taken.network;
        }
        if self.board.wifi.is_empty() {
            self.board.wifi = taken.wifi;
            self.board.wifi_country = self.board.wifi_country.take().or(taken.wifi_country);
        }
        let Some(kept) = taken.kept else { return };
        self.notes.push(match with_boot(card, |volume| volume.overwrite(name, &kept)) {
            Ok(()) => format!("wiped from {name}: what was ignored, for it may be secret"),
            Err(error) => format!("wrong: what may be secret in {name} stays on the card: {error}"),
        });
    }

    fn config(&mut self, bytes: &[u8], wifi: bool) {
        // Editors of other systems put a mark before the text.
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let parsed = toml::from_str::<toml::Table>(text).map_err(|error| {
            let line = error.span().map_or(1, |span| {
                1 + text.get(..span.start).map_or(0, |before| before.matches('\n').count())
            });
            format!("line {line}: {}", error.message())
        });
        let section = parsed.and_then(|mut table| {
            let board = match table.remove("board") {
                Some(value) => BoardSection::deserialize(value)
                    .map_err(|error| format!("[board]: {}", error.message()))?,
                None => BoardSection::default(),
            };
            check(&board)?;
            Ok((board, table))
        });
        match section {
            Ok((board, mut table)) => {
                for (key, why) in OWN_KEYS {
                    if table.remove(key).is_some() {
                        self.notes.push(format!("ignored: `{key}` in {CONFIG_FILE}: {why}"));
                    }
                }
                self.notes.push(format!("applied: {CONFIG_FILE}"));
                (self.board, self.agent) = (board, table);
                if !wifi && !std::mem::take(&mut self.board.wifi).is_empty() {
                    self.notes.push(format!("ignored: `board.wifi` in {CONFIG_FILE}: {}", imager::NO_WIFI));
                }
            }
            Err(why) => {
                self.notes.push(format!("wrong: {CONFIG_FILE}, {why}; the board runs without it"));
            }
        }
    }

    /// The configuration of the agent. A board's clock is believed only when somebody vouches for it: the battery's clock
    /// where there is one, servers, or other members.
    pub fn agent_config(
        &self,
        folders: &[PathBuf],
        ticket_file: Option<&Path>,
        real_time_clock: bool,
    ) -> String {
        let mut table = self.agent.clone();
        let text = |path: &Path| Value::String(path.display().to_string());
        if !table.contains_key("clock") {
            let mut clock = toml::Table::new();
            clock.insert("source".to_owned(), Value::String("proven".to_owned()));
            let servers = TIME_SERVERS.iter().map(|&name| Value::String(name.to_owned()));
            clock.insert("ntp".to_owned(), Value::Array(servers.collect()));
            if real_time_clock {
                clock.insert("rtc".to_owned(), text(Path::new(RTC)));
            }
            table.insert("clock".to_owned(), Value::Table(clock));
        }
        table.insert("drives".to_owned(), Value::Array(folders.iter().map(|folder| text(folder)).collect()));
        if let Some(path) = ticket_file {
            let join = table.entry("join").or_insert_with(|| Value::Table(toml::Table::new()));
            if let Value::Table(join) = join {
                join.insert("ticket_file".to_owned(), text(path));
            }
        }
        // Of a table that was read from text, nothing is left that could not be written.
        toml::to_string(&table).unwrap_or_default()
    }
}

fn check(board: &BoardSection) -> Result<(), String> {
    if let Some(name) = board.host_name.as_ref().filter(|name| !host_name_fits(name)) {
        return Err(format!("[board]: host_name `{name}`: letters, digits and hyphens, 63 at most"));
    }
    match board.network.iter().find(|fixed| !address_fits(&fixed.address)) {
        Some(fixed) => Err(format!("[[board.network]]: address `{}`: write 192.168.1.5/24", fixed.address)),
        None => {
            wifi::check(board.wifi_country.as_deref(), &board.wifi).map_err(|why| format!("[board]: {why}"))
        }
    }
}

/// May a board have this name?
pub fn host_name_fits(name: &str) -> bool {
    let length = !name.is_empty() && name.len() <= 63 && !name.starts_with('-');
    length && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// Is this `ADDRESS/BITS`?
pub fn address_fits(text: &str) -> bool {
    let parts = text.split_once('/');
    let address =
        parts.and_then(|(address, bits)| Some((address.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?)));
    matches!(address, Some((IpAddr::V4(_), 0..=32) | (IpAddr::V6(_), 0..=128)))
}

/// Works on the volume `SHOAL` of a card and makes it durable.
pub fn with_boot<R>(
    card: &Path,
    work: impl FnOnce(&Volume<Window<&File>>) -> io::Result<R>,
) -> io::Result<R> {
    let file = File::options().read(true).write(true).open(card)?;
    let volume = Volume::open(Window::new(&file, BOOT_AT, BOOT_BYTES))?;
    let done = work(&volume)?;
    volume.finish()?;
    file.sync_all()?;
    Ok(done)
}

/// Writes a text for people, in lines as all their computers take them, unless it stands there already. True if written.
pub fn put_text(card: &Path, name: &str, text: &str) -> io::Result<bool> {
    let bytes = text.replace('\n', "\r\n").into_bytes();
    with_boot(card, |volume| {
        if volume.read(name)?.is_some_and(|there| there == bytes) {
            return Ok(false);
        }
        volume.write(name, &bytes[..])?;
        Ok(true)
    })
}

/// The reset is done: the order goes from the card.
pub fn reset_done(card: &Path) -> io::Result<bool> {
    with_boot(card, |volume| volume.wipe(RESET_FILE))
}

/// Removes the ticket and its bytes.
pub fn wipe_ticket(card: &Path) -> io::Result<bool> {
    with_boot(card, |volume| volume.wipe(TICKET_FILE))
}
