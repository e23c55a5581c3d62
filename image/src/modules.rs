//! Kernel modules: which files a list of names needs, each after those that it needs itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::packages::{output, run};

/// The modules of one unpacked kernel package.
pub struct Modules {
    folder: PathBuf,
    /// Path → paths that it needs.
    needs: BTreeMap<String, Vec<String>>,
    builtin: BTreeSet<String>,
}

/// One module as the initramfs gets it.
#[derive(Debug, PartialEq, Eq)]
pub struct Module {
    /// `virtio_blk`.
    pub name: String,
    /// Path below the folder of modules.
    pub path: String,
}

impl Modules {
    /// Reads what `folder` names, where `depmod` has to write its list first.
    pub fn load(root: &Path) -> Result<Self, Failure> {
        let folder = folder(root)?;
        if !folder.join("modules.dep").exists() {
            let base = folder.ancestors().nth(3).unwrap_or(root);
            let version = folder.file_name().unwrap_or_default();
            run(Command::new(depmod()).arg("-b").arg(std::fs::canonicalize(base)?).arg(version))?;
        }
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        Ok(Self {
            needs: parse_needs(&read("modules.dep")?),
            builtin: parse_builtin(&read("modules.builtin")?),
            folder,
        })
    }

    /// The files that `names` need, in the order of loading; a name that is built into the kernel needs none.
    pub fn ordered(&self, names: &[String]) -> Result<Vec<Module>, Failure> {
        ordered(&self.needs, &self.builtin, names)
    }

    /// The plain bytes of a module.
    pub fn content(&self, module: &Module) -> Result<Vec<u8>, Failure> {
        let path = self.folder.join(&module.path);
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("xz") => output(Command::new("xz").arg("-dc").arg(&path)),
            Some("zst") => Ok(zstd::decode_all(std::fs::File::open(&path)?)?),
            _ => Ok(std::fs::read(&path)?),
        }
    }
}

/// `lib/modules/VERSION` of an unpacked kernel.
pub fn folder(root: &Path) -> Result<PathBuf, Failure> {
    let none = "the kernel's package holds no modules";
    let above = [root.join("usr/lib/modules"), root.join("lib/modules")];
    let above = above.iter().find(|path| path.is_dir()).ok_or(none)?;
    Ok(std::fs::read_dir(above)?.next().ok_or(none)??.path())
}

/// Debian keeps it where only root's PATH looks.
fn depmod() -> &'static str {
    ["/usr/sbin/depmod", "/sbin/depmod"].into_iter().find(|path| Path::new(path).exists()).unwrap_or("depmod")
}

/// `kernel/drivers/block/virtio_blk.ko.xz` → `virtio_blk`.
pub fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// modules.dep: `PATH: PATH…`.
pub fn parse_needs(text: &str) -> BTreeMap<String, Vec<String>> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(path, needs)| (path.to_owned(), needs.split_whitespace().map(str::to_owned).collect()))
        .collect()
}

/// modules.builtin: a path a line.
pub fn parse_builtin(text: &str) -> BTreeSet<String> {
    text.lines().map(name_of).collect()
}

/// The pure half of [`Modules::ordered`].
pub fn ordered(
    needs: &BTreeMap<String, Vec<String>>,
    builtin: &BTreeSet<String>,
    names: &[String],
) -> Result<Vec<Module>, Failure> {
    let by_name: BTreeMap<String, &String> = needs.keys().map(|path| (name_of(path), path)).collect();
    let mut order: Vec<Module> = Vec::new();
    for name in names {
        let (name, dispensable) = name.strip_suffix('?').map_or((name.as_str(), false), |name| (name, true));
        let name = name.replace('-', "_");
        let path = match by_name.get(&name) {
            _ if builtin.contains(&name) => continue,
            None if dispensable => continue,
            None => return Err(format!("the kernel has no module {name}").into()),
            Some(path) => path,
        };
        // depmod lists everything that is needed, the deepest last.
        let chain = needs[*path].iter().rev().chain(std::iter::once(*path));
        for path in chain {
            if !order.iter().any(|module| &module.path == path) {
                order.push(Module { name: name_of(path), path: path.clone() });
            }
        }
    }
    Ok(order)
}
