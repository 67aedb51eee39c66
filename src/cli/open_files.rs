//! How many files the process may have open: each stream is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as the process itself may, and says so. Where it may not, fewer can connect.
pub(super) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(before) = current.filter(|_| current != maximum) else {
        return;
    };
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => tracing::info!(
            before,
            now = maximum,
            "raised the limit of open files; each stream is one"
        ),
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            limit = before,
            "cannot raise the limit of open files; no more can connect than that"
        ),
    }
}
