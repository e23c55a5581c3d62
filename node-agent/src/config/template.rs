//! The commented file that `shoal init` writes.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A configuration for these drives, every other key shown with its default.
pub fn template(drives: &[PathBuf], key_file: Option<&Path>, rpc_listen: Option<SocketAddr>) -> String {
    let mut text = String::from(
        "# Shoal. `shoal config check --config FILE` explains mistakes by line; unknown keys are errors.\n\
         # Lines that begin with `#` show defaults.\n\n\
         # Folders that `shoal init` or `shoal drive add` made drives of this node.\ndrives = [\n",
    );
    for drive in drives {
        let _ = writeln!(text, "    {},", quoted(drive));
    }
    text.push_str(
        "]\n\n\
         # The root key opens everything that is stored. By default a copy lies in each drive (shoal-root.key): whoever steals\n\
         # a drive then has the key as well. Keep a copy elsewhere; without the key nothing can be read.\n",
    );
    let shown = key_file.map_or_else(
        || "# key_file = \"/root/shoal-root.key\"".to_owned(),
        |path| format!("key_file = {}", quoted(path)),
    );
    let _ = writeln!(text, "{shown}");
    text.push_str(
        r#"
# How objects are protected: auto, copies:N, or ec:K+M (any K of K+M drives are enough to read).
# profile = "auto"

# What requests may hold in memory, all together.
# memory = "64 MiB"

# Objects up to here live in their metadata row.
# inline_bytes_max = "16 KiB"

# "accept" writes even where the loss of one drive could not be survived; shown as at risk.
# degraded_writes = "refuse"

# auto, aes-256-gcm or chacha20-poly1305.
# cipher = "auto"

# The operator's Unix socket; default: shoal-admin.sock in the first drive in service.
# socket = "/run/shoal/admin.sock"

# Further storage classes and their profiles.
# [storage_classes]
# REDUCED_REDUNDANCY = "copies:1"

[s3]
# listen = "0.0.0.0:9000"
# region = "us-east-1"
# host_suffixes = ["s3.example.net"]    # bucket.s3.example.net addresses `bucket`
# signature_v2 = false                  # true takes signatures of version 2, which boto3 presigns with
# connections_max = 1024
# tls = "off"                           # off, generated (own certificate authority), or files
# certificate = "/etc/shoal/s3.pem"     # with tls = "files"
# certificate_key = "/etc/shoal/s3.key"

[admin]
# listen = "0.0.0.0:9001"
# tls = "generated"

[rpc]
RPC_LISTEN               # where other nodes of the grid reach this one
# advertise = ["192.0.2.7:9002"]        # where they reach it from outside, behind a forwarded port
# multicast = true                      # be found, and find others, by multicast DNS on the local net
# interfaces = ["eth0"]                 # for that; by default all that lead out of this host
# peers = ["shoal.example.net:9002"]    # members, where multicast does not pass

[clock]
# source = "host"                       # the host's clock is kept right; or proven: by the sources below, members, an operator
# unproven = "refuse"                   # what S3 does until the time is proven: refuse (503) or serve
# ntp = ["pool.ntp.org"]                # with source = "proven"
# rtc = "/dev/rtc0"                     # a clock with a battery, with source = "proven"

# [join]
# ticket_file = "ticket"                # on drives without a label, `shoal serve` joins a grid with it first
# enrolled = "shoal-grid-1-..."         # or: by this node's key, once `shoal node enrol` on a member has it

[log]
# level = "info"
# format = "text"                       # or json
# access = "off"                        # or stdout, or a file: one JSON line a request
"#,
    );
    let listen = rpc_listen.map_or_else(
        || "# listen = \"0.0.0.0:9002\"".to_owned(),
        |address| format!("listen = \"{address}\""),
    );
    text.replace("RPC_LISTEN", &listen)
}

/// A TOML basic string.
fn quoted(path: &Path) -> String {
    let mut text = String::from("\"");
    for letter in path.to_string_lossy().chars() {
        match letter {
            '"' | '\\' => {
                text.push('\\');
                text.push(letter);
            }
            control if control.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(control));
            }
            plain => text.push(plain),
        }
    }
    text.push('"');
    text
}
