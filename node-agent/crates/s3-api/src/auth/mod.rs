//! AWS Signature Version 4: header, query (presigned) and streaming forms. Source: AWS, "Authenticating Requests".
