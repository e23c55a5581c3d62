//! Bodies: plain, aws-chunked (signed, signed with trailer, unsigned with trailer), payload hash, limits.
