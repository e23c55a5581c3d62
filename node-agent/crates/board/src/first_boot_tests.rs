use std::fs::File;
use std::path::{Path, PathBuf};

use disk_image::Window;
use disk_image::card::{BOOT_AT, BOOT_BYTES, IMAGE_BYTES};
use disk_image::fat::{Volume, format};
use disk_image::seed::Seed;

use crate::first_boot::{
    CONFIG_FILE, Orders, RESET_FILE, Reset, STATUS_FILE, TICKET_FILE, put_text, reset_done, wipe_ticket,
    with_boot,
};

const TICKET: &str = "shoal1-a-ticket-that-nobody-may-find";

/// A sparse file as large as an image, with an empty volume SHOAL.
fn card() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("card");
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).expect("a card");
    file.set_len(IMAGE_BYTES).expect("sized");
    format(&mut Window::new(&mut file, BOOT_AT, BOOT_BYTES), BOOT_BYTES, "SHOAL", 1).expect("formatted");
    (folder, path)
}

/// On a board without Wi-Fi.
fn take(card: &Path) -> Orders {
    Orders::take(card, false)
}

fn put(card: &Path, name: &str, text: &str) {
    with_boot(card, |volume: &Volume<_>| volume.write(name, text.as_bytes()).map(drop)).expect("written");
}

fn holds(card: &Path, text: &str) -> bool {
    let whole = std::fs::read(card).expect("read");
    let written: Vec<u8> =
        whole.chunks(512).filter(|sector| **sector != [0; 512]).flatten().copied().collect();
    written.windows(text.len()).any(|bytes| bytes == text.as_bytes())
}

#[test]
fn a_seed_is_taken_over_once_and_leaves_nothing_behind() {
    let (_folder, card) = card();
    let seed = Seed { config: Some("[board]\nfound = true\n".to_owned()), ticket: Some(TICKET.to_owned()) };
    seed.write(&mut File::options().read(true).write(true).open(&card).expect("opened")).expect("written");
    let first = take(&card);
    assert!(first.first_start && first.board.found, "{:?}", first.notes);
    assert_eq!(first.ticket.as_ref().map(|ticket| ticket.as_str()), Some(TICKET));
    let second = take(&card);
    assert!(second.board.found);
    assert_eq!(second.ticket, first.ticket, "a ticket that was not used yet stays");
    assert_eq!(second.notes, ["applied: shoal.toml"]);
    assert!(wipe_ticket(&card).expect("wiped"));
    assert!(!holds(&card, TICKET));
    assert_eq!(take(&card).ticket, None);
}

#[test]
fn files_on_the_volume_win_over_the_seed() {
    let (_folder, card) = card();
    put(&card, CONFIG_FILE, "[board]\nhost_name = \"mine\"\n");
    put(&card, TICKET_FILE, "  the-newer-ticket\r\n");
    let seed = Seed { config: Some("[board]\nfound = true\n".to_owned()), ticket: Some(TICKET.to_owned()) };
    seed.write(&mut File::options().read(true).write(true).open(&card).expect("opened")).expect("written");
    let orders = take(&card);
    assert_eq!(orders.board.host_name.as_deref(), Some("mine"));
    assert!(!orders.board.found);
    assert_eq!(orders.ticket.as_ref().map(|ticket| ticket.as_str()), Some("the-newer-ticket"));
    assert!(!holds(&card, TICKET));
}

#[test]
fn a_mistake_is_told_with_its_line_and_the_board_runs_without_the_file() {
    for (text, wanted) in [
        ("[s3]\nregion = \"a\"\nregion = \"b\"\n", "line 3"),
        ("[board]\nfond = true\n", "unknown field `fond`"),
        ("[board]\nhost_name = \"two words\"\n", "host_name `two words`"),
        ("[[board.network]]\naddress = \"10.0.0.1\"\n", "write 192.168.1.5/24"),
    ] {
        let (_folder, card) = card();
        put(&card, CONFIG_FILE, text);
        let orders = take(&card);
        assert_eq!(orders.notes.len(), 1, "{:?}", orders.notes);
        assert!(orders.notes[0].starts_with("wrong: shoal.toml"), "{:?}", orders.notes);
        assert!(orders.notes[0].contains(wanted), "{:?}", orders.notes);
        assert!(orders.agent.is_empty());
    }
}

