//! Where the command line puts a backup and reads it from: a file, or an object of any S3.
//!
//! Invariants: a backup gets its name when it is whole, not before, and replaces nothing; of an upload one part is held.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use grid_types::Timestamp;
use http::{Method, StatusCode, header};
use sys::{Clock, RealClock};

use super::format::Head;
use crate::client::{AnswerStream, ClientError, S3Client, Target, amz_date, segment};

/// Bytes of one part of an upload: S3 takes 10,000 of them, so 156 GiB of metadata.
const PART_BYTES: usize = 16 << 20;
/// Bytes read from a file at once.
const READ_BYTES: usize = 256 << 10;
/// Where systems keep the authorities that they trust.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Why a backup cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The place cannot be used.
    #[error("{0}")]
    Place(String),
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The way to S3.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// S3 refused.
    #[error("{place}: S3 says {message}")]
    Refused {
        /// The object.
        place: String,
        /// Its words.
        message: String,
    },
}

/// How to reach S3.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct S3Options {
    /// With s3://: the endpoint, http://HOST:PORT or https://HOST[:PORT]
    #[arg(long, value_name = "URL")]
    s3_endpoint: Option<String>,
    /// With s3://: the region [default: $AWS_DEFAULT_REGION, us-east-1]
    #[arg(long, value_name = "REGION")]
    s3_region: Option<String>,
    /// With s3:// over HTTPS: the authority to trust, PEM [default: those of this system]
    #[arg(long, value_name = "FILE")]
    s3_ca: Option<PathBuf>,
}

impl S3Options {
    /// Keys come from the environment: an argument is seen by every user of the host.
    fn client(&self) -> Result<S3Client, StoreError> {
        let endpoint = self.s3_endpoint.as_deref().ok_or_else(|| {
            StoreError::Place("name the S3 with --s3-endpoint http://HOST:PORT or https://HOST".to_owned())
        })?;
        let variable = |name: &str| {
            std::env::var(name).map_err(|_| {
                StoreError::Place(format!(
                    "${name} is not set: the keys of S3 come from $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY"
                ))
            })
        };
        let known = || AUTHORITIES.iter().map(PathBuf::from).find(|path| path.exists());
        let authority = self.s3_ca.clone().or_else(known);
        if endpoint.starts_with("https://") && authority.is_none() {
            return Err(StoreError::Place(
                "this system has no file of authorities: name one with --s3-ca".to_owned(),
            ));
        }
        Ok(S3Client {
            target: Target::from_url(endpoint, authority.as_deref())?,
            access_key: variable("AWS_ACCESS_KEY_ID")?,
            secret_key: variable("AWS_SECRET_ACCESS_KEY")?,
            region: self
                .s3_region
                .clone()
                .or_else(|| std::env::var("AWS_DEFAULT_REGION").ok())
                .unwrap_or_else(|| "us-east-1".to_owned()),
        })
    }
}

/// Where a backup is, or goes.
#[derive(Clone)]
pub enum BackupPlace {
    /// A file.
    File(PathBuf),
    /// `bucket/key` of S3.
    S3(Box<S3Client>, String),
}

impl BackupPlace {
    /// From a path or `s3://bucket/key`.
    pub fn parse(text: &str, options: &S3Options) -> Result<Self, StoreError> {
        let Some(object) = text.strip_prefix("s3://") else { return Ok(Self::File(PathBuf::from(text))) };
        match object.split_once('/') {
            _ if object.is_empty() || object.starts_with('/') => {
                Err(StoreError::Place(format!("`{text}` names no bucket: write s3://BUCKET/PREFIX")))
            }
            _ => Ok(Self::S3(Box::new(options.client()?), object.to_owned())),
        }
    }

    /// A place for a backup with this head: S3 gets a name beneath the prefix, a file has one.
    pub fn for_head(self, head: &Head) -> Self {
        match self {
            Self::S3(client, prefix) => {
                let date = amz_date(head.stamp);
                let salt = HEXLOWER.encode(&head.salt[..4]);
                let prefix = prefix.trim_end_matches('/');
                Self::S3(client, format!("{prefix}/shoal-{date}-{salt}.backup"))
            }
            file @ Self::File(_) => file,
        }
    }

