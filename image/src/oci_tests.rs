use std::path::Path;

use disk_image::manifest::sha256_hex;
use serde_json::Value;

use crate::board::Architecture;
use crate::oci::image;
use crate::tarball::pack;

fn unpack(archive: &[u8], folder: &Path) {
    let folder = folder.to_str().expect("a path in UTF-8");
    pack("tar", &["-xf", "-", "--no-same-owner", "-C", folder], archive).expect("tar reads it");
}

/// The blob that a descriptor points to, after its size and digest were compared.
fn blob(layout: &Path, descriptor: &Value, media_type: &str) -> Vec<u8> {
    assert_eq!(descriptor["mediaType"], media_type);
    let digest = descriptor["digest"].as_str().expect("a digest");
    let hash = digest.strip_prefix("sha256:").expect("SHA-256");
    let content = std::fs::read(layout.join("blobs/sha256").join(hash)).expect("the blob is there");
    assert_eq!(descriptor["size"], content.len());
    assert_eq!(sha256_hex(&content), hash);
    content
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

#[test]
fn every_digest_size_and_media_type_is_right() {
    let agents = || vec![(Architecture::Armhf, b"arm".to_vec()), (Architecture::Amd64, b"x86".to_vec())];
    let archive = image(agents(), "1.2.3", 1_000_000_000).expect("an image");
    assert_eq!(archive, image(agents(), "1.2.3", 1_000_000_000).expect("an image"));
    let folder = tempfile::tempdir().expect("a folder");
    let layout = folder.path();
    unpack(&archive, layout);
    let version = parsed(&std::fs::read(layout.join("oci-layout")).expect("oci-layout"));
    assert_eq!(version["imageLayoutVersion"], "1.0.0");
    let index = parsed(&std::fs::read(layout.join("index.json")).expect("index.json"));
    assert_eq!(index["schemaVersion"], 2);
    let kind = "application/vnd.oci.image.";
    let platforms = parsed(&blob(layout, &index["manifests"][0], &format!("{kind}index.v1+json")));
    let manifests = platforms["manifests"].as_array().expect("manifests");
    let mut blobs = 1;
    let mut seen = Vec::new();
    let for_docker = parsed(&std::fs::read(layout.join("manifest.json")).expect("manifest.json"));
    let for_docker = for_docker.as_array().expect("a list");
    let path = |blob: &Value| blob["digest"].as_str().expect("a digest").replace("sha256:", "blobs/sha256/");
    let mut tags = Vec::new();
    for descriptor in manifests {
        let manifest = parsed(&blob(layout, descriptor, &format!("{kind}manifest.v1+json")));
        let config = parsed(&blob(layout, &manifest["config"], &format!("{kind}config.v1+json")));
        let layer = blob(layout, &manifest["layers"][0], &format!("{kind}layer.v1.tar+gzip"));
        let plain = pack("gzip", &["-dc"], &layer).expect("gzip");
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", sha256_hex(&plain)));
        for key in ["architecture", "os", "variant"] {
            assert_eq!(config[key], descriptor["platform"][key], "{key}");
        }
        assert_eq!(config["created"], "2001-09-09T01:46:40Z");
        let root = layout.join(format!("root-{blobs}"));
        std::fs::create_dir(&root).expect("a folder");
        unpack(&plain, &root);
        seen.push((
            descriptor["platform"]["architecture"].as_str().expect("a name").to_owned(),
            std::fs::read(root.join("shoal")).expect("the agent"),
        ));
        // Docker's own form names the same blobs.
        let of_docker =
            for_docker.iter().find(|entry| entry["Config"] == path(&manifest["config"])).expect("an entry");
        assert_eq!(of_docker["Layers"], serde_json::json!([path(&manifest["layers"][0])]));
        tags.push(of_docker["RepoTags"][0].as_str().expect("a name").to_owned());
        blobs += 3;
    }
    tags.sort();
    assert_eq!(tags, ["shoal:1.2.3-amd64", "shoal:1.2.3-armhf"]);
    seen.sort();
    assert_eq!(seen, [("amd64".to_owned(), b"x86".to_vec()), ("arm".to_owned(), b"arm".to_vec())]);
    let there = std::fs::read_dir(layout.join("blobs/sha256")).expect("blobs").count();
    assert_eq!(there, blobs, "nothing lies there that nothing points to");
}

#[test]
fn an_architecture_twice_is_refused() {
    let agents = vec![(Architecture::Amd64, Vec::new()), (Architecture::Amd64, Vec::new())];
    assert!(image(agents, "1.2.3", 0).is_err());
}
