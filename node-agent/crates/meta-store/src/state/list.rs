//! Listings: one indexed range read; a common prefix is skipped with one seek.

use grid_types::{BucketId, ErrorCode, UploadId};

use super::error::{CommandError, StateError, refuse};
use super::object::StoredVersion;
use super::range::{ShardRange, prefix_successor, routing_key};
use super::read::{ReadView, object_key};
use super::row::{self, Table};
use super::writer::range_of;
use crate::query::{ListEntry, ListPage, ListQuery, UploadEntry, UploadPage, UploadQuery};

/// Rows of one key that are stepped over before a seek is cheaper.
const STEPS_BEFORE_SEEK: u32 = 16;

/// A page of one shard, and where the next shard goes on (a key of the same bucket), if the bucket does.
pub(crate) struct ShardPage<P> {
    pub page: P,
    pub next: Option<Vec<u8>>,
}

/// The part of a bucket's keys that a shard holds: from `low` on, before `end`.
struct Window {
    low: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl Window {
    fn new(range: &ShardRange, bucket: BucketId, low: Vec<u8>) -> Result<Self, CommandError> {
        let mut position = bucket.as_bytes().to_vec();
        position.extend_from_slice(&low);
        if !range.contains(&position) {
            return Err(refuse(ErrorCode::WrongShard, "the listing begins in another shard"));
        }
        let end = range.end.as_deref().and_then(|end| end.strip_prefix(bucket.as_bytes().as_slice()));
        Ok(Self { low, end: end.map(<[u8]>::to_vec) })
    }

    fn holds(&self, key: &[u8]) -> bool {
        self.end.as_deref().is_none_or(|end| key < end)
    }
}

/// The smallest key that may follow `after` under `prefix`.
pub(crate) fn first_key(prefix: &str, after: Option<&str>) -> Vec<u8> {
    match after {
        Some(after) if after.as_bytes() >= prefix.as_bytes() => {
            let mut low = after.as_bytes().to_vec();
            low.push(0);
            low
        }
        _ => prefix.as_bytes().to_vec(),
    }
}

/// The common prefix that a key is rolled up to.
fn rolled_up<'k>(key: &'k str, prefix: &str, delimiter: Option<&str>) -> Option<&'k str> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let rest = key.get(prefix.len()..)?;
    rest.find(delimiter).map(|at| &key[..prefix.len() + at + delimiter.len()])
}

