//! Compiles the .proto files with protox: no protoc to install.

use std::path::Path;

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=lode");
    let descriptors = protox::compile(["lode/v1/lode.proto", "lode/v1/worker.proto"], ["."])?;
    // For reflection: what the services look like, for programs that ask them.
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("lode.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
