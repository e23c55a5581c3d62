//! What Raspberry Pi Imager leaves on the volume for the first start: `user-data` and `network-config`, in the forms of
//! cloud-init (docs.cloud-init.io: "cloud config examples", "networking config version 2").
//!
//! A board takes from them its name, the addresses of its ports and the Wi-Fi to join, names the rest as ignored with the reason,
//! and has what of that may be secret removed from the card. Nothing in these files keeps a board from starting.

use std::net::IpAddr;

use saphyr::{LoadableYamlNode, Yaml};

use crate::first_boot::{StaticAddress, address_fits, host_name_fits};
use crate::wifi::{self, WifiNetwork};

/// Host name, users, and more that a board has no use for.
pub const USER_DATA_FILE: &str = "user-data";
/// Networks.
pub const NETWORK_FILE: &str = "network-config";

/// Imager writes about one kilobyte.
const BYTES_MAX: usize = 16 << 10;
/// The reader goes down with the nesting of a text: deeper than this many bytes of text can nest, it does not get.
const STACK_BYTES: usize = 16 << 20;
/// What Linux calls a board's only radio.
const RADIO: &str = "wlan0";
/// Linux's limit for names of ports.
const PORT_NAME_MAX: usize = 15;

const NO_LOGIN: &str = "nobody logs in to a board";
const NO_PLACE: &str = "a board keeps UTC and speaks no language";
const NO_PROGRAMS: &str = "an image holds all that it runs";
/// Why Wi-Fi is ignored.
pub const NO_WIFI: &str = "the images of this board have no Wi-Fi";
const NO_USE: &str = "a board has no use for it";

/// Keys that are known, and why they are ignored; those of the first two kinds may hold secrets.
const IGNORED: [(&str, &str); 20] = [
    ("users", NO_LOGIN),
    ("user", NO_LOGIN),
    ("password", NO_LOGIN),
    ("chpasswd", NO_LOGIN),
    ("ssh_pwauth", NO_LOGIN),
    ("ssh_authorized_keys", NO_LOGIN),
    ("ssh_import_id", NO_LOGIN),
    ("ssh_keys", NO_LOGIN),
    ("enable_ssh", NO_LOGIN),
    ("write_files", NO_PROGRAMS),
    ("runcmd", NO_PROGRAMS),
    ("bootcmd", NO_PROGRAMS),
    ("packages", NO_PROGRAMS),
    ("package_update", NO_PROGRAMS),
    ("package_upgrade", NO_PROGRAMS),
    ("apt", NO_PROGRAMS),
    ("timezone", NO_PLACE),
    ("locale", NO_PLACE),
    ("keyboard", NO_PLACE),
    ("rpi", NO_USE),
];

/// What was found in one of the files.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Customisation {
    /// The board's name.
    pub host_name: Option<String>,
    /// Fixed addresses; DHCP where there are none.
    pub network: Vec<StaticAddress>,
    /// The country whose rules Wi-Fi keeps.
    pub wifi_country: Option<String>,
    /// Wi-Fi to be joined.
    pub wifi: Vec<WifiNetwork>,
    /// What was applied, ignored, or wrong.
    pub notes: Vec<String>,
    /// The file may hold secrets: what stays of it.
    pub kept: Option<String>,
}

/// Reads `user-data`.
pub fn user_data(text: &str) -> Customisation {
    apart(USER_DATA_FILE, text, |document, taken| {
        let Some(keys) = document.as_mapping() else {
            return Err("it is no list of `key: value`".to_owned());
        };
        let mut ignored: Vec<(&str, &str)> = Vec::new();
        let mut domain_name = None;
        for (key, value) in keys {
            match key.as_str().unwrap_or_default() {
                "hostname" => taken.host_name = Some(host_name(value)?),
                "fqdn" => domain_name = Some(host_name(value)?),
                "manage_etc_hosts" | "preserve_hostname" => {}
                name => {
                    let why =
                        IGNORED.iter().find(|(known, _)| *known == name).map_or(NO_USE, |(_, why)| *why);
                    ignored.push((name, why));
                }
            }
        }
        taken.host_name = taken.host_name.take().or(domain_name);
        if taken.host_name.is_some() {
            taken.notes.push(format!("applied: {USER_DATA_FILE} (host name)"));
        }
        if ignored.iter().any(|(_, why)| [NO_LOGIN, NO_PROGRAMS, NO_USE].contains(why)) {
            let name = taken.host_name.as_ref().map(|name| format!("hostname: {name}\n")).unwrap_or_default();
            taken.kept = Some(format!("#cloud-config\n# Shoal has removed what it does not use.\n{name}"));
        }
        tell_ignored(USER_DATA_FILE, &ignored, taken);
        Ok(())
    })
}

