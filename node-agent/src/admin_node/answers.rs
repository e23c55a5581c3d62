//! What the agent knows, in the words of the operator's door; and errors of the layers below as its own.

use std::path::PathBuf;

use admin_api::AdminError;
use admin_api::types::{
    DriveInfo, EnrolmentInfo, JobInfo, KeyInfo, QuarantineChoice, QuarantinedInfo, QuarantinedOrigin,
};
use chunk_store::ChunkError;
use data_encoding::HEXLOWER;
use grid_types::{ErrorCode, FailureDomain, GridSnapshot, Timestamp};
use iam::{AccessKey, AccessKeyState, IamError};
use membership::{Enrolment, EnrolmentError, GridPin, Liveness, NodePublicKey};
use meta_store::MetaError;
use object_engine::{EngineError, QuarantinedSegment};
use repair::JobStatus;
use zeroize::Zeroizing;

use crate::drives::WatchedDrive;
use crate::grid::RegistryFailure;
use crate::root_keys::KeeperError;

pub(super) fn writable_domains(grid: &GridSnapshot) -> Vec<FailureDomain> {
    let mut domains: Vec<FailureDomain> =
        grid.drives.iter().filter(|drive| drive.writable()).map(|drive| grid.domain(drive)).collect();
    domains.sort_unstable();
    domains.dedup();
    domains
}

pub(super) fn drive_info(drive: &WatchedDrive, grid: &GridSnapshot) -> DriveInfo {
    let (read_score, write_score) =
        grid.drive(drive.id).map_or((0, 0), |seen| (seen.read_score.get(), seen.write_score.get()));
    let summary = drive.summary.as_ref();
    let stats = summary.map(|summary| summary.stats.clone()).unwrap_or_default();
    DriveInfo {
        id: Some(drive.id),
        path: drive.path.display().to_string(),
        state: drive.state,
        locked: drive.locked,
        problem: drive.trouble(),
        read_score,
        write_score,
        file_system: summary.map(|summary| summary.file_system.clone()).unwrap_or_default(),
        total_bytes: summary.map_or(0, |summary| summary.total_bytes),
        free_bytes: summary.map_or(0, |summary| summary.free_bytes),
        corruptions: stats.corruptions,
        read_p95_us: stats.read_p95_us,
        sync_p95_us: stats.sync_p95_us,
    }
}

pub(super) fn quarantined_info(one: QuarantinedSegment) -> QuarantinedInfo {
    let origin = one.origin.map(|origin| QuarantinedOrigin {
        bucket: origin.bucket_name.map_or_else(|| origin.bucket.to_string(), |name| name.to_string()),
        key: origin.key.to_string(),
        version: origin.owner.version,
        part: origin.owner.part,
        number: origin.owner.number,
    });
    QuarantinedInfo { segment: one.segment, bytes: one.length, origin }
}

/// The door has checked that it is one or the other.
pub(super) fn quarantine_choice(choice: QuarantineChoice) -> object_engine::QuarantineChoice {
    match choice.version {
        Some(version) => object_engine::QuarantineChoice::Version(version),
        None => object_engine::QuarantineChoice::Segments(choice.segments),
    }
}

pub(super) fn absolute(path: &str) -> Result<PathBuf, AdminError> {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(AdminError::invalid(format!("`{}` must be an absolute path on the node", path.display())))
    }
}

pub(super) fn job_info(job: JobStatus) -> JobInfo {
    JobInfo {
        name: job.name.to_owned(),
        state: job.state.name().to_owned(),
        purpose: job.purpose.to_owned(),
        detail: job.counters.detail,
        done: job.counters.done,
        failed: job.counters.failed,
        waiting: job.counters.waiting,
        pass: job.counters.pass,
        items_per_second: job.rate,
        eta_seconds: job.eta.map(|eta| eta.as_secs()),
        last_error: job.counters.last_error,
    }
}

pub(super) fn key_info(key: AccessKey) -> KeyInfo {
    let state = match key.state {
        AccessKeyState::Active => "active",
        AccessKeyState::Disabled => "disabled",
    };
    KeyInfo { id: key.id, user: key.user, state: state.to_owned(), created: key.created }
}

/// Exactly `N` bytes of a field.
pub(super) fn hex<const N: usize>(what: &str, text: &str) -> Result<Zeroizing<[u8; N]>, AdminError> {
    let bytes = HEXLOWER.decode(text.as_bytes()).ok().map(Zeroizing::new);
    let bytes = bytes.and_then(|bytes| bytes.as_slice().try_into().ok());
    bytes
        .map(Zeroizing::new)
        .ok_or_else(|| AdminError::invalid(format!("`{what}` must be {N} bytes in lower-case hex")))
}

pub(super) fn liveness_word(liveness: Liveness) -> &'static str {
    match liveness {
        Liveness::Alive => "alive",
        Liveness::Suspect => "suspect",
        Liveness::Down => "down",
    }
}

pub(super) fn enrolment_info(enrolment: &Enrolment, pin: GridPin, now: Timestamp) -> EnrolmentInfo {
    let state = match (enrolment.joined, enrolment.open(now)) {
        (Some(_), _) => "joined",
        (None, true) => "open",
        (None, false) => "expired",
    };
    EnrolmentInfo {
        node: enrolment.node(),
        public_key: NodePublicKey(enrolment.public_key).to_string(),
        state: state.to_owned(),
        name: enrolment.name.clone(),
        drives: enrolment.drive_policy.to_string(),
        created: enrolment.created,
        expires: enrolment.expires,
        grid_pin: pin.to_string(),
    }
}

pub(super) fn of_engine(error: &EngineError) -> AdminError {
    AdminError::of(error.code(), error.to_string())
}

pub(super) fn of_meta(error: &MetaError) -> AdminError {
    AdminError::of(error.code(), error.to_string())
}

pub(super) fn of_chunk(error: &ChunkError) -> AdminError {
    AdminError::of(error.code(), error.to_string())
}

pub(super) fn of_iam(error: &IamError) -> AdminError {
    AdminError::of(error.code(), error.to_string())
}

pub(super) fn of_keeper(error: &KeeperError) -> AdminError {
    let code = match error {
        KeeperError::Meta(meta) => meta.code(),
        KeeperError::Members(failure) => return of_registry(failure),
        _ => ErrorCode::Internal,
    };
    AdminError::of(code, error.to_string())
}

pub(super) fn of_registry(failure: &RegistryFailure) -> AdminError {
    let code = match failure {
        RegistryFailure::Meta(error) => error.code(),
        RegistryFailure::Change(_)
        | RegistryFailure::Ticket(_)
        | RegistryFailure::Enrolment(EnrolmentError::Name) => ErrorCode::InvalidArgument,
        RegistryFailure::Busy => ErrorCode::Unavailable,
        _ => ErrorCode::Internal,
    };
    AdminError::of(code, failure.to_string())
}
