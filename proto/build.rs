//! Compiles the contract with protox, so that no protoc is needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 21] = [
    "bridge/admin/v1/api_key.proto",
    "bridge/admin/v1/audit.proto",
    "bridge/admin/v1/auth.proto",
    "bridge/admin/v1/config.proto",
    "bridge/admin/v1/fleet.proto",
    "bridge/admin/v1/health.proto",
    "bridge/admin/v1/model.proto",
    "bridge/admin/v1/playground.proto",
    "bridge/admin/v1/provider.proto",
    "bridge/admin/v1/operations.proto",
    "bridge/admin/v1/routing.proto",
    "bridge/admin/v1/service_token.proto",
    "bridge/admin/v1/settings.proto",
    "bridge/admin/v1/stats.proto",
    "bridge/admin/v1/user.proto",
    "bridge/fleet/v1/dialect.proto",
    "bridge/fleet/v1/enrolment.proto",
    "bridge/fleet/v1/explain.proto",
    "bridge/fleet/v1/resource.proto",
    "bridge/fleet/v1/usage.proto",
    "bridge/fleet/v1/watch.proto",
];

/// Messages whose derived `Debug` would print a secret; `src/redacted.rs` writes
/// theirs by hand.
const SECRET: [&str; 22] = [
    "bridge.admin.v1.LoginRequest",
    "bridge.admin.v1.LoginResponse",
    "bridge.admin.v1.RefreshRequest",
    "bridge.admin.v1.RefreshResponse",
    "bridge.admin.v1.ChangePasswordRequest",
    "bridge.admin.v1.ChangePasswordResponse",
    "bridge.admin.v1.CreateUserRequest",
    "bridge.admin.v1.ResetPasswordRequest",
    "bridge.admin.v1.CreateApiKeyResponse",
    "bridge.admin.v1.RotateApiKeyResponse",
    "bridge.admin.v1.CreateServiceTokenResponse",
    "bridge.admin.v1.CreateJoinTokenResponse",
    "bridge.admin.v1.ProviderSecrets",
    "bridge.fleet.v1.Provider",
    "bridge.fleet.v1.ApiKey",
    "bridge.fleet.v1.SnapshotChunk",
    "bridge.fleet.v1.Delta",
    "bridge.fleet.v1.EnrolRequest",
    // Prompts, which nobody needs to see in a log.
    "bridge.admin.v1.ExplainRequest",
    "bridge.admin.v1.SendMessageRequest",
    "bridge.fleet.v1.Explain",
    "bridge.fleet.v1.Candidate",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=bridge");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["."])?;
    // Source info keeps the comments, so that reflection clients can show them.
    compiler
        .include_source_info(true)
        .include_imports(true)
        .open_files(FILES)?;
    let descriptors = compiler.file_descriptor_set();
    fs::write(out.join("bridge.fds"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".bridge.fleet.v1.SnapshotChunk.resources")
        .bytes(".bridge.fleet.v1.Delta.upserts")
        .bytes(".bridge.admin.v1.SendMessageResponse.piece")
        .skip_debug(SECRET)
        .compile_fds(descriptors)?;
    Ok(())
}
