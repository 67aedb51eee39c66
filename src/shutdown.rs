//! How the process ends: signals become a soft stop (drain) and, on the second one, a hard stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two ways to be told to stop.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Take nothing new, finish what is under way.
    pub soft: CancellationToken,
    /// Leave now.
    pub hard: CancellationToken,
}

impl Shutdown {
    /// A pair that nothing has cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels softly on the first SIGTERM or SIGINT and hard on the second; runs until then.
    ///
    /// # Errors
    /// If the process may not install signal handlers.
    pub async fn on_signals(self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        for token in [&self.soft, &self.hard] {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "asked to stop");
            token.cancel();
        }
        Ok(())
    }
}
