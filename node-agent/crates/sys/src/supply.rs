//! A board's supply voltage, where its kernel watches it. Source: Linux, drivers/hwmon/raspberrypi-hwmon.c (`rpi_volt`), which
//! asks the firmware every 2 seconds whether the voltage was below 4.63 V since the last time.

use std::path::Path;

/// Where the kernel shows its sensors.
pub const HWMON: &str = "/sys/class/hwmon";
/// The sensor's name, and its alarm: `1` or `0`.
const SENSOR: &str = "rpi_volt";
const ALARM: &str = "in0_lcrit_alarm";

/// Does the kernel say that the supply voltage was too low a moment ago? `class` is `HWMON`. False where nobody watches it.
pub fn under_voltage(class: &Path) -> bool {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    std::fs::read_dir(class)
        .into_iter()
        .flatten()
        .flatten()
        .map(|sensor| sensor.path())
        .any(|sensor| read(&sensor.join("name")).trim() == SENSOR && read(&sensor.join(ALARM)).trim() == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_of_the_supply_is_heard_and_no_other() {
        let class = tempfile::tempdir().unwrap();
        assert!(!under_voltage(&class.path().join("none")));
        let sensor = |folder: &str, name: &str, alarm: &str| {
            let folder = class.path().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("name"), format!("{name}\n")).unwrap();
            std::fs::write(folder.join(ALARM), format!("{alarm}\n")).unwrap();
        };
        sensor("hwmon0", "cpu_thermal", "1");
        sensor("hwmon1", SENSOR, "0");
        assert!(!under_voltage(class.path()));
        sensor("hwmon1", SENSOR, "1");
        assert!(under_voltage(class.path()));
    }
}
