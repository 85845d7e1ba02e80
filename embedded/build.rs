//! How the program is laid out where no operating system does it.

fn main() {
    println!("cargo:rerun-if-changed=cortex_m.x");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "none") {
        let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rustc-link-arg=-T{folder}/cortex_m.x");
    }
}
