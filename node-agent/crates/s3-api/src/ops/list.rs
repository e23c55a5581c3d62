//! ListObjects V1 and V2, ListObjectVersions. The documents are pure functions of a page, so that tests compare them.

use grid_types::BucketName;
use object_engine::{ListObjects, ObjectListing, ObjectPart};

use super::headers::{algorithm_name, invalid_argument, type_name};
use super::{
    Answered, NULL_VERSION, iso_time, owner_of, page_parameter, quoted, refused, token, url_encoding,
    write_owner, xml_answer,
};
use crate::request::{Query, S3Request};
use crate::xml::{XmlWriter, url_encode};
use crate::{S3Error, S3Front};

/// What every listing takes, parsed.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub bucket: BucketName,
    pub prefix: String,
    pub delimiter: Option<String>,
    pub max_keys: usize,
    /// `encoding-type=url`.
    pub encode: bool,
}

impl Scope {
    fn parse(request: &S3Request) -> Result<Self, S3Error> {
        let query = &request.query;
        Ok(Self {
            bucket: request.bucket().clone(),
            prefix: query.get("prefix").unwrap_or_default().to_owned(),
            delimiter: non_empty(query, "delimiter"),
            max_keys: page_parameter(query, "max-keys")?,
            encode: url_encoding(query)?,
        })
    }

    fn text(&self, text: &str) -> String {
        if self.encode { url_encode(text) } else { text.to_owned() }
    }

    async fn page(&self, front: &S3Front, after: Option<String>) -> Result<ObjectListing, S3Error> {
        if self.max_keys == 0 {
            owner_of(front, &self.bucket).await?;
            return Ok(ObjectListing::default());
        }
        let query = ListObjects {
            prefix: self.prefix.clone(),
            delimiter: self.delimiter.clone(),
            after,
            limit: self.max_keys,
        };
        front
            .engine
            .list_objects(&self.bucket, query)
            .await
            .map_err(|error| refused(error, &self.bucket, None))
    }

    fn write_encoding(&self, xml: &mut XmlWriter) {
        xml.optional("EncodingType", self.encode.then_some("url"));
    }

    fn write_prefixes(&self, xml: &mut XmlWriter, prefixes: &[String]) {
        for prefix in prefixes {
            xml.open("CommonPrefixes").listed("Prefix", self.text(prefix)).close();
        }
    }
}

