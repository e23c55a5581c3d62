//! What a CPU of 32-bit ARM can do.

/// Has it NEON? Linux, arch/arm/include/uapi/asm/hwcap.h.
pub(crate) fn has_neon() -> bool {
    const HWCAP_NEON: usize = 1 << 12;
    rustix::param::linux_hwcap().0 & HWCAP_NEON != 0
}
