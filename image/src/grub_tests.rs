use crate::grub::{BLOCK_BYTES, TRIES_MAX, block, script};

#[test]
fn a_block_has_its_header_its_length_and_its_variables_in_the_first_sector() {
    let state = block(&[("slot", "a"), ("trial", ""), ("tries", "0")]).expect("fits");
    assert_eq!(state.len(), BLOCK_BYTES);
    let text = String::from_utf8(state).expect("text");
    let end = text.find("##").expect("padding");
    assert_eq!(&text[..end], "# GRUB Environment Block\nslot=a\ntrial=\ntries=0\n");
    assert!(end <= 512, "a power cut could leave half of it");
    assert!(text[end..].chars().all(|letter| letter == '#'));
    let odd = block(&[("command_line", "a\\b\nc")]).expect("fits");
    assert!(odd.starts_with(b"# GRUB Environment Block\ncommand_line=a\\\\b\\\nc\n#"));
    assert!(block(&[("command_line", &"x".repeat(BLOCK_BYTES))]).expect_err("too long").contains("1024"));
}

/// GRUB's grammar is a small shell's: that of POSIX reads it too, and runs it with stand-ins for GRUB's commands.
fn run(state: &str, saving_works: bool, slots_that_load: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let stand_ins = format!(
        r#"
regexp() {{ disk="${{3%%,*}}"; }}
load_env() {{
  case "$2" in
    *grubenv) {state} ;;
    *) command_line="one two" ;;
  esac
}}
save_env() {{ echo "saved slot=$slot trial=$trial tries=$tries"; {saved}; }}
linux() {{ echo "linux $*"; case "{slots_that_load}" in *$this*) true ;; *) false ;; esac; }}
initrd() {{ echo "initrd $*"; }}
boot() {{ exit 0; }}
sleep() {{ :; }}
reboot() {{ echo reboot; exit 0; }}
prefix="(hd0,msdos1)/EFI/debian"
root=hd0,msdos1
"#,
        saved = if saving_works { "true" } else { "false" },
    );
    let path = folder.path().join("script");
    // What differs: variables are set by a command.
    std::fs::write(&path, stand_ins + &script().replace("set ", "")).expect("written");
    let output = std::process::Command::new("sh").arg(&path).output().expect("sh");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

const A: &str =
    "linux (hd0,msdos2)/kernel one two shoal.slot=a shoal.fallback=\ninitrd (hd0,msdos2)/initramfs\n";
const B: &str =
    "linux (hd0,msdos3)/kernel one two shoal.slot=b shoal.fallback=\ninitrd (hd0,msdos3)/initramfs\n";
const A_INSTEAD: &str =
    "linux (hd0,msdos2)/kernel one two shoal.slot=a shoal.fallback=1\ninitrd (hd0,msdos2)/initramfs\n";

#[test]
fn the_slot_that_is_known_to_work_starts() {
    let said = run("slot=a trial= tries=0", true, "ab");
    assert!(said.ends_with(A), "{said}");
    assert!(!said.contains("saved"), "{said}");
    assert!(run("slot=b trial= tries=0", true, "ab").ends_with(B));
    assert!(run("false", true, "ab").ends_with(A), "without a state, slot a starts");
}

#[test]
fn a_trial_is_counted_down_and_ends() {
    for tries in 1..=TRIES_MAX {
        let said = run(&format!("slot=a trial=b tries={tries}"), true, "ab");
        assert!(said.contains(&format!("saved slot=a trial=b tries={}\n", tries - 1)), "{said}");
        assert!(said.ends_with(B), "{said}");
    }
    for tries in ["0", "", "nonsense"] {
        let said = run(&format!("slot=a trial=b tries={tries}"), true, "ab");
        assert!(said.contains("saved slot=a trial= tries="), "{said}");
        assert!(said.ends_with(A_INSTEAD), "{said}");
    }
}

#[test]
fn a_trial_that_cannot_be_counted_is_not_started() {
    let said = run("slot=a trial=b tries=3", false, "ab");
    assert!(said.ends_with(A_INSTEAD), "{said}");
}

#[test]
fn a_slot_that_cannot_be_loaded_falls_back() {
    let said = run("slot=b trial= tries=0", true, "a");
    assert!(said.contains("slot b does not start"), "{said}");
    assert!(said.ends_with(A_INSTEAD), "{said}");
    let said = run("slot=b trial= tries=0", true, "");
    assert!(said.ends_with("shoal: no slot starts\nreboot\n"), "{said}");
}
