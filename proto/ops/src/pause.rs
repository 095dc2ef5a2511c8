//! Places at which a test can hold a real process, to break it exactly there. Only in debug builds.

/// Holds the calling thread if the environment's `LODE_PAUSE_AT` names this place and the file that `LODE_PAUSE_FILE` names is
/// there; until the file is gone.
///
/// Release builds never pause.
pub fn pause_at(place: &'static str) {
    if cfg!(debug_assertions) {
        hold(place);
    }
}

fn hold(place: &'static str) {
    let is_meant = std::env::var("LODE_PAUSE_AT").is_ok_and(|wanted| wanted == place);
    let Some(file) = is_meant.then(|| std::env::var_os("LODE_PAUSE_FILE")).flatten() else { return };
    let file = std::path::PathBuf::from(file);
    if file.exists() {
        tracing::warn!(place, "paused for a test");
    }
    while file.exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
