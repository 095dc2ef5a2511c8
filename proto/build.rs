//! Compiles the .proto files with protox: no protoc to install.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=lode");
    let descriptors = protox::compile(["lode/v1/lode.proto", "lode/v1/worker.proto"], ["."])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
