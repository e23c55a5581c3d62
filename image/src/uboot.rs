//! What U-Boot reads: the boot script in its legacy wrapping, and the state that says which slot starts. Sources: U-Boot,
//! include/image.h (header), tools/mkenvimage.c (a CRC-32 before NUL-separated variables), doc/usage/cmd/itest.
//!
//! Slots: `slot` is the one that is known to work. An update sets `trial` and `tries`; each start with tries left counts one
//! down, so a slot that never reports healthy falls back by itself. A slot that cannot be loaded falls back at once.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Sectors of the two copies of the state, before the first partition.
pub const STATE_SECTORS: [u64; 2] = [0x400, 0x408];
/// Bytes of one copy.
pub const STATE_BYTES: usize = 512;

/// What U-Boot for the Raspberry Pi reads its environment from, on the first partition.
pub const ENVIRONMENT_FILE: &str = "uboot.env";
/// Its `CONFIG_ENV_SIZE` there.
const ENVIRONMENT_BYTES: usize = 16 << 10;

const MAGIC: u32 = 0x2705_1956;
const HEADER_BYTES: usize = 64;
const TYPE_KERNEL: u8 = 2;
const TYPE_SCRIPT: u8 = 6;
const OS_LINUX: u8 = 5;
const ARCHITECTURE_ARM: u8 = 2;

/// A 32-bit kernel reaches its first 760 MiB directly and reads initramfs and device tree there alone; U-Boot would move
/// both to the end of the memory.
const BELOW_HIGH_MEMORY: &str = "test -n \"${bootm_size}\" || setenv bootm_size 0x10000000\n";

/// Addresses that a board names in `[boot.addresses]`.
const ADDRESSES: [&str; 4] = ["kernel", "initramfs", "packed", "scratch"];

/// Wraps a script so that U-Boot's `source` takes it.
pub fn wrap_script(script: &str) -> Vec<u8> {
    let length = (script.len() as u32).to_be_bytes();
    wrap(TYPE_SCRIPT, 0, &[&length, &[0; 4], script.as_bytes()].concat())
}

/// Wraps a program for 32-bit ARM that must lie at this address, where it also begins: QEMU puts it there.
pub fn wrap_program(address: u32, program: &[u8]) -> Vec<u8> {
    wrap(TYPE_KERNEL, address, program)
}

fn wrap(kind: u8, address: u32, data: &[u8]) -> Vec<u8> {
    let mut header = [0u8; HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC.to_be_bytes());
    header[12..16].copy_from_slice(&(data.len() as u32).to_be_bytes());
    header[16..20].copy_from_slice(&address.to_be_bytes());
    header[20..24].copy_from_slice(&address.to_be_bytes());
    header[24..28].copy_from_slice(&crc32fast::hash(data).to_be_bytes());
    header[28] = OS_LINUX;
    header[29] = ARCHITECTURE_ARM;
    header[30] = kind;
    header[32..37].copy_from_slice(b"shoal");
    let crc = crc32fast::hash(&header);
    header[4..8].copy_from_slice(&crc.to_be_bytes());
    [&header, data].concat()
}

/// A copy of the state as U-Boot's `env import -c` takes it.
pub fn state(variables: &[(&str, &str)]) -> [u8; STATE_BYTES] {
    let mut copy = [0u8; STATE_BYTES];
    let text: String = variables.iter().map(|(name, value)| format!("{name}={value}\0")).collect();
    seal(&mut copy, &text);
    copy
}

/// The content of `uboot.env`.
pub fn environment(variables: &BTreeMap<String, String>) -> Result<Vec<u8>, String> {
    let text: String = variables.iter().map(|(name, value)| format!("{name}={value}\0")).collect();
    if 4 + text.len() >= ENVIRONMENT_BYTES {
        return Err(format!("`[boot.environment]` has {} bytes, more than U-Boot reads", text.len()));
    }
    let mut file = vec![0u8; ENVIRONMENT_BYTES];
    seal(&mut file, &text);
    Ok(file)
}

