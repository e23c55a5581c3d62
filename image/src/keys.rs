//! Who signs slots. Release keys come from the environment; without one, a development key is made once, outside the
//! repository, and the image says that it is one.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use disk_image::manifest::SigningKey;

use crate::Failure;

/// 32 secret bytes in hexadecimal.
pub const KEY_VARIABLE: &str = "SHOAL_SIGNING_KEY";
/// Further public keys that images trust, one a line, as `minisign -P` takes them.
pub const TRUSTED_VARIABLE: &str = "SHOAL_TRUSTED_KEYS";

/// The key that signs.
pub struct Signer {
    /// The key.
    pub key: SigningKey,
    /// Made here for development?
    pub development: bool,
}

impl Signer {
    /// From the environment, else the development key of this user.
    pub fn find() -> Result<Self, Failure> {
        if let Ok(text) = std::env::var(KEY_VARIABLE) {
            let key = SigningKey::from_seed(
                &seed_of(&text).ok_or(format!("${KEY_VARIABLE} must be 64 hexadecimal digits"))?,
            )?;
            return Ok(Self { key, development: false });
        }
        let path = development_path()?;
        let seed = match std::fs::read_to_string(&path) {
            Ok(text) => {
                seed_of(&text).ok_or_else(|| format!("{}: not 64 hexadecimal digits", path.display()))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(&path)?,
            Err(error) => return Err(format!("{}: {error}", path.display()).into()),
        };
        Ok(Self { key: SigningKey::from_seed(&seed)?, development: true })
    }
}

fn seed_of(text: &str) -> Option<[u8; 32]> {
    HEXLOWER.decode(text.trim().as_bytes()).ok()?.try_into().ok()
}

fn development_path() -> Result<PathBuf, Failure> {
    let base = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")));
    Ok(base
        .ok_or("neither $XDG_CONFIG_HOME nor $HOME is set: nowhere to keep a signing key")?
        .join("shoal/image-signing.key"))
}

fn make(path: &std::path::Path) -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| error.to_string())?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", HEXLOWER.encode(&seed))?;
    file.sync_all()?;
    eprintln!("made a signing key for development: {}", path.display());
    Ok(seed)
}
