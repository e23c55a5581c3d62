use super::{TlsIdentity, provider};

#[test]
fn chacha20_comes_first_where_the_cpu_has_no_aes() {
    let names = |aes| -> Vec<String> {
        provider(aes).cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect()
    };
    let (hardware, software) = (names(true), names(false));
    assert!(hardware[0].contains("AES"), "{hardware:?}");
    let first_aes = software.iter().position(|name| name.contains("AES")).unwrap();
    assert!(first_aes > 0 && software[..first_aes].iter().all(|name| name.contains("CHACHA20")));
    assert!(software[first_aes..].iter().all(|name| !name.contains("CHACHA20")), "{software:?}");
    assert_eq!(hardware.len(), software.len());
}

#[test]
fn what_is_no_identity_is_refused_with_its_file() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    assert!(TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).is_ok());
    assert!(TlsIdentity::from_pem(b"", key.as_bytes()).is_err());
    assert!(TlsIdentity::from_pem(certificate.as_bytes(), b"no key").is_err());
    let mixed = TlsIdentity::from_pem(certificate.as_bytes(), other.signing_key.serialize_pem().as_bytes());
    assert!(mixed.err().unwrap().to_string().contains("do not match"));
    let missing = std::path::Path::new("/nowhere/cert.pem");
    assert!(TlsIdentity::load(missing, missing).err().unwrap().to_string().contains("/nowhere/cert.pem"));
}
