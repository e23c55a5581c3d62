//! The pipeline that every request passes.

use std::sync::Arc;

use http::{Request, Response};
use http_server::{Handler, Peer, RequestBody, ResponseBody};
use iam::Iam;
use object_engine::ObjectEngine;
use sys::Clock;

use crate::S3Config;

/// The S3 front door.
pub struct S3Front {
    /// What the handlers call.
    pub engine: ObjectEngine,
    /// Who may.
    pub iam: Iam,
    /// For skew and expiry.
    pub clock: Arc<dyn Clock>,
    /// Settings.
    pub config: S3Config,
}

impl Handler for S3Front {
    async fn handle(&self, _request: Request<RequestBody>, _peer: Peer) -> Response<ResponseBody> {
        todo!()
    }
}
