//! Images from the web: into a temporary file, with the checksum that was published beside them.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, LOCATION, USER_AGENT};
use http::{Request, Response, Uri};
use http_body_util::Full;
use sys::{Random, RealRandom};

use super::super::Failure;
use crate::client::{AnswerStream, Target};

/// An image is a card of a few hundred MiB, and packed.
const IMAGE_BYTES_MAX: u64 = 4 << 30;
/// A page of releases leads through one or two.
const REDIRECTS_MAX: usize = 5;
/// Where systems keep the authorities that they trust; `SSL_CERT_FILE` names another.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Is this an address, and no file?
pub fn is_address(image: &str) -> bool {
    image.starts_with("http://") || image.starts_with("https://")
}

/// A downloaded image; the file goes with it.
pub struct Downloaded {
    pub path: PathBuf,
    /// What its SHA-256 must be.
    pub sha256: String,
}

impl Drop for Downloaded {
    fn drop(&mut self) {
        // In a folder that is emptied anyway.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Downloads an image; `sha256`: what its SHA-256 must be, else what the file `.sha256` beside it says. Nothing is compared yet.
pub async fn download(
    address: &str,
    sha256: Option<&str>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Downloaded, Failure> {
    let sha256 = match sha256 {
        Some(given) => given.to_owned(),
        None => published(address).await?,
    };
    let mut answer = get(address).await?;
    let length = answer.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let (mut file, image) = temporary(sha256)?;
    let told = |error: std::io::Error| -> Failure {
        format!("{}: {error}; TMPDIR names a folder with more room", image.path.display()).into()
    };
    let mut bytes = 0;
    while let Some(piece) = answer.body_mut().next().await? {
        bytes += piece.len() as u64;
        if bytes > IMAGE_BYTES_MAX {
            return Err(format!("{address} is larger than any image").into());
        }
        file.write_all(&piece).map_err(told)?;
        progress(bytes, length.unwrap_or(bytes));
    }
    if length.is_some_and(|length| length != bytes) {
        return Err(format!("{address} broke off after {bytes} bytes: try again").into());
    }
    Ok(image)
}

fn temporary(sha256: String) -> Result<(File, Downloaded), Failure> {
    let mut nonce = [0; 16];
    RealRandom.fill(&mut nonce);
    let path = std::env::temp_dir().join(format!("shoal-flash-{}", data_encoding::HEXLOWER.encode(&nonce)));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let file = file.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((file, Downloaded { path, sha256 }))
}

/// The digest in the file of checksums that `shoal-image build` writes beside an image.
async fn published(address: &str) -> Result<String, Failure> {
    let none =
        |why: &str| -> Failure { format!("there is no checksum of {address}: {why}; give --sha256").into() };
    if !address.starts_with("https://") {
        return Err(none("one that comes without TLS proves nothing"));
    }
    let (folder, name) = address.rsplit_once('/').unwrap_or_default();
    let board = name.trim_end_matches(".zst").trim_end_matches(".img");
    let beside = format!("{folder}/{board}.sha256");
    let text = get(&beside).await.map_err(|error| none(&error.to_string()))?.into_body().collect().await?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = flash::image::published_in(&text, name);
    line.ok_or_else(|| none(&format!("{beside} does not name {name}")))
}

/// Follows redirects; an answer other than 200 is an error.
async fn get(address: &str) -> Result<Response<AnswerStream>, Failure> {
    let mut address = address.to_owned();
    for _ in 0..=REDIRECTS_MAX {
        let uri: Uri = address.parse().map_err(|error| format!("`{address}` is no address: {error}"))?;
        let target = Target::from_url(&address, Some(&authorities()))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let request = Request::get(path)
            .header(HOST, host)
            .header(USER_AGENT, concat!("shoal/", env!("CARGO_PKG_VERSION")))
            .body(Full::<Bytes>::default())?;
        let answer = target.open(request).await?;
        let status = answer.status();
        if status == http::StatusCode::OK {
            return Ok(answer);
        }
        let to = answer.headers().get(LOCATION).filter(|_| status.is_redirection());
        let Some(to) = to.and_then(|to| to.to_str().ok()) else {
            return Err(format!("{address}: the server answered {status}").into());
        };
        let next = redirected(&uri, to);
        if address.starts_with("https://") && !next.starts_with("https://") {
            return Err(format!("{address} leads to {next}, without TLS").into());
        }
        address = next;
    }
    Err(format!("{address}: more than {REDIRECTS_MAX} redirects").into())
}

/// Where `to` leads, which may be a whole address, or a path on the same host.
fn redirected(from: &Uri, to: &str) -> String {
    if is_address(to) {
        return to.to_owned();
    }
    let (scheme, host) =
        (from.scheme_str().unwrap_or("https"), from.authority().map_or("", |one| one.as_str()));
    if to.starts_with('/') {
        return format!("{scheme}://{host}{to}");
    }
    let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{scheme}://{host}{folder}/{to}")
}

fn authorities() -> PathBuf {
    if let Some(named) = std::env::var_os("SSL_CERT_FILE") {
        return named.into();
    }
    let there = AUTHORITIES.iter().map(Path::new).find(|path| path.exists());
    there.unwrap_or(Path::new(AUTHORITIES[0])).to_owned()
}

#[cfg(test)]
mod tests {
    use super::redirected;

    #[test]
    fn redirects_are_addresses_paths_and_names() {
        let from = "https://one.example/releases/latest/card.img?x=1".parse().expect("an address");
        for (to, wanted) in [
            ("https://two.example/card.img", "https://two.example/card.img"),
            ("/v2/card.img", "https://one.example/v2/card.img"),
            ("card-2.img", "https://one.example/releases/latest/card-2.img"),
        ] {
            assert_eq!(redirected(&from, to), wanted);
        }
    }
}
