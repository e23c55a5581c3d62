//! Settings and limits of the S3 front.

use std::time::Duration;

/// Settings and limits; `Default` is what users get.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// The region that GetBucketLocation names; any region in a signature is accepted.
    pub region: String,
    /// Host suffixes for virtual-host style: `bucket.SUFFIX`. Path style always works.
    pub host_suffixes: Vec<String>,
    /// What answers call this node (`x-amz-id-2`, `HostId`); no secret.
    pub host_id: String,
    /// Are signatures of version 2 taken? boto3 presigns with them unless told otherwise.
    pub signature_v2: bool,
    /// Answer 503 while nobody vouches for the time, neither a source nor the members together?
    pub refuse_unproven_time: bool,
    /// Clock difference that a signature may have.
    pub skew_max: Duration,
    /// One signed chunk of a streaming upload.
    pub signed_chunk_bytes_max: u64,
    /// An XML body (Complete with 10,000 parts, DeleteObjects with 1,000 keys).
    pub xml_bytes_max: usize,
    /// One trailer section of a streaming upload.
    pub trailer_bytes_max: usize,
    /// User metadata of one object, names and values together (S3's limit).
    pub user_metadata_bytes_max: usize,
    /// How often a slow answer (copy, complete) sends a blank to keep the connection alive.
    pub keep_alive_every: Duration,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            host_suffixes: Vec::new(),
            host_id: "shoal".to_owned(),
            signature_v2: false,
            refuse_unproven_time: true,
            skew_max: Duration::from_secs(15 * 60),
            signed_chunk_bytes_max: 16 << 20,
            xml_bytes_max: 4 << 20,
            trailer_bytes_max: 16 << 10,
            user_metadata_bytes_max: 2_048,
            keep_alive_every: Duration::from_secs(10),
        }
    }
}
