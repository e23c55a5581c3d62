//! Everything that reads bytes from strangers or from old disks, each as one function of a byte slice that asserts what
//! must always hold. `just fuzz NAME` searches with libFuzzer; the test `replay` runs the committed corpora and small
//! mutations of them in CI.

mod disks;
mod formats;
mod requests;

/// One target.
pub struct Target {
    /// Its name; `corpus/NAME/` holds its inputs.
    pub name: &'static str,
    /// Panics where a property does not hold.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "aws_chunked", run: requests::aws_chunked },
    Target { name: "xml", run: requests::xml },
    Target { name: "canonical_request", run: requests::canonical },
    Target { name: "authorization", run: requests::authorization },
    Target { name: "headers", run: requests::headers },
    Target { name: "chunk_header", run: formats::chunk_header },
    Target { name: "chunk_footer", run: formats::chunk_footer },
    Target { name: "pack_record", run: formats::pack_record },
    Target { name: "frame", run: formats::frame },
    Target { name: "chunk_rpc", run: formats::chunk_rpc },
    Target { name: "log_file", run: disks::log_file },
    Target { name: "pack_file", run: disks::pack_file },
    Target { name: "command", run: disks::command },
];

/// The target of this name, for the harness of libFuzzer.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("no fuzz target `{name}`")).run)(input);
}
