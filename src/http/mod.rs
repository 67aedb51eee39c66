//! Not built yet.

mod page;

pub use page::routes as page_routes;
