//! A panic in a handler is answered like any other error and does not take its connection along.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use super::errors::ApiError;

/// Answers 500 where a handler panics.
pub(super) async fn catch(request: Request, next: Next) -> Response {
    // Handlers share nothing that a panic could leave half-changed: they send commands and read.
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answer.unwrap_or_else(|panic| {
        tracing::error!(panic = words(&*panic), "a request handler panicked");
        ApiError::internal().into_response()
    })
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without words")
}
