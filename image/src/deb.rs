//! `shoal-image deb`: a Debian package of the agent, for hosts that exist already. Form: deb(5), deb-control(5). Needs no
//! tool of Debian's but `xz`; the same agent, commit and `xz` give the same bytes.

use std::path::PathBuf;

use clap::Args;
use data_encoding::HEXLOWER;
use md5::{Digest, Md5};

use crate::Failure;
use crate::agent::{is_dynamic, read_agent};
use crate::board::Architecture;
use crate::tarball::{Tree, pack, source_date};

/// What is edited by people: an upgrade asks before it is replaced.
const CONFIGURATION_FILE: &str = "etc/shoal/shoal.toml";
/// Makes the user and the first drive's folder, so it runs before the agent can.
const DEPENDS: &str = "systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles";

/// Makes a Debian package of an agent.
#[derive(Args)]
pub struct Deb {
    /// Architecture by Debian's name: amd64, arm64 or armhf
    architecture: Architecture,
    /// The agent [default: what `just cross` built]
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Where the package is written
    #[arg(long, default_value = "target/image")]
    out: PathBuf,
}

impl Deb {
    /// Runs to completion.
    pub fn run(&self) -> Result<(), Failure> {
        let agent = read_agent(self.agent.as_deref(), self.architecture)?;
        let version = env!("CARGO_PKG_VERSION");
        let bytes = package(self.architecture, version, agent, source_date()?)?;
        std::fs::create_dir_all(&self.out)?;
        let path = self.out.join(format!("shoal_{version}_{}.deb", self.architecture.debian()));
        std::fs::write(&path, &bytes)?;
        let sha256 = disk_image::manifest::sha256_hex(&bytes);
        println!("{}  {:.1} MiB  sha256 {sha256}", path.display(), bytes.len() as f64 / f64::from(1 << 20));
        Ok(())
    }
}

/// The package's bytes.
pub fn package(
    architecture: Architecture,
    version: &str,
    agent: Vec<u8>,
    seconds: u64,
) -> Result<Vec<u8>, Failure> {
    let depends =
        if is_dynamic(&agent) { format!("libc6, libgcc-s1, {DEPENDS}") } else { DEPENDS.to_owned() };
    let mut data = Tree::new("./");
    data.file("usr/bin/shoal", 0o755, agent);
    data.file("usr/lib/systemd/system/shoal.service", 0o644, *include_bytes!("../package/shoal.service"));
    data.file("usr/lib/sysusers.d/shoal.conf", 0o644, *include_bytes!("../package/sysusers.conf"));
    data.file("usr/lib/tmpfiles.d/shoal.conf", 0o644, *include_bytes!("../package/tmpfiles.conf"));
    data.file("usr/share/doc/shoal/README.Debian", 0o644, *include_bytes!("../package/README.Debian"));
    data.file("usr/share/doc/shoal/copyright", 0o644, copyright());
    data.file(CONFIGURATION_FILE, 0o644, *include_bytes!("../package/shoal.toml"));
    let bytes: usize = data.files().map(|(_, content)| content.len()).sum();
    let sums: String = data
        .files()
        .filter(|(path, _)| *path != CONFIGURATION_FILE)
        .map(|(path, content)| format!("{}  {path}\n", HEXLOWER.encode(&Md5::digest(content))))
        .collect();
    let mut control = Tree::new("./");
    let fields = format!(
        "Package: shoal\n\
         Version: {version}\n\
         Architecture: {}\n\
         Maintainer: The Shoal authors <shoal@localhost>\n\
         Installed-Size: {}\n\
         Depends: {depends}\n\
         Section: admin\n\
         Priority: optional\n\
         Description: S3 object store over the drives of many small computers\n \
          Turns the drives of this and other hosts into one object store that speaks\n \
          S3, finds its members by itself, and survives the loss of some.\n",
        architecture.debian(),
        bytes.div_ceil(1024),
    );
    control.file("control", 0o644, fields);
    control.file("conffiles", 0o644, format!("/{CONFIGURATION_FILE}\n"));
    control.file("md5sums", 0o644, sums);
    control.file("postinst", 0o755, *include_bytes!("../package/postinst"));
    control.file("prerm", 0o755, *include_bytes!("../package/prerm"));
    control.file("postrm", 0o755, *include_bytes!("../package/postrm"));
    let xz = |tree: &Tree| pack("xz", &["-6", "-T1", "-c"], &tree.archive(seconds)?);
    let mut out = b"!<arch>\n".to_vec();
    member(&mut out, "debian-binary", b"2.0\n", seconds);
    member(&mut out, "control.tar.xz", &xz(&control)?, seconds);
    member(&mut out, "data.tar.xz", &xz(&data)?, seconds);
    Ok(out)
}

/// One member of an ar archive.
fn member(out: &mut Vec<u8>, name: &str, content: &[u8], seconds: u64) {
    let length = content.len();
    let header = format!("{name:<16}{seconds:<12}{:<6}{:<6}{:<8}{length:<10}`\n", 0, 0, "100644");
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(content);
    if length % 2 == 1 {
        out.push(b'\n');
    }
}

/// In Debian's machine-readable form.
fn copyright() -> String {
    let licence: String = include_str!("../../LICENSE")
        .lines()
        .map(|line| if line.trim().is_empty() { " .\n".to_owned() } else { format!(" {line}\n") })
        .collect();
    format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: shoal\n\n\
         Files: *\n\
         Copyright: The Shoal authors\n\
         License: {}\n{licence}",
        env!("CARGO_PKG_LICENSE"),
    )
}
