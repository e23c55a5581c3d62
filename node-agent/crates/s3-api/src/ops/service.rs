//! Operations of the service: ListBuckets.

use grid_types::BucketName;

use super::{Answered, headers, iso_time, number_parameter, token, write_owner, xml_answer};
use crate::request::S3Request;
use crate::xml::XmlWriter;
use crate::{S3Error, S3Front};

/// Buckets of one page at most (S3's limit).
const BUCKETS_MAX: u64 = 10_000;
/// Buckets asked of the engine at a time.
const STEP: usize = 1_000;

pub(crate) async fn list_buckets(front: &S3Front, request: S3Request) -> Answered {
    let query = &request.query;
    let prefix = query.get("prefix").unwrap_or_default();
    let limit = number_parameter(query, "max-buckets", BUCKETS_MAX)?;
    if limit == Some(0) {
        let message = "Argument max-buckets must be an integer between 1 and 10000";
        return Err(headers::invalid_argument(message, "max-buckets", "0"));
    }
    let limit = usize::try_from(limit.unwrap_or(BUCKETS_MAX)).unwrap_or(STEP);
    let mut after = query.get("continuation-token").map(token_name).transpose()?;
    let region = query.get("bucket-region");
    let mut found = Vec::new();
    // One more than asked for tells whether there are more.
    while found.len() <= limit && region.is_none_or(|region| region == front.config.region) {
        let step = front.engine.list_buckets(after.as_ref(), STEP).await.map_err(S3Error::from)?;
        let Some(last) = step.last() else { break };
        let beyond = last.name.as_str() > prefix && !last.name.as_str().starts_with(prefix);
        let ended = step.len() < STEP || beyond;
        after = Some(last.name.clone());
        found.extend(step.into_iter().filter(|bucket| bucket.name.as_str().starts_with(prefix)));
        if ended {
            break;
        }
    }
    let more = found.len() > limit;
    found.truncate(limit);

    let mut xml = XmlWriter::new("ListAllMyBucketsResult");
    write_owner(&mut xml, "Owner", super::caller_name(&request));
    xml.open("Buckets");
    for bucket in &found {
        xml.open("Bucket").element("Name", &bucket.name).element("CreationDate", iso_time(bucket.created));
        xml.element("BucketRegion", &front.config.region).close();
    }
    xml.close();
    if more && let Some(last) = found.last() {
        xml.element("ContinuationToken", token::seal(last.name.as_str()));
    }
    xml.optional("Prefix", query.get("prefix"));
    Ok(xml_answer(xml.finish()))
}

fn token_name(text: &str) -> Result<BucketName, S3Error> {
    token::open(text)?.parse().map_err(|_| {
        headers::invalid_argument("The continuation token provided is incorrect", "continuation-token", text)
    })
}