#[test]
fn the_agent_gets_what_is_its_own_and_the_drives_of_the_board() {
    let (_folder, card) = card();
    put(
        &card,
        CONFIG_FILE,
        "\u{feff}drives = [\"/x\"]\r\nprofile = \"copies:1\"\r\n[board]\r\nfound = true\r\n[join]\r\n",
    );
    let orders = take(&card);
    assert_eq!(
        orders.notes,
        ["ignored: `drives` in shoal.toml: the board finds its own", "applied: shoal.toml"]
    );
    let config = orders.agent_config(&["/data/1/shoal".into()], Some(Path::new("/run/shoal/ticket")), true);
    let table: toml::Table = toml::from_str(&config).expect("TOML");
    assert_eq!(table["drives"].as_array().map(Vec::len), Some(1));
    assert_eq!(table["profile"].as_str(), Some("copies:1"));
    assert_eq!(table["join"]["ticket_file"].as_str(), Some("/run/shoal/ticket"));
    assert!(!table.contains_key("board"));
    assert_eq!(table["clock"]["rtc"].as_str(), Some("/dev/rtc0"));
    let without: toml::Table = toml::from_str(&orders.agent_config(&[], None, false)).expect("TOML");
    assert_eq!(without["clock"]["source"].as_str(), Some("proven"));
    assert!(without["clock"].get("rtc").is_none());
}

#[test]
fn the_owner_says_who_is_asked_for_the_time() {
    let (_folder, card) = card();
    put(&card, CONFIG_FILE, "[clock]\nsource = \"host\"\n");
    let config = take(&card).agent_config(&[], None, true);
    let table: toml::Table = toml::from_str(&config).expect("TOML");
    assert_eq!(table["clock"].as_table().map(toml::Table::len), Some(1));
}

#[test]
fn a_status_is_written_only_when_it_changed() {
    let (_folder, card) = card();
    assert!(take(&card).first_start);
    assert!(put_text(&card, STATUS_FILE, "one\n").expect("written"));
    let before = std::fs::read(&card).expect("read");
    assert!(!put_text(&card, STATUS_FILE, "one\n").expect("compared"));
    assert_eq!(std::fs::read(&card).expect("read"), before, "not a byte of the card is written");
    assert!(put_text(&card, STATUS_FILE, "two\n").expect("written"));
    assert!(!take(&card).first_start);
}

#[test]
fn files_of_an_imager_count_where_the_configuration_says_nothing_and_lose_their_secrets() {
    let (_folder, card) = card();
    let password = "the-password-of-a-network";
    put(&card, "user-data", "#cloud-config\nhostname: attic\nusers:\n- passwd: hash-of-a-password\n");
    let network = format!(
        "version: 2\nethernets:\n  eth0:\n    addresses: [10.0.0.5/8]\nwifis:\n  wlan0:\n    access-points:\n      home: {{password: {password}}}\n"
    );
    put(&card, "network-config", &network);
    let first = take(&card);
    assert_eq!(first.board.host_name.as_deref(), Some("attic"));
    assert_eq!(first.board.network[0].address, "10.0.0.5/8");
    assert!(
        first.notes.contains(&"wiped from network-config: what was ignored, for it may be secret".to_owned())
    );
    assert!(!holds(&card, password) && !holds(&card, "hash-of-a-password"));
    let second = take(&card);
    assert_eq!(second.board, first.board, "what counts stays");
    assert!(
        !second.notes.iter().any(|note| note.starts_with("wiped") || note.starts_with("wrong")),
        "{:?}",
        second.notes
    );

    put(&card, CONFIG_FILE, "[board]\nhost_name = \"cellar\"\n[[board.network]]\naddress = \"10.0.0.6/8\"\n");
    let third = take(&card);
    assert_eq!(third.board.host_name.as_deref(), Some("cellar"));
    assert_eq!(third.board.network.len(), 1);
    assert_eq!(third.board.network[0].address, "10.0.0.6/8");
}

