//! Server certificates.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Not PEM, no key, or key and certificate do not match.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// A certificate chain and its key; can be replaced while serving. Clones share.
#[derive(Clone)]
pub struct TlsIdentity {
    shared: Arc<Identity>,
}

struct Identity {
    /// Certificates and key; none where the identity came from text.
    files: Option<(PathBuf, PathBuf)>,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<CertifiedKey>,
    /// Of what the files held when they were last looked at.
    seen: AtomicU64,
    generation: AtomicU64,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl TlsIdentity {
    /// From PEM files.
    pub fn load(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        let provider = Arc::new(provider(cpu_has_aes()));
        let found = look(certificates, key)?;
        let current = certified(&provider, (certificates, &found.certificates), (key, &found.key))?;
        let files = Some((certificates.to_owned(), key.to_owned()));
        Ok(Self::new(files, provider, current, found.hash))
    }

    /// From PEM text.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let provider = Arc::new(provider(cpu_has_aes()));
        let text = Path::new("PEM text");
        let current = certified(&provider, (text, certificates), (text, key))?;
        Ok(Self::new(None, provider, current, 0))
    }

    fn new(
        files: Option<(PathBuf, PathBuf)>,
        provider: Arc<CryptoProvider>,
        current: CertifiedKey,
        seen: u64,
    ) -> Self {
        let (current, seen) = (ArcSwap::from_pointee(current), AtomicU64::new(seen));
        Self { shared: Arc::new(Identity { files, provider, current, seen, generation: AtomicU64::new(0) }) }
    }

    /// Reads the files again where they hold something new; true where that is served from now on. On error the old
    /// identity stays, and what was found is not tried again until it changes. Open connections keep theirs. Blocks.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let Some((certificates, key)) = &self.shared.files else { return Ok(false) };
        let found = look(certificates, key)?;
        if self.shared.seen.swap(found.hash, Ordering::Relaxed) == found.hash {
            return Ok(false);
        }
        let pair =
            ((certificates.as_path(), found.certificates.as_slice()), (key.as_path(), found.key.as_slice()));
        let fresh = certified(&self.shared.provider, pair.0, pair.1)?;
        self.shared.current.store(Arc::new(fresh));
        self.shared.generation.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// How often another pair was taken up.
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Relaxed)
    }

    /// TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut config = ServerConfig::builder_with_provider(self.shared.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has suites for both versions of TLS")
            .with_no_client_auth()
            .with_cert_resolver(self.shared.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // With AES instructions here, a client without them may still choose ChaCha20; without, our order rules.
        config.ignore_client_order = !cpu_has_aes();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What a pair of files holds.
struct Found {
    certificates: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    /// Stands for both.
    hash: u64,
}

fn look(certificates: &Path, key: &Path) -> Result<Found, TlsError> {
    let bytes =
        |path: &Path| std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source });
    let (certificates, key) = (bytes(certificates)?, Zeroizing::new(bytes(key)?));
    let mut hasher = DefaultHasher::new();
    (&certificates, key.as_slice()).hash(&mut hasher);
    Ok(Found { certificates, key, hash: hasher.finish() })
}

fn certified(
    provider: &CryptoProvider,
    certificates: (&Path, &[u8]),
    key: (&Path, &[u8]),
) -> Result<CertifiedKey, TlsError> {
    let invalid = |path: &Path, reason: String| TlsError::Invalid { path: path.to_owned(), reason };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates.1)
        .collect::<Result<_, _>>()
        .map_err(|error| invalid(certificates.0, format!("no PEM certificates: {error}")))?;
    if chain.is_empty() {
        return Err(invalid(certificates.0, "holds no certificate".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_slice(key.1)
        .map_err(|error| invalid(key.0, format!("no PEM private key: {error}")))?;
    let signer = provider
        .key_provider
        .load_private_key(private)
        .map_err(|error| invalid(key.0, format!("the private key cannot be used: {error}")))?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        // Some signers cannot tell their public key; then the first handshake shows it.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(error) => Err(invalid(key.0, format!("key and certificate do not match: {error}"))),
    }
}

/// Ring's suites, ChaCha20 first where AES would run in software.
fn provider(aes: bool) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if !aes {
        // A stable sort: false (ChaCha20) comes before true (AES).
        provider.cipher_suites.sort_by_key(|suite| !format!("{:?}", suite.suite()).contains("CHACHA20"));
    }
    provider
}

/// Does this CPU have AES and carry-less multiplication?
fn cpu_has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    // No 32-bit ARM board that Shoal runs on has them.
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tls_tests;
