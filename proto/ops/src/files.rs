//! How many files and connections a process may have open.

/// Raises the limit as far as the system allows, and says so if that is not as far as `needed`.
pub fn allow_files(needed: u64) {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < needed => {
            tracing::warn!(limit, needed, "may run out of open files: raise the limit (ulimit -n, LimitNOFILE=)");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be read"),
    }
}
