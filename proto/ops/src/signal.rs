//! Signals that end a program in good order.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM or SIGHUP: what a program must not die of without cleaning up.
///
/// # Errors
/// If the process cannot listen for them.
pub async fn terminated() -> io::Result<()> {
    let (mut terminate, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

/// Waits for Ctrl-C, SIGTERM or SIGHUP.
///
/// # Errors
/// If the process cannot listen for them.
pub async fn stopped() -> io::Result<()> {
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        terminated = terminated() => terminated,
    }
}
