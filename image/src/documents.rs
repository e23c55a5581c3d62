//! What goes with an image: the list of what is in it (SPDX 2.3), the entry for Raspberry Pi Imager, the table of boards.

use std::path::Path;

use clap::Args;
use disk_image::manifest::sha256_hex;
use serde_json::json;

use crate::Failure;
use crate::board::{Board, Support};
use crate::packages::Lock;

/// The SPDX document. Its time is that of the pins: nothing in it depends on the clock.
pub fn spdx(name: &str, board: &Board, lock: &Lock) -> Result<String, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let mut packages = vec![json!({
        "SPDXID": "SPDXRef-Package-shoal",
        "name": "shoal",
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "licenseConcluded": "Apache-2.0",
        "licenseDeclared": "Apache-2.0",
        "copyrightText": "NOASSERTION",
        "filesAnalyzed": false,
    })];
    let mut pins = Vec::new();
    for package in board.packages() {
        pins.extend(lock.pins(package, board.architecture)?);
    }
    for pin in pins {
        let real = pin.real.as_ref().unwrap_or(&pin.name);
        packages.push(json!({
            "SPDXID": format!("SPDXRef-Package-{}", identifier(real)),
            "name": real,
            "versionInfo": pin.version,
            "sourceInfo": format!("built from Debian source package {}", pin.source),
            "downloadLocation": format!("http://snapshot.debian.org/archive/debian/{}/{}", lock.day, pin.path),
            "checksums": [{ "algorithm": "SHA256", "checksumValue": pin.sha256 }],
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "comment": "licence text: LICENCES.txt on the first partition",
            "filesAnalyzed": false,
        }));
    }
    let described: Vec<_> = packages.iter().map(|package| package["SPDXID"].clone()).collect();
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("shoal-{name}-{version}"),
        "documentNamespace": format!("https://spdx.org/spdxdocs/shoal-{name}-{version}-{}", lock.day),
        "creationInfo": { "created": iso(&lock.day), "creators": [format!("Tool: shoal-image-{version}")] },
        "documentDescribes": described,
        "packages": packages,
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// The list that Raspberry Pi Imager opens with `rpi-imager --repo FILE`.
pub fn imager(name: &str, board: &Board, plain: &[u8], packed: &[u8]) -> Result<String, Failure> {
    let list = json!({ "os_list": [{
        "name": format!("Shoal for {}", board.title),
        "description": "Turns this board into a node of one S3 object store",
        "url": format!("shoal-{name}.img.zst"),
        "extract_size": plain.len(),
        "extract_sha256": sha256_hex(plain),
        "image_download_size": packed.len(),
        "image_download_sha256": sha256_hex(packed),
        "init_format": "cloudinit",
    }]});
    Ok(serde_json::to_string_pretty(&list)? + "\n")
}

/// Lists the boards.
#[derive(Args)]
pub struct List {
    /// As the table of docs/boards.md
    #[arg(long)]
    markdown: bool,
}

impl List {
    /// Runs to completion.
    pub fn run(&self, boards: &Path) -> Result<(), Failure> {
        for line in lines(boards, self.markdown)? {
            println!("{line}");
        }
        Ok(())
    }
}

/// One line a board.
pub fn lines(boards: &Path, markdown: bool) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    if markdown {
        lines.push("| board | what it is | architecture | RAM | support | notes |".to_owned());
        lines.push("|---|---|---|---|---|---|".to_owned());
    }
    for name in Board::names(boards)? {
        let board = Board::load(boards, &name)?;
        let support = match board.support {
            Support::Tested => "tested",
            Support::BuildOnly => "build-only",
        };
        let architecture = board.architecture.debian();
        lines.push(if markdown {
            let notes = board.notes.join(" ");
            format!(
                "| `{name}` | {} | {architecture} | {} MiB | {support} | {notes} |",
                board.title, board.ram_mib
            )
        } else {
            format!("{name:18} {architecture:6} {support:11} {}", board.title)
        });
    }
    Ok(lines)
}

fn identifier(name: &str) -> String {
    name.chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' })
        .collect()
}

/// `20261127T021500Z` → `2026-11-27T02:15:00Z`.
fn iso(day: &str) -> String {
    let part = |from: usize, to: usize| day.get(from..to).unwrap_or("00");
    format!("{}-{}-{}T{}:{}:{}Z", part(0, 4), part(4, 6), part(6, 8), part(9, 11), part(11, 13), part(13, 15))
}
