use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CipherSuite, ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};

use super::{client_config, proved, provider, server_config};
use crate::{Lane, NodeKey};

fn key() -> NodeKey {
    NodeKey::generate().unwrap().0
}

/// A whole handshake in memory.
fn shake(client: ClientConfig, server: ServerConfig) -> Result<(ClientConnection, ServerConnection), Error> {
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        if !wire.is_empty() {
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
        }
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        if !wire.is_empty() {
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok((client, server))
}

#[test]
fn aes_is_spoken_where_both_have_instructions_for_it() {
    let (ours, theirs) = (key(), key());
    for (client_has, server_has, wanted) in [
        (true, true, CipherSuite::TLS13_AES_256_GCM_SHA384),
        (true, false, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
        (false, true, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
        (false, false, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    ] {
        let client = client_config(&ours, provider(client_has), Some(theirs.node()), Lane::Control).unwrap();
        let server = server_config(&theirs, provider(server_has)).unwrap();
        let (client, _) = shake(client, server).unwrap();
        assert_eq!(super::cipher(&client), Some(wanted), "client {client_has}, server {server_has}");
    }
}

#[test]
fn both_ends_prove_their_keys_and_share_an_exporter() {
    let (ours, theirs) = (key(), key());
    let client = client_config(&ours, provider(true), None, Lane::Control).unwrap();
    let (client, server) = shake(client, server_config(&theirs, provider(true)).unwrap()).unwrap();
    let (seen_by_client, seen_by_server) = (proved(&client).unwrap(), proved(&server).unwrap());
    assert_eq!((seen_by_client.node, seen_by_client.public_key), (theirs.node(), *theirs.public_key()));
    assert_eq!((seen_by_server.node, seen_by_server.public_key), (ours.node(), *ours.public_key()));
    assert_eq!(seen_by_client.exporter, seen_by_server.exporter);
    assert_eq!(client.handshake_kind(), Some(rustls::HandshakeKind::Full));
}

#[test]
fn another_key_than_the_wanted_one_is_refused() {
    let client = client_config(&key(), provider(true), Some(key().node()), Lane::Control).unwrap();
    assert!(shake(client, server_config(&key(), provider(true)).unwrap()).is_err());
}

/// A key pair that shows another one's public key.
fn impostor(victim: &NodeKey) -> NodeKey {
    let own = key();
    let mut shown = victim.clone();
    let certified = rustls::sign::CertifiedKey::new(victim.certified.cert.clone(), own.certified.key.clone());
    shown.certified = Arc::new(certified);
    shown
}

#[test]
fn a_key_that_is_shown_and_not_held_is_refused_on_both_sides() {
    let (ours, theirs) = (key(), key());
    let client = client_config(&ours, provider(true), Some(theirs.node()), Lane::Control).unwrap();
    assert!(shake(client, server_config(&impostor(&theirs), provider(true)).unwrap()).is_err());
    let client = client_config(&impostor(&ours), provider(true), Some(theirs.node()), Lane::Control).unwrap();
    assert!(shake(client, server_config(&theirs, provider(true)).unwrap()).is_err());
}

fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["shoal.local".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&pair).unwrap();
    (certificate.der().clone(), PrivateKeyDer::try_from(pair.serialize_der()).unwrap())
}

#[test]
fn certificates_and_nobody_are_refused() {
    let theirs = key();
    let builder = || {
        let provider = Arc::new(provider(true));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate().0).unwrap();
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
    };
    let (certificate, private) = certificate();
    let mut with = builder().with_client_auth_cert(vec![certificate], private).unwrap();
    with.alpn_protocols = vec![super::ALPN.to_vec()];
    assert!(shake(with, server_config(&theirs, provider(true)).unwrap()).is_err());
    let mut without = builder().with_no_client_auth();
    without.alpn_protocols = vec![super::ALPN.to_vec()];
    assert!(shake(without, server_config(&theirs, provider(true)).unwrap()).is_err());

    // Somebody who takes our raw key and proves none.
    let mut client = client_config(&key(), provider(true), None, Lane::Control).unwrap();
    client.client_auth_cert_resolver = Arc::new(Keyless);
    assert!(shake(client, server_config(&theirs, provider(true)).unwrap()).is_err());
}

#[derive(Debug)]
struct Keyless;

impl rustls::client::ResolvesClientCert for Keyless {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[test]
fn another_version_of_the_protocol_is_refused() {
    for protocols in [vec![], vec![b"h2".to_vec()]] {
        let mut client = client_config(&key(), provider(true), None, Lane::Control).unwrap();
        client.alpn_protocols = protocols;
        let server = server_config(&key(), provider(true)).unwrap();
        let refused = match shake(client, server) {
            Ok((_, server)) => proved(&server).is_err(),
            Err(_) => true,
        };
        assert!(refused);
    }
}

#[test]
fn only_an_ed25519_key_in_its_one_form_is_a_key() {
    let key = key();
    let spki = key.certified.cert[0].to_vec();
    assert_eq!(crate::key::key_in_spki(&spki), Some(*key.public_key()));
    assert_eq!(crate::key::key_in_spki(&spki[..43]), None);
    assert_eq!(crate::key::key_in_spki(&[spki.as_slice(), &[0]].concat()), None);
    let mut other = spki;
    other[8] = 0x6e; // X25519
    assert_eq!(crate::key::key_in_spki(&other), None);
    assert!(NodeKey::from_pkcs8(b"no key").is_err());
}

#[test]
fn a_bulk_connection_says_so_and_nodes_of_before_that_name_take_it() {
    let bulk = || client_config(&key(), provider(true), None, Lane::Bulk).unwrap();
    let server = || server_config(&key(), provider(true)).unwrap();
    for (lane, named) in [(Lane::Control, super::ALPN), (Lane::Bulk, super::ALPN_BULK)] {
        let client = client_config(&key(), provider(true), None, lane).unwrap();
        let (client, server) = shake(client, server()).unwrap();
        assert_eq!(server.alpn_protocol(), Some(named));
        assert!(proved(&client).is_ok() && proved(&server).is_ok());
    }
    let mut older = server();
    older.alpn_protocols = vec![super::ALPN.to_vec()];
    let (client, server) = shake(bulk(), older).unwrap();
    assert_eq!(server.alpn_protocol(), Some(super::ALPN));
    assert!(proved(&client).is_ok());
}
