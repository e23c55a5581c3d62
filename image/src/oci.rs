//! `shoal-image oci`: a container image of the agent from scratch, without an engine. Form: OCI image layout 1.0 in a tar
//! archive (opencontainers/image-spec: image-layout.md, image-index.md, manifest.md, config.md), which `podman load`, `skopeo` and
//! containerd take, and beside it the `manifest.json` of Docker's own form (moby: image/tarexport/load.go), without which `docker
//! load` reads none of it. One layer an architecture; the same agents, commit and `gzip` give the same bytes.

use std::path::PathBuf;

use clap::Args;
use disk_image::manifest::sha256_hex;
use serde_json::{Value, json};

use crate::Failure;
use crate::agent::{is_dynamic, read_agent};
use crate::board::Architecture;
use crate::tarball::{Tree, pack, source_date};

/// The user that the agent runs as: the number that such images commonly use, so that volumes can be shared.
pub const USER_ID: u32 = 65_532;
/// What is in the image's `/etc/shoal.toml` unless another file is mounted over it.
const CONFIGURATION: &str = "\
# Of the container image; mount another file over it to change more than $SHOAL_S3_LISTEN, $SHOAL_ADMIN_LISTEN and
# $SHOAL_RPC_LISTEN can.
drives = [\"/data\"]

[join]
# While /data is blank, the node joins with the ticket that is mounted here.
ticket_file = \"/ticket/ticket.txt\"
";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Makes a container image of agents.
#[derive(Args)]
pub struct Oci {
    /// Architectures by Debian's names: amd64, arm64, armhf
    #[arg(required = true)]
    architectures: Vec<Architecture>,
    /// The agents, in the order of the architectures [default: what `just cross` built]
    #[arg(long = "agent", value_name = "FILE")]
    agents: Vec<PathBuf>,
    /// Where the image is written
    #[arg(long, default_value = "target/image")]
    out: PathBuf,
}

impl Oci {
    /// Runs to completion.
    pub fn run(&self) -> Result<(), Failure> {
        if !self.agents.is_empty() && self.agents.len() != self.architectures.len() {
            return Err("name as many --agent as architectures, in the same order, or none".into());
        }
        let mut agents = Vec::new();
        for (number, architecture) in self.architectures.iter().enumerate() {
            let agent = read_agent(self.agents.get(number).map(PathBuf::as_path), *architecture)?;
            if is_dynamic(&agent) {
                let build = format!("build it with `just cross {}`", architecture.short());
                return Err(format!(
                    "the agent for {} needs a dynamic loader, which an image from scratch has not: {build}",
                    architecture.debian()
                )
                .into());
            }
            agents.push((*architecture, agent));
        }
        let version = env!("CARGO_PKG_VERSION");
        let bytes = image(agents, version, source_date()?)?;
        std::fs::create_dir_all(&self.out)?;
        let path = self.out.join(format!("shoal-{version}.oci.tar"));
        std::fs::write(&path, &bytes)?;
        let mib = bytes.len() as f64 / f64::from(1 << 20);
        println!("{}  {mib:.1} MiB  sha256 {}", path.display(), sha256_hex(&bytes));
        Ok(())
    }
}

/// The archive of the image layout.
pub fn image(
    mut agents: Vec<(Architecture, Vec<u8>)>,
    version: &str,
    seconds: u64,
) -> Result<Vec<u8>, Failure> {
    agents.sort();
    if agents.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err("an architecture is named twice".into());
    }
    let mut layout = Tree::new("");
    let (mut manifests, mut for_docker, alone) = (Vec::new(), Vec::new(), agents.len() == 1);
    for (architecture, agent) in agents {
        let layer = layer(agent).archive(seconds)?;
        let packed = pack("gzip", &["-9", "-n"], &layer)?;
        let platform = platform(architecture);
        let mut config = json!({
            "created": time_text(seconds)?,
            "os": "linux",
            "config": {
                "User": format!("{USER_ID}:{USER_ID}"),
                "ExposedPorts": { "9000/tcp": {}, "9001/tcp": {}, "9002/tcp": {} },
                "Entrypoint": ["/shoal"],
                "Cmd": ["serve", "--config", "/etc/shoal.toml"],
                "Volumes": { "/data": {} },
                "WorkingDir": "/",
                "StopSignal": "SIGTERM",
                "Labels": {
                    "org.opencontainers.image.title": "shoal",
                    "org.opencontainers.image.version": version,
                    "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
                },
            },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", sha256_hex(&layer))] },
            "history": [{ "created": time_text(seconds)?, "created_by": "shoal-image oci" }],
        });
        for (key, value) in platform.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let config = blob(&mut layout, CONFIG, serde_json::to_vec(&config)?);
        let layer = blob(&mut layout, LAYER, packed);
        // Docker's form knows no platforms: a name is that of one image.
        let tag = if alone { version.to_owned() } else { format!("{version}-{}", architecture.debian()) };
        for_docker.push(json!({
            "Config": path_of(&config),
            "RepoTags": [format!("shoal:{tag}")],
            "Layers": [path_of(&layer)],
        }));
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
        let mut descriptor = blob(&mut layout, MANIFEST, serde_json::to_vec(&manifest)?);
        descriptor["platform"] = platform;
        manifests.push(descriptor);
    }
    // An index below the one of the layout: readers that ask for one image of the archive then choose by platform.
    let platforms = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let mut named = blob(&mut layout, INDEX, serde_json::to_vec(&platforms)?);
    named["annotations"] = json!({
        "org.opencontainers.image.ref.name": version,
        "io.containerd.image.name": format!("docker.io/library/shoal:{version}"),
    });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [named] });
    layout.file("index.json", 0o644, serde_json::to_vec(&index)?);
    layout.file("manifest.json", 0o644, serde_json::to_vec(&for_docker)?);
    layout.file("oci-layout", 0o644, *br#"{"imageLayoutVersion":"1.0.0"}"#);
    layout.archive(seconds)
}