/// Reads `network-config`. `wifi`: can this image join Wi-Fi?
pub fn network_config(text: &str, wifi: bool) -> Customisation {
    apart(NETWORK_FILE, text, |document, taken| {
        let network = document.as_mapping_get("network").unwrap_or(document);
        let Some(keys) = network.as_mapping() else { return Err("it is no list of `key: value`".to_owned()) };
        let mut ignored: Vec<(&str, &str)> = Vec::new();
        let mut wired = false;
        for (key, value) in keys {
            match key.as_str().unwrap_or_default() {
                "version" if value.as_integer() == Some(2) => {}
                "version" => return Err("it is of another version than 2".to_owned()),
                "renderer" => {}
                "ethernets" => {
                    let ports = value.as_mapping().ok_or("`ethernets` names no ports")?;
                    for (port, settings) in ports {
                        wired = true;
                        taken.network.extend(fixed(port.as_str().unwrap_or_default(), settings)?);
                    }
                }
                "wifis" if !wifi => ignored.push(("wifis", NO_WIFI)),
                "wifis" => radios(value, taken)?,
                name => ignored.push((name, NO_USE)),
            }
        }
        if wired {
            let how = if taken.network.is_empty() { "DHCP" } else { "fixed addresses" };
            taken.notes.push(format!("applied: {NETWORK_FILE} (Ethernet, {how})"));
        }
        for network in &taken.wifi {
            let secret = network.password.as_ref().map_or("", |_| ", whose password stays on the card");
            taken.notes.push(format!("applied: {NETWORK_FILE} (Wi-Fi `{}`{secret})", network.ssid));
        }
        if !ignored.is_empty() {
            taken.kept = Some(to_text(taken));
        }
        tell_ignored(NETWORK_FILE, &ignored, taken);
        Ok(())
    })
}

/// Reads a text in a thread of its own, whose stack suffices for whatever such a text nests.
fn apart(
    file: &'static str,
    text: &str,
    read: impl FnOnce(&Yaml<'_>, &mut Customisation) -> Result<(), String> + Send,
) -> Customisation {
    let wrong = |why: String| Customisation {
        notes: vec![format!("wrong: {file}, {why}; the board runs without it")],
        ..Customisation::default()
    };
    if text.len() > BYTES_MAX {
        return wrong(format!("it has more than {} KiB", BYTES_MAX >> 10));
    }
    let read = move || {
        let documents = Yaml::load_from_str(text).map_err(|error| {
            let place = error.marker();
            // The library's words may quote the text, and with it a secret.
            format!("line {}: this is no YAML", place.line())
        })?;
        let mut taken = Customisation::default();
        match documents.first() {
            Some(document) if !document.is_null() => read(document, &mut taken)?,
            _ => {}
        }
        Ok(taken)
    };
    let answer = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, read);
        thread.map(|thread| thread.join())
    });
    match answer {
        Ok(Ok(Ok(taken))) => taken,
        Ok(Ok(Err(why))) => wrong(why),
        Ok(Err(_)) => wrong("it cannot be read".to_owned()),
        Err(error) => wrong(error.to_string()),
    }
}

fn host_name(value: &Yaml<'_>) -> Result<String, String> {
    let name = value.as_str().unwrap_or_default();
    let name = name.split('.').next().unwrap_or_default();
    if host_name_fits(name) {
        return Ok(name.to_owned());
    }
    Err("its host name has other characters than letters, digits and hyphens, or more than 63".to_owned())
}

/// Networks to be joined; those of all radios are one list, since boards have one radio.
fn radios(value: &Yaml<'_>, taken: &mut Customisation) -> Result<(), String> {
    for (radio, settings) in value.as_mapping().ok_or("`wifis` names no radios")? {
        // `renderer` may stand between the radios.
        let (Some(radio), true) = (radio.as_str(), settings.is_mapping()) else { continue };
        taken.network.extend(fixed(radio, settings)?);
        let country = settings.as_mapping_get("regulatory-domain").and_then(Yaml::as_str);
        taken.wifi_country = taken.wifi_country.take().or(country.map(str::to_owned));
        let networks = settings.as_mapping_get("access-points").and_then(Yaml::as_mapping);
        for (ssid, settings) in networks.into_iter().flatten() {
            let ssid = ssid.as_str().ok_or("a Wi-Fi has no name")?.to_owned();
            let auth = settings.as_mapping_get("auth").unwrap_or(settings);
            let password = match auth.as_mapping_get("password").map(Yaml::as_str) {
                Some(Some(text)) => Some(text.to_owned().into()),
                Some(None) => {
                    return Err(format!("the password of Wi-Fi `{ssid}` stands in no quotation marks"));
                }
                None => None,
            };
            let hidden = settings.as_mapping_get("hidden").and_then(Yaml::as_bool).unwrap_or(false);
            taken.wifi.push(WifiNetwork { ssid, password, hidden });
        }
    }
    wifi::check(taken.wifi_country.as_deref(), &taken.wifi)
}

