//! TLS 1.3 with raw public keys (RFC 7250) on both sides.
//!
//! Invariants: each side proves an Ed25519 key, and no certificate, date or name plays a part; a client that wants a
//! node accepts the key of that node alone; no session is resumed, so every connection is proved anew; AES is
//! spoken between nodes that both have instructions for it, and ChaCha20-Poly1305 else.

#[cfg(test)]
mod tls_tests;

use std::sync::Arc;

use grid_types::NodeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::ring as suites;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, ClientHello, NoServerSessionStorage};
use rustls::version::TLS13;
use rustls::{
    CertificateError, CipherSuite, ClientConfig, ConnectionCommon, DigitallySignedStruct, DistinguishedName,
    Error, ServerConfig, SignatureScheme,
};

use crate::key::{PUBLIC_KEY_BYTES, key_in_spki, node_of_key};
use crate::{Lane, NodeKey};

/// What the two ends agree to speak; the number is the version of the wire format.
pub(crate) const ALPN: &[u8] = b"shoal/1";
/// The same, for a bulk connection: the server may know before the handshake which runtime it is for.
const ALPN_BULK: &[u8] = b"shoal/1 bulk";
/// Label of the bytes that proofs are bound to (RFC 8446, section 7.5).
const EXPORTER_LABEL: &[u8] = b"EXPORTER-shoal-rpc";

/// Ciphers in this node's order. Without AES instructions it offers ChaCha20-Poly1305 alone; the server follows the
/// client's order, so that AES is chosen where both have it.
pub(crate) fn provider(has_aes: bool) -> CryptoProvider {
    let mut provider = suites::default_provider();
    let chacha = suites::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
    provider.cipher_suites = if has_aes {
        let aes_256 = suites::cipher_suite::TLS13_AES_256_GCM_SHA384;
        vec![aes_256, suites::cipher_suite::TLS13_AES_128_GCM_SHA256, chacha]
    } else {
        vec![chacha]
    };
    provider.kx_groups.retain(|group| group.name() == rustls::NamedGroup::X25519);
    provider
}

/// What a server takes: any Ed25519 key; who is a member is asked for each request.
pub(crate) fn server_config(key: &NodeKey, provider: CryptoProvider) -> Result<ServerConfig, Error> {
    let proof = Proof(provider.signature_verification_algorithms);
    let resolver = Arc::new(AlwaysResolvesServerRawPublicKeys::new(key.certified()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(AnyClient(proof)))
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![ALPN_BULK.to_vec(), ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// Which lane a client says that its connection is for.
pub(crate) fn lane(hello: &ClientHello<'_>) -> Lane {
    let bulk = hello.alpn().is_some_and(|mut names| names.any(|name| name == ALPN_BULK));
    if bulk { Lane::Bulk } else { Lane::Control }
}

/// What a client takes: the key of `wanted`, or any Ed25519 key where nobody is wanted in particular.
pub(crate) fn client_config(
    key: &NodeKey,
    provider: CryptoProvider,
    wanted: Option<NodeId>,
    lane: Lane,
) -> Result<ClientConfig, Error> {
    let proof = Proof(provider.signature_verification_algorithms);
    let resolver = Arc::new(AlwaysResolvesClientRawPublicKeys::new(key.certified()));
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(WantedServer { wanted, proof }))
        .with_client_cert_resolver(resolver);
    config.alpn_protocols = match lane {
        Lane::Control => vec![ALPN.to_vec()],
        // A node of before that name takes the other one.
        Lane::Bulk => vec![ALPN_BULK.to_vec(), ALPN.to_vec()],
    };
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.enable_early_data = false;
    Ok(config)
}

/// What a finished handshake proved.
#[derive(Clone)]
pub(crate) struct Proved {
    pub(crate) node: NodeId,
    pub(crate) public_key: [u8; PUBLIC_KEY_BYTES],
    pub(crate) exporter: [u8; 32],
}

/// Reads it off either end of a connection.
pub(crate) fn proved<Side>(connection: &ConnectionCommon<Side>) -> Result<Proved, Error> {
    if !connection.alpn_protocol().is_some_and(|name| [ALPN, ALPN_BULK].contains(&name)) {
        return Err(Error::NoApplicationProtocol);
    }
    let certificates = connection.peer_certificates().unwrap_or_default();
    let public_key = public_key(certificates.first().map_or(&[], |certificate| certificate.as_ref()))?;
    let exporter = connection.export_keying_material([0; 32], EXPORTER_LABEL, None)?;
    Ok(Proved { node: node_of_key(&public_key), public_key, exporter })
}

/// For logs: what the connection is sealed with.
pub(crate) fn cipher<Side>(connection: &ConnectionCommon<Side>) -> Option<CipherSuite> {
    connection.negotiated_cipher_suite().map(|suite| suite.suite())
}

fn public_key(spki: &[u8]) -> Result<[u8; PUBLIC_KEY_BYTES], Error> {
    key_in_spki(spki).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

/// Verifies that the peer holds the key that it shows.
#[derive(Debug)]
struct Proof(WebPkiSupportedAlgorithms);

impl Proof {
    fn verify(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(Error::InvalidCertificate(CertificateError::BadSignature));
        }
        public_key(spki)?;
        let spki = SubjectPublicKeyInfoDer::from(spki.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, signed, &self.0)
    }
}

fn tls12_is_not_spoken() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not spoken between nodes".to_owned()))
}

#[derive(Debug)]
struct AnyClient(Proof);

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        one_key(end_entity, intermediates).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls12_is_not_spoken()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct WantedServer {
    wanted: Option<NodeId>,
    proof: Proof,
}

impl ServerCertVerifier for WantedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = node_of_key(&one_key(end_entity, intermediates)?);
        match self.wanted {
            Some(wanted) if wanted != found => {
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls12_is_not_spoken()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.proof.verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

fn one_key(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<[u8; PUBLIC_KEY_BYTES], Error> {
    if !intermediates.is_empty() {
        return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
    }
    public_key(end_entity)
}
