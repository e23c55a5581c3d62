use crate::imager::{Customisation, user_data};

/// As Raspberry Pi Imager 2 writes it, with everything set.
const USER_DATA: &str = r#"#cloud-config
manage_resolv_conf: false

hostname: attic
manage_etc_hosts: true
packages:
- avahi-daemon
apt:
  preserve_sources_list: true
  conf: |
    Acquire {
      Check-Date "false";
    };

users:
- name: mary
  groups: users,adm,dialout,audio,netdev,video,plugdev,cdrom,games,input,gpio,spi,i2c,render,sudo
  shell: /bin/bash
  lock_passwd: false
  passwd: $5$secret$hash
  ssh_authorized_keys:
    - ssh-ed25519 AAAA mary@home

ssh_pwauth: false
timezone: Europe/Berlin
keyboard:
  model: pc105
  layout: "de"
"#;

const NETWORK: &str = r#"network:
  version: 2
  ethernets:
    eth0:
      dhcp4: true
      optional: true
  wifis:
    renderer: networkd
    wlan0:
      dhcp4: true
      regulatory-domain: "DE"
      access-points:
        "home":
          password: "a secret key"
      optional: true
"#;

/// On a board without Wi-Fi.
fn network_config(text: &str) -> Customisation {
    crate::imager::network_config(text, false)
}

fn with_wifi(text: &str) -> Customisation {
    crate::imager::network_config(text, true)
}

#[test]
fn the_name_is_taken_and_the_rest_is_named() {
    let taken = user_data(USER_DATA);
    assert_eq!(taken.host_name.as_deref(), Some("attic"));
    assert_eq!(
        taken.notes,
        [
            "applied: user-data (host name)",
            "ignored: `users`, `ssh_pwauth` in user-data: nobody logs in to a board",
            "ignored: `packages`, `apt` in user-data: an image holds all that it runs",
            "ignored: `timezone`, `keyboard` in user-data: a board keeps UTC and speaks no language",
            "ignored: `manage_resolv_conf` in user-data: a board has no use for it",
        ]
    );
}

#[test]
fn what_stays_on_the_card_holds_no_secret_and_says_the_same() {
    for (text, read) in [(USER_DATA, user_data as fn(&str) -> Customisation), (NETWORK, network_config)] {
        let first = read(text);
        let kept = first.kept.expect("something was ignored");
        assert!(!kept.contains("secret"), "{kept}");
        let again = read(&format!("{kept}\n\n\n"));
        assert_eq!((&again.host_name, &again.network), (&first.host_name, &first.network));
        assert!(again.notes.iter().all(|note| note.starts_with("applied: ")), "{:?}", again.notes);
        assert_eq!(again.kept, None, "there is nothing more to remove");
    }
}

#[test]
fn wired_ports_ask_dhcp_or_have_fixed_addresses() {
    let taken = network_config(NETWORK);
    assert!(taken.network.is_empty());
    assert_eq!(
        taken.notes,
        [
            "applied: network-config (Ethernet, DHCP)",
            "ignored: `wifis` in network-config: the images of this board have no Wi-Fi",
        ]
    );
    let text = "version: 2\nethernets:\n  eth0:\n    addresses: [192.168.1.5/24, 'fd00::5/64']\n    \
        routes:\n      - to: default\n        via: 192.168.1.1\n    nameservers:\n      addresses: [9.9.9.9]\nbonds: {}\n";
    let taken = network_config(text);
    let addresses: Vec<_> = taken.network.iter().map(|fixed| fixed.address.as_str()).collect();
    assert_eq!(addresses, ["192.168.1.5/24", "fd00::5/64"]);
    let first = &taken.network[0];
    assert_eq!(first.port.as_deref(), Some("eth0"));
    assert_eq!(first.gateway, Some("192.168.1.1".parse().expect("an address")));
    assert_eq!(first.dns, ["9.9.9.9".parse::<std::net::IpAddr>().expect("an address")]);
    assert_eq!(network_config(&taken.kept.expect("bonds were ignored")).network, taken.network);
}

#[test]
fn a_board_with_a_radio_joins_what_is_named() {
    let taken = with_wifi(NETWORK);
    let notes = [
        "applied: network-config (Ethernet, DHCP)",
        "applied: network-config (Wi-Fi `home`, whose password stays on the card)",
    ];
    assert_eq!((&taken.notes[..], taken.kept.as_deref()), (&notes.map(str::to_owned)[..], None));
    assert_eq!(taken.wifi_country.as_deref(), Some("DE"));
    let [home] = &taken.wifi[..] else { panic!("{:?}", taken.wifi) };
    assert_eq!((home.ssid.as_str(), home.hidden), ("home", false));
    assert_eq!(home.password.as_ref().map(|secret| secret.reveal()), Some("a secret key"));

    let text = r#"version: 2
bonds: {}
wifis:
  wlan0:
    addresses: [10.0.0.7/8]
    access-points:
      "say \"a\\b\"": {auth: {key-management: psk, password: "quote\" and \\ back"}, hidden: true}
      open: {}
"#;
    let first = with_wifi(text);
    assert_eq!(first.network[0].port.as_deref(), Some("wlan0"));
    let again = with_wifi(&first.kept.expect("bonds were ignored"));
    assert_eq!((&again.wifi, &again.network), (&first.wifi, &first.network));
    assert_eq!((again.wifi[0].ssid.as_str(), again.wifi[0].hidden), (r#"say "a\b""#, true));
    assert_eq!(again.wifi[1].password, None);

    for access in ["home: {password: 12345678}", "home: {password: secret}", "[home]: {}"] {
        let text = format!("version: 2\nwifis:\n  wlan0:\n    access-points:\n      {access}\n");
        let taken = with_wifi(&text);
        assert!(
            taken.wifi.is_empty() && taken.notes[0].starts_with("wrong: network-config, "),
            "{:?}",
            taken.notes
        );
        assert!(!taken.notes[0].contains("secret"));
    }
}

#[test]
fn nonsense_is_named_and_never_quoted() {
    let deep = "[".repeat(16 << 10);
    let dashes = "- ".repeat(8 << 10);
    let long = " ".repeat((16 << 10) + 1);
    for text in [
        "users: [secret",
        "a: b: secret",
        "hostname: 'not a secret name'",
        "- secret",
        "\u{0}",
        &deep,
        &dashes,
        &long,
    ] {
        for read in [user_data, network_config] {
            let taken = read(text);
            assert_eq!(taken.host_name, None);
            assert!(!taken.notes.iter().any(|note| note.contains("secret")), "{:?}", taken.notes);
        }
        assert!(
            user_data(text).notes.iter().any(|note| note.starts_with("wrong: user-data, ")),
            "{text:.20}"
        );
    }
    for text in [
        "version: 1\n",
        "version: 2\nethernets: secret\n",
        "version: 2\nethernets:\n  'no port at all, too long': {}\n",
        "version: 2\nethernets:\n  eth0: {addresses: [192.168.1.5]}\n",
        "version: 2\nethernets:\n  eth0: {addresses: [192.168.1.5/24], gateway4: near}\n",
        "version: 2\nethernets:\n  eth0: {addresses: [192.168.1.5/24], nameservers: {addresses: [near]}}\n",
    ] {
        let taken = network_config(text);
        assert!(taken.network.is_empty());
        assert!(taken.notes[0].starts_with("wrong: network-config, "), "{:?}", taken.notes);
    }
    for empty in ["", "#cloud-config\n", "---\n"] {
        assert_eq!(user_data(empty), Customisation::default());
    }
}
