//! Who decides about an auth rule that is an expression: somebody who knows the rule language.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::principal::Principal;
use crate::catalog::{Catalog, Collection};
use crate::event::RowImage;

/// Decides whether a record may log in under its collection's auth rule.
pub trait JudgeLogin: Send + Sync + 'static {
    /// Whether the rule holds for the record. What cannot be decided does not hold.
    fn admits<'a>(
        &'a self,
        rule: &'a str,
        record: Candidate<'a>,
        request: &'a LoginRequest,
    ) -> BoxFuture<'a, bool>;
}

/// The record that wants in; its password, or its token, was right.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'c> {
    /// Its collection, which describes the image.
    pub collection: &'c Arc<Collection>,
    /// All collections, for what the rule says about others.
    pub catalog: &'c Catalog,
    /// Its id.
    pub id: &'c Arc<str>,
    /// The row.
    pub image: &'c RowImage,
    /// Who asks: a guest who logs in, the record itself that shows its token.
    pub asker: &'c Principal,
}

/// The request by which somebody wants in, as rules see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginRequest {
    /// Query parameters; the first of each name.
    pub query: BTreeMap<String, String>,
    /// Headers, names in snake case; the first of each name.
    pub headers: BTreeMap<String, String>,
}

/// Lets nobody in whose collection asks a rule.
#[derive(Debug, Clone, Copy)]
pub struct NoJudge;

impl JudgeLogin for NoJudge {
    fn admits<'a>(
        &'a self,
        _: &'a str,
        _: Candidate<'a>,
        _: &'a LoginRequest,
    ) -> BoxFuture<'a, bool> {
        Box::pin(async { false })
    }
}