/// Puts a blob into the layout; what points to it.
fn blob(layout: &mut Tree, media_type: &str, content: Vec<u8>) -> Value {
    let (sha256, size) = (sha256_hex(&content), content.len());
    layout.file(&format!("blobs/sha256/{sha256}"), 0o644, content);
    json!({ "mediaType": media_type, "digest": format!("sha256:{sha256}"), "size": size })
}

/// Where in the archive a blob lies, by what points to it.
fn path_of(blob: &Value) -> String {
    format!("blobs/{}", blob["digest"].as_str().unwrap_or_default().replace(':', "/"))
}

/// What the container sees as its root.
fn layer(agent: Vec<u8>) -> Tree {
    let mut tree = Tree::new("");
    tree.file("shoal", 0o755, agent);
    tree.file("etc/passwd", 0o644, format!("root:x:0:0::/:\nshoal:x:{USER_ID}:{USER_ID}::/data:\n"));
    tree.file("etc/group", 0o644, format!("root:x:0:\nshoal:x:{USER_ID}:\n"));
    tree.file("etc/shoal.toml", 0o644, CONFIGURATION);
    tree.file("LICENSE", 0o644, *include_bytes!("../../LICENSE"));
    // A fresh volume takes these over, with their owner.
    tree.folder("data", 0o700, USER_ID);
    tree.folder("ticket", 0o700, USER_ID);
    tree.folder("tmp", 0o1777, 0);
    tree
}

/// Go's names, as the specification asks for.
fn platform(architecture: Architecture) -> Value {
    match architecture {
        Architecture::Amd64 => json!({ "architecture": "amd64", "os": "linux" }),
        Architecture::Arm64 => json!({ "architecture": "arm64", "os": "linux", "variant": "v8" }),
        Architecture::Armhf => json!({ "architecture": "arm", "os": "linux", "variant": "v7" }),
    }
}

fn time_text(seconds: u64) -> Result<String, Failure> {
    let time = time::OffsetDateTime::from_unix_timestamp(i64::try_from(seconds)?)?;
    Ok(time.format(&time::format_description::well_known::Rfc3339)?)
}
