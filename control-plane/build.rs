//! Release builds hold the admin's pages, so that they must be made again when those change. Others read
//! them from the disk.

fn main() {
    let is_release = std::env::var_os("PROFILE").is_some_and(|profile| profile == "release");
    let watched = if is_release {
        "../admin-web/dist"
    } else {
        "build.rs"
    };
    println!("cargo:rerun-if-changed={watched}");
}