fn non_empty(query: &Query, name: &str) -> Option<String> {
    query.get(name).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The greatest key or common prefix of a page.
fn last_entry(listing: &ObjectListing) -> Option<&str> {
    let key = listing.objects.last().map(|object| object.key.as_str());
    let prefix = listing.prefixes.last().map(String::as_str);
    key.max(prefix)
}

fn write_object(xml: &mut XmlWriter, scope: &Scope, object: &ObjectPart, owner: Option<&str>) {
    xml.open("Contents");
    xml.listed("Key", scope.text(object.key.as_str()));
    xml.element("LastModified", iso_time(object.modified));
    xml.element("ETag", quoted(&object.etag));
    if let Some((kind, r#type)) = object.checksum {
        xml.element("ChecksumAlgorithm", algorithm_name(kind));
        xml.element("ChecksumType", type_name(r#type));
    }
    xml.element("Size", object.size);
    if let Some(owner) = owner {
        write_owner(xml, "Owner", owner);
    }
    xml.element("StorageClass", &object.storage_class);
    xml.close();
}

pub(crate) async fn list_objects(front: &S3Front, request: S3Request) -> Answered {
    let scope = Scope::parse(&request)?;
    let marker = request.query.get("marker").unwrap_or_default();
    let after = (!marker.is_empty()).then(|| marker.to_owned());
    let owner = owner_of(front, &scope.bucket).await?;
    let listing = scope.page(front, after).await?;
    Ok(xml_answer(v1_document(&scope, marker, &listing, &owner)))
}

pub(crate) fn v1_document(scope: &Scope, marker: &str, listing: &ObjectListing, owner: &str) -> String {
    let truncated = listing.next.is_some();
    let mut xml = XmlWriter::new("ListBucketResult");
    xml.element("Name", &scope.bucket).element("Prefix", scope.text(&scope.prefix));
    xml.element("Marker", scope.text(marker));
    // As S3: without a delimiter the last key is the next marker, and clients know.
    if truncated
        && scope.delimiter.is_some()
        && let Some(entry) = last_entry(listing)
    {
        xml.listed("NextMarker", scope.text(entry));
    }
    xml.element("MaxKeys", scope.max_keys);
    xml.optional("Delimiter", scope.delimiter.as_deref().map(|text| scope.text(text)));
    scope.write_encoding(&mut xml);
    xml.element("IsTruncated", truncated);
    for object in &listing.objects {
        write_object(&mut xml, scope, object, Some(owner));
    }
    scope.write_prefixes(&mut xml, &listing.prefixes);
    xml.finish()
}

pub(crate) async fn list_objects_v2(front: &S3Front, request: S3Request) -> Answered {
    let query = &request.query;
    if query.get("list-type") != Some("2") {
        let value = query.get("list-type").unwrap_or_default();
        return Err(invalid_argument("The list-type must be 2", "list-type", value));
    }
    let scope = Scope::parse(&request)?;
    let start_after = non_empty(query, "start-after");
    // An empty token, as clients send it who have none yet, is the start.
    let continuation = query.get("continuation-token");
    let after = match continuation {
        Some(text) if !text.is_empty() => Some(token::open(text)?),
        _ => start_after.clone(),
    };
    let owner = match query.get("fetch-owner") {
        Some(wanted) if wanted.eq_ignore_ascii_case("true") => Some(owner_of(front, &scope.bucket).await?),
        _ => None,
    };
    let listing = scope.page(front, after).await?;
    let places = V2Places { start_after: start_after.as_deref(), continuation };
    Ok(xml_answer(v2_document(&scope, &places, &listing, owner.as_deref())))
}

/// Where a V2 listing began.
pub(crate) struct V2Places<'a> {
    pub start_after: Option<&'a str>,
    pub continuation: Option<&'a str>,
}

pub(crate) fn v2_document(
    scope: &Scope,
    places: &V2Places<'_>,
    listing: &ObjectListing,
    owner: Option<&str>,
) -> String {
    let mut xml = XmlWriter::new("ListBucketResult");
    xml.element("Name", &scope.bucket).element("Prefix", scope.text(&scope.prefix));
    xml.optional("StartAfter", places.start_after.map(|text| scope.text(text)));
    xml.optional("ContinuationToken", places.continuation);
    xml.optional("NextContinuationToken", listing.next.as_deref().map(token::seal));
    xml.element("KeyCount", listing.objects.len() + listing.prefixes.len());
    xml.element("MaxKeys", scope.max_keys);
    xml.optional("Delimiter", scope.delimiter.as_deref().map(|text| scope.text(text)));
    scope.write_encoding(&mut xml);
    xml.element("IsTruncated", listing.next.is_some());
    for object in &listing.objects {
        write_object(&mut xml, scope, object, owner);
    }
    scope.write_prefixes(&mut xml, &listing.prefixes);
    xml.finish()
}

/// A bucket without versioning lists each key's one version, `null`.
pub(crate) async fn list_object_versions(front: &S3Front, request: S3Request) -> Answered {
    let scope = Scope::parse(&request)?;
    let key_marker = request.query.get("key-marker").unwrap_or_default();
    let version_marker = request.query.get("version-id-marker");
    if key_marker.is_empty() && version_marker.is_some_and(|marker| !marker.is_empty()) {
        let message = "A version-id marker cannot be specified without a key marker.";
        return Err(invalid_argument(message, "version-id-marker", version_marker.unwrap_or_default()));
    }
    let after = (!key_marker.is_empty()).then(|| key_marker.to_owned());
    let owner = owner_of(front, &scope.bucket).await?;
    let listing = scope.page(front, after).await?;
    Ok(xml_answer(versions_document(
        &scope,
        key_marker,
        version_marker.unwrap_or_default(),
        &listing,
        &owner,
    )))
}

pub(crate) fn versions_document(
    scope: &Scope,
    key_marker: &str,
    version_marker: &str,
    listing: &ObjectListing,
    owner: &str,
) -> String {
    let truncated = listing.next.is_some();
    let mut xml = XmlWriter::new("ListVersionsResult");
    xml.element("Name", &scope.bucket).element("Prefix", scope.text(&scope.prefix));
    xml.element("KeyMarker", scope.text(key_marker)).element("VersionIdMarker", version_marker);
    if truncated && let Some(last) = last_entry(listing) {
        xml.listed("NextKeyMarker", scope.text(last));
        let is_key = listing.objects.last().is_some_and(|object| object.key.as_str() == last);
        xml.optional("NextVersionIdMarker", is_key.then_some(NULL_VERSION));
    }
    xml.element("MaxKeys", scope.max_keys);
    xml.optional("Delimiter", scope.delimiter.as_deref().map(|text| scope.text(text)));
    scope.write_encoding(&mut xml);
    xml.element("IsTruncated", truncated);
    for object in &listing.objects {
        xml.open("Version").listed("Key", scope.text(object.key.as_str())).element("VersionId", NULL_VERSION);
        xml.element("IsLatest", true).element("LastModified", iso_time(object.modified));
        xml.element("ETag", quoted(&object.etag));
        if let Some((kind, r#type)) = object.checksum {
            xml.element("ChecksumAlgorithm", algorithm_name(kind));
            xml.element("ChecksumType", type_name(r#type));
        }
        xml.element("Size", object.size);
        write_owner(&mut xml, "Owner", owner);
        xml.element("StorageClass", &object.storage_class).close();
    }
    scope.write_prefixes(&mut xml, &listing.prefixes);
    xml.finish()
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod list_tests;
