//! Known-answer tests that the agent runs at start: a miscompiled or misdetected kernel must not touch data.

/// A kernel gave a wrong answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("self-test of {0} failed: this build must not run on this CPU")]
pub struct SelfTestError(pub &'static str);

/// Checks every kernel against a known answer; a few milliseconds.
pub fn run() -> Result<(), SelfTestError> {
    todo!()
}
