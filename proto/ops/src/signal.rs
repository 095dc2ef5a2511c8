//! Signals that end a program in good order.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

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

/// Cancels `shutdown` on Ctrl-C and SIGTERM, so that a server ends in good order, and calls `reload` on SIGHUP: it reads its files
/// again.
pub async fn heed_signals(shutdown: CancellationToken, mut reload: impl FnMut()) {
    let listen = || Ok::<_, io::Error>((signal(SignalKind::terminate())?, signal(SignalKind::hangup())?));
    let (mut terminate, mut hang_up) = match listen() {
        Ok(signals) => signals,
        Err(error) => return tracing::error!(%error, "cannot listen for signals"),
    };
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            _ = terminate.recv() => break,
            _ = hang_up.recv() => reload(),
        }
    }
    tracing::info!("stopping");
    shutdown.cancel();
}
