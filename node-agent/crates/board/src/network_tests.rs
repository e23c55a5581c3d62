use std::collections::BTreeMap;

use crate::first_boot::StaticAddress;
use crate::network::{Lease, fixed_of, metric, name_of_host, ports, radios};

fn lease(variables: &[(&str, &str)]) -> Option<Lease> {
    let map: BTreeMap<_, _> = variables.iter().copied().collect();
    Lease::from_environment(|name| map.get(name).map(|&value| value.to_owned()))
}

#[test]
fn a_lease_is_read_from_what_the_client_says() {
    let whole = lease(&[
        ("interface", "eth0"),
        ("ip", "10.0.2.15"),
        ("mask", "24"),
        ("router", "10.0.2.2 10.0.2.3"),
        ("dns", "10.0.2.3 not-an-address"),
    ])
    .expect("a lease");
    assert_eq!((whole.port.as_str(), whole.address.as_str()), ("eth0", "10.0.2.15/24"));
    assert_eq!((whole.routers.len(), whole.dns.len()), (2, 1));
    let by_subnet = lease(&[("interface", "eth0"), ("ip", "10.0.0.9"), ("subnet", "255.255.240.0")]);
    assert_eq!(by_subnet.expect("a lease").address, "10.0.0.9/20");
}

#[test]
fn a_server_that_says_nonsense_gives_no_lease() {
    assert_eq!(lease(&[("interface", "eth0")]), None);
    assert_eq!(lease(&[("interface", "eth0"), ("ip", "10.0.0.9; reboot"), ("mask", "24")]), None);
    assert_eq!(lease(&[("interface", "eth0"), ("ip", "10.0.0.9"), ("mask", "99")]), None);
}

#[test]
fn ports_have_hardware_and_give_the_host_its_name() {
    let sys = tempfile::tempdir().expect("a folder");
    for folder in ["lo", "eth1/device", "eth0/device", "wlan0/device", "wlan0/wireless"] {
        std::fs::create_dir_all(sys.path().join(folder)).expect("made");
    }
    assert_eq!(ports(sys.path()), ["eth0", "eth1"]);
    assert_eq!(radios(sys.path()), ["wlan0"]);
    assert_eq!(name_of_host(sys.path()), "shoal");
    std::fs::write(sys.path().join("eth0/address"), "b8:27:eb:01:A2:03\n").expect("written");
    assert_eq!(name_of_host(sys.path()), "shoal-01A203".to_lowercase());
    std::fs::remove_dir_all(sys.path().join("eth0")).expect("unplugged");
    std::fs::remove_dir_all(sys.path().join("eth1")).expect("unplugged");
    std::fs::write(sys.path().join("wlan0/address"), "b8:27:eb:01:a2:04\n").expect("written");
    assert_eq!(name_of_host(sys.path()), "shoal-01a204", "a board without ports has its radio's");
}

#[test]
fn a_cable_leads_elsewhere_before_a_radio_does() {
    let sys = tempfile::tempdir().expect("a folder");
    for (device, index, more) in
        [("wlan0", "2", "wireless"), ("eth0", "3", ""), ("eth1", "4", ""), ("eth9", "70000", "")]
    {
        std::fs::create_dir_all(sys.path().join(device).join(more)).expect("made");
        std::fs::write(sys.path().join(device).join("ifindex"), format!("{index}\n")).expect("written");
    }
    let metrics = ["eth0", "eth1", "eth9", "wlan0"].map(|device| metric(sys.path(), device));
    assert!(metrics.is_sorted_by(|before, after| before < after), "{metrics:?}");
}

#[test]
fn an_address_without_a_port_is_that_of_the_first_cable_alone() {
    let fixed = |port: Option<&str>, address: &str| StaticAddress {
        port: port.map(str::to_owned),
        address: address.to_owned(),
        gateway: None,
        dns: Vec::new(),
    };
    let all = [fixed(None, "10.0.0.5/24"), fixed(Some("eth1"), "10.0.1.5/24")];
    let address = |device, by_radio, taken: &[&StaticAddress]| {
        fixed_of(&all, device, by_radio, taken).map(|fixed| fixed.address.as_str())
    };
    assert_eq!(address("wlan0", true, &[]), None, "the radio asks DHCP");
    assert_eq!(address("eth1", false, &[]), Some("10.0.1.5/24"), "its own before anybody's");
    assert_eq!(address("eth0", false, &[&all[1]]), Some("10.0.0.5/24"));
    assert_eq!(address("eth2", false, &[&all[1], &all[0]]), None, "no two ports have the same address");
}