impl ReadView<'_> {
    /// `low`: the first key to look at, which this shard must own.
    pub(crate) fn list(
        &self,
        bucket: BucketId,
        query: &ListQuery,
        low: Vec<u8>,
    ) -> Result<ShardPage<ListPage>, CommandError> {
        let window = Window::new(&range_of(self.connection)?, bucket, low)?;
        let mut page = ListPage::default();
        let mut low = window.low.clone();
        if query.limit == 0 {
            return Ok(ShardPage { page, next: None });
        }
        'seek: loop {
            let mut statement = self.connection.prepare_cached(
                "SELECT key, row FROM object WHERE bucket = ?1 AND key >= ?2 ORDER BY key, age",
            )?;
            let mut rows = statement.query((bucket.as_bytes(), &low))?;
            let mut last: Vec<u8> = Vec::new();
            let mut steps = 0;
            while let Some(row) = rows.next()? {
                let key = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
                if !key.starts_with(query.prefix.as_bytes()) {
                    return Ok(ShardPage { page, next: None });
                }
                if !window.holds(key) {
                    break;
                }
                if key == last {
                    // Older versions; keys are never empty, so the first row always differs from `last`.
                    steps += 1;
                    if steps > STEPS_BEFORE_SEEK {
                        low = last;
                        low.push(0);
                        continue 'seek;
                    }
                    continue;
                }
                steps = 0;
                last = key.to_vec();
                let key = object_key(key)?;
                let rolled = rolled_up(key.as_str(), &query.prefix, query.delimiter.as_deref());
                if let Some(rolled) = rolled
                    && query.after.as_deref().is_some_and(|after| rolled <= after)
                {
                    match prefix_successor(rolled.as_bytes()) {
                        Some(successor) => low = successor,
                        None => return Ok(ShardPage { page, next: None }),
                    }
                    continue 'seek;
                }
                let stored: StoredVersion =
                    row::decode(Table::Object, row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?;
                if stored.row.delete_marker {
                    continue;
                }
                if page.entries.len() >= query.limit {
                    page.truncated = true;
                    return Ok(ShardPage { page, next: None });
                }
                if let Some(rolled) = rolled {
                    page.entries.push(ListEntry::Prefix(rolled.to_owned()));
                    match prefix_successor(rolled.as_bytes()) {
                        Some(successor) => low = successor,
                        None => return Ok(ShardPage { page, next: None }),
                    }
                    continue 'seek;
                }
                page.entries.push(ListEntry::Object { key, version: stored.row });
            }
            break;
        }
        Ok(ShardPage { page, next: continuation(&window, &low, &query.prefix) })
    }

    /// As `list`, for open uploads: by key, then by upload id.
    pub(crate) fn list_uploads(
        &self,
        bucket: BucketId,
        query: &UploadQuery,
        low: Vec<u8>,
    ) -> Result<ShardPage<UploadPage>, CommandError> {
        let window = Window::new(&range_of(self.connection)?, bucket, low)?;
        let mut page = UploadPage::default();
        let mut low = window.low.clone();
        if query.limit == 0 {
            return Ok(ShardPage { page, next: None });
        }
        'seek: loop {
            let mut statement = self.connection.prepare_cached(
                "SELECT key, upload, row FROM upload WHERE bucket = ?1 AND key >= ?2 ORDER BY key, upload",
            )?;
            let mut rows = statement.query((bucket.as_bytes(), &low))?;
            while let Some(row) = rows.next()? {
                let key = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
                if !key.starts_with(query.prefix.as_bytes()) {
                    return Ok(ShardPage { page, next: None });
                }
                if !window.holds(key) {
                    break;
                }
                let key = object_key(key)?;
                let upload: UploadId =
                    row::id16(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?.into();
                if query.key_after.as_deref() == Some(key.as_str())
                    && query.upload_after.is_none_or(|after| upload <= after)
                {
                    continue;
                }
                let rolled = rolled_up(key.as_str(), &query.prefix, query.delimiter.as_deref());
                let known = rolled
                    .is_some_and(|rolled| query.key_after.as_deref().is_some_and(|after| rolled <= after));
                if !known && page.entries.len() >= query.limit {
                    page.truncated = true;
                    return Ok(ShardPage { page, next: None });
                }
                if let Some(rolled) = rolled {
                    if !known {
                        page.entries.push(UploadEntry::Prefix(rolled.to_owned()));
                    }
                    match prefix_successor(rolled.as_bytes()) {
                        Some(successor) => low = successor,
                        None => return Ok(ShardPage { page, next: None }),
                    }
                    continue 'seek;
                }
                let row =
                    row::decode(Table::Upload, row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?)?;
                page.entries.push(UploadEntry::Upload { key, upload: row });
            }
            break;
        }
        Ok(ShardPage { page, next: continuation(&window, &low, &query.prefix) })
    }

    /// A key near the middle of the shard, to split at; `None` where there are too few.
    pub(crate) fn middle(&self) -> Result<Option<Vec<u8>>, StateError> {
        let range = range_of(self.connection)?;
        let count: i64 = self.connection.query_row("SELECT count(*) FROM object", [], |row| row.get(0))?;
        let mut statement = self
            .connection
            .prepare("SELECT bucket, key FROM object ORDER BY bucket, key LIMIT 1 OFFSET ?1")?;
        let mut rows = statement.query([count / 2])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let (bucket, key): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let at = routing_key(row::id16(&bucket)?.into(), object_key(&key)?.as_str());
        Ok((range.contains(&at) && at > range.start && count > 1).then_some(at))
    }
}

/// The listing goes on in the next shard unless the window reached the bucket's end or left the prefix.
fn continuation(window: &Window, low: &[u8], prefix: &str) -> Option<Vec<u8>> {
    let end = window.end.clone()?;
    let next = if low > end.as_slice() { low.to_vec() } else { end };
    let passed = next.as_slice() > prefix.as_bytes() && !next.starts_with(prefix.as_bytes());
    (!passed).then_some(next)
}
