//! Who asks: the principal behind a request, and the tokens that prove it.
//!
//! *Owns* [`Principal`], our own HS256 tokens, login by password, and the superusers.
//! *Takes* an `Authorization` header and a database pool.
//! *Gives* a [`Principal`]; anything that is not proved is a guest.
//! *Never* decides what a principal may see.

mod authenticate;
mod authenticator;
mod claims;
mod foreign;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod issue;
mod judge;
mod login;
mod password;
mod principal;
mod records;
mod seen;
mod superuser_login;
mod superusers;
mod token;

pub use authenticate::{Authenticate, token_in};
pub use authenticator::Authenticator;
pub use foreign::{
    FOREIGN_NAME, ForeignAlgorithm, ForeignError, ForeignOptions, ForeignTokens, KeySetKeeper,
};
#[cfg(any(test, fuzzing))]
pub(crate) use fuzzing::{check_claims, check_unsigned};
pub use issue::{IssueRecordError, issue_record_token};
pub use judge::{Candidate, JudgeLogin, LoginRequest, NoJudge};
pub use login::{Door, LoggedIn, Login, LoginError, LoginRecord, RECORD_TOKEN_LIFETIME};
pub use principal::{AuthRecord, AuthValues, Principal, Proof, SUPERUSERS_ID, SUPERUSERS_NAME};
pub use records::RecordError;
pub use superuser_login::{PasswordChange, SuperuserError, set_superuser_password};
pub use superusers::{IssueError, NewToken, SUPERUSER_TOKEN_LIFETIME, issue_superuser_token};
