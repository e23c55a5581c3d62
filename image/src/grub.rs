//! What GRUB reads on EFI boards: its configuration, and the file with the state that says which slot starts. GRUB itself is
//! Debian's prebuilt image, which looks for both in [`FOLDER`]. Sources: GRUB manual, "The GRUB environment block" and
//! "Command-line and menu entry commands"; Debian's debian/build-efi-images (prefix and built-in modules).
//!
//! Slots as in `uboot`: `slot` is the one that is known to work. An update sets `trial` and `tries`; each start with tries left
//! counts one down, so a slot that never reports healthy falls back by itself. A slot that cannot be loaded falls back at once.
//! A trial that cannot be counted is not started.
//!
//! Invariant: the state's variables stand in the first sector of its file, so that a power cut leaves old or new ones.

use std::fmt::Write;

/// The folder on volume SHOAL that Debian's images are built to read.
pub const FOLDER: &str = "EFI/debian";
/// Name of the configuration in it.
pub const SCRIPT_FILE: &str = "grub.cfg";
/// Name of the state in it.
pub const STATE_FILE: &str = "grubenv";
/// Bytes of an environment block. GRUB changes it in place, so its length never changes.
pub const BLOCK_BYTES: usize = 1024;
/// GRUB's scripts cannot calculate: they know the number below each of these. An update gives a trial no more.
pub const TRIES_MAX: u32 = 9;

const HEADER: &str = "# GRUB Environment Block\n";

/// An environment block as `load_env` reads it and `save_env` changes it.
pub fn block(variables: &[(&str, &str)]) -> Result<Vec<u8>, String> {
    let mut text = HEADER.to_owned();
    for (name, value) in variables {
        // GRUB's own escapes; a line break would end the variable.
        let _ = writeln!(text, "{name}={}", value.replace('\\', "\\\\").replace('\n', "\\\n"));
    }
    if text.len() > BLOCK_BYTES {
        return Err(format!("GRUB's variables take {} bytes, {BLOCK_BYTES} at most", text.len()));
    }
    let mut block = text.into_bytes();
    block.resize(BLOCK_BYTES, b'#');
    Ok(block)
}

/// The configuration: picks the slot, loads it, starts it, and falls back.
pub fn script() -> String {
    let mut text = format!(
        r#"set slot=a
set trial=
set tries=0
set fallback=
set state="${{prefix}}/{STATE_FILE}"
regexp --set=1:disk '^([^,]+),' "${{root}}"
if load_env --file "${{state}}" slot trial tries; then
  echo "shoal: state read"
else
  echo "shoal: no state, slot ${{slot}}"
fi
set use="${{slot}}"
if [ -n "${{trial}}" ]; then
  set left=
"#
    );
    for tries in 1..=TRIES_MAX {
        let word = if tries == 1 { "if" } else { "elif" };
        let _ = writeln!(text, "  {word} [ \"${{tries}}\" = {tries} ]; then set left={}", tries - 1);
    }
    text.push_str(
        r#"  fi
  if [ -n "${left}" ]; then
    set use="${trial}"
    set tries="${left}"
  else
    echo "shoal: slot ${trial} never became healthy, back to ${slot}"
    set trial=
    set fallback=1
  fi
  if save_env --file "${state}" slot trial tries; then
    echo "shoal: ${tries} tries left"
  else
    echo "shoal: the state cannot be written, slot ${slot}"
    set use="${slot}"
    set fallback=1
  fi
fi
if [ "${use}" = b ]; then
  set first=b
  set second=a
else
  set first=a
  set second=b
fi
for this in "${first}" "${second}"; do
  if [ "${this}" = b ]; then set from="(${disk},msdos3)"; else set from="(${disk},msdos2)"; fi
  echo "shoal: slot ${this}"
  set command_line=
  if load_env --file "${from}/command_line.env" command_line; then
    if linux "${from}/kernel" ${command_line} "shoal.slot=${this}" "shoal.fallback=${fallback}"; then
      if initrd "${from}/initramfs"; then
        boot
      fi
    fi
  fi
  echo "shoal: slot ${this} does not start"
  set fallback=1
done
echo "shoal: no slot starts"
sleep 5
reboot
"#,
    );
    text
}