/// Variables behind the CRC of all that follows it.
fn seal(copy: &mut [u8], text: &str) {
    copy[4..4 + text.len()].copy_from_slice(text.as_bytes());
    let crc = crc32fast::hash(&copy[4..]);
    copy[..4].copy_from_slice(&crc.to_le_bytes());
}

/// The boot script of a board: picks the slot, loads it, starts it, and falls back.
pub fn script(
    addresses: &BTreeMap<String, String>,
    packed: bool,
    device_tree: Option<&str>,
) -> Result<String, String> {
    for name in ADDRESSES {
        if !addresses.contains_key(name) {
            return Err(format!("`[boot.addresses]` lacks `{name}`"));
        }
    }
    if let Some(name) = addresses.keys().find(|name| !ADDRESSES.contains(&name.as_str())) {
        return Err(format!("`[boot.addresses]` knows no `{name}`; it knows {}", ADDRESSES.join(", ")));
    }
    let [first, second] = STATE_SECTORS;
    let mut text = String::new();
    if !packed {
        text.push_str(BELOW_HIGH_MEMORY);
    }
    for name in ADDRESSES {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "setenv at_{name} {}", addresses[name]);
    }
    let _ = write!(
        text,
        r#"test -n "${{devtype}}" || setenv devtype mmc
test -n "${{devnum}}" || setenv devnum 0
${{devtype}} dev ${{devnum}}
setenv slot a; setenv trial; setenv tries 0; setenv fallback
if ${{devtype}} read ${{at_scratch}} {first:x} 1 && env import -c ${{at_scratch}} {STATE_BYTES:x} slot trial tries; then
  echo shoal: state read
elif ${{devtype}} read ${{at_scratch}} {second:x} 1 && env import -c ${{at_scratch}} {STATE_BYTES:x} slot trial tries; then
  echo shoal: state read from its second copy
else
  echo shoal: no state, slot a
fi
setenv use ${{slot}}
if test -n "${{trial}}"; then
  if itest ${{tries}} > 0; then
    setenv use ${{trial}}
    setexpr tries ${{tries}} - 1
  else
    echo shoal: slot ${{trial}} never became healthy, back to ${{slot}}
    setenv trial
    setenv fallback 1
  fi
  env export -c -s {STATE_BYTES:x} ${{at_scratch}} slot trial tries
  ${{devtype}} write ${{at_scratch}} {first:x} 1
  ${{devtype}} write ${{at_scratch}} {second:x} 1
fi
if test "${{use}}" = b; then setenv order b a; else setenv order a b; fi
for this in ${{order}}; do
  if test "${{this}}" = b; then setenv part 3; else setenv part 2; fi
  echo shoal: slot ${{this}}
"#
    );
    let tree = match device_tree {
        Some(path) => format!(
            "load ${{devtype}} ${{devnum}}:${{part}} ${{fdt_addr_r}} {path} && setenv tree ${{fdt_addr_r}}"
        ),
        None => {
            "if test -n \"${fdt_addr}\"; then setenv tree ${fdt_addr}; else setenv tree ${fdtcontroladdr}; fi"
                .to_owned()
        }
    };
    let (load, start) = if packed {
        ("load ${devtype} ${devnum}:${part} ${at_packed} kernel && unzip ${at_packed} ${at_kernel}", "booti")
    } else {
        ("load ${devtype} ${devnum}:${part} ${at_kernel} kernel", "bootz")
    };
    let _ = write!(
        text,
        r#"  {tree}
  if load ${{devtype}} ${{devnum}}:${{part}} ${{at_scratch}} command_line.env && env import -t ${{at_scratch}} ${{filesize}} command_line; then
    setenv bootargs "${{command_line}} shoal.slot=${{this}} shoal.fallback=${{fallback}}"
    if load ${{devtype}} ${{devnum}}:${{part}} ${{at_initramfs}} initramfs; then
      setenv initramfs_bytes ${{filesize}}
      if {load}; then
        {start} ${{at_kernel}} ${{at_initramfs}}:${{initramfs_bytes}} ${{tree}}
      fi
    fi
  fi
  echo shoal: slot ${{this}} does not start
  setenv fallback 1
done
echo shoal: no slot starts
sleep 5
reset
"#
    );
    Ok(text)
}
