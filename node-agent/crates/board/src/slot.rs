//! The slot that this system was started from: are its files still what was signed?

use std::io::{Read, Seek, Write};

use disk_image::Window;
use disk_image::card::{SLOT_AT, SLOT_BYTES};
use disk_image::fat::Volume;
use disk_image::manifest::{MANIFEST_FILE, Manifest, PublicKey, SIGNATURE_FILE, verify};

use crate::facts::Facts;

/// Reads every file of a slot (`a` or `b`) and compares it with the signed list. The version that it holds, or what is wrong
/// in one sentence.
pub fn check<T: Read + Write + Seek>(card: T, slot: &str, facts: &Facts) -> Result<String, String> {
    let at = match slot {
        "a" => SLOT_AT[0],
        "b" => SLOT_AT[1],
        other => return Err(format!("the boot loader names a slot `{other}`")),
    };
    let volume = Volume::open(Window::new(card, at, SLOT_BYTES)).map_err(|error| error.to_string())?;
    let file = |name: &str| match volume.read(name) {
        Ok(Some(content)) => Ok(content),
        Ok(None) => Err(format!("slot {slot} lacks {name}")),
        Err(error) => Err(format!("slot {slot}: {name}: {error}")),
    };
    let text = String::from_utf8_lossy(&file(MANIFEST_FILE)?).into_owned();
    let signature = String::from_utf8_lossy(&file(SIGNATURE_FILE)?).into_owned();
    let keys: Vec<PublicKey> =
        facts.trusted_keys.iter().filter_map(|key| PublicKey::parse(key).ok()).collect();
    verify(&text, &signature, &keys).map_err(|error| error.to_string())?;
    let manifest = Manifest::parse(&text).map_err(|error| error.to_string())?;
    if manifest.board != facts.board {
        return Err(format!("slot {slot} is for {}, this is a {}", manifest.board, facts.board));
    }
    for listed in &manifest.files {
        if !listed.fits(&file(&listed.path)?) {
            return Err(format!(
                "{} in slot {slot} is not what was signed: flash the card again",
                listed.path
            ));
        }
    }
    Ok(manifest.version)
}
