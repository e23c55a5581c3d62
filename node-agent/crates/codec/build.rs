//! Compiles the C kernels of 32-bit ARM; every other target has vector code in Rust.

fn main() {
    const KERNELS: [&str; 2] = ["src/erasure/neon.c", "src/frame/neon.c"];
    println!("cargo::rerun-if-changed=build.rs");
    KERNELS.iter().for_each(|file| println!("cargo::rerun-if-changed={file}"));
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|architecture| architecture == "arm") {
        // Behind `cc`'s own `-mfpu=vfpv3-d16`, so that it holds; zig ignores that and takes the processor's features alone. Who
        // runs the code looks for NEON first.
        cc::Build::new()
            .files(KERNELS)
            .flag_if_supported("-mfpu=neon")
            .flag_if_supported("-mcpu=generic+v7a+vfp3+neon")
            .opt_level(3)
            .compile("shoal_codec_neon");
    }
}