/// Fixed addresses of one port.
fn fixed(port: &str, settings: &Yaml<'_>) -> Result<Vec<StaticAddress>, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if port.is_empty() || port.len() > PORT_NAME_MAX || !port.chars().all(plain) {
        return Err("a port has no usable name".to_owned());
    }
    let texts = |list: Option<&Yaml<'_>>| -> Vec<String> {
        let list = list.and_then(Yaml::as_sequence).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Yaml::as_str).map(str::to_owned).collect()
    };
    let routes = settings.as_mapping_get("routes").and_then(Yaml::as_sequence).map(Vec::as_slice);
    let default_route = routes.unwrap_or_default().iter().find_map(|route| {
        let to = route.as_mapping_get("to").and_then(Yaml::as_str)?;
        let default = ["default", "0.0.0.0/0", "::/0"].contains(&to);
        default.then(|| route.as_mapping_get("via").and_then(Yaml::as_str)).flatten()
    });
    let gateway = settings.as_mapping_get("gateway4").and_then(Yaml::as_str).or(default_route);
    let gateway: Option<IpAddr> = match gateway.map(str::parse) {
        Some(Ok(gateway)) => Some(gateway),
        Some(Err(_)) => return Err(format!("the gateway of {port} is no address")),
        None => None,
    };
    let names = settings.as_mapping_get("nameservers");
    let dns: Result<Vec<IpAddr>, _> = texts(names.and_then(|names| names.as_mapping_get("addresses")))
        .iter()
        .map(|address| address.parse::<IpAddr>())
        .collect();
    let dns = dns.map_err(|_| format!("a name server of {port} is no address"))?;
    texts(settings.as_mapping_get("addresses"))
        .into_iter()
        .map(|address| {
            if !address_fits(&address) {
                return Err(format!("an address of {port} is not of the form 192.168.1.5/24"));
            }
            Ok(StaticAddress { port: Some(port.to_owned()), address, gateway, dns: dns.clone() })
        })
        .collect()
}

/// Notes, one a reason.
fn tell_ignored(file: &str, ignored: &[(&str, &'static str)], taken: &mut Customisation) {
    for why in [NO_LOGIN, NO_PROGRAMS, NO_PLACE, NO_WIFI, NO_USE] {
        let names: Vec<_> =
            ignored.iter().filter(|(_, of)| *of == why).map(|(name, _)| format!("`{name}`")).collect();
        if !names.is_empty() {
            taken.notes.push(format!("ignored: {} in {file}: {why}", names.join(", ")));
        }
    }
}

/// Addresses and Wi-Fi as `network-config`, to stay on the card.
fn to_text(taken: &Customisation) -> String {
    let mut text = "# Shoal has removed what it does not use.\nversion: 2\n".to_owned();
    let mut ports: Vec<&str> = taken.network.iter().filter_map(|fixed| fixed.port.as_deref()).collect();
    ports.dedup();
    let (radios, wired): (Vec<&str>, Vec<&str>) = ports.into_iter().partition(|port| port.starts_with("wl"));
    if !wired.is_empty() {
        text.push_str("ethernets:\n");
    }
    for port in wired {
        text.push_str(&format!("  {port}:\n{}", addresses_of(port, &taken.network)));
    }
    if taken.wifi.is_empty() {
        return text;
    }
    let radio = radios.first().copied().unwrap_or(RADIO);
    text.push_str(&format!("wifis:\n  {radio}:\n{}", addresses_of(radio, &taken.network)));
    if let Some(country) = &taken.wifi_country {
        text.push_str(&format!("    regulatory-domain: {}\n", quoted(country)));
    }
    text.push_str("    access-points:\n");
    for network in &taken.wifi {
        text.push_str(&format!("      {}:\n        hidden: {}\n", quoted(&network.ssid), network.hidden));
        if let Some(password) = &network.password {
            text.push_str(&format!("        password: {}\n", quoted(password.reveal())));
        }
    }
    text
}

fn addresses_of(port: &str, network: &[StaticAddress]) -> String {
    let of_port: Vec<_> = network.iter().filter(|fixed| fixed.port.as_deref() == Some(port)).collect();
    let list = |all: Vec<String>| all.iter().map(|one| quoted(one)).collect::<Vec<_>>().join(", ");
    let Some(first) = of_port.first() else { return String::new() };
    let addresses = list(of_port.iter().map(|fixed| fixed.address.clone()).collect());
    let mut text = format!("    addresses: [{addresses}]\n");
    if let Some(gateway) = first.gateway {
        text.push_str(&format!("    routes: [{{to: default, via: \"{gateway}\"}}]\n"));
    }
    let dns = list(first.dns.iter().map(ToString::to_string).collect());
    text.push_str(&format!("    nameservers: {{addresses: [{dns}]}}\n"));
    text
}

/// As YAML takes any text.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