    /// For people, and for `shoal restore --from`.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::S3(_, object) => format!("s3://{object}"),
        }
    }

    /// Begins to write.
    pub async fn create(&self) -> Result<BackupSink<'_>, StoreError> {
        match self {
            Self::File(path) => BackupSink::file(path),
            Self::S3(client, object) => {
                let path = object_path(object);
                Ok(BackupSink::S3(Upload {
                    client,
                    path,
                    place: self.name(),
                    part: BytesMut::new(),
                    id: None,
                    parts: Vec::new(),
                }))
            }
        }
    }

    /// Begins to read.
    pub async fn open(&self) -> Result<BackupReader, StoreError> {
        match self {
            Self::File(path) => {
                let failed = |source| StoreError::File { path: path.clone(), source };
                Ok(BackupReader::File(path.clone(), File::open(path).map_err(failed)?))
            }
            Self::S3(client, object) => {
                let answer = client.read(&object_path(object), now()).await?;
                let (status, body) = (answer.status(), answer.into_body());
                if status == StatusCode::OK {
                    return Ok(BackupReader::S3(body));
                }
                let message = message_of(status, &body.collect().await?);
                Err(StoreError::Refused { place: self.name(), message })
            }
        }
    }
}

fn now() -> Timestamp {
    RealClock.now()
}

fn object_path(object: &str) -> String {
    let segments: Vec<String> = object.split('/').map(segment).collect();
    format!("/{}", segments.join("/"))
}

/// What S3 says, in its own words.
fn message_of(status: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match (element(&text, "Code"), element(&text, "Message")) {
        (Some(code), Some(message)) => format!("{message} ({code})"),
        (Some(code), None) => code.to_owned(),
        _ => status.to_string(),
    }
}

/// The text of the first element of this name: enough for the answers that are read here.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside)
}

/// A backup that is being written.
pub enum BackupSink<'a> {
    /// Under a temporary name; removed with this unless it was finished.
    File(NewFile),
    /// Parts of an upload.
    S3(Upload<'a>),
}

/// A file that has not got its name yet.
pub struct NewFile {
    file: Option<File>,
    temporary: PathBuf,
    path: PathBuf,
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

impl<'a> BackupSink<'a> {
    fn file(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::File { path: path.to_owned(), source };
        if path.symlink_metadata().is_ok() {
            return Err(failed(std::io::Error::new(
                std::io::ErrorKind::AlreadyExists,
                "is there already; a backup replaces nothing: name another file",
            )));
        }
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let temporary = PathBuf::from(name);
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(failed)?;
        Ok(Self::File(NewFile { file: Some(file), temporary, path: path.to_owned() }))
    }

    /// Takes the next bytes.
    pub async fn write(&mut self, bytes: &Bytes) -> Result<(), StoreError> {
        match self {
            Self::File(new) => {
                let Some(file) = &mut new.file else { return Ok(()) };
                file.write_all(bytes)
                    .map_err(|source| StoreError::File { path: new.temporary.clone(), source })
            }
            Self::S3(upload) => upload.write(bytes).await,
        }
    }

    /// All bytes are there: gives it its name, durably.
    pub async fn finish(self) -> Result<(), StoreError> {
        match self {
            Self::File(mut new) => new.finish(),
            Self::S3(upload) => upload.finish().await,
        }
    }

