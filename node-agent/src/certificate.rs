//! Certificates that the node makes itself: an authority of its own in a folder beside the data, and a server
//! certificate for every name and address of this host, made anew at each start. And the operator's own, followed as their
//! files change.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_server::TlsIdentity;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

/// The folder beside the data.
pub const TLS_FOLDER: &str = "shoal-tls";
/// The authority's certificate: what clients are told to trust.
pub const AUTHORITY_FILE: &str = "ca.pem";
const AUTHORITY_KEY_FILE: &str = "ca.key";

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The certificate itself.
    #[error("making a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// It cannot be served.
    #[error(transparent)]
    Serve(#[from] http_server::TlsError),
}

/// The authority as the grid keeps it.
#[derive(Serialize, Deserialize)]
pub struct Authority {
    /// PEM of its certificate.
    pub certificate: String,
    /// PEM of its key.
    pub key: String,
}

impl Authority {
    /// The one in `state`, which is made where there is none. Blocks.
    pub fn read_or_make(state: &Path) -> Result<Self, CertificateError> {
        let folder = state.join(TLS_FOLDER);
        let (certificate, key) = (folder.join(AUTHORITY_FILE), folder.join(AUTHORITY_KEY_FILE));
        if !key.exists() || !certificate.exists() {
            make_authority(&folder, &certificate, &key)?;
        }
        Ok(Self { certificate: read(&certificate)?, key: read(&key)? })
    }

    /// Makes it the one in `state`. Blocks.
    pub fn write(&self, state: &Path) -> Result<(), CertificateError> {
        let folder = state.join(TLS_FOLDER);
        let (certificate, key) = (folder.join(AUTHORITY_FILE), folder.join(AUTHORITY_KEY_FILE));
        let same = read(&certificate).is_ok_and(|text| text == self.certificate);
        if same && read(&key).is_ok_and(|text| text == self.key) {
            return Ok(());
        }
        write_authority(&folder, [(&key, &self.key), (&certificate, &self.certificate)])
    }
}

fn read(path: &Path) -> Result<String, CertificateError> {
    fs::read_to_string(path).map_err(|source| CertificateError::File { path: path.to_owned(), source })
}

/// A certificate for these further names (`*.s3.example.net`), signed by the authority in `state`, which is made where
/// there is none. Also the path of the authority's certificate. Blocks.
pub fn generate(state: &Path, names: &[String]) -> Result<(TlsIdentity, PathBuf), CertificateError> {
    let folder = state.join(TLS_FOLDER);
    let (authority_path, key_path) = (folder.join(AUTHORITY_FILE), folder.join(AUTHORITY_KEY_FILE));
    if !key_path.exists() || !authority_path.exists() {
        make_authority(&folder, &authority_path, &key_path)?;
    }
    // The name and the key are all that a signature needs of the authority; both are as when it was made.
    let authority = Issuer::new(authority_params()?, KeyPair::from_pem(&read(&key_path)?)?);
    let key = KeyPair::generate()?;
    let mut subjects = vec!["localhost".to_owned()];
    subjects.extend(host_name());
    subjects.extend(names.iter().cloned());
    subjects.extend(addresses().iter().map(IpAddr::to_string));
    let mut params = CertificateParams::new(subjects)?;
    params.distinguished_name.push(DnType::CommonName, "shoal");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &authority)?;
    let chain = format!("{}{}", certificate.pem(), read(&authority_path)?);
    Ok((TlsIdentity::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes())?, authority_path))
}

/// Serves what certificate files hold as they change: looks `every` so often, and at SIGHUP. A pair that cannot be used is
/// told once, and the one before stays. Runs until it is dropped. Without files to follow, SIGHUP keeps its meaning.
pub async fn follow_files(identities: Vec<TlsIdentity>, every: Duration) {
    if identities.is_empty() {
        return;
    }
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            tracing::error!(%error, "certificate files are not followed");
            return;
        }
    };
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = hangups.recv() => tracing::info!("SIGHUP: looking at the certificate files"),
        }
        let all = identities.clone();
        let looked = tokio::task::spawn_blocking(move || {
            for identity in all {
                match identity.reload() {
                    Ok(true) => tracing::info!("a new certificate is served"),
                    Ok(false) => {}
                    Err(error) => {
                        tracing::error!(%error, "a new certificate cannot be used; the old one stays")
                    }
                }
            }
        });
        if let Err(error) = looked.await {
            tracing::error!(%error, "looking at the certificate files broke off");
        }
    }
}

fn make_authority(folder: &Path, certificate: &Path, key_path: &Path) -> Result<(), CertificateError> {
    let key = KeyPair::generate()?;
    let authority = authority_params()?.self_signed(&key)?;
    write_authority(folder, [(key_path, &key.serialize_pem()), (certificate, &authority.pem())])
}

fn write_authority(folder: &Path, files: [(&Path, &String); 2]) -> Result<(), CertificateError> {
    let file = |path: &Path, source: io::Error| CertificateError::File { path: path.to_owned(), source };
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(file(folder, error)),
        _ => {}
    }
    for (path, text) in files {
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut open| open.write_all(text.as_bytes()).and_then(|()| open.sync_all()))
            .map_err(|source| file(path, source))?;
    }
    Ok(())
}

fn authority_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(DnType::CommonName, "shoal certificate authority");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let plain = !name.is_empty()
        && name != "localhost"
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
    plain.then_some(name)
}

/// Loopback, and the address that a packet to the outside would leave from, for each family.
fn addresses() -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> =
        vec![std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()];
    // Connecting a datagram socket sends nothing; it only asks the routing table.
    for (from, to) in [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")] {
        let own = std::net::UdpSocket::bind(from).and_then(|socket| {
            socket.connect(to)?;
            socket.local_addr()
        });
        if let Ok(own) = own
            && !found.contains(&own.ip())
        {
            found.push(own.ip());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use http_server::TlsIdentity;

    #[tokio::test]
    async fn files_are_looked_at_again_when_they_change_and_at_sighup() {
        let folder = tempfile::tempdir().unwrap();
        let paths: [PathBuf; 2] = [folder.path().join("cert.pem"), folder.path().join("key.pem")];
        let write = || {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            std::fs::write(&paths[0], made.cert.pem()).unwrap();
            std::fs::write(&paths[1], made.signing_key.serialize_pem()).unwrap();
        };
        write();
        let taken_up = async |identity: &TlsIdentity| {
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if identity.generation() > 0 {
                    return true;
                }
            }
            false
        };
        let identity = TlsIdentity::load(&paths[0], &paths[1]).unwrap();
        let follower = tokio::spawn(super::follow_files(vec![identity.clone()], Duration::from_millis(10)));
        write();
        assert!(taken_up(&identity).await, "a changed pair was not taken up");
        follower.abort();

        let identity = TlsIdentity::load(&paths[0], &paths[1]).unwrap();
        let follower = tokio::spawn(super::follow_files(vec![identity.clone()], Duration::from_secs(3_600)));
        write();
        assert!(!taken_up(&identity).await);
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP).unwrap();
        assert!(taken_up(&identity).await, "SIGHUP was not heeded");
        follower.abort();
    }
}
