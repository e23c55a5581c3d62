//! Completing an upload: the parts become an object, in one command.

use grid_types::{BucketName, ErrorCode, ObjectKey, PART_COUNT_MAX, UploadId};
use meta_store::root::Bucket;
use meta_store::rows::{PartRow, UploadRow, VersionRow};
use meta_store::{Command, Outcome, WriteCondition};

use crate::digest::{ChecksumHasher, Md5Hasher, checksum_tag, combine_crc};
use crate::engine::{STANDARD, unexpected};
use crate::record::{self, Purpose, StoredAttributes};
use crate::types::{CompletePart, Written};
use crate::upload::part_checksum;
use crate::{Checksum, ChecksumKind, ChecksumType, EngineError, ObjectEngine};

/// Rows of parts read at once.
const PARTS_PAGE: usize = 1_000;

impl ObjectEngine {
    /// Turns an upload into an object. `checksum` is what the client says of the whole: must match. A repeat after
    /// success answers as the first one did.
    pub async fn complete_upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
        parts: Vec<CompletePart>,
        checksum: Option<Checksum>,
        condition: WriteCondition,
    ) -> Result<Written, EngineError> {
        let bucket = self.bucket(bucket).await?;
        check_order(&parts)?;
        let row = self.meta().upload(bucket.id, key, upload).await?;
        let version = match &row {
            Some(row) => self.completed_version(&bucket, key, row, &parts, checksum.as_ref()).await?,
            // Completed or never there: the state machine knows which.
            None => self.placeholder(),
        };
        let named: Vec<(u16, String)> = parts.into_iter().map(|part| (part.number, part.etag)).collect();
        let outcome = self
            .commit(&bucket, |bucket_generation| Command::CompleteUpload {
                bucket: bucket.id,
                key: key.clone(),
                bucket_generation,
                upload,
                parts: named.clone(),
                version: version.clone(),
                condition: condition.clone(),
                part_bytes_min: self.config().part_bytes_min,
            })
            .await?;
        match outcome {
            Outcome::Written { version } => {
                let checksum = self.open_attributes(bucket.id, &version).await?.checksum;
                Ok(Written {
                    etag: version.etag,
                    version: version.version,
                    modified: version.stamp,
                    size: version.size,
                    checksum,
                })
            }
            outcome => Err(unexpected(&outcome)),
        }
    }

    async fn completed_version(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        row: &UploadRow,
        parts: &[CompletePart],
        said: Option<&Checksum>,
    ) -> Result<VersionRow, EngineError> {
        let upload_key = self.keys().get(bucket.id, row.key_generation).await?;
        let stored: record::StoredUpload =
            record::open(&upload_key, (Purpose::Upload, bucket.id, row.version), &row.attributes)?;
        // Without a choice at the start, what the client says now can still be proved where its parts have that CRC.
        let choice = stored.checksum.or(said.map(|said| (said.kind, said.r#type)));
        let mut whole = Whole::new(choice);
        let mut pages = PartPages::new(self, bucket, key, row);
        for named in parts {
            let part = pages.find(named.number).await?.filter(|part| part.etag == named.etag);
            let part = part.ok_or_else(|| invalid_part(named.number))?;
            let checksum = part_checksum(&part)?;
            if named
                .checksum
                .as_ref()
                .is_some_and(|named| Some(&named.value) != checksum.as_ref().map(|c| &c.value))
            {
                return Err(invalid_part(named.number));
            }
            whole.add(&part, checksum.as_ref())?;
        }
        if whole.size > self.config().object_bytes_max {
            let detail = format!("the object would exceed {} bytes", self.config().object_bytes_max);
            return Err(EngineError::refused(ErrorCode::TooLarge, detail));
        }
        let (size, etag, computed) = whole.finish();
        check_said(said, computed.as_ref())?;
        let checksum = computed.filter(|_| stored.checksum.is_some() || said.is_some());
        let bucket_key = self.keys().current(bucket).await?;
        let checksum_tag = checksum_tag(checksum.as_ref());
        let attributes = StoredAttributes { attributes: stored.attributes, checksum };
        let place = (Purpose::Attributes, bucket.id, row.version);
        Ok(VersionRow {
            version: row.version,
            stamp: self.clock().now(),
            size,
            etag,
            storage_class: row.storage_class.clone(),
            key_generation: bucket_key.generation(),
            attributes: record::seal(&bucket_key, place, &attributes, self.random()),
            checksum_tag,
            part_count: u16::try_from(parts.len()).unwrap_or(PART_COUNT_MAX),
            segment_count: 0,
            delete_marker: false,
        })
    }

    /// A row that can only be answered with the version that the upload has become, never stored.
    fn placeholder(&self) -> VersionRow {
        VersionRow {
            version: self.new_version(),
            stamp: self.clock().now(),
            size: 0,
            etag: String::new(),
            storage_class: STANDARD.to_owned(),
            key_generation: 0,
            attributes: Vec::new(),
            checksum_tag: 0,
            part_count: 0,
            segment_count: 0,
            delete_marker: false,
        }
    }
}

fn check_order(parts: &[CompletePart]) -> Result<(), EngineError> {
    if parts.is_empty() || parts.len() > usize::from(PART_COUNT_MAX) {
        return Err(EngineError::invalid_argument(format!("1 to {PART_COUNT_MAX} parts must be named")));
    }
    if parts.windows(2).any(|pair| pair[0].number >= pair[1].number) {
        let detail = "The list of parts was not in ascending order. Parts must be ordered by part number.";
        return Err(EngineError::refused(ErrorCode::InvalidPartOrder, detail));
    }
    Ok(())
}

fn invalid_part(number: u16) -> EngineError {
    let detail = format!(
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the \
         specified entity tag may not match the part's entity tag. (part {number})"
    );
    EngineError::refused(ErrorCode::InvalidPart, detail)
}

fn check_said(said: Option<&Checksum>, computed: Option<&Checksum>) -> Result<(), EngineError> {
    let Some(said) = said else { return Ok(()) };
    let name = said.kind.name();
    match computed {
        Some(computed) if computed.kind == said.kind => {
            // A composite one may be sent with or without the number of its parts.
            let parts_agree = said.parts == 0 || said.parts == computed.parts;
            if computed.value == said.value && parts_agree {
                return Ok(());
            }
            let detail = format!("The {name} you specified did not match the calculated checksum.");
            Err(EngineError::refused(ErrorCode::BadDigest, detail))
        }
        Some(computed) => {
            let detail = format!("The upload was created with {}, not {name}", computed.kind.name());
            Err(EngineError::invalid_argument(detail))
        }
        None => {
            let detail =
                format!("The upload's parts were stored without the {name} that is said of the whole");
            Err(EngineError::invalid_argument(detail))
        }
    }
}

/// Walks the parts of an upload in order, a page at a time.
struct PartPages<'a> {
    engine: &'a ObjectEngine,
    bucket: &'a Bucket,
    key: &'a ObjectKey,
    upload: &'a UploadRow,
    page: std::vec::IntoIter<PartRow>,
}

impl<'a> PartPages<'a> {
    fn new(engine: &'a ObjectEngine, bucket: &'a Bucket, key: &'a ObjectKey, upload: &'a UploadRow) -> Self {
        Self { engine, bucket, key, upload, page: Vec::new().into_iter() }
    }

    /// The part with this number; numbers must be asked in ascending order.
    async fn find(&mut self, number: u16) -> Result<Option<PartRow>, EngineError> {
        if let Some(part) = self.page.by_ref().find(|part| part.number >= number) {
            return Ok((part.number == number).then_some(part));
        }
        let (meta, version) = (self.engine.meta(), self.upload.version);
        let after = number.saturating_sub(1);
        self.page = meta.parts(self.bucket.id, self.key, version, after, PARTS_PAGE).await?.into_iter();
        Ok(self.page.next().filter(|part| part.number == number))
    }
}

/// What the parts amount to.
struct Whole {
    size: u64,
    parts: u16,
    md5s: Md5Hasher,
    checksum: WholeChecksum,
}

enum WholeChecksum {
    None,
    Full { kind: ChecksumKind, value: Option<Vec<u8>> },
    Composite { kind: ChecksumKind, hasher: ChecksumHasher },
}

impl Whole {
    fn new(choice: Option<(ChecksumKind, ChecksumType)>) -> Self {
        let checksum = match choice {
            None => WholeChecksum::None,
            Some((kind, ChecksumType::FullObject)) => WholeChecksum::Full { kind, value: None },
            Some((kind, ChecksumType::Composite)) => {
                WholeChecksum::Composite { kind, hasher: ChecksumHasher::new(kind) }
            }
        };
        Self { size: 0, parts: 0, md5s: Md5Hasher::default(), checksum }
    }

    fn add(&mut self, part: &PartRow, checksum: Option<&Checksum>) -> Result<(), EngineError> {
        let md5 = data_encoding::HEXLOWER.decode(part.etag.as_bytes());
        self.md5s.update(&md5.map_err(|_| EngineError::damaged("the ETag of a part"))?);
        self.size = self.size.saturating_add(part.size);
        self.parts += 1;
        let kind = match &self.checksum {
            WholeChecksum::None => return Ok(()),
            WholeChecksum::Full { kind, .. } | WholeChecksum::Composite { kind, .. } => *kind,
        };
        let Some(checksum) = checksum.filter(|checksum| checksum.kind == kind) else {
            // Stored before anybody asked for this algorithm: then there is none of the whole.
            self.checksum = WholeChecksum::None;
            return Ok(());
        };
        match &mut self.checksum {
            WholeChecksum::Full { value, .. } => {
                *value = match value.take() {
                    None => Some(checksum.value.clone()),
                    Some(before) => Some(
                        combine_crc(kind, &before, &checksum.value, part.size)
                            .ok_or_else(|| EngineError::damaged("the checksum of a part"))?,
                    ),
                };
            }
            WholeChecksum::Composite { hasher, .. } => hasher.update(&checksum.value),
            WholeChecksum::None => {}
        }
        Ok(())
    }

    fn finish(self) -> (u64, String, Option<Checksum>) {
        let checksum = match self.checksum {
            WholeChecksum::None => None,
            WholeChecksum::Full { kind, value } => value.map(|value| Checksum::full(kind, value)),
            WholeChecksum::Composite { kind, hasher } => {
                Some(Checksum::composite(kind, hasher.finish(), self.parts))
            }
        };
        let etag = format!("{}-{}", data_encoding::HEXLOWER.encode(&self.md5s.finish()), self.parts);
        (self.size, etag, checksum)
    }
}

#[cfg(test)]
mod tests {
    use grid_types::Timestamp;

    use super::*;

    fn hash(kind: ChecksumKind, bytes: &[u8]) -> Checksum {
        let mut hasher = ChecksumHasher::new(kind);
        hasher.update(bytes);
        hasher.finish_full()
    }

    fn part(number: u16, bytes: &[u8]) -> PartRow {
        let mut md5 = Md5Hasher::default();
        md5.update(bytes);
        PartRow {
            number,
            size: bytes.len() as u64,
            offset: 0,
            etag: data_encoding::HEXLOWER.encode(&md5.finish()),
            stamp: Timestamp::default(),
            checksum: Vec::new(),
            segment_count: 1,
        }
    }

    fn whole(
        choice: (ChecksumKind, ChecksumType),
        part_kind: ChecksumKind,
    ) -> (u64, String, Option<Checksum>) {
        let mut whole = Whole::new(Some(choice));
        for (number, bytes) in [(1, b"hello".as_slice()), (2, b"world")] {
            whole.add(&part(number, bytes), Some(&hash(part_kind, bytes))).unwrap();
        }
        whole.finish()
    }

    #[test]
    fn two_parts() {
        for kind in [ChecksumKind::Crc32, ChecksumKind::Crc32c, ChecksumKind::Crc64Nvme] {
            let (size, etag, checksum) = whole((kind, ChecksumType::FullObject), kind);
            // The answer from Python's hashlib.
            assert_eq!((size, etag.as_str()), (10, "065947336a2f2a95ba8899f3675c3be6-2"));
            assert_eq!(checksum, Some(hash(kind, b"helloworld")));
        }
        let (_, _, checksum) = whole((ChecksumKind::Sha1, ChecksumType::Composite), ChecksumKind::Sha1);
        assert_eq!(checksum.unwrap().text(), "znoNxIh8EVQQ1eN2GwlMi+XdFy4=-2", "from Python's hashlib");
    }

    #[test]
    fn parts_of_another_algorithm_give_no_checksum() {
        let (_, etag, checksum) =
            whole((ChecksumKind::Crc32, ChecksumType::FullObject), ChecksumKind::Crc32c);
        assert_eq!((etag.as_str(), checksum), ("065947336a2f2a95ba8899f3675c3be6-2", None));
    }

    #[test]
    fn what_the_client_says_of_the_whole() {
        let computed = hash(ChecksumKind::Crc32, b"x");
        let composite = Checksum::composite(ChecksumKind::Sha1, vec![7; 20], 3);
        let code = |said: &Checksum, computed| check_said(Some(said), computed).map_err(|error| error.code());
        assert_eq!(code(&computed, Some(&computed)), Ok(()));
        assert_eq!(code(&Checksum::full(ChecksumKind::Sha1, vec![7; 20]), Some(&composite)), Ok(()));
        let other_count = Checksum::composite(ChecksumKind::Sha1, vec![7; 20], 2);
        assert_eq!(code(&other_count, Some(&composite)), Err(ErrorCode::BadDigest));
        assert_eq!(code(&hash(ChecksumKind::Crc32, b"y"), Some(&computed)), Err(ErrorCode::BadDigest));
        assert_eq!(code(&composite, Some(&computed)), Err(ErrorCode::InvalidArgument));
        assert_eq!(code(&computed, None), Err(ErrorCode::InvalidArgument));
        assert!(check_said(None, None).is_ok());
    }
}
