//! Who asks: the principal behind a request, and the tokens that prove it.
//!
//! *Owns* [`Principal`], our own HS256 tokens and the superusers.
//! *Takes* an `Authorization` header and a database pool.
//! *Gives* a [`Principal`]; anything that is not proved is a guest.
//! *Never* decides what a principal may see.

mod authenticate;
mod principal;
mod token;

pub use authenticate::{Authenticate, token_in};
pub use principal::{Principal, SUPERUSERS_ID, SUPERUSERS_NAME};
