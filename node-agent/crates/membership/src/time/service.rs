//! Tells members the time of this node: docs/formats/time-rpc.md.

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::ErrorCode;
use rpc::{Body, Caller, RpcError, Service, collect, once};
use sys::Clock;

use super::core::micros;
use super::status::TimeStatus;
use super::wire::{self, Told};

/// Answers `/time/read`.
pub(super) struct TimeService {
    pub(super) shared: Arc<ArcSwap<TimeStatus>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) host: bool,
}

impl TimeService {
    fn told(&self) -> Told {
        let (status, boot) = (self.shared.load(), self.clock.since_boot());
        Told {
            time: if self.host { self.clock.now() } else { status.estimate.at(boot) },
            source: status.source,
            strength: status.proof.map(|proof| proof.strength),
            hops: status.proof.map_or(0, |proof| proof.hops),
            uncertainty_micros: status.uncertainty.map_or(0, micros),
            floor: status.floor.at_least(boot),
        }
    }
}

impl Service for TimeService {
    fn answer(
        &self,
        _caller: Caller,
        method: &str,
        body: Body,
    ) -> BoxFuture<'static, Result<Body, RpcError>> {
        if method != "read" {
            let error = RpcError::new(ErrorCode::InvalidArgument, "time knows read alone");
            return async move { Err(error) }.boxed();
        }
        // After the question has come: what is told is as of the answer.
        let service = Self { shared: self.shared.clone(), clock: self.clock.clone(), host: self.host };
        async move {
            let question = collect(body, wire::QUESTION_BYTES_MAX).await?;
            wire::check_question(&question)
                .map_err(|error| RpcError::new(ErrorCode::InvalidArgument, error.to_string()))?;
            Ok(once(wire::encode(&service.told()).into()))
        }
        .boxed()
    }
}
