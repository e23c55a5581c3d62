use crate::wifi::{WifiNetwork, check, config, news};

fn network(ssid: &str, password: Option<&str>) -> WifiNetwork {
    WifiNetwork {
        ssid: ssid.to_owned(),
        password: password.map(|text| text.to_owned().into()),
        hidden: false,
    }
}

#[test]
fn networks_are_written_as_the_supplicant_reads_them() {
    let key = "0123456789abcdef".repeat(4);
    let mut networks =
        [network("home", Some("say \"hello\"")), network("käse", Some(&key)), network("open", None)];
    networks[1].hidden = true;
    check(Some("DE"), &networks).expect("all is well");
    let expected = format!(
        "country=DE\n\
        network={{\nssid=686f6d65\nscan_ssid=0\nkey_mgmt=WPA-PSK WPA-PSK-SHA256 SAE\npsk=\"say \"hello\"\"\nieee80211w=1\n}}\n\
        network={{\nssid=6bc3a47365\nscan_ssid=1\nkey_mgmt=WPA-PSK WPA-PSK-SHA256\npsk={key}\nieee80211w=1\n}}\n\
        network={{\nssid=6f70656e\nscan_ssid=0\nkey_mgmt=NONE\nieee80211w=1\n}}\n"
    );
    assert_eq!(*config(Some("DE"), &networks), expected);
}

#[test]
fn what_cannot_be_joined_is_named_without_the_secret() {
    let long = "x".repeat(33);
    let most = "x".repeat(64);
    for (ssid, password) in [
        ("", None),
        (long.as_str(), None),
        ("home", Some("seven77")),
        ("home", Some("a line\nctrl_interface=/tmp")),
        ("home", Some("schlüssel")),
        ("home", Some(most.as_str())),
    ] {
        let why = check(None, &[network(ssid, password)]).expect_err("not to be joined");
        assert!(password.is_none_or(|password| !why.contains(password)), "{why}");
    }
    for country in ["de", "D", "DEU", "D\n"] {
        assert!(check(Some(country), &[]).expect_err("no country").contains("`DE`"));
    }
    assert!(!format!("{:?}", network("home", Some("a password"))).contains("a password"));
}

#[test]
fn people_hear_what_they_can_act_on() {
    let wrong = r#"wlan0: CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid="my \"home\"" auth_failures=1 duration=10 reason=WRONG_KEY"#;
    assert_eq!(news(wrong).as_deref(), Some(r#"Wi-Fi `my \"home\"` does not take this password"#));
    let other = wrong.replace("WRONG_KEY", "CONN_FAILED");
    assert!(news(&other).expect("news").ends_with("it is tried again"));
    let joined = "wlan0: CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:01:00 completed [id=0 id_str=]";
    assert_eq!(news(joined).as_deref(), Some("Wi-Fi joined"));
    assert_eq!(news("wlan0: Trying to associate with SSID 'home'"), None);
}
