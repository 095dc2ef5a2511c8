//! gRPC reflection: tools such as grpcurl ask a server for its services and need no `.proto` files.

use tonic_reflection::server::{
    Builder, Error,
    v1::{ServerReflection, ServerReflectionServer},
};

use crate::SMALL_MESSAGE;

/// The services of `lode/v1`, as protobuf describes them.
const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("lode");

/// The reflection service, for every server of the cluster.
///
/// # Errors
/// If the descriptors that were built in cannot be read.
pub fn reflection() -> Result<ServerReflectionServer<impl ServerReflection>, Error> {
    let service = Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS).build_v1()?;
    Ok(service.max_decoding_message_size(SMALL_MESSAGE))
}