    /// Leaves nothing behind.
    pub async fn abandon(self) {
        if let Self::S3(upload) = self {
            upload.abandon().await;
        }
    }
}

impl NewFile {
    fn finish(&mut self) -> Result<(), StoreError> {
        let failed = |source| StoreError::File { path: self.path.clone(), source };
        if let Some(file) = &self.file {
            file.sync_all().map_err(failed)?;
        }
        match std::fs::hard_link(&self.temporary, &self.path) {
            Ok(()) => std::fs::remove_file(&self.temporary).map_err(failed)?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Err(failed(error)),
            // A file system without links, a stick with FAT: another look, then the rename.
            Err(_) if self.path.symlink_metadata().is_ok() => {
                return Err(failed(std::io::ErrorKind::AlreadyExists.into()));
            }
            Err(_) => std::fs::rename(&self.temporary, &self.path).map_err(failed)?,
        }
        self.file = None;
        let parent = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

/// An upload to S3: one PUT where everything fits into one part, else a multipart upload.
pub struct Upload<'a> {
    client: &'a S3Client,
    path: String,
    place: String,
    part: BytesMut,
    id: Option<String>,
    parts: Vec<String>,
}

impl Upload<'_> {
    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            let take = bytes.len().min(PART_BYTES - self.part.len());
            self.part.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if self.part.len() == PART_BYTES {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    async fn call(
        &self,
        method: Method,
        query: &[(&str, &str)],
        body: Bytes,
    ) -> Result<http::Response<Bytes>, StoreError> {
        let answer = self.client.call(method, &self.path, query, body, now()).await?;
        // Completing answers 200 before it knows, and tells of failure in the body.
        let failed = element(&String::from_utf8_lossy(answer.body()), "Error").is_some();
        if answer.status().is_success() && !failed {
            return Ok(answer);
        }
        let message = message_of(answer.status(), answer.body());
        Err(StoreError::Refused { place: self.place.clone(), message })
    }

    fn strange(&self, what: &str) -> StoreError {
        StoreError::Refused { place: self.place.clone(), message: format!("an answer without {what}") }
    }

    async fn send_part(&mut self) -> Result<(), StoreError> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                let answer = self.call(Method::POST, &[("uploads", "")], Bytes::new()).await?;
                let text = String::from_utf8_lossy(answer.body()).into_owned();
                let id = element(&text, "UploadId").ok_or_else(|| self.strange("an upload id"))?.to_owned();
                self.id = Some(id.clone());
                id
            }
        };
        let number = (self.parts.len() + 1).to_string();
        let body = self.part.split().freeze();
        let query = [("partNumber", number.as_str()), ("uploadId", id.as_str())];
        let answer = self.call(Method::PUT, &query, body).await?;
        let etag = answer.headers().get(header::ETAG).and_then(|value| value.to_str().ok());
        let etag = etag.ok_or_else(|| self.strange("an ETag"))?.to_owned();
        self.parts.push(etag);
        Ok(())
    }

    async fn finish(mut self) -> Result<(), StoreError> {
        let done = self.complete().await;
        if done.is_err() {
            self.abandon().await;
        }
        done
    }

    async fn complete(&mut self) -> Result<(), StoreError> {
        if self.id.is_none() {
            let body = self.part.split().freeze();
            return self.call(Method::PUT, &[], body).await.map(|_| ());
        }
        if !self.part.is_empty() {
            self.send_part().await?;
        }
        let mut body = "<CompleteMultipartUpload>".to_owned();
        for (number, etag) in (1..).zip(&self.parts) {
            body.push_str(&format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>",
                etag.replace('"', "&quot;")
            ));
        }
        body.push_str("</CompleteMultipartUpload>");
        let id = self.id.clone().unwrap_or_default();
        self.call(Method::POST, &[("uploadId", &id)], body.into()).await.map(|_| ())
    }

    async fn abandon(self) {
        if let Some(id) = &self.id
            && let Err(error) = self.call(Method::DELETE, &[("uploadId", id)], Bytes::new()).await
        {
            eprintln!("the unfinished upload stays behind: {error}");
        }
    }
}

/// A backup that is being read.
pub enum BackupReader {
    /// A file.
    File(PathBuf, File),
    /// An object.
    S3(AnswerStream),
}

impl BackupReader {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::File(path, file) => {
                let mut bytes = vec![0; READ_BYTES];
                let read = file
                    .read(&mut bytes)
                    .map_err(|source| StoreError::File { path: path.clone(), source })?;
                bytes.truncate(read);
                Ok((read > 0).then(|| bytes.into()))
            }
            Self::S3(answer) => Ok(answer.next().await?),
        }
    }
}
