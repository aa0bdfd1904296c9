//! Rebuilds the crate when the built page changes, and tells the commit. Never runs npm.

fn main() {
    println!("cargo:rerun-if-changed=../../web/dist");
    println!("cargo:rerun-if-env-changed=BELAY_COMMIT");
}
