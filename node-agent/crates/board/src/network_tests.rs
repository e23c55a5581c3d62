use std::collections::BTreeMap;

use crate::network::{Lease, name_of_host, ports, radios};

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
