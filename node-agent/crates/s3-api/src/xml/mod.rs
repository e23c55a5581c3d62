//! XML in and out: bounded, no entities, no DTD.