#[test]
fn wifi_is_joined_where_there_is_a_radio_and_its_password_stays_only_there() {
    let (_folder, card) = card();
    let password = "the-password-of-a-network";
    let config = format!(
        "[board]\nwifi_country = \"DE\"\n[[board.wifi]]\nssid = \"home\"\npassword = \"{password}\"\n"
    );
    put(&card, CONFIG_FILE, &config);
    let orders = Orders::take(&card, true);
    assert_eq!(orders.notes, ["applied: shoal.toml"]);
    assert_eq!((orders.board.wifi.len(), orders.board.wifi_country.as_deref()), (1, Some("DE")));
    let without = take(&card);
    assert!(without.board.wifi.is_empty());
    assert_eq!(
        without.notes,
        [
            "applied: shoal.toml",
            "ignored: `board.wifi` in shoal.toml: the images of this board have no Wi-Fi"
        ]
    );

    let (_folder, card) = self::card();
    let network = format!(
        "version: 2\nbonds: {{}}\nwifis:\n  wlan0:\n    access-points:\n      home: {{password: {password}}}\n"
    );
    put(&card, "network-config", &network);
    let first = Orders::take(&card, true);
    assert_eq!(first.board.wifi[0].password.as_ref().map(|secret| secret.reveal()), Some(password));
    assert!(
        first.notes.iter().any(|note| note.starts_with("wiped from network-config")),
        "{:?}",
        first.notes
    );
    assert_eq!(Orders::take(&card, true).board, first.board, "what counts stays");
    assert!(take(&card).board.wifi.is_empty());
    assert!(!holds(&card, password), "a board without a radio has no use for it");
}

#[test]
fn only_the_words_for_it_order_a_reset() {
    let (_folder, card) = card();
    assert_eq!(take(&card).reset, None);
    let written = [
        ("erase this board's data\n", Some(Reset::Card)),
        ("Erase this board\u{2019}s data and its drives.\r\n", Some(Reset::CardAndDrives)),
        ("", None),
        ("yes", None),
        ("erase this board's data and everything", None),
    ];
    for (text, reset) in written {
        put(&card, RESET_FILE, text);
        let orders = take(&card);
        assert_eq!(orders.reset, reset, "{text}");
        let told = orders.notes.iter().any(|note| note.starts_with("wrong: factory-reset.txt: write `erase"));
        assert_eq!(told, reset.is_none(), "{:?}", orders.notes);
    }
    assert!(reset_done(&card).expect("removed"));
    assert_eq!(take(&card).notes, Vec::<String>::new());
}

#[test]
fn what_the_card_tells_people_to_write_is_understood() {
    let read_me = include_str!("../../../../image/card-readme.txt");
    // What is written into the file stands further in than what is said of it.
    let file = read_me.lines().skip_while(|line| !line.contains("[board]"));
    let file = file.take_while(|line| !line.contains("ticket.txt"));
    let example: Vec<&str> = file.filter_map(|line| line.strip_prefix(&" ".repeat(18))).collect();
    let (_folder, card) = card();
    put(&card, CONFIG_FILE, &example.join("\n"));
    let orders = Orders::take(&card, true);
    assert_eq!(orders.notes, ["applied: shoal.toml"]);
    assert_eq!((orders.board.host_name.as_deref(), orders.board.found), (Some("kitchen"), true));
    assert_eq!(orders.board.wifi[0].ssid, "home");
    assert!(orders.agent.is_empty());
}
